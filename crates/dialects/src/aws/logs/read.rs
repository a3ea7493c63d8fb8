//! Groups, streams and their events, page by page.

use super::{Members, done, filter::Filter, group_arn, invalid, message};
use crate::aws::{fault::WireError, respond::Reply, shared::Asked};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use model::ports::{LogPage, LogQuery, LogStream};
use serde_json::{Map, Value, json};

type Answer = Result<Reply, WireError>;

const GROUPS_MAX: usize = 50;
const EVENTS_MAX: usize = 10_000;
/// Text in one answer (API reference: 1 MB).
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// Records that one FilterLogEvents looks at before it answers with what it has and a token.
const LOOKED_AT_MAX: usize = 50_000;

fn token_of(text: &str) -> Value {
    Value::String(URL_SAFE_NO_PAD.encode(text))
}

fn token(given: Option<&str>) -> Result<String, WireError> {
    let Some(given) = given else { return Ok(String::new()) };
    let read = URL_SAFE_NO_PAD.decode(given).ok().and_then(|b| String::from_utf8(b).ok());
    read.ok_or_else(|| invalid("The specified nextToken is invalid."))
}

pub fn groups(asked: &Asked) -> Answer {
    let members = Members::read(asked)?;
    let (limit, after) = (members.limit(GROUPS_MAX)?, token(members.next_token.as_deref())?);
    let prefix = members.log_group_name_prefix.as_deref().unwrap_or_default();
    let part = members.log_group_name_pattern.as_deref().unwrap_or_default();
    if !prefix.is_empty() && !part.is_empty() {
        return Err(invalid("LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters."));
    }
    let wanted = members.log_group_identifiers.as_ref().map(|l| l.iter().map(|i| super::name_of(i)).collect::<Vec<_>>());
    let all = super::groups::listed(asked, prefix, &after)?;
    let fits = |name: &str| name.contains(part) && wanted.as_ref().is_none_or(|w| w.contains(&name));
    let mut found: Vec<_> = all.into_iter().filter(|(name, _)| fits(name)).take(limit + 1).collect();
    let more = found.len() > limit;
    found.truncate(limit);
    let mut out = Map::new();
    if more {
        out.insert("nextToken".into(), token_of(found.last().map_or("", |(name, _)| name)));
    }
    let shown = found.into_iter().map(|(_, shown)| shown);
    out.insert("logGroups".into(), shown.collect());
    done(&Value::Object(out))
}

pub fn streams(asked: &Asked) -> Answer {
    let members = Members::read(asked)?;
    let limit = members.limit(GROUPS_MAX)?;
    let group = members.group(asked)?;
    let by_time = match members.order_by.as_deref() {
        None | Some("LogStreamName") => false,
        Some("LastEventTime") => true,
        Some(other) => return Err(invalid(format!("orderBy: {other:?} is neither LogStreamName nor LastEventTime"))),
    };
    let prefix = members.log_stream_name_prefix.as_deref().unwrap_or_default();
    if by_time && !prefix.is_empty() {
        return Err(invalid("Cannot order by LastEventTime with a logStreamNamePrefix."));
    }
    let mut streams = asked.platform().logs().streams(&asked.tenant, &group);
    streams.retain(|s| s.stream.name.starts_with(prefix));
    if by_time {
        streams.sort_by(|a, b| (a.last_ms, &a.stream.name).cmp(&(b.last_ms, &b.stream.name)));
    } else {
        streams.sort_by(|a, b| a.stream.name.cmp(&b.stream.name));
    }
    if members.descending == Some(true) {
        streams.reverse();
    }
    let last = token(members.next_token.as_deref())?;
    let from = streams.iter().position(|s| *s.stream.name == *last).map_or(0, |at| at + 1);
    let page = &streams[from..streams.len().min(from + limit)];
    let mut out = Map::new();
    out.insert("logStreams".into(), page.iter().map(|s| shown_stream(asked, &group, s)).collect());
    if from + limit < streams.len() {
        out.insert("nextToken".into(), token_of(page.last().map_or("", |s| &s.stream.name)));
    }
    done(&Value::Object(out))
}

fn shown_stream(asked: &Asked, group: &str, stream: &LogStream) -> Value {
    let mut out = json!({
        "logStreamName": &*stream.stream.name,
        "creationTime": stream.created_ms,
        "uploadSequenceToken": "1",
        "arn": format!("{}:log-stream:{}", group_arn(asked, group), stream.stream.name),
        "storedBytes": 0,
    });
    // One that is empty has no first event.
    if stream.last_ms > 0 {
        out["firstEventTimestamp"] = stream.first_ms.into();
        out["lastEventTimestamp"] = stream.last_ms.into();
        out["lastIngestionTime"] = stream.last_ms.into();
    }
    out
}

fn moment(given: Option<i64>, otherwise: u64) -> u64 {
    given.map_or(otherwise, |ms| u64::try_from(ms).unwrap_or(0))
}

/// Where a page of a stream begins, as its token says.
enum From {
    Head,
    Tail,
    /// Towards newer ones, after a position; `None` before the first.
    Forward(Option<u64>),
    /// Towards older ones; `None` when there was nothing.
    Backward(Option<u64>),
}

impl From {
    fn read(members: &Members) -> Result<Self, WireError> {
        let bad = || invalid("The specified nextToken is invalid.");
        let Some(token) = members.next_token.as_deref() else {
            return Ok(if members.start_from_head == Some(true) { From::Head } else { From::Tail });
        };
        let (direction, rest) = token.split_once('/').ok_or_else(bad)?;
        let at = match rest.strip_suffix("/s").ok_or_else(bad)? {
            "start" => None,
            number => Some(number.parse().map_err(|_| bad())?),
        };
        match direction {
            "f" => Ok(From::Forward(at)),
            "b" => Ok(From::Backward(at)),
            _ => Err(bad()),
        }
    }
}

fn position(direction: char, at: Option<u64>) -> String {
    match at {
        Some(at) => format!("{direction}/{at:056}/s"),
        None => format!("{direction}/start/s"),
    }
}

pub async fn events(asked: &Asked) -> Answer {
    let members = Members::read(asked)?;
    let limit = members.limit(EVENTS_MAX)?;
    let group = members.group(asked)?;
    let stream = members.log_stream_name.clone().ok_or_else(|| invalid("logStreamName: a log stream must be named"))?;
    if !asked.platform().logs().streams(&asked.tenant, &group).iter().any(|s| *s.stream.name == *stream) {
        return Err(WireError::new(400, "ResourceNotFoundException", "The specified log stream does not exist."));
    }
    let from = From::read(&members)?;
    let (backwards, after) = match from {
        From::Head => (false, None),
        From::Tail => (true, None),
        From::Forward(at) => (false, at),
        From::Backward(at) => (true, at),
    };
    let query = LogQuery {
        tenant: asked.tenant.clone(),
        group,
        streams: vec![stream],
        from_ms: moment(members.start_time, 0),
        until_ms: moment(members.end_time, u64::MAX),
        id: None,
        after,
        limit,
        backwards,
    };
    // Before the first record there is nothing older.
    let nothing_older = matches!(from, From::Backward(None));
    let mut page = if nothing_older { LogPage::default() } else { asked.platform().logs().read(query).await? };
    let records = &mut page.records;
    let mut bytes = 0;
    let mut kept = Vec::new();
    let (mut first, mut last) = (after, after);
    for (at, stream, record) in records.drain(..) {
        let text = message(&stream, &record);
        bytes += text.as_ref().map_or(0, |t| t.len() + 26);
        if bytes > ANSWER_BYTES_MAX && !kept.is_empty() {
            break;
        }
        // The page's ends in time, whichever way it was read.
        if kept.is_empty() && first == after {
            (first, last) = (Some(at), Some(at));
        }
        (first, last) = (first.min(Some(at)), last.max(Some(at)));
        kept.extend(text.map(|t| json!({ "timestamp": record.at_ms, "message": t, "ingestionTime": record.at_ms })));
    }
    if backwards {
        kept.reverse();
    }
    done(&json!({ "events": kept, "nextForwardToken": position('f', last), "nextBackwardToken": position('b', first) }))
}

pub async fn filtered(asked: &Asked) -> Answer {
    let members = Members::read(asked)?;
    let limit = members.limit(EVENTS_MAX)?;
    let group = members.group(asked)?;
    let filter = Filter::parse(members.filter_pattern.as_deref().unwrap_or_default())?;
    let after = token(members.next_token.as_deref())?;
    let mut after = if after.is_empty() {
        None
    } else {
        Some(after.parse::<u64>().map_err(|_| invalid("The specified nextToken is invalid."))?)
    };
    let Some(streams) = chosen(asked, &members, &group)? else {
        return done(&json!({ "events": [], "searchedLogStreams": [] }));
    };
    let (mut kept, mut bytes, mut looked_at, mut next) = (Vec::new(), 0, 0, None);
    'pages: loop {
        let query = LogQuery {
            tenant: asked.tenant.clone(),
            group: group.clone(),
            streams: streams.clone(),
            from_ms: moment(members.start_time, 0),
            // Inclusive here, unlike in GetLogEvents.
            until_ms: moment(members.end_time, u64::MAX - 1).saturating_add(1),
            id: None,
            after,
            limit: 1000,
            backwards: false,
        };
        let page = asked.platform().logs().read(query).await?;
        for (at, stream, record) in &page.records {
            looked_at += 1;
            let text = message(stream, record).filter(|t| filter.matches(t.trim_end_matches('\n')));
            if let Some(text) = text {
                bytes += text.len();
                if kept.len() == limit || (bytes > ANSWER_BYTES_MAX && !kept.is_empty()) {
                    next = after;
                    break 'pages;
                }
                kept.push(json!({
                    "logStreamName": &*stream.name, "timestamp": record.at_ms, "message": text,
                    "ingestionTime": record.at_ms, "eventId": format!("{at:056}"),
                }));
            }
            after = Some(*at);
        }
        if page.next.is_none() {
            break;
        }
        after = page.next;
        if looked_at >= LOOKED_AT_MAX {
            next = after;
            break;
        }
    }
    let mut out = Map::new();
    out.insert("events".into(), Value::Array(kept));
    out.insert("searchedLogStreams".into(), json!([]));
    if let Some(next) = next {
        out.insert("nextToken".into(), token_of(&next.to_string()));
    }
    done(&Value::Object(out))
}

/// The streams to read: empty for all of the group's; `None` when no stream fits.
fn chosen(asked: &Asked, members: &Members, group: &str) -> Result<Option<Vec<String>>, WireError> {
    match (&members.log_stream_names, &members.log_stream_name_prefix) {
        (Some(_), Some(_)) => Err(invalid("logStreamNames and logStreamNamePrefix are mutually exclusive.")),
        (Some(names), None) => Ok(Some(names.clone())),
        (None, Some(prefix)) => {
            let all = asked.platform().logs().streams(&asked.tenant, group);
            let names: Vec<String> =
                all.iter().filter(|s| s.stream.name.starts_with(prefix.as_str())).map(|s| s.stream.name.to_string()).collect();
            Ok(Some(names).filter(|n| !n.is_empty()))
        }
        (None, None) => Ok(Some(Vec::new())),
    }
}
