//! Streams made by hand, and events put into them. What was answered is in the log's files and can be read.

use super::{Answer, checked_group, done, done_empty, groups, invalid, no_group};
use crate::aws::{fault::WireError, json, shared::Asked};
use bytes::Bytes;
use model::{
    InstanceId,
    limits::LOG_LINE_BYTES_MAX,
    log::{Line, LogLine, LogRecord, Stream},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Events of one batch, and their bytes: of each its text and [`EVENT_BYTES`] (API reference, `PutLogEvents`).
const EVENTS_MAX: usize = 10_000;
const BATCH_BYTES_MAX: usize = 1_048_576;
const EVENT_BYTES: usize = 26;
const SPAN_MS_MAX: u64 = 24 * 3_600_000;
/// Events further ahead than this are rejected, and those further back than that.
const AHEAD_MS_MAX: u64 = 2 * 3_600_000;
const BACK_MS_MAX: u64 = 14 * 24 * 3_600_000;
/// Of one group, made by hand or by functions.
const STREAMS_MAX: usize = 10_000;

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Members {
    log_group_name: Option<String>,
    log_stream_name: Option<String>,
    log_events: Option<Vec<InputEvent>>,
}

#[derive(Deserialize)]
struct InputEvent {
    timestamp: Option<i64>,
    message: Option<String>,
}

impl Members {
    fn stream(&self) -> Result<&str, WireError> {
        let name = self.log_stream_name.as_deref().ok_or_else(|| invalid("logStreamName: must be given"))?;
        if !(1..=512).contains(&name.chars().count()) || name.contains([':', '*']) || name.contains(char::is_control) {
            return Err(invalid(format!("logStreamName: {name:?} must have 1 to 512 characters, none of them : or *")));
        }
        Ok(name)
    }
}

fn no_stream() -> WireError {
    WireError::new(400, "ResourceNotFoundException", "The specified log stream does not exist.")
}

/// A stream of a group, as it is kept.
fn kept(asked: &Asked, group: &str, name: &str) -> Option<Arc<Stream>> {
    let all = asked.platform().logs().streams(&asked.tenant, group);
    all.into_iter().find(|s| *s.stream.name == *name).map(|s| s.stream)
}

pub async fn create_stream(asked: &Asked) -> Answer {
    let members: Members = json::members(&asked.body)?;
    let (group, name) = (checked_group(members.log_group_name.as_deref())?, members.stream()?);
    let _one = asked.shared.writing.lock().await;
    if !groups::exists(asked, group) {
        return Err(no_group());
    }
    let all = asked.platform().logs().streams(&asked.tenant, group);
    if all.iter().any(|s| *s.stream.name == *name) {
        return Err(WireError::new(400, "ResourceAlreadyExistsException", "The specified log stream already exists"));
    }
    if all.len() >= STREAMS_MAX {
        return Err(WireError::new(400, "LimitExceededException", format!("Resource limit exceeded: {STREAMS_MAX} log streams")));
    }
    let stream = Arc::new(Stream {
        tenant: asked.tenant.clone(),
        function: "".into(),
        group: group.into(),
        name: name.into(),
        version: "".into(),
        code: "".into(),
        instance: InstanceId(uuid::Uuid::nil()),
        json: false,
    });
    let record = LogRecord { at_ms: asked.shared.now_ms(), id: None, line: Line::Opened };
    asked.platform().logs().write(vec![LogLine { stream, record }]).await?;
    done_empty()
}

pub async fn delete_stream(asked: &Asked) -> Answer {
    let members: Members = json::members(&asked.body)?;
    let (group, name) = (checked_group(members.log_group_name.as_deref())?, members.stream()?);
    let _one = asked.shared.writing.lock().await;
    if !groups::exists(asked, group) {
        return Err(no_group());
    }
    if !asked.platform().logs().remove(&asked.tenant, group, Some(name)).await? {
        return Err(no_stream());
    }
    done_empty()
}

pub async fn put_events(asked: &Asked) -> Answer {
    let members: Members = json::members(&asked.body)?;
    let (group, name) = (checked_group(members.log_group_name.as_deref())?, members.stream()?);
    let batch = Batch::check(members.log_events.as_deref().unwrap_or_default(), asked.shared.now_ms())?;
    if !groups::exists(asked, group) {
        return Err(no_group());
    }
    let stream = kept(asked, group, name).ok_or_else(no_stream)?;
    let line = |(at_ms, text): &(u64, &str)| LogLine {
        stream: stream.clone(),
        record: LogRecord {
            at_ms: *at_ms,
            id: None,
            line: Line::Text { text: Bytes::copy_from_slice(text.as_bytes()), level: None },
        },
    };
    if !batch.kept.is_empty() {
        asked.platform().logs().write(batch.kept.iter().map(line).collect()).await?;
    }
    let mut out = Map::new();
    // Nobody has needed one for years; older clients send it back.
    out.insert("nextSequenceToken".into(), json!("1"));
    if !batch.rejected.is_empty() {
        out.insert("rejectedLogEventsInfo".into(), Value::Object(batch.rejected));
    }
    done(&Value::Object(out))
}

/// What of a batch is kept, in its order, and what the answer says of the rest.
struct Batch<'a> {
    kept: Vec<(u64, &'a str)>,
    rejected: Map<String, Value>,
}

impl<'a> Batch<'a> {
    fn check(events: &'a [InputEvent], now_ms: u64) -> Result<Self, WireError> {
        if events.is_empty() || events.len() > EVENTS_MAX {
            let found = events.len();
            return Err(invalid(format!("logEvents: there are {found} events, and must be from 1 to {EVENTS_MAX}")));
        }
        let mut read: Vec<(u64, &str)> = Vec::with_capacity(events.len());
        let mut bytes = 0;
        for (at, event) in events.iter().enumerate() {
            let place = at + 1;
            let (Some(time), Some(text)) = (event.timestamp, event.message.as_deref()) else {
                return Err(invalid(format!("logEvents.{place}: timestamp and message must be given")));
            };
            let Ok(time) = u64::try_from(time) else {
                return Err(invalid(format!("logEvents.{place}.timestamp: {time} is before the year 1970")));
            };
            if text.is_empty() {
                return Err(invalid(format!("logEvents.{place}.message: must have at least one character")));
            }
            if text.len() > LOG_LINE_BYTES_MAX - EVENT_BYTES {
                let found = text.len() + EVENT_BYTES;
                return Err(invalid(format!("Log event too large: {found} bytes exceeds limit of {LOG_LINE_BYTES_MAX}")));
            }
            if read.last().is_some_and(|(before, _)| *before > time) {
                return Err(invalid("Log events in a single PutLogEvents request must be in chronological order."));
            }
            bytes += text.len() + EVENT_BYTES;
            read.push((time, text));
        }
        if bytes > BATCH_BYTES_MAX {
            return Err(invalid(format!("Upload too large: {bytes} bytes exceeds limit of {BATCH_BYTES_MAX}")));
        }
        let (first, last) = (read[0].0, read[read.len() - 1].0);
        if last - first > SPAN_MS_MAX {
            return Err(invalid("The batch of log events in a single PutLogEvents request cannot span more than 24 hours."));
        }
        // In order: the old ones are the first, those ahead of time the last.
        let old = read.partition_point(|(time, _)| *time < now_ms.saturating_sub(BACK_MS_MAX));
        let new = read.partition_point(|(time, _)| *time <= now_ms + AHEAD_MS_MAX);
        let mut rejected = Map::new();
        if old > 0 {
            rejected.insert("tooOldLogEventEndIndex".into(), old.into());
        }
        if new < read.len() {
            rejected.insert("tooNewLogEventStartIndex".into(), new.into());
        }
        Ok(Self { kept: read[old.min(new)..new].to_vec(), rejected })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(all: &[(i64, &str)]) -> Vec<InputEvent> {
        all.iter().map(|(t, m)| InputEvent { timestamp: Some(*t), message: Some((*m).to_owned()) }).collect()
    }

    const NOW: u64 = 1_800_000_000_000;
    const AT: i64 = NOW as i64;

    fn refused(all: &[(i64, &str)]) -> String {
        Batch::check(&events(all), NOW).err().expect("the batch is refused").message
    }

    #[test]
    fn a_batch_at_its_limits_is_kept_and_one_beyond_is_refused() {
        let few = events(&[(AT - 1, "a"), (AT, "b"), (AT, "c")]);
        let batch = Batch::check(&few, NOW).unwrap();
        assert_eq!(batch.kept, [(NOW - 1, "a"), (NOW, "b"), (NOW, "c")]);
        assert!(batch.rejected.is_empty());
        let many = vec![(AT, "x"); EVENTS_MAX];
        assert_eq!(Batch::check(&events(&many), NOW).unwrap().kept.len(), EVENTS_MAX);
        assert!(refused(&[&many[..], &[(AT, "y")]].concat()).contains("10001 events"));
        assert!(refused(&[]).contains("0 events"));
        let large = "x".repeat(LOG_LINE_BYTES_MAX - EVENT_BYTES);
        // Four of them are the batch's limit exactly.
        assert_eq!(Batch::check(&events(&[(AT, &*large); 4]), NOW).unwrap().kept.len(), 4);
        assert!(
            refused(&[(AT, &*large), (AT, &*large), (AT, &*large), (AT, &*large), (AT, "x")])
                .contains("Upload too large: 1048603")
        );
        assert!(refused(&[(AT, &format!("{large}x"))]).contains("Log event too large: 262145"));
        assert!(refused(&[(AT, "a"), (AT - 1, "b")]).contains("chronological"));
        assert!(refused(&[(AT - SPAN_MS_MAX as i64 - 1, "a"), (AT, "b")]).contains("24 hours"));
        assert!(refused(&[(AT, "")]).contains("logEvents.1.message"));
        assert!(refused(&[(-1, "a")]).contains("logEvents.1.timestamp"));
    }

    #[test]
    fn what_is_too_old_or_too_new_is_rejected_by_its_place_and_the_rest_is_kept() {
        let day = 24 * 3_600_000;
        let old = events(&[(AT - 14 * day - 2, "a"), (AT - 14 * day - 1, "b"), (AT - 14 * day, "c")]);
        let batch = Batch::check(&old, NOW).unwrap();
        assert_eq!((batch.kept.len(), batch.rejected["tooOldLogEventEndIndex"].as_u64()), (1, Some(2)));
        let ahead = AHEAD_MS_MAX as i64;
        let new = events(&[(AT, "a"), (AT + ahead, "b"), (AT + ahead + 1, "c")]);
        let batch = Batch::check(&new, NOW).unwrap();
        assert_eq!((batch.kept.len(), batch.rejected["tooNewLogEventStartIndex"].as_u64()), (2, Some(2)));
        // None of them is kept.
        let all = events(&[(AT - 20 * day, "a")]);
        assert!(Batch::check(&all, NOW).unwrap().kept.is_empty());
    }
}
