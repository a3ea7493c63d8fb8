//! Traffic through function URLs. The hottest path of the platform: from a request to its event, through the engine, and back,
//! with nothing looked up twice and no body copied that needn't be.

mod cors;
mod event;
mod reply;
mod stream;

use super::{
    access, lambda,
    names::LATEST,
    respond::{self, Reply},
    shared::Shared,
};
use bytes::Bytes;
use event::Facts;
use http::{HeaderValue, StatusCode, header, request::Parts};
use model::{
    Body, Call, Cause, Event, Fault, Function, Head, Principal, Target,
    catalog::Url,
    event::{Attributes, Failed, Trigger},
};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, LazyLock},
};

/// Paths under which URLs answer without a name of their own: `/_url/ID/…`.
const PREFIX: &str = "/_url/";

/// Where in a request its URL's id stands, and what is left of the path.
fn locate(parts: &Parts) -> Option<(&str, &str)> {
    let host = parts.headers.get(header::HOST).and_then(|v| v.to_str().ok()).or_else(|| parts.uri.host());
    if let Some((id, rest)) = host.and_then(|h| h.split_once('.'))
        && rest.get(..11).is_some_and(|r| r.eq_ignore_ascii_case("lambda-url."))
    {
        return Some((id, parts.uri.path()));
    }
    let rest = parts.uri.path().strip_prefix(PREFIX)?;
    Some(match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    })
}

pub fn is_url_request(parts: &Parts) -> bool {
    locate(parts).is_some()
}

pub async fn handle(shared: &Arc<Shared>, parts: Parts, body: Body, principal: Principal) -> Reply {
    let Some((id, path)) = locate(&parts) else { return unknown() };
    let found = match id.bytes().any(|b| b.is_ascii_uppercase()) {
        true => shared.platform.url(&id.to_ascii_lowercase()),
        false => shared.platform.url(id),
    };
    let Some((function, at)) = found else { return unknown() };
    let Some(url) = function.urls.get(at) else { return unknown() };
    if let Some(reply) = url.cors.as_deref().and_then(|rules| cors::preflight(rules, &parts.method, &parts.headers)) {
        return reply;
    }
    let mut reply = serve(shared, &parts, path, body, principal, &function, url).await;
    if let Some(rules) = url.cors.as_deref() {
        cors::apply(rules, parts.headers.get(header::ORIGIN), reply.headers_mut());
    }
    reply
}

async fn serve(
    shared: &Arc<Shared>,
    parts: &Parts,
    path: &str,
    body: Body,
    principal: Principal,
    function: &Arc<Function>,
    url: &Url,
) -> Reply {
    let Body::Bytes(body) = body else { return failure(&Fault::internal("the request's body is not whole"), "") };
    let target = Target {
        tenant: function.tenant.clone(),
        function: function.name.clone(),
        qualifier: url.qualifier.clone(),
        door: super::NAME,
        context: conditions(shared, parts, &principal, url),
        caller: principal,
    };
    let mut event = Event::new(&target, Trigger::Url, Head::Raw { content_type: None }, Body::Bytes(Bytes::new()));
    let id = event.id;
    let id_text = id.to_string();
    let now_ms = shared.now_ms();
    let trace = trace_of(parts, now_ms, &id);
    let document = event::build(
        parts,
        &body,
        &Facts {
            id,
            url_id: &url.id,
            region: shared.region(),
            port: shared.settings.aws_authority.rsplit_once(':').map_or("80", |(_, port)| port),
            scheme: shared.settings.aws_scheme,
            path: if path.is_empty() { "/" } else { path },
            query: parts.uri.query().unwrap_or_default(),
            now_ms,
            source_ip: parts.extensions.get::<SocketAddr>().map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), SocketAddr::ip),
            caller: url.signed.then_some(&target.caller),
            trace: &trace,
        },
    );
    if document.len() > super::limits::REQUEST_BYTES_MAX {
        return failure(&Fault::new(Cause::TooLarge, "the request"), &id_text);
    }
    event.attributes.set(Attributes::TRACE, trace);
    event.body = Body::Bytes(document.into());
    let wanted = url.qualifier.as_deref().unwrap_or(LATEST);
    if !function.versions.contains_key(wanted)
        && !function.aliases.contains_key(wanted)
        && let Err(error) =
            lambda::wait_pending(shared, &target.tenant, target.function.as_str(), target.qualifier.as_deref()).await
    {
        tracing::debug!(function = %function.name, "not callable: {}", error.message);
        return failure(&Fault::new(Cause::Unsupported, error.message), &id_text);
    }
    let call = match shared.platform.invoke(target, event).await {
        Ok(call) => call,
        Err(fault) => return failure(&fault, &id_text),
    };
    let unit = call.unit.clone();
    let mut reply = answer(call, url.streamed).await.unwrap_or_else(|fault| failure(&fault, &id_text));
    respond::put(&mut reply, "x-amzn-requestid", &id_text);
    respond::put(&mut reply, lambda::CODE, unit.package.code());
    reply
}

/// What policies may ask about a call through a URL.
fn conditions(shared: &Shared, parts: &Parts, caller: &Principal, url: &Url) -> Vec<(&'static str, Arc<str>)> {
    static SIGNED: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from("AWS_IAM"));
    static OPEN: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from("NONE"));
    static TRUE: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from("true"));
    let kind = if url.signed { &SIGNED } else { &OPEN };
    let mut keys = vec![("lambda:FunctionUrlAuthType", Arc::clone(kind)), ("lambda:InvokedViaFunctionUrl", TRUE.clone())];
    keys.extend(access::about_call(shared, parts, caller));
    keys
}

/// The caller's trace, when it has one in X-Ray's form; else a new one.
fn trace_of(parts: &Parts, now_ms: u64, id: &model::InvocationId) -> String {
    let given = parts.headers.get("x-amzn-trace-id").and_then(|v| v.to_str().ok());
    let plain = |t: &&str| {
        t.len() <= 256 && t.starts_with("Root=1-") && t.bytes().all(|b| b.is_ascii_alphanumeric() || b"-=;:".contains(&b))
    };
    match given.filter(plain) {
        Some(given) => given.to_owned(),
        None => format!("Root=1-{:08x}-{:024x}", now_ms / 1000, id.0.as_u128() >> 32),
    }
}

async fn answer(call: Call, streamed: bool) -> Result<Reply, Fault> {
    let Call { reply, unit, .. } = call;
    let reply = reply.await.map_err(|Failed { fault, .. }| fault)?;
    if streamed {
        return stream::answer(reply).await;
    }
    let most = unit.settings.reply_bytes_max;
    let with_prelude = stream::has_prelude(&reply.head);
    let (head, body) = lambda::collect(reply, most).await?;
    if head.error.is_some() {
        return Err(Fault::new(Cause::Exited, "the function reported an error"));
    }
    let read = if with_prelude { stream::whole(&body) } else { reply::interpret(body) };
    read.map_err(|malformed| Fault::new(Cause::Protocol, malformed.0))
}

/// What a client of a URL sees when its function didn't answer.
fn failure(fault: &Fault, id: &str) -> Reply {
    let (status, text) = match fault.cause {
        Cause::NotFound => return unknown(),
        Cause::Denied | Cause::Unauthenticated => (403, r#"{"Message":"Forbidden"}"#),
        Cause::Invalid => (400, r#"{"Message":"Bad Request"}"#),
        Cause::TooLarge => (413, r#"{"Message":"Request must be smaller than 6291456 bytes for the InvokeFunction operation"}"#),
        Cause::Throttled => (429, r#"{"Message":"Rate Exceeded."}"#),
        Cause::Exhausted | Cause::Draining => (503, r#"{"Message":"Service Unavailable"}"#),
        Cause::Timeout => (504, "Gateway Timeout"),
        Cause::Internal | Cause::Stale | Cause::Conflict => (500, "Internal Server Error"),
        _ => (502, "Internal Server Error"),
    };
    if status >= 500 {
        tracing::info!(request = id, cause = fault.cause.name(), "a function URL answers {status}: {fault}");
    }
    let kind = if text.starts_with('{') { "application/json" } else { "text/plain" };
    let mut reply = respond::bytes(StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY), kind, text);
    if status == 403 {
        respond::put(&mut reply, "x-amzn-errortype", "AccessDeniedException");
        reply.extensions_mut().insert(model::audit::Refused { code: "AccessDeniedException" });
    }
    if matches!(status, 429 | 503) {
        let wait = fault.retry_after.map_or(1, |w| w.as_secs().max(1));
        respond::put(&mut reply, "retry-after", &wait.to_string());
    }
    if !id.is_empty() {
        respond::put(&mut reply, "x-amzn-requestid", id);
    }
    reply
}

/// A URL that isn't anybody's looks like one that may not be used.
fn unknown() -> Reply {
    let mut reply = respond::bytes(StatusCode::FORBIDDEN, "application/json", r#"{"Message":null}"#);
    reply.headers_mut().insert("x-amzn-errortype", HeaderValue::from_static("AccessDeniedException"));
    respond::put(&mut reply, "x-amzn-requestid", &model::InvocationId::random().to_string());
    reply
}

/// What the gateway refused of a URL's request before it came here.
pub fn refused(fault: &Fault) -> Reply {
    failure(fault, &model::InvocationId::random().to_string())
}
