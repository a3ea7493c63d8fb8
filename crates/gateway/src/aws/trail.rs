//! What passes this door and belongs into the audit log: every change, before it is answered, and every refusal. A call that is
//! let through leaves nothing here.

use super::AwsDoor;
use crate::{door::Peer, sigv4::Claim};
use http::{Method, Uri, request::Parts};
use model::{
    Fault, Principal, Verified,
    audit::{Act, Audit, Entry, Refused, principal as named},
    event::Body,
    ports::{Request, Response},
};
use std::{net::SocketAddr, sync::Arc};

/// Where a request came from.
#[derive(Clone, Debug)]
pub enum Source {
    Peer(&'static str, Option<SocketAddr>),
    Unix(&'static str, u32),
    Instance(model::InstanceId),
}

impl Source {
    pub fn of(door: &'static str, peer: &Peer) -> Self {
        match peer {
            Peer::Tcp(address) => Source::Peer(door, Some(*address)),
            Peer::Unix { uid, .. } => Source::Unix(door, *uid),
        }
    }
}

impl std::fmt::Display for Source {
    /// Without the port, which every connection has anew.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Source::Peer(door, Some(address)) => write!(f, "{door} {}", address.ip()),
            Source::Peer(door, None) => f.write_str(door),
            Source::Unix(door, uid) => write!(f, "{door} uid {uid}"),
            Source::Instance(id) => write!(f, "instance {id}"),
        }
    }
}

/// What is known of a request when it has been answered.
struct Seen {
    method: Method,
    uri: Uri,
    principal: Principal,
    service: Arc<str>,
    source: Source,
}

impl AwsDoor {
    /// Have the dialect answer; a change is on the audit log's disk before its answer is given.
    pub(super) async fn recorded(&self, request: Verified<Request>, source: Source) -> Response {
        let Some(audit) = &self.options.audit else { return self.dialect.handle(request).await };
        let asked = request.get();
        let seen = Seen {
            method: asked.method().clone(),
            uri: asked.uri().clone(),
            principal: request.principal().clone(),
            service: request.service().clone(),
            source,
        };
        match self.act(&request) {
            Some((act, parts)) => self.change(audit, request, seen, act, &parts).await,
            None => {
                let response = self.dialect.handle(request).await;
                if let Some(refused) = response.extensions().get::<Refused>() {
                    self.deny(audit, &seen, refused, &response);
                }
                response
            }
        }
    }

    /// What a request would change, and what its refusal is worded from.
    fn act(&self, request: &Verified<Request>) -> Option<(Act, Parts)> {
        let asked = request.get();
        let Body::Bytes(body) = asked.body() else { return None };
        // The dialect is asked about the head and the body apart; only a change pays for the copy of its head. Method and path
        // mean nothing to a service whose operation is a parameter.
        let untouched = match &**request.service() {
            super::place::URL_SERVICE => true,
            "lambda" => asked.method() == Method::GET || super::place::is_call(asked.method(), asked.uri().path()),
            _ => false,
        };
        if untouched {
            return None;
        }
        let mut parts = Request::new(Body::Bytes(bytes::Bytes::new())).into_parts().0;
        parts.method = asked.method().clone();
        parts.uri = asked.uri().clone();
        parts.headers = asked.headers().clone();
        let act = self.dialect.changes(&parts, request.service(), body)?;
        Some((act, parts))
    }

    async fn change(&self, audit: &Arc<dyn Audit>, request: Verified<Request>, seen: Seen, act: Act, parts: &Parts) -> Response {
        if let Err(fault) = audit.ready() {
            return self.dialect.refuse(parts, &fault);
        }
        // A caller who goes away ends neither a change nor the writing of its entry.
        let (dialect, audit) = (self.dialect.clone(), audit.clone());
        let at_ms = self.clock.wall_ms();
        let work = tokio::spawn(async move {
            let response = dialect.handle(request).await;
            let entry = seen.entry(at_ms, act, &response);
            if let Some(refused) = response.extensions().get::<Refused>() {
                audit.denied(Entry { outcome: format!("denied: {}", refused.code), ..entry });
                return Ok(response);
            }
            // What was wrong with the request changed nothing.
            if response.status().is_client_error() {
                return Ok(response);
            }
            audit.change(entry).await.map(|()| response)
        });
        match work.await {
            Ok(Ok(response)) => response,
            Ok(Err(fault)) => {
                let text = format!("the change was made, and could not be written down: {fault}");
                self.dialect.refuse(parts, &Fault { message: text, ..fault })
            }
            Err(panicked) => match panicked.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => self.dialect.refuse(parts, &Fault::internal("the platform is stopping")),
            },
        }
    }

    fn deny(&self, audit: &Arc<dyn Audit>, seen: &Seen, refused: &Refused, response: &Response) {
        let act = Act { action: format!("{}:{} {}", seen.service, seen.method, seen.uri.path()), resource: String::new() };
        let entry = seen.entry(self.clock.wall_ms(), act, response);
        audit.denied(Entry { outcome: format!("denied: {}", refused.code), ..entry });
    }

    /// A request that this door itself turned away: whoever it says that it comes from has not proved it.
    pub(super) fn turned_away(&self, parts: &Parts, fault: &Fault, source: &Source) -> Response {
        let response = self.dialect.refuse(parts, fault);
        if let (Some(audit), Some(refused)) = (&self.options.audit, response.extensions().get::<Refused>()) {
            audit.denied(self.unproved(parts, source, refused.code, &response));
        }
        response
    }

    /// The same for a capability that doesn't hold.
    pub(super) fn unknown_capability(&self, source: &Source) {
        if let Some(audit) = &self.options.audit {
            audit.denied(Entry {
                at_ms: self.clock.wall_ms(),
                principal: "anonymous".into(),
                source: source.to_string(),
                action: "download".into(),
                outcome: "denied: the capability is unknown or has expired".into(),
                ..Entry::default()
            });
        }
    }

    fn unproved(&self, parts: &Parts, source: &Source, code: &str, response: &Response) -> Entry {
        let claim = Claim::of(parts).ok().flatten();
        let key = claim.as_ref().map(|claim| claim.access_key.as_str());
        let tenant = key.and_then(|key| self.identities.credential(key)).and_then(|c| c.principal.tenant().cloned());
        let service = claim.as_ref().map_or("aws", |claim| claim.service.as_str());
        Entry {
            at_ms: self.clock.wall_ms(),
            tenant: tenant.map(|t| t.to_string()).unwrap_or_default(),
            principal: key.map_or_else(|| "anonymous".into(), |key| format!("key {key}")),
            source: source.to_string(),
            action: format!("{service}:{} {}", parts.method, parts.uri.path()),
            resource: String::new(),
            outcome: format!("denied: {code}"),
            request_id: request_id(response),
            count: 1,
        }
    }
}

impl Seen {
    fn entry(&self, at_ms: u64, act: Act, response: &Response) -> Entry {
        let outcome = match response.headers().get("x-amzn-errortype").and_then(|v| v.to_str().ok()) {
            _ if response.status().is_success() => "ok".to_owned(),
            Some(kind) => format!("failed: {kind}"),
            None => format!("failed: {}", response.status().as_u16()),
        };
        Entry {
            at_ms,
            tenant: self.principal.tenant().map(ToString::to_string).unwrap_or_default(),
            principal: named(&self.principal),
            source: self.source.to_string(),
            action: act.action,
            resource: act.resource,
            outcome,
            request_id: request_id(response),
            count: 1,
        }
    }
}

fn request_id(response: &Response) -> String {
    response.headers().get("x-amzn-requestid").and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned()
}
