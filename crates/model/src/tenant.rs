//! Tenants: who owns functions and data, and how much of the platform each may have.

use crate::Mono;
use serde::{Deserialize, Serialize};
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// What one tenant may have. A number of requests per second that is zero means that they are not limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Quota {
    pub functions: u64,
    /// Published versions of all functions together.
    pub versions: u64,
    /// Calls under way at the same time.
    pub concurrency: u32,
    /// Bytes of the archives of functions, versions and layers.
    pub storage_bytes: u64,
    /// Stored rows of every kind.
    pub rows: u64,
    /// Requests of the control plane per second.
    pub requests: u32,
    /// Calls of its functions per second, accepted events among them.
    pub calls: u32,
    /// Events that wait.
    pub events: u64,
}

impl Default for Quota {
    fn default() -> Self {
        Self {
            functions: 10_000,
            versions: 100_000,
            concurrency: 1000,
            storage_bytes: 80_530_636_800,
            rows: 100_000,
            requests: 0,
            calls: 0,
            events: 10_000_000,
        }
    }
}

/// So many requests per second, and as many at once after a quiet second. One number, so that whoever asks takes no lock: the
/// time until which what was let through is paid for ("generic cell rate algorithm", ITU-T I.371).
#[derive(Debug, Default)]
pub struct Rate {
    /// Nanoseconds between two requests; 0 when they are not limited.
    every: AtomicU64,
    paid_until: AtomicU64,
}

impl Rate {
    const SECOND: u64 = 1_000_000_000;

    pub fn new(per_second: u32) -> Self {
        let rate = Self::default();
        rate.set(per_second);
        rate
    }

    /// From now on so many per second; 0 limits nothing.
    pub fn set(&self, per_second: u32) {
        let every = if per_second == 0 { 0 } else { (Self::SECOND / u64::from(per_second)).max(1) };
        self.every.store(every, Ordering::Relaxed);
    }

    /// One request now, or how long it is too early for one.
    pub fn take(&self, now: Mono) -> Result<(), Duration> {
        let every = self.every.load(Ordering::Relaxed);
        if every == 0 {
            return Ok(());
        }
        let ahead_max = Self::SECOND - every.min(Self::SECOND);
        let step = |paid: u64| {
            let from = paid.max(now.0);
            (from - now.0 <= ahead_max).then(|| from + every)
        };
        let paid = self.paid_until.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step);
        paid.map(drop).map_err(|paid| Duration::from_nanos(paid.saturating_sub(now.0 + ahead_max)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Mono {
        Mono(5_000_000_000) + Duration::from_millis(ms)
    }

    #[test]
    fn a_rate_lets_a_second_s_worth_through_at_once_and_then_as_many_as_it_says() {
        let rate = Rate::new(10);
        let through = |ms: u64, tries: usize| (0..tries).filter(|_| rate.take(at(ms)).is_ok()).count();
        assert_eq!(through(0, 100), 10);
        assert_eq!(rate.take(at(0)), Err(Duration::from_millis(100)));
        assert_eq!(through(100, 5), 1);
        assert_eq!((200..1200).map(|ms| through(ms, 3)).sum::<usize>(), 10, "a second later ten more");
        assert_eq!(through(60_000, 100), 10, "a long rest saves up no more than a second");
        rate.set(0);
        assert_eq!(through(60_000, 1000), 1000);
    }

    #[test]
    fn one_a_second_is_one_a_second_and_the_most_is_no_panic() {
        let rate = Rate::new(1);
        assert!(rate.take(at(0)).is_ok());
        assert_eq!(rate.take(at(0)), Err(Duration::from_secs(1)));
        assert!(rate.take(at(999)).is_err() && rate.take(at(1000)).is_ok());
        rate.set(u32::MAX);
        assert!(rate.take(at(5000)).is_ok());
    }
}
