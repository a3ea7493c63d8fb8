//! The last look at an answer before it is sent. Whatever a function or a handler made of it, the bytes that leave can't be
//! read as two answers: framing headers are hyper's alone, and what no client could take becomes a 502.

use crate::body::{Flight, Outgoing};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, StatusCode, Version,
    header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, TRANSFER_ENCODING, UPGRADE},
    request::Parts,
};
use model::{
    event::ReplyBody,
    limits::{HEADER_BYTES_MAX, HEADERS_MAX},
    ports::Response,
};

/// Headers that belong to a connection, not to an answer (RFC 9110 §7.6.1).
const HOP_BY_HOP: [HeaderName; 6] = [
    CONNECTION,
    CONTENT_LENGTH,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// An answer of the gateway's own.
pub fn plain(status: u16, text: &str) -> Response {
    let mut response = Response::new(ReplyBody::Bytes(Bytes::copy_from_slice(text.as_bytes())));
    *response.status_mut() = StatusCode::from_u16(status).expect("a status of our own is a status");
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

pub fn bare(status: u16) -> Response {
    plain(status, "")
}

/// Make an answer fit to be sent in reply to `asked`.
pub fn seal(response: Response, asked: &Parts, close: bool, flight: Flight) -> http::Response<Outgoing> {
    let (mut parts, mut body) = response.into_parts();
    if let Some(why) = unfit(parts.status, &parts.headers) {
        tracing::warn!(reason = why, "an answer is replaced by 502");
        (parts, body) = plain(502, "the answer can't be sent on").into_parts();
    }
    for name in &HOP_BY_HOP {
        if parts.headers.contains_key(name) {
            parts.headers.remove(name);
        }
    }
    if close {
        parts.headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    // Without chunks an answer ends where the connection does, and a broken one would look whole.
    if asked.version == Version::HTTP_10 && matches!(body, ReplyBody::Stream(_)) {
        (parts, body) = plain(505, "a streamed answer needs HTTP/1.1").into_parts();
    }
    http::Response::from_parts(parts, Outgoing::new(body, flight))
}

fn unfit(status: StatusCode, headers: &HeaderMap) -> Option<&'static str> {
    if !(200..=599).contains(&status.as_u16()) {
        return Some("its status is not a final one");
    }
    if headers.len() > HEADERS_MAX {
        return Some("it has too many headers");
    }
    let bytes: usize = headers.iter().map(|(n, v)| n.as_str().len() + v.len() + 4).sum();
    (bytes > HEADER_BYTES_MAX).then_some("its headers are too long")
}
