//! Queued events, as their owner asks for them.

use super::{Admin, Query, invocation_id, reply, wire};
use model::{
    Cause, Fault, FunctionName, InvocationId,
    ports::Response,
    queue::{Control, EventQuery, EventView, Lane, Stage},
};

/// Events in one answer, unless fewer are asked for.
const PAGE: u64 = 100;

impl Admin {
    pub(super) async fn events(&self, query: &Query) -> Result<Response, Fault> {
        let limit = query.number("limit")?.unwrap_or(PAGE).clamp(1, 1000);
        let stage = query.get("stage").map(stage).transpose()?;
        let asked = EventQuery {
            tenant: self.tenant(),
            function: query.get("function").map(FunctionName::new),
            stage,
            after: query.number("after")?.unwrap_or(0),
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
        };
        Ok(reply::json(&self.platform.events().list(asked).await?))
    }

    pub(super) async fn event(&self, id: &str) -> Result<Response, Fault> {
        let event = self.view(invocation_id(id)?).await?;
        let body = self.platform.events().body(&self.tenant(), event.id).await?;
        let body = body.map(|b| String::from_utf8_lossy(&b).into_owned());
        Ok(reply::json(&wire::EventShown { event, body }))
    }

    pub(super) async fn cancel_event(&self, id: &str) -> Result<Response, Fault> {
        let event = self.view(invocation_id(id)?).await?;
        if self.platform.events().cancel(&self.tenant(), event.id).await? {
            return Ok(reply::json(&wire::Count { count: 1 }));
        }
        Err(Fault::new(Cause::Conflict, format!("event {id} can't be cancelled: only one that waits can")))
    }

    async fn view(&self, id: InvocationId) -> Result<EventView, Fault> {
        let found = self.platform.events().find(&self.tenant(), id).await?;
        found.ok_or_else(|| Fault::not_found(format!("there is no event {id}, or what became of it is not kept any more")))
    }

    /// How many events each function has that have not ended well.
    pub(super) fn lanes(&self) -> Response {
        let tenant = self.tenant();
        let lanes = self.platform.events().lanes().into_iter().filter(|(lane, _)| lane.tenant == tenant);
        let rows: Vec<_> = lanes.map(|(lane, view)| wire::LaneRow { function: lane.function.to_string(), view }).collect();
        reply::json(&rows)
    }

    pub(super) async fn control_events(&self, name: &str, what: &str, query: &Query) -> Result<Response, Fault> {
        let lane = Lane { tenant: self.tenant(), function: FunctionName::new(name) };
        let events = self.platform.events();
        // A function that was deleted may have left dead letters.
        if events.lane(&lane).is_none() {
            self.known(name)?;
        }
        let before = events.lane(&lane).unwrap_or_default();
        let (control, count) = match what {
            "pause" => (Control::Pause, before.queued),
            "resume" => (Control::Resume, before.queued),
            "purge" => (Control::Purge, before.queued),
            "purge-dead" => (Control::PurgeDead, before.dead),
            "redrive" => {
                let only = query.get("id").map(invocation_id).transpose()?;
                let rule = self.platform.function(&lane.tenant, name).ok_or_else(|| {
                    Fault::not_found(format!("function {name} is not there, so its dead letters have nowhere to go"))
                })?;
                let age = u64::try_from(rule.rule(None).age_max.as_millis()).unwrap_or(u64::MAX / 4);
                return Ok(reply::json(&wire::Count { count: events.redrive(&lane, only, age).await? }));
            }
            other => return Err(Fault::not_found(format!("events can't be told to {other}"))),
        };
        events.control(&lane, control).await?;
        Ok(reply::json(&wire::Count { count }))
    }
}

fn stage(text: &str) -> Result<Stage, Fault> {
    serde_json::from_value(text.into()).map_err(|_| {
        Fault::invalid(format!("stage is {text:?}; it is one of queued, running, succeeded, dead-lettered, failed, cancelled"))
    })
}
