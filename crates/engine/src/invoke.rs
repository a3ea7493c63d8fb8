//! The way of one call through the engine.

use crate::{
    Engine, Lease,
    catalog::{absent, resolve},
    instance::{Live, Started},
    key_of,
    pools::{Admission, FunctionKey, Refusal, Ticket},
    start::{Failure, exit_fault},
};
use model::{
    Ask, Call, Cause, Event, Failed, Fault, Fut, Function, InvocationId, Mono, Outcome, Principal, Reply, Target, Unit,
    event::{Deadline, Record, Steps, Trigger, Usage},
    limits::{HOPS_MAX, WAIT_MAX},
    log::{Line, Status},
    ports::{SessionCall, SlotEnd},
};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::oneshot;

/// An event that never reached user code is placed this many times before its caller is told.
const PLACEMENTS_MAX: u32 = 3;

/// What is known of a call besides its event.
struct About {
    key: FunctionKey,
    unit: Arc<Unit>,
    id: InvocationId,
    trigger: Trigger,
    admitted: Mono,
    tail: bool,
}

/// Where the outcome of a call is awaited; shared by its attempts, of which the last one tells.
type Tell = Arc<Mutex<Option<oneshot::Sender<Outcome>>>>;

impl Engine {
    /// Everything that is checked before a call is admitted.
    pub fn check(&self, target: &Target, trigger: Trigger) -> Result<(Arc<Function>, Arc<Unit>), Fault> {
        let function = self.catalog().function(&target.tenant, target.function.as_str()).ok_or_else(|| absent(target.function.as_str()))?;
        self.authorise(&function, target, trigger)?;
        let unit = resolve(&function, target.qualifier.as_deref(), self.parts.chance)?;
        Ok((function, unit))
    }

    fn authorise(&self, function: &Function, target: &Target, trigger: Trigger) -> Result<(), Fault> {
        if target.door != function.dialect && !function.doors.iter().any(|d| **d == *target.door) {
            return Err(Fault::new(Cause::Denied, format!("function {} is not open through the door {:?}", function.name, target.door)));
        }
        let action = match trigger {
            Trigger::Invoke => function.actions.invoke,
            Trigger::Url => function.actions.url,
        };
        let qualifier = target.qualifier.as_deref().unwrap_or_default();
        let policy = function.policies.get(qualifier).map(|p| &**p);
        let decide = |resource: &str| {
            let context: Vec<(&str, &str)> = target.context.iter().map(|(k, v)| (*k, &**v)).collect();
            let ask = Ask {
                principal: &target.caller,
                action,
                resource,
                owner: &function.tenant,
                resource_policy: policy,
                context: &context,
            };
            self.parts.policy.decide(&ask)
        };
        let decision = match qualifier {
            "" => decide(&function.resource_name),
            q => decide(&format!("{}:{q}", function.resource_name)),
        };
        if decision.allowed() {
            return Ok(());
        }
        Err(Fault::new(Cause::Denied, format!("not allowed to {action} on {}", function.resource_name)).detail(action))
    }

    /// Authorise, resolve, admit, run.
    pub async fn invoke(&self, target: Target, mut event: Event) -> Result<Call, Fault> {
        let (function, unit) = self.check(&target, event.trigger)?;
        let limit = unit.settings.request_bytes_max;
        if let Some(found) = event.body.bytes().map(bytes::Bytes::len).filter(|n| *n > limit) {
            return Err(Fault::new(Cause::TooLarge, format!("the payload has {found} bytes, the limit is {limit}")).detail(limit.to_string()));
        }
        event.hops = self.hops(&target.caller);
        if event.hops > HOPS_MAX {
            return Err(Fault::new(Cause::Throttled, format!("functions called functions more than {HOPS_MAX} times in a row"))
                .hint("break the loop: each call was made by the one before")
                .detail("recursion"));
        }
        event.tenant = target.tenant;
        event.caller = target.caller;
        event.qualifier = target.qualifier;
        event.entry = function.entry.clone();
        let about = About {
            key: key_of(&function),
            unit,
            id: event.id,
            trigger: event.trigger,
            admitted: self.parts.clock.mono(),
            tail: event.tail,
        };
        self.place(about, event, 1).await
    }

    /// How many calls led to one that this caller makes.
    fn hops(&self, caller: &Principal) -> u32 {
        let Principal::Role { instance, .. } = caller else { return 0 };
        let state = self.lock();
        state.live.get(instance).map_or(0, |l| l.host.hops.load(std::sync::atomic::Ordering::Relaxed) + 1)
    }

    /// Find an instance and hand the event over.
    async fn place(&self, about: About, event: Event, placement: u32) -> Result<Call, Fault> {
        loop {
            let live = match self.acquire(&about).await? {
                Ok(live) => live,
                Err(Failure { fault, live }) => return Ok(self.stillborn(&about, fault, live)),
            };
            live.wake().await?;
            let session = match live.session() {
                Some(session) => session,
                None if live.exit().is_none() => match self.respawn(&live, &about.unit).await {
                    Ok(session) => session,
                    Err(fault) => {
                        self.give_back(&about.key, &live, true).await;
                        return Ok(self.stillborn(&about, fault, Some(live)));
                    }
                },
                None => {
                    // It ended between being granted and now; the next one will do.
                    self.give_back(&about.key, &live, true).await;
                    continue;
                }
            };
            return Ok(self.run(about, event, live, &*session, placement));
        }
    }

    fn run(&self, about: About, mut event: Event, live: Arc<Live>, session: &dyn model::ports::Session, placement: u32) -> Call {
        let unit = about.unit.clone();
        let begin = self.parts.clock.mono();
        event.deadline = Some(Deadline {
            at: begin + unit.settings.timeout,
            wall_ms: self.parts.clock.wall_ms() + u64::try_from(unit.settings.timeout.as_millis()).unwrap_or(u64::MAX),
        });
        live.host.hops.store(event.hops, std::sync::atomic::Ordering::Relaxed);
        live.output.begin(about.id, about.tail);
        live.output.platform(Line::Start { version: unit.version.clone() });
        let (id, instance, cancel) = (about.id, live.id, event.cancel.clone());
        let SessionCall { reply, free } = session.call(event);
        let (tell, outcome) = oneshot::channel();
        let tell: Tell = Arc::new(Mutex::new(Some(tell)));
        let again = About { key: about.key.clone(), unit: unit.clone(), ..about };
        let supervised = Supervised { started: live.take_started(), about, live, begin, tell: tell.clone() };
        tokio::spawn(self.strong().supervise(supervised, free));
        let reply = self.strong().watch(reply, again, placement, tell, cancel);
        Call { id, unit, instance, reply: Box::pin(reply), free: Box::pin(async { outcome.await.unwrap_or_default() }) }
    }

    /// The reply as the caller awaits it. Dropping it tells the function's side that the caller has gone.
    async fn watch(
        self: Arc<Self>,
        reply: Fut<'static, Result<Reply, Failed>>,
        about: About,
        placement: u32,
        tell: Tell,
        cancel: model::Cancel,
    ) -> Result<Reply, Failed> {
        let gone = cancel.drop_guard();
        let outcome = reply.await;
        gone.disarm();
        match outcome {
            Err(Failed { undelivered: Some(event), .. }) if placement < PLACEMENTS_MAX => {
                let call = Box::pin(self.place(about, *event, placement + 1)).await?;
                let (free, tell) = (call.free, tell.lock().unwrap_or_else(PoisonError::into_inner).take());
                tokio::spawn(async move {
                    let outcome = free.await;
                    tell.map(|t| t.send(outcome))
                });
                call.reply.await
            }
            other => other,
        }
    }

    /// See a call through to the moment when its slot is free, or its time is over.
    async fn supervise(self: Arc<Self>, s: Supervised, free: Fut<'static, SlotEnd>) {
        let timeout = s.about.unit.settings.timeout;
        let end = tokio::select! {
            biased;
            end = free => Some(end),
            () = tokio::time::sleep(timeout) => None,
        };
        let duration = self.parts.clock.mono().since(s.begin).min(timeout);
        let (status, spent) = match end {
            Some(SlotEnd::Undelivered) => return self.give_back(&s.about.key, &s.live, true).await,
            Some(SlotEnd::Free) => (End::Ok, false),
            Some(SlotEnd::FreeAfterError(_)) => (End::Reported, false),
            Some(SlotEnd::Spent(why)) => (s.why_spent(why), true),
            None => {
                let fault = Fault::new(Cause::Timeout, format!("Task timed out after {:.2} seconds", timeout.as_secs_f64()));
                let killed = s.live.end_generation(fault).await;
                (End::Timeout, killed.is_err())
            }
        };
        let outcome = self.account(&s, &status, duration);
        self.give_back(&s.about.key, &s.live, spent).await;
        let tell = s.tell.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(tell) = tell {
            let _ = tell.send(Outcome { spent, ..outcome });
        }
    }

    /// Write down what a call cost and how it ended.
    fn account(&self, s: &Supervised, end: &End, duration: Duration) -> Outcome {
        let (about, unit) = (&s.about, &s.about.unit);
        s.live.output.drain();
        let usage = Usage {
            duration,
            init: s.started.map(|t| t.init),
            memory_mib: unit.settings.memory_mib,
            memory_max_bytes: s.live.measure().memory_max_bytes,
        };
        let (status, name): (Status, Arc<str>) = match end {
            End::Ok => (Status::Success, "ok".into()),
            // User code's own word: the platform's line doesn't call it an error.
            End::Reported => (Status::Success, "error".into()),
            End::Timeout => {
                let text = format!("Task timed out after {:.2} seconds", unit.settings.timeout.as_secs_f64());
                s.live.output.platform(Line::Platform { text: text.into() });
                (Status::Timeout, Cause::Timeout.name().into())
            }
            End::Failed(cause, kind) => (Status::Error(kind.as_str().into()), cause.name().into()),
        };
        s.live.output.platform(Line::End);
        s.live.output.platform(Line::Report { usage, status });
        let tail = s.live.output.end();
        let (sandbox, init) = s.started.map_or((Duration::ZERO, Duration::ZERO), |t| (t.sandbox, t.init));
        let us = |d: Duration| u64::try_from(d.as_micros()).unwrap_or(u64::MAX);
        let waited = s.begin.since(about.admitted);
        let steps = Steps {
            queued_us: us(waited.saturating_sub(sandbox + init)),
            sandbox_us: us(sandbox),
            init_us: us(init),
            first_byte_us: us(duration),
            run_us: us(duration),
        };
        self.parts.journal.record(Record {
            id: about.id,
            tenant: about.key.0.clone(),
            function: about.key.1.clone(),
            version: unit.version.clone(),
            revision: unit.revision,
            instance: s.live.id,
            trigger: about.trigger,
            started_ms: self.parts.clock.wall_ms().saturating_sub(u64::try_from(duration.as_millis()).unwrap_or(0)),
            steps,
            usage,
            status: name,
        });
        Outcome { usage, tail, spent: false }
    }

    /// The call is over for the pools too.
    async fn give_back(&self, key: &FunctionKey, live: &Arc<Live>, spent: bool) {
        live.release().await;
        let now = self.parts.clock.mono();
        let mut state = self.lock();
        if spent || live.exit().is_some() {
            state.pools.spent(live.id, key, now);
        } else {
            state.pools.freed(live.id, key, now);
        }
        self.act(state);
    }

    /// A call whose instance could not be brought up: it ran, as far as anybody can tell, and failed.
    fn stillborn(&self, about: &About, fault: Fault, live: Option<Arc<Live>>) -> Call {
        let outcome = match &live {
            Some(live) => {
                live.output.begin(about.id, about.tail);
                live.output.platform(Line::Start { version: about.unit.version.clone() });
                let end = match fault.cause {
                    Cause::Timeout => End::Timeout,
                    cause => End::Failed(cause, fault.detail.clone().unwrap_or_else(|| kind(cause).to_owned())),
                };
                let s = Supervised {
                    about: About { key: about.key.clone(), unit: about.unit.clone(), ..*about },
                    live: live.clone(),
                    begin: about.admitted,
                    started: None,
                    tell: Arc::default(),
                };
                let duration = self.parts.clock.mono().since(about.admitted);
                self.account(&s, &end, duration)
            }
            None => Outcome::default(),
        };
        let instance = live.map_or_else(model::InstanceId::random, |l| l.id);
        let reply = async { Err(Failed::from(fault)) };
        Call { id: about.id, unit: about.unit.clone(), instance, reply: Box::pin(reply), free: Box::pin(async { outcome }) }
    }

    /// A slot, after waiting for it if need be.
    async fn acquire(&self, about: &About) -> Result<Lease, Fault> {
        let (wake, woken) = oneshot::channel();
        let ticket = {
            let mut state = self.lock();
            let now = self.parts.clock.mono();
            match state.pools.admit(&about.key, &about.unit, now, |_| wake).map_err(|r| self.refused(r, about))? {
                Admission::Slot(id) => {
                    if let Some(live) = state.live.get(&id) {
                        return Ok(Ok(live.clone()));
                    }
                    state.pools.spent(id, &about.key, now);
                    self.act(state);
                    return Err(Fault::internal("an idle instance has no process"));
                }
                Admission::Waiting(ticket) => {
                    self.act(state);
                    ticket
                }
            }
        };
        let mut place = Place { engine: self, about, ticket, woken, done: false };
        let waited = tokio::time::timeout(WAIT_MAX.max(about.unit.settings.init_timeout + about.unit.settings.timeout), &mut place.woken).await;
        match waited {
            Ok(lease) => {
                place.done = true;
                Ok(lease.unwrap_or_else(|_| Err(Fault::new(Cause::Draining, "the platform is stopping").into())))
            }
            Err(_) => Err(Fault::new(Cause::Exhausted, format!("no instance became free for {} in time", about.key.1))
                .retry_after(Duration::from_secs(5))
                .hint("the machine is busy: lower the load, the memory sizes, or raise the memory budget")),
        }
    }

    fn refused(&self, refusal: Refusal, about: &About) -> Fault {
        let name = &about.key.1;
        let second = Duration::from_secs(1);
        match refusal {
            Refusal::Function => Fault::new(Cause::Throttled, format!("function {name} runs as often as its reserved concurrency allows"))
                .detail("function")
                .retry_after(second),
            Refusal::Tenant => {
                Fault::new(Cause::Throttled, "as many calls are under way as the account's concurrency allows").detail("tenant").retry_after(second)
            }
            Refusal::Line => Fault::new(Cause::Exhausted, format!("too many calls wait for function {name}")).retry_after(second),
            Refusal::TooLarge => Fault::new(
                Cause::Exhausted,
                format!("one instance of {name} ({} MiB) is larger than the memory budget of this platform", about.unit.settings.memory_mib),
            )
            .hint("lower the function's memory size or raise the budget"),
        }
    }
}

/// A place in the line. Whoever drops it leaves the line, and gives back what was granted meanwhile.
struct Place<'a> {
    engine: &'a Engine,
    about: &'a About,
    ticket: Ticket,
    woken: oneshot::Receiver<Lease>,
    done: bool,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let mut state = self.engine.lock();
        let now = self.engine.parts.clock.mono();
        if !state.pools.abandon(self.about.unit.revision, self.ticket, now)
            && let Ok(Ok(live)) = self.woken.try_recv()
        {
            state.pools.freed(live.id, &self.about.key, now);
        }
        self.engine.act(state);
    }
}

struct Supervised {
    about: About,
    live: Arc<Live>,
    begin: Mono,
    started: Option<Started>,
    tell: Tell,
}

/// How a call ended, for the log and the record.
enum End {
    Ok,
    /// User code reported a failure.
    Reported,
    Timeout,
    Failed(Cause, String),
}

impl Supervised {
    /// The instance is spent: because it ended, or because it broke its contract.
    fn why_spent(&self, why: String) -> End {
        match self.live.exit() {
            Some(exit) => {
                let cause = exit_fault(exit).cause;
                End::Failed(cause, kind(cause).to_owned())
            }
            None => End::Failed(Cause::Protocol, why),
        }
    }
}

/// A short type for a failure that user code did not name.
fn kind(cause: Cause) -> &'static str {
    match cause {
        Cause::OutOfMemory => "Runtime.OutOfMemory",
        Cause::Exited => "Runtime.ExitError",
        Cause::InitFailed => "Runtime.InitError",
        other => other.name(),
    }
}
