//! Invoke and InvokeWithResponseStream: the data plane of the API. A user's error is an answer (200 with
//! `X-Amz-Function-Error`); only what kept the function from running is an error of the service.

use super::{Answer, Op, events, state};
use crate::aws::{
    access, eventstream,
    fault::{self, WireError},
    limits,
    names::{self, LATEST, Named},
    respond,
    rows::{self, AliasRow, FunctionRow, State},
    shared::{Asked, Shared},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use http::StatusCode;
use model::{
    Ask, Body, Call, Cause, Event, Failed, Fault, Frame, FunctionName, Head, Principal, Reply, ReplyBody, Target, TenantId,
    event::{Attributes, Trigger},
};
use std::sync::Arc;

pub async fn invoke(op: Op) -> Answer {
    let named = op.called()?;
    let kind = op.asked.header("x-amz-invocation-type").unwrap_or("RequestResponse").to_owned();
    let tail = tail_wanted(&op.asked)?;
    match kind.as_str() {
        "RequestResponse" => {}
        "DryRun" => return dry_run(&op.asked, &named).await,
        "Event" => return events::accept(&op, &named).await,
        other => return Err(one_of(other, "invocationType", &["Event", "RequestResponse", "DryRun"])),
    }
    let target = target(&op.asked, &named);
    let event = event(&op.asked, &target, tail)?;
    let (id, call) = (op.asked.id.to_string(), run(&op.asked.shared, target, event).await?);
    let Call { unit, reply, free, .. } = call;
    let answered = match reply.await {
        Ok(reply) => match collect(reply, unit.settings.reply_bytes_max).await {
            Ok((head, body)) => Ok((head.error.is_some(), body)),
            Err(fault) => Err(fault),
        },
        Err(Failed { fault, .. }) => Err(fault),
    };
    let (failed, body) = match answered {
        Ok(answer) => answer,
        Err(fault) => match fault::function_error(&fault, &id, unit.settings.timeout) {
            Some(body) => (true, body),
            None => return Err(fault.into()),
        },
    };
    let mut reply = respond::bytes(StatusCode::OK, "application/json", body);
    respond::put(&mut reply, "x-amzn-requestid", &id);
    respond::put(&mut reply, "x-amz-executed-version", &unit.version);
    respond::put(&mut reply, CODE, unit.package.code());
    if failed {
        respond::put(&mut reply, "x-amz-function-error", "Unhandled");
    }
    if tail {
        let log = free.await.tail.unwrap_or_default();
        respond::put(&mut reply, "x-amz-log-result", &STANDARD.encode(&log));
    }
    Ok(reply)
}

pub async fn stream(op: Op) -> Answer {
    let named = op.called()?;
    let tail = tail_wanted(&op.asked)?;
    match op.asked.header("x-amz-invocation-type").unwrap_or("RequestResponse") {
        "RequestResponse" => {}
        "DryRun" => return dry_run(&op.asked, &named).await,
        other => return Err(one_of(other, "invocationType", &["RequestResponse", "DryRun"])),
    }
    let target = target(&op.asked, &named);
    let event = event(&op.asked, &target, tail)?;
    let (id, call) = (op.asked.id.to_string(), run(&op.asked.shared, target, event).await?);
    let Call { unit, reply, free, .. } = call;
    let timeout = unit.settings.timeout;
    let reply = match reply.await {
        Ok(reply) => Ok(reply),
        Err(Failed { fault, .. }) => match fault::function_error(&fault, &id, timeout) {
            Some(body) => Err(body),
            None => return Err(fault.into()),
        },
    };
    let frames = eventstream::invocation(reply, tail.then_some(free), id.clone(), timeout);
    let mut answer = respond::empty(StatusCode::OK);
    *answer.body_mut() = ReplyBody::Stream(frames);
    respond::put(&mut answer, "content-type", eventstream::CONTENT_TYPE);
    respond::put(&mut answer, "x-amzn-requestid", &id);
    respond::put(&mut answer, "x-amz-executed-version", &unit.version);
    respond::put(&mut answer, CODE, unit.package.code());
    Ok(answer)
}

/// Says which code answered, as `myna dev` and `myna list` show it.
pub const CODE: &str = "x-myna-code";

fn one_of(value: &str, at: &str, allowed: &[&str]) -> WireError {
    let mut checks = crate::aws::check::Checks::default();
    checks.one_of(value, at, allowed);
    checks.into_result().err().unwrap_or_else(|| WireError::invalid(format!("{at} can't be {value}")))
}

fn tail_wanted(asked: &Asked) -> Result<bool, WireError> {
    match asked.header("x-amz-log-type") {
        None | Some("None") => Ok(false),
        Some("Tail") => Ok(true),
        Some(other) => Err(one_of(other, "logType", &["None", "Tail"])),
    }
}

pub fn target(asked: &Asked, named: &Named) -> Target {
    let context = match named.other {
        None => access::about_call(&asked.shared, &asked.parts, &asked.principal),
        Some(_) => access::about(&asked.shared, &asked.parts),
    };
    Target {
        tenant: named.other.as_ref().unwrap_or(&asked.tenant).clone(),
        function: FunctionName(named.name.clone()),
        qualifier: named.qualifier.clone(),
        door: crate::aws::NAME,
        caller: asked.principal.clone(),
        context,
    }
}

pub fn event(asked: &Asked, target: &Target, tail: bool) -> Result<Event, WireError> {
    if asked.body.len() > limits::REQUEST_BYTES_MAX {
        let text = format!("Request must be smaller than {} bytes for the InvokeFunction operation", limits::REQUEST_BYTES_MAX);
        return Err(WireError::too_large(text));
    }
    payload_is_json(&asked.body)?;
    // A function that is called with nothing sees an empty object, on the service as here.
    let payload = if asked.body.is_empty() { Bytes::from_static(b"{}") } else { asked.body.clone() };
    let mut event = Event::new(target, Trigger::Invoke, Head::Raw { content_type: None }, Body::Bytes(payload));
    event.id = asked.id;
    event.tail = tail;
    if let Some(text) = asked.header("x-amz-client-context") {
        event.attributes.set(Attributes::CLIENT_CONTEXT, client_context(text)?);
    }
    if let Some(trace) = asked.header("x-amzn-trace-id") {
        event.attributes.set(Attributes::TRACE, Bytes::copy_from_slice(trace.as_bytes()));
    }
    Ok(event)
}

/// An empty payload is allowed; anything else must be one JSON document. It is passed on byte for byte.
fn payload_is_json(body: &[u8]) -> Result<(), WireError> {
    if body.is_empty() {
        return Ok(());
    }
    let refuse = |why: String| {
        let text = format!("Could not parse request body into json: Could not parse payload into json: {why}");
        WireError::new(400, "InvalidRequestContentException", text)
    };
    let text = std::str::from_utf8(body).map_err(|e| refuse(format!("Invalid UTF-8 at byte {}", e.valid_up_to())))?;
    // Skipping a document needs no recursion, whatever its depth.
    serde_json::from_str::<serde::de::IgnoredAny>(text).map(|_| ()).map_err(|e| refuse(e.to_string()))
}

fn client_context(text: &str) -> Result<Bytes, WireError> {
    let refuse = |why: &str| {
        WireError::new(
            400,
            "InvalidRequestContentException",
            format!("Client context must be a valid Base64-encoded JSON object{why}."),
        )
    };
    if text.len() > limits::CLIENT_CONTEXT_BYTES_MAX {
        return Err(refuse(" of at most 3583 bytes"));
    }
    let bytes = STANDARD.decode(text).map_err(|_| refuse(""))?;
    // Goes into one header of the runtime's request: no line may end in it.
    let plain = !bytes.iter().any(|b| b.is_ascii_control() && !matches!(b, b'\r' | b'\n' | b'\t'));
    let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(|_| refuse(""))?;
    if !value.is_object() || !plain {
        return Err(refuse(""));
    }
    Ok(Bytes::from(value.to_string()))
}

/// Call the engine; a function that is still being created is waited for, within a bound.
pub async fn run(shared: &Arc<Shared>, target: Target, event: Event) -> Result<Call, WireError> {
    let (tenant, name, qualifier) = (target.tenant.clone(), target.function.clone(), target.qualifier.clone());
    let caller = target.caller.clone();
    ready(shared, &target).await?;
    shared
        .platform
        .invoke(target, event)
        .await
        .map_err(|fault| refused(shared, &caller, &tenant, (name.as_str(), qualifier.as_deref()), fault))
}

/// Wait, within a bound, for a function that is still being created.
pub async fn ready(shared: &Shared, target: &Target) -> Result<(), WireError> {
    if target.caller.tenant().is_some_and(|caller| *caller != target.tenant) {
        let named = (target.function.as_str(), target.qualifier.as_deref());
        match shared.platform.check(target, Trigger::Invoke) {
            Ok(_) => return Ok(()),
            // It was let in before it was found that there is nothing to run yet.
            Err(fault) if fault.cause == Cause::NotFound && known(shared, target) => {}
            Err(fault) => return Err(refused(shared, &target.caller, &target.tenant, named, fault)),
        }
    }
    if invocable(shared, target) {
        return Ok(());
    }
    may_know(shared, target)?;
    wait_pending(shared, &target.tenant, target.function.as_str(), target.qualifier.as_deref()).await
}

fn known(shared: &Shared, target: &Target) -> bool {
    shared.platform.function(&target.tenant, target.function.as_str()).is_some()
}

/// Who may not call a function learns the same whether it is there or not.
fn may_know(shared: &Shared, target: &Target) -> Result<(), WireError> {
    if matches!(target.caller, Principal::Root { .. }) {
        return Ok(());
    }
    let row: Option<FunctionRow> = shared.row(&target.tenant, rows::FUNCTION, target.function.as_str())?;
    let statements = row.and_then(|mut row| row.policies.remove(target.qualifier.as_deref().unwrap_or_default()));
    let resource_policy: Option<Arc<str>> = statements.filter(|s| !s.is_empty()).map(|s| super::policy::document(&s).into());
    let resource = names::qualified_arn(shared.region(), &target.tenant, target.function.as_str(), target.qualifier.as_deref());
    let context: Vec<(&str, &str)> = target.context.iter().map(|(key, value)| (*key, &**value)).collect();
    let verdict = shared.platform.policy().explain(&Ask {
        principal: &target.caller,
        action: CALL,
        resource: &resource,
        owner: &target.tenant,
        resource_policy: resource_policy.as_ref(),
        trust: false,
        context: &context,
        now_ms: shared.now_ms(),
    });
    if verdict.decision.allowed() {
        return Ok(());
    }
    let why = format!("not allowed to perform: {CALL} on resource: {resource} {}", verdict.reason(CALL));
    Err(access::refused(&target.caller, Fault::new(Cause::Denied, why)))
}

/// What a call is asked for.
const CALL: &str = "lambda:InvokeFunction";

fn invocable(shared: &Shared, target: &Target) -> bool {
    let wanted = target.qualifier.as_deref().unwrap_or(LATEST);
    let function = shared.platform.function(&target.tenant, target.function.as_str());
    function.is_some_and(|f| f.versions.contains_key(wanted) || f.aliases.contains_key(wanted))
}

/// What the platform refused, in the service's words; the target that was asked for is gone with the question.
pub fn refused(shared: &Shared, caller: &Principal, tenant: &TenantId, named: (&str, Option<&str>), fault: Fault) -> WireError {
    let (name, qualifier) = named;
    match fault.cause {
        Cause::NotFound if caller.tenant().is_some_and(|own| own != tenant) => not_theirs(shared, caller, tenant, named),
        Cause::NotFound => not_found(shared, tenant, name, qualifier),
        _ => access::refused(caller, fault),
    }
}

/// What another account's function answers that has no policy for this caller: whether there is one is not theirs to learn.
fn not_theirs(shared: &Shared, caller: &Principal, owner: &TenantId, (name, qualifier): (&str, Option<&str>)) -> WireError {
    const ACTION: &str = "lambda:InvokeFunction";
    let resource = names::qualified_arn(shared.region(), owner, name, qualifier);
    let verdict = shared.platform.policy().explain(&model::Ask {
        principal: caller,
        action: ACTION,
        resource: &resource,
        owner,
        resource_policy: None,
        trust: false,
        context: &[],
        now_ms: shared.now_ms(),
    });
    let why = verdict.reason(ACTION);
    let who = names::caller_arn(caller);
    WireError::access_denied(format!("User: {who} is not authorized to perform: {ACTION} on resource: {resource} {why}"))
}

fn not_found(shared: &Shared, tenant: &TenantId, name: &str, qualifier: Option<&str>) -> WireError {
    WireError::not_found(format!("Function not found: {}", names::qualified_arn(shared.region(), tenant, name, qualifier)))
}

/// Returns when the function can be called; fails when it never will be, or hasn't become so in time.
pub async fn wait_pending(shared: &Shared, tenant: &TenantId, name: &str, qualifier: Option<&str>) -> Result<(), WireError> {
    let wait = async {
        loop {
            // Registered before the look, so that no ring between the two is missed.
            let mut settled = std::pin::pin!(shared.settled.notified());
            settled.as_mut().enable();
            match standing(shared, tenant, name, qualifier)? {
                Standing::Ready => return Ok(()),
                Standing::Failed => return Err(in_state("Failed")),
                Standing::Pending => settled.await,
            }
        }
    };
    tokio::time::timeout(limits::PENDING_WAIT, wait).await.unwrap_or_else(|_| Err(in_state("Pending")))?;
    // Rows are seen a moment before the catalogue has followed them; whoever writes them answers when it has.
    shared.commit(Vec::new()).await
}

fn in_state(state: &str) -> WireError {
    WireError::conflict(format!(
        "The operation cannot be performed at this time. The function is currently in the following state: {state}"
    ))
}

enum Standing {
    Ready,
    Pending,
    Failed,
}

/// As the stored rows have it.
fn standing(shared: &Shared, tenant: &TenantId, name: &str, qualifier: Option<&str>) -> Result<Standing, WireError> {
    let gone = || not_found(shared, tenant, name, qualifier);
    let row: FunctionRow = shared.row(tenant, rows::FUNCTION, name)?.ok_or_else(gone)?;
    let version = match qualifier {
        None | Some(LATEST) => LATEST.to_owned(),
        Some(number) if names::all_digits(number) => number.to_owned(),
        Some(alias) => shared.row::<AliasRow>(tenant, rows::ALIAS, &format!("{name}/{alias}"))?.ok_or_else(gone)?.version,
    };
    let config = if version == LATEST {
        match row.serving() {
            Some(config) => config.clone(),
            None => row.latest,
        }
    } else {
        let number = version.parse().map_err(|_| gone())?;
        let version: rows::VersionRow = shared.row(tenant, rows::VERSION, &rows::version_name(name, number))?.ok_or_else(gone)?;
        version.config
    };
    Ok(match config.state {
        State::Failed { .. } => Standing::Failed,
        _ if state::waits(&config) && config.state == State::Pending => Standing::Pending,
        _ => Standing::Ready,
    })
}

async fn dry_run(asked: &Asked, named: &Named) -> Answer {
    let target = target(asked, named);
    ready(&asked.shared, &target).await?;
    match asked.platform().check(&target, Trigger::Invoke) {
        Ok(_) => Ok(super::no_content()),
        Err(fault) => {
            Err(refused(&asked.shared, &target.caller, &target.tenant, (&named.name, named.qualifier.as_deref()), fault))
        }
    }
}

/// The whole answer, when it came in pieces; past `most` bytes it is too large for a buffered caller.
pub async fn collect(reply: Reply, most: usize) -> Result<(model::ReplyHead, Bytes), Fault> {
    let mut head = reply.head;
    let mut stream = match reply.body {
        ReplyBody::Bytes(bytes) => return Ok((head, bytes)),
        ReplyBody::Stream(stream) => stream,
    };
    let mut whole = BytesMut::new();
    while let Some(frame) = stream.next().await {
        match frame {
            Frame::Data(bytes) if whole.len() + bytes.len() > most => {
                return Err(Fault::new(Cause::ReplyTooLarge, format!("the answer is larger than {most} bytes")));
            }
            Frame::Data(bytes) => whole.extend_from_slice(&bytes),
            Frame::Trailers(trailers) => {
                if let Some((kind, body)) = eventstream::error_of(&trailers) {
                    head.error = Some(model::event::FunctionError { kind });
                    return Ok((head, body));
                }
            }
            Frame::Fault(fault) => return Err(fault),
        }
    }
    Ok((head, whole.freeze()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_checked_without_being_changed_or_recursed_into() {
        for good in [&b""[..], b"null", b" {\"a\": 1} ", "\"ü\"".as_bytes(), "[".repeat(100_000).as_bytes()] {
            if good.first() == Some(&b'[') {
                let closed = [good, "]".repeat(100_000).as_bytes()].concat();
                assert!(payload_is_json(&closed).is_ok());
            } else {
                assert!(payload_is_json(good).is_ok());
            }
        }
        for bad in [&b"{"[..], b"hello", b"{} {}", b"\xff", b"\"\xc3\"", b"{\"a\":01}"] {
            assert_eq!(payload_is_json(bad).unwrap_err().code, "InvalidRequestContentException");
        }
    }

    #[test]
    fn a_client_context_is_base64_of_an_object() {
        let encode = |text: &str| STANDARD.encode(text);
        assert_eq!(&client_context(&encode("{\"custom\": {\"a\":\n1}}")).unwrap()[..], br#"{"custom":{"a":1}}"#);
        for bad in [encode("[1]"), encode("x"), "%%%".into(), "A".repeat(3584)] {
            assert!(client_context(&bad).is_err(), "{bad:.20}");
        }
    }
}
