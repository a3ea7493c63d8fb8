//! The way of one call into the engine: what is checked, whether it is admitted, and which instance it gets.

use crate::{
    Engine,
    catalog::{absent, resolve},
    held::{Claim, Held},
    instance::Live,
    key_of,
    pools::Refusal,
    start::Failure,
};
use model::{
    Ask, Call, Cause, Event, Fault, Function, InvocationId, Mono, Principal, Target, Unit, event::Trigger, limits::HOPS_MAX,
    ports::Session,
};
use std::{sync::Arc, time::Duration};

/// What is known of a call besides its event.
#[derive(Clone)]
pub struct About {
    pub function: Arc<Function>,
    pub unit: Arc<Unit>,
    pub id: InvocationId,
    pub trigger: Trigger,
    pub admitted: Mono,
    pub tail: bool,
}

/// What came of a granted instance.
enum Entered {
    Ready(Held, u64, Arc<dyn Session>),
    /// It has ended; another will do.
    Useless(Held),
    /// Its processes had to be started again, and that failed.
    Failed(Held, Failure),
}

/// What came of starting an instance's processes again.
enum Revived {
    Session(u64, Arc<dyn Session>),
    Ended,
    Failed(Failure),
}

impl Engine {
    /// Everything that is checked before a call is admitted.
    pub fn check(&self, target: &Target, trigger: Trigger) -> Result<(Arc<Function>, Arc<Unit>), Fault> {
        let function = self.allowed(target, trigger)?;
        let unit = resolve(&function, target.qualifier.as_deref(), self.parts.chance)?;
        Ok((function, unit))
    }

    /// The function, when it is there and the caller may run it.
    pub(crate) fn allowed(&self, target: &Target, trigger: Trigger) -> Result<Arc<Function>, Fault> {
        let function = self.catalog().function(&target.tenant, target.function.as_str());
        let function = function.ok_or_else(|| absent(target.function.as_str()))?;
        self.authorise(&function, target, trigger)?;
        Ok(function)
    }

    fn authorise(&self, function: &Function, target: &Target, trigger: Trigger) -> Result<(), Fault> {
        if target.door != function.dialect && !function.doors.iter().any(|d| **d == *target.door) {
            return Err(Fault::new(
                Cause::Denied,
                format!("function {} is not open through the door {:?}", function.name, target.door),
            ));
        }
        let action = match trigger {
            Trigger::Invoke => function.actions.invoke,
            Trigger::Url => function.actions.url,
        };
        let qualifier = target.qualifier.as_deref().unwrap_or_default();
        let qualified: String;
        let resource = match qualifier {
            "" => &*function.resource_name,
            q => {
                qualified = format!("{}:{q}", function.resource_name);
                &*qualified
            }
        };
        let context: Vec<(&str, &str)> = target.context.iter().map(|(k, v)| (*k, &**v)).collect();
        let ask = Ask {
            principal: &target.caller,
            action,
            resource,
            owner: &function.tenant,
            resource_policy: function.policies.get(qualifier),
            trust: false,
            context: &context,
            now_ms: self.parts.clock.wall_ms(),
        };
        let verdict = self.parts.policy.explain(&ask);
        if verdict.decision.allowed() {
            return Ok(());
        }
        let why = verdict.reason(action);
        Err(Fault::new(Cause::Denied, format!("not allowed to perform: {action} on resource: {resource} {why}")).detail(action))
    }

    /// Authorise, resolve, admit, run.
    pub async fn invoke(&self, target: Target, event: Event) -> Result<Call, Fault> {
        self.checked(target, event).await.inspect_err(|fault| self.refusals.count(fault))
    }

    async fn checked(&self, target: Target, mut event: Event) -> Result<Call, Fault> {
        let (function, unit) = self.check(&target, event.trigger)?;
        let limit = unit.settings.request_bytes_max;
        if let Some(found) = event.body.bytes().map(bytes::Bytes::len).filter(|n| *n > limit) {
            return Err(Fault::new(Cause::TooLarge, format!("the payload has {found} bytes, the limit is {limit}"))
                .detail(limit.to_string()));
        }
        event.hops = self.hops_allowed(&target.caller)?;
        self.pay(&function.tenant)?;
        self.admit(function, unit, target, event).await
    }

    /// Admit and run what was authorised.
    pub(crate) async fn admit(
        &self,
        function: Arc<Function>,
        unit: Arc<Unit>,
        target: Target,
        mut event: Event,
    ) -> Result<Call, Fault> {
        let key = key_of(&function);
        self.free_to_run(&key)?;
        event.tenant = target.tenant;
        event.caller = target.caller;
        event.qualifier = target.qualifier;
        event.entry = function.entry.clone();
        let (id, trigger, tail) = (event.id, event.trigger, event.tail);
        let about = About { function, unit, id, trigger, admitted: self.parts.clock.mono(), tail };
        self.place(about, event, Claim::New(key), 1).await
    }

    /// How many calls led to one that this caller makes, if it may make it.
    pub(crate) fn hops_allowed(&self, caller: &Principal) -> Result<u32, Fault> {
        let hops = self.hops(caller);
        if hops > HOPS_MAX {
            return Err(Fault::new(Cause::Throttled, format!("functions called functions more than {HOPS_MAX} times in a row"))
                .hint("break the loop: each call was made by the one before")
                .detail("recursion"));
        }
        Ok(hops)
    }

    /// How many calls led to one that this caller makes.
    fn hops(&self, caller: &Principal) -> u32 {
        let Principal::Role { instance, .. } = caller else { return 0 };
        let state = self.lock();
        state.live.get(instance).map_or(0, |l| l.host.hops.load(std::sync::atomic::Ordering::Relaxed) + 1)
    }

    /// Find an instance and hand the event over.
    pub(crate) async fn place(&self, about: About, event: Event, mut claim: Claim, placement: u32) -> Result<Call, Fault> {
        loop {
            let held = match self.acquire(&about, claim).await? {
                Ok(held) => held,
                Err(failure) => return Ok(self.stillborn(&about, failure)),
            };
            // It may have been held while it waited.
            self.unheld_now(&about.function)?;
            match self.enter(held, &about.unit).await? {
                Entered::Ready(held, generation, session) => {
                    return Ok(self.run(about, event, held, (generation, &*session), placement));
                }
                Entered::Useless(held) => claim = Claim::Again(held),
                Entered::Failed(held, failure) => {
                    let call = self.stillborn(&about, failure);
                    drop(held);
                    return Ok(call);
                }
            }
        }
    }

    /// Thaw a granted instance, and start its processes again if they were killed.
    async fn enter(&self, mut held: Held, unit: &Arc<Unit>) -> Result<Entered, Fault> {
        if let Err(fault) = held.live.wake().await {
            tracing::warn!(instance = %held.live.id, "not thawed, so another one is used: {fault}");
            return Ok(Entered::Useless(held));
        }
        if let Some((generation, session)) = held.live.session() {
            return Ok(Entered::Ready(held, generation, session));
        }
        // In a task of its own, which keeps the slot: a caller that leaves must not leave processes behind that nobody knows.
        let (engine, unit) = (self.strong(), unit.clone());
        let revival = tokio::spawn(async move {
            match engine.revive(&held.live, &unit).await {
                Revived::Session(generation, session) => Entered::Ready(held, generation, session),
                Revived::Ended => Entered::Useless(held),
                Revived::Failed(failure) => {
                    held.spent = true;
                    Entered::Failed(held, failure)
                }
            }
        });
        revival.await.map_err(|e| Fault::internal(format!("the runtime was not started again: {e}")))
    }

    /// One at a time for each instance: the first starts the processes, the others find them.
    async fn revive(&self, live: &Arc<Live>, unit: &Arc<Unit>) -> Revived {
        let _alone = live.change.lock().await;
        if let Some((generation, session)) = live.session() {
            return Revived::Session(generation, session);
        }
        if live.exit().is_some() {
            return Revived::Ended;
        }
        let began = self.parts.clock.mono();
        match self.respawn(live, unit).await {
            Ok(session) => Revived::Session(live.generation(), session),
            Err(fault) => {
                live.condemn();
                let init = self.parts.clock.mono().since(began);
                Revived::Failed(Failure { fault, live: Some(live.clone()), sandbox: Duration::ZERO, init })
            }
        }
    }

    pub(crate) fn refused(&self, refusal: Refusal, about: &About) -> Fault {
        let name = &about.function.name;
        let second = Duration::from_secs(1);
        match refusal {
            Refusal::Function => {
                Fault::new(Cause::Throttled, format!("function {name} runs as often as its reserved concurrency allows"))
                    .detail("function")
                    .retry_after(second)
            }
            Refusal::Tenant => Fault::new(Cause::Throttled, "as many calls are under way as the account's concurrency allows")
                .detail("tenant")
                .retry_after(second),
            Refusal::Line => Fault::new(Cause::Exhausted, format!("too many calls wait for function {name}")).retry_after(second),
            Refusal::TooLarge => Fault::new(
                Cause::Exhausted,
                format!(
                    "one instance of {name} ({} MiB) is larger than the memory budget of this platform",
                    about.unit.settings.memory_mib
                ),
            )
            .hint("lower the function's memory size or raise the budget"),
        }
    }
}
