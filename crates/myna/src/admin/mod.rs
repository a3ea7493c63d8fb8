//! `/admin/v1` and `/metrics` on the admin socket: what the command line asks beyond the AWS APIs. Who may connect was settled by the socket's
//! mode and the peer's user id; every request acts for the operator, in the tenant that it names or else the default one.

mod audit;
mod events;
mod explain;
pub mod hold;
mod logs;
mod reply;
mod routes;
pub mod secrets;
pub mod tenants;
pub mod wire;

#[cfg(test)]
pub use routes::ROUTES;

use crate::metrics::{self, Exposition};
use model::{
    Cause, Fault, Fut, Principal, TenantId, Unit, Verified,
    audit::Audit,
    log::{LogRecord, Stream},
    ports::{Platform, Request, Response},
};
use reply::{fault, json};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::sync::mpsc;

/// What the composition knows and no port tells.
pub trait AdminHost: Send + Sync {
    /// The process, its listeners, its numbers and what it keeps for how long.
    fn status(&self, tenant: &TenantId) -> wire::Status;
    /// False while it starts and while it drains.
    fn ready(&self) -> bool;
    /// Why it is not, in a line for everybody.
    fn unready(&self) -> String {
        "not ready".into()
    }
    /// How clients of each outside system reach this platform, a tenant's keys included.
    fn access(&self, tenant: &TenantId) -> Result<wire::Access, Fault>;
    /// Who there is, where there can be more than one.
    fn registry(&self) -> Option<Arc<dyn tenants::Registry>> {
        None
    }
    /// Every language runtime that a function may name, found here or not.
    fn runtimes(&self) -> Fut<'_, Vec<wire::RuntimeRow>>;
    /// The same for names that begin so (`python`): asking an interpreter its version takes a while, so fewer are asked.
    fn runtimes_of<'a>(&'a self, family: &'a str) -> Fut<'a, Vec<wire::RuntimeRow>> {
        Box::pin(async move {
            let mut rows = self.runtimes().await;
            rows.retain(|r| r.name.starts_with(family));
            rows
        })
    }
    /// Install what a runtime needs; each step is said as it begins. Dropping the future gives up.
    fn install<'a>(&'a self, name: &'a str, say: mpsc::UnboundedSender<String>) -> Fut<'a, Result<wire::RuntimeRow, Fault>>;
    /// What this machine can't do, or only worse, as found when the platform started.
    fn findings(&self) -> Vec<wire::Finding>;
    /// What the directory is sealed with, after a change of its keys if there is one.
    fn seal(&self, change: SealChange) -> Fut<'_, Result<wire::Sealing, Fault>>;
    /// The master key, for its owner to keep elsewhere.
    fn export_key(&self) -> Result<wire::KeyText, Fault>;
    /// The platform in numbers, as `/metrics` shows it.
    fn metrics(&self, format: Exposition) -> Fut<'static, String>;
    /// Take no new work, finish what is under way, and end.
    fn stop(&self);
    /// The last lines that the platform itself logged.
    fn recent_lines(&self) -> Vec<String>;
    /// End every instance of a function; how many could not be.
    fn evict<'a>(&'a self, tenant: &'a TenantId, name: &'a str) -> Fut<'a, usize>;
    /// A link that logs in to the console, once.
    fn console_link(&self) -> Result<String, Fault>;
    /// The newest entries of the audit log that match, the oldest of them first.
    fn audit(&self, query: store::audit::AuditQuery) -> Fut<'_, Result<Vec<store::audit::Numbered>, Fault>>;
    /// Follow the audit log's chain; `head` is a hash that was noted before.
    fn verify_audit(&self, head: Option<String>) -> Fut<'_, Result<store::audit::Verified, Fault>>;
    /// What only the composition can say of a unit: the runtime that was resolved, its share of the CPU, its sandbox.
    fn explain(&self, unit: &Unit) -> Vec<wire::Explained>;
}

/// What is done with the keys.
#[derive(Clone, Debug)]
pub enum SealChange {
    None,
    /// New data keys for what is written from now on.
    Rotate,
    /// The data keys are wrapped by the master key in this file.
    Rewrap(PathBuf),
}

/// Where the interpreter of a runtime lies on this machine; inside an instance it is seen elsewhere.
pub fn program(runtime: &model::ports::Runtime) -> Option<PathBuf> {
    let inside = Path::new(runtime.argv.first()?);
    let seen = |mount: &&model::sandbox::Mount| inside.starts_with(&mount.target);
    let mount = runtime.mounts.iter().filter(seen).max_by_key(|m| m.target.len())?;
    let rest = inside.strip_prefix(&mount.target).ok()?;
    let outside = if rest.as_os_str().is_empty() { mount.source.clone() } else { mount.source.join(rest) };
    outside.is_file().then_some(outside)
}

/// Turns a stored record into the line that its owner's system would show, without the line end.
pub type Format = fn(&Stream, &LogRecord) -> Option<String>;

#[derive(Clone)]
pub struct Admin {
    platform: Arc<dyn Platform>,
    host: Arc<dyn AdminHost>,
    format: Format,
    trail: Arc<dyn Audit>,
    /// Whom it acts for.
    tenant: TenantId,
}

impl Admin {
    pub fn new(platform: Arc<dyn Platform>, host: Arc<dyn AdminHost>, format: Format, trail: Arc<dyn Audit>) -> Self {
        let tenant = platform.settings().default_tenant.clone();
        Self { platform, host, format, trail, tenant }
    }

    /// The answer to a request that names a tenant which isn't there.
    pub fn refused(fault: &Fault) -> Response {
        reply::fault(fault)
    }

    /// Whether a path on the admin socket is for this handler; all others are the AWS door's.
    pub fn claims(path: &str) -> bool {
        path == "/livez" || path == "/readyz" || path == "/metrics" || path.starts_with("/admin/")
    }

    pub fn handle(self: &Arc<Self>, request: Verified<Request>) -> Fut<'static, Response> {
        let (request, principal, _) = request.into_parts();
        let this = match principal.tenant() {
            Some(tenant) if *tenant != self.tenant => Arc::new(Self { tenant: tenant.clone(), ..Self::clone(self) }),
            _ => Arc::clone(self),
        };
        let (head, body) = request.into_parts();
        // Bounded by the door, which gives it whole.
        let body = body.bytes().cloned().unwrap_or_default();
        Box::pin(async move { this.answer(&head, body, &principal).await.unwrap_or_else(|f| fault(&f)) })
    }

    async fn answer(
        self: &Arc<Self>,
        request: &http::request::Parts,
        body: bytes::Bytes,
        principal: &Principal,
    ) -> Result<Response, Fault> {
        let uri = &request.uri;
        match uri.path() {
            // Anybody may know that the process lives; it says nothing else.
            "/livez" => return Ok(reply::text(200, "ok\n")),
            "/readyz" if self.host.ready() => return Ok(reply::text(200, "ok\n")),
            "/readyz" => return Ok(reply::text(503, format!("{}\n", self.host.unready()))),
            _ => {}
        }
        if !matches!(principal, Principal::Root { .. }) {
            return Err(Fault::new(Cause::Denied, "the admin API is the operator's"));
        }
        if (request.method.as_str(), uri.path()) == ("GET", "/metrics") {
            let format = metrics::asked(&request.headers);
            return Ok(metrics::answer(self.host.metrics(format).await, format));
        }
        let query = Query::of(uri.query().unwrap_or(""));
        let path: Vec<String> = uri.path().trim_start_matches('/').split('/').map(decoded).collect();
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let method = request.method.as_str();
        let unknown = || Fault::not_found(format!("the admin API has no {method} {}", uri.path()));
        if !routes::listed(method, &path) {
            return Err(unknown());
        }
        match (method, path.as_slice()) {
            ("GET", ["admin", "v1", "status"]) => Ok(json(&self.host.status(&self.tenant))),
            ("GET", ["admin", "v1", "access"]) => Ok(json(&self.host.access(&self.tenant)?)),
            (_, ["admin", "v1", "tenants", rest @ ..]) => self.tenants(method, rest, &query, &body).await,
            ("GET", ["admin", "v1", "audit"]) => self.audited(&query).await,
            ("GET", ["admin", "v1", "audit", "verify"]) => self.verify_audit(&query).await,
            ("GET", ["admin", "v1", "findings"]) => Ok(json(&self.host.findings())),
            ("GET", ["admin", "v1", "runtimes"]) => Ok(json(&match query.get("family") {
                Some(family) => self.host.runtimes_of(family).await,
                None => self.host.runtimes().await,
            })),
            ("POST", ["admin", "v1", "runtimes", name, "install"]) => Ok(self.install((*name).to_string())),
            ("POST", ["admin", "v1", "console-link"]) => Ok(json(&wire::ConsoleLink { url: self.host.console_link()? })),
            ("GET", ["admin", "v1", "functions", name, "observed"]) => {
                self.known(name).map(|f| json(&self.platform.observed(&f.tenant, &f.name.0)))
            }
            ("GET", ["admin", "v1", "functions", name, "explain"]) => self.explained(name).map(|rows| json(&rows)),
            ("GET", ["admin", "v1", "invocations"]) => {
                let limit = query.number("limit")?.unwrap_or(20).min(1000);
                Ok(json(&self.platform.records().recent(
                    &self.tenant(),
                    query.get("function"),
                    usize::try_from(limit).unwrap_or(1000),
                )))
            }
            ("GET", ["admin", "v1", "invocations", id]) => self.invocation(id).map(|record| json(&record)),
            ("GET", ["admin", "v1", "events"]) => self.events(&query).await,
            ("GET", ["admin", "v1", "events", id]) => self.event(id).await,
            ("POST", ["admin", "v1", "events", id, "cancel"]) => self.cancel_event(id).await,
            ("GET", ["admin", "v1", "lanes"]) => Ok(self.lanes()),
            ("POST", ["admin", "v1", "functions", name, "events", what]) => self.control_events(name, what, &query).await,
            ("GET", ["admin", "v1", "seal"]) => self.host.seal(SealChange::None).await.map(|sealing| json(&sealing)),
            ("POST", ["admin", "v1", "seal", "rotate"]) => self.host.seal(SealChange::Rotate).await.map(|sealing| json(&sealing)),
            ("POST", ["admin", "v1", "seal", "rewrap"]) => {
                let key: wire::NewKey =
                    serde_json::from_slice(&body).map_err(|e| Fault::invalid(format!("the new key's file is expected: {e}")))?;
                self.host.seal(SealChange::Rewrap(key.file)).await.map(|sealing| json(&sealing))
            }
            ("POST", ["admin", "v1", "seal", "export"]) => Ok(json(&self.host.export_key()?)),
            ("GET", ["admin", "v1", "secrets"]) => self.secrets(),
            ("GET", ["admin", "v1", "secrets", name]) => self.secret(name),
            ("PUT", ["admin", "v1", "secrets", name]) => self.put_secret(name, &body).await,
            ("DELETE", ["admin", "v1", "secrets", name]) => self.delete_secret(name, &query).await,
            ("GET", ["admin", "v1", "functions", name, "hold"]) => self.held(name),
            ("POST", ["admin", "v1", "functions", name, "hold"]) => self.hold(name, &query).await,
            ("POST", ["admin", "v1", "drain"]) => {
                self.host.stop();
                Ok(json(&self.host.status(&self.tenant)))
            }
            ("GET", ["admin", "v1", "platform-log"]) => Ok(json(&self.host.recent_lines())),
            ("GET", ["admin", "v1", "layers"]) => Ok(json(&dialects::aws::mapped_layers(&*self.platform, &self.tenant)?)),
            ("PUT", ["admin", "v1", "layers", arn]) => {
                Ok(json(&dialects::aws::map_layer(&*self.platform, &self.tenant, arn, body).await?))
            }
            ("GET", ["admin", "v1", "usage"]) => {
                let from = query.number("from_hour")?.unwrap_or(0);
                Ok(json(&self.platform.records().usage(&self.tenant(), query.get("function"), from)))
            }
            ("GET", ["admin", "v1", "logs"]) => logs::answer(Arc::clone(&self.platform), self.tenant(), self.format, &query),
            _ => Err(unknown()),
        }
    }

    fn tenant(&self) -> TenantId {
        self.tenant.clone()
    }

    fn known(&self, name: &str) -> Result<Arc<model::Function>, Fault> {
        known(&*self.platform, &self.tenant, name)
    }

    fn explained(&self, name: &str) -> Result<Vec<wire::Explained>, Fault> {
        let function = self.known(name)?;
        let unit = function.versions.get("$LATEST").or_else(|| function.versions.values().next_back());
        let unit = unit.ok_or_else(|| Fault::not_found(format!("function {name} has no version yet")))?;
        let mut rows = explain::rows(&function, unit, self.platform.tenants().quota(&self.tenant).concurrency);
        rows.extend(self.host.explain(unit));
        Ok(rows)
    }

    fn invocation(&self, id: &str) -> Result<model::event::Record, Fault> {
        let id = invocation_id(id)?;
        self.platform
            .records()
            .find(&self.tenant(), &id)
            .ok_or_else(|| Fault::not_found(format!("no finished invocation {id} is on record")))
    }

    /// Steps, one a line, then the result or the fault on the last one.
    fn install(&self, name: String) -> Response {
        let host = Arc::clone(&self.host);
        reply::lines(move |lines| async move {
            let (say, mut said) = mpsc::unbounded_channel();
            let mut work = host.install(&name, say);
            loop {
                tokio::select! {
                    Some(step) = said.recv() => if !lines.send(&wire::InstallLine::Step(step)).await { return },
                    ended = &mut work => {
                        while let Ok(step) = said.try_recv() {
                            lines.send(&wire::InstallLine::Step(step)).await;
                        }
                        lines.send(&match ended {
                            Ok(row) => wire::InstallLine::Done(row),
                            Err(fault) => wire::InstallLine::Failed { message: fault.message, hint: fault.hint },
                        }).await;
                        return;
                    }
                }
            }
        })
    }
}

fn known(platform: &dyn Platform, tenant: &TenantId, name: &str) -> Result<Arc<model::Function>, Fault> {
    platform.function(tenant, name).ok_or_else(|| Fault::not_found(format!("there is no function {name}")))
}

fn invocation_id(text: &str) -> Result<model::InvocationId, Fault> {
    uuid::Uuid::try_parse(text)
        .map(model::InvocationId)
        .map_err(|_| Fault::invalid(format!("{text:?} is no invocation id; it is a UUID")))
}

/// Query parameters, the first of each name.
struct Query(Vec<(String, String)>);

impl Query {
    fn of(text: &str) -> Self {
        let pair = |p: &str| p.split_once('=').map_or_else(|| (decoded(p), String::new()), |(k, v)| (decoded(k), decoded(v)));
        Self(text.split('&').filter(|p| !p.is_empty()).map(pair).collect())
    }
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|p| p.0 == name).map(|p| p.1.as_str()).filter(|v| !v.is_empty())
    }
    fn number(&self, name: &str) -> Result<Option<u64>, Fault> {
        let parsed =
            self.get(name).map(|v| v.parse().map_err(|_| Fault::invalid(format!("{name} is {v:?} and must be a number"))));
        parsed.transpose()
    }
    fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(|v| v != "0" && v != "false")
    }
}

fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten().and_then(|h| u8::from_str_radix(h, 16).ok());
        out.push(hex.unwrap_or(bytes[at]));
        at += if hex.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests;
