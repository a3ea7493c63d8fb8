//! How long an idle instance stays: a fixed time, or learned from the function's own arrivals.
//!
//! The gaps between a function's calls are counted in buckets that double in width. An instance is kept for as long as it takes to
//! cover nearly all gaps seen; where the gaps are longer than anybody would keep an instance, it goes soon, since waiting would
//! only waste memory. Old gaps fade, so that a function that changes its habits is followed.

use model::Mono;
use std::time::Duration;

const BUCKETS: usize = 24;
/// The first bucket holds gaps up to this; each next one twice as much (the last: about 4.6 hours).
const FIRST: Duration = Duration::from_millis(2);
/// Below this many gaps nothing is known yet.
const ENOUGH: u32 = 8;
/// When this many gaps were counted, all counts are halved.
const FADE_AT: u32 = 4096;

/// The rule an operator chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepAlive {
    Fixed(Duration),
    /// Learned, within these bounds; `unknown` holds until enough is known.
    Learned {
        min: Duration,
        unknown: Duration,
        max: Duration,
    },
}

impl Default for KeepAlive {
    fn default() -> Self {
        Self::Learned { min: Duration::from_secs(30), unknown: Duration::from_secs(300), max: Duration::from_secs(900) }
    }
}

/// The arrivals of one function.
#[derive(Clone, Debug, Default)]
pub struct Arrivals {
    gaps: [u32; BUCKETS],
    counted: u32,
    last: Option<Mono>,
}

fn bucket(gap: Duration) -> usize {
    let steps = (gap.as_micros() / FIRST.as_micros()).max(1);
    (steps.ilog2() as usize + usize::from(!steps.is_power_of_two())).min(BUCKETS - 1)
}

fn width(bucket: usize) -> Duration {
    FIRST * (1 << bucket)
}

impl Arrivals {
    pub fn note(&mut self, now: Mono) {
        if let Some(last) = self.last.replace(now) {
            self.gaps[bucket(now.since(last))] += 1;
            self.counted += 1;
            if self.counted >= FADE_AT {
                self.gaps.iter_mut().for_each(|n| *n /= 2);
                self.counted = self.gaps.iter().sum();
            }
        }
    }

    /// How long an instance of this function stays idle before it goes.
    pub fn keep(&self, rule: KeepAlive) -> Duration {
        match rule {
            KeepAlive::Fixed(d) => d,
            KeepAlive::Learned { unknown, .. } if self.counted < ENOUGH => unknown,
            KeepAlive::Learned { min, max, .. } => {
                let covers = self.covering(99);
                if covers > max { min } else { (covers + covers / 4).clamp(min, max) }
            }
        }
    }

    /// The width that covers this many percent of the gaps.
    fn covering(&self, percent: u32) -> Duration {
        let wanted = (u64::from(self.counted) * u64::from(percent)).div_ceil(100);
        let mut seen = 0;
        for (i, n) in self.gaps.iter().enumerate() {
            seen += u64::from(*n);
            if seen >= wanted {
                return width(i);
            }
        }
        width(BUCKETS - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(gaps: &[u64]) -> Arrivals {
        let (mut a, mut now) = (Arrivals::default(), Mono(0));
        a.note(now);
        for ms in gaps {
            now = now + Duration::from_millis(*ms);
            a.note(now);
        }
        a
    }
    const RULE: KeepAlive =
        KeepAlive::Learned { min: Duration::from_secs(30), unknown: Duration::from_secs(300), max: Duration::from_secs(900) };

    #[test]
    fn nothing_known_keeps_for_the_default() {
        assert_eq!(after(&[10, 10]).keep(RULE), Duration::from_secs(300));
    }

    #[test]
    fn a_function_called_every_two_minutes_is_kept_over_the_gap_and_not_much_longer() {
        let kept = after(&[120_000; 20]).keep(RULE);
        assert!(kept > Duration::from_secs(120) && kept < Duration::from_secs(330), "{kept:?}");
    }

    #[test]
    fn a_busy_function_is_kept_for_the_least_and_so_is_one_called_daily() {
        assert_eq!(after(&[5; 50]).keep(RULE), Duration::from_secs(30));
        assert_eq!(after(&[86_400_000; 20]).keep(RULE), Duration::from_secs(30));
    }

    #[test]
    fn a_changed_habit_is_followed() {
        let mut gaps = vec![600_000; 50];
        gaps.extend(vec![100; 20_000]);
        assert_eq!(after(&gaps).keep(RULE), Duration::from_secs(30));
    }
}
