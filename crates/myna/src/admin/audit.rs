//! The audit log, as the operator reads it; and what the operator changes, written into it.

use super::{Admin, Query, reply};
use model::{
    Fault, Verified,
    audit::{Entry, principal},
    ports::{Request, Response},
};
use std::{fmt::Display, sync::Arc};
use store::audit::AuditQuery;

/// Entries in one answer, unless fewer are asked for.
const PAGE: u64 = 50;

impl Admin {
    /// Answer, and have a change on the audit log's disk before its answer is given.
    pub async fn recorded(self: &Arc<Self>, request: Verified<Request>, source: &(dyn Display + Sync)) -> Response {
        let asked = request.get();
        if asked.method() == http::Method::GET {
            return self.handle(request).await;
        }
        let mut entry = Entry {
            at_ms: self.platform.clock().wall_ms(),
            tenant: request.principal().tenant().map(ToString::to_string).unwrap_or_default(),
            principal: principal(request.principal()),
            source: source.to_string(),
            action: format!("admin:{} {}", asked.method(), asked.uri().path()),
            request_id: model::InvocationId::random().to_string(),
            count: 1,
            ..Entry::default()
        };
        if let Err(fault) = self.trail.ready() {
            return reply::fault(&fault);
        }
        // A caller who goes away ends neither a change nor the writing of its entry.
        let (answer, trail) = (self.handle(request), self.trail.clone());
        let work = tokio::spawn(async move {
            let response = answer.await;
            if response.status().is_client_error() {
                return Ok(response);
            }
            entry.outcome =
                if response.status().is_success() { "ok".into() } else { format!("failed: {}", response.status().as_u16()) };
            trail.change(entry).await.map(|()| response)
        });
        match work.await {
            Ok(Ok(response)) => response,
            Ok(Err(fault)) => {
                let message = format!("the change was made, and could not be written down: {fault}");
                reply::fault(&Fault { message, ..fault })
            }
            Err(panicked) => match panicked.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => reply::fault(&Fault::internal("the platform is stopping")),
            },
        }
    }

    pub(super) async fn audited(&self, query: &Query) -> Result<Response, Fault> {
        let limit = query.number("limit")?.unwrap_or(PAGE).clamp(1, store::audit::PAGE_MAX as u64);
        let tenant = match query.get("tenant") {
            // One that was removed has entries all the same.
            Some(named) => self.registry().and_then(|r| r.account(named)).map_or(named.to_owned(), |id| id.to_string()),
            None => String::new(),
        };
        let asked = AuditQuery {
            since_ms: query.number("since_ms")?.unwrap_or(0),
            tenant,
            action: query.get("action").unwrap_or_default().to_owned(),
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
        };
        Ok(reply::json(&self.host.audit(asked).await?))
    }

    pub(super) async fn verify_audit(&self, query: &Query) -> Result<Response, Fault> {
        Ok(reply::json(&self.host.verify_audit(query.get("head").map(str::to_owned)).await?))
    }
}
