//! Which function's events are tried next: a state machine over a clock, without events in it.
//!
//! Decided: all lanes share a number of attempts under way; tenants that have something due take turns, and the lanes of a tenant
//! take turns within it, each for its share of what is free: neither a function with a million events nor a tenant with a
//! thousand functions leaves the others nothing. A lane whose function can't take more (throttled,
//! no room, missing) is held back for a while that doubles, and the others go on.

use model::{FunctionName, Mono, TenantId, queue::Lane};
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
    kept: u64,
    in_flight: usize,
    /// In a row, without an attempt that reached user code.
    strikes: u32,
    not_before: Mono,
    /// When the next event falls due: milliseconds since the Unix epoch.
    due_ms: Option<u64>,
}

#[derive(Debug, Default)]
pub struct Lanes {
    all: BTreeMap<Lane, One>,
    in_flight: usize,
    in_flight_max: usize,
    /// Whose turn was last, and the last one of each tenant.
    last: Option<TenantId>,
    last_of: BTreeMap<TenantId, FunctionName>,
    /// Events that wait and dead letters, of each tenant that has any.
    kept: BTreeMap<TenantId, u64>,
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
        Self { all: BTreeMap::new(), in_flight: 0, in_flight_max: in_flight_max.max(1), ..Self::default() }
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
        let mut wanting: Vec<(&TenantId, usize)> = Vec::new();
        // The lanes of a tenant lie side by side.
        for (lane, _) in self.all.iter().filter(|(_, one)| ready(one)) {
            match wanting.last_mut() {
                Some((tenant, lanes)) if **tenant == lane.tenant => *lanes += 1,
                _ => wanting.push((&lane.tenant, 1)),
            }
        }
        if wanting.is_empty() {
            return Next::Wait(self.sleep(now, wall_ms));
        }
        if free == 0 {
            // The end of an attempt rings.
            return Next::Wait(None);
        }
        let behind = wanting.iter().find(|(tenant, _)| self.last.as_ref().is_none_or(|last| *tenant > last));
        let (tenant, lanes) = *behind.unwrap_or(&wanting[0]);
        let share = (free / wanting.len() / lanes).clamp(1, BATCH_MAX);
        let tenant = tenant.clone();
        let lane = self.of_tenant(&tenant).find(|lane| ready(&self.all[*lane])).cloned();
        let lane = lane.expect("one was counted");
        self.last_of.insert(tenant.clone(), lane.function.clone());
        self.last = Some(tenant);
        Next::Take(lane, share)
    }

    /// The lanes of a tenant, from the one behind its last turn's on.
    fn of_tenant(&self, tenant: &TenantId) -> impl Iterator<Item = &Lane> {
        let at = |function: FunctionName| Lane { tenant: tenant.clone(), function };
        let first = at(FunctionName::new(""));
        let behind = match self.last_of.get(tenant) {
            Some(last) => Bound::Excluded(at(last.clone())),
            None => Bound::Included(first.clone()),
        };
        let own = move |lane: &&Lane| lane.tenant == first.tenant;
        let from = Bound::Included(at(FunctionName::new("")));
        let lanes = |from: Bound<Lane>| self.all.range((from, Bound::Unbounded)).map(|(lane, _)| lane);
        lanes(behind).take_while(own.clone()).chain(lanes(from).take_while(own))
    }

    /// So many events of a lane wait or are dead letters now.
    pub fn count(&mut self, lane: &Lane, kept: u64) {
        let before = match self.all.get_mut(lane) {
            Some(one) => std::mem::replace(&mut one.kept, kept),
            None if kept == 0 => return,
            None => {
                self.all.entry(lane.clone()).or_default().kept = kept;
                0
            }
        };
        let sum = self.kept.get(&lane.tenant).copied().unwrap_or(0).saturating_sub(before) + kept;
        if sum == 0 {
            self.kept.remove(&lane.tenant);
        } else {
            self.kept.insert(lane.tenant.clone(), sum);
        }
    }

    /// How many events of a tenant wait or are dead letters.
    pub fn kept(&self, tenant: &TenantId) -> u64 {
        self.kept.get(tenant).copied().unwrap_or(0)
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
            if self.of_tenant(&lane.tenant).next().is_none() {
                self.last_of.remove(&lane.tenant);
            }
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
    fn a_tenant_with_many_lanes_has_as_many_turns_as_one_with_a_single_lane() {
        let of = |tenant: &str, name: &str| Lane { tenant: tenant.into(), function: name.into() };
        let mut lanes = Lanes::new(1000);
        for name in ["a", "b", "c"] {
            lanes.changed(&of("many", name), false);
        }
        lanes.changed(&of("one", "z"), false);
        let mut turns = Vec::new();
        for _ in 0..6 {
            let Next::Take(lane, share) = lanes.next(at(0), 0) else { panic!("all have something due") };
            lanes.took(&lane, share, share, None);
            (0..share).for_each(|_| lanes.ended(&lane, true, at(0)));
            turns.push((lane.tenant.to_string(), lane.function.to_string(), share));
        }
        let of_many = |name: &str| ("many".to_owned(), name.to_owned(), BATCH_MAX);
        let of_one = ("one".to_owned(), "z".to_owned(), BATCH_MAX);
        assert_eq!(turns, [of_many("a"), of_one.clone(), of_many("b"), of_one.clone(), of_many("c"), of_one]);
    }

    #[test]
    fn events_that_are_kept_are_summed_for_each_tenant() {
        let mut lanes = Lanes::new(1);
        let other = Lane { tenant: "other".into(), function: "a".into() };
        for (lane, kept) in [(&lane("a"), 5), (&lane("b"), 2), (&other, 9), (&lane("a"), 3)] {
            lanes.count(lane, kept);
            lanes.changed(lane, false);
        }
        assert_eq!((lanes.kept(&"t".into()), lanes.kept(&"other".into())), (5, 9));
        lanes.count(&lane("a"), 0);
        lanes.forget(&lane("a"));
        assert_eq!((lanes.kept(&"t".into()), lanes.kept(&"nobody".into())), (2, 0));
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
