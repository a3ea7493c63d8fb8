//! AWS as a dialect: the Lambda API, function URLs, CloudWatch Logs, and as much of STS and IAM as functions and deploy scripts
//! need. Which operations are served, and what the others answer, is listed in docs/dialects/aws.md.
//!
//! Decided here: the service that a request is for comes from its signature's scope (the gateway checked it), never from its
//! body; a function's own role reaches the data plane only; what an operation can't honour is refused by name, never ignored
//! with a success.

mod access;
mod acts;
mod check;
mod eventstream;
mod fault;
mod iam;
mod json;
mod lambda;
mod limits;
pub mod logs;
mod names;
mod outcome;
mod percent;
mod reconcile;
mod respond;
mod rows;
mod shared;
mod sts;
#[cfg(test)]
mod tests;
mod upstream;
mod url;
mod xml;

pub use iam::{Held, held};
pub use lambda::secrets::{User as SecretUser, users as secret_users};
pub use lambda::{Mapped, RESERVED, map_layer, mapped_layers};
pub use rows::{ROLE, USER};
pub use sts::{CREDENTIALS, credential};

use bytes::Bytes;
use fault::{Protocol, WireError};
use model::{
    Fault, Fut, InvocationId, Key, ModelOp, Principal, TenantId, Verified,
    ports::{Dialect, Platform, PlatformSettings, Request, Response, Rows},
    queue::Finished,
};
use shared::{Asked, Shared};
use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

/// The folder's name, which is the door's.
pub const NAME: &str = "aws";

/// The ARN of the role that `myna up` shows for first steps: it needs no creation and carries no rights.
pub fn default_role(tenant: &TenantId) -> String {
    format!("arn:aws:iam::{tenant}:role/{}", names::DEFAULT_ROLE)
}

/// Every operation that is served, with its service: what the table of permissions must have a row for.
pub fn operations() -> impl Iterator<Item = (&'static str, &'static str)> {
    let of = |service, names: &'static [&'static str]| names.iter().map(move |name| (service, *name));
    let lambda = lambda::served().map(|name| ("lambda", name));
    lambda.chain(of("logs", logs::OPERATIONS)).chain(of("sts", sts::OPERATIONS)).chain(of("iam", iam::OPERATIONS))
}

pub struct Aws {
    settings: PlatformSettings,
    shared: OnceLock<Arc<Shared>>,
}

impl Aws {
    pub fn new(settings: PlatformSettings) -> Self {
        logs::set_region(&settings.region);
        Self { settings, shared: OnceLock::new() }
    }

    /// A call through a function URL.
    async fn url(&self, request: Verified<Request>) -> Response {
        let (request, principal, service) = request.into_parts();
        let (parts, body) = request.into_parts();
        match self.shared.get() {
            Some(shared) => url::handle(shared, parts, body, principal).await,
            None => starting(&service, &parts),
        }
    }

    async fn answer(&self, request: Verified<Request>) -> Response {
        let (request, principal, service) = request.into_parts();
        let (parts, body) = request.into_parts();
        let Some(shared) = self.shared.get() else { return starting(&service, &parts) };
        let protocol = protocol_of(&service, &parts);
        let id = InvocationId::random();
        if let Principal::Role { tenant, role, .. } = &principal
            && !shared.role_stands(tenant, role)
        {
            return no_such_role(role, protocol).render(protocol, &id.to_string());
        }
        let asked = match Asked::new(shared, parts, body, principal, id) {
            Ok(asked) => asked,
            Err(error) => return error.render(protocol, &id.to_string()),
        };
        if &*service != "lambda"
            && let Err(early) = asked.platform().tenants().request(&asked.tenant)
        {
            let error = WireError { retry_after: Some(early), ..WireError::new(400, "ThrottlingException", "Rate exceeded") };
            let error = if protocol == Protocol::Query { WireError { code: "Throttling", ..error } } else { error };
            return error.render(protocol, &id.to_string());
        }
        let result = match &*service {
            "lambda" => lambda::handle(asked).await,
            "logs" => Box::pin(logs::handle(asked)).await,
            "sts" => Box::pin(sts::handle(&asked)).await,
            "iam" => Box::pin(iam::handle(&asked)).await,
            other => Box::pin(upstream::handle(&asked, other)).await,
        };
        let mut reply = result.unwrap_or_else(|error| error.render(protocol, &id.to_string()));
        if !reply.headers().contains_key("x-amzn-requestid") {
            respond::put(&mut reply, "x-amzn-requestid", &id.to_string());
        }
        reply
    }
}

/// Nothing is served before the platform is there.
fn starting(service: &str, parts: &http::request::Parts) -> Response {
    let fault = Fault::new(model::Cause::Draining, "the platform is still starting");
    WireError::from(fault).render(protocol_of(service, parts), &InvocationId::random().to_string())
}

/// AWS's own words for credentials whose role is gone, and the reason, which it keeps to itself.
fn no_such_role(role: &str, protocol: Protocol) -> WireError {
    let code = if protocol == Protocol::Query { "InvalidClientTokenId" } else { "UnrecognizedClientException" };
    WireError::new(403, code, format!("The security token included in the request is invalid. (there is no role {role})"))
}

/// How the clients of a service read errors. Unknown services are guessed by what the request itself shows of its protocol.
fn protocol_of(service: &str, parts: &http::request::Parts) -> Protocol {
    let content_type = parts.headers.get(http::header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    match service {
        "lambda" => Protocol::RestJson,
        "logs" => Protocol::Json11,
        "sts" | "iam" => Protocol::Query,
        "lambda-url" => Protocol::Url,
        _ if parts.headers.contains_key("x-amz-target") => Protocol::Json11,
        "s3" => Protocol::Query,
        _ if content_type.starts_with("application/x-www-form-urlencoded") => Protocol::Query,
        _ => Protocol::RestJson,
    }
}

impl Dialect for Aws {
    fn name(&self) -> &'static str {
        NAME
    }

    fn start(&self, platform: Arc<dyn Platform>) -> Fut<'_, Result<(), Fault>> {
        Box::pin(async move {
            let shared = self.shared.get_or_init(|| Arc::new(Shared::new(platform, self.settings.clone())));
            lambda::state::resume(shared);
            Ok(())
        })
    }

    fn handle(&self, request: Verified<Request>) -> Fut<'_, Response> {
        // Apart, since a future that can be either is as large as the larger one, and calls are many and small.
        match &**request.service() {
            "lambda-url" => Box::pin(self.url(request)),
            _ => Box::pin(self.answer(request)),
        }
    }

    fn changes(&self, request: &http::request::Parts, service: &str, body: &[u8]) -> Option<model::audit::Act> {
        acts::of(request, service, body)
    }

    fn kinds(&self) -> &'static [&'static str] {
        rows::KINDS
    }

    fn reconcile(&self, changed: &[Key], related: &dyn Rows) -> Vec<ModelOp> {
        reconcile::reconcile(&self.settings, changed, related)
    }

    fn log_ages(&self, changed: &[Key], related: &dyn Rows) -> Vec<(TenantId, Arc<str>, Option<Duration>)> {
        logs::ages(changed, related)
    }

    fn outcome(&self, finished: &Finished<'_>) -> Option<Bytes> {
        let now_ms = self.shared.get().map_or(0, |shared| shared.now_ms());
        Some(outcome::record(finished, now_ms))
    }

    fn refuse(&self, request: &http::request::Parts, fault: &Fault) -> Response {
        if url::is_url_request(request) {
            return url::refused(fault);
        }
        let mut error = WireError::from(fault.clone());
        // What the front end refuses is worded by whoever checks signatures; its own name of the error travels in `detail`.
        if let Some(code) = fault.detail.as_deref().and_then(front_end_code) {
            error.code = code;
        }
        if error.code == "IncompleteSignatureException" {
            error.status = 400;
        }
        if fault.cause == model::Cause::TooLarge && request.uri.path().ends_with("invocations") {
            error.message =
                format!("Request must be smaller than {} bytes for the InvokeFunction operation", limits::REQUEST_BYTES_MAX);
        }
        error.render(shown_protocol(request), &InvocationId::random().to_string())
    }
}

/// The names under which AWS's front ends refuse a request before any service sees it.
fn front_end_code(detail: &str) -> Option<&'static str> {
    const CODES: &[&str] = &[
        "MissingAuthenticationTokenException",
        "MissingAuthenticationToken",
        "IncompleteSignatureException",
        "InvalidSignatureException",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
        "InvalidClientTokenId",
        "ExpiredTokenException",
        "ExpiredToken",
        "RequestExpired",
        "AccessDeniedException",
    ];
    CODES.iter().copied().find(|c| *c == detail)
}

/// The protocol as far as an unauthenticated request shows it.
fn shown_protocol(request: &http::request::Parts) -> Protocol {
    let scope = request.headers.get(http::header::AUTHORIZATION).and_then(|v| v.to_str().ok());
    let service = scope.and_then(|s| s.split("Credential=").nth(1)).and_then(|s| s.split('/').nth(3)).unwrap_or_default();
    protocol_of(service, request)
}
