//! The engine: resolves, authorises, admits, places, times and meters every invocation, whatever dialect it came through and
//! whatever contract and sandbox run it.
//!
//! [`pools`] decides and [`keepalive`] learns: pure state machines over a clock. The rest carries their decisions out: [`start`]
//! brings instances up, [`invoke`] finds one for a call, [`held`] is its slot, [`run`] sees it through and [`account`] writes it
//! down, [`events`] tries what was accepted to be run later, [`output`] reads what instances write, [`unbound`] keeps language runtimes started before anybody asks, [`housekeeper`]
//! lets go what rests.

mod account;
pub mod catalog;
pub mod events;
mod figures;
mod held;
mod hold;
mod housekeeper;
mod identity;
mod instance;
mod invoke;
pub mod keepalive;
mod output;
pub mod pools;
mod quota;
mod run;
mod start;
#[cfg(test)]
mod tests;
mod unbound;

pub use figures::Figures;
pub use hold::{Hold, Holds};
pub use keepalive::KeepAlive;
pub use quota::TenantLimits;

use catalog::Catalog;
use held::{Held, Waiter};
use instance::Live;
use model::{
    Cause, Clock, Fault, Function, InstanceId, ModelOp, RevisionId, TenantId, Unit,
    catalog::Concurrency,
    log::{LogRecord, Stream},
    ports::{Backend, Contract, Framer, InstanceCaller, InstanceView, Journal, Observed, Policy, Request, Response, Runtime},
    sandbox::Limits,
};
use pools::{Action, FunctionKey, Pools};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::sync::Notify;

/// Finds language environments by name.
pub trait Runtimes: Send + Sync {
    fn resolve(&self, name: &str) -> Result<Arc<Runtime>, Fault>;
}

/// Answers what an instance asks of the platform over its own socket.
pub trait Plane: Send + Sync {
    fn plane(&self, request: Request, caller: InstanceCaller) -> model::Fut<'_, Response>;
}

/// A number in 0–1; tests decide it.
pub type Chance = fn() -> f64;

/// All that the engine works with, chosen by the composition.
pub struct Parts {
    pub clock: Arc<dyn Clock>,
    pub backend: Arc<dyn Backend>,
    pub contracts: HashMap<&'static str, Arc<dyn Contract>>,
    pub runtimes: Arc<dyn Runtimes>,
    pub policy: Arc<dyn Policy>,
    pub journal: Arc<dyn Journal>,
    /// Cuts output into lines; `true` for the framed pipe.
    pub framer: fn(bool) -> Box<dyn Framer>,
    /// A log record as text, for tails; nothing for what has no line.
    pub format: fn(&Stream, &LogRecord) -> Option<String>,
    pub chance: Chance,
    pub region: Arc<str>,
    /// Processors of this machine.
    pub cpus: u32,
    /// Memory at which a function gets one whole processor (1,769 MB on Lambda).
    pub mib_per_cpu: u32,
    /// Unbound instances kept per runtime that is in use.
    pub unbound: usize,
}

struct State {
    pools: Pools<Waiter>,
    live: HashMap<InstanceId, Arc<Live>>,
    /// Revisions whose initialisation keeps failing.
    broken: HashMap<RevisionId, Broken>,
}

/// A revision that failed to initialise several times in a row.
struct Broken {
    times: u32,
    until: model::Mono,
    fault: Fault,
}

pub struct Engine {
    parts: Arc<Parts>,
    catalog: Catalog,
    holds: arc_swap::ArcSwap<Holds>,
    quotas: arc_swap::ArcSwap<quota::Quotas>,
    state: Mutex<State>,
    unbound: unbound::Unbound,
    plane: OnceLock<Arc<dyn Plane>>,
    refusals: figures::Refusals,
    /// The housekeeper has nothing to do and sleeps until it is woken.
    asleep: AtomicBool,
    wake: Notify,
    /// Where tasks run. A commit is followed on the store's own thread, which has no runtime.
    runtime: tokio::runtime::Handle,
    weak: std::sync::Weak<Engine>,
}

impl Engine {
    /// Call it inside the runtime that the engine is to use.
    pub fn new(parts: Parts, config: pools::Config) -> Arc<Self> {
        let parts = Arc::new(parts);
        Arc::new_cyclic(|weak| Self {
            unbound: unbound::Unbound::new(parts.unbound),
            parts,
            catalog: Catalog::default(),
            holds: arc_swap::ArcSwap::default(),
            quotas: arc_swap::ArcSwap::default(),
            state: Mutex::new(State { pools: Pools::new(config), live: HashMap::new(), broken: HashMap::new() }),
            plane: OnceLock::new(),
            refusals: figures::Refusals::default(),
            asleep: AtomicBool::new(false),
            wake: Notify::new(),
            runtime: tokio::runtime::Handle::current(),
            weak: weak.clone(),
        })
    }

    /// Who answers instances; set once, by the composition.
    pub fn connect(&self, plane: Arc<dyn Plane>) {
        if self.plane.set(plane).is_err() {
            tracing::warn!("the engine was connected to a plane twice; the first stays");
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn strong(&self) -> Arc<Engine> {
        self.weak.upgrade().expect("a method runs only while somebody holds the engine")
    }

    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The functions changed.
    pub fn apply(&self, ops: Vec<ModelOp>) {
        let changes = self.catalog.apply(ops);
        let used: HashSet<RevisionId> = changes.iter().flat_map(|(_, now)| now.iter().flat_map(|f| revisions(f))).collect();
        let now = self.parts.clock.mono();
        let mut state = self.lock();
        for (before, after) in changes {
            let Some(any) = after.as_ref().or(before.as_ref()) else { continue };
            let key = (any.tenant.clone(), any.name.clone());
            match &after {
                Some(f) => state.pools.configure(&key, &f.concurrency),
                None => state.pools.forget(&key),
            }
            for revision in before.iter().flat_map(|f| revisions(f)).filter(|r| !used.contains(r)) {
                state.pools.retire(revision, now);
                state.broken.remove(&revision);
            }
            for (unit, wanted) in after.iter().flat_map(|f| provisioned(f)) {
                state.pools.provision(&unit, wanted, now);
            }
        }
        self.act(state);
    }

    /// Change the operator's numbers while everything runs. What is over a new limit ends as it would have; calls that waited for
    /// room look again.
    pub fn adjust(&self, change: impl FnOnce(&mut pools::Config)) {
        let now = self.parts.clock.mono();
        let mut state = self.lock();
        state.pools.adjust(change, now);
        self.act(state);
    }

    /// Carry out what the pools decided, and let the housekeeper know.
    fn act(&self, state: MutexGuard<'_, State>) {
        self.carry_out(state);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::AcqRel) {
            self.wake.notify_one();
        }
    }

    fn carry_out(&self, mut state: MutexGuard<'_, State>) {
        let (mut freezing, mut refused) = (Vec::new(), Vec::new());
        while state.pools.has_actions() {
            for action in state.pools.actions() {
                match action {
                    Action::Grant { waiter, id } => refused.extend(self.grant(&mut state, waiter, id)),
                    Action::Start { id, revision, provisioned } => {
                        self.runtime.spawn(self.strong().start(id, revision, provisioned));
                    }
                    Action::Freeze(id) => freezing.extend(state.live.get(&id).cloned()),
                    Action::Kill(id) => {
                        let live = state.live.remove(&id);
                        self.runtime.spawn(self.strong().bury(id, live));
                    }
                }
            }
        }
        drop(state);
        // Whoever waited for them has gone between the decision and now: dropping them gives the slots back.
        drop(refused);
        if !freezing.is_empty() {
            self.runtime.spawn(async move {
                for live in freezing {
                    live.rest().await;
                }
            });
        }
    }

    /// Hand a slot to who waited for it; returns what could not be handed over.
    fn grant(&self, state: &mut State, waiter: Waiter, id: InstanceId) -> Option<held::Lease> {
        let Waiter { key, wake } = waiter;
        let Some(live) = state.live.get(&id) else {
            state.pools.spent(id, &key, self.parts.clock.mono());
            return wake.send(Err(Fault::internal("a granted instance has no process").into())).err();
        };
        wake.send(Ok(Held::new(self.strong(), live.clone(), key))).err()
    }

    async fn bury(self: Arc<Self>, id: InstanceId, live: Option<Arc<Live>>) {
        if let Some(live) = live {
            live.bury().await;
        }
        self.gone(id);
    }

    fn gone(&self, id: InstanceId) {
        let mut state = self.lock();
        state.live.remove(&id);
        state.pools.gone(id, self.parts.clock.mono());
        self.act(state);
    }

    /// Kill everything. Nothing of an instance is left when this returns.
    pub async fn shutdown(&self) {
        let live: Vec<_> = self.lock().live.drain().map(|l| l.1).collect();
        let burying: Vec<_> = live.into_iter().map(|l| self.runtime.spawn(async move { l.bury().await })).collect();
        for one in burying {
            let _ = one.await;
        }
        self.unbound.clear().await;
    }

    /// Calls that are admitted and not over.
    pub fn in_flight(&self) -> usize {
        self.lock().pools.admitted()
    }

    fn contract(&self, name: &str) -> Result<Arc<dyn Contract>, Fault> {
        self.parts
            .contracts
            .get(name)
            .cloned()
            .ok_or_else(|| Fault::new(Cause::Unsupported, format!("no contract named {name:?}")))
    }

    /// The memory size that one processor comes with.
    pub fn mib_per_cpu(&self) -> u32 {
        self.parts.mib_per_cpu.max(1)
    }

    /// What an instance of this unit may use while it serves.
    pub fn limits(&self, unit: &Unit) -> Limits {
        let share = u64::from(unit.settings.memory_mib) * 1000 / u64::from(self.mib_per_cpu());
        let share = u32::try_from(share).unwrap_or(u32::MAX);
        Limits {
            memory_bytes: u64::from(unit.settings.memory_mib) << 20,
            cpu_millis: share.clamp(10, self.parts.cpus * 1000),
            pids: 1024,
            tmp_bytes: u64::from(unit.settings.tmp_mib) << 20,
            tmp_inodes: u64::from(unit.settings.tmp_mib) * 128,
            descriptors: 1024,
        }
    }

    /// The same while it initialises: never less than one processor.
    pub fn init_limits(&self, unit: &Unit) -> Limits {
        let serving = self.limits(unit);
        Limits { cpu_millis: serving.cpu_millis.max(1000), ..serving }
    }

    /// Make sure that a unit could start.
    pub fn prepare(&self, unit: &Unit) -> Result<(), Fault> {
        let runtime = self.parts.runtimes.resolve(&unit.runtime)?;
        let contract = self.contract(unit.contract)?;
        let facts = identity_free_facts(InstanceId::random(), &self.parts.region);
        contract.plan(&runtime, Some(unit), &facts)?;
        if runtime.bindable && contract.bindable(unit).is_ok() {
            self.unbound.want(&self.strong(), unit, &runtime);
        }
        Ok(())
    }

    /// What is really there.
    pub fn observed(&self, tenant: &TenantId, name: Option<&str>) -> Observed {
        let now = self.parts.clock.mono();
        let state = self.lock();
        let (instances, live): (Vec<_>, Vec<_>) = state
            .pools
            .views()
            .filter(|v| v.unit.tenant == *tenant && name.is_none_or(|n| n == v.unit.function.as_str()))
            .map(|v| {
                let view = InstanceView {
                    id: v.id,
                    function: v.unit.function.clone(),
                    version: v.unit.version.clone(),
                    tier: v.unit.tier,
                    state: v.state,
                    provisioned: v.provisioned,
                    memory_bytes: 0,
                    age: now.since(v.since),
                    calls: v.calls,
                };
                (view, state.live.get(&v.id).cloned())
            })
            .unzip();
        let mut observed = Observed { instances, ..Observed::default() };
        for function in
            self.catalog.all().into_iter().filter(|f| f.tenant == *tenant && name.is_none_or(|n| n == f.name.as_str()))
        {
            let (waiting, running) = state.pools.load(&(function.tenant.clone(), function.name.clone()));
            observed.waiting += waiting;
            observed.running += running;
            if name.is_none() {
                continue;
            }
            for qualifier in function.concurrency.provisioned.keys() {
                let Ok(unit) = catalog::resolve(&function, Some(qualifier), || 1.0) else { continue };
                observed.provisioned_ready.insert(qualifier.clone(), state.pools.provisioned_ready(unit.revision));
                if let Some(why) = state.pools.not_kept(unit.revision) {
                    observed.provisioned_failed.insert(qualifier.clone(), why);
                }
            }
        }
        // The kernel is asked without the lock that every call takes.
        drop(state);
        for (view, live) in observed.instances.iter_mut().zip(live) {
            view.memory_bytes = live.map_or(0, |l| l.measure().memory_bytes);
        }
        observed
    }

    /// The packages of everything that runs, by content.
    pub fn packages_in_use(&self) -> HashSet<(TenantId, Arc<str>)> {
        let state = self.lock();
        let packages = |unit: &Unit| -> Vec<(TenantId, Arc<str>)> {
            let all = std::iter::once(&unit.package).chain(&unit.layers);
            all.map(|p| (unit.tenant.clone(), p.digest().into())).collect()
        };
        state.pools.views().flat_map(|v| packages(v.unit)).collect()
    }

    /// Instances, reserved memory in bytes, unbound instances.
    pub fn totals(&self) -> (usize, u64, usize) {
        let state = self.lock();
        (state.pools.instances(), state.pools.memory_used(), self.unbound.count())
    }
}

fn revisions(function: &Function) -> impl Iterator<Item = RevisionId> + '_ {
    function.versions.values().map(|u| u.revision)
}

/// How many instances of which units a function wants kept ready: every version, zero included, so that a withdrawn wish is seen.
fn provisioned(function: &Function) -> Vec<(Arc<Unit>, u32)> {
    let Concurrency { provisioned, .. } = &function.concurrency;
    let mut wanted: BTreeMap<RevisionId, (Arc<Unit>, u32)> =
        function.versions.values().map(|u| (u.revision, (u.clone(), 0))).collect();
    for (qualifier, n) in provisioned {
        if let Ok(unit) = catalog::resolve(function, Some(qualifier), || 1.0)
            && let Some(entry) = wanted.get_mut(&unit.revision)
        {
            entry.1 += n;
        }
    }
    wanted.into_values().collect()
}

fn key_of(function: &Function) -> FunctionKey {
    (function.tenant.clone(), function.name.clone())
}

/// The facts of an instance that has no identity of its own yet.
fn identity_free_facts(id: InstanceId, region: &Arc<str>) -> model::ports::InstanceFacts {
    model::ports::InstanceFacts {
        id,
        region: region.clone(),
        log_stream: Arc::from(""),
        initialization: "on-demand",
        credential: None,
    }
}
