//! The admin socket and the console as doors of the gateway.

use crate::admin::Admin;
use console::Console;
use gateway::{Handler, Paths, Peer, aws::AwsDoor};
use http::request::Parts;
use model::{
    Fault, Fut, Principal, TenantId,
    ports::{Request, Response},
};
use std::sync::Arc;

/// The CLI's door: the AWS APIs without signatures, and `/admin/v1`. The socket's mode and the peer's uid were checked; whoever
/// gets here is the administrator.
pub struct AdminDoor {
    pub admin: Arc<Admin>,
    pub aws: Arc<AwsDoor>,
    pub tenant: TenantId,
}

/// What the largest request of these APIs may have: a function's code in base64 (AWS's own limit).
const BODY_BYTES_MAX: usize = 70_167_211;

impl Handler for AdminDoor {
    fn admit(&self, _: &Parts, _: &Peer) -> Result<usize, Fault> {
        Ok(BODY_BYTES_MAX)
    }
    fn handle(&self, request: Request, _from: Peer) -> Fut<'_, Response> {
        let root = Principal::Root { tenant: self.tenant.clone() };
        if Admin::claims(request.uri().path()) {
            return Box::pin(async move { self.admin.handle(self.aws.vouch(request, root, "admin")).await });
        }
        let service = service(&request);
        Box::pin(async move { self.aws.trusted(request, root, service).await })
    }
    fn refuse(&self, parts: &Parts, fault: &Fault) -> Response {
        self.aws.refuse(parts, fault)
    }
    fn paths(&self) -> Paths {
        Paths::Raw
    }
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

pub struct ConsoleDoor(pub Arc<Console>);

impl Handler for ConsoleDoor {
    fn admit(&self, _: &Parts, _: &Peer) -> Result<usize, Fault> {
        Ok(0)
    }
    fn handle(&self, request: Request, _: Peer) -> Fut<'_, Response> {
        self.0.handle(request)
    }
    fn refuse(&self, _: &Parts, fault: &Fault) -> Response {
        self.0.refuse(fault)
    }
}
