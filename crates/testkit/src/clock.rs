//! A clock that goes when it is told to.

use model::{Clock, Mono};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

pub struct Hand(AtomicU64);

impl Hand {
    /// It begins about now, since files are dated by the machine's own clock.
    pub fn new() -> Arc<Hand> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Arc::new(Hand(AtomicU64::new(now.as_millis() as u64)))
    }
    pub fn forward(&self, by: Duration) {
        self.0.fetch_add(by.as_millis() as u64, Ordering::SeqCst);
    }
}

impl Clock for Hand {
    fn mono(&self) -> Mono {
        Mono(self.0.load(Ordering::SeqCst) * 1_000_000)
    }
    fn wall_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}
