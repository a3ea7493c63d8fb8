//! The admin socket and the console as doors of the gateway.

use super::tenants::Tenants;
use crate::{admin::Admin, cli::units::now_ms, platform::http::TENANT_HEADER};
use console::Console;
use gateway::{
    Handler, Paths, Peer,
    aws::{AwsDoor, Source},
};
use http::request::Parts;
use model::{
    Fault, Fut, Principal,
    audit::{Audit, Entry},
    ports::{Request, Response},
};
use std::sync::Arc;

/// The CLI's door: the AWS APIs without signatures, and `/admin/v1`. The socket's mode and the peer's uid were checked; whoever
/// gets here is the administrator.
pub struct AdminDoor {
    pub admin: Arc<Admin>,
    pub aws: Arc<AwsDoor>,
    pub tenants: Arc<Tenants>,
}

/// What the largest request of these APIs may have: a function's code in base64 (AWS's own limit).
const BODY_BYTES_MAX: usize = 70_167_211;

impl Handler for AdminDoor {
    fn admit(&self, _: &Parts, _: &Peer) -> Result<usize, Fault> {
        Ok(BODY_BYTES_MAX)
    }
    fn handle(&self, request: Request, from: Peer) -> Fut<'_, Response> {
        let tenant = match named(&request).map(|name| self.tenants.resolve(name)) {
            Some(Ok(tenant)) => tenant,
            Some(Err(fault)) => return Box::pin(async move { Admin::refused(&fault) }),
            None => self.tenants.default().clone(),
        };
        let root = Principal::Root { tenant };
        let source = Source::of("admin", &from);
        if Admin::claims(request.uri().path()) {
            return Box::pin(async move { self.admin.recorded(self.aws.vouch(request, root, "admin"), &source).await });
        }
        let service = service(&request);
        Box::pin(async move { self.aws.trusted(request, root, service, source).await })
    }
    fn refuse(&self, parts: &Parts, fault: &Fault) -> Response {
        self.aws.refuse(parts, fault)
    }
    fn paths(&self) -> Paths {
        Paths::Raw
    }
}

/// Whom a request acts for, where it says so.
fn named(request: &Request) -> Option<&str> {
    // What is no text names nobody.
    request.headers().get(TENANT_HEADER).map(|value| value.to_str().unwrap_or("?"))
}

/// Which AWS API is meant, where no signature says so: each has its own form.
fn service(request: &Request) -> &'static str {
    if request.headers().contains_key("x-amz-target") {
        return "logs";
    }
    if request.uri().path() != "/" {
        return "lambda";
    }
    let body = request.body().bytes().map(|b| &b[..]).unwrap_or_default();
    let sts = b"Version=2011-06-15";
    if body.windows(sts.len()).any(|w| w == sts) { "sts" } else { "iam" }
}

pub struct ConsoleDoor {
    pub console: Arc<Console>,
    pub audit: Arc<dyn Audit>,
}

impl Handler for ConsoleDoor {
    fn admit(&self, _: &Parts, _: &Peer) -> Result<usize, Fault> {
        Ok(0)
    }
    fn handle(&self, request: Request, from: Peer) -> Fut<'_, Response> {
        Box::pin(async move {
            let response = self.console.handle(request).await;
            let status = response.status();
            if status == http::StatusCode::UNAUTHORIZED || status == http::StatusCode::MISDIRECTED_REQUEST {
                self.audit.denied(Entry {
                    at_ms: now_ms(),
                    principal: "anonymous".into(),
                    source: Source::of("console", &from).to_string(),
                    action: "console:open".into(),
                    outcome: format!("denied: {}", status.as_u16()),
                    ..Entry::default()
                });
            }
            response
        })
    }
    fn refuse(&self, _: &Parts, fault: &Fault) -> Response {
        self.console.refuse(fault)
    }
}
