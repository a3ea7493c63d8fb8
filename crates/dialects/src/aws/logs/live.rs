//! StartLiveTail: an event stream that tells of new records once a second.

use super::{Members, filter::Filter, group_arn, invalid, message, name_of};
use crate::aws::{
    eventstream,
    fault::WireError,
    respond::{self, Reply},
    shared::Asked,
};
use futures_util::{StreamExt, stream};
use http::StatusCode;
use model::{Cause, Frame, event::ReplyBody, log::LogLine};
use serde_json::{Value, json};
use std::{collections::VecDeque, time::Duration};
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::{Instant, Interval, MissedTickBehavior},
};

/// Records in one update (API reference: 500 a second; more are sampled).
const UPDATE_MAX: usize = 500;
const UPDATE_EVERY: Duration = Duration::from_secs(1);
/// A session's life (API reference: three hours).
const SESSION_MAX: Duration = Duration::from_secs(3 * 60 * 60);

struct Session {
    /// Messages that are ready: first those that open the session.
    ready: VecDeque<bytes::Bytes>,
    lines: Receiver<LogLine>,
    tenant: model::TenantId,
    groups: Vec<(String, String)>,
    streams: Vec<String>,
    prefixes: Vec<String>,
    filter: Filter,
    tick: Interval,
    ends: Instant,
    collected: Vec<Value>,
    sampled: bool,
    over: bool,
}

pub fn start(asked: &Asked) -> Result<Reply, WireError> {
    let members = Members::read(asked)?;
    let identifiers = members.log_group_identifiers.as_deref().unwrap_or_default();
    if identifiers.is_empty() || identifiers.len() > 10 {
        return Err(invalid("logGroupIdentifiers: between 1 and 10 log groups must be named"));
    }
    let (streams, prefixes) =
        (members.log_stream_names.unwrap_or_default(), members.log_stream_name_prefixes.unwrap_or_default());
    if (!streams.is_empty() || !prefixes.is_empty()) && identifiers.len() > 1 {
        return Err(invalid("logStreamNames and logStreamNamePrefixes need a single log group"));
    }
    let pattern = members.log_event_filter_pattern.unwrap_or_default();
    let filter = Filter::parse(&pattern)?;
    let groups: Vec<(String, String)> =
        identifiers.iter().map(|i| (name_of(i).to_owned(), group_arn(asked, name_of(i)))).collect();
    let names: Vec<String> = groups.iter().map(|g| g.0.clone()).collect();
    // A group appears with its first record; waiting for a function's first words is the reason to tail.
    let lines = asked.platform().logs().follow(&asked.tenant, &names).map_err(|fault| match fault.cause {
        Cause::Exhausted => WireError::new(400, "LimitExceededException", fault.message),
        _ => fault.into(),
    })?;
    let opening = json!({
        "requestId": asked.id.to_string(), "sessionId": uuid::Uuid::new_v4().to_string(), "logGroupIdentifiers": identifiers,
        "logStreamNames": streams, "logStreamNamePrefixes": prefixes, "logEventFilterPattern": pattern,
    });
    let mut tick = tokio::time::interval_at(Instant::now() + UPDATE_EVERY, UPDATE_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let session = Session {
        ready: [event("initial-response", &json!({})), event("sessionStart", &opening)].into(),
        lines,
        tenant: asked.tenant.clone(),
        groups,
        streams,
        prefixes,
        filter,
        tick,
        ends: Instant::now() + SESSION_MAX,
        collected: Vec::new(),
        sampled: false,
        over: false,
    };
    let frames =
        stream::unfold(session, |mut session| async move { session.next().await.map(|bytes| (Frame::Data(bytes), session)) });
    let mut reply = respond::empty(StatusCode::OK);
    *reply.body_mut() = ReplyBody::Stream(frames.boxed());
    respond::put(&mut reply, "content-type", eventstream::CONTENT_TYPE);
    Ok(reply)
}

fn event(kind: &str, payload: &Value) -> bytes::Bytes {
    eventstream::event(kind, "application/json", payload.to_string().as_bytes())
}

impl Session {
    async fn next(&mut self) -> Option<bytes::Bytes> {
        if let Some(ready) = self.ready.pop_front() {
            return Some(ready);
        }
        if self.over {
            return None;
        }
        loop {
            tokio::select! {
                biased;
                _ = self.tick.tick() => return Some(self.update()),
                line = self.lines.recv() => match line {
                    Ok(line) => self.take(&line),
                    Err(RecvError::Lagged(_)) => self.sampled = true,
                    // The platform is ending.
                    Err(RecvError::Closed) => {
                        self.over = true;
                        return Some(self.update());
                    }
                },
            }
        }
    }

    fn take(&mut self, line: &LogLine) {
        let stream = &line.stream;
        let Some((_, arn)) = self.groups.iter().find(|g| *g.0 == *stream.group && self.tenant == stream.tenant) else { return };
        let named = self.streams.is_empty() && self.prefixes.is_empty()
            || self.streams.iter().any(|s| **s == *stream.name)
            || self.prefixes.iter().any(|p| stream.name.starts_with(p.as_str()));
        let Some(text) = message(stream, &line.record).filter(|t| named && self.filter.matches(t.trim_end_matches('\n'))) else {
            return;
        };
        if self.collected.len() >= UPDATE_MAX {
            self.sampled = true;
            return;
        }
        self.collected.push(json!({
            "logStreamName": &*stream.name, "logGroupIdentifier": arn, "message": text,
            "timestamp": line.record.at_ms, "ingestionTime": line.record.at_ms,
        }));
    }

    fn update(&mut self) -> bytes::Bytes {
        if Instant::now() >= self.ends {
            self.over = true;
            let text = json!({ "message": "Your session has reached its longest duration." }).to_string();
            let headers = [
                (":message-type", "exception"),
                (":exception-type", "SessionTimeoutException"),
                (":content-type", "application/json"),
            ];
            return eventstream::message(&headers, text.as_bytes());
        }
        let results = std::mem::take(&mut self.collected);
        let sampled = std::mem::take(&mut self.sampled);
        event("sessionUpdate", &json!({ "sessionMetadata": { "sampled": sampled }, "sessionResults": results }))
    }
}
