//! How far stopping has come, as every connection of a server sees it.

use model::Cancel;
use std::sync::atomic::{AtomicBool, Ordering};

/// The operator's word: stop, and stop at once.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// Accept nothing more, finish what is in flight within [`crate::Limits::drain`].
    pub drain: Cancel,
    /// Don't wait for what is in flight.
    pub now: Cancel,
}

/// Flags for what is looked at on every request, tokens for what must wake a connection.
#[derive(Debug, Default)]
pub struct Stage {
    draining: AtomicBool,
    hard: AtomicBool,
    pub drain: Cancel,
    /// What is still running is answered 503.
    pub harden: Cancel,
    /// Connections are cut.
    pub cut: Cancel,
}

impl Stage {
    pub fn draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
    pub fn hard(&self) -> bool {
        self.hard.load(Ordering::Relaxed)
    }
    pub fn begin_drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
        self.drain.cancel();
    }
    pub fn begin_hard(&self) {
        self.hard.store(true, Ordering::Relaxed);
        self.harden.cancel();
    }
}
