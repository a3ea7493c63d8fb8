//! An instance from its start to its end, as the pools count it.

use super::{FunctionKey, Phase, Pools, STEADY, backoff};
use model::{InstanceId, Mono, RevisionId, Unit};
use std::sync::Arc;

impl<W> Pools<W> {
    /// One more call on an instance that has a free slot.
    pub(super) fn take(&mut self, id: InstanceId, now: Mono) {
        let inst = self.instances.get_mut(&id).expect("the free list names living instances only");
        self.idle.remove(&(inst.idle_since, id));
        self.warm.remove(&(inst.idle_since, id));
        inst.busy += 1;
        inst.calls += 1;
        inst.frozen = false;
        inst.idle_since = now;
        let full = inst.busy >= inst.slots;
        let pool = self.pools.get_mut(&inst.revision).expect("an instance's pool outlives it");
        pool.busy += 1;
        if full {
            pool.free.retain(|f| *f != id);
        }
    }

    /// The instance is initialised and has this many slots.
    pub fn ready(&mut self, id: InstanceId, slots: u32, now: Mono) {
        let Some(inst) = self.instances.get_mut(&id) else { return };
        if inst.phase != Phase::Starting {
            return;
        }
        inst.phase = Phase::Ready;
        inst.slots = slots.max(1);
        let (revision, took) = (inst.revision, now.since(inst.since));
        self.starts -= 1;
        let pool = self.pools.get_mut(&revision).expect("an instance's pool outlives it");
        pool.starting -= 1;
        pool.pace.started(took);
        pool.free.push(id);
        // A start less is under way.
        self.wishes_open = true;
        self.serve(revision, id, now);
        // It may have fewer slots than its unit let expect.
        self.scale(revision, now);
        self.feed(now);
    }

    /// The instance that is being started is known by another name: it was running already, without a unit.
    pub fn adopt(&mut self, id: InstanceId, as_id: InstanceId) {
        if let Some(inst) = self.instances.remove(&id) {
            self.instances.insert(as_id, inst);
        }
    }

    /// What a start is for.
    pub fn unit(&self, revision: RevisionId) -> Option<Arc<Unit>> {
        self.pools.get(&revision).map(|p| p.unit.clone())
    }

    /// A start did not succeed; its instance is being removed (report [`Pools::gone`]). The call that has waited longest is taken
    /// out of the line, to be told why.
    pub fn start_failed(&mut self, id: InstanceId) -> Option<W> {
        let inst = self.instances.get_mut(&id)?;
        if inst.phase != Phase::Starting {
            return None;
        }
        inst.phase = Phase::Leaving;
        self.memory_leaving += inst.reserved_bytes;
        let revision = inst.revision;
        self.starts -= 1;
        let pool = self.pools.get_mut(&revision).expect("an instance's pool outlives it");
        pool.starting -= 1;
        if std::mem::take(&mut inst.provisioned) {
            // Those that came up are kept; no more are tried.
            pool.provisioned_have -= 1;
            pool.provisioned_failed = true;
        }
        let (_, key, waiter, _) = pool.waiting.pop_front()?;
        self.count_out(&key);
        Some(waiter)
    }

    /// A function's call on it is over and the instance may serve another.
    pub fn freed(&mut self, id: InstanceId, key: &FunctionKey, now: Mono) {
        let Some((revision, phase)) = self.give_back(id, key, now) else { return };
        if phase != Phase::Ready {
            return;
        }
        let pool = self.pools.get_mut(&revision).expect("an instance's pool outlives it");
        if !pool.free.contains(&id) {
            pool.free.push(id);
        }
        if self.must_share(id) {
            self.drain(id);
            return;
        }
        self.serve(revision, id, now);
    }

    /// The call on it is over and the instance must take no other. It goes when its last call is over; report [`Pools::gone`].
    pub fn spent(&mut self, id: InstanceId, key: &FunctionKey, now: Mono) {
        if let Some((revision, phase)) = self.give_back(id, key, now) {
            if phase == Phase::Ready {
                self.drain(id);
            }
            self.scale(revision, now);
        }
    }

    /// The instance ended by itself. Calls that it still holds are given back as they end. One that is kept ready is replaced, the
    /// later the more often it ended without having been of any use.
    pub fn died(&mut self, id: InstanceId, now: Mono) {
        let Some(inst) = self.instances.get(&id).filter(|i| i.phase == Phase::Ready) else { return };
        if inst.provisioned {
            let useless = inst.calls == 0 && now.since(inst.since) < STEADY;
            let pool = self.pools.get_mut(&inst.revision).expect("an instance's pool outlives it");
            pool.provisioned_deaths = if useless { pool.provisioned_deaths + 1 } else { 0 };
            if useless {
                pool.provisioned_not_before = now + backoff(pool.provisioned_deaths);
                self.paused.insert((pool.provisioned_not_before, inst.revision));
                self.rested = true;
            }
        }
        self.drain(id);
    }

    /// No more calls for this one.
    pub(super) fn drain(&mut self, id: InstanceId) {
        let inst = self.instances.get_mut(&id).expect("the caller found it");
        if inst.busy == 0 {
            return self.let_go(id);
        }
        inst.phase = Phase::Draining;
        let pool = self.pools.get_mut(&inst.revision).expect("an instance's pool outlives it");
        pool.free.retain(|f| *f != id);
    }

    pub(super) fn give_back(&mut self, id: InstanceId, key: &FunctionKey, now: Mono) -> Option<(RevisionId, Phase)> {
        let was = self.vacate(id, now)?;
        self.count_out(key);
        Some(was)
    }

    /// One call less on an instance.
    pub(super) fn vacate(&mut self, id: InstanceId, now: Mono) -> Option<(RevisionId, Phase)> {
        let inst = self.instances.get_mut(&id)?;
        if inst.busy == 0 {
            return None;
        }
        inst.busy -= 1;
        let took = now.since(inst.idle_since);
        inst.idle_since = now;
        let (revision, phase, over) = (inst.revision, inst.phase, inst.busy == 0);
        let pool = self.pools.get_mut(&revision).expect("an instance's pool outlives it");
        pool.busy -= 1;
        pool.pace.called(took);
        if phase == Phase::Draining && over {
            self.let_go(id);
        }
        Some((revision, phase))
    }

    /// Nothing of the instance is left: what it had reserved is free.
    pub fn gone(&mut self, id: InstanceId, now: Mono) {
        let Some(inst) = self.instances.remove(&id) else { return };
        if inst.phase == Phase::Leaving {
            self.memory_leaving -= inst.reserved_bytes;
        }
        self.memory_used -= inst.reserved_bytes;
        self.wishes_open = true;
        self.idle.remove(&(inst.idle_since, id));
        self.warm.remove(&(inst.idle_since, id));
        if let Some(pool) = self.pools.get_mut(&inst.revision) {
            pool.members -= 1;
            pool.free.retain(|f| *f != id);
            if inst.phase == Phase::Starting {
                pool.starting -= 1;
                self.starts -= 1;
            }
            if inst.provisioned {
                pool.provisioned_have -= 1;
            }
        }
        self.scale(inst.revision, now);
        self.feed(now);
        self.sweep(inst.revision);
    }

    /// A pool that nothing refers to any more is dropped.
    pub(super) fn sweep(&mut self, revision: RevisionId) {
        let Some(pool) = self.pools.get(&revision) else { return };
        if pool.members == 0 && pool.waiting.is_empty() && pool.provisioned_wanted == 0 {
            self.turns.remove(&pool.unit.tenant, revision);
            self.wishes.remove(&pool.unit.tenant, revision);
            if pool.deferred {
                self.deferred.retain(|(_, r)| *r != revision);
            }
            self.pools.remove(&revision);
        }
    }
}
