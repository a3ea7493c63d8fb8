//! Starting, keeping and letting go.

use super::{Action, Inst, Phase, Pools};
use model::{InstanceId, Mono, RevisionId, Unit, ports::Slots};
use std::{sync::Arc, time::Duration};

impl<W> Pools<W> {
    /// How many more instances the pool's calls want than are starting for them.
    fn wanted(&self, revision: RevisionId, now: Mono) -> u32 {
        let Some(pool) = self.pools.get(&revision) else { return 0 };
        let waiting = u32::try_from(pool.waiting.len()).unwrap_or(u32::MAX);
        let slots = match pool.unit.settings.slots {
            Slots::One => 1,
            Slots::Bounded(n) => n.max(1),
            Slots::Unbounded => u32::MAX,
        };
        let for_calls = waiting.div_ceil(slots).saturating_sub(pool.starting);
        // With several calls on one instance, how long one takes says nothing of when its slot is free.
        match pool.waiting.front() {
            Some((.., since)) if slots == 1 && now.since(*since) < pool.pace.patience() => {
                for_calls.saturating_sub(pool.busy.saturating_mul(pool.pace.ahead()))
            }
            // Or the first has waited for as long as a start takes: the function is slower than it was.
            _ => for_calls,
        }
    }

    /// Start what the pool wants, as far as there is room; the rest waits for its turn.
    pub(super) fn scale(&mut self, revision: RevisionId, now: Mono) {
        let wished = self.wish(revision, now);
        if self.wanted(revision, now) == 0 {
            self.defer(revision, now);
            if wished {
                self.feed(now);
            }
            return;
        }
        let Some(tenant) = self.pools.get(&revision).map(|p| p.unit.tenant.clone()) else { return };
        self.turns.join(&tenant, revision);
        self.feed(now);
    }

    /// Calls wait for busy instances: look again when the first of them has waited long enough.
    fn defer(&mut self, revision: RevisionId, now: Mono) {
        let Some(pool) = self.pools.get_mut(&revision).filter(|p| !p.deferred) else { return };
        let Some((.., since)) = pool.waiting.front().filter(|_| pool.waiting.len() > pool.starting as usize) else { return };
        let at = *since + pool.pace.patience();
        // One that has waited for so long already is looked at once more when what is starting for it should be there.
        let at = if at > now { at } else { now + pool.pace.patience() };
        pool.deferred = true;
        self.deferred.insert((at, revision));
    }

    /// Start what calls have waited for long enough. Returns when there is more to look at.
    fn hurry(&mut self, now: Mono) -> Option<Mono> {
        while let Some((at, revision)) = self.deferred.first().copied() {
            if now < at {
                return Some(at);
            }
            self.deferred.pop_first();
            if let Some(pool) = self.pools.get_mut(&revision) {
                pool.deferred = false;
            }
            self.scale(revision, now);
        }
        None
    }

    /// Other numbers of the operator's from now on.
    pub fn adjust(&mut self, change: impl FnOnce(&mut super::Config), now: Mono) {
        change(&mut self.config);
        self.wishes_open = true;
        self.feed(now);
    }

    /// Give turns until nobody wants one or there is no room. What no call waits for comes after all calls.
    pub(super) fn feed(&mut self, now: Mono) {
        while !self.turns.is_empty() && self.starts < self.config.starts_max {
            let Some(revision) = self.turns.next() else { return };
            if self.wanted(revision, now) == 0 {
                continue;
            }
            let unit = self.pools[&revision].unit.clone();
            if !self.make_room(self.need(&unit)) {
                self.turns.unget(&unit.tenant, revision);
                return;
            }
            let provisioned = self.keeps_another(&unit, now);
            self.start(&unit, provisioned, now);
            if self.wanted(revision, now) > 0 {
                self.turns.join(&unit.tenant, revision);
            }
        }
        if self.wishes_open && self.turns.is_empty() {
            self.keep_ready(now);
        }
    }

    pub(super) fn start(&mut self, unit: &Arc<Unit>, provisioned: bool, now: Mono) {
        let (id, reserved_bytes) = (InstanceId::random(), self.need(unit));
        self.memory_used += reserved_bytes;
        self.starts += 1;
        let pool = self.pools.get_mut(&unit.revision).expect("a pool asked for this start");
        pool.starting += 1;
        pool.members += 1;
        if provisioned {
            pool.provisioned_have += 1;
        }
        let inst = Inst {
            revision: unit.revision,
            phase: Phase::Starting,
            slots: 1,
            busy: 0,
            provisioned,
            frozen: false,
            idle_since: now,
            since: now,
            calls: 0,
            reserved_bytes,
        };
        self.instances.insert(id, inst);
        self.actions.push(Action::Start { id, revision: unit.revision, provisioned });
    }

    pub(super) fn fits(&self, need: u64) -> bool {
        self.memory_used + need <= self.config.memory_bytes && self.instances.len() < self.config.instances_max
    }

    /// Whether there is room for one more; where there is none, the longest idle instances are let go.
    fn make_room(&mut self, need: u64) -> bool {
        if self.fits(need) {
            return true;
        }
        let leaving = self.instances.values().filter(|i| i.phase == Phase::Leaving).count();
        let mut memory = (self.memory_used + need).saturating_sub(self.memory_leaving);
        let mut count = self.instances.len() - leaving;
        while memory > self.config.memory_bytes || count >= self.config.instances_max {
            let Some((_, id)) = self.idle.iter().find(|(_, id)| !self.instances[id].provisioned).copied() else { break };
            memory -= self.instances[&id].reserved_bytes;
            count -= 1;
            self.let_go(id);
        }
        false
    }

    /// Somebody else waits for room, and this instance's pool holds more than an equal part of it. Where the next in turn needs
    /// more than an equal part, everybody gives way. Instances that are kept ready are nobody's to share.
    pub(super) fn must_share(&self, id: InstanceId) -> bool {
        let revision = self.instances[&id].revision;
        let Some(next) = self.turns.first_but(revision).filter(|_| self.starts < self.config.starts_max) else { return false };
        if self.instances[&id].provisioned {
            return false;
        }
        let (mut held, mut own, mut kept) = ((0, 0), (0, 0), (0, 0));
        for inst in self.instances.values().filter(|i| matches!(i.phase, Phase::Starting | Phase::Ready)) {
            let add = |sum: &mut (u64, usize)| *sum = (sum.0 + inst.reserved_bytes, sum.1 + 1);
            add(&mut held);
            if inst.provisioned {
                add(&mut kept);
            } else if inst.revision == revision {
                add(&mut own);
            }
        }
        let need = self.need(&self.pools[&next].unit);
        let (memory, count) = (self.config.memory_bytes, self.config.instances_max);
        if held.0 + need <= memory && held.1 < count {
            return false;
        }
        let active = self.pools.values().filter(|p| p.busy > 0 || !p.waiting.is_empty()).count().max(1);
        let (memory_share, count_share) = ((memory - kept.0) / active as u64, count.saturating_sub(kept.1) / active);
        own.0 > memory_share || own.1 > count_share || need > memory_share || count_share == 0
    }

    /// Take an instance out of use.
    pub(super) fn let_go(&mut self, id: InstanceId) {
        let Some(inst) = self.instances.get_mut(&id) else { return };
        if inst.phase == Phase::Leaving {
            return;
        }
        if inst.phase == Phase::Starting {
            self.starts -= 1;
        }
        let was_starting = inst.phase == Phase::Starting;
        inst.phase = Phase::Leaving;
        self.memory_leaving += inst.reserved_bytes;
        self.idle.remove(&(inst.idle_since, id));
        self.warm.remove(&(inst.idle_since, id));
        let provisioned = std::mem::take(&mut inst.provisioned);
        let pool = self.pools.get_mut(&inst.revision).expect("an instance's pool outlives it");
        pool.free.retain(|f| *f != id);
        if was_starting {
            pool.starting -= 1;
        }
        if provisioned {
            pool.provisioned_have -= 1;
        }
        self.actions.push(Action::Kill(id));
    }

    /// An instance with a free slot takes the next in line, or rests.
    pub(super) fn serve(&mut self, revision: RevisionId, id: InstanceId, now: Mono) {
        loop {
            let pool = self.pools.get_mut(&revision).expect("an instance's pool outlives it");
            let free = self.instances.get(&id).is_some_and(|i| i.phase == Phase::Ready && i.busy < i.slots);
            if !free {
                return;
            }
            let Some((_, _, waiter, _)) = pool.waiting.pop_front() else { break };
            self.take(id, now);
            self.actions.push(Action::Grant { waiter, id });
        }
        let retired = self.pools[&revision].retired;
        let inst = self.instances.get_mut(&id).expect("checked above");
        if inst.busy > 0 {
            return;
        }
        if retired {
            self.let_go(id);
            return;
        }
        inst.idle_since = now;
        self.idle.insert((now, id));
        self.warm.insert((now, id));
        self.rested = true;
        self.feed(now);
    }

    /// Newer code or settings took this revision's place.
    pub fn retire(&mut self, revision: RevisionId, now: Mono) {
        let Some(pool) = self.pools.get_mut(&revision) else { return };
        pool.retired = true;
        pool.provisioned_wanted = 0;
        let resting: Vec<_> = pool.free.iter().copied().filter(|id| self.instances[id].busy == 0).collect();
        for id in resting {
            self.let_go(id);
        }
        self.sweep(revision);
        self.feed(now);
    }

    fn keep(&self, revision: RevisionId) -> Duration {
        let user = &self.pools[&revision].user;
        self.functions.get(user).map(|f| f.arrivals.keep(self.config.keep_alive)).unwrap_or_default()
    }

    /// Freeze what has rested for a moment, and start what was waited for long enough. Returns when there is more to do.
    pub fn soon(&mut self, now: Mono) -> Option<Mono> {
        let hurry = self.hurry(now);
        self.freeze(now).into_iter().chain(hurry).min()
    }

    fn freeze(&mut self, now: Mono) -> Option<Mono> {
        while let Some((since, id)) = self.warm.first().copied() {
            let due = since + self.config.freeze_after;
            if now < due {
                return Some(due);
            }
            self.warm.pop_first();
            if let Some(inst) = self.instances.get_mut(&id) {
                inst.frozen = true;
                self.actions.push(Action::Freeze(id));
            }
        }
        None
    }

    /// Whether anything came to rest since the last time this was asked: what [`Pools::expire`] said may be too late for it.
    pub fn rested(&mut self) -> bool {
        std::mem::take(&mut self.rested)
    }

    /// Let go what has rested for long, and replace what was not to be replaced before now. Returns when the next one is due.
    pub fn expire(&mut self, now: Mono) -> Option<Mono> {
        while let Some((_, revision)) = self.paused.first().copied().filter(|(at, _)| *at <= now) {
            self.paused.pop_first();
            self.scale(revision, now);
        }
        let (mut due, mut next) = (Vec::new(), None::<Mono>);
        for (since, id) in self.idle.iter().filter(|(_, id)| !self.instances[id].provisioned) {
            let at = *since + self.keep(self.instances[id].revision);
            if at <= now {
                due.push(*id);
            } else {
                next = Some(next.map_or(at, |n| n.min(at)));
            }
        }
        for id in due {
            self.let_go(id);
        }
        let resume = self.paused.first().map(|(at, _)| *at);
        next.into_iter().chain(resume).min()
    }
}
