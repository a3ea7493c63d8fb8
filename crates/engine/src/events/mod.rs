//! Events that were accepted, tried until something final can be said about them: [`lanes`] decides whose turn it is, [`attempt`]
//! runs one, and this drives both. Nothing of an event is kept here: the queue has it all, and a restart begins anew from that.

mod attempt;
pub mod lanes;

use crate::Engine;
use lanes::{Lanes, Next};
use model::{
    Cause, Fault, InvocationId, Target, TenantId,
    ports::Queue,
    queue::{Accept, Control, Finished, Lane, NewEvent, Queued},
};
use std::{
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::Notify;

/// A turn that is due for this long and not taken: the loop stands still.
const STILL_MAX: Duration = Duration::from_secs(10);

/// Words an event's end in the form of the function's own system.
pub trait Outcomes: Send + Sync {
    fn event(&self, finished: &Finished<'_>) -> Option<bytes::Bytes>;
}

pub struct Events {
    engine: Arc<Engine>,
    queue: Arc<dyn Queue>,
    lanes: Mutex<Lanes>,
    wake: Notify,
    stop: model::Cancel,
    outcomes: OnceLock<Arc<dyn Outcomes>>,
    /// Turns of the loop; it stands still when this does.
    turns: AtomicU64,
    restarts: AtomicU64,
}

/// What the owner sees of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct View {
    pub in_flight: usize,
    /// How often the loop stood still and was started again.
    pub restarts: u64,
}

impl Events {
    pub fn new(engine: Arc<Engine>, queue: Arc<dyn Queue>, in_flight_max: usize) -> Arc<Self> {
        let events = Arc::new(Self {
            engine,
            queue,
            lanes: Mutex::new(Lanes::new(in_flight_max)),
            wake: Notify::new(),
            stop: model::Cancel::new(),
            outcomes: OnceLock::new(),
            turns: AtomicU64::new(0),
            restarts: AtomicU64::new(0),
        });
        let weak = Arc::downgrade(&events);
        events.queue.on_change(Box::new(move |lane| {
            if let Some(events) = weak.upgrade() {
                events.changed(lane);
            }
        }));
        for (lane, _) in events.queue.lanes() {
            events.changed(&lane);
        }
        events
    }

    /// Who words what an event came to; set once, by the composition.
    pub fn connect(&self, outcomes: Arc<dyn Outcomes>) {
        if self.outcomes.set(outcomes).is_err() {
            tracing::warn!("events were connected twice; the first stays");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self, lane: &Lane) {
        match self.queue.lane(lane) {
            Some(view) => {
                let mut lanes = self.lock();
                lanes.count(lane, view.queued + view.dead);
                lanes.changed(lane, view.paused);
            }
            None => {
                let mut lanes = self.lock();
                lanes.count(lane, 0);
                lanes.forget(lane);
            }
        }
        self.wake.notify_one();
    }

    /// Accept an event for a function: authorised and checked as a call is, and on stable storage when this returns.
    pub async fn accept(&self, target: Target, event: Accept) -> Result<InvocationId, Fault> {
        self.checked(target, event).await.inspect_err(|fault| self.engine.refusals.count(fault))
    }

    async fn checked(&self, target: Target, event: Accept) -> Result<InvocationId, Fault> {
        let (function, unit) = self.engine.check(&target, model::event::Trigger::Invoke)?;
        self.engine.free_to_queue(&crate::key_of(&function))?;
        let limit = unit.settings.event_bytes_max;
        if event.body.len() > limit {
            let text = format!("the event has {} bytes, the limit is {limit}", event.body.len());
            return Err(Fault::new(model::Cause::TooLarge, text).detail(limit.to_string()));
        }
        let hops = self.engine.hops_allowed(&target.caller)?;
        self.engine.pay(&function.tenant)?;
        self.room(&function.tenant)?;
        let now = self.engine.parts.clock.wall_ms();
        let age = function.rule(target.qualifier.as_deref()).age_max;
        let due_ms = now + ms(event.delay);
        self.queue
            .put(NewEvent {
                lane: Lane { tenant: function.tenant.clone(), function: function.name.clone() },
                qualifier: target.qualifier,
                key: event.key,
                due_ms,
                expires_ms: due_ms + ms(event.age.unwrap_or(age)),
                hops,
                content_type: event.content_type,
                attributes: event.attributes,
                body: event.body,
            })
            .await
    }

    /// Whether one more event of a tenant may be kept. Dead letters count: a function that always fails would fill the disk with
    /// them, and what counts is no more when it has become one. What was acknowledged a moment ago is counted a moment later.
    fn room(&self, tenant: &TenantId) -> Result<(), Fault> {
        let most = self.engine.events_max(tenant);
        if self.lock().kept(tenant) < most {
            return Ok(());
        }
        Err(Fault::new(Cause::Throttled, format!("{most} events of the account wait or are dead letters, as many as it may have: drive dead letters again or purge them"))
            .detail("queued")
            .retry_after(Duration::from_secs(1)))
    }

    /// Events of functions that are not there: killed between the deletion and its word to the queue, the platform left them
    /// waiting for whoever takes the name next. Called once, when every function is known and before anybody is served.
    pub async fn end_orphans(&self) {
        for (lane, view) in self.queue.lanes() {
            let there = self.engine.catalog().function(&lane.tenant, lane.function.as_str()).is_some();
            if there || (view.queued == 0 && !view.paused) {
                continue;
            }
            match self.queue.control(&lane, Control::Deleted).await {
                Ok(()) => {
                    tracing::info!(function = %lane.function, events = view.queued, "events of a deleted function are ended")
                }
                Err(fault) => {
                    tracing::error!(function = %lane.function, "events of a deleted function wait on: {}", fault.message)
                }
            }
        }
    }

    /// Dispatch until stopped. A loop that stands still before work that is due is started again, and counted.
    pub async fn run(self: Arc<Self>) {
        loop {
            let mut turning = tokio::spawn(self.clone().turn());
            let still = self.until_still(&mut turning).await;
            turning.abort();
            if !still {
                return;
            }
            self.restarts.fetch_add(1, Ordering::Relaxed);
            tracing::error!("the loop that tries queued events stood still before work that is due; it is started again");
        }
    }

    /// `true` when the loop stands still. Its panic is a panic of whoever watches it.
    async fn until_still(&self, turning: &mut tokio::task::JoinHandle<()>) -> bool {
        let mut seen = self.turns.load(Ordering::Relaxed);
        loop {
            tokio::select! {
                ended = &mut *turning => match ended {
                    Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                    _ => return true,
                },
                () = tokio::time::sleep(STILL_MAX) => {}
                () = self.stop.cancelled() => return false,
            }
            let turns = self.turns.load(Ordering::Relaxed);
            let waits = self.lock().waits(self.engine.parts.clock.mono());
            if waits && turns == seen {
                return true;
            }
            seen = turns;
        }
    }

    async fn turn(self: Arc<Self>) {
        loop {
            self.turns.fetch_add(1, Ordering::Relaxed);
            let clock = &self.engine.parts.clock;
            let next = self.lock().next(clock.mono(), clock.wall_ms());
            match next {
                Next::Take(lane, limit) => self.take(lane, limit).await,
                Next::Wait(None) => self.wake.notified().await,
                Next::Wait(Some(long)) => tokio::select! {
                    () = self.wake.notified() => {}
                    () = tokio::time::sleep(long) => {}
                },
            }
        }
    }

    async fn take(self: &Arc<Self>, lane: Lane, limit: usize) {
        match self.queue.take(&lane, limit).await {
            Ok((events, due_ms)) => {
                self.lock().took(&lane, limit, events.len(), due_ms);
                for queued in events {
                    let attempt = Attempt { events: self.clone(), lane: lane.clone(), seq: queued.seq, reached: None };
                    tokio::spawn(attempt.run(queued));
                }
            }
            Err(fault) => {
                tracing::error!(function = %lane.function, "queued events can't be read: {}", fault.message);
                self.lock().failed(&lane, self.engine.parts.clock.mono());
            }
        }
    }

    /// Begin no more attempts.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Begin no more attempts and wait for those under way, so long. Gives how many were left: they are offered again after the
    /// next start.
    pub async fn drain(&self, patience: Duration) -> usize {
        self.stop();
        let over = async {
            while self.lock().in_flight() > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let _ = tokio::time::timeout(patience, over).await;
        self.lock().in_flight()
    }

    pub fn view(&self) -> View {
        View { in_flight: self.lock().in_flight(), restarts: self.restarts.load(Ordering::Relaxed) }
    }
}

/// Counted as long as it lives, also when it ends by a panic.
struct Attempt {
    events: Arc<Events>,
    lane: Lane,
    seq: u64,
    /// Whether user code had it, or it ended for good; nothing when the attempt broke off.
    reached: Option<bool>,
}

impl Attempt {
    async fn run(mut self, queued: Queued) {
        let events = self.events.clone();
        self.reached = Some(events.attempt(queued).await);
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.reached.is_none() {
            self.events.queue.release(self.seq);
        }
        let now = self.events.engine.parts.clock.mono();
        self.events.lock().ended(&self.lane, self.reached == Some(true), now);
        self.events.wake.notify_one();
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 4).min(u64::MAX / 4)
}
