//! Time as a port, so that the engine's races run in a simulated minute.

use std::{
    ops::{Add, Sub},
    time::Duration,
};

/// A point on the monotonic clock: nanoseconds since an arbitrary start that is the same for the whole process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(pub u64);

impl Mono {
    /// How long ago `earlier` was; zero when it lies in the future.
    pub fn since(self, earlier: Mono) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}
impl Add<Duration> for Mono {
    type Output = Mono;
    fn add(self, d: Duration) -> Mono {
        Mono(self.0.saturating_add(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)))
    }
}
impl Sub<Duration> for Mono {
    type Output = Mono;
    fn sub(self, d: Duration) -> Mono {
        Mono(self.0.saturating_sub(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// The two clocks. Leases, deadlines and ages use [`Clock::mono`]; the wall clock is for people and for wire formats.
pub trait Clock: Send + Sync {
    fn mono(&self) -> Mono;
    /// Milliseconds since the Unix epoch.
    fn wall_ms(&self) -> u64;
}
