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
//! - What is only kept ready comes after every call that waits, evicts nobody, and has a bounded part of the room ([`KEPT_PART`]).

mod admission;
mod lifecycle;
mod line;
mod pace;
mod ready;
mod scale;
#[cfg(test)]
pub(crate) mod tests;
mod view;

pub use ready::KEPT_PART;
pub use view::View;

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
    /// Admitted calls of one tenant that has no limit of its own.
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
    /// Its own limit; without one the platform's.
    concurrency: Option<u32>,
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
    /// Calls that wait for a start.
    turns: Turns,
    /// Starts that no call waits for.
    wishes: Turns,
    /// Something changed since the wishes were last looked at that may let one be fulfilled.
    wishes_open: bool,
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
            wishes: Turns::default(),
            wishes_open: false,
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

    /// How many calls of each tenant are admitted; tenants that are not named have the platform's number.
    pub fn limit(&mut self, concurrency: &HashMap<TenantId, u32>) {
        self.tenants.values_mut().for_each(|tenant| tenant.concurrency = None);
        for (tenant, limit) in concurrency {
            self.tenants.entry(tenant.clone()).or_default().concurrency = Some(*limit);
        }
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
}
