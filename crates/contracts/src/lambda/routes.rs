//! Which request means what. The contract's own paths are few and exact; every other path is the function calling the
//! platform.

use super::{
    answer::{self, Answer, Out},
    extensions,
    next::{self, Bound},
    reply,
    session::Core,
    state::{Current, Handed, Phase, Step},
    telemetry,
};
use bytes::{Bytes, BytesMut};
use http::{HeaderName, Method, Request, StatusCode};
use http_body::Body as _;
use hyper::body::Incoming;
use model::{Body, Cause, Event, Fault, ReplyBody};
use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

/// Every path of the contract's own: one that is not named here is the function calling the platform, whatever is written for it
/// below. `{id}` stands for an invocation's.
pub const ROUTES: &[&str] = &[
    "GET /2018-06-01/runtime/invocation/next",
    "POST /2018-06-01/runtime/invocation/{id}/response",
    "POST /2018-06-01/runtime/invocation/{id}/error",
    "POST /2018-06-01/runtime/init/error",
    "GET /2018-06-01/ping",
    "GET /myna/bind",
    "PUT /2022-07-01/telemetry",
    "PUT /2020-08-15/logs",
    "GET /2021-04-23/credentials",
    "POST /2020-01-01/extension/register",
    "GET /2020-01-01/extension/event/next",
    "POST /2020-01-01/extension/init/error",
    "POST /2020-01-01/extension/exit/error",
];

/// Bytes of one request of the function to the platform.
const PLANE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Our own: an answer that carries it is answered by the next event, as if `…/next` had been asked for right after it.
pub(super) const THEN_NEXT: HeaderName = HeaderName::from_static("myna-then");
/// How long a second poll waits for the first one's connection to turn out to be dead.
const TAKE_OVER: Duration = Duration::from_millis(10);

/// What the invocation's requests begin with.
pub(super) const INVOCATION: &str = "/2018-06-01/runtime/invocation/";

pub(super) async fn route(core: &Arc<Core>, request: Request<Incoming>) -> Answer {
    let path = request.uri().path();
    if let Some(of_invocation) = path.strip_prefix(INVOCATION) {
        return match (of_invocation, request.method()) {
            ("next", &Method::GET) => next(core).await,
            ("next", _) => answer::method_not_allowed(),
            _ => invocation(core, request).await,
        };
    }
    let bare = path.strip_suffix('/').unwrap_or(path);
    let own = ROUTES.iter().filter_map(|route| route.split_once(' ')).any(|(_, listed)| listed == bare);
    if !own {
        let beside = ["/2018-06-01/runtime/", "/2020-01-01/extension/"].iter().any(|of| path.starts_with(of));
        return if beside { answer::not_found() } else { plane(core, request).await };
    }
    if let Some(rest) = path.strip_prefix("/2018-06-01/runtime/") {
        return match (request.method(), rest) {
            (&Method::POST, "init/error") => reply::init_error(core, request).await,
            _ => answer::not_found(),
        };
    }
    match path {
        "/2018-06-01/ping" => answer::whole(StatusCode::OK, "text/plain; charset=utf-8", Bytes::from_static(b"pong")),
        "/myna/bind" => bind(core).await,
        "/2022-07-01/telemetry" | "/2022-07-01/telemetry/" => telemetry::subscribe(core, request, false).await,
        "/2020-08-15/logs" | "/2020-08-15/logs/" => telemetry::subscribe(core, request, true).await,
        "/2021-04-23/credentials" => answer::not_found(),
        _ if path.starts_with("/2020-01-01/extension/") => extensions::route(core, request).await,
        _ => plane(core, request).await,
    }
}

async fn invocation(core: &Arc<Core>, request: Request<Incoming>) -> Answer {
    let path = request.uri().path();
    let Some((id, what)) = path.rsplit_once('/').and_then(|(head, what)| Some((head.rsplit_once('/')?.1, what))) else {
        return answer::not_found();
    };
    let id = uuid::Uuid::try_parse(id).ok();
    let then_next = request.headers().contains_key(THEN_NEXT);
    let answer = match (request.method(), what) {
        (&Method::POST, "response") => reply::response(core, id, request).await,
        (&Method::POST, "error") => reply::error(core, id, request).await,
        _ => answer::not_found(),
    };
    match then_next && answer.status() == StatusCode::ACCEPTED {
        true => next(core).await,
        false => answer,
    }
}

/// `GET …/next`, as an answer.
async fn next(core: &Arc<Core>) -> Answer {
    match next_event(core).await {
        Ok((bound, event, body)) => next::answer(&bound, &event, body, core.host.clock()),
        Err(refused) => refused,
    }
}

/// `GET …/next`: the earlier call is over and its slot free; wait for the next event, however long.
pub(super) async fn next_event(core: &Core) -> Result<(Arc<Bound>, Event, Bytes), Answer> {
    if core.state().next.occupied() {
        // Either a runtime polls twice at once, or its first connection is dead and nobody has noticed yet.
        tokio::time::sleep(TAKE_OVER).await;
    }
    let ticket = arrive(core)?;
    let _waiting = Waiting { core, ticket, which: Which::Next };
    while let Some((mut event, bound)) = poll_fn(|cx| take(core, ticket, cx)).await {
        match body_of(&mut event, &bound).await {
            Ok(body) => return Ok((bound, event, body)),
            // The event couldn't be read. Nothing of it reached the runtime, which waits on.
            Err(fault) => core.state().give_up(fault),
        }
    }
    Err(answer::invalid_transition("Ready", "Running"))
}

/// A poll has come: is it its turn, and what does it end?
fn arrive(core: &Core) -> Result<u64, Answer> {
    let mut state = core.state();
    let name = state.name();
    let step = state.current.as_ref().map(|c| c.step);
    match (state.phase, step) {
        _ if state.closed.is_some() => return Err(answer::invalid_transition(name, "Ready")),
        (Phase::Serving, None | Some(Step::Answered)) if state.next.occupied() => {
            state.spoil("the runtime asked for two events at once");
            return Err(answer::invalid_transition(name, "Ready"));
        }
        (Phase::Serving, None | Some(Step::Answered)) => {}
        (Phase::Starting, _) if state.bound.is_some() => state.initialised(Ok(())),
        (Phase::Serving, Some(_)) => {
            state.break_off("the runtime asked for an event before it had answered the last one");
            return Err(answer::invalid_transition(name, "Ready"));
        }
        _ => return Err(answer::invalid_transition(name, "Ready")),
    }
    if let Some(done) = state.current.take() {
        state.done(done);
    }
    Ok(state.next.ticket())
}

/// The event, as soon as there is one; nothing when there will be none.
fn take(core: &Core, ticket: u64, cx: &mut Context<'_>) -> Poll<Option<(Event, Arc<Bound>)>> {
    let mut state = core.state();
    if state.closed.is_some() || state.spoiled.is_some() {
        return Poll::Ready(None);
    }
    let Some(handed) = state.waiting.take() else {
        state.next.park(ticket, cx.waker());
        return Poll::Pending;
    };
    let Handed { mut event, watchers } = *handed;
    state.current = Some(Current { id: event.id.0, watchers, step: Step::Running, failed: None });
    let bound = state.bound.clone().expect("a runtime is initialised only with its unit");
    if let Some(extensions) = &mut state.extensions {
        let trace = next::trace(&mut event, core.host.clock().wall_ms());
        if let Some(hub) = &extensions.hub {
            hub.started(event.id, &trace);
        }
        extensions.dispatch(|| next::invoke_event(&bound, &event, &trace, core.host.clock()));
    }
    Poll::Ready(Some((event, bound)))
}

async fn body_of(event: &mut Event, bound: &Bound) -> Result<Bytes, Fault> {
    match std::mem::replace(&mut event.body, Body::Bytes(Bytes::new())) {
        Body::Bytes(bytes) => Ok(bytes),
        Body::Stream(stream) => reply::collect_stream(stream, bound.request_bytes_max).await,
    }
}

/// `GET /myna/bind`, our own: a runtime without code waits for the unit that it will serve.
async fn bind(core: &Arc<Core>) -> Answer {
    let ticket = {
        let mut state = core.state();
        if state.phase != Phase::Starting || state.bound.is_some() || state.closed.is_some() {
            return answer::invalid_transition(state.name(), "Unbound");
        }
        state.initialised(Ok(()));
        state.phase = Phase::Unbound;
        state.bind.ticket()
    };
    let waiting = Waiting { core, ticket, which: Which::Bind };
    let document = poll_fn(|cx| {
        let mut state = core.state();
        if state.closed.is_some() {
            return Poll::Ready(None);
        }
        match state.binding.take() {
            Some(document) => Poll::Ready(Some(document)),
            None => {
                state.bind.park(ticket, cx.waker());
                Poll::Pending
            }
        }
    })
    .await;
    drop(waiting);
    match document {
        Some(document) => answer::whole(StatusCode::OK, "application/json", document),
        None => answer::invalid_transition("Unbound", "Started"),
    }
}

enum Which {
    Next,
    Bind,
}

/// Takes the waker back when the request ends, by whatever end.
struct Waiting<'a> {
    core: &'a Core,
    ticket: u64,
    which: Which,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.core.state();
        match self.which {
            Which::Next => state.next.leave(self.ticket),
            Which::Bind => state.bind.leave(self.ticket),
        }
    }
}

/// A request that isn't the contract's: the function calls the platform.
async fn plane(core: &Arc<Core>, request: Request<Incoming>) -> Answer {
    let (parts, mut incoming) = request.into_parts();
    let body = match collect(&mut incoming, PLANE_BYTES_MAX).await {
        Ok(body) => body,
        Err(Collect::TooLarge) => {
            reply::drain(incoming).await;
            return answer::too_large(PLANE_BYTES_MAX as u64);
        }
        Err(Collect::Broken) => return answer::truncated(),
    };
    let response = core.host.plane(Request::from_parts(parts, Body::Bytes(body))).await;
    response.map(|body| match body {
        ReplyBody::Bytes(bytes) => Out::Whole((!bytes.is_empty()).then_some(bytes)),
        ReplyBody::Stream(frames) => Out::Stream(frames),
    })
}

pub(super) enum Collect {
    TooLarge,
    Broken,
}

/// A body of at most `max` bytes. One that came in one piece is not copied. Trailers are dropped.
pub(super) async fn collect(body: &mut Incoming, max: usize) -> Result<Bytes, Collect> {
    if body.size_hint().lower() > max as u64 {
        return Err(Collect::TooLarge);
    }
    let mut whole = Pieces::new(body.size_hint().exact(), max);
    while let Some(frame) = poll_fn(|cx| std::pin::Pin::new(&mut *body).poll_frame(cx)).await {
        if let Ok(piece) = frame.map_err(|_| Collect::Broken)?.into_data() {
            whole.push(piece)?;
        }
    }
    Ok(whole.finish())
}

/// Bytes that arrive in pieces, up to a limit.
pub(super) struct Pieces {
    first: Bytes,
    rest: BytesMut,
    expected: usize,
    max: usize,
}

impl Pieces {
    pub fn new(expected: Option<u64>, max: usize) -> Self {
        let expected = expected.map_or(0, |e| usize::try_from(e).unwrap_or(usize::MAX)).min(max);
        Self { first: Bytes::new(), rest: BytesMut::new(), expected, max }
    }
    pub fn push(&mut self, piece: Bytes) -> Result<(), Collect> {
        let before = self.first.len() + self.rest.len();
        if piece.len() > self.max - before {
            return Err(Collect::TooLarge);
        }
        if before == 0 {
            self.first = piece;
            return Ok(());
        }
        if self.rest.is_empty() {
            self.rest.reserve(self.expected.max(before + piece.len()));
            self.rest.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.rest.extend_from_slice(&piece);
        Ok(())
    }
    pub fn finish(self) -> Bytes {
        if self.rest.is_empty() { self.first } else { self.rest.freeze() }
    }
}

/// The fault of an answer that isn't one.
pub(super) fn breach(what: &'static str) -> Fault {
    Fault::new(Cause::Protocol, what)
}
