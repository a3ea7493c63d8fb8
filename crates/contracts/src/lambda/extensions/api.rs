//! The requests of extensions.

use super::{EXTENSIONS_MAX, Extension, Extensions, Told};
use crate::lambda::{
    answer::{self, Answer},
    next::Bound,
    routes::collect,
    session::Core,
    state::{Parked, Phase, State},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use hyper::body::Incoming;
use model::{Cause, Fault};
use serde::Deserialize;
use std::{future::poll_fn, sync::Arc, task::Poll};
use uuid::Uuid;

const NAME: &str = "lambda-extension-name";
const IDENTIFIER: HeaderName = HeaderName::from_static("lambda-extension-identifier");
const EVENT_IDENTIFIER: HeaderName = HeaderName::from_static("lambda-extension-event-identifier");
const ACCEPT_FEATURE: &str = "lambda-extension-accept-feature";
const ERROR_TYPE: &str = "lambda-extension-function-error-type";
/// A registration's document, or the report of an error.
const BODY_BYTES_MAX: usize = 64 * 1024;
const NAME_LENGTH_MAX: usize = 128;
const JSON: &str = "application/json";

pub async fn route(core: &Arc<Core>, request: Request<Incoming>) -> Answer {
    let what = request.uri().path().strip_prefix("/2020-01-01/extension/").unwrap_or_default().to_owned();
    let (parts, mut body) = request.into_parts();
    match (&parts.method, what.as_str()) {
        (&Method::GET, "event/next") => next(core, &parts.headers).await,
        (&Method::POST, "register" | "init/error" | "exit/error") => {
            let Ok(body) = collect(&mut body, BODY_BYTES_MAX).await else { return answer::truncated() };
            match what.as_str() {
                "register" => register(core, &parts.headers, &body),
                what => failed(core, &parts.headers, what == "init/error"),
            }
        }
        (_, "event/next" | "register" | "init/error" | "exit/error") => answer::method_not_allowed(),
        _ => answer::not_found(),
    }
}

#[derive(Deserialize)]
struct Wanted {
    #[serde(default)]
    events: Vec<String>,
    #[serde(rename = "configurationKeys")]
    configuration_keys: Option<serde_json::Value>,
}

fn register(core: &Core, headers: &HeaderMap, body: &[u8]) -> Answer {
    let name = headers.get(NAME).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if name.is_empty() || name.len() > NAME_LENGTH_MAX {
        return answer::forbidden("Extension.InvalidExtensionName", "Lambda-Extension-Name must name the extension");
    }
    let wanted: Wanted = match serde_json::from_slice(body) {
        Ok(wanted) => wanted,
        Err(error) => return answer::forbidden("InvalidRequestFormat", &format!("the registration can't be read: {error}")),
    };
    if wanted.configuration_keys.is_some() {
        return answer::forbidden("InvalidRequestFormat", "configurationKeys are not served");
    }
    let mut state = core.state();
    let Some(bound) = state.bound.clone().filter(|_| state.phase == Phase::Starting && state.closed.is_none()) else {
        return answer::forbidden("Extension.RegistrationClosed", "extensions register before the function is initialised");
    };
    let extensions = state.extensions.get_or_insert_with(|| Box::new(Extensions::none()));
    let id = match enter(extensions, name, &wanted.events) {
        Ok(id) => id,
        Err(refused) => return refused,
    };
    let complete = extensions.expected.is_empty();
    drop(state);
    if complete {
        core.host.begin();
    }
    let account = headers.get(ACCEPT_FEATURE).and_then(|v| v.to_str().ok());
    let account = account.is_some_and(|list| list.split(',').any(|f| f.trim() == "accountId"));
    registered(&bound, id, account)
}

/// The new extension's identifier.
fn enter(extensions: &mut Extensions, name: &str, events: &[String]) -> Result<Uuid, Answer> {
    if extensions.registered.iter().any(|e| e.name == name) {
        let text = format!("extension {name} is registered already");
        return Err(answer::forbidden("Extension.InvalidExtensionState", &text));
    }
    let at = extensions.expected.iter().position(|e| e == name);
    let allowed: &[&str] = if at.is_some() { &["INVOKE", "SHUTDOWN"] } else { &["INVOKE"] };
    if let Some(other) = events.iter().find(|e| !allowed.contains(&e.as_str())) {
        let text = format!("{name} can't subscribe to {other:?}, only to {}", allowed.join(" and "));
        return Err(answer::forbidden("Extension.InvalidEventType", &text));
    }
    if extensions.registered.len() >= EXTENSIONS_MAX {
        let text = format!("a function has at most {EXTENSIONS_MAX} extensions");
        return Err(answer::forbidden("Extension.TooManyExtensions", &text));
    }
    if let Some(at) = at {
        extensions.expected.remove(at);
    }
    let (wants, id) = (|event: &str| events.iter().any(|e| e == event), Uuid::new_v4());
    extensions.registered.push(Extension {
        id,
        name: name.to_owned(),
        external: at.is_some(),
        invoke: wants("INVOKE"),
        shutdown: wants("SHUTDOWN"),
        ready: false,
        initialised: false,
        event: None,
        next: Parked::default(),
    });
    Ok(id)
}

fn registered(bound: &Bound, id: Uuid, account: bool) -> Answer {
    let mut document = serde_json::json!({
        "functionName": bound.function, "functionVersion": bound.version, "handler": bound.handler,
    });
    if account {
        document["accountId"] = bound.account.as_str().into();
    }
    let mut answer = answer::whole(StatusCode::OK, JSON, document.to_string());
    answer.headers_mut().insert(IDENTIFIER, uuid_header(id));
    answer
}

fn uuid_header(id: Uuid) -> HeaderValue {
    HeaderValue::from_str(&id.to_string()).expect("digits, letters and dashes")
}

/// Which extension asks.
pub fn identify(state: &mut State, headers: &HeaderMap) -> Result<Uuid, Answer> {
    let Some(given) = headers.get(IDENTIFIER) else {
        return Err(answer::forbidden("Extension.MissingExtensionIdentifier", "Lambda-Extension-Identifier is missing"));
    };
    let Some(id) = given.to_str().ok().and_then(|text| Uuid::try_parse(text).ok()) else {
        return Err(answer::forbidden("Extension.InvalidExtensionIdentifier", "Lambda-Extension-Identifier is no UUID"));
    };
    match state.extensions.as_mut().and_then(|e| e.find(id)) {
        Some(_) => Ok(id),
        None => Err(answer::forbidden("Extension.UnknownExtensionIdentifier", "no extension has this identifier")),
    }
}

/// `GET …/event/next`: the extension is done with its last event; wait for the next, however long.
async fn next(core: &Arc<Core>, headers: &HeaderMap) -> Answer {
    let (id, ticket) = {
        let mut state = core.state();
        let id = match identify(&mut state, headers) {
            Ok(id) => id,
            Err(refused) => return refused,
        };
        let Some(extension) = state.extensions.as_mut().and_then(|e| e.find(id)) else { return answer::not_found() };
        if extension.next.occupied() {
            let text = format!("extension {} asked for two events at once", extension.name);
            return answer::forbidden("Extension.InvalidExtensionState", &text);
        }
        let ticket = extension.next.ticket();
        // With an event that it has not been told yet, it isn't done.
        if extension.event.is_none() {
            extension.ready = true;
            let first = (!std::mem::replace(&mut extension.initialised, true)).then(|| extension.note());
            if let (Some(record), Some(hub)) = (first, state.hub()) {
                hub.note("platform.extension", record);
            }
            state.extension_ready();
        }
        (id, ticket)
    };
    let _waiting = Waiting { core, id, ticket };
    let event = poll_fn(|cx| {
        let mut state = core.state();
        let Some(extension) = state.extensions.as_mut().and_then(|e| e.find(id)) else { return Poll::Pending };
        match extension.take() {
            Told::Event(event) => Poll::Ready(event),
            Told::NotYet => {
                extension.next.park(ticket, cx.waker());
                Poll::Pending
            }
        }
    })
    .await;
    told(event)
}

fn told(event: Bytes) -> Answer {
    let mut answer = answer::whole(StatusCode::OK, JSON, event);
    answer.headers_mut().insert(EVENT_IDENTIFIER, uuid_header(Uuid::new_v4()));
    answer
}

/// Takes the waker back when the request ends, by whatever end.
struct Waiting<'a> {
    core: &'a Core,
    id: Uuid,
    ticket: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(extension) = self.core.state().extensions.as_mut().and_then(|e| e.find(self.id)) {
            extension.next.leave(self.ticket);
        }
    }
}

/// The extension can't go on, and says so before it ends.
fn failed(core: &Core, headers: &HeaderMap, initialising: bool) -> Answer {
    let mut state = core.state();
    let id = match identify(&mut state, headers) {
        Ok(id) => id,
        Err(refused) => return refused,
    };
    let Some(kind) = headers.get(ERROR_TYPE).and_then(|v| v.to_str().ok()).filter(|t| !t.is_empty()) else {
        return answer::forbidden("Extension.MissingHeader", "Lambda-Extension-Function-Error-Type is missing");
    };
    let name = state.extensions.as_mut().and_then(|e| e.find(id)).map(|e| e.name.clone()).unwrap_or_default();
    let when = if initialising { "initialise" } else { "go on" };
    let cause = if state.ready.is_some() { Cause::InitFailed } else { Cause::Exited };
    let fault = Fault::new(cause, format!("extension {name} can't {when}")).detail(checked(kind));
    if state.ready.is_some() {
        state.initialised(Err(fault));
    } else {
        state.close(fault);
    }
    answer::accepted()
}

/// An error's type in the form that callers may see.
fn checked(kind: &str) -> String {
    let tail = kind.strip_prefix("Extension.").unwrap_or_default();
    let plain = tail.starts_with(|c: char| c.is_ascii_uppercase()) && tail.bytes().all(|b| b.is_ascii_alphanumeric());
    if plain && kind.len() <= NAME_LENGTH_MAX { kind.to_owned() } else { "Extension.Unknown".to_owned() }
}
