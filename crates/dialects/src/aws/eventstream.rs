//! `application/vnd.amazon.eventstream` (Smithy specification, "Amazon Event Stream"): length-prefixed messages, each with a
//! checksum over its prelude and one over the whole.

use super::fault;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use http::HeaderMap;
use model::{Frame, FrameStream, Fut, Outcome, Reply, ReplyBody};
use std::time::Duration;

pub const CONTENT_TYPE: &str = "application/vnd.amazon.eventstream";

/// A message's payload; larger pieces are split, so that no client has to hold more than this before it sees anything.
const PAYLOAD_BYTES_MAX: usize = 1024 * 1024;

const STRING: u8 = 7;

/// One message.
pub fn message(headers: &[(&str, &str)], payload: &[u8]) -> Bytes {
    let headers_len: usize = headers.iter().map(|(n, v)| 1 + n.len() + 1 + 2 + v.len()).sum();
    let total = 12 + headers_len + payload.len() + 4;
    let mut out = BytesMut::with_capacity(total);
    out.put_u32(u32::try_from(total).expect("payloads are split below 16 MiB"));
    out.put_u32(u32::try_from(headers_len).expect("a handful of short headers"));
    out.put_u32(crc32fast::hash(&out));
    for (name, value) in headers {
        out.put_u8(u8::try_from(name.len()).expect("names are ours and short"));
        out.put_slice(name.as_bytes());
        out.put_u8(STRING);
        out.put_u16(u16::try_from(value.len()).expect("values are ours and short"));
        out.put_slice(value.as_bytes());
    }
    out.put_slice(payload);
    out.put_u32(crc32fast::hash(&out));
    out.freeze()
}

/// An event of a declared type.
pub fn event(kind: &str, content_type: &str, payload: &[u8]) -> Bytes {
    message(&[(":message-type", "event"), (":event-type", kind), (":content-type", content_type)], payload)
}

fn chunk(payload: &[u8]) -> Bytes {
    event("PayloadChunk", "application/octet-stream", payload)
}

/// What a function reported of itself after it had begun to answer: its type and its own document (Amazon's runtime interface
/// emulator, `core/directinvoke`).
pub fn error_of(trailers: &HeaderMap) -> Option<(String, Bytes)> {
    let text = |name: &str| trailers.get(name).and_then(|v| v.to_str().ok());
    let kind = text("lambda-runtime-function-error-type")?;
    let body = text("lambda-runtime-function-error-body").and_then(|b| STANDARD.decode(b).ok()).unwrap_or_default();
    Some((kind.to_owned(), body.into()))
}

/// How the stream ended.
#[derive(Default)]
struct End {
    code: Option<String>,
    details: Option<String>,
}

impl End {
    fn message(&self, log: Option<String>) -> Bytes {
        let mut body = serde_json::Map::new();
        let mut set = |name: &str, value: Option<&str>| {
            if let Some(value) = value {
                body.insert(name.into(), value.into());
            }
        };
        set("ErrorCode", self.code.as_deref());
        set("ErrorDetails", self.details.as_deref());
        set("LogResult", log.as_deref());
        event("InvokeComplete", "application/json", serde_json::Value::Object(body).to_string().as_bytes())
    }
}

struct Flow {
    source: Option<FrameStream>,
    waiting: Bytes,
    end: End,
    free: Option<Fut<'static, Outcome>>,
    id: String,
    timeout: Duration,
    done: bool,
}

/// An answer as InvokeWithResponseStream sends it: its bytes as they arrive, then one InvokeComplete. `reply` is the answer, or
/// the document of a failure; `free` yields the log's tail when the caller asked for it.
pub fn invocation(
    reply: Result<Reply, Bytes>,
    free: Option<Fut<'static, Outcome>>,
    id: String,
    timeout: Duration,
) -> FrameStream {
    let mut flow = Flow { source: None, waiting: Bytes::new(), end: End::default(), free, id, timeout, done: false };
    match reply {
        Ok(Reply { head, body }) => match (head.error, body) {
            (Some(error), ReplyBody::Bytes(bytes)) => {
                flow.end = End { code: Some(error.kind), details: Some(String::from_utf8_lossy(&bytes).into_owned()) };
            }
            (_, ReplyBody::Bytes(bytes)) => flow.waiting = bytes,
            (_, ReplyBody::Stream(source)) => flow.source = Some(source),
        },
        Err(document) => flow.end = failed(&document),
    }
    stream::unfold(flow, |mut flow| async move { flow.next().await.map(|bytes| (Frame::Data(bytes), flow)) }).boxed()
}

fn failed(document: &[u8]) -> End {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Kind {
        error_type: Option<String>,
    }
    let kind = serde_json::from_slice::<Kind>(document).ok().and_then(|k| k.error_type);
    End { code: Some(kind.unwrap_or_else(|| "Unhandled".into())), details: Some(String::from_utf8_lossy(document).into_owned()) }
}

impl Flow {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if !self.waiting.is_empty() {
                let piece = self.waiting.split_to(self.waiting.len().min(PAYLOAD_BYTES_MAX));
                return Some(chunk(&piece));
            }
            let Some(source) = &mut self.source else { return self.complete().await };
            match source.next().await {
                Some(Frame::Data(bytes)) => self.waiting = bytes,
                Some(Frame::Trailers(trailers)) => {
                    self.source = None;
                    if let Some((kind, body)) = error_of(&trailers) {
                        self.end = End { code: Some(kind), details: Some(String::from_utf8_lossy(&body).into_owned()) };
                    }
                }
                Some(Frame::Fault(fault)) => {
                    self.source = None;
                    let document = fault::function_error(&fault, &self.id, self.timeout);
                    self.end = document.map_or_else(
                        || End { code: Some("Unhandled".into()), details: Some(fault.to_string()) },
                        |document| failed(&document),
                    );
                }
                None => self.source = None,
            }
        }
    }

    async fn complete(&mut self) -> Option<Bytes> {
        if std::mem::replace(&mut self.done, true) {
            return None;
        }
        let log = match self.free.take() {
            Some(free) => Some(STANDARD.encode(free.await.tail.unwrap_or_default())),
            None => None,
        };
        Some(self.end.message(log))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    #[test]
    fn messages_have_the_published_bytes() {
        // Smithy's vector "empty_message", and "int32_header"'s shape with a string header, checksums computed independently
        // (zlib.crc32).
        assert_eq!(hex(&message(&[], b"")), "000000100000000005c248eb7d98c8ff");
        assert_eq!(hex(&message(&[], b"{'foo':'bar'}")), "0000001d00000000fd528c5a7b27666f6f273a27626172277dc3653936");
    }
}
