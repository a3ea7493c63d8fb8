//! The process sandbox: an instance is a handful of processes in namespaces of their own, on a minimal read-only root, bounded by
//! control groups and a system call filter.
//!
//! Three kinds of process take part. The *platform* decides. One *spawner* ([`spawner`]), a keyless single-threaded copy of the
//! same binary, clones the instances. Each instance has an *init* ([`init`]) as its process 1, which builds the root ([`root`]),
//! makes the listeners that the platform accepts on, and starts, kills and reaps what runs inside. The platform talks to an init
//! over one socket pair ([`talk`], [`wire`]); everything that user code can touch is on the other side of a drop of rights
//! ([`jail`], [`filter`]).
//!
//! Whoever dies takes the ones after it along: platform, spawner, init, function.

mod blanks;
mod cgroup;
mod channel;
mod filter;
mod grave;
mod ids;
mod init;
mod instance;
mod jail;
mod network;
mod probe;
mod process;
mod root;
mod spares;
mod spawner;
mod sys;
mod talk;
mod template;
mod watch;
mod wire;

pub use probe::{Finding, probe};
pub use process::{Asked, Config, Error, Process};
pub use spawner::run_if_helper;
