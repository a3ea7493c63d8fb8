//! Small pieces of answers.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use model::{event::ReplyBody, ports::Response};
use serde_json::Value;

pub type Reply = Response;

pub fn bytes(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = http::Response::new(ReplyBody::Bytes(body.into()));
    *reply.status_mut() = status;
    reply.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}

pub fn json(status: StatusCode, body: &Value) -> Reply {
    bytes(status, "application/json", body.to_string())
}

pub fn empty(status: StatusCode) -> Reply {
    let mut reply = http::Response::new(ReplyBody::Bytes(Bytes::new()));
    *reply.status_mut() = status;
    reply
}

/// Set a header; a value that can't be one is left out.
pub fn put(reply: &mut Reply, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        reply.headers_mut().insert(HeaderName::from_static(name), value);
    }
}
