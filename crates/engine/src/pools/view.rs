//! The pools as seen from outside.

use super::{Config, FunctionKey, Phase, Pools};
use model::{InstanceId, Mono, Unit};
use std::sync::Arc;

/// One instance as seen from outside.
pub struct View<'a> {
    pub id: InstanceId,
    pub unit: &'a Arc<Unit>,
    pub state: &'static str,
    pub provisioned: bool,
    pub since: Mono,
    pub calls: u64,
}

impl<W> Pools<W> {
    /// Everything that the pools hold now.
    pub fn views(&self) -> impl Iterator<Item = View<'_>> {
        self.instances.iter().map(|(id, i)| View {
            id: *id,
            unit: &self.pools[&i.revision].unit,
            state: match i.phase {
                Phase::Starting => "starting",
                Phase::Draining => "draining",
                Phase::Leaving => "leaving",
                Phase::Ready if i.busy > 0 => "busy",
                Phase::Ready if i.frozen => "frozen",
                Phase::Ready => "idle",
            },
            provisioned: i.provisioned,
            since: i.since,
            calls: i.calls,
        })
    }
    /// Waiting and running calls of a function.
    pub fn load(&self, key: &FunctionKey) -> (usize, usize) {
        let admitted = self.functions.get(key).map_or(0, |f| f.admitted as usize);
        let waiting = self.pools.values().map(|p| p.waiting.iter().filter(|w| w.1 == *key).count()).sum();
        (waiting, admitted.saturating_sub(waiting))
    }
    /// Calls of all functions that wait.
    pub fn waiting(&self) -> usize {
        self.pools.values().map(|p| p.waiting.len()).sum()
    }
    /// Calls of all functions that are not over.
    pub fn admitted(&self) -> usize {
        self.functions.values().map(|f| f.admitted as usize).sum()
    }
    pub fn memory_used(&self) -> u64 {
        self.memory_used
    }
    pub fn instances(&self) -> usize {
        self.instances.len()
    }
    pub fn config(&self) -> &Config {
        &self.config
    }
}
