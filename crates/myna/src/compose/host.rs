//! What the composition alone knows of the running platform, for the admin API and the first lines of `up`.

use super::{
    Config, download,
    keys::AccessKey,
    tenants::Tenants,
    tls::{self, Tls},
};
use crate::{
    admin::{AdminHost, SealChange, wire},
    metrics::{self, Exposition, Sources},
};
use console::Console;
use engine::Engine;
use model::{
    Fault, Fut, Loops, TenantId, Unit,
    audit::{Audit, Entry},
    ports::{PlatformSettings, Sandbox},
    sandbox::{Leftover, Limits},
};
use runtimes::{Catalogue, names::Language};
use sandbox_process::Process;
use std::{
    path::Path,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};
use store::Store;
use tokio::sync::mpsc;

#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    Starting,
    Ready,
    Draining,
}

/// Two weeks: enough to notice a renewal that doesn't work.
const EXPIRES_SOON_S: i64 = 14 * 86_400;

pub struct Host {
    config: Arc<Config>,
    key: AccessKey,
    tenants: Arc<Tenants>,
    store: Arc<Store>,
    engine: Arc<Engine>,
    sandbox: Arc<Process>,
    runtimes: Arc<Catalogue>,
    loops: Arc<Loops>,
    tls: Tls,
    settings: PlatformSettings,
    console: OnceLock<Arc<Console>>,
    sources: OnceLock<Arc<Sources>>,
    stop: OnceLock<gateway::Stop>,
    phase: Arc<AtomicU8>,
    started_ms: u64,
}

/// What it looks at.
pub struct Parts {
    pub store: Arc<Store>,
    pub engine: Arc<Engine>,
    pub sandbox: Arc<Process>,
    pub runtimes: Arc<Catalogue>,
    pub loops: Arc<Loops>,
    pub tls: Tls,
    pub tenants: Arc<Tenants>,
}

impl Host {
    pub fn new(config: Arc<Config>, key: AccessKey, parts: Parts, settings: &PlatformSettings) -> Self {
        let Parts { store, engine, sandbox, runtimes, loops, tls, tenants } = parts;
        let started_ms = crate::cli::units::now_ms();
        let (settings, console, sources, stop) = (settings.clone(), OnceLock::new(), OnceLock::new(), OnceLock::new());
        let phase = Arc::new(AtomicU8::new(Phase::Starting as u8));
        Self {
            config,
            key,
            tenants,
            store,
            engine,
            sandbox,
            runtimes,
            loops,
            tls,
            settings,
            console,
            sources,
            stop,
            phase,
            started_ms,
        }
    }

    pub fn default_tenant(&self) -> &TenantId {
        self.tenants.default()
    }
    pub fn dir(&self) -> &Path {
        self.store.directory().path()
    }
    pub fn set_console(&self, console: Arc<Console>) {
        let _ = self.console.set(console);
    }
    /// Where the numbers come from that `metrics` shows.
    pub fn set_sources(&self, sources: Sources) {
        let _ = self.sources.set(Arc::new(sources));
    }
    pub fn started_ms(&self) -> u64 {
        self.started_ms
    }
    /// What draining is told to, from now on.
    pub fn stop_by(&self, stop: &gateway::Stop) {
        let _ = self.stop.set(stop.clone());
    }
    pub fn set_phase(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
    }
    /// No more work, and nobody who merely watches holds the end up.
    pub fn drain(&self) {
        self.set_phase(Phase::Draining);
        if let Some(console) = self.console.get() {
            console.close();
        }
        self.store.logs().dismiss_followers();
    }
    pub fn readiness(&self) -> gateway::aws::Ready {
        let phase = self.phase.clone();
        Arc::new(move || phase.load(Ordering::Acquire) == Phase::Ready as u8)
    }
    /// Nothing of the sandboxes is left after this; their instances were killed before.
    pub fn close(&self) {
        self.sandbox.close();
        self.store.close();
    }
    pub async fn sweep(&self) -> Vec<Leftover> {
        self.sandbox.sweep().await
    }
    pub fn console_address(&self) -> String {
        let scheme = if self.tls.console.is_some() { "https" } else { "http" };
        format!("{scheme}://{}/", self.console_authority())
    }
    /// On loopback a name of its own, so that no function's page shares its cookies; beyond it what its listener is called.
    pub fn console_authority(&self) -> String {
        let listen = &self.config.console;
        match listen.is_loopback() {
            true => format!("console.localhost:{}", listen.at.port()),
            false => listen.authority(self.tls.console.as_deref()),
        }
    }
    fn endpoint_url(&self) -> String {
        format!("{}://{}", self.settings.aws_scheme, self.settings.aws_authority)
    }
    /// The certificates in use, and what is worth saying about them.
    fn certificates(&self, warnings: &mut Vec<String>) -> Vec<wire::Certificate> {
        let now = tls::now_s();
        let mut rows = Vec::new();
        for (listener, certificates) in self.tls.all() {
            for status in certificates.status() {
                let left = status.validity.until_s - now;
                let name = status.cert.display();
                if left <= 0 {
                    warnings
                        .push(format!("the certificate {name} of listener {listener} has expired: put a new one in its place"));
                } else if left < EXPIRES_SOON_S {
                    warnings.push(format!("the certificate {name} of listener {listener} expires in {} days", left / 86_400));
                }
                if let Some(why) = &status.refused {
                    warnings.push(format!("listener {listener} keeps its certificate, since the new files are refused: {why}"));
                }
                let until = jiff::Timestamp::from_second(status.validity.until_s).map(|t| t.to_string()).unwrap_or_default();
                let (names, refused) = (status.names, status.refused);
                rows.push(wire::Certificate { listener: listener.into(), file: status.cert, names, until, refused });
            }
        }
        rows
    }

    /// A package by its capability, for whoever was given one.
    pub fn download(&self) -> gateway::aws::Download {
        let (store, room) = (self.store.clone(), download::room());
        Arc::new(move |capability| {
            let (store, room, capability) = (store.clone(), room.clone(), capability.to_owned());
            Box::pin(async move {
                let open = move || store.packages().open_link(&capability).ok();
                let archive = tokio::task::spawn_blocking(open).await.ok()??;
                Some(download::answer(archive.reader, archive.bytes, &room))
            })
        })
    }
}

impl Host {
    /// The settings that this start has, and the key if it made one.
    pub async fn audit_start(&self, key_made: bool) -> Result<(), Fault> {
        let c = &self.config;
        let entry = |action: &str, resource: String| Entry {
            at_ms: self.started_ms,
            tenant: c.account.clone(),
            principal: "platform".into(),
            source: format!("process {}", std::process::id()),
            action: format!("platform:{action}"),
            resource,
            outcome: "ok".into(),
            request_id: String::new(),
            count: 1,
        };
        if key_made {
            let key = entry("CreateAccessKey", self.key.access_key_id.clone());
            self.store.audit().change(key).await?;
        }
        let settings = format!(
            "version={} listen={} console={} region={} account={} signatures={} memory_mib={} overcommit={} instances_max={} \
             concurrency={} upstreams={} audit_days={} audit_mib={}",
            env!("CARGO_PKG_VERSION"),
            c.listen,
            c.console,
            c.region,
            c.account,
            !c.no_auth,
            c.memory_bytes >> 20,
            c.memory_overcommit,
            c.instances_max,
            c.concurrency,
            c.upstreams.len(),
            c.audit_age.as_secs() / 86_400,
            c.audit_bytes >> 20,
        );
        self.store.audit().change(entry("Start", settings)).await
    }

    fn audit_view(&self) -> wire::Audit {
        let view = self.store.audit().view();
        wire::Audit { entries: view.entries, last: view.last, head: view.head, lost: view.lost }
    }
}

impl AdminHost for Host {
    fn registry(&self) -> Option<Arc<dyn crate::admin::tenants::Registry>> {
        Some(self.tenants.clone())
    }

    fn status(&self, tenant: &TenantId) -> wire::Status {
        let (instances, reserved, unbound) = self.engine.totals();
        let observed: Vec<_> = self.tenants.all_of().iter().map(|tenant| self.engine.observed(tenant, None)).collect();
        let instances_of = || observed.iter().flat_map(|o| &o.instances);
        let count = |state: &str| instances_of().filter(|i| i.state == state).count() as u64;
        let functions = self.engine.catalog().all();
        let stats = self.store.stats();
        let listener = |name: &str, address: String| wire::Listener { name: name.into(), address };
        let mut listeners = vec![
            listener("aws", self.endpoint_url()),
            listener("admin", self.dir().join("admin.sock").display().to_string()),
            listener("console", self.console_address()),
        ];
        listeners.extend(self.config.metrics.map(|at| listener("metrics", format!("http://{at}/metrics"))));
        let weaker = self.sandbox.caps().weaker;
        let mut warnings = weaker.clone();
        if self.config.no_auth {
            warnings.push("signatures are not checked: anybody on this machine may call (--no-auth)".into());
        }
        if !self.store.seal().is_on() {
            warnings
                .push("nothing in the directory is sealed: whoever reads the disk reads code, variables, events and keys".into());
        }
        let audit = self.store.audit().view();
        if let Some(why) = &audit.broken {
            warnings.push(format!("no change is accepted since {why}; restart the platform"));
        }
        if audit.lost > 0 {
            warnings.push(format!("{} refusals are missing in the audit log, because the disk took none", audit.lost));
        }
        if self.config.volatile {
            warnings.push("a directory in memory is allowed; a reboot empties it (--volatile)".into());
        }
        let certificates = self.certificates(&mut warnings);
        wire::Status {
            certificates,
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            dir: self.dir().into(),
            started_ms: self.started_ms,
            phase: match self.phase.load(Ordering::Acquire) {
                0 => "starting",
                1 => "ready",
                _ => "draining",
            }
            .into(),
            region: self.config.region.clone(),
            account: tenant.to_string(),
            tenant: self.tenants.name(tenant),
            default_role: dialects::aws::default_role(tenant),
            signatures: !self.config.no_auth,
            sealed: sealed(&self.store.seal().sealing()),
            tier: self.settings.tier.name().into(),
            weaker,
            listeners,
            load: wire::Load {
                functions: functions.len() as u64,
                instances: instances as u64,
                running: observed.iter().map(|o| o.running as u64).sum(),
                waiting: observed.iter().map(|o| o.waiting as u64).sum(),
                idle: count("idle"),
                frozen: count("frozen"),
                unbound: unbound as u64,
                memory_reserved_bytes: reserved,
                memory_budget_bytes: self.config.promised_bytes(),
                memory_usable_bytes: self.config.memory_bytes,
                rss_bytes: rss(),
                journal_dropped: stats.log_lines_lost + stats.records_lost,
            },
            retention: retention(&self.config, &stats),
            audit: self.audit_view(),
            loops: self
                .loops
                .panics()
                .into_iter()
                .map(|p| wire::Panicked { name: p.name, times: p.times, last: p.last })
                .collect(),
            still: self.loops.still().into_iter().map(|s| wire::Still { name: s.name, seconds: s.seconds }).collect(),
            healthy: self.loops.still().is_empty(),
            damaged: stats.damaged.clone(),
            event_loop_restarts: self.sources.get().map_or(0, |s| s.events.view().restarts),
            warnings,
        }
    }

    fn metrics(&self, format: Exposition) -> Fut<'static, String> {
        let (sources, ready) = (self.sources.get().cloned(), self.ready());
        Box::pin(async move {
            match sources {
                Some(sources) => metrics::page(sources, ready, format).await,
                None => String::new(),
            }
        })
    }

    fn ready(&self) -> bool {
        self.phase.load(Ordering::Acquire) == Phase::Ready as u8 && self.loops.still().is_empty()
    }

    fn unready(&self) -> String {
        let still: Vec<String> = self.loops.still().into_iter().map(|s| format!("{:?}", s.name)).collect();
        match still.is_empty() {
            true => "not ready".into(),
            false => format!("not ready: of the platform's loops stand still {}", still.join(", ")),
        }
    }

    fn access(&self, tenant: &TenantId) -> Result<wire::Access, Fault> {
        let name = self.tenants.name(tenant);
        let key = self.tenants.key(tenant).ok_or_else(|| {
            Fault::not_found(format!("tenant {name} has no access key")).hint(format!("make one: myna tenant key {name} --new"))
        })?;
        Ok(wire::Access {
            aws: Some(wire::AwsAccess {
                endpoint_url: self.endpoint_url(),
                ca_bundle: self.config.tls.ca.as_ref().filter(|_| self.tls.aws.is_some()).map(|p| p.display().to_string()),
                region: self.config.region.clone(),
                access_key_id: key.access_key_id,
                secret_access_key: key.secret_access_key,
            }),
        })
    }

    fn runtimes(&self) -> Fut<'_, Vec<wire::RuntimeRow>> {
        let runtimes = self.runtimes.clone();
        Box::pin(async move { tokio::task::spawn_blocking(move || rows(&runtimes, "")).await.unwrap_or_default() })
    }

    fn runtimes_of<'a>(&'a self, family: &'a str) -> Fut<'a, Vec<wire::RuntimeRow>> {
        let (runtimes, family) = (self.runtimes.clone(), family.to_owned());
        Box::pin(async move { tokio::task::spawn_blocking(move || rows(&runtimes, &family)).await.unwrap_or_default() })
    }

    fn install<'a>(&'a self, name: &'a str, say: mpsc::UnboundedSender<String>) -> Fut<'a, Result<wire::RuntimeRow, Fault>> {
        let (runtimes, name) = (self.runtimes.clone(), name.to_owned());
        Box::pin(async move {
            let work = move || {
                for line in runtimes.install(&name, &mut |step| drop(say.send(step.to_owned())))? {
                    let _ = say.send(line);
                }
                let found = rows(&runtimes, &name).into_iter().find(|r| r.name == name);
                found.ok_or_else(|| Fault::not_found(format!("there is no runtime named {name:?}")))
            };
            tokio::task::spawn_blocking(work).await.map_err(Fault::internal)?
        })
    }

    fn findings(&self) -> Vec<wire::Finding> {
        let mut all = machine();
        all.extend(crate::verbs::doctor::sealing(self.dir()));
        all
    }

    fn seal(&self, change: SealChange) -> Fut<'_, Result<wire::Sealing, Fault>> {
        let store = self.store.clone();
        Box::pin(async move {
            let work = move || {
                let seal = store.seal();
                if !seal.is_on() && !matches!(change, SealChange::None) {
                    let fault = Fault::invalid("nothing in the directory is sealed");
                    return Err(fault.hint("start the platform without --no-seal and without seal.off"));
                }
                match change {
                    SealChange::None => {}
                    SealChange::Rotate => drop(store.rotate()?),
                    SealChange::Rewrap(path) => seal.rewrap_by(store.directory().path(), &path)?,
                }
                let store::seal::Sealing { on, source, key_id, tenants, keys, generation, pending } = seal.sealing();
                let (again, again_of) = store.sealed_again();
                Ok(wire::Sealing { on, source, key_id, tenants, keys, generation, pending, again, again_of })
            };
            tokio::task::spawn_blocking(work).await.map_err(Fault::internal)?
        })
    }

    fn export_key(&self) -> Result<wire::KeyText, Fault> {
        let exported = self.store.seal().export().ok_or_else(|| Fault::invalid("nothing in the directory is sealed"))?;
        Ok(wire::KeyText { id: exported.0, key: exported.1.to_string() })
    }

    fn stop(&self) {
        if let Some(stop) = self.stop.get() {
            tracing::info!("asked to drain: no new work is taken");
            stop.drain.cancel();
        }
    }

    fn recent_lines(&self) -> Vec<String> {
        crate::cli::log::recent()
    }

    fn evict<'a>(&'a self, tenant: &'a model::TenantId, name: &'a str) -> Fut<'a, usize> {
        Box::pin(self.engine.evict(tenant, name))
    }

    fn console_link(&self) -> Result<String, Fault> {
        let console = self.console.get().ok_or_else(|| Fault::internal("the console is not there yet"))?;
        console.link().ok_or_else(|| Fault::internal("the machine gives no random bytes"))
    }

    fn audit(&self, query: store::audit::AuditQuery) -> Fut<'_, Result<Vec<store::audit::Numbered>, Fault>> {
        let log = self.store.audit().clone();
        Box::pin(async move { tokio::task::spawn_blocking(move || log.read(&query)).await.map_err(Fault::internal)? })
    }

    fn verify_audit(&self, head: Option<String>) -> Fut<'_, Result<store::audit::Verified, Fault>> {
        let log = self.store.audit().clone();
        Box::pin(async move { tokio::task::spawn_blocking(move || log.verify(head.as_deref())).await.map_err(Fault::internal)? })
    }

    fn explain(&self, unit: &Unit) -> Vec<wire::Explained> {
        let row = |name: &str, value: String, from: &str| wire::Explained { name: name.into(), value, from: from.into() };
        let processors = |limits: Limits| format!("{:.2} processors", f64::from(limits.cpu_millis) / 1000.0);
        let rule = format!("memory size / {} MB, at most this machine's", self.engine.mib_per_cpu());
        let mut rows = vec![
            row("cpu", processors(self.engine.limits(unit)), &rule),
            row("cpu while initialising", processors(self.engine.init_limits(unit)), "at least one, as on Lambda"),
        ];
        match self.runtimes.resolve(&unit.runtime) {
            Ok(runtime) => {
                rows.push(row("language", runtime.found.to_string(), &runtime.origin));
                rows.extend(
                    runtime.libraries.iter().map(|(n, v)| row(&format!("library {n}"), v.clone(), "supplied with the runtime")),
                );
                rows.extend(runtime.notes.iter().map(|n| row("note", n.clone(), "the runtime")));
                let prestart = match contracts::lambda::can_bind(unit) {
                    Ok(()) if runtime.bindable && self.config.prestarted > 0 => "yes".to_owned(),
                    Ok(()) => "no: this runtime starts with its code".to_owned(),
                    Err(why) => format!("no: {why}"),
                };
                rows.push(row("started before it is called", prestart, "engine.prestarted and the function's variables"));
            }
            Err(fault) => rows.push(row("language", "none".into(), &fault.to_string())),
        }
        rows
    }
}

/// The runtime names that begin so, with what serves each here.
fn rows(runtimes: &Catalogue, beginning: &str) -> Vec<wire::RuntimeRow> {
    let row = |(named, found): (&'static runtimes::names::Named, Result<Arc<model::ports::Runtime>, Fault>)| {
        let blank = wire::RuntimeRow {
            name: named.name.into(),
            installable: matches!(named.language, Language::Python | Language::Node | Language::Java),
            ..wire::RuntimeRow::default()
        };
        match found {
            Ok(r) => wire::RuntimeRow {
                found: r.found.to_string(),
                origin: r.origin.to_string(),
                program: crate::admin::program(&r),
                libraries: r.libraries.clone(),
                notes: r.notes.clone(),
                ..blank
            },
            Err(fault) => wire::RuntimeRow { origin: fault.message, mend: fault.hint, ..blank },
        }
    };
    runtimes.list_of(beginning).into_iter().map(row).collect()
}

/// What this machine can do, without a platform.
pub fn machine() -> Vec<wire::Finding> {
    let state = |f: &sandbox_process::Finding| match (f.ok, f.vital) {
        (true, _) => wire::FindingState::Ok,
        (false, false) => wire::FindingState::Weaker,
        (false, true) => wire::FindingState::Missing,
    };
    let finding = |f: sandbox_process::Finding| wire::Finding {
        what: f.name.into(),
        state: state(&f),
        detail: f.detail,
        mend: f.remedy.map(Into::into),
    };
    let sandbox: Vec<wire::Finding> = sandbox_process::probe().into_iter().map(finding).collect();
    let mut all = vec![isolation(&sandbox)];
    all.extend(crate::verbs::doctor::machine());
    all.extend(sandbox);
    all.extend(languages());
    all
}

/// What no platform can do without and this machine lacks, each with what would mend it.
pub fn missing() -> Vec<String> {
    let lacking = sandbox_process::probe().into_iter().filter(|f| f.vital && !f.ok);
    lacking.map(|f| format!("{} ({}): {}", f.name, f.detail, f.remedy.unwrap_or("myna doctor"))).collect()
}

/// What all that was found makes of the sandbox.
fn isolation(findings: &[wire::Finding]) -> wire::Finding {
    let named = |wanted: wire::FindingState| {
        let names = findings.iter().filter(|f| f.state == wanted).map(|f| f.what.as_str());
        names.collect::<Vec<_>>().join(", ")
    };
    let (missing, weaker) = (named(wire::FindingState::Missing), named(wire::FindingState::Weaker));
    let (state, detail, mend) = if !missing.is_empty() {
        let text = format!("none: no function starts without {missing}");
        (wire::FindingState::Missing, text, Some("see below".into()))
    } else if !weaker.is_empty() {
        let text = format!("sandbox process; weaker than it can be: {weaker}");
        (wire::FindingState::Weaker, text, Some("see below".into()))
    } else {
        (wire::FindingState::Ok, "sandbox process, with all that it has".into(), None)
    };
    wire::Finding { what: "isolation".into(), state, detail, mend }
}

/// The language runtimes, as a platform of this user would find them.
fn languages() -> Vec<wire::Finding> {
    let state_dir = std::env::temp_dir().join(format!("myna-doctor-{}", std::process::id()));
    let runtimes = Catalogue::new(runtimes::Config {
        managed_dir: managed_dir(),
        state_dir: state_dir.clone(),
        ..runtimes::Config::default()
    });
    let findings = rows(&runtimes, "")
        .into_iter()
        .map(|r| wire::Finding {
            what: format!("runtime {}", r.name),
            state: if r.found.is_empty() { wire::FindingState::Absent } else { wire::FindingState::Ok },
            detail: if r.found.is_empty() { r.origin } else { format!("{}, {}", r.found, r.origin) },
            mend: r.mend,
        })
        .collect();
    let _ = std::fs::remove_dir_all(state_dir);
    findings
}

/// For people: with what, or that nothing is.
fn sealed(sealing: &store::seal::Sealing) -> String {
    if !sealing.on {
        return "no (--no-seal)".into();
    }
    let rest = if sealing.pending { "; older keys go at the next start" } else { "" };
    format!("by {} (id {}), generation {}{rest}", sealing.source, sealing.key_id, sealing.generation)
}

fn retention(config: &Config, stats: &store::StoreStats) -> Vec<wire::Retention> {
    let days = |d: Duration| format!("{} days", d.as_secs() / 86_400);
    let row = |what: &str, keep: String, held_bytes: u64| wire::Retention { what: what.into(), keep, held_bytes };
    vec![
        row("logs", format!("{} or {} MiB per log group", days(config.log_age), config.log_bytes >> 20), stats.logs_bytes),
        row("records", days(config.record_age), stats.records_bytes),
        row("audit log", format!("{} or {} MiB", days(config.audit_age), config.audit_bytes >> 20), stats.audit_bytes),
        row("packages", format!("as long as a version uses them, and {} more", days(config.package_age)), stats.packages_bytes),
    ]
}

/// The operator's choices in the store's own terms.
pub fn store_options(config: &Config) -> store::Options {
    let mut options = store::Options { allow_volatile: config.volatile, seal: config.seal.clone(), ..store::Options::default() };
    options.logs.age_max = config.log_age;
    options.logs.group_bytes_max = config.log_bytes;
    options.records.age_max = config.record_age;
    options.packages.unreferenced_for = config.package_age;
    options.audit.age_max = config.audit_age;
    options.audit.total_bytes_max = config.audit_bytes;
    options.queue.ended_max = config.events_ended_max;
    options
}

pub fn runtime_config(config: &Config, dir: &Path) -> runtimes::Config {
    let configured = config.runtimes.iter().cloned().collect();
    runtimes::Config { managed_dir: managed_dir(), state_dir: dir.join("runtimes"), configured }
}

/// Runtimes that Myna installed are this user's, whatever platform uses them.
fn managed_dir() -> std::path::PathBuf {
    let from = |name: &str| std::env::var_os(name).map(std::path::PathBuf::from).filter(|p| p.is_absolute());
    let data = from("MYNA_RUNTIMES").or_else(|| Some(from("XDG_DATA_HOME")?.join("myna/runtimes")));
    data.or_else(|| Some(from("HOME")?.join(".local/share/myna/runtimes"))).unwrap_or_else(|| "/var/lib/myna/runtimes".into())
}

/// Resident bytes of this process.
fn rss() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = status.lines().find_map(|l| l.strip_prefix("VmRSS:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}
