//! The engine in numbers, for whoever watches: looked up in one short hold of its lock, or counted where a call is refused.

use crate::Engine;
use model::{Cause, Fault};
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

/// What is there now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// By state: `starting`, `busy`, `idle`, `frozen`, `draining`, `leaving`.
    pub instances: BTreeMap<&'static str, usize>,
    pub provisioned: usize,
    /// Started before anybody asked, without code.
    pub unbound: usize,
    pub functions: usize,
    /// Calls that wait for a slot, and that have one.
    pub waiting: usize,
    pub running: usize,
    pub memory_reserved_bytes: u64,
    /// What all instances used together when they were asked.
    pub memory_used_bytes: u64,
}

/// Calls that were refused before anything ran, since the start.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    throttled: AtomicU64,
    exhausted: AtomicU64,
    denied: AtomicU64,
    too_large: AtomicU64,
}

impl Refusals {
    /// Count a refusal, where it is one.
    pub(crate) fn count(&self, fault: &Fault) {
        let counter = match fault.cause {
            Cause::Throttled => &self.throttled,
            Cause::Exhausted => &self.exhausted,
            Cause::Denied => &self.denied,
            Cause::TooLarge => &self.too_large,
            _ => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

impl Engine {
    /// What is there now, of all tenants.
    pub fn figures(&self) -> Figures {
        let mut figures = Figures { unbound: self.unbound.count(), functions: self.catalog.all().len(), ..Figures::default() };
        let state = self.lock();
        for view in state.pools.views() {
            *figures.instances.entry(view.state).or_default() += 1;
            figures.provisioned += usize::from(view.provisioned);
        }
        figures.waiting = state.pools.waiting();
        figures.running = state.pools.admitted().saturating_sub(figures.waiting);
        figures.memory_reserved_bytes = state.pools.memory_used();
        let live: Vec<_> = state.live.values().cloned().collect();
        // The kernel is asked without the lock that every call takes.
        drop(state);
        figures.memory_used_bytes = live.iter().map(|l| l.measure().memory_bytes).sum();
        figures
    }

    /// Calls that were refused since the start, by why.
    pub fn refusals(&self) -> [(&'static str, u64); 4] {
        let r = &self.refusals;
        let all = [
            (Cause::Throttled, &r.throttled),
            (Cause::Exhausted, &r.exhausted),
            (Cause::Denied, &r.denied),
            (Cause::TooLarge, &r.too_large),
        ];
        all.map(|(cause, counter)| (cause.name(), counter.load(Ordering::Relaxed)))
    }
}
