//! The answer to `/next`: the event with its headers. Runs once per invocation, so that what doesn't change between calls is
//! made when the unit is bound.

use super::answer::{Answer, Out};
use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use model::{
    Clock, Event, Head, Unit,
    event::{Attributes, Deadline},
};
use std::{io::Write, time::Duration};

/// What a session knows of its unit.
pub(super) struct Bound {
    arn: HeaderValue,
    arn_text: String,
    timeout: Duration,
    pub function: String,
    pub version: String,
    pub handler: String,
    pub account: String,
    pub memory_mib: u32,
    /// Its lines are documents.
    pub json: bool,
    pub request_bytes_max: usize,
    pub reply_bytes_max: usize,
    pub stream_bytes_max: u64,
}

impl Bound {
    pub fn new(unit: &Unit) -> Self {
        let arn_text = unit.resource_name.to_string();
        Self {
            // A name that can't stand in a header can't have passed the dialect; runtimes get an empty one then.
            arn: HeaderValue::from_str(&arn_text).unwrap_or(HeaderValue::from_static("")),
            arn_text,
            timeout: unit.settings.timeout,
            function: unit.function.to_string(),
            version: unit.version.to_string(),
            handler: unit.handler.to_string(),
            account: unit.tenant.to_string(),
            memory_mib: unit.settings.memory_mib,
            json: unit.settings.log.json,
            request_bytes_max: unit.settings.request_bytes_max,
            reply_bytes_max: unit.settings.reply_bytes_max,
            stream_bytes_max: unit.settings.stream_bytes_max,
        }
    }

    fn invoked_arn(&self, qualifier: Option<&str>) -> HeaderValue {
        match qualifier {
            None | Some("") => self.arn.clone(),
            Some(q) => HeaderValue::from_str(&format!("{}:{q}", self.arn_text)).unwrap_or_else(|_| self.arn.clone()),
        }
    }
}

/// Gives an event its trace, so that extensions and the runtime see the same.
pub(super) fn trace(event: &mut Event, now_ms: u64) -> String {
    let trace = match event.attributes.get(Attributes::TRACE).and_then(|t| HeaderValue::from_maybe_shared(t.clone()).ok()) {
        Some(given) => complete_trace(given),
        None => {
            let mut text = Text::default();
            HeaderValue::from_bytes(text.of(|w| fresh_trace(w, &event.id.0, now_ms))).expect("digits, letters and punctuation")
        }
    };
    event.attributes.set(Attributes::TRACE, Bytes::copy_from_slice(trace.as_bytes()));
    trace.to_str().unwrap_or_default().to_owned()
}

/// What extensions are told of an event.
pub(super) fn invoke_event(bound: &Bound, event: &Event, trace: &str, clock: &dyn Clock) -> Bytes {
    let deadline = event.deadline.map_or_else(|| clock.wall_ms() + bound.timeout.as_millis() as u64, |d: Deadline| d.wall_ms);
    let document = serde_json::json!({
        "eventType": "INVOKE",
        "deadlineMs": deadline,
        "requestId": event.id.to_string(),
        "invokedFunctionArn": bound.invoked_arn(event.qualifier.as_deref()).to_str().unwrap_or_default(),
        "tracing": { "type": "X-Amzn-Trace-Id", "value": trace },
    });
    Bytes::from(document.to_string())
}

pub(super) fn answer(bound: &Bound, event: &Event, body: Bytes, clock: &dyn Clock) -> Answer {
    let mut answer = Response::new(Out::Whole((!body.is_empty()).then_some(body)));
    // Content type, id, deadline, name, trace, two contexts: one allocation for them all.
    let mut map = HeaderMap::with_capacity(8);
    each_header(bound, event, clock, |name, value| {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
            map.insert(name, value);
        }
    });
    *answer.headers_mut() = map;
    answer
}

/// The same as it goes over the wire, without the body.
pub(super) fn write_head(out: &mut BytesMut, bound: &Bound, event: &Event, body_bytes: usize, clock: &dyn Clock) {
    out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    each_header(bound, event, clock, |name, value| {
        for part in [name.as_bytes(), b": ", value, b"\r\n"] {
            out.extend_from_slice(part);
        }
    });
    write!(out.writer(), "Content-Length: {body_bytes}\r\n\r\n").expect("a growing buffer takes everything");
}

/// Names as the reference spells them; values can stand in a header.
fn each_header(bound: &Bound, event: &Event, clock: &dyn Clock, mut put: impl FnMut(&'static str, &[u8])) {
    let mut text = Text::default();
    match &event.head {
        Head::Raw { content_type: Some(named) } => put("Content-Type", named.as_bytes()),
        _ => put("Content-Type", b"application/json"),
    }
    put("Lambda-Runtime-Aws-Request-Id", text.of(|w| write!(w, "{}", event.id)));
    let deadline = event.deadline.map_or_else(|| clock.wall_ms() + bound.timeout.as_millis() as u64, |d: Deadline| d.wall_ms);
    put("Lambda-Runtime-Deadline-Ms", text.of(|w| write!(w, "{deadline}")));
    match event.qualifier.as_deref() {
        None | Some("") => put("Lambda-Runtime-Invoked-Function-Arn", bound.arn.as_bytes()),
        qualifier => put("Lambda-Runtime-Invoked-Function-Arn", bound.invoked_arn(qualifier).as_bytes()),
    }
    match event.attributes.get(Attributes::TRACE).and_then(|t| HeaderValue::from_maybe_shared(t.clone()).ok()) {
        Some(given) => put("Lambda-Runtime-Trace-Id", complete_trace(given).as_bytes()),
        None => put("Lambda-Runtime-Trace-Id", text.of(|w| fresh_trace(w, &event.id.0, clock.wall_ms()))),
    }
    let contexts = [
        ("Lambda-Runtime-Client-Context", Attributes::CLIENT_CONTEXT),
        ("Lambda-Runtime-Cognito-Identity", Attributes::COGNITO_IDENTITY),
    ];
    for (name, attribute) in contexts {
        if let Some(value) = event.attributes.get(attribute).filter(|v| !v.is_empty()).and_then(document) {
            put(name, value.as_bytes());
        }
    }
}

/// A short text, on the stack.
struct Text([u8; 96]);

impl Default for Text {
    fn default() -> Self {
        Self([0; 96])
    }
}

impl Text {
    fn of(&mut self, write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> &[u8] {
        let mut rest = &mut self.0[..];
        write(&mut rest).expect("an id, a number and a trace are shorter");
        let left = rest.len();
        &self.0[..self.0.len() - left]
    }
}

/// A JSON document as a header. Line ends can only stand between its tokens, where a space means the same.
fn document(json: &Bytes) -> Option<HeaderValue> {
    if let Ok(value) = HeaderValue::from_maybe_shared(json.clone()) {
        return Some(value);
    }
    let line: Vec<u8> = json.iter().map(|&b| if b < 0x20 || b == 0x7f { b' ' } else { b }).collect();
    HeaderValue::from_maybe_shared(Bytes::from(line)).ok()
}

/// `Root=1-…;Parent=…;Sampled=0`, the root's first part being the time in seconds (X-Ray developer guide, "Tracing header").
fn fresh_trace(out: &mut dyn Write, id: &uuid::Uuid, now_ms: u64) -> std::io::Result<()> {
    let root = id.as_u128() & ((1 << 96) - 1);
    let parent = uuid::Uuid::new_v4().as_u64_pair().1;
    write!(out, "Root=1-{:08x}-{root:024x};Parent={parent:016x};Sampled=0", (now_ms / 1000) as u32)
}

/// A caller may name the root alone; runtimes and SDKs expect the rest.
fn complete_trace(given: HeaderValue) -> HeaderValue {
    let text = match given.to_str() {
        Ok(text) if text.contains("Root=") && !text.contains("Parent=") => text,
        _ => return given,
    };
    let sampled = if text.contains("Sampled=") { "" } else { ";Sampled=0" };
    let parent = uuid::Uuid::new_v4().as_u64_pair().1;
    HeaderValue::from_str(&format!("{};Parent={parent:016x}{sampled}", text.trim_end_matches(';'))).unwrap_or(given)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_with_line_ends_stays_one_header() {
        let value = document(&Bytes::from_static(b"{\n\t\"a\": \"\xc3\xa4\"\r\n}")).unwrap();
        assert_eq!(
            value.as_bytes(),
            b"{ \t\"a\": \"\xc3\xa4\"  }".as_slice().iter().map(|b| if *b == b'\t' { b' ' } else { *b }).collect::<Vec<_>>()
        );
    }

    #[test]
    fn traces_have_the_documented_form() {
        let mut fresh = Vec::new();
        fresh_trace(&mut fresh, &uuid::Uuid::new_v4(), 1_700_000_000_000).unwrap();
        let fresh = String::from_utf8(fresh).unwrap();
        assert!(fresh.starts_with("Root=1-6553f100-"), "{fresh}");
        assert_eq!(fresh.len(), "Root=1-".len() + 8 + 1 + 24 + ";Parent=".len() + 16 + ";Sampled=0".len());
        let completed = complete_trace(HeaderValue::from_static("Root=1-5759e988-bd862e3fe1be46a994272793"));
        assert!(completed.to_str().unwrap().contains(";Parent=") && completed.to_str().unwrap().ends_with(";Sampled=0"));
        let whole = HeaderValue::from_static("Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1");
        assert_eq!(complete_trace(whole.clone()), whole);
    }
}
