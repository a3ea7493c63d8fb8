//! Answers of the admin API: JSON, a fault as JSON, and lines that are sent while the work behind them goes on.

use bytes::Bytes;
use model::{
    Cause, Fault, Frame, ReplyBody,
    ports::{Response, ResponseBody},
};
use serde::Serialize;
use serde_json::json;
use tokio::sync::mpsc;

pub fn json(value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => whole(200, "application/json", body),
        Err(error) => fault(&Fault::internal(format!("an answer can't be written as JSON: {error}"))),
    }
}

pub fn text(status: u16, text: impl Into<String>) -> Response {
    whole(status, "text/plain", text.into().into_bytes())
}

pub fn fault(fault: &Fault) -> Response {
    let body = json!({ "error": { "cause": fault.cause.name(), "message": fault.message, "hint": fault.hint } });
    let mut response = whole(status(fault.cause), "application/json", body.to_string().into_bytes());
    if let Some(wait) = fault.retry_after {
        response.headers_mut().insert(http::header::RETRY_AFTER, http::HeaderValue::from(wait.as_secs().max(1)));
    }
    response
}

fn status(cause: Cause) -> u16 {
    match cause {
        Cause::NotFound => 404,
        Cause::Denied => 403,
        Cause::Unauthenticated => 401,
        Cause::Invalid => 400,
        Cause::TooLarge | Cause::ReplyTooLarge => 413,
        Cause::Stale | Cause::Conflict => 409,
        Cause::Throttled => 429,
        Cause::Exhausted | Cause::Draining => 503,
        Cause::Unsupported => 501,
        Cause::Timeout => 504,
        Cause::Exited | Cause::OutOfMemory | Cause::InitFailed | Cause::Protocol | Cause::Cancelled | Cause::Internal => 500,
    }
}

fn whole(status: u16, kind: &'static str, body: Vec<u8>) -> Response {
    response(status, kind, ReplyBody::Bytes(Bytes::from(body)))
}

fn response(status: u16, kind: &'static str, body: ResponseBody) -> Response {
    http::Response::builder()
        .status(status)
        .header(http::header::CONTENT_TYPE, kind)
        .header(http::header::CACHE_CONTROL, "no-store")
        .body(body)
        .expect("status and headers are literals")
}

/// Where the lines of a streamed answer are put.
pub struct LineSink(mpsc::Sender<Bytes>);

impl LineSink {
    /// False once the reader has gone.
    pub async fn send(&self, line: &impl Serialize) -> bool {
        let Ok(mut text) = serde_json::to_vec(line) else { return true };
        text.push(b'\n');
        self.0.send(Bytes::from(text)).await.is_ok()
    }
    /// Resolves when the reader has gone.
    pub async fn closed(&self) {
        self.0.closed().await;
    }
}

/// An answer of JSON lines, written by a task that the reader's going ends.
pub fn lines<F>(write: impl FnOnce(LineSink) -> F) -> Response
where
    F: Future<Output = ()> + Send + 'static,
{
    const LINES_AHEAD_MAX: usize = 64;
    let (sender, receiver) = mpsc::channel(LINES_AHEAD_MAX);
    let gone = sender.clone();
    let work = write(LineSink(sender));
    tokio::spawn(async move {
        tokio::select! {
            () = work => {}
            () = gone.closed() => {}
        }
    });
    let frames = futures_util::stream::unfold(receiver, |mut receiver| async {
        let line = receiver.recv().await?;
        Some((Frame::Data(line), receiver))
    });
    response(200, "application/x-ndjson", ReplyBody::Stream(Box::pin(frames)))
}
