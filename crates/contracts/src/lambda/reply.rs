//! What the runtime answers: the response, whole or streamed, and its two kinds of error. An answer is claimed before its body
//! is read, so that a second one meets a closed door; a claim that isn't finished (the connection broke) fails the call.

use super::{
    answer::{self, Answer},
    routes::{Collect, Pieces, breach, collect},
    session::Core,
    state::{Phase, Step},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, header::CONTENT_TYPE};
use http_body::Body as _;
use hyper::body::Incoming;
use model::{
    Cause, Failed, Fault, Frame, Reply, ReplyBody, ReplyHead,
    event::{BodyStream, FunctionError},
};
use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::sync::mpsc;

const ERROR_TYPE: HeaderName = HeaderName::from_static("lambda-runtime-function-error-type");
const ERROR_BODY: HeaderName = HeaderName::from_static("lambda-runtime-function-error-body");
const RESPONSE_MODE: HeaderName = HeaderName::from_static("lambda-runtime-function-response-mode");
const CAUSE: &str = "application/vnd.aws.lambda.error.cause+json";

/// What is read and thrown away of an answer past its limit, so that the runtime gets to read why.
const DRAIN_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// An initialisation's error document.
const INIT_ERROR_BYTES_MAX: usize = 1024 * 1024;

/// The right to answer the current invocation.
pub(super) struct Claim<'a> {
    core: &'a Arc<Core>,
    id: uuid::Uuid,
    finished: bool,
}

impl<'a> Claim<'a> {
    pub fn take(core: &'a Arc<Core>, id: Option<uuid::Uuid>) -> Result<(Self, usize, u64), Answer> {
        let mut state = core.state();
        let name = state.name();
        match (&mut state.current, id) {
            (Some(current), Some(id)) if current.id == id => {
                if current.step != Step::Running {
                    state.spoil("the runtime answered an invocation twice");
                    return Err(answer::invalid_transition(name, "InvocationResponse"));
                }
                current.step = Step::Answering;
                let bound = state.bound.as_ref().expect("an invocation is running");
                let limits = (bound.reply_bytes_max, bound.stream_bytes_max);
                Ok((Claim { core, id, finished: false }, limits.0, limits.1))
            }
            _ => {
                state.spoil("the runtime answered an invocation that it doesn't have");
                Err(answer::invalid_request_id())
            }
        }
    }

    /// The head is known and the body follows; the claim goes on.
    fn head(&self, reply: Reply) {
        if let Some(current) = self.core.state().current.as_mut().filter(|c| c.id == self.id) {
            current.watchers.reply(Ok(reply));
        }
    }

    pub fn finish(mut self, result: Result<Reply, Failed>) {
        let failed = match &result {
            Ok(reply) => reply.head.error.as_ref().map(|e| e.kind.clone()),
            Err(Failed { fault, .. }) => Some(kind_of(fault)),
        };
        self.answered(failed, Some(result));
    }

    /// After a stream's end, which may have been a failure of this type.
    fn streamed(mut self, failed: Option<String>) {
        self.answered(failed, None);
    }

    fn answered(&mut self, failed: Option<String>, result: Option<Result<Reply, Failed>>) {
        self.finished = true;
        if let Some(current) = self.core.state().current.as_mut().filter(|c| c.id == self.id) {
            current.step = Step::Answered;
            current.failed = failed;
            if let Some(result) = result {
                current.watchers.reply(result);
            }
        }
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.core.state().break_off("the runtime's answer broke off");
        }
    }
}

pub(super) async fn response(core: &Arc<Core>, id: Option<uuid::Uuid>, request: Request<Incoming>) -> Answer {
    let (claim, limit, stream_limit) = match Claim::take(core, id) {
        Ok(claimed) => claimed,
        Err(answer) => return answer,
    };
    let (parts, body) = request.into_parts();
    match parts.headers.get(RESPONSE_MODE).map(HeaderValue::as_bytes) {
        None | Some(b"") => buffered(claim, limit, &parts.headers, body).await,
        Some(b"streaming") => streaming(claim, stream_limit, &parts.headers, body).await,
        Some(_) => {
            let fault = breach("the runtime named an unknown response mode").detail("Runtime.InvalidResponseModeHeader");
            claim.finish(Err(fault.into()));
            answer::invalid_response_mode()
        }
    }
}

async fn buffered(claim: Claim<'_>, limit: usize, headers: &HeaderMap, mut body: Incoming) -> Answer {
    let mut pieces = Pieces::new(body.size_hint().exact(), limit);
    let mut error = None;
    if body.size_hint().lower() > limit as u64 {
        return too_large(claim, body, limit as u64).await;
    }
    while let Some(frame) = next_frame(&mut body).await {
        match frame.map(hyper::body::Frame::into_data) {
            Ok(Ok(piece)) => {
                if pieces.push(piece).is_err() {
                    return too_large(claim, body, limit as u64).await;
                }
            }
            Ok(Err(other)) => error = other.into_trailers().ok().filter(|t| t.contains_key(ERROR_TYPE)),
            Err(_) => return answer::truncated(),
        }
    }
    let mut head = ReplyHead { headers: unusual(headers), ..ReplyHead::default() };
    let body = match &error {
        None => pieces.finish(),
        Some(trailers) => {
            head.error = Some(FunctionError { kind: error_kind(trailers.get(ERROR_TYPE)) });
            trailers.get(ERROR_BODY).and_then(|b| STANDARD.decode(b).ok()).map(Bytes::from).unwrap_or_default()
        }
    };
    claim.finish(Ok(Reply { head, body: ReplyBody::Bytes(body) }));
    caller_first().await;
    answer::accepted()
}

/// Lets the task that awaits the reply run before this one goes on: its client waits, the runtime has time. A plain wake, since
/// tokio's own way to yield asks the kernel for events in between.
pub(super) async fn caller_first() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The media type, where it says something.
fn unusual(headers: &HeaderMap) -> HeaderMap {
    let mut map = HeaderMap::new();
    if let Some(value) = headers.get(CONTENT_TYPE).filter(|v| *v != "application/json") {
        map.insert(CONTENT_TYPE, value.clone());
    }
    map
}

async fn too_large(claim: Claim<'_>, body: Incoming, limit: u64) -> Answer {
    claim.finish(Err(past_limit(limit).into()));
    drain(body).await;
    answer::too_large(limit)
}

fn past_limit(limit: u64) -> Fault {
    Fault::new(Cause::ReplyTooLarge, format!("the function's answer is larger than {limit} bytes"))
        .detail("Function.ResponseSizeTooLarge")
}

/// Read on without keeping anything.
pub(super) async fn drain(mut body: Incoming) {
    let mut left = DRAIN_BYTES_MAX;
    while let Some(Ok(frame)) = next_frame(&mut body).await {
        left = left.saturating_sub(frame.data_ref().map_or(0, |d| d.len() as u64));
        if left == 0 {
            return;
        }
    }
}

async fn next_frame(body: &mut Incoming) -> Option<Result<hyper::body::Frame<Bytes>, hyper::Error>> {
    poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await
}

// -------------------------------------------------------------------------------------------------------------- streaming

/// One step of a stream on its way to the client. Without an `End`, it broke off.
enum Piece {
    Data(Bytes),
    End(Option<Frame>),
}

/// Pieces wait in a channel of one: a client that doesn't read stops the runtime's writing.
async fn streaming(claim: Claim<'_>, limit: u64, headers: &HeaderMap, mut body: Incoming) -> Answer {
    let (pieces, receiver) = mpsc::channel(1);
    let head = ReplyHead { headers: unusual(headers), streamed: true, ..ReplyHead::default() };
    let stream = Pieced { receiver, core: claim.core.clone(), ended: false };
    claim.head(Reply { head, body: ReplyBody::Stream(Box::pin(stream)) });
    let mut sent = 0;
    let mut trailers = None;
    while let Some(frame) = next_frame(&mut body).await {
        match frame.map(hyper::body::Frame::into_data) {
            Ok(Ok(data)) => {
                sent += data.len() as u64;
                if sent > limit {
                    let fault = past_limit(limit);
                    let failed = kind_of(&fault);
                    let _ = pieces.send(Piece::End(Some(Frame::Fault(fault)))).await;
                    claim.streamed(Some(failed));
                    drain(body).await;
                    return answer::too_large(limit);
                }
                // A client that has gone doesn't stop the function.
                let _ = pieces.send(Piece::Data(data)).await;
            }
            Ok(Err(other)) => trailers = other.into_trailers().ok().and_then(|t| error_trailers(&t)),
            Err(_) => return answer::truncated(),
        }
    }
    let failed = trailers.as_ref().map(|t| error_kind(t.get(ERROR_TYPE)));
    let _ = pieces.send(Piece::End(trailers.map(Frame::Trailers))).await;
    claim.streamed(failed);
    answer::accepted()
}

/// What a failure of the answer itself is called.
fn kind_of(fault: &Fault) -> String {
    fault.detail.clone().unwrap_or_else(|| fault.cause.name().to_owned())
}

/// The two trailers by which a runtime reports a failure in the middle of its answer.
fn error_trailers(all: &HeaderMap) -> Option<HeaderMap> {
    let mut map = HeaderMap::with_capacity(2);
    let kind = error_kind(Some(all.get(ERROR_TYPE)?));
    map.insert(ERROR_TYPE, HeaderValue::from_str(&kind).unwrap_or(HeaderValue::from_static("Runtime.Unknown")));
    map.insert(ERROR_BODY, all.get(ERROR_BODY).cloned().unwrap_or(HeaderValue::from_static("")));
    Some(map)
}

struct Pieced {
    receiver: mpsc::Receiver<Piece>,
    core: Arc<Core>,
    ended: bool,
}

impl futures_core::Stream for Pieced {
    type Item = Frame;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Frame>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let piece = std::task::ready!(self.receiver.poll_recv(cx));
        Poll::Ready(match piece {
            Some(Piece::Data(bytes)) => Some(Frame::Data(bytes)),
            Some(Piece::End(last)) => {
                self.ended = true;
                last
            }
            None => {
                self.ended = true;
                let closed = self.core.state().closed.clone();
                Some(Frame::Fault(closed.unwrap_or_else(|| breach("the function's answer broke off"))))
            }
        })
    }
}

// ----------------------------------------------------------------------------------------------------------------- errors

pub(super) async fn error(core: &Arc<Core>, id: Option<uuid::Uuid>, request: Request<Incoming>) -> Answer {
    let (claim, limit, _) = match Claim::take(core, id) {
        Ok(claimed) => claimed,
        Err(answer) => return answer,
    };
    let (parts, mut incoming) = request.into_parts();
    let document = match collect(&mut incoming, limit).await {
        Ok(document) => document,
        Err(Collect::Broken) => return answer::truncated(),
        Err(Collect::TooLarge) => return too_large(claim, incoming, limit as u64).await,
    };
    let kind = error_kind(parts.headers.get(ERROR_TYPE));
    let with_cause = parts.headers.get(CONTENT_TYPE).is_some_and(|v| v == CAUSE);
    let body = if with_cause { without_cause(&document) } else { document };
    let head = ReplyHead { error: Some(FunctionError { kind }), ..ReplyHead::default() };
    claim.finish(Ok(Reply { head, body: ReplyBody::Bytes(body) }));
    caller_first().await;
    answer::accepted()
}

pub(super) async fn init_error(core: &Arc<Core>, request: Request<Incoming>) -> Answer {
    let (parts, mut incoming) = request.into_parts();
    let report = match collect(&mut incoming, INIT_ERROR_BYTES_MAX).await {
        Ok(report) => report,
        Err(Collect::TooLarge) => {
            drain(incoming).await;
            return answer::too_large(INIT_ERROR_BYTES_MAX as u64);
        }
        Err(Collect::Broken) => return answer::truncated(),
    };
    let kind = error_kind(parts.headers.get(ERROR_TYPE));
    let mut state = core.state();
    if state.phase != Phase::Starting || state.bound.is_none() {
        let refused = answer::invalid_transition(state.name(), "InitError");
        if state.phase == Phase::Serving {
            state.spoil("the runtime reported a failed initialisation after it had asked for events");
        }
        return refused;
    }
    let fault = Fault::new(Cause::InitFailed, format!("the function's initialisation failed: {kind}"));
    state.initialised(Err(fault.detail(kind).report(report)));
    answer::accepted()
}

/// A document that came with an error's cause: callers see its first three members only.
fn without_cause(document: &Bytes) -> Bytes {
    let Ok(serde_json::Value::Object(mut all)) = serde_json::from_slice(document) else {
        return document.clone();
    };
    all.retain(|name, _| ["errorMessage", "errorType", "stackTrace"].contains(&name.as_str()));
    serde_json::to_vec(&all).map_or_else(|_| document.clone(), Bytes::from)
}

/// The error's type, if it is one of the two families that the reference lets through (`fatalerror/fatalerror.go`).
fn error_kind(header: Option<&HeaderValue>) -> String {
    let text = header.and_then(|h| h.to_str().ok()).unwrap_or_default();
    let known = ["Runtime.", "Function."].iter().any(|family| {
        text.match_indices(family).any(|(at, _)| {
            let mut name = text[at + family.len()..].chars();
            name.next().is_some_and(|c| c.is_ascii_uppercase()) && name.next().is_some_and(|c| c.is_ascii_alphabetic())
        })
    });
    match known {
        true => text.to_owned(),
        false if text.starts_with("Function.") => "Function.Unknown".to_owned(),
        false => "Runtime.Unknown".to_owned(),
    }
}

/// An event's body that arrives as a stream.
pub(super) async fn collect_stream(mut stream: BodyStream, max: usize) -> Result<Bytes, Fault> {
    let mut pieces = Pieces::new(None, max);
    while let Some(piece) = poll_fn(|cx| stream.as_mut().poll_next(cx)).await {
        let piece = piece.map_err(|e| Fault::invalid(format!("the request's body broke off: {e}")))?;
        pieces.push(piece).map_err(|_| Fault::new(Cause::TooLarge, format!("the request's body is larger than {max} bytes")))?;
    }
    Ok(pieces.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_types_pass_the_reference_rule_or_become_unknown() {
        let cases = [
            ("Runtime.ExitError", "Runtime.ExitError"),
            ("Function.MyOwn", "Function.MyOwn"),
            ("x Runtime.Ab y", "x Runtime.Ab y"),
            ("Runtime.A", "Runtime.Unknown"),
            ("Runtime.lower", "Runtime.Unknown"),
            ("Function.lower", "Function.Unknown"),
            ("ValueError", "Runtime.Unknown"),
            ("Runtime.runtime.Function.Ok", "Runtime.runtime.Function.Ok"),
            ("", "Runtime.Unknown"),
        ];
        for (given, expected) in cases {
            assert_eq!(error_kind(Some(&HeaderValue::from_str(given).unwrap())), expected, "{given}");
        }
        assert_eq!(error_kind(Some(&HeaderValue::from_bytes(b"Function.\xff").unwrap())), "Runtime.Unknown");
    }

    #[test]
    fn a_cause_is_taken_out_of_the_document() {
        let given = Bytes::from_static(br#"{"errorMessage":"m","errorType":"T","stackTrace":[],"errorCause":{"x":1}}"#);
        assert_eq!(&without_cause(&given)[..], br#"{"errorMessage":"m","errorType":"T","stackTrace":[]}"#);
        assert_eq!(without_cause(&Bytes::from_static(b"no json")), "no json");
    }
}
