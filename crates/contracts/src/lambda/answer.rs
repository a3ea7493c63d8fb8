//! What the platform answers on the Runtime API: status codes and bodies as the reference gives them
//! (`internal/lambda/rapi/rendering`).

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header::CONTENT_TYPE};
use http_body::{Body, Frame as HttpFrame, SizeHint};
use model::{Fault, Frame, FrameStream};
use std::{
    pin::Pin,
    task::{Context, Poll},
};

/// A body on its way into the instance.
pub(super) enum Out {
    Whole(Option<Bytes>),
    Stream(FrameStream),
}

impl Body for Out {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<HttpFrame<Bytes>, Fault>>> {
        match &mut *self {
            Out::Whole(bytes) => Poll::Ready(bytes.take().map(|b| Ok(HttpFrame::data(b)))),
            Out::Stream(frames) => frames.as_mut().poll_next(cx).map(|frame| {
                frame.map(|frame| match frame {
                    Frame::Data(bytes) => Ok(HttpFrame::data(bytes)),
                    Frame::Trailers(map) => Ok(HttpFrame::trailers(map)),
                    // An error ends the connection before the body's end: nobody takes it for a whole answer.
                    Frame::Fault(fault) => Err(fault),
                })
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Out::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Out::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Out::Stream(_) => SizeHint::default(),
        }
    }
}

pub(super) type Answer = Response<Out>;

pub(super) fn whole(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let body = body.into();
    let mut answer = Response::new(Out::Whole((!body.is_empty()).then_some(body)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

pub(super) fn accepted() -> Answer {
    whole(StatusCode::ACCEPTED, "application/json", Bytes::from_static(b"{\"status\":\"OK\"}\n"))
}

fn error(status: StatusCode, kind: &str, message: &str) -> Answer {
    let body = serde_json::json!({ "errorMessage": message, "errorType": kind }).to_string();
    whole(status, "application/json", body + "\n")
}

pub(super) fn not_found() -> Answer {
    whole(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", Bytes::from_static(b"404 page not found\n"))
}

pub(super) fn method_not_allowed() -> Answer {
    whole(StatusCode::METHOD_NOT_ALLOWED, "text/plain; charset=utf-8", Bytes::new())
}

pub(super) fn invalid_request_id() -> Answer {
    error(StatusCode::BAD_REQUEST, "InvalidRequestID", "Invalid request ID")
}

pub(super) fn invalid_transition(from: &str, to: &str) -> Answer {
    let message = format!("State transition from {from} to {to} failed for runtime. Error: State transition is not allowed");
    error(StatusCode::FORBIDDEN, "InvalidStateTransition", &message)
}

pub(super) fn invalid_response_mode() -> Answer {
    error(StatusCode::BAD_REQUEST, "InvalidFunctionResponseMode", "Invalid function response mode")
}

pub(super) fn truncated() -> Answer {
    error(StatusCode::BAD_REQUEST, "TruncatedHTTPRequest", "HTTP request detected as truncated")
}

pub(super) fn too_large(limit: u64) -> Answer {
    let message = format!("Exceeded maximum allowed payload size ({limit} bytes).");
    error(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", &message)
}

/// What an extension may not do.
pub(super) fn forbidden(kind: &str, message: &str) -> Answer {
    error(StatusCode::FORBIDDEN, kind, message)
}

/// A document that can't be what was meant.
pub(super) fn invalid_request(message: &str) -> Answer {
    error(StatusCode::BAD_REQUEST, "ValidationError", message)
}
