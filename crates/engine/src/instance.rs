//! One living instance: its sandbox, the session with what runs in it, its output, and what it costs.

use crate::{Engine, Parts, identity, output::Output};
use model::{
    Cause, Clock, Fault, Fut, InstanceId, Mono, Unit,
    log::Stream,
    ports::{Host, Instance, InstanceCaller, InstanceFacts, Request, Response, Session, StartPlan},
    sandbox::{Exit, Group, Limits, Measured},
};
use std::{
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

/// What an instance became when it got its unit.
pub struct Bound {
    pub facts: InstanceFacts,
    pub stream: Arc<Stream>,
}

/// What changes with every process generation.
struct Generation {
    number: u64,
    session: Option<Arc<dyn Session>>,
    /// How the runtime ended, once it has.
    exit: Option<Exit>,
}

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
        Arc::new(Self {
            id,
            output: Output::new(parts.clone()),
            host: Arc::new(InstanceHost { engine, parts: parts.clone(), caller: OnceLock::new(), hops: AtomicU32::new(0) }),
            parts,
            sandbox,
            bound: OnceLock::new(),
            generation: Mutex::new(Generation { number: 0, session: None, exit: None }),
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
            if let Some(credential) = &credential {
                let caller = InstanceCaller { principal: credential.principal.clone(), credential: credential.clone(), hops: 0 };
                let _ = self.host.caller.set(caller);
            }
            let (id, region, log_stream) = (self.id, self.parts.region.clone(), stream.name.clone());
            Bound { facts: InstanceFacts { id, region, log_stream, initialization, credential }, stream }
        });
        self.output.bind(bound.stream.clone());
        bound
    }

    /// Start the plan's processes as a new generation. The returned future resolves when the runtime has ended.
    pub async fn spawn(self: &Arc<Self>, plan: &StartPlan) -> Result<(u64, Fut<'static, Exit>), Fault> {
        let runtime = plan.processes.first().ok_or_else(|| Fault::internal("a start plan without a process"))?;
        let process = self.sandbox.spawn(runtime.clone()).await?;
        self.output.attach(process.output, process.frames).map_err(Fault::internal)?;
        let mut generation = lock(&self.generation);
        generation.number += 1;
        generation.session = None;
        generation.exit = None;
        Ok((generation.number, process.exited))
    }

    pub fn set_session(&self, number: u64, session: Arc<dyn Session>) {
        let mut generation = lock(&self.generation);
        if generation.number == number {
            generation.session = Some(session);
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

    /// End a generation: kill all its processes, keep the sandbox. Whatever waits for its session fails with `fault`, afterwards.
    /// Returns when they are dead, whoever killed them.
    pub async fn end_generation(&self, number: u64, fault: Fault) -> Result<(), Fault> {
        let _alone = self.change.lock().await;
        let session = {
            let mut generation = lock(&self.generation);
            if generation.number != number {
                return Ok(());
            }
            generation.number += 1;
            generation.session.take()
        };
        self.output.drain();
        let killed = self.sandbox.kill_group(Group::Runtime).await;
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
        let session = {
            let mut generation = lock(&self.generation);
            generation.number += 1;
            generation.session.take()
        };
        if let Some(session) = session {
            session.close(Fault::new(Cause::Exited, "the instance was removed"));
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

/// What the contract may ask of the platform for this instance.
pub struct InstanceHost {
    engine: Weak<Engine>,
    parts: Arc<Parts>,
    caller: OnceLock<InstanceCaller>,
    /// Of the call that runs now: a call that it makes is one further.
    pub hops: AtomicU32,
}

impl Host for InstanceHost {
    fn plane(&self, request: Request) -> Fut<'_, Response> {
        Box::pin(async move {
            let plane = self.engine.upgrade().and_then(|e| e.plane.get().cloned());
            match (plane, self.caller.get()) {
                (Some(plane), Some(caller)) => {
                    let hops = self.hops.load(Ordering::Relaxed) + 1;
                    plane.plane(request, InstanceCaller { hops, ..caller.clone() }).await
                }
                _ => refused(),
            }
        })
    }
    fn clock(&self) -> &dyn Clock {
        &*self.parts.clock
    }
}

/// An instance that has no identity may ask for nothing.
fn refused() -> Response {
    let body = bytes::Bytes::from_static(b"{\"message\":\"this instance has no role, so the platform answers nothing\"}");
    let mut response = Response::new(model::ReplyBody::Bytes(body));
    *response.status_mut() = http::StatusCode::FORBIDDEN;
    response
}
