//! A whole platform in memory, as a dialect sees it: rows, packages, logs and a function that answers what the test says. What
//! a dialect's `reconcile` returns becomes the catalogue at every commit, as on the real one.

use bytes::Bytes;
use model::{
    Ask, Call, Cause, Clock, Decision, Event, Expect, Failed, Fault, Function, Fut, InstanceId, InvocationId, Key, ModelOp, Mono,
    Outcome, Package, Reply, Resource, Target, TenantId, Unit, Write,
    access::{Authority, Principal},
    event::{Record, ReplyBody, ReplyHead, Trigger},
    log::{LogLine, LogRecord, Stream},
    ports::{
        Dialect, LogGroup, LogPage, LogQuery, LogStream, Logs, Observed, Packages, Platform, PlatformSettings, Policy, Queue,
        Records, Request, Resources, Response, Rows, Tenants, UsageHour,
    },
    queue::{Accept, Lane, NewEvent},
    sandbox::Tier,
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::{Semaphore, broadcast};

pub const ACCOUNT: &str = "000000000000";

/// What the function of a test answers, and what its log ends in.
pub struct Scripted {
    pub reply: Result<Reply, Fault>,
    pub tail: Option<Bytes>,
}

impl Scripted {
    pub fn json(body: impl Into<Bytes>) -> Self {
        let body = ReplyBody::Bytes(body.into());
        Self { reply: Ok(Reply { head: ReplyHead::default(), body }), tail: None }
    }
    pub fn fault(fault: Fault) -> Self {
        Self { reply: Err(fault), tail: None }
    }
}

type Script = Box<dyn Fn(&Target, Event) -> Result<Scripted, Fault> + Send + Sync>;
type Preparing = Box<dyn Fn(&Unit) -> Result<(), Fault> + Send + Sync>;

pub struct FakePlatform {
    settings: PlatformSettings,
    clock: Arc<FakeClock>,
    pub events: Arc<crate::queue::MemoryQueue>,
    rows: FakeRows,
    functions: Mutex<BTreeMap<(TenantId, String), Arc<Function>>>,
    dialect: OnceLock<Arc<dyn Dialect>>,
    script: Mutex<Script>,
    preparing: Mutex<Preparing>,
    /// Preparations pass only while this has room; a test that takes it all holds functions in `Pending`.
    pub gate: Semaphore,
    logs: FakeLogs,
    packages: FakePackages,
    pub observed: Mutex<Observed>,
    /// What every tenant may have.
    pub quota: Mutex<model::Quota>,
    /// Every unit that was prepared, in order.
    pub prepared: Mutex<Vec<Arc<Unit>>>,
}

const GATE: usize = 1000;

impl FakePlatform {
    /// A platform with this dialect started on it.
    pub async fn with(make: impl FnOnce(&PlatformSettings) -> Arc<dyn Dialect>) -> (Arc<Self>, Arc<dyn Dialect>) {
        let settings = PlatformSettings {
            region: Arc::from("us-east-1"),
            default_tenant: TenantId::new(ACCOUNT),
            aws_authority: Arc::from("127.0.0.1:9000"),
            aws_scheme: "http",
            tier: Tier::Process,
            event_retry_base: Duration::from_secs(60),
        };
        let dialect = make(&settings);
        let clock = Arc::new(FakeClock(AtomicU64::new(1_767_323_045_678)));
        let platform = Arc::new(Self {
            settings,
            events: crate::queue::MemoryQueue::new(clock.clone()),
            clock,
            rows: FakeRows::default(),
            functions: Mutex::default(),
            dialect: OnceLock::new(),
            script: Mutex::new(Box::new(|_, _| Ok(Scripted::json("null")))),
            preparing: Mutex::new(Box::new(|_| Ok(()))),
            gate: Semaphore::new(GATE),
            logs: FakeLogs { lines: Mutex::default(), sender: broadcast::channel(64).0 },
            packages: FakePackages,
            observed: Mutex::default(),
            quota: Mutex::default(),
            prepared: Mutex::default(),
        });
        platform.start(&dialect).await;
        (platform, dialect)
    }

    /// Start a dialect (again, as after a crash: the rows are those of before).
    pub async fn start(self: &Arc<Self>, dialect: &Arc<dyn Dialect>) {
        let _ = self.dialect.set(dialect.clone());
        dialect.start(self.clone()).await.expect("a dialect starts on a healthy platform");
    }

    pub fn answer(&self, script: impl Fn(&Target, Event) -> Result<Scripted, Fault> + Send + Sync + 'static) {
        *lock(&self.script) = Box::new(script);
    }
    pub fn prepares(&self, preparing: impl Fn(&Unit) -> Result<(), Fault> + Send + Sync + 'static) {
        *lock(&self.preparing) = Box::new(preparing);
    }
    /// No preparation ends from now on, until [`FakePlatform::release`].
    pub async fn hold(&self) {
        self.gate.acquire_many(u32::try_from(GATE).unwrap_or(u32::MAX)).await.expect("never closed").forget();
    }
    pub fn release(&self) {
        self.gate.add_permits(GATE);
    }
    pub fn log(&self, stream: &Arc<Stream>, record: LogRecord) {
        let line = LogLine { stream: stream.clone(), record };
        lock(&self.logs.lines).push(line.clone());
        let _ = self.logs.sender.send(line);
    }
    /// Rows as `reconcile` reads them.
    pub fn committed(&self) -> &dyn Rows {
        &self.rows
    }
    /// A function of the default tenant, as the catalogue has it.
    pub fn function(&self, name: &str) -> Arc<Function> {
        let found = Platform::function(self, &self.settings.default_tenant, name);
        found.unwrap_or_else(|| panic!("the catalogue has no function {name}"))
    }
    pub fn root(&self) -> Principal {
        Principal::Root { tenant: self.settings.default_tenant.clone() }
    }
}

/// Hand a request to a dialect as a gateway would.
pub async fn send(dialect: &Arc<dyn Dialect>, request: Request, principal: Principal, service: &str) -> Response {
    let verified = Authority::for_tests().vouch(request, principal, Arc::from(service));
    dialect.handle(verified).await
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Platform for FakePlatform {
    fn invoke(&self, target: Target, event: Event) -> Fut<'_, Result<Call, Fault>> {
        Box::pin(async move {
            let unit = self.check(&target, event.trigger)?;
            let (id, tail) = (event.id, event.tail);
            let scripted = (lock(&self.script))(&target, event)?;
            let outcome = Outcome { tail: scripted.tail.filter(|_| tail), ..Outcome::default() };
            let reply = scripted.reply.map_err(Failed::from);
            let (reply, free) = (Box::pin(async { reply }), Box::pin(async { outcome }));
            Ok(Call { id, unit, instance: Some(InstanceId::random()), reply, free })
        })
    }
    fn check(&self, target: &Target, _trigger: Trigger) -> Result<Arc<Unit>, Fault> {
        let missing = || Fault::not_found("no such function");
        let function = Platform::function(self, &target.tenant, target.function.as_str()).ok_or_else(missing)?;
        let wanted = target.qualifier.as_deref().unwrap_or("$LATEST");
        let version = function.aliases.get(wanted).map_or(wanted, |a| &a.version);
        function.versions.get(version).cloned().ok_or_else(missing)
    }
    fn prepare(&self, unit: Arc<Unit>) -> Fut<'_, Result<(), Fault>> {
        Box::pin(async move {
            let _pass = self.gate.acquire().await;
            let result = (lock(&self.preparing))(&unit);
            lock(&self.prepared).push(unit);
            result
        })
    }
    fn resources(&self) -> &dyn Resources {
        self
    }
    fn packages(&self) -> &dyn Packages {
        &self.packages
    }
    fn logs(&self) -> &dyn Logs {
        &self.logs
    }
    fn policy(&self) -> &dyn Policy {
        &Open
    }
    fn records(&self) -> &dyn Records {
        &Open
    }
    fn tenants(&self) -> &dyn Tenants {
        self
    }
    fn url(&self, id: &str) -> Option<(Arc<Function>, usize)> {
        let functions = lock(&self.functions);
        functions.values().find_map(|f| Some((f.clone(), f.urls.iter().position(|u| &*u.id == id)?)))
    }
    fn function(&self, tenant: &TenantId, name: &str) -> Option<Arc<Function>> {
        lock(&self.functions).get(&(tenant.clone(), name.to_owned())).cloned()
    }
    fn functions(&self, tenant: &TenantId) -> Vec<Arc<Function>> {
        lock(&self.functions).iter().filter(|(k, _)| k.0 == *tenant).map(|(_, f)| f.clone()).collect()
    }
    fn observed(&self, _: &TenantId, _: &str) -> Observed {
        lock(&self.observed).clone()
    }
    fn enqueue(&self, target: Target, event: Accept) -> Fut<'_, Result<InvocationId, Fault>> {
        Box::pin(async move {
            self.check(&target, Trigger::Invoke)?;
            let now = self.clock.wall_ms();
            let lane = Lane { tenant: target.tenant, function: target.function };
            let Accept { key, content_type, attributes, body, .. } = event;
            let qualifier = target.qualifier;
            let new = NewEvent { lane, qualifier, key, due_ms: now, expires_ms: now, hops: 0, content_type, attributes, body };
            self.events.put(new).await
        })
    }
    fn events(&self) -> &dyn Queue {
        &*self.events
    }
    fn clock(&self) -> &dyn Clock {
        &*self.clock
    }
    fn settings(&self) -> &PlatformSettings {
        &self.settings
    }
}

/// Both clocks step by a millisecond at every look, so that no two changes carry the same time.
struct FakeClock(AtomicU64);

impl Clock for FakeClock {
    fn mono(&self) -> Mono {
        Mono(self.0.load(Ordering::SeqCst) * 1_000_000)
    }
    fn wall_ms(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst)
    }
}

#[derive(Default)]
struct FakeRows(Mutex<(u64, BTreeMap<Key, Resource>)>);

impl Rows for FakeRows {
    fn get(&self, key: &Key) -> Option<Resource> {
        lock(&self.0).1.get(key).cloned()
    }
    fn list(&self, tenant: &TenantId, kind: &'static str, prefix: &str) -> Vec<Resource> {
        let rows = lock(&self.0);
        let fits = |k: &Key| k.tenant == *tenant && k.kind == kind && k.name.starts_with(prefix);
        rows.1.iter().filter(|r| fits(r.0)).map(|r| r.1.clone()).collect()
    }
}

impl FakeRows {
    fn apply(&self, writes: &[Write], now_ms: u64) -> Result<u64, Fault> {
        let mut rows = lock(&self.0);
        for write in writes {
            let (Write::Put { key, expect, .. } | Write::Delete { key, expect }) = write;
            let held = rows.1.get(key).map(|r| r.revision);
            let holds = match expect {
                Expect::Any => true,
                Expect::Absent => held.is_none(),
                Expect::Revision(revision) => held == Some(*revision),
            };
            if !holds {
                return Err(Fault::new(Cause::Stale, format!("{} {:?} has changed", key.kind, key.name)).detail(&*key.name));
            }
        }
        rows.0 += 1;
        let revision = rows.0;
        for write in writes {
            match write {
                Write::Put { key, body, .. } => {
                    let created_ms = rows.1.get(key).map_or(now_ms, |r| r.created_ms);
                    let row = Resource { key: key.clone(), revision, body: body.clone(), created_ms, modified_ms: now_ms };
                    rows.1.insert(key.clone(), row);
                }
                Write::Delete { key, .. } => {
                    rows.1.remove(key);
                }
            }
        }
        Ok(revision)
    }
}

impl Resources for FakePlatform {
    fn get(&self, key: &Key) -> Option<Resource> {
        Rows::get(&self.rows, key)
    }
    fn list(&self, tenant: &TenantId, kind: &'static str, prefix: &str, after: &str, limit: usize) -> Vec<Resource> {
        Rows::list(&self.rows, tenant, kind, prefix).into_iter().filter(|r| &*r.key.name > after).take(limit).collect()
    }
    fn commit(&self, writes: Vec<Write>) -> Fut<'_, Result<u64, Fault>> {
        Box::pin(async move {
            let revision = self.rows.apply(&writes, self.clock.wall_ms())?;
            let changed: Vec<Key> = writes.iter().map(|w| w.key().clone()).collect();
            let ops = self.dialect.get().map(|d| d.reconcile(&changed, &self.rows)).unwrap_or_default();
            let mut functions = lock(&self.functions);
            for op in ops {
                match op {
                    ModelOp::Put(f) => functions.insert((f.tenant.clone(), f.name.as_str().to_owned()), f),
                    ModelOp::Drop { tenant, name } => functions.remove(&(tenant, name.as_str().to_owned())),
                };
            }
            Ok(revision)
        })
    }
}

/// Whoever has rows is a tenant, with the usual quota.
impl Tenants for FakePlatform {
    fn all(&self) -> Vec<TenantId> {
        let rows = lock(&self.rows.0);
        let mut all: Vec<TenantId> = rows.1.keys().map(|key| key.tenant.clone()).collect();
        all.push(self.settings.default_tenant.clone());
        all.sort();
        all.dedup();
        all
    }
    fn quota(&self, _: &TenantId) -> model::Quota {
        *lock(&self.quota)
    }
    fn request(&self, _: &TenantId) -> Result<(), Duration> {
        Ok(())
    }
}

struct FakePackages;

impl Packages for FakePackages {
    /// Anything that begins as a zip archive does is one.
    fn put_zip(&self, _: &TenantId, archive: Bytes) -> Fut<'_, Result<Package, Fault>> {
        Box::pin(async move {
            if !archive.starts_with(b"PK") {
                return Err(Fault::invalid("not a zip archive"));
            }
            // FNV-1a, four times over: distinct for distinct content is all that is needed.
            let part = |seed: u64| archive.iter().fold(seed, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3));
            let digest: String = (1..=4).map(|i| format!("{:016x}", part(0xcbf2_9ce4_8422_2325 ^ i))).collect();
            let bytes = u64::try_from(archive.len()).unwrap_or(u64::MAX);
            Ok(Package::Unpacked { path: format!("/packages/{digest}").into(), digest: Arc::from(digest), bytes })
        })
    }
    /// As if nothing were compressed.
    fn unpacked_bytes(&self, _: &TenantId, _: &str) -> Option<u64> {
        Some(1000)
    }
    fn adopt(&self, _: &TenantId, package: &Package, to: &TenantId) -> Fut<'_, Result<Package, Fault>> {
        let Package::Unpacked { digest, bytes, .. } = package;
        let package =
            Package::Unpacked { path: format!("/packages/{to}/{digest}").into(), digest: digest.clone(), bytes: *bytes };
        Box::pin(async move { Ok(package) })
    }
    fn link(&self, _: &TenantId, digest: &str) -> Result<Arc<str>, Fault> {
        Ok(Arc::from(format!("capability-{digest}")))
    }
}

struct FakeLogs {
    lines: Mutex<Vec<LogLine>>,
    sender: broadcast::Sender<LogLine>,
}

impl Logs for FakeLogs {
    fn groups(&self, tenant: &TenantId, prefix: &str, after: &str, limit: usize) -> Vec<LogGroup> {
        let mut groups = BTreeMap::new();
        for line in lock(&self.lines).iter().filter(|l| l.stream.tenant == *tenant) {
            groups.entry(line.stream.group.clone()).or_insert(line.record.at_ms);
        }
        let wanted = groups.into_iter().filter(|g| g.0.starts_with(prefix) && &*g.0 > after).take(limit);
        wanted.map(|(name, created_ms)| LogGroup { name, created_ms, bytes: 0 }).collect()
    }
    fn streams(&self, tenant: &TenantId, group: &str) -> Vec<LogStream> {
        let mut streams: Vec<LogStream> = Vec::new();
        for line in lock(&self.lines).iter().filter(|l| l.stream.tenant == *tenant && &*l.stream.group == group) {
            let at = line.record.at_ms;
            match streams.iter_mut().find(|s| s.stream == line.stream) {
                Some(known) => known.last_ms = known.last_ms.max(at),
                None => streams.push(LogStream { stream: line.stream.clone(), created_ms: at, first_ms: at, last_ms: at }),
            }
        }
        streams
    }
    fn read(&self, query: LogQuery) -> Fut<'_, Result<LogPage, Fault>> {
        Box::pin(async move {
            let lines = lock(&self.lines);
            let fits = |l: &LogLine| {
                l.stream.tenant == query.tenant
                    && *l.stream.group == *query.group
                    && (query.streams.is_empty() || query.streams.iter().any(|s| **s == *l.stream.name))
                    && (query.from_ms..query.until_ms).contains(&l.record.at_ms)
                    && (query.id.is_none() || l.record.id == query.id)
            };
            let positioned = lines.iter().enumerate().map(|(i, l)| (i as u64 + 1, l)).filter(|(_, l)| fits(l));
            let mut found: Vec<_> = positioned.map(|(p, l)| (p, l.stream.clone(), l.record.clone())).collect();
            if query.backwards {
                found.reverse();
                found.retain(|f| query.after.is_none_or(|after| f.0 < after));
            } else {
                found.retain(|f| query.after.is_none_or(|after| f.0 > after));
            }
            let more = found.len() > query.limit;
            found.truncate(query.limit);
            let next = if more { found.last().map(|f| f.0) } else { None };
            Ok(LogPage { records: found, next })
        })
    }
    fn write(&self, lines: Vec<LogLine>) -> Fut<'_, Result<(), Fault>> {
        lock(&self.lines).extend(lines);
        Box::pin(async { Ok(()) })
    }
    fn remove(&self, tenant: &TenantId, group: &str, stream: Option<&str>) -> Fut<'_, Result<bool, Fault>> {
        let mut lines = lock(&self.lines);
        let before = lines.len();
        let gone = |s: &Stream| s.tenant == *tenant && *s.group == *group && stream.is_none_or(|name| *s.name == *name);
        lines.retain(|l| !gone(&l.stream));
        let any = lines.len() < before;
        Box::pin(async move { Ok(any) })
    }
    fn follow(&self, _: &TenantId, _: &[String]) -> Result<broadcast::Receiver<LogLine>, Fault> {
        Ok(self.sender.subscribe())
    }
}

/// Allows everything and remembers nothing.
struct Open;

impl Policy for Open {
    fn decide(&self, _: &Ask<'_>) -> Decision {
        Decision::Allow
    }
}

impl Records for Open {
    fn recent(&self, _: &TenantId, _: Option<&str>, _: usize) -> Vec<Record> {
        Vec::new()
    }
    fn find(&self, _: &TenantId, _: &model::InvocationId) -> Option<Record> {
        None
    }
    fn usage(&self, _: &TenantId, _: Option<&str>, _: u64) -> Vec<UsageHour> {
        Vec::new()
    }
    fn follow(&self) -> broadcast::Receiver<Arc<Record>> {
        broadcast::channel(1).1
    }
}

/// A wait that a test may make at most.
pub const PATIENCE: Duration = Duration::from_secs(10);
