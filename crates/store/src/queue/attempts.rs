//! Which events have an attempt under way, or were settled and are not followed yet. In memory alone.
//!
//! Who wants to try events looks into the index first and claims afterwards. What was settled in between looks due as it was
//! before, with the tries that it had then: such a claim is refused, since its event would be tried once too often.

use model::queue::Lane;
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

type Key = Option<Arc<str>>;

#[derive(Default)]
pub(super) struct Attempts(Mutex<State>);

#[derive(Default)]
struct State {
    under_way: HashMap<u64, (Lane, Key)>,
    looks: usize,
    /// Settled since the oldest look that still goes on.
    settled: HashSet<u64>,
}

/// A look into the index, from before it to after the last claim.
pub(super) struct Look<'a>(&'a Attempts);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claimed {
    Yes,
    /// An attempt is under way.
    Taken,
    /// What was seen of it is not so any more.
    Stale,
}

impl Attempts {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn look(&self) -> Look<'_> {
        self.state().looks += 1;
        Look(self)
    }

    pub fn contains(&self, seq: u64) -> bool {
        self.state().under_way.contains_key(&seq)
    }

    /// How many there are.
    pub fn all(&self) -> usize {
        self.state().under_way.len()
    }

    /// Attempts of a lane.
    pub fn count(&self, lane: &Lane) -> usize {
        self.state().under_way.values().filter(|(l, _)| l == lane).count()
    }

    /// The lane of every attempt.
    pub fn each_lane(&self, mut see: impl FnMut(&Lane)) {
        self.state().under_way.values().for_each(|(lane, _)| see(lane));
    }

    /// Those numbered higher, in order.
    pub fn after(&self, seq: u64) -> Vec<u64> {
        let mut all: Vec<u64> = self.state().under_way.keys().copied().filter(|s| *s > seq).collect();
        all.sort_unstable();
        all
    }

    /// Not tried after all. Gives its lane.
    pub fn release(&self, seq: u64) -> Option<Lane> {
        self.state().under_way.remove(&seq).map(|(lane, _)| lane)
    }

    /// The index shows what became of them.
    pub fn settled(&self, all: &[u64]) {
        let mut state = self.state();
        for seq in all {
            state.under_way.remove(seq);
        }
        if state.looks > 0 {
            state.settled.extend(all);
        }
    }
}

impl Look<'_> {
    /// Attempts of a lane, and their keys.
    pub fn of(&self, lane: &Lane) -> (usize, HashSet<Arc<str>>) {
        let state = self.0.state();
        let of = || state.under_way.values().filter(|(l, _)| l == lane);
        (of().count(), of().filter_map(|(_, key)| key.clone()).collect())
    }

    pub fn claim(&self, seq: u64, lane: &Lane, key: &Key) -> Claimed {
        let mut state = self.0.state();
        if state.settled.contains(&seq) {
            return Claimed::Stale;
        }
        match state.under_way.entry(seq) {
            std::collections::hash_map::Entry::Occupied(_) => Claimed::Taken,
            std::collections::hash_map::Entry::Vacant(free) => {
                free.insert((lane.clone(), key.clone()));
                Claimed::Yes
            }
        }
    }
}

impl Drop for Look<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.looks -= 1;
        if state.looks == 0 {
            state.settled = HashSet::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{FunctionName, TenantId};

    #[test]
    fn what_was_settled_during_a_look_is_not_claimed_from_it() {
        let lane = Lane { tenant: TenantId::new("000000000000"), function: FunctionName::new("f") };
        let attempts = Attempts::default();
        let first = attempts.look();
        assert_eq!(first.claim(1, &lane, &None), Claimed::Yes);
        let second = attempts.look();
        assert_eq!(second.claim(1, &lane, &None), Claimed::Taken);
        attempts.settled(&[1]);
        drop(first);
        // It saw the event before it was settled.
        assert_eq!(second.claim(1, &lane, &None), Claimed::Stale);
        assert_eq!(second.claim(2, &lane, &None), Claimed::Yes);
        drop(second);
        assert_eq!(attempts.look().claim(1, &lane, &None), Claimed::Yes);
        assert_eq!((attempts.count(&lane), attempts.after(1)), (2, vec![2]));
        assert!(attempts.state().settled.is_empty(), "nothing is remembered without a look");
    }
}
