//! Which call gets which instance, when one is started, frozen or let go: one state machine for the whole node.
//!
//! Pure: every method takes the time and leaves [`Action`]s for the driver to carry out; nothing here waits, allocates a process
//! or reads a clock. `W` is whatever the driver uses to wake a waiting caller.
//!
//! What was decided:
//! - A call is counted when it is admitted, not when it starts to run: the concurrency limits of a function and of its tenant bound
//!   the waiting line too, so that no line can grow without end.
//! - An instance is started only for a call that waits and that no instance already starting, or soon free, will serve.
//! - What a start needs is reserved before it begins and given back when nothing of the instance is left.
//! - Pools that want a start and can't have one take turns: tenants first, then the pools of a tenant. A pool that holds more than
//!   its fair share gives an instance up when somebody else is waiting for room.

mod line;
mod pace;
mod scale;
#[cfg(test)]
pub(crate) mod tests;

use crate::keepalive::{Arrivals, KeepAlive};
use line::Turns;
use model::{FunctionName, InstanceId, Mono, RevisionId, TenantId, Unit, catalog::Concurrency};
use pace::Pace;
use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

pub type FunctionKey = (TenantId, FunctionName);

/// Numbers that the operator chooses.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// What all instances together may reserve.
    pub memory_bytes: u64,
    /// Reserved for an instance besides its own limit.
    pub overhead_bytes: u64,
    pub instances_max: usize,
    /// Starts under way at the same time.
    pub starts_max: usize,
    /// Admitted calls of one tenant.
    pub tenant_concurrency: u32,
    pub keep_alive: KeepAlive,
    pub freeze_after: Duration,
}

/// The longest pause between two tries at something that keeps failing.
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// An instance that lasted this long did not end because it was started.
const STEADY: Duration = Duration::from_secs(60);

/// How long to wait after this many failures in a row.
pub fn backoff(failures: u32) -> Duration {
    Duration::from_millis(100).saturating_mul(1 << failures.min(16)).min(BACKOFF_MAX)
}

/// Why a call is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The function's own reserved concurrency.
    Function,
    /// What is left of the tenant's concurrency.
    Tenant,
    /// The function's line is full.
    Line,
    /// One instance of it alone is larger than the machine's budget.
    TooLarge,
}

/// Names a waiting call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(u64);

#[derive(Debug, PartialEq, Eq)]
pub enum Admission {
    /// Run it there.
    Slot(InstanceId),
    /// The waker will be granted a slot, or must be taken back by [`Pools::abandon`].
    Waiting(Ticket),
}

/// What the driver must do.
#[derive(Debug, PartialEq, Eq)]
pub enum Action<W> {
    Start {
        id: InstanceId,
        revision: RevisionId,
        provisioned: bool,
    },
    Grant {
        waiter: W,
        id: InstanceId,
    },
    Freeze(InstanceId),
    /// Kill it and report [`Pools::gone`].
    Kill(InstanceId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Starting,
    Ready,
    /// Serves out the calls that it has, takes no other, then leaves.
    Draining,
    /// To be killed; serves nobody.
    Leaving,
}

struct Inst {
    revision: RevisionId,
    phase: Phase,
    slots: u32,
    busy: u32,
    provisioned: bool,
    frozen: bool,
    idle_since: Mono,
    since: Mono,
    calls: u64,
    reserved_bytes: u64,
}

struct Pool<W> {
    unit: Arc<Unit>,
    /// Ready instances with a free slot; the most recently used last.
    free: Vec<InstanceId>,
    waiting: VecDeque<(Ticket, FunctionKey, W, Mono)>,
    pace: Pace,
    /// It is among [`Pools::deferred`].
    deferred: bool,
    /// The function that used it last: several may share a unit, and that one's habits decide how long instances are kept.
    user: FunctionKey,
    starting: u32,
    /// Instances of any phase.
    members: u32,
    busy: u32,
    provisioned_wanted: u32,
    provisioned_have: u32,
    /// Its provisioned instances can't be initialised; not tried again until the wish changes.
    provisioned_failed: bool,
    /// Provisioned instances that ended by themselves soon after their start, one after the other.
    provisioned_deaths: u32,
    /// No other is started before this time.
    provisioned_not_before: Mono,
    /// Replaced by a newer revision: serves what it has and keeps nothing.
    retired: bool,
}

#[derive(Default)]
struct FunctionState {
    /// Deleted: it goes when its last call is over.
    forgotten: bool,
    admitted: u32,
    reserved: Option<u32>,
    arrivals: Arrivals,
}

#[derive(Default)]
struct TenantState {
    /// Admitted calls of functions without a reservation of their own.
    unreserved: u32,
    /// Sum of all reservations.
    reserved: u32,
}

pub struct Pools<W> {
    config: Config,
    pools: HashMap<RevisionId, Pool<W>>,
    instances: HashMap<InstanceId, Inst>,
    functions: HashMap<FunctionKey, FunctionState>,
    tenants: HashMap<TenantId, TenantState>,
    /// Idle instances that may be let go, the longest idle first.
    idle: BTreeSet<(Mono, InstanceId)>,
    /// Idle and not frozen yet.
    warm: BTreeSet<(Mono, InstanceId)>,
    /// Pools whose provisioned instances are not replaced before a time.
    paused: BTreeSet<(Mono, RevisionId)>,
    /// Pools whose calls wait for busy instances, until a time.
    deferred: BTreeSet<(Mono, RevisionId)>,
    /// Something came to rest since this was last asked.
    rested: bool,
    turns: Turns,
    starts: usize,
    memory_used: u64,
    /// Part of `memory_used` that is being given back.
    memory_leaving: u64,
    tickets: u64,
    actions: Vec<Action<W>>,
}

impl<W> Pools<W> {
    pub fn new(config: Config) -> Self {
        Self {
            config,
            pools: HashMap::new(),
            instances: HashMap::new(),
            functions: HashMap::new(),
            tenants: HashMap::new(),
            idle: BTreeSet::new(),
            warm: BTreeSet::new(),
            paused: BTreeSet::new(),
            deferred: BTreeSet::new(),
            rested: false,
            turns: Turns::default(),
            starts: 0,
            memory_used: 0,
            memory_leaving: 0,
            tickets: 0,
            actions: Vec::new(),
        }
    }

    /// What must be done because of the last calls, in order.
    pub fn actions(&mut self) -> Vec<Action<W>> {
        std::mem::take(&mut self.actions)
    }
    pub fn has_actions(&self) -> bool {
        !self.actions.is_empty()
    }

    /// The settings of a function changed, or it is new.
    pub fn configure(&mut self, key: &FunctionKey, concurrency: &Concurrency) {
        let function = self.functions.entry(key.clone()).or_default();
        let tenant = self.tenants.entry(key.0.clone()).or_default();
        let admitted = function.admitted;
        match (function.reserved, concurrency.reserved) {
            (None, Some(_)) => tenant.unreserved = tenant.unreserved.saturating_sub(admitted),
            (Some(_), None) => tenant.unreserved += admitted,
            _ => {}
        }
        tenant.reserved = tenant.reserved - function.reserved.unwrap_or(0) + concurrency.reserved.unwrap_or(0);
        function.reserved = concurrency.reserved;
        function.forgotten = false;
    }

    /// The function is gone; what runs may finish.
    pub fn forget(&mut self, key: &FunctionKey) {
        self.configure(key, &Concurrency::default());
        if let Some(function) = self.functions.get_mut(key) {
            function.forgotten = true;
            self.drop_forgotten(key);
        }
    }

    /// Admit one call, and give it a slot or a place in the line.
    pub fn admit(
        &mut self,
        key: &FunctionKey,
        unit: &Arc<Unit>,
        now: Mono,
        waiter: impl FnOnce(Ticket) -> W,
    ) -> Result<Admission, Refusal> {
        self.count_in(key, unit, now)?;
        let pool = self.pool(unit);
        if let Some(id) = pool.free.last().copied() {
            self.take(id, now);
            return Ok(Admission::Slot(id));
        }
        let ticket = self.ticket();
        let pool = self.pool(unit);
        if pool.user != *key {
            pool.user = key.clone();
        }
        pool.waiting.push_back((ticket, key.clone(), waiter(ticket), now));
        let revision = unit.revision;
        self.scale(revision, now);
        Ok(Admission::Waiting(ticket))
    }

    fn count_in(&mut self, key: &FunctionKey, unit: &Arc<Unit>, now: Mono) -> Result<(), Refusal> {
        let need = self.need(unit);
        if need > self.config.memory_bytes {
            return Err(Refusal::TooLarge);
        }
        let line = self.pools.get(&unit.revision).map_or(0, |p| p.waiting.len());
        if !self.functions.contains_key(key) {
            self.configure(key, &Concurrency::default());
        }
        let tenant = self.tenants.get_mut(&key.0).expect("configure made it");
        let function = self.functions.get_mut(key).expect("configure made it");
        function.arrivals.note(now);
        match function.reserved {
            Some(limit) if function.admitted >= limit => return Err(Refusal::Function),
            None if tenant.unreserved >= self.config.tenant_concurrency.saturating_sub(tenant.reserved) => {
                return Err(Refusal::Tenant);
            }
            _ if line >= model::limits::WAITING_PER_FUNCTION_MAX => return Err(Refusal::Line),
            Some(_) => {}
            None => tenant.unreserved += 1,
        }
        function.admitted += 1;
        Ok(())
    }

    fn count_out(&mut self, key: &FunctionKey) {
        if let Some(function) = self.functions.get_mut(key) {
            function.admitted = function.admitted.saturating_sub(1);
            if function.reserved.is_none()
                && let Some(tenant) = self.tenants.get_mut(&key.0)
            {
                tenant.unreserved = tenant.unreserved.saturating_sub(1);
            }
        }
        self.drop_forgotten(key);
    }

    fn drop_forgotten(&mut self, key: &FunctionKey) {
        if self.functions.get(key).is_some_and(|f| f.forgotten && f.admitted == 0) {
            self.functions.remove(key);
        }
    }

    fn pool(&mut self, unit: &Arc<Unit>) -> &mut Pool<W> {
        self.pools.entry(unit.revision).or_insert_with(|| Pool {
            unit: unit.clone(),
            free: Vec::new(),
            waiting: VecDeque::new(),
            pace: Pace::default(),
            deferred: false,
            user: (unit.tenant.clone(), unit.function.clone()),
            starting: 0,
            members: 0,
            busy: 0,
            provisioned_wanted: 0,
            provisioned_have: 0,
            provisioned_failed: false,
            provisioned_deaths: 0,
            provisioned_not_before: Mono(0),
            retired: false,
        })
    }

    fn need(&self, unit: &Unit) -> u64 {
        u64::from(unit.settings.memory_mib) * (1 << 20) + self.config.overhead_bytes
    }

    /// One more call on an instance that has a free slot.
    fn take(&mut self, id: InstanceId, now: Mono) {
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
            pool.provisioned_wanted = pool.provisioned_have;
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

    /// A call could not be handed to the instance that it was granted, which must take no other. The call stays admitted and is
    /// the next to get a slot; nobody comes between.
    pub fn again(
        &mut self,
        id: InstanceId,
        key: &FunctionKey,
        unit: &Arc<Unit>,
        now: Mono,
        waiter: impl FnOnce(Ticket) -> W,
    ) -> Admission {
        if let Some((_, Phase::Ready)) = self.vacate(id, now) {
            self.drain(id);
        }
        if let Some(id) = self.pool(unit).free.last().copied() {
            self.take(id, now);
            return Admission::Slot(id);
        }
        let ticket = self.ticket();
        self.pool(unit).waiting.push_front((ticket, key.clone(), waiter(ticket), now));
        self.scale(unit.revision, now);
        Admission::Waiting(ticket)
    }

    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
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
    fn drain(&mut self, id: InstanceId) {
        let inst = self.instances.get_mut(&id).expect("the caller found it");
        if inst.busy == 0 {
            return self.let_go(id);
        }
        inst.phase = Phase::Draining;
        let pool = self.pools.get_mut(&inst.revision).expect("an instance's pool outlives it");
        pool.free.retain(|f| *f != id);
    }

    fn give_back(&mut self, id: InstanceId, key: &FunctionKey, now: Mono) -> Option<(RevisionId, Phase)> {
        let was = self.vacate(id, now)?;
        self.count_out(key);
        Some(was)
    }

    /// One call less on an instance.
    fn vacate(&mut self, id: InstanceId, now: Mono) -> Option<(RevisionId, Phase)> {
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
    fn sweep(&mut self, revision: RevisionId) {
        let Some(pool) = self.pools.get(&revision) else { return };
        if pool.members == 0 && pool.waiting.is_empty() && pool.provisioned_wanted == 0 {
            self.turns.remove(&pool.unit.tenant, revision);
            if pool.deferred {
                self.deferred.retain(|(_, r)| *r != revision);
            }
            self.pools.remove(&revision);
        }
    }

    /// A caller that waited has gone. `false`: it was granted a slot already, which it must give back.
    pub fn abandon(&mut self, revision: RevisionId, ticket: Ticket, now: Mono) -> bool {
        let Some(pool) = self.pools.get_mut(&revision) else { return false };
        let Some(at) = pool.waiting.iter().position(|w| w.0 == ticket) else { return false };
        if let Some((_, key, ..)) = pool.waiting.remove(at) {
            self.count_out(&key);
        }
        self.sweep(revision);
        // It may have been the one whose turn held up everybody behind it.
        self.feed(now);
        true
    }

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

/// One instance as seen from outside.
pub struct View<'a> {
    pub id: InstanceId,
    pub unit: &'a Arc<Unit>,
    pub state: &'static str,
    pub provisioned: bool,
    pub since: Mono,
    pub calls: u64,
}
