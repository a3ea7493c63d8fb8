//! Bringing an instance up: from a pool's decision to an initialised runtime that asks for its first event.

use crate::{
    Broken, Engine, State,
    instance::{Live, Started},
    pools,
};
use model::{
    Cause, Fault, InstanceId, Mono, RevisionId, Unit,
    limits::SECRETS_PER_FUNCTION_BYTES_MAX,
    log::Line,
    ports::{Contract, Goodbye, Opening, Runtime, Session, Slots, StartPlan},
    sandbox::{Exit, Group, Mount, ProcSpec, Spec},
    secret::SecretState,
};
use std::{sync::Arc, time::Duration};
use tokio::sync::mpsc;

/// Why there is no instance, and what was left of the attempt (its log stream shows what the code said).
pub struct Failure {
    pub fault: Fault,
    pub live: Option<Arc<Live>>,
    /// How long the attempt took, and how much of it was initialisation.
    pub sandbox: Duration,
    pub init: Duration,
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self { fault, live: None, sandbox: Duration::ZERO, init: Duration::ZERO }
    }
}

/// After this many failures in a row, calls are answered with the last failure for a while instead of another try.
const PATIENCE: u32 = 4;
/// A process that reported why it can't start may end before its report was read.
const LAST_WORDS: Duration = Duration::from_millis(50);

impl Engine {
    pub(crate) async fn start(self: Arc<Self>, id: InstanceId, revision: RevisionId, provisioned: bool) {
        let unit = self.lock().pools.unit(revision);
        let Some(unit) = unit else { return self.gone(id) };
        let outcome = match self.open_circuit(revision).or_else(|| self.quarantined(&unit)).or_else(|| without_secret(&unit)) {
            Some(fault) => Err((id, fault.into())),
            None => self.bring_up(id, &unit, provisioned).await,
        };
        match outcome {
            Ok((live, slots)) => self.started(revision, live, slots),
            Err((id, failure)) => {
                let live = failure.live.clone();
                self.not_started(revision, id, failure);
                self.bury(id, live).await;
            }
        }
    }

    fn started(&self, revision: RevisionId, live: Arc<Live>, slots: u32) {
        let mut state = self.lock();
        state.broken.remove(&revision);
        let id = live.id;
        state.live.insert(id, live);
        state.pools.ready(id, slots, self.parts.clock.mono());
        self.act(state);
    }

    fn not_started(&self, revision: RevisionId, id: InstanceId, failure: Failure) {
        if let Some(live) = &failure.live {
            // While there is something to measure.
            live.measure();
        }
        let mut state = self.lock();
        note_failure(&mut state, revision, self.parts.clock.mono(), &failure.fault);
        if let Some(waiter) = state.pools.start_failed(id) {
            let _ = waiter.wake.send(Err(failure));
        }
        self.act(state);
    }

    /// The last failure, while a revision that keeps failing is not tried again.
    fn open_circuit(&self, revision: RevisionId) -> Option<Fault> {
        let now = self.parts.clock.mono();
        let state = self.lock();
        state.broken.get(&revision).filter(|b| b.times >= PATIENCE && now < b.until).map(|b| b.fault.clone())
    }

    async fn bring_up(&self, id: InstanceId, unit: &Arc<Unit>, provisioned: bool) -> BroughtUp {
        let initialization = if provisioned { "provisioned-concurrency" } else { "on-demand" };
        let fail = |fault: Fault| (id, Failure::from(fault));
        let runtime = self.parts.runtimes.resolve(&unit.runtime).map_err(fail)?;
        let contract = self.contract(unit.contract).map_err(fail)?;
        let began = self.parts.clock.mono();
        if runtime.bindable && contract.bindable(unit).is_ok() {
            self.unbound.want(&self.strong(), unit, &runtime);
            if let Some(live) = self.unbound.take(&runtime.name) {
                self.lock().pools.adopt(id, live.id);
                let session = self.bind(&live, unit, &*contract, &runtime, initialization).await;
                return finish(live, session, Duration::ZERO, began);
            }
        }
        let created = self.create(id, unit).await;
        let sandbox = self.parts.clock.mono().since(began);
        let live = created.map_err(|fault| (id, Failure { sandbox, ..fault.into() }))?;
        let session = self.initialise(&live, unit, &*contract, &runtime, initialization, sandbox).await;
        finish(live, session, sandbox, began)
    }

    /// A sandbox for this unit, with nothing running in it.
    async fn create(&self, id: InstanceId, unit: &Unit) -> Result<Arc<Live>, Fault> {
        // The plan's mounts don't depend on the instance's identity, which needs the instance: plan twice, cheaply.
        let (contract, runtime) = (self.contract(unit.contract)?, self.parts.runtimes.resolve(&unit.runtime)?);
        let facts = crate::identity_free_facts(id, &self.parts.region);
        let plan = contract.plan(&runtime, Some(unit), &facts)?;
        let spec = Spec {
            id,
            tenant: Some(unit.tenant.clone()),
            limits: self.init_limits(unit),
            mounts: mounts(&runtime, &plan),
            network: unit.settings.network,
            listens: plan.listens,
        };
        let sandbox = self.parts.backend.start(unit.tier, spec).await?;
        Ok(Live::new(id, self.parts.clone(), sandbox, self.weak.clone()))
    }

    async fn initialise(
        &self,
        live: &Arc<Live>,
        unit: &Arc<Unit>,
        contract: &dyn Contract,
        runtime: &Runtime,
        initialization: &'static str,
        sandbox: Duration,
    ) -> Result<Arc<dyn Session>, Fault> {
        let bound = live.bind(unit, initialization);
        live.output.platform(Line::InitStart { runtime: runtime.found.clone(), runtime_name: runtime.name.clone() });
        let plan = contract.plan(runtime, Some(unit), &bound.facts)?;
        let began = self.parts.clock.mono();
        let session = match self.open(live, unit, contract, &plan, unit.settings.init_timeout).await {
            // The first limit is not an error but a second try, under the function's own time limit.
            Err(fault) if fault.cause == Cause::Timeout => {
                live.end_generation(live.generation(), fault).await?;
                self.open(live, unit, contract, &plan, unit.settings.timeout).await?
            }
            other => other?,
        };
        live.started(Started { sandbox, init: self.parts.clock.mono().since(began) });
        self.settle(live, unit).await;
        Ok(session)
    }

    /// Initialisation is over: from here on the function has the processor share of its memory size.
    async fn settle(&self, live: &Live, unit: &Unit) {
        let limits = self.limits(unit);
        if limits != self.init_limits(unit)
            && let Err(fault) = live.limit(limits).await
        {
            tracing::warn!(instance = %live.id, "limits were not set: {fault}");
        }
    }

    /// Start a generation and wait until it is ready, it ends, or the time is over.
    pub(crate) async fn open(
        &self,
        live: &Arc<Live>,
        unit: &Arc<Unit>,
        contract: &dyn Contract,
        plan: &StartPlan,
        budget: Duration,
    ) -> Result<Arc<dyn Session>, Fault> {
        let (runtime, others) = plan.processes.split_first().ok_or_else(|| Fault::internal("a start plan without a process"))?;
        let number = live.next_generation();
        let (tell, mut ended) = mpsc::channel(plan.processes.len());
        for other in others {
            self.launch(live, number, other, tell.clone()).await.map_err(|fault| not_launched(&other.group, fault))?;
        }
        let mut begins = (!others.is_empty()).then(|| live.host.begins());
        if others.is_empty() {
            self.launch(live, number, runtime, tell.clone()).await?;
        }
        let mut over = std::pin::pin!(tokio::time::sleep(budget));
        let Opening { session, mut ready } = contract.open(live.link(), Some(unit.clone()), live.host.clone()).await?;
        let initialised = async {
            loop {
                tokio::select! {
                    biased;
                    ready = &mut ready => return ready,
                    Some((group, exit)) = ended.recv() => match tokio::time::timeout(LAST_WORDS, ready).await {
                        Ok(Err(fault)) => return Err(fault),
                        _ if group == Group::Runtime => return Err(exit_fault(exit)),
                        _ => return Err(crash(exit)),
                    },
                    _ = async { begins.as_mut().expect("only where there is one").await }, if begins.is_some() => {
                        begins = None;
                        self.launch(live, number, runtime, tell.clone()).await?;
                    }
                    () = &mut over => {
                        return Err(Fault::new(Cause::Timeout, format!("initialisation took longer than {budget:?}")));
                    }
                }
            }
        };
        if let Err(fault) = initialised.await {
            let why = if fault.cause == Cause::Timeout { Goodbye::Timeout } else { Goodbye::Failure };
            live.set_stillborn(number, session, why);
            return Err(fault);
        }
        live.output.initialised();
        live.set_session(number, session.clone());
        Ok(session)
    }

    /// Start one process and watch for its end.
    pub(crate) async fn launch(
        &self,
        live: &Arc<Live>,
        number: u64,
        process: &ProcSpec,
        tell: mpsc::Sender<(Group, Exit)>,
    ) -> Result<(), Fault> {
        let (exited, news) = live.spawn(number, process).await?;
        let (engine, live, group) = (self.strong(), live.clone(), process.group.clone());
        tokio::spawn(async move {
            let exit = exited.await;
            let _ = tell.try_send((group.clone(), exit));
            let _ = news.send(true);
            engine.ended(live, number, group, exit).await;
        });
        Ok(())
    }

    /// Note the end of a generation's runtime, or of what runs beside it, whenever it comes.
    async fn ended(self: Arc<Self>, live: Arc<Live>, number: u64, group: Group, exit: Exit) {
        let (session, fault) = match group {
            Group::Runtime => (live.exited(number, exit), exit_fault(exit)),
            _ => (live.crashed(number, exit, crash(exit)), crash(exit)),
        };
        let Some(session) = session else { return };
        if let Some(session) = session {
            if live.serving() {
                // What it wrote before it ended may still be in its sockets.
                tokio::time::sleep(LAST_WORDS / 10).await;
            }
            session.close(fault);
        }
        if !live.serving() {
            let mut state = self.lock();
            state.pools.died(live.id, self.parts.clock.mono());
            self.act(state);
        }
    }

    /// The instance's processes were killed for a time-out: start them again in the same sandbox.
    pub(crate) async fn respawn(&self, live: &Arc<Live>, unit: &Arc<Unit>) -> Result<Arc<dyn Session>, Fault> {
        let contract = self.contract(unit.contract)?;
        let runtime = self.parts.runtimes.resolve(&unit.runtime)?;
        let facts = &live.bound().ok_or_else(|| Fault::internal("an instance without a unit was called"))?.facts;
        let plan = contract.plan(&runtime, Some(unit), facts)?;
        let began = self.parts.clock.mono();
        live.limit(self.init_limits(unit)).await?;
        let session = self.open(live, unit, &*contract, &plan, unit.settings.timeout).await?;
        self.settle(live, unit).await;
        live.started(Started { sandbox: Duration::ZERO, init: self.parts.clock.mono().since(began) });
        Ok(session)
    }

    /// Give an unbound instance its unit.
    async fn bind(
        &self,
        live: &Arc<Live>,
        unit: &Arc<Unit>,
        contract: &dyn Contract,
        runtime: &Runtime,
        initialization: &'static str,
    ) -> Result<Arc<dyn Session>, Fault> {
        let (generation, session) =
            live.session().ok_or_else(|| Fault::new(Cause::Exited, "the pre-started runtime has ended"))?;
        let began = self.parts.clock.mono();
        let _use = live.in_use();
        live.wake().await?;
        let bound = live.bind(unit, initialization);
        live.output.platform(Line::InitStart { runtime: runtime.found.clone(), runtime_name: runtime.name.clone() });
        let plan = contract.plan(runtime, Some(unit), &bound.facts)?;
        let code = plan.mounts.into_iter().filter(|m| !runtime.mounts.contains(m)).collect();
        live.attach(code, self.init_limits(unit)).await?;
        let sandbox = self.parts.clock.mono().since(began);
        let binding = tokio::time::timeout(unit.settings.init_timeout, session.bind(unit.clone(), &bound.facts));
        let outcome = match binding.await {
            Ok(bound) => bound,
            Err(_) => Err(Fault::new(Cause::Timeout, "initialisation took longer than its limit")),
        };
        if let Err(fault) = outcome {
            if fault.cause != Cause::Timeout {
                return Err(match live.why() {
                    Some(why) if fault.report.is_none() => why,
                    _ => fault,
                });
            }
            live.end_generation(generation, fault).await?;
            return self.respawn(live, unit).await;
        }
        live.output.initialised();
        live.started(Started {
            sandbox,
            init: self.parts.clock.mono().since(began) - sandbox.min(self.parts.clock.mono().since(began)),
        });
        self.settle(live, unit).await;
        Ok(session)
    }
}

/// A variable has no value: its secret was deleted, or is none that it can have. The message has what to do, since it is all that a
/// caller is shown of a start that failed.
fn without_secret(unit: &Unit) -> Option<Fault> {
    unit.secrets.iter().find_map(|used| {
        let secret = &used.secret;
        let why = match used.state {
            SecretState::Version(_) => return None,
            SecretState::Missing => format!("which isn't there; make it with: myna secret put {secret}"),
            SecretState::Damaged => format!("whose value can't be read; put it again with: myna secret put {secret}"),
            SecretState::TooLarge => {
                format!("with which its secrets have more than {SECRETS_PER_FUNCTION_BYTES_MAX} bytes together; make it shorter")
            }
        };
        Some(Fault::new(Cause::InitFailed, format!("the variable {} is the secret {secret}, {why}", used.variable)))
    })
}

type BroughtUp = Result<(Arc<Live>, u32), (InstanceId, Failure)>;

fn finish(live: Arc<Live>, session: Result<Arc<dyn Session>, Fault>, sandbox: Duration, began: Mono) -> BroughtUp {
    match session {
        Ok(session) => {
            let slots = match session.slots() {
                Slots::One => 1,
                Slots::Bounded(n) => n,
                Slots::Unbounded => u32::MAX,
            };
            Ok((live, slots))
        }
        Err(fault) => {
            let init = live.parts.clock.mono().since(began + sandbox);
            Err((live.id, Failure { fault, live: Some(live), sandbox, init }))
        }
    }
}

/// The runtime's own folders first, then what the contract adds, each once.
pub(crate) fn mounts(runtime: &Runtime, plan: &StartPlan) -> Vec<Mount> {
    let mut all = runtime.mounts.clone();
    all.extend(plan.mounts.iter().filter(|m| !runtime.mounts.contains(m)).cloned());
    all
}

fn note_failure(state: &mut State, revision: RevisionId, now: Mono, fault: &Fault) {
    let broken = state.broken.entry(revision).or_insert_with(|| Broken { times: 0, until: now, fault: fault.clone() });
    if now >= broken.until || broken.times < PATIENCE {
        broken.times += 1;
        broken.until = now + pools::backoff(broken.times);
        broken.fault = fault.clone();
    }
}

/// A program beside the runtime ended though nobody had asked it to.
fn crash(exit: Exit) -> Fault {
    let how = match exit {
        Exit::Code(n) => format!("exit status {n}"),
        Exit::Signal(n) => format!("signal: {}", signal_name(n)),
        Exit::OutOfMemory => "signal: killed".to_owned(),
        Exit::Gone => "it is gone".to_owned(),
    };
    Fault::new(Cause::Exited, how).detail("Extension.Crash")
}

fn not_launched(group: &Group, fault: Fault) -> Fault {
    let Group::Extension(name) = group else { return fault };
    Fault::new(Cause::InitFailed, format!("extension {name}: {}", fault.message)).detail("Extension.LaunchError")
}

/// What the end of a runtime means to whoever waited for it.
pub(crate) fn exit_fault(exit: Exit) -> Fault {
    match exit {
        Exit::OutOfMemory => Fault::new(Cause::OutOfMemory, "the function used more memory than it has")
            .detail("signal: killed")
            .hint("raise its memory size"),
        Exit::Code(0) | Exit::Gone => Fault::new(Cause::Exited, "the runtime exited without a reason"),
        Exit::Code(n) => {
            Fault::new(Cause::Exited, format!("the runtime exited with status {n}")).detail(format!("exit status {n}"))
        }
        Exit::Signal(n) => Fault::new(Cause::Exited, format!("the runtime was ended by signal {n}"))
            .detail(format!("signal: {}", signal_name(n))),
    }
}

fn signal_name(n: i32) -> String {
    match n {
        4 => "illegal instruction".into(),
        6 => "aborted".into(),
        7 => "bus error".into(),
        8 => "floating point exception".into(),
        9 => "killed".into(),
        11 => "segmentation fault".into(),
        15 => "terminated".into(),
        n => format!("signal {n}"),
    }
}
