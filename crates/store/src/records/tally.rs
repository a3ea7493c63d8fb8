//! What became of calls since the start of the platform, counted by the thread that writes records down: whoever watches costs
//! calls nothing. Bounded: functions beyond [`FUNCTIONS_MAX`] are counted together.

use model::{FunctionName, TenantId, event::Record};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// Functions that are counted by name, the first that were called since the start. All later ones are counted as one.
pub const FUNCTIONS_MAX: usize = 500;
/// The tenant and the name that those are counted under: no function can be called so.
pub const OTHER: &str = "<other>";
/// Upper bounds of the durations that are told apart, in microseconds: 1 ms to 15 minutes.
pub const BOUNDS_US: [u64; 14] = [
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    5_000_000,
    30_000_000,
    120_000_000,
    900_000_000,
];

/// How many durations lie below which bound.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Within each of [`BOUNDS_US`] and above the one before; the last is above all.
    pub counts: [u64; BOUNDS_US.len() + 1],
    pub sum_us: u64,
}

impl Histogram {
    fn add(&mut self, us: u64) {
        self.counts[BOUNDS_US.partition_point(|bound| *bound < us)] += 1;
        self.sum_us = self.sum_us.saturating_add(us);
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// What became of one function's calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FunctionTally {
    /// `ok`, `error` (user code reported it) or the name of a [`model::Cause`].
    pub outcomes: BTreeMap<Arc<str>, u64>,
    /// What was charged for.
    pub duration: Histogram,
    /// Waiting for a slot.
    pub queued: Histogram,
    /// Of the calls that paid for a start.
    pub init: Histogram,
    /// In milliseconds.
    pub billed_ms: u64,
    /// MiB × milliseconds: 1,024,000 are one GB-second.
    pub mib_ms: u64,
}

/// All functions' counts. The key is tenant and name.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    functions: HashMap<(TenantId, FunctionName), FunctionTally>,
    /// Those that are not counted by name.
    other: Option<FunctionTally>,
}

impl Tally {
    /// Nothing of a tenant is told any more.
    pub(super) fn forget(&mut self, tenant: &TenantId) {
        self.functions.retain(|(whose, _), _| whose != tenant);
    }

    pub(super) fn add(&mut self, record: &Record) {
        let key = (record.tenant.clone(), record.function.clone());
        let known = self.functions.len() < FUNCTIONS_MAX || self.functions.contains_key(&key);
        let f = if known { self.functions.entry(key).or_default() } else { self.other.get_or_insert_default() };
        match f.outcomes.get_mut(&record.status) {
            Some(count) => *count += 1,
            None => drop(f.outcomes.insert(record.status.clone(), 1)),
        }
        let us = |d: std::time::Duration| u64::try_from(d.as_micros()).unwrap_or(u64::MAX);
        f.duration.add(us(record.usage.duration));
        f.queued.add(record.steps.queued_us);
        if let Some(init) = record.usage.init {
            f.init.add(us(init));
        }
        let billed = record.usage.billed_ms();
        f.billed_ms = f.billed_ms.saturating_add(billed);
        f.mib_ms = f.mib_ms.saturating_add(billed.saturating_mul(u64::from(record.usage.memory_mib)));
    }

    /// Tenant, function and its counts, in order; all that were not counted by name as [`OTHER`], last.
    pub fn rows(&self) -> Vec<(&str, &str, &FunctionTally)> {
        let mut rows: Vec<_> = self.functions.iter().map(|((t, f), tally)| (t.as_str(), f.as_str(), tally)).collect();
        rows.sort_unstable_by_key(|(tenant, function, _)| (*tenant, *function));
        rows.extend(self.other.iter().map(|tally| (OTHER, OTHER, tally)));
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{
        InvocationId, RevisionId,
        event::{Steps, Trigger, Usage},
    };
    use std::time::Duration;

    fn record(function: &str, us: u64) -> Record {
        Record {
            id: InvocationId::random(),
            tenant: TenantId::new("t"),
            function: function.into(),
            version: "1".into(),
            revision: RevisionId::random(),
            instance: None,
            trigger: Trigger::Invoke,
            started_ms: 1,
            steps: Steps { queued_us: 7, ..Steps::default() },
            usage: Usage { duration: Duration::from_micros(us), init: None, memory_mib: 512, memory_max_bytes: 0 },
            status: "ok".into(),
        }
    }

    #[test]
    fn a_duration_is_counted_within_its_bound_and_the_bound_is_inclusive() {
        let mut tally = Tally::default();
        for us in [0, 1_000, 1_001, 900_000_000, 900_000_001] {
            tally.add(&record("f", us));
        }
        tally.add(&Record {
            status: "timeout".into(),
            usage: Usage { init: Some(Duration::from_millis(3)), ..record("f", 1_500).usage },
            ..record("f", 0)
        });
        let rows = tally.rows();
        let (tenant, name, f) = rows[0];
        assert_eq!((tenant, name, rows.len()), ("t", "f", 1));
        assert_eq!(f.duration.counts[..2], [2, 2]);
        assert_eq!(f.duration.counts[BOUNDS_US.len() - 1..], [1, 1]);
        assert_eq!((f.duration.count(), f.init.count(), f.init.sum_us), (6, 1, 3_000));
        assert_eq!(f.duration.sum_us, 1_000 + 1_001 + 900_000_000 + 900_000_001 + 1_500);
        assert_eq!(f.outcomes.iter().map(|(k, n)| (&**k, *n)).collect::<Vec<_>>(), [("ok", 5), ("timeout", 1)]);
        assert_eq!(f.billed_ms, 1 + 1 + 2 + 900_000 + 900_001 + 2);
        assert_eq!(f.mib_ms, f.billed_ms * 512);
    }

    #[test]
    fn functions_beyond_the_bound_are_counted_together_and_none_is_lost() {
        let mut tally = Tally::default();
        for n in 0..FUNCTIONS_MAX + 20 {
            tally.add(&record(&format!("f{n:04}"), 1));
        }
        tally.add(&record("f0000", 1));
        let rows = tally.rows();
        assert_eq!(rows.len(), FUNCTIONS_MAX + 1);
        assert_eq!((rows[0].1, rows[0].2.duration.count()), ("f0000", 2));
        assert_eq!((rows[FUNCTIONS_MAX].1, rows[FUNCTIONS_MAX].2.duration.count()), (OTHER, 20));
    }
}
