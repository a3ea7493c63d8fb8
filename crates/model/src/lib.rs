//! The nouns, limits, faults and ports of Myna.
//!
//! Everything else depends on this crate and on no sibling: a dialect, a contract, a sandbox, a source and a backend know each
//! other only through the traits in [`ports`]. No I/O happens here and no vendor is named here; what a vendor calls a thing
//! stays in that vendor's folder.

pub mod access;
pub mod audit;
pub mod catalog;
pub mod clock;
pub mod event;
pub mod fault;
pub mod id;
pub mod limits;
pub mod log;
pub mod loops;
pub mod ports;
pub mod queue;
pub mod resource;
pub mod sandbox;
pub mod secret;
pub mod tenant;

pub use access::{Ask, Because, Credential, Decision, DocumentKind, Holder, Principal, Session, User, Verdict, Verified};
pub use catalog::{Function, ModelOp, Package, Target, Unit};
pub use clock::{Clock, Mono};
pub use event::{Body, Call, Cancel, Event, Failed, Frame, FrameStream, Head, Outcome, Reply, ReplyBody, ReplyHead};
pub use fault::{Cause, Fault, Who};
pub use id::{FunctionName, InstanceId, InvocationId, RevisionId, TenantId};
pub use loops::{Loops, Pulse};
pub use resource::{Expect, Key, Resource, Write};
pub use tenant::{Quota, Rate};

use std::{future::Future, pin::Pin};

/// The shape of every asynchronous trait method: boxed, so that the traits stay object safe.
pub type Fut<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A byte pipe in both directions.
pub trait Io: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Sync + Unpin {}
impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Sync + Unpin> Io for T {}
pub type BoxIo = Box<dyn Io>;
