//! What a door is: an address, and who answers there.

use crate::tls::Certificates;
use http::request::Parts;
use model::{
    Fault, Fut,
    limits::{BODY_IDLE_TIMEOUT, CONNECTIONS_MAX, HEADER_TIMEOUT, KEEP_ALIVE_IDLE},
    ports::{Request, Response},
};
use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

/// One listener and its handler.
pub struct Door {
    /// `aws`, `admin`, `console`: for errors and logs.
    pub name: &'static str,
    pub bind: Bind,
    pub handler: Arc<dyn Handler>,
    /// With them a TCP door speaks TLS only.
    pub tls: Option<Arc<Certificates>>,
}

#[derive(Clone, Debug)]
pub enum Bind {
    /// Loopback only, unless the door has TLS.
    Tcp(SocketAddr),
    /// A socket of mode 0600, for the same user and root.
    Unix(PathBuf),
}

/// Who is at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    Tcp(SocketAddr),
    Unix { uid: u32, pid: Option<i32> },
}

/// How a door wants its paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paths {
    /// As they came, since a signature covers them.
    Raw,
    /// In the one canonical form of [`crate::path::canonical`]; what has none is refused.
    Canonical,
}

/// Answers requests. Its future is dropped when the client goes away: what must outlive the client belongs in a task.
pub trait Handler: Send + Sync {
    /// Asked before the body is read: how many bytes of it are welcome, or why none are.
    fn admit(&self, parts: &Parts, from: &Peer) -> Result<usize, Fault>;
    /// The body is whole, and within what `admit` said. The peer's address is among the request's extensions as a
    /// [`std::net::SocketAddr`] where it has one.
    fn handle(&self, request: Request, from: Peer) -> Fut<'_, Response>;
    /// The answer to what never reached `handle`. Of a request whose head was refused, or whose handler panicked, `parts`
    /// holds little more than a method and a path.
    fn refuse(&self, parts: &Parts, fault: &Fault) -> Response;
    fn paths(&self) -> Paths {
        Paths::Canonical
    }
}

/// What a server allows. The defaults are [`model::limits`].
#[derive(Clone, Debug)]
pub struct Limits {
    pub header_timeout: Duration,
    pub body_idle: Duration,
    pub keep_alive_idle: Duration,
    /// Of each door.
    pub connections_max: usize,
    /// How long requests in flight may go on once stopping has begun.
    pub drain: Duration,
    /// Bytes of request bodies held at once, of all connections together.
    pub bodies_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_timeout: HEADER_TIMEOUT,
            body_idle: BODY_IDLE_TIMEOUT,
            keep_alive_idle: KEEP_ALIVE_IDLE,
            connections_max: CONNECTIONS_MAX,
            drain: Duration::from_secs(25),
            bodies_max: 1024 * 1024 * 1024,
        }
    }
}

/// What happened at the doors, for `status`.
#[derive(Debug, Default)]
pub struct Counters {
    pub accepted: AtomicU64,
    pub open: AtomicUsize,
    pub requests: AtomicU64,
    /// Heads that were refused before any handler saw them.
    pub malformed: AtomicU64,
    pub panics: AtomicU64,
    /// Answered 503 because the platform was stopping.
    pub drained_off: AtomicU64,
    /// Connections that never became TLS ones at a door that speaks nothing else.
    pub handshakes_failed: AtomicU64,
    /// Times when the process had no descriptor left for a connection.
    pub out_of_descriptors: AtomicU64,
    pub bodies_held: AtomicUsize,
    statuses: Vec<(&'static str, Statuses)>,
}

/// Answers of one door, by status.
pub(crate) struct Statuses([AtomicU64; Statuses::ALL]);

impl Statuses {
    /// 100 to 599.
    const ALL: usize = 500;

    fn new() -> Self {
        Self([const { AtomicU64::new(0) }; Self::ALL])
    }
    pub(crate) fn bump(&self, status: http::StatusCode) {
        if let Some(counter) = self.0.get(usize::from(status.as_u16()).wrapping_sub(100)) {
            Counters::bump(counter);
        }
    }
}

impl std::fmt::Debug for Statuses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Statuses").finish_non_exhaustive()
    }
}

impl Counters {
    /// For these doors.
    pub(crate) fn of(doors: impl Iterator<Item = &'static str>) -> Self {
        let statuses = doors.map(|name| (name, Statuses::new())).collect();
        Self { statuses, ..Self::default() }
    }

    /// What is counted of one door.
    pub(crate) fn statuses(&self, door: &str) -> Option<&Statuses> {
        self.statuses.iter().find(|(name, _)| *name == door).map(|(_, statuses)| statuses)
    }

    pub fn doors(&self) -> impl Iterator<Item = &'static str> {
        self.statuses.iter().map(|(name, _)| *name)
    }

    /// Door, status and how many answers had it: what there was any of.
    pub fn answers(&self) -> Vec<(&'static str, u16, u64)> {
        let of = |(name, Statuses(all)): &(&'static str, Statuses)| -> Vec<(&'static str, u16, u64)> {
            let counts = all.iter().enumerate().map(|(at, n)| (*name, at as u16 + 100, n.load(Ordering::Relaxed)));
            counts.filter(|(_, _, n)| *n > 0).collect()
        };
        self.statuses.iter().flat_map(of).collect()
    }

    pub(crate) fn bump(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// How serving ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Requests that were answered 503 because the platform was stopping.
    pub drained_off: u64,
    /// Connections that had to be cut.
    pub cut: usize,
}
