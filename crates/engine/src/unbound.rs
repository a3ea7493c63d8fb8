//! Language runtimes that are started before anybody asks, without code and without a tenant. Each is used once: it gets a
//! unit and is that unit's from then on. A runtime in use has a few of them waiting; one that nobody used for a while has none.

use crate::{Engine, instance::Live, start::mounts};
use model::{
    Fault, InstanceId, Mono, Unit,
    ports::Runtime,
    sandbox::{Exit, Limits, Network, Spec, Tier},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::mpsc;

/// Nobody asked for this runtime for so long: its waiting instances go.
const KEEP: Duration = Duration::from_secs(300);
/// After a failed start, how long until the next try.
const PAUSE: Duration = Duration::from_secs(10);
/// What was taken is replaced this much later: whoever took it has the processors for its first call.
const AFTER: Duration = Duration::from_millis(20);
const START_TIMEOUT: Duration = Duration::from_secs(20);

#[derive(Default)]
struct Shelf {
    waiting: Vec<Arc<Live>>,
    starting: usize,
    wanted_at: Mono,
    not_before: Mono,
}

pub struct Unbound {
    each: usize,
    shelves: Mutex<HashMap<Arc<str>, Shelf>>,
}

impl Unbound {
    pub fn new(each: usize) -> Self {
        Self { each, shelves: Mutex::default() }
    }
    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Shelf>> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn count(&self) -> usize {
        self.lock().values().map(|s| s.waiting.len()).sum()
    }

    /// A runtime is in use: fill its shelf, in the background.
    pub fn want(&self, engine: &Arc<Engine>, unit: &Unit, runtime: &Runtime) {
        let now = engine.parts.clock.mono();
        let mut shelves = self.lock();
        let shelf = shelves.entry(runtime.name.clone()).or_default();
        shelf.wanted_at = now;
        if now < shelf.not_before {
            return;
        }
        for _ in shelf.waiting.len() + shelf.starting..self.each {
            shelf.starting += 1;
            engine.runtime.spawn(fill(engine.clone(), unit.contract, unit.tier, runtime.clone()));
        }
    }

    /// One that is ready now, if any.
    pub fn take(&self, name: &str) -> Option<Arc<Live>> {
        let mut shelves = self.lock();
        let shelf = shelves.get_mut(name)?;
        while let Some(live) = shelf.waiting.pop() {
            if live.session().is_some() {
                return Some(live);
            }
            tokio::spawn(async move { live.bury().await });
        }
        None
    }

    pub async fn expire(&self, now: Mono) {
        let old: Vec<_> = {
            let mut shelves = self.lock();
            shelves.values_mut().filter(|s| now.since(s.wanted_at) > KEEP).flat_map(|s| std::mem::take(&mut s.waiting)).collect()
        };
        for live in old {
            live.bury().await;
        }
    }

    pub async fn clear(&self) {
        let all: Vec<_> = self.lock().values_mut().flat_map(|s| std::mem::take(&mut s.waiting)).collect();
        for live in all {
            live.bury().await;
        }
    }
}

async fn fill(engine: Arc<Engine>, contract: &'static str, tier: Tier, runtime: Runtime) {
    tokio::time::sleep(AFTER).await;
    let outcome = start(&engine, contract, tier, &runtime).await;
    if let Ok(live) = &outcome {
        live.rest().await;
    }
    let now = engine.parts.clock.mono();
    let mut shelves = engine.unbound.lock();
    let shelf = shelves.entry(runtime.name.clone()).or_default();
    shelf.starting -= 1;
    match outcome {
        Ok(live) => shelf.waiting.push(live),
        Err(fault) => {
            shelf.not_before = now + PAUSE;
            tracing::warn!(runtime = %runtime.name, "not pre-started: {fault}");
        }
    }
}

async fn start(engine: &Arc<Engine>, contract: &'static str, tier: Tier, runtime: &Runtime) -> Result<Arc<Live>, Fault> {
    let contract = engine.contract(contract)?;
    let id = InstanceId::random();
    let plan = contract.plan(runtime, None, &crate::identity_free_facts(id, &engine.parts.region))?;
    let limits = Limits {
        memory_bytes: 512 << 20,
        cpu_millis: engine.parts.cpus * 1000,
        pids: 1024,
        tmp_bytes: 512 << 20,
        tmp_inodes: 65_536,
        descriptors: 1024,
    };
    let spec = Spec {
        id,
        tenant: None,
        limits,
        mounts: mounts(runtime, &plan),
        network: Network::Loopback,
        listens: plan.listens.clone(),
    };
    let sandbox = engine.parts.backend.start(tier, spec).await?;
    let live = Live::new(id, engine.parts.clone(), sandbox, engine.weak.clone());
    let runtime = plan.processes.first().ok_or_else(|| Fault::internal("a start plan without a process"))?;
    let number = live.next_generation();
    let (tell, mut ended) = mpsc::channel(1);
    engine.launch(&live, number, runtime, tell).await?;
    let session = tokio::select! {
        biased;
        session = async { contract.open(live.link(), None, live.host.clone()).await?.finish().await } => session?,
        exit = ended.recv() => return Err(crate::start::exit_fault(exit.map_or(Exit::Gone, |e| e.1))),
        () = tokio::time::sleep(START_TIMEOUT) => return Err(Fault::internal(format!("no sign of life within {START_TIMEOUT:?}"))),
    };
    live.set_session(number, session);
    Ok(live)
}
