//! The listener that shows `/metrics` and nothing else, for a Prometheus that can't read a socket of this machine.

use super::Exposition;
use gateway::{Handler, Peer, reply};
use http::{HeaderValue, header, request::Parts};
use model::{
    Fault, Fut, ReplyBody,
    ports::{Request, Response},
};
use std::sync::Arc;

/// Makes the page.
pub type Show = Arc<dyn Fn(Exposition) -> Fut<'static, String> + Send + Sync>;

/// What there is; a path that is not named here is none.
pub const ROUTES: &[&str] = &["GET /metrics"];

/// Loopback only, as every door. Nobody is asked who they are: names of functions and numbers are shown to this machine's users.
pub struct MetricsDoor(pub Show);

/// The page as an answer.
pub fn answer(text: String, format: Exposition) -> Response {
    let mut response = Response::new(ReplyBody::Bytes(text.into()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What a request's `Accept` asks for.
pub fn asked(headers: &http::HeaderMap) -> Exposition {
    Exposition::accepted(headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default())
}

impl Handler for MetricsDoor {
    fn admit(&self, _: &Parts, _: &Peer) -> Result<usize, Fault> {
        Ok(0)
    }
    fn handle(&self, request: Request, _: Peer) -> Fut<'_, Response> {
        let listed = |route: &&str| route.split_once(' ').is_some_and(|(_, path)| path == request.uri().path());
        if !ROUTES.iter().any(listed) {
            return Box::pin(async { reply::plain(404, "only /metrics is here\n") });
        }
        if request.method() != http::Method::GET {
            return Box::pin(async { reply::plain(405, "only GET\n") });
        }
        let format = asked(request.headers());
        let page = (self.0)(format);
        Box::pin(async move { answer(page.await, format) })
    }
    fn refuse(&self, _: &Parts, fault: &Fault) -> Response {
        reply::plain(400, &format!("{}\n", fault.message))
    }
}
