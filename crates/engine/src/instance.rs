//! One living instance: its sandbox, the session with what runs in it, its output, and what it costs.

mod farewell;
mod host;

pub use host::InstanceHost;

use crate::{Engine, Parts, identity, output::Output, start::exit_fault};
use model::{
    Cause, Fault, Fut, InstanceId, Mono, Unit,
    log::Stream,
    ports::{Goodbye, Instance, InstanceCaller, InstanceFacts, Session, Writer},
    sandbox::{Exit, Group, Limits, Measured, ProcSpec},
};
use std::{
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::sync::watch;

/// What an instance became when it got its unit.
pub struct Bound {
    pub facts: InstanceFacts,
    pub stream: Arc<Stream>,
}

/// What changes with every process generation.
struct Generation {
    number: u64,
    session: Option<Arc<dyn Session>>,
    /// That of a runtime which never got ready, and why its processes are to be ended: it is never called, only parted with.
    stillborn: Option<(Arc<dyn Session>, Goodbye)>,
    /// How the runtime ended, once it has.
    exit: Option<Exit>,
    /// What ended it, where it wasn't the runtime.
    why: Option<Fault>,
    /// Its processes, each with the news of its end.
    processes: Vec<Process>,
}

impl Generation {
    fn new(number: u64) -> Self {
        Self { number, session: None, stillborn: None, exit: None, why: None, processes: Vec::new() }
    }

    /// It ends. Whom to part with, of which processes, and why where that is known already.
    fn end(&mut self) -> (Option<Arc<dyn Session>>, Vec<Process>, Option<Goodbye>) {
        self.number += 1;
        let (stillborn, why) = self.stillborn.take().unzip();
        (self.session.take().or(stillborn), std::mem::take(&mut self.processes), why)
    }
}

/// A process, by its group, and the news of its end.
type Process = (Group, watch::Receiver<bool>);

pub struct Live {
    pub id: InstanceId,
    pub parts: Arc<Parts>,
    sandbox: Box<dyn Instance>,
    pub host: Arc<InstanceHost>,
    pub output: Output,
    bound: OnceLock<Bound>,
    generation: Mutex<Generation>,
    /// Whether it is frozen.
    ice: tokio::sync::Mutex<bool>,
    /// Held while processes are ended or started again, so that one never meets the other.
    pub change: tokio::sync::Mutex<()>,
    /// How long it took to come up; taken by the first call.
    init: Mutex<Option<Started>>,
    measured: Mutex<(Mono, Measured)>,
    /// By how many it is in use. Raised before anybody waits for the ice, so that nothing is frozen that is about to serve.
    serving: AtomicU32,
}

/// The times of a start.
#[derive(Clone, Copy, Debug)]
pub struct Started {
    pub sandbox: Duration,
    pub init: Duration,
}

fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Live {
    pub fn new(id: InstanceId, parts: Arc<Parts>, sandbox: Box<dyn Instance>, engine: Weak<Engine>) -> Arc<Self> {
        let output = Output::new(parts.clone());
        let host = InstanceHost::new(engine, parts.clone(), output.clone());
        Arc::new(Self {
            id,
            output,
            host: Arc::new(host),
            parts,
            sandbox,
            bound: OnceLock::new(),
            generation: Mutex::new(Generation::new(0)),
            ice: tokio::sync::Mutex::new(false),
            change: tokio::sync::Mutex::new(()),
            init: Mutex::new(None),
            measured: Mutex::new((Mono(0), Measured::default())),
            serving: AtomicU32::new(0),
        })
    }

    pub fn bound(&self) -> Option<&Bound> {
        self.bound.get()
    }

    /// From here on the instance is this unit's.
    pub fn bind(&self, unit: &Unit, initialization: &'static str) -> &Bound {
        let wall_ms = self.parts.clock.wall_ms();
        let bound = self.bound.get_or_init(|| {
            let stream = identity::stream(unit, self.id, wall_ms);
            let credential = identity::credential(unit, self.id);
            let caller = credential.as_ref().map(|credential| InstanceCaller {
                principal: credential.principal.clone(),
                credential: credential.clone(),
                hops: 0,
            });
            self.host.identify(caller, initialization);
            let (id, region, log_stream) = (self.id, self.parts.region.clone(), stream.name.clone());
            Bound { facts: InstanceFacts { id, region, log_stream, initialization, credential }, stream }
        });
        self.output.bind(bound.stream.clone());
        bound
    }

    /// A new generation of processes begins; its number.
    pub fn next_generation(&self) -> u64 {
        self.output.renew();
        let mut generation = lock(&self.generation);
        *generation = Generation::new(generation.number + 1);
        generation.number
    }

    /// Start a process of a generation. The returned future resolves when it has ended; whoever got it says so to the sender.
    pub async fn spawn(&self, number: u64, process: &ProcSpec) -> Result<(Fut<'static, Exit>, watch::Sender<bool>), Fault> {
        let writer = if process.group == Group::Runtime { Writer::Function } else { Writer::Extension };
        let (group, started) = (process.group.clone(), self.sandbox.spawn(process.clone()).await?);
        self.output.attach(writer, started.output, started.frames).map_err(Fault::internal)?;
        let (ended, news) = watch::channel(false);
        let mut generation = lock(&self.generation);
        if generation.number == number {
            generation.processes.push((group, news));
        }
        Ok((started.exited, ended))
    }

    pub fn set_session(&self, number: u64, session: Arc<dyn Session>) {
        let mut generation = lock(&self.generation);
        if generation.number == number {
            generation.session = Some(session);
        }
    }
    /// The runtime of a generation will never be ready. What runs beside it hears why when the generation ends.
    pub fn set_stillborn(&self, number: u64, session: Arc<dyn Session>, why: Goodbye) {
        let mut generation = lock(&self.generation);
        if generation.number == number {
            generation.stillborn = Some((session, why));
        }
    }
    /// The session and the number of its generation, while its processes live.
    pub fn session(&self) -> Option<(u64, Arc<dyn Session>)> {
        let generation = lock(&self.generation);
        let session = generation.session.clone().filter(|_| generation.exit.is_none())?;
        Some((generation.number, session))
    }
    /// Note that the runtime of a generation has ended; `None` when that is no news.
    pub fn exited(&self, number: u64, exit: Exit) -> Option<Option<Arc<dyn Session>>> {
        let mut generation = lock(&self.generation);
        if generation.number != number || generation.exit.is_some() {
            return None;
        }
        generation.exit = Some(exit);
        Some(generation.session.clone())
    }
    /// The same of what runs beside the runtime, whose end is the generation's.
    pub fn crashed(&self, number: u64, exit: Exit, why: Fault) -> Option<Option<Arc<dyn Session>>> {
        let session = self.exited(number, exit)?;
        lock(&self.generation).why = Some(why);
        Some(session)
    }
    /// Why its processes are gone, once they are.
    pub fn why(&self) -> Option<Fault> {
        let generation = lock(&self.generation);
        generation.why.clone().or_else(|| generation.exit.map(exit_fault))
    }
    pub fn exit(&self) -> Option<Exit> {
        lock(&self.generation).exit
    }

    /// The generation with this number was ended by the platform.
    pub fn ended(&self, number: u64) -> bool {
        lock(&self.generation).number != number
    }
    pub fn generation(&self) -> u64 {
        lock(&self.generation).number
    }
    /// Nothing runs in it and nothing will.
    pub fn condemn(&self) {
        let mut generation = lock(&self.generation);
        generation.number += 1;
        generation.session = None;
        generation.exit = Some(Exit::Gone);
    }

    /// End a generation: kill all its processes, keep the sandbox. What runs beside the runtime hears of it first. Whatever waits for
    /// its session fails with `fault`, afterwards. Returns when they are dead, whoever killed them.
    pub async fn end_generation(&self, number: u64, fault: Fault) -> Result<(), Fault> {
        let _alone = self.change.lock().await;
        let (session, processes, _) = {
            let mut generation = lock(&self.generation);
            if generation.number != number {
                return Ok(());
            }
            generation.end()
        };
        self.output.drain();
        if let Some(session) = &session {
            self.part(&**session, &processes, Goodbye::Timeout).await;
        }
        let killed = self.sandbox.kill_group(Group::All).await;
        if killed.is_err() {
            self.condemn();
        }
        if let Some(session) = session {
            session.close(fault);
        }
        self.output.drain();
        killed
    }

    pub fn link(&self) -> Arc<dyn model::ports::Link> {
        self.sandbox.link()
    }
    pub async fn attach(&self, mounts: Vec<model::sandbox::Mount>, limits: Limits) -> Result<(), Fault> {
        self.sandbox.attach(mounts, limits).await
    }
    pub async fn limit(&self, limits: Limits) -> Result<(), Fault> {
        self.sandbox.limit(limits).await
    }

    /// In use from here on, until [`Live::leave`].
    pub fn enter(&self) {
        self.serving.fetch_add(1, Ordering::Relaxed);
    }
    pub fn leave(&self) {
        self.serving.fetch_sub(1, Ordering::Relaxed);
    }
    /// In use until what this returns is dropped.
    pub fn in_use(self: &Arc<Self>) -> InUse {
        self.enter();
        InUse(self.clone())
    }
    pub fn serving(&self) -> bool {
        self.serving.load(Ordering::Relaxed) > 0
    }
    /// Thawed, if it was frozen. Whoever calls it has entered.
    pub async fn wake(&self) -> Result<(), Fault> {
        let mut frozen = self.ice.lock().await;
        if *frozen {
            self.sandbox.freeze(false).await?;
            *frozen = false;
        }
        Ok(())
    }
    /// Freeze it, unless it is in use. Who enters meanwhile wakes it afterwards: both take the ice.
    pub async fn rest(&self) {
        let mut frozen = self.ice.lock().await;
        if !self.serving() && !*frozen {
            match self.sandbox.freeze(true).await {
                Ok(()) => *frozen = true,
                Err(fault) => tracing::debug!(instance = %self.id, "not frozen: {fault}"),
            }
        }
    }

    pub fn started(&self, times: Started) {
        *lock(&self.init) = Some(times);
    }
    pub fn take_started(&self) -> Option<Started> {
        lock(&self.init).take()
    }

    /// What it uses; a measurement may be a moment old.
    pub fn measure(&self) -> Measured {
        let now = self.parts.clock.mono();
        let mut last = lock(&self.measured);
        if last.0 == Mono(0) || now.since(last.0) > Duration::from_millis(50) {
            *last = (now, self.sandbox.measure());
        }
        last.1
    }
    /// End it for good.
    pub async fn bury(&self) {
        let (session, processes, why) = {
            let mut generation = lock(&self.generation);
            let otherwise = if generation.exit.is_some() { Goodbye::Failure } else { Goodbye::Spindown };
            let (session, processes, why) = generation.end();
            (session, processes, why.unwrap_or(otherwise))
        };
        if let Some(session) = session {
            session.close(Fault::new(Cause::Exited, "the instance was removed"));
            self.part(&*session, &processes, why).await;
        }
        self.sandbox.kill().await;
        self.output.drain();
    }
}

pub struct InUse(Arc<Live>);

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.leave();
    }
}
