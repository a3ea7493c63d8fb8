//! Instances that are kept ready although no call waits for them: provisioned concurrency.
//!
//! A wish for one evicts nobody and stands in nobody's way. It is looked at when every call has had its turn, started when there is
//! room, and looked at again when room is given back. All that is kept together takes [`KEPT_PART`] of the machine at most. While
//! that is not enough for every wish, tenants have equal parts of it: what one keeps beyond its part is kept no longer when another
//! wants its own.

use super::{Inst, Phase, Pools};
use model::{Mono, RevisionId, TenantId, Unit, ports::NotKept};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// Instances that are kept ready have one of so many parts of the memory, and of the number of instances.
pub const KEPT_PART: u8 = 2;

/// Bytes and instances.
type Room = (u64, usize);

fn within(held: Room, need: u64, most: Room) -> bool {
    held.0 + need <= most.0 && held.1 < most.1
}

fn add(held: &mut Room, inst: &Inst) {
    *held = (held.0 + inst.reserved_bytes, held.1 + 1);
}

/// What is kept now.
#[derive(Default)]
struct Kept {
    all: Room,
    of: HashMap<TenantId, Room>,
}

impl Kept {
    fn of(&self, tenant: &TenantId) -> Room {
        self.of.get(tenant).copied().unwrap_or_default()
    }
}

impl<W> Pools<W> {
    /// Keep this many instances of a unit ready.
    pub fn provision(&mut self, unit: &Arc<Unit>, wanted: u32, now: Mono) {
        if self.pools.get(&unit.revision).map_or(0, |p| p.provisioned_wanted) == wanted {
            return;
        }
        let pool = self.pool(unit);
        pool.provisioned_wanted = wanted;
        pool.provisioned_failed = false;
        if wanted > 0 {
            pool.retired = false;
        }
        let surplus = pool.provisioned_have.saturating_sub(wanted);
        let mut dropped = 0;
        for inst in self.instances.values_mut().filter(|i| i.revision == unit.revision && i.provisioned) {
            if dropped == surplus {
                break;
            }
            inst.provisioned = false;
            dropped += 1;
        }
        self.pool(unit).provisioned_have -= dropped;
        self.rested |= dropped > 0;
        self.wishes_open |= dropped > 0;
        self.scale(unit.revision, now);
        // What is not kept any more may make room for others.
        self.feed(now);
        self.sweep(unit.revision);
    }

    /// Provisioned instances of a revision that could serve right now or are serving.
    pub fn provisioned_ready(&self, revision: RevisionId) -> u32 {
        let of = |i: &&Inst| i.revision == revision && i.provisioned && i.phase == Phase::Ready;
        u32::try_from(self.instances.values().filter(of).count()).unwrap_or(u32::MAX)
    }

    /// Why the wish for ready instances of a revision is not being fulfilled, where it is not.
    pub fn not_kept(&self, revision: RevisionId) -> Option<NotKept> {
        let pool = self.pools.get(&revision).filter(|p| p.provisioned_wanted > 0)?;
        if pool.provisioned_failed {
            return Some(NotKept::Init);
        }
        let (memory, count) = self.kept_max();
        let needs = self.need(&pool.unit).saturating_mul(u64::from(pool.provisioned_wanted));
        (needs > memory || pool.provisioned_wanted as usize > count).then_some(NotKept::TooLarge)
    }

    /// What may be kept altogether.
    fn kept_max(&self) -> Room {
        (self.config.memory_bytes / u64::from(KEPT_PART), self.config.instances_max / usize::from(KEPT_PART))
    }

    fn kept(&self) -> Kept {
        let mut kept = Kept::default();
        for inst in self.instances.values().filter(|i| i.provisioned) {
            add(&mut kept.all, inst);
            add(kept.of.entry(self.pools[&inst.revision].unit.tenant.clone()).or_default(), inst);
        }
        kept
    }

    /// How many more ready instances are to be started for a pool. One that can never be kept is not.
    fn missing(&self, revision: RevisionId, now: Mono) -> u32 {
        let Some(pool) = self.pools.get(&revision).filter(|p| p.provisioned_wanted > p.provisioned_have) else { return 0 };
        if pool.provisioned_failed || now < pool.provisioned_not_before || self.need(&pool.unit) > self.kept_max().0 {
            return 0;
        }
        pool.provisioned_wanted - pool.provisioned_have
    }

    /// Note what a pool wishes for. `true`: it was not known yet.
    pub(super) fn wish(&mut self, revision: RevisionId, now: Mono) -> bool {
        if self.missing(revision, now) == 0 {
            return false;
        }
        let tenant = self.pools[&revision].unit.tenant.clone();
        let new = self.wishes.join(&tenant, revision);
        self.wishes_open |= new;
        new
    }

    /// Whether an instance that is started for a call is kept afterwards.
    pub(super) fn keeps_another(&self, unit: &Unit, now: Mono) -> bool {
        self.missing(unit.revision, now) > 0 && within(self.kept().all, self.need(unit), self.kept_max())
    }

    /// Start what is to be kept ready, as far as there is room. There are at most as many wishes as accounts have concurrency.
    pub(super) fn keep_ready(&mut self, now: Mono) {
        self.wishes_open = false;
        if self.wishes.is_empty() {
            return;
        }
        let mut kept = self.kept();
        let wishing = self.pools.values().filter(|p| p.provisioned_wanted > 0).map(|p| &p.unit.tenant);
        let parts = wishing.collect::<HashSet<_>>().len().max(1);
        let mut unmet = Vec::new();
        while self.starts < self.config.starts_max {
            let Some(revision) = self.wishes.next() else { break };
            if self.missing(revision, now) == 0 {
                continue;
            }
            let unit = self.pools[&revision].unit.clone();
            let need = self.need(&unit);
            if !self.fits(need) || !self.may_keep(&unit.tenant, need, &mut kept, parts) {
                unmet.push((unit.tenant.clone(), revision));
                continue;
            }
            self.start(&unit, true, now);
            kept.all = (kept.all.0 + need, kept.all.1 + 1);
            let own = kept.of.entry(unit.tenant.clone()).or_default();
            *own = (own.0 + need, own.1 + 1);
            self.wishes.join(&unit.tenant, revision);
        }
        for (tenant, revision) in unmet {
            self.wishes.join(&tenant, revision);
        }
    }

    /// Whether a tenant may keep one more. Within its equal part it may; others give up what they keep beyond theirs.
    fn may_keep(&mut self, tenant: &TenantId, need: u64, kept: &mut Kept, parts: usize) -> bool {
        let most = self.kept_max();
        if within(kept.all, need, most) {
            return true;
        }
        let part = (most.0 / parts as u64, most.1 / parts);
        if !within(kept.of(tenant), need, part) {
            return false;
        }
        while !within(kept.all, need, most) {
            let beyond = |i: &Inst| {
                let held = kept.of(&self.pools[&i.revision].unit.tenant);
                i.provisioned && (held.0 > part.0 || held.1 > part.1)
            };
            // Those that have least to lose first.
            let order = |i: &Inst| (i.phase != Phase::Starting, i.busy > 0, i.idle_since);
            let Some((_, inst)) = self.instances.iter_mut().filter(|(_, i)| beyond(i)).min_by_key(|(id, i)| (order(i), **id))
            else {
                return false;
            };
            inst.provisioned = false;
            self.rested = true;
            let pool = self.pools.get_mut(&inst.revision).expect("an instance's pool outlives it");
            pool.provisioned_have -= 1;
            kept.all = (kept.all.0 - inst.reserved_bytes, kept.all.1 - 1);
            let held = kept.of.entry(pool.unit.tenant.clone()).or_default();
            *held = (held.0 - inst.reserved_bytes, held.1 - 1);
            let (revision, owner) = (inst.revision, pool.unit.tenant.clone());
            self.wishes.join(&owner, revision);
        }
        true
    }
}
