//! `PUT /2022-07-01/telemetry` and `PUT /2020-08-15/logs`.

use super::{
    Hub,
    buffer::{Buffering, Subscription},
    deliver::{self, Destination},
    events::Kind,
};
use crate::lambda::{
    answer::{self, Answer},
    extensions::identify,
    routes::collect,
    session::Core,
};
use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::json;
use std::{sync::Arc, time::Duration};

const BODY_BYTES_MAX: usize = 64 * 1024;
const SUBSCRIBERS_MAX: usize = 10;
/// What of an instance a destination may name.
const HOSTS: &[&str] = &["sandbox.localdomain", "sandbox", "localhost", "127.0.0.1"];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wanted {
    schema_version: Option<String>,
    types: Vec<Kind>,
    buffering: Option<WantedBuffering>,
    destination: WantedDestination,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WantedBuffering {
    max_items: Option<u64>,
    max_bytes: Option<u64>,
    timeout_ms: Option<u64>,
}

#[derive(Deserialize)]
struct WantedDestination {
    protocol: String,
    #[serde(alias = "URI")]
    uri: Option<String>,
    port: Option<u16>,
}

pub async fn subscribe(core: &Arc<Core>, request: Request<Incoming>, logs_api: bool) -> Answer {
    let (parts, mut body) = request.into_parts();
    if parts.method != Method::PUT {
        return answer::method_not_allowed();
    }
    let Ok(body) = collect(&mut body, BODY_BYTES_MAX).await else { return answer::truncated() };
    let (name, hub) = {
        let mut state = core.state();
        let id = match identify(&mut state, &parts.headers) {
            Ok(id) => id,
            Err(refused) => return refused,
        };
        // The runtime may be ready before an extension is.
        let initialising = state.ready.is_some() && state.closed.is_none();
        let Some(bound) = state.bound.clone().filter(|_| initialising) else {
            let api = if logs_api { "Logs" } else { "Telemetry" };
            let kind = format!("{api}.SubscriptionClosed");
            return answer::forbidden(&kind, "subscriptions are taken before the function is initialised");
        };
        let Some(extensions) = &mut state.extensions else { return answer::not_found() };
        let hub = extensions.hub.get_or_insert_with(|| Hub::new(bound, &core.host)).clone();
        (extensions.name_of(id), hub)
    };
    let (wanted, buffering, to) = match read(&body, core.port, logs_api) {
        Ok(read) => read,
        Err(why) => return answer::invalid_request(&why),
    };
    if hub.heard().subscribers.is_empty() {
        // What was written until now, and from now on.
        core.host.hear(hub.clone());
    } else if hub.heard().subscribers.len() >= SUBSCRIBERS_MAX {
        return answer::invalid_request(&format!("a function has at most {SUBSCRIBERS_MAX} subscriptions"));
    }
    let types = json!(wanted.types.iter().map(|k| format!("{k:?}").to_lowercase()).collect::<Vec<_>>());
    let subscription = Arc::new(Subscription::new(wanted.types, logs_api, buffering));
    let delivering = deliver::run(subscription.clone(), to, core.link.clone(), Arc::downgrade(&core.host));
    hub.add(subscription, tokio::spawn(delivering).abort_handle());
    let kind = if logs_api { "platform.logsSubscription" } else { "platform.telemetrySubscription" };
    hub.note(kind, json!({ "name": name, "state": "Subscribed", "types": types }));
    answer::whole(StatusCode::OK, "text/plain; charset=utf-8", Bytes::from_static(b"OK"))
}

fn read(body: &[u8], own_port: u16, logs_api: bool) -> Result<(Wanted, Buffering, Destination), String> {
    let wanted: Wanted = serde_json::from_slice(body).map_err(|e| format!("the subscription can't be read: {e}"))?;
    let known: &[&str] = if logs_api { &["2020-08-15", "2021-03-18"] } else { &["2022-07-01", "2022-12-13", "2025-01-29"] };
    if let Some(other) = wanted.schema_version.as_deref().filter(|v| !known.contains(v)) {
        return Err(format!("schemaVersion {other:?} is none of {}", known.join(", ")));
    }
    if wanted.types.is_empty() {
        return Err("types must name platform, function or extension".into());
    }
    let buffering = buffering(wanted.buffering.as_ref().unwrap_or(&WantedBuffering::default()))?;
    let to = destination(&wanted.destination, own_port)?;
    Ok((wanted, buffering, to))
}

fn buffering(wanted: &WantedBuffering) -> Result<Buffering, String> {
    let within = |name: &str, given: Option<u64>, (least, most, otherwise): (u64, u64, u64)| {
        let number = given.unwrap_or(otherwise);
        let fits = (least..=most).contains(&number);
        if fits { Ok(number) } else { Err(format!("buffering.{name} is {number} and must lie within {least} and {most}")) }
    };
    let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    Ok(Buffering {
        items_max: size(within("maxItems", wanted.max_items, Buffering::ITEMS)?),
        bytes_max: size(within("maxBytes", wanted.max_bytes, Buffering::BYTES)?),
        timeout: Duration::from_millis(within("timeoutMs", wanted.timeout_ms, Buffering::TIMEOUT_MS)?),
    })
}

fn destination(wanted: &WantedDestination, own_port: u16) -> Result<Destination, String> {
    let port = |given: Option<u16>| {
        let port = given.filter(|p| *p != 0).ok_or("destination must name a port")?;
        if port == own_port { Err(format!("destination port {port} is the platform's own")) } else { Ok(port) }
    };
    match wanted.protocol.to_ascii_uppercase().as_str() {
        "TCP" => Ok(Destination::Tcp(port(wanted.port)?)),
        "HTTP" => {
            let text = wanted.uri.as_deref().unwrap_or_default();
            let uri: Uri = text.parse().map_err(|e| format!("destination URI {text:?} can't be read: {e}"))?;
            if uri.scheme_str() != Some("http") || !uri.host().is_some_and(|h| HOSTS.contains(&h)) {
                return Err(format!("destination URI {text:?} must be http://sandbox.localdomain:PORT/PATH"));
            }
            if uri.authority().is_some_and(|a| a.as_str().contains('@')) {
                return Err("destination URI can't name a user".into());
            }
            // A port that is no number of one is not the same as none.
            let bare = uri.authority().map(http::uri::Authority::as_str) == uri.host();
            let path = uri.path_and_query().map_or("/", |p| p.as_str()).to_owned();
            Ok(Destination::Http(port(if bare { Some(80) } else { uri.port_u16() })?, path))
        }
        other => Err(format!("destination protocol {other:?} is neither HTTP nor TCP")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(text: &str) -> Result<Destination, String> {
        destination(&WantedDestination { protocol: "HTTP".into(), uri: Some(text.into()), port: None }, 9001)
    }

    // H74
    #[test]
    fn a_destination_lies_inside_whatever_it_is_called() {
        assert_eq!(to("http://sandbox.localdomain:8080/a?b"), Ok(Destination::Http(8080, "/a?b".into())));
        assert_eq!(to("http://127.0.0.1:80"), Ok(Destination::Http(80, "/".into())));
        for bad in [
            "http://169.254.169.254/latest/meta-data",
            "http://example.com:8080/",
            "https://sandbox.localdomain:8080/",
            "http://sandbox.localdomain.example.com:8080/",
            "http://sandbox.localdomain@10.0.0.1:8080/",
            "http://user@sandbox.localdomain:8080/",
            "http://[::1]:8080/",
            "http://0x7f.1:8080/",
            "http://sandbox.localdomain:9001/",
            "http://sandbox.localdomain:0/",
            "http://sandbox.localdomain:70000/",
            "file:///etc/passwd",
            "/path",
            "",
        ] {
            assert!(to(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn buffers_keep_within_their_limits() {
        assert!(buffering(&WantedBuffering::default()).is_ok_and(|b| b.items_max == 10_000 && b.bytes_max == 262_144));
        let one = |max_items, max_bytes, timeout_ms| WantedBuffering { max_items, max_bytes, timeout_ms };
        for bad in [
            one(Some(999), None, None),
            one(Some(10_001), None, None),
            one(None, Some(262_143), None),
            one(None, Some(1_048_577), None),
            one(None, None, Some(24)),
            one(None, None, Some(30_001)),
        ] {
            assert!(buffering(&bad).is_err());
        }
    }
}
