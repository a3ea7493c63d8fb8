//! One attempt at an event: it is run as any call is, and what it came to is written down before the next one begins.

use super::{Events, Outcomes};
use crate::catalog::resolve;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use model::{
    Body, Call, Cause, Event, Failed, Fault, Frame, Function, FunctionName, Head, InstanceId, Principal, Reply, ReplyBody,
    Target, Unit,
    catalog::{Destination, EventRule},
    event::{Attributes, Trigger},
    queue::{Finished, NewEvent, Queued, Settled, Why},
};
use std::{sync::Arc, time::Duration};

/// The longest pause between two attempts.
const RETRY_MAX: Duration = Duration::from_secs(3600);
/// How soon what could not be found is looked for again, at least and at most.
const MISSING: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));
/// Between two tries to write down an outcome, while the disk is full.
const WRITE_AGAIN: Duration = Duration::from_secs(1);

/// What came of running it once.
pub(super) enum Ran {
    /// User code was not reached, for want of room: it costs no attempt, and all of the lane waits.
    Untried(Fault),
    /// What it was sent to is not there: it costs no attempt either, and the others of the lane go on.
    Missing(Fault),
    Ended(End),
}

#[derive(Default)]
pub(super) struct End {
    unit: Option<Arc<Unit>>,
    /// It failed, in a line.
    error: Option<String>,
    /// Why there is no answer of user code's.
    fault: Option<Fault>,
    /// What user code said.
    answer: Bytes,
}

impl Events {
    /// See one event through an attempt. `true` when user code had it, or it is over for good.
    pub(super) async fn attempt(&self, queued: Queued) -> bool {
        let lane = &queued.event.lane;
        let Some(function) = self.engine.catalog().function(&lane.tenant, lane.function.as_str()) else {
            // Its events ended when it was deleted; this one was accepted in the same moment, or the rows are still on their way.
            return self.put_off(&queued, None, Fault::not_found(format!("function {} is not there", lane.function))).await;
        };
        let rule = function.rule(queued.event.qualifier.as_deref());
        let wall_ms = self.engine.parts.clock.wall_ms();
        if queued.event.expires_ms <= wall_ms {
            return self.expired(&queued, Some(&function), "it grew too old while it waited").await;
        }
        match self.once(&function, &queued).await {
            Ran::Missing(fault) => self.put_off(&queued, Some(&function), fault).await,
            Ran::Untried(fault) => self.untried(&queued, Some(&function), fault).await,
            Ran::Ended(end) => {
                let settled = self.settled(&queued, rule, &end, wall_ms);
                self.finish(&queued, Some(&function), settled, &end).await;
                true
            }
        }
    }

    async fn untried(&self, queued: &Queued, function: Option<&Function>, fault: Fault) -> bool {
        if queued.event.expires_ms <= self.engine.parts.clock.wall_ms() {
            return self.expired(queued, function, &fault.message).await;
        }
        tracing::debug!(id = %queued.id, function = %queued.event.lane.function, "an event waits on: {}", fault.message);
        self.queue.release(queued.seq);
        false
    }

    /// It comes again the later the longer it has waited already, and says why meanwhile.
    async fn put_off(&self, queued: &Queued, function: Option<&Function>, fault: Fault) -> bool {
        let now_ms = self.engine.parts.clock.wall_ms();
        if queued.event.expires_ms <= now_ms {
            return self.expired(queued, function, &fault.message).await;
        }
        let pause = Duration::from_millis(now_ms.saturating_sub(queued.accepted_ms) / 4).clamp(MISSING.0, MISSING.1);
        let due_ms = now_ms + u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        let reason = fault.message.as_str().into();
        let again = Settled::Again { due_ms: due_ms.min(queued.event.expires_ms), counted: false, reason };
        self.finish(queued, None, again, &End::default()).await;
        true
    }

    async fn expired(&self, queued: &Queued, function: Option<&Function>, why: &str) -> bool {
        let end = End { error: Some(why.into()), ..End::default() };
        self.finish(queued, function, Settled::Dead { why: Why::Expired, reason: why.into() }, &end).await;
        true
    }

    async fn once(&self, function: &Arc<Function>, queued: &Queued) -> Ran {
        let unit = match resolve(function, queued.event.qualifier.as_deref(), self.engine.parts.chance) {
            Ok(unit) => unit,
            Err(fault) => return Ran::Missing(fault),
        };
        let lane = &queued.event.lane;
        let target = Target {
            tenant: lane.tenant.clone(),
            function: lane.function.clone(),
            qualifier: queued.event.qualifier.clone(),
            door: function.dialect,
            // Who may call was asked when it was accepted.
            caller: Principal::Root { tenant: lane.tenant.clone() },
            context: Vec::new(),
        };
        let event = event(&target, queued);
        match self.engine.admit(function.clone(), unit, target, event).await {
            Ok(call) => ended(call).await,
            Err(fault) => Ran::Untried(fault),
        }
    }

    fn settled(&self, queued: &Queued, rule: &EventRule, end: &End, wall_ms: u64) -> Settled {
        let Some(words) = &end.error else { return Settled::Succeeded };
        let attempts = queued.attempts + 1;
        if attempts >= rule.attempts_max {
            return Settled::Dead { why: Why::Failed, reason: words.as_str().into() };
        }
        let pause = rule.retry_base.saturating_mul(1 << queued.attempts.min(16)).min(RETRY_MAX);
        // A tenth more or less, so that what failed together doesn't come back together.
        let pause = pause.mul_f64(0.9 + 0.2 * (self.engine.parts.chance)());
        let due_ms = wall_ms.max(self.engine.parts.clock.wall_ms()) + u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        if due_ms >= queued.event.expires_ms {
            return Settled::Dead {
                why: Why::Expired,
                reason: format!("too old for another attempt; the last one: {words}").into(),
            };
        }
        Settled::Again { due_ms, counted: true, reason: words.as_str().into() }
    }

    /// Write down what became of it, and send word of its end to where its owner wants it.
    async fn finish(&self, queued: &Queued, function: Option<&Function>, settled: Settled, end: &End) {
        let rule = function.map(|f| f.rule(queued.event.qualifier.as_deref()));
        let to = rule.and_then(|rule| match &settled {
            Settled::Succeeded => rule.on_success.as_ref(),
            Settled::Dead { .. } => rule.on_failure.as_ref(),
            _ => None,
        });
        let (mut settled, mut then) = (settled, Vec::new());
        if let (Some(function), Some(to), Some(outcomes)) = (function, to, self.outcomes.get()) {
            match self.word(function, &**outcomes, to, queued, &settled, end) {
                Ok(event) => {
                    then.push(event);
                    if let Settled::Dead { why, reason } = settled {
                        settled = Settled::Failed { why, reason };
                    }
                }
                Err(why) => {
                    tracing::warn!(id = %queued.id, function = %function.name, "no word of an event's end was sent: {why}");
                    settled = untold(settled, &to.function, &why);
                }
            }
        }
        // Not written down, it would be offered again after a restart, though it is over.
        while let Err(fault) = self.queue.settle(queued.seq, settled.clone(), then.clone()).await {
            if fault.cause == Cause::Draining {
                return;
            }
            tracing::error!(id = %queued.id, "what became of an event can't be written down yet: {}", fault.message);
            tokio::time::sleep(WRITE_AGAIN).await;
        }
    }

    /// The destination, when it is there and the function's own role may invoke it.
    fn receiver(&self, function: &Function, to: &Destination, queued: &Queued, end: &End) -> Result<Arc<Function>, Fault> {
        let unit = match &end.unit {
            Some(unit) => unit.clone(),
            None => resolve(function, queued.event.qualifier.as_deref(), self.engine.parts.chance)?,
        };
        let tenant = &function.tenant;
        // No instance holds these credentials: the platform acts for the function.
        let instance = InstanceId(uuid::Uuid::nil());
        let caller = match &unit.role {
            Some(role) => Principal::Role { tenant: tenant.clone(), role: role.clone(), instance },
            None => Principal::Anonymous,
        };
        let target = Target {
            tenant: tenant.clone(),
            function: to.function.clone(),
            qualifier: to.qualifier.clone(),
            door: function.dialect,
            caller,
            context: Vec::new(),
        };
        self.engine.allowed(&target, Trigger::Invoke)
    }

    fn word(
        &self,
        function: &Function,
        outcomes: &dyn Outcomes,
        to: &Destination,
        queued: &Queued,
        settled: &Settled,
        end: &End,
    ) -> Result<NewEvent, String> {
        let receiver = self.receiver(function, to, queued, end).map_err(|fault| fault.message)?;
        if queued.event.hops >= model::limits::HOPS_MAX {
            return Err(format!("functions called functions more than {} times in a row", model::limits::HOPS_MAX));
        }
        let reported = end.error.is_some() && end.fault.is_none();
        let (unit, fault) = (end.unit.as_deref(), end.fault.as_ref());
        let finished = Finished { function, unit, queued, settled, fault, reported, answer: &end.answer };
        let body = outcomes.event(&finished).ok_or_else(|| format!("{} has no form for it", function.dialect))?;
        let now = self.engine.parts.clock.wall_ms();
        let age = receiver.rule(to.qualifier.as_deref()).age_max;
        Ok(NewEvent {
            lane: model::queue::Lane { tenant: function.tenant.clone(), function: to.function.clone() },
            qualifier: to.qualifier.clone(),
            key: None,
            due_ms: now,
            expires_ms: now + u64::try_from(age.as_millis()).unwrap_or(u64::MAX / 2),
            hops: queued.event.hops + 1,
            content_type: Some("application/json".into()),
            attributes: Vec::new(),
            body,
        })
    }
}

/// An end of which its owner's destination heard nothing, with the reason; a failed event stays as a dead letter.
fn untold(settled: Settled, to: &FunctionName, why: &str) -> Settled {
    let words = format!("its destination {to} was not told: {why}");
    match settled {
        Settled::Dead { why, reason } => Settled::Dead { why, reason: format!("{words}; {reason}").into() },
        Settled::Succeeded => Settled::Untold { reason: words.into() },
        other => other,
    }
}

fn event(target: &Target, queued: &Queued) -> Event {
    let content_type = queued.event.content_type.as_deref().and_then(|t| t.parse().ok());
    let body = Body::Bytes(queued.event.body.clone());
    let mut event = Event::new(target, Trigger::Invoke, Head::Raw { content_type }, body);
    event.id = queued.id;
    event.attempt = queued.attempts + 1;
    event.hops = queued.event.hops;
    for (name, value) in &queued.event.attributes {
        if let Some(name) = Attributes::named(name) {
            event.attributes.set(name, value.clone());
        }
    }
    event
}

/// Wait for the answer and for the end of the call.
async fn ended(call: Call) -> Ran {
    let Call { unit, reply, free, .. } = call;
    let answered = match reply.await {
        Ok(reply) => collect(reply, &unit).await,
        Err(Failed { fault, undelivered: Some(_) }) => return Ran::Untried(fault),
        Err(Failed { fault, .. }) => Err(fault),
    };
    // The slot is free only then; what the function did after its answer belongs to the attempt.
    free.await;
    let unit = Some(unit);
    Ran::Ended(match answered {
        Ok((None, answer)) => End { unit, answer, ..End::default() },
        Ok((Some(kind), answer)) => End { unit, error: Some(words(&kind, &answer)), answer, fault: None },
        Err(fault) if never_ran(fault.cause) => return Ran::Untried(fault),
        Err(fault) => End { unit, error: Some(fault.message.clone()), fault: Some(fault), answer: Bytes::new() },
    })
}

/// Nothing of the function can have caused these.
fn never_ran(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::Throttled | Cause::Exhausted | Cause::Draining | Cause::Unsupported | Cause::Cancelled | Cause::Internal
    )
}

/// What a function's own report says in a line, as far as it is the usual document.
fn words(kind: &str, report: &[u8]) -> String {
    const BYTES_MAX: usize = 500;
    let text = String::from_utf8_lossy(&report[..report.len().min(BYTES_MAX)]);
    format!("{kind}: {text}")
}

async fn collect(reply: Reply, unit: &Unit) -> Result<(Option<String>, Bytes), Fault> {
    let kind = reply.head.error.map(|e| e.kind);
    let mut stream = match reply.body {
        ReplyBody::Bytes(bytes) => return Ok((kind, bytes)),
        ReplyBody::Stream(stream) => stream,
    };
    let mut all = BytesMut::new();
    while let Some(frame) = stream.next().await {
        match frame {
            // A streamed answer has nobody to go to; what fits is kept for its destination.
            Frame::Data(bytes) if all.len() + bytes.len() <= unit.settings.reply_bytes_max => all.extend_from_slice(&bytes),
            Frame::Data(_) | Frame::Trailers(_) => {}
            Frame::Fault(fault) => return Err(fault),
        }
    }
    Ok((kind, all.freeze()))
}
