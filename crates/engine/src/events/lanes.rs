//! Which function's events are tried next: a state machine over a clock, without events in it.
//!
//! Decided: all lanes share a number of attempts under way; those that have something due take turns, each for its share of what
//! is free, so that a function with a million events leaves the others theirs. A lane whose function can't take more (throttled,
//! no room, missing) is held back for a while that doubles, and the others go on.

use model::{Mono, queue::Lane};
use std::{collections::BTreeMap, ops::Bound, time::Duration};

/// However late the next event falls due: the wall clock, by which it does, may be set meanwhile.
const LOOK_MAX: Duration = Duration::from_secs(10);
/// Events of one lane that are read at once.
const BATCH_MAX: usize = 64;
const HELD_MIN: Duration = Duration::from_millis(100);
const HELD_MAX: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
struct One {
    /// Something may be due.
    hungry: bool,
    paused: bool,
    in_flight: usize,
    /// In a row, without an attempt that reached user code.
    strikes: u32,
    not_before: Mono,
    /// When the next event falls due: milliseconds since the Unix epoch.
    due_ms: Option<u64>,
}

#[derive(Debug)]
pub struct Lanes {
    all: BTreeMap<Lane, One>,
    in_flight: usize,
    in_flight_max: usize,
    /// Whose turn was last.
    last: Option<Lane>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Read so many of its events, and report [`Lanes::took`].
    Take(Lane, usize),
    /// Nothing to do before something changes, or so long.
    Wait(Option<Duration>),
}

impl Lanes {
    pub fn new(in_flight_max: usize) -> Self {
        Self { all: BTreeMap::new(), in_flight: 0, in_flight_max: in_flight_max.max(1), last: None }
    }

    /// Something in it changed: there may be events that are due.
    pub fn changed(&mut self, lane: &Lane, paused: bool) {
        let one = self.all.entry(lane.clone()).or_default();
        one.hungry = true;
        one.paused = paused;
    }

    pub fn next(&mut self, now: Mono, wall_ms: u64) -> Next {
        for one in self.all.values_mut().filter(|o| o.due_ms.is_some_and(|due| due <= wall_ms)) {
            one.hungry = true;
            one.due_ms = None;
        }
        let free = self.in_flight_max - self.in_flight.min(self.in_flight_max);
        let ready = |one: &One| one.hungry && !one.paused && one.not_before <= now;
        let wanting = self.all.values().filter(|o| ready(o)).count();
        if wanting == 0 {
            return Next::Wait(self.sleep(now, wall_ms));
        }
        if free == 0 {
            // The end of an attempt rings.
            return Next::Wait(None);
        }
        let share = (free / wanting).clamp(1, BATCH_MAX);
        let lane = self.after_last().find(|lane| ready(&self.all[*lane])).cloned();
        let lane = lane.expect("one was counted");
        self.last = Some(lane.clone());
        Next::Take(lane, share)
    }

    /// All lanes, from the one behind the last turn's on.
    fn after_last(&self) -> impl Iterator<Item = &Lane> {
        let from = self.last.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let behind = self.all.range::<Lane, _>((from, Bound::Unbounded));
        behind.chain(self.all.iter()).map(|(lane, _)| lane)
    }

    fn sleep(&self, now: Mono, wall_ms: u64) -> Option<Duration> {
        let one = |o: &One| match (o.paused, o.hungry, o.due_ms) {
            (true, ..) => None,
            (_, true, _) => Some(o.not_before.since(now)),
            (_, _, due) => due.map(|due| Duration::from_millis(due.saturating_sub(wall_ms).max(1)).min(LOOK_MAX)),
        };
        self.all.values().filter_map(one).min()
    }

    /// So many were read of those that were asked for, and are under way.
    pub fn took(&mut self, lane: &Lane, asked: usize, got: usize, due_ms: Option<u64>) {
        let Some(one) = self.all.get_mut(lane) else { return };
        one.in_flight += got;
        one.hungry = got >= asked;
        one.due_ms = due_ms;
        self.in_flight += got;
    }

    /// Its events could not be read.
    pub fn failed(&mut self, lane: &Lane, now: Mono) {
        if let Some(one) = self.all.get_mut(lane) {
            one.hold(now);
        }
    }

    /// An attempt is over. `reached`: user code had it, or it is over for good; otherwise the lane is held back.
    pub fn ended(&mut self, lane: &Lane, reached: bool, now: Mono) {
        self.in_flight = self.in_flight.saturating_sub(1);
        let Some(one) = self.all.get_mut(lane) else { return };
        one.in_flight = one.in_flight.saturating_sub(1);
        if reached {
            one.strikes = 0;
        } else {
            one.hold(now);
        }
    }

    /// Nothing of it is left: no events, no attempts.
    pub fn forget(&mut self, lane: &Lane) {
        if self.all.get(lane).is_some_and(|o| o.in_flight == 0) {
            self.all.remove(lane);
        }
    }

    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Whether a turn is due that nobody takes.
    pub fn waits(&self, now: Mono) -> bool {
        self.in_flight < self.in_flight_max && self.all.values().any(|o| o.hungry && !o.paused && o.not_before <= now)
    }
}

impl One {
    fn hold(&mut self, now: Mono) {
        self.hungry = true;
        // Many attempts that end together count once.
        if self.not_before <= now {
            self.not_before = now + HELD_MIN.saturating_mul(1 << self.strikes.min(16)).min(HELD_MAX);
            self.strikes += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(name: &str) -> Lane {
        Lane { tenant: "t".into(), function: name.into() }
    }
    fn at(ms: u64) -> Mono {
        Mono(1) + Duration::from_millis(ms)
    }

    #[test]
    fn lanes_take_turns_and_share_what_is_free() {
        let mut lanes = Lanes::new(10);
        for name in ["a", "b"] {
            lanes.changed(&lane(name), false);
        }
        assert_eq!(lanes.next(at(0), 0), Next::Take(lane("a"), 5));
        lanes.took(&lane("a"), 5, 5, None);
        assert_eq!(lanes.next(at(0), 0), Next::Take(lane("b"), 2));
        lanes.took(&lane("b"), 2, 1, None);
        assert_eq!(lanes.next(at(0), 0), Next::Take(lane("a"), 4), "b has no more");
        lanes.took(&lane("a"), 4, 4, None);
        assert_eq!(lanes.next(at(0), 0), Next::Wait(None), "none is free");
        assert!(!lanes.waits(at(0)));
        lanes.ended(&lane("b"), true, at(1));
        lanes.changed(&lane("b"), false);
        assert_eq!(lanes.next(at(1), 1), Next::Take(lane("b"), 1), "its turn, whatever a has");
    }

    #[test]
    fn a_lane_that_cannot_go_on_is_held_back_longer_each_time() {
        let mut lanes = Lanes::new(4);
        lanes.changed(&lane("a"), false);
        let mut now = 0;
        for pause in [100, 200, 400] {
            assert_eq!(lanes.next(at(now), 0), Next::Take(lane("a"), 4));
            lanes.took(&lane("a"), 4, 2, None);
            lanes.ended(&lane("a"), false, at(now));
            lanes.ended(&lane("a"), false, at(now));
            assert_eq!(lanes.next(at(now), 0), Next::Wait(Some(Duration::from_millis(pause))));
            now += pause;
        }
        lanes.took(&lane("a"), 4, 1, None);
        lanes.ended(&lane("a"), true, at(now));
        lanes.failed(&lane("a"), at(now));
        assert_eq!(lanes.next(at(now), 0), Next::Wait(Some(HELD_MIN)), "one that got through begins anew");
    }

    #[test]
    fn what_is_paused_waits_and_what_falls_due_wakes() {
        let mut lanes = Lanes::new(4);
        lanes.changed(&lane("a"), true);
        assert_eq!(lanes.next(at(0), 0), Next::Wait(None));
        lanes.changed(&lane("a"), false);
        assert_eq!(lanes.next(at(0), 1000), Next::Take(lane("a"), 4));
        lanes.took(&lane("a"), 4, 0, Some(1500));
        assert_eq!(lanes.next(at(0), 1000), Next::Wait(Some(Duration::from_millis(500))));
        assert_eq!(lanes.next(at(500), 1500), Next::Take(lane("a"), 4));
        // Somebody may set the wall clock ahead meanwhile.
        lanes.took(&lane("a"), 4, 0, Some(1_000_000));
        assert_eq!(lanes.next(at(500), 1500), Next::Wait(Some(LOOK_MAX)));
        assert_eq!(lanes.next(at(501), 1_000_000), Next::Take(lane("a"), 4));
    }
}
