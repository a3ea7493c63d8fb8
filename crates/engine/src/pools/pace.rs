//! How fast a pool is: whether a waiting call is served sooner by an instance that will be free than by one that has yet to start.
//!
//! Sixty-four callers of a function that answers in a millisecond need a few instances, not sixty-four that take the processors
//! from each other. While its instances see several calls through in the time of one start, calls wait for those. A call that
//! has waited for as long as a start takes gets one all the same: what was fast may be slow today.

use std::time::Duration;

/// Calls that wait for one busy instance, at most.
const AHEAD_MAX: u32 = 16;
/// How long a call waits before an instance is started for it, at least and at most.
const WAIT: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(250));

/// Means that forget: a new value counts for an eighth.
#[derive(Default)]
pub(super) struct Pace {
    call: Option<Duration>,
    start: Option<Duration>,
}

fn mean(before: Option<Duration>, new: Duration) -> Duration {
    before.map_or(new, |old| old - old / 8 + new / 8)
}

impl Pace {
    pub(super) fn called(&mut self, took: Duration) {
        self.call = Some(mean(self.call, took));
    }
    pub(super) fn started(&mut self, took: Duration) {
        self.start = Some(mean(self.start, took));
    }

    /// How many calls a busy instance will see through before one that starts now could serve its first.
    pub(super) fn ahead(&self) -> u32 {
        let (Some(call), Some(start)) = (self.call, self.start) else { return 0 };
        let calls = start.as_nanos() / call.as_nanos().max(1);
        u32::try_from(calls).unwrap_or(u32::MAX).min(AHEAD_MAX)
    }

    /// How long a call waits for the busy ones.
    pub(super) fn patience(&self) -> Duration {
        self.start.unwrap_or_default().clamp(WAIT.0, WAIT.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_much_faster_than_a_start_is_waited_for() {
        let mut pace = Pace::default();
        assert_eq!(pace.ahead(), 0, "nothing is known");
        pace.started(Duration::from_millis(50));
        assert_eq!(pace.ahead(), 0);
        pace.called(Duration::from_millis(10));
        assert_eq!((pace.ahead(), pace.patience()), (5, Duration::from_millis(50)));
        (0..50).for_each(|_| pace.called(Duration::from_micros(100)));
        assert_eq!(pace.ahead(), AHEAD_MAX);
        (0..50).for_each(|_| pace.called(Duration::from_secs(2)));
        assert_eq!(pace.ahead(), 0);
    }
}
