//! An invocation on its way: the event, the call that watches it, and the reply.

use crate::{Fault, Fut, InstanceId, InvocationId, Principal, RevisionId, TenantId, catalog::Unit, log::LogTail};
use bytes::Bytes;
use futures_core::Stream;
use http::{HeaderMap, StatusCode};
use std::{io, pin::Pin, sync::Arc, time::Duration};

/// Fires when nobody waits for the answer any more.
pub type Cancel = tokio_util::sync::CancellationToken;

/// A body that is read once, as it arrives.
pub type BodyStream = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// What a function is called with.
pub enum Body {
    Bytes(Bytes),
    Stream(BodyStream),
}

impl Body {
    /// The bytes, when they are all here already.
    pub fn bytes(&self) -> Option<&Bytes> {
        match self {
            Body::Bytes(b) => Some(b),
            Body::Stream(_) => None,
        }
    }
}

/// What is known about the body besides its bytes.
pub enum Head {
    /// A bare document (Lambda's Invoke, Fn, Nuclio …), with its media type when the caller named one.
    Raw { content_type: Option<http::HeaderValue> },
    /// An HTTP request that goes to the function as HTTP (contract `http`).
    Http(Box<http::request::Parts>),
}

/// Something a dialect hands through to a contract of its own family, untouched by the engine. Usually empty.
#[derive(Clone, Debug, Default)]
pub struct Attributes(Vec<(&'static str, Bytes)>);

impl Attributes {
    /// Lambda's client context: decoded JSON.
    pub const CLIENT_CONTEXT: &'static str = "client-context";
    /// Lambda's Cognito identity: JSON.
    pub const COGNITO_IDENTITY: &'static str = "cognito-identity";
    /// The caller's trace header, in the dialect's own form (`X-Amzn-Trace-Id`, `traceparent`).
    pub const TRACE: &'static str = "trace";

    /// The attribute of that name, as it is spelled here.
    pub fn named(name: &str) -> Option<&'static str> {
        [Self::CLIENT_CONTEXT, Self::COGNITO_IDENTITY, Self::TRACE].into_iter().find(|n| *n == name)
    }
    pub fn all(&self) -> impl Iterator<Item = (&'static str, &Bytes)> {
        self.0.iter().map(|(name, value)| (*name, value))
    }
    pub fn set(&mut self, name: &'static str, value: impl Into<Bytes>) {
        match self.0.iter_mut().find(|a| a.0 == name) {
            Some(there) => there.1 = value.into(),
            None => self.0.push((name, value.into())),
        }
    }
    pub fn get(&self, name: &str) -> Option<&Bytes> {
        self.0.iter().find(|a| a.0 == name).map(|a| &a.1)
    }
}

/// One request for one function, in the shape that the function's contract understands.
pub struct Event {
    pub id: InvocationId,
    pub tenant: TenantId,
    pub caller: Principal,
    /// Which entry of the unit is meant; empty for a unit with one.
    pub entry: Arc<str>,
    /// The qualifier that the caller used (an alias or a version), for contexts that show it.
    pub qualifier: Option<Arc<str>>,
    pub trigger: Trigger,
    pub head: Head,
    pub body: Body,
    pub attributes: Attributes,
    /// Set by the engine when the slot is taken: the function's time limit starts then, not while it waits.
    pub deadline: Option<Deadline>,
    /// 1 for the first.
    pub attempt: u32,
    /// How many invocations led to this one (a function calling a function); set by the engine.
    pub hops: u32,
    /// The caller wants the end of the log with the answer ([`Outcome::tail`]).
    pub tail: bool,
    pub cancel: Cancel,
}

impl Event {
    /// A first attempt with a new id; the engine fills in what it alone knows.
    pub fn new(target: &crate::Target, trigger: Trigger, head: Head, body: Body) -> Self {
        Self {
            id: InvocationId::random(),
            tenant: target.tenant.clone(),
            caller: target.caller.clone(),
            entry: Arc::from(""),
            qualifier: target.qualifier.clone(),
            trigger,
            head,
            body,
            attributes: Attributes::default(),
            deadline: None,
            attempt: 1,
            hops: 0,
            tail: false,
            cancel: Cancel::new(),
        }
    }
}

/// What made the function run. Decides which authorisation is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trigger {
    /// A direct call by the dialect's own API.
    Invoke,
    /// An HTTP request routed to the function.
    Url,
}

/// A deadline in both clocks: the monotonic one is enforced, the wall one is shown to user code.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    pub at: crate::Mono,
    /// Milliseconds since the Unix epoch.
    pub wall_ms: u64,
}

/// What a function answered.
pub struct Reply {
    pub head: ReplyHead,
    pub body: ReplyBody,
}

/// What is known of an answer before its body.
#[derive(Clone, Debug, Default)]
pub struct ReplyHead {
    /// Set by contracts that speak HTTP with the function.
    pub status: Option<StatusCode>,
    pub headers: HeaderMap,
    /// User code reported a failure; the body is its own account of it.
    pub error: Option<FunctionError>,
    /// The function chose to stream; the body arrives in pieces.
    pub streamed: bool,
}

/// User code reported a failure: it ran, and this is its word.
#[derive(Clone, Debug)]
pub struct FunctionError {
    /// The narrow type, as far as it passed the contract's check (`Runtime.Unknown`, `Function.Unknown` …).
    pub kind: String,
}

pub enum ReplyBody {
    Bytes(Bytes),
    Stream(FrameStream),
}

/// Bytes forwarded as they arrive. The stream ends after [`Frame::Trailers`] or [`Frame::Fault`], or when it ends: without a
/// fault, the answer is complete.
pub type FrameStream = Pin<Box<dyn Stream<Item = Frame> + Send>>;

pub enum Frame {
    Data(Bytes),
    Trailers(HeaderMap),
    /// The answer broke off. The client must see an aborted answer, never a shorter well-formed one.
    Fault(Fault),
}

/// An invocation that was not answered by user code.
pub struct Failed {
    pub fault: Fault,
    /// Set when no byte reached user code: it may be sent again, to another instance.
    pub undelivered: Option<Box<Event>>,
}

impl From<Fault> for Failed {
    fn from(fault: Fault) -> Self {
        Self { fault, undelivered: None }
    }
}

/// One invocation, watched. The work runs in the session's task; dropping `reply` says that the client has gone and fires the
/// event's [`Cancel`]. *Reply finished* and *slot free* are two events: between them a response may still stream and
/// extensions may still work.
pub struct Call {
    pub id: InvocationId,
    pub unit: Arc<Unit>,
    /// Where it runs; none when no instance could be brought up for it.
    pub instance: Option<InstanceId>,
    pub reply: Fut<'static, Result<Reply, Failed>>,
    pub free: Fut<'static, Outcome>,
}

/// How an invocation ended, known once the slot is free.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub usage: Usage,
    /// The last few KiB of what the invocation logged, its platform lines included, when they were asked for.
    pub tail: Option<LogTail>,
    /// The instance can't serve another call.
    pub spent: bool,
}

/// What one invocation cost, by the host's own measurement.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Usage {
    pub duration: Duration,
    /// Present on the invocation that paid for a start.
    pub init: Option<Duration>,
    pub memory_mib: u32,
    pub memory_max_bytes: u64,
}

impl Usage {
    /// Whole milliseconds, rounded up; at least one.
    pub fn billed_ms(&self) -> u64 {
        u64::try_from(self.duration.as_micros().div_ceil(1000)).unwrap_or(u64::MAX).max(1)
    }
    /// Memory size × billed time.
    pub fn gb_seconds(&self) -> f64 {
        f64::from(self.memory_mib) / 1024.0 * self.billed_ms() as f64 / 1000.0
    }
}

/// The steps of one invocation with the time each took, for the page, `logs --id` and traces.
#[derive(Clone, Copy, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Steps {
    /// Waiting for a slot.
    pub queued_us: u64,
    /// Creating or thawing the sandbox.
    pub sandbox_us: u64,
    /// Runtime and user initialisation.
    pub init_us: u64,
    /// User code until its first byte.
    pub first_byte_us: u64,
    /// User code altogether.
    pub run_us: u64,
}

/// One finished invocation, as recorded.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Record {
    pub id: InvocationId,
    pub tenant: TenantId,
    pub function: crate::FunctionName,
    /// `$LATEST` or a number.
    pub version: Arc<str>,
    pub revision: RevisionId,
    /// Where it ran; none when no instance could be brought up for it.
    pub instance: Option<InstanceId>,
    pub trigger: Trigger,
    /// Milliseconds since the Unix epoch.
    pub started_ms: u64,
    pub steps: Steps,
    pub usage: Usage,
    /// `ok`, `error` (user code reported it) or the name of a [`crate::Cause`].
    pub status: Arc<str>,
}
