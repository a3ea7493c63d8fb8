//! One request: from a head that hyper has parsed to an answer that is fit to be sent.

use crate::{
    Limits,
    body::{Flight, Flights, Outgoing, read},
    door::{Counters, Handler, Paths, Peer},
    guard::{Flaw, REFUSE},
    path, reply,
    stage::Stage,
};
use futures_util::FutureExt;
use http::{HeaderValue, StatusCode, header, request::Parts};
use hyper::body::Incoming;
use model::{
    Cause, Fault, Fut,
    event::Body,
    ports::{Request, Response},
};
use std::{
    convert::Infallible,
    future::poll_fn,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

/// What all connections of one door share.
pub struct Shared {
    pub name: &'static str,
    pub handler: Arc<dyn Handler>,
    pub limits: Arc<Limits>,
    pub counters: Arc<Counters>,
    pub stage: Arc<Stage>,
    pub tls: Option<Arc<crate::tls::Certificates>>,
    /// Connections at this door.
    pub open: AtomicUsize,
}

pub type Answer = Result<http::Response<Outgoing>, Infallible>;

/// Answer one request.
pub fn answer(shared: Arc<Shared>, peer: Peer, flights: Arc<Flights>, request: http::Request<Incoming>) -> Fut<'static, Answer> {
    let flight = Flight(flights);
    Box::pin(async move {
        Counters::bump(&shared.counters.requests);
        let (parts, body) = request.into_parts();
        let brief = Brief::of(&parts);
        let outcome = AssertUnwindSafe(shared.serve(parts, body, peer)).catch_unwind().await;
        let (response, close) = outcome.unwrap_or_else(|_| (shared.panicked(&brief), false));
        let answer = reply::seal(response, &brief.parts, close, flight);
        if let Some(statuses) = shared.counters.statuses(shared.name) {
            statuses.bump(answer.status());
        }
        Ok(answer)
    })
}

/// Enough of a request to word an answer when the request itself is gone.
struct Brief {
    parts: Parts,
}

impl Brief {
    fn of(parts: &Parts) -> Self {
        let mut brief = http::Request::new(()).into_parts().0;
        brief.method = parts.method.clone();
        brief.uri = parts.uri.clone();
        brief.version = parts.version;
        Self { parts: brief }
    }
}

impl Shared {
    /// The answer, and whether the connection must end with it.
    async fn serve(&self, mut parts: Parts, body: Incoming, peer: Peer) -> (Response, bool) {
        if parts.method.as_str() == REFUSE {
            return (self.malformed(&parts), true);
        }
        if self.stage.draining() {
            return (self.drained_off(&parts), true);
        }
        if let Err(fault) = self.prepare(&mut parts, &peer) {
            return (self.handler.refuse(&parts, &fault), true);
        }
        let limit = match self.handler.admit(&parts, &peer) {
            Ok(limit) => limit,
            // A body that nobody will read makes the connection useless; a request without one doesn't.
            Err(fault) => return (self.handler.refuse(&parts, &fault), !http_body::Body::is_end_stream(&body)),
        };
        match read(body, limit, &self.counters, self.limits.bodies_max).await {
            Err(fault) => (self.refuse_body(&parts, &fault), true),
            Ok((bytes, _held)) => (self.run(Request::from_parts(parts, Body::Bytes(bytes)), peer).await, false),
        }
    }

    /// The forms that are decided once, before anybody looks.
    fn prepare(&self, parts: &mut Parts, peer: &Peer) -> Result<(), Fault> {
        if let Peer::Tcp(address) = peer {
            parts.extensions.insert(*address);
        }
        if self.tls.is_some() {
            parts.extensions.insert(model::ports::Secure);
        }
        if parts.uri.authority().is_some() || (self.handler.paths() == Paths::Canonical && !path::is_canonical(parts.uri.path()))
        {
            parts.uri = path::rewrite(&parts.uri, self.handler.paths())?;
        }
        Ok(())
    }

    /// The handler's answer, or 503 when it is still at work once patience has ended.
    async fn run(&self, request: Request, peer: Peer) -> Response {
        let brief = Brief::of_request(&request);
        let mut work = self.handler.handle(request, peer);
        let done = poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(response) => Poll::Ready(Some(response)),
            Poll::Pending if self.stage.hard() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        });
        match done.await {
            Some(response) => response,
            None => self.drained_off(&brief.parts),
        }
    }

    fn malformed(&self, parts: &Parts) -> Response {
        Counters::bump(&self.counters.malformed);
        let index = parts.uri.path().trim_start_matches('/').parse::<usize>().unwrap_or(usize::MAX);
        let (_, status, text) = Flaw::ALL.get(index).copied().unwrap_or((Flaw::Method, 400, "the method is not known"));
        tracing::info!(door = self.name, status, reason = text, "a malformed request is refused");
        self.with_status(parts, &Fault::invalid(text), status)
    }

    fn refuse_body(&self, parts: &Parts, fault: &Fault) -> Response {
        tracing::info!(door = self.name, reason = %fault.message, "a request's body is refused");
        let status = if fault.cause == Cause::Invalid { fault.detail.as_deref().and_then(|d| d.parse().ok()) } else { None };
        match status {
            Some(status) => self.with_status(parts, fault, status),
            None => self.handler.refuse(parts, fault),
        }
    }

    /// The handler's words under HTTP's own status: these are faults of HTTP, which no dialect knows.
    fn with_status(&self, parts: &Parts, fault: &Fault, status: u16) -> Response {
        let mut response = self.handler.refuse(parts, fault);
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
        response
    }

    fn drained_off(&self, parts: &Parts) -> Response {
        Counters::bump(&self.counters.drained_off);
        let fault = Fault::new(Cause::Draining, "the platform is stopping").retry_after(Duration::from_secs(1));
        let mut response = self.with_status(parts, &fault, 503);
        response.headers_mut().entry(header::RETRY_AFTER).or_insert(HeaderValue::from_static("1"));
        response
    }

    fn panicked(&self, brief: &Brief) -> Response {
        self.counters.panics.fetch_add(1, Ordering::Relaxed);
        tracing::error!(door = self.name, path = ?brief.parts.uri.path(), "a request's handler panicked");
        let fault = Fault::internal("the request met a defect of the platform");
        std::panic::catch_unwind(AssertUnwindSafe(|| self.with_status(&brief.parts, &fault, 500)))
            .unwrap_or_else(|_| reply::bare(500))
    }
}

impl Brief {
    fn of_request(request: &Request) -> Self {
        let mut parts = http::Request::new(()).into_parts().0;
        parts.method = request.method().clone();
        parts.uri = request.uri().clone();
        parts.version = request.version();
        Self { parts }
    }
}
