//! The seams. Four of them carry the outside world (dialect, contract, sandbox, backend); the rest are what the platform
//! offers to them. Each is one small trait with a folder per implementation.
//!
//! Dropping the future of `create`, `start` or `open` undoes all that it began (process, mount, uid, claim).

use crate::{
    Ask, Because, BoxIo, Credential, Decision, DocumentKind, Event, Fault, Fut, InstanceId, InvocationId, Key, ModelOp,
    Principal, Resource, Target, TenantId, Unit, Verdict, Verified, Write,
    event::{Call, Record},
    log::{LogLine, LogRecord, Stream},
    queue::{Accept, Control, EventQuery, EventView, Finished, Lane, LaneView, NewEvent, Settled, Taken, Tell},
    sandbox::{Caps, Endpoint, Exit, Group, Leftover, Limits, Measured, Mount, ProcSpec, Signal, Spec},
};
use bytes::Bytes;
use std::{io, os::fd::OwnedFd, sync::Arc, time::Duration};

pub type Request = http::Request<RequestBody>;
pub type Response = http::Response<ResponseBody>;
/// A request's body as it arrives; limits were put on it by the gateway.
pub type RequestBody = crate::event::Body;
/// An answer's body: whole, or frames as they arrive.
pub type ResponseBody = crate::event::ReplyBody;

// ---------------------------------------------------------------------------------------------------------------- dialect

/// One outside system as Myna speaks it: bytes ⇄ model. No sockets, no sandbox, no contract, no database.
pub trait Dialect: Send + Sync {
    /// The folder's name; also the name of its door.
    fn name(&self) -> &'static str;
    /// Continue what was under way when the platform last stopped.
    fn start(&self, platform: Arc<dyn Platform>) -> Fut<'_, Result<(), Fault>>;
    /// Answer one request of the system's own API. Errors are answers too, in the system's own form.
    fn handle(&self, request: Verified<Request>) -> Fut<'_, Response>;
    /// What a request would change, in this system's own words; none for one that only reads, or calls a function. Asked of
    /// every request, before it is handled.
    fn changes(&self, request: &http::request::Parts, service: &str, body: &[u8]) -> Option<crate::audit::Act> {
        let _ = (request, service, body);
        None
    }
    /// Which kinds of rows are this dialect's.
    fn kinds(&self) -> &'static [&'static str];
    /// Changed or loaded rows → what the engine must know. `related` reads other rows of this dialect, as committed.
    fn reconcile(&self, changed: &[Key], related: &dyn Rows) -> Vec<ModelOp>;
    /// Changed or loaded rows → how long which log group keeps its records; without an age as long as all do.
    fn log_ages(&self, changed: &[Key], related: &dyn Rows) -> Vec<(TenantId, Arc<str>, Option<Duration>)> {
        let _ = (changed, related);
        Vec::new()
    }
    /// The word that is sent of an event's end, in this system's form; none where it has no such thing.
    fn outcome(&self, finished: &Finished<'_>) -> Option<Bytes> {
        let _ = finished;
        None
    }
    /// The answer to a request that the gateway refuses before any handler sees it.
    fn refuse(&self, request: &http::request::Parts, fault: &Fault) -> Response;
}

/// Committed rows, read without waiting.
pub trait Rows {
    fn get(&self, key: &Key) -> Option<Resource>;
    /// Rows of a kind whose names start with `prefix`, in order.
    fn list(&self, tenant: &TenantId, kind: &'static str, prefix: &str) -> Vec<Resource>;
}

/// All that a dialect may ask for.
pub trait Platform: Send + Sync {
    /// Authorise, resolve, admit, run.
    fn invoke(&self, target: Target, event: Event) -> Fut<'_, Result<Call, Fault>>;
    /// Authorise and check as for a call, and accept: the event is on stable storage when this returns its id.
    fn enqueue(&self, target: Target, event: Accept) -> Fut<'_, Result<InvocationId, Fault>>;
    /// Events that were accepted.
    fn events(&self) -> &dyn Queue;
    /// Everything that `invoke` checks, without running.
    fn check(&self, target: &Target, trigger: crate::event::Trigger) -> Result<Arc<Unit>, Fault>;
    /// Make sure that a unit could start: its runtime resolves, its package is whole.
    fn prepare(&self, unit: Arc<Unit>) -> Fut<'_, Result<(), Fault>>;
    fn resources(&self) -> &dyn Resources;
    fn packages(&self) -> &dyn Packages;
    fn logs(&self) -> &dyn Logs;
    fn policy(&self) -> &dyn Policy;
    fn records(&self) -> &dyn Records;
    fn tenants(&self) -> &dyn Tenants;
    /// The function that owns an HTTP address, and which of its [`crate::catalog::Function::urls`] it is.
    fn url(&self, id: &str) -> Option<(Arc<crate::Function>, usize)>;
    fn function(&self, tenant: &TenantId, name: &str) -> Option<Arc<crate::Function>>;
    /// Every function of a tenant, in no order.
    fn functions(&self, tenant: &TenantId) -> Vec<Arc<crate::Function>>;
    /// Of one function, or of all when `function` is empty.
    fn observed(&self, tenant: &TenantId, function: &str) -> Observed;
    /// Pass a request on to where the operator said that a service is which the platform lacks; `None` when nothing was said.
    /// Whoever calls this has authorised it.
    fn pass_on(&self, service: &str, request: http::Request<Bytes>) -> Option<Fut<'_, Response>> {
        let _ = (service, request);
        None
    }
    fn clock(&self) -> &dyn crate::Clock;
    fn settings(&self) -> &PlatformSettings;
}

/// Among the extensions of a request that came over TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Secure;

/// What the operator chose for the platform as a whole.
#[derive(Clone, Debug)]
pub struct PlatformSettings {
    pub region: Arc<str>,
    pub default_tenant: TenantId,
    /// The address that clients use for the AWS door: `127.0.0.1:9000`.
    pub aws_authority: Arc<str>,
    /// `https` where the AWS door speaks TLS, else `http`.
    pub aws_scheme: &'static str,
    pub tier: crate::sandbox::Tier,
    /// Between the first two attempts at an asynchronous invocation.
    pub event_retry_base: Duration,
}

/// What is really there, as against what was asked for.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Observed {
    pub instances: Vec<InstanceView>,
    pub waiting: usize,
    pub running: usize,
    /// Ready instances that provisioned concurrency keeps, by qualifier.
    pub provisioned_ready: std::collections::BTreeMap<Arc<str>, u32>,
    /// Qualifiers whose provisioned instances are not all started, and why.
    pub provisioned_failed: std::collections::BTreeMap<Arc<str>, NotKept>,
}

/// Why instances that are to be kept ready are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NotKept {
    /// They could not be initialised.
    Init,
    /// They would take more than the platform keeps ready altogether.
    TooLarge,
}

#[derive(Clone, Debug, serde::Serialize)]
pub struct InstanceView {
    pub id: InstanceId,
    pub function: crate::FunctionName,
    pub version: Arc<str>,
    pub tier: crate::sandbox::Tier,
    /// `starting`, `busy`, `idle`, `frozen`.
    pub state: &'static str,
    pub provisioned: bool,
    pub memory_bytes: u64,
    pub age: Duration,
    pub calls: u64,
}

/// Versioned rows.
pub trait Resources: Send + Sync {
    fn get(&self, key: &Key) -> Option<Resource>;
    /// Rows of a kind whose names are greater than `after` and start with `prefix`, at most `limit`, in order.
    fn list(&self, tenant: &TenantId, kind: &'static str, prefix: &str, after: &str, limit: usize) -> Vec<Resource>;
    /// All or none. On success the rows are on stable storage and the catalogue shows them. A failed [`crate::Expect`] is
    /// [`crate::Cause::Stale`] with the row's name as its detail.
    fn commit(&self, writes: Vec<Write>) -> Fut<'_, Result<u64, Fault>>;
}

/// Code packages, by content, per tenant.
pub trait Packages: Send + Sync {
    /// Check and unpack an archive. The same content is stored once per tenant. Nothing of a refused archive remains.
    fn put_zip(&self, tenant: &TenantId, archive: Bytes) -> Fut<'_, Result<crate::Package, Fault>>;
    /// One tenant's package for another one, to whom the first gives it: stored and unpacked once more.
    fn adopt(&self, from: &TenantId, package: &crate::Package, to: &TenantId) -> Fut<'_, Result<crate::Package, Fault>>;
    /// Bytes of what a package unpacks to; `None` when it isn't there.
    fn unpacked_bytes(&self, tenant: &TenantId, digest: &str) -> Option<u64>;
    /// A capability that reads the archive until it expires.
    fn link(&self, tenant: &TenantId, digest: &str) -> Result<Arc<str>, Fault>;
}

/// Logs: what functions print goes through the engine, what anybody else writes comes here.
pub trait Logs: Send + Sync {
    /// Write records, each to its stream, in this order: they can be read when this returns.
    fn write(&self, lines: Vec<LogLine>) -> Fut<'_, Result<(), Fault>>;
    /// Remove a group, or of one all records of a stream; whether there was any.
    fn remove(&self, tenant: &TenantId, group: &str, stream: Option<&str>) -> Fut<'_, Result<bool, Fault>>;
    /// Groups whose names start with `prefix`, greater than `after`, in order, at most `limit`.
    fn groups(&self, tenant: &TenantId, prefix: &str, after: &str, limit: usize) -> Vec<LogGroup>;
    /// All streams of a group.
    fn streams(&self, tenant: &TenantId, group: &str) -> Vec<LogStream>;
    /// Records in order of arrival.
    fn read(&self, query: LogQuery) -> Fut<'_, Result<LogPage, Fault>>;
    /// Records from now on. Slow readers lose the oldest and are told how many. Refused with [`crate::Cause::Exhausted`] when as
    /// many follow as may.
    fn follow(&self, tenant: &TenantId, groups: &[String]) -> Result<tokio::sync::broadcast::Receiver<LogLine>, Fault>;
}

#[derive(Clone, Debug)]
pub struct LogGroup {
    pub name: Arc<str>,
    pub created_ms: u64,
    pub bytes: u64,
}

#[derive(Clone, Debug)]
pub struct LogStream {
    pub stream: Arc<Stream>,
    pub created_ms: u64,
    /// Of the earliest and the latest record; `u64::MAX` and 0 while there is none.
    pub first_ms: u64,
    pub last_ms: u64,
}

#[derive(Clone, Debug)]
pub struct LogQuery {
    pub tenant: TenantId,
    pub group: String,
    /// Empty: every stream of the group.
    pub streams: Vec<String>,
    /// Inclusive, milliseconds since the Unix epoch.
    pub from_ms: u64,
    /// Exclusive.
    pub until_ms: u64,
    pub id: Option<InvocationId>,
    /// Where an earlier page ended; opaque.
    pub after: Option<u64>,
    pub limit: usize,
    /// Newest first.
    pub backwards: bool,
}

#[derive(Clone, Debug, Default)]
pub struct LogPage {
    /// Each with its position, which `after` of the next query may name.
    pub records: Vec<(u64, Arc<Stream>, LogRecord)>,
    /// Set when there is more.
    pub next: Option<u64>,
}

/// Finished invocations and what they cost.
pub trait Records: Send + Sync {
    /// The newest first, of one function or of all.
    fn recent(&self, tenant: &TenantId, function: Option<&str>, limit: usize) -> Vec<Record>;
    fn find(&self, tenant: &TenantId, id: &InvocationId) -> Option<Record>;
    /// Sums per function and hour, from the given hour on (hours since the Unix epoch), oldest first.
    fn usage(&self, tenant: &TenantId, function: Option<&str>, from_hour: u64) -> Vec<UsageHour>;
    /// Records from now on.
    fn follow(&self) -> tokio::sync::broadcast::Receiver<Arc<Record>>;
}

/// What one function cost in one hour.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct UsageHour {
    pub function: String,
    /// Hours since the Unix epoch.
    pub hour: u64,
    pub invocations: u64,
    pub errors: u64,
    pub cold_starts: u64,
    pub billed_ms: u64,
    pub gb_seconds: f64,
    pub memory_max_bytes: u64,
}

/// Who owns what is here. Read without waiting.
pub trait Tenants: Send + Sync {
    /// All of them, the default one among them, in no order.
    fn all(&self) -> Vec<TenantId>;
    /// What a tenant may have; of one that isn't there, nothing.
    fn quota(&self, tenant: &TenantId) -> crate::Quota;
    /// One request of the control plane; or how long it is too early for one.
    fn request(&self, tenant: &TenantId) -> Result<(), Duration>;
}

/// Who may do what. Pure: documents in, decision out.
pub trait Policy: Send + Sync {
    fn decide(&self, ask: &Ask<'_>) -> Decision;
    /// As [`Policy::decide`], with the reason of a denial.
    fn explain(&self, ask: &Ask<'_>) -> Verdict {
        Verdict { decision: self.decide(ask), because: Because::Identity }
    }
    /// Is this a document that the evaluator can read, and of this kind? The error names the place and the problem.
    fn validate(&self, document: &str, kind: DocumentKind) -> Result<(), String> {
        let _ = (document, kind);
        Ok(())
    }
}

/// Keys and what they stand for.
pub trait Identities: Send + Sync {
    fn credential(&self, access_key_id: &str) -> Option<Credential>;
}

/// Events that were accepted and have not ended. One implementation is a log on this machine's disk; a broker may take its place.
pub trait Queue: Send + Sync {
    /// Accept an event: it is on stable storage when this returns its id. Refused with [`crate::Cause::Exhausted`] when the
    /// disk is full or slower than what comes in.
    fn put(&self, event: NewEvent) -> Fut<'_, Result<InvocationId, Fault>>;
    /// Up to `limit` events of a lane that are due, those due first first. They stay taken until they are settled or released,
    /// or until this process ends; of each key at most one is taken. Also when the next one falls due that is not yet.
    fn take(&self, lane: &Lane, limit: usize) -> Fut<'_, Result<Taken, Fault>>;
    /// What became of a taken event, and the events that follow from it (to destinations), all or nothing. Nobody has to wait:
    /// lost with the process, the event is offered again.
    fn settle(&self, seq: u64, settled: Settled, then: Vec<NewEvent>) -> Fut<'_, Result<(), Fault>>;
    /// A taken event was not tried and may be taken again.
    fn release(&self, seq: u64);
    /// Lanes that hold events which have not ended, and paused ones.
    fn lanes(&self) -> Vec<(Lane, LaneView)>;
    /// One of them.
    fn lane(&self, lane: &Lane) -> Option<LaneView>;
    /// Told of lanes in which something became due or changed; set once.
    fn on_change(&self, tell: Tell);
    /// In force when it returns; whatever was accepted or settled before can be read then.
    fn control(&self, lane: &Lane, control: Control) -> Fut<'_, Result<(), Fault>>;
    /// Dead letters wait again as if they had just been accepted, to expire after this many milliseconds; gives how many.
    fn redrive(&self, lane: &Lane, only: Option<InvocationId>, age_ms: u64) -> Fut<'_, Result<u64, Fault>>;
    /// One that waits will not run. `false` when it has ended or runs.
    fn cancel(&self, tenant: &TenantId, id: InvocationId) -> Fut<'_, Result<bool, Fault>>;
    fn find(&self, tenant: &TenantId, id: InvocationId) -> Fut<'_, Result<Option<EventView>, Fault>>;
    /// The body of one that has not ended, or of a dead letter.
    fn body(&self, tenant: &TenantId, id: InvocationId) -> Fut<'_, Result<Option<Bytes>, Fault>>;
    fn list(&self, query: EventQuery) -> Fut<'_, Result<Vec<EventView>, Fault>>;
}

// --------------------------------------------------------------------------------------------------------------- contract

/// How the platform talks to an instance: one invocation ⇄ bytes. Written against [`Link`], never against a socket of the
/// host, so that the same code runs where the instance is a virtual machine.
pub trait Contract: Send + Sync {
    fn name(&self) -> &'static str;
    /// What to start. `unit` is `None` for an instance that will be bound later; a runtime that can't do that says so.
    fn plan(&self, runtime: &Runtime, unit: Option<&Unit>, about: &InstanceFacts) -> Result<StartPlan, Fault>;
    /// Whether this unit can be given to an instance that was started without one; if not, why.
    fn bindable(&self, unit: &Unit) -> Result<(), String> {
        let _ = unit;
        Err("this contract starts every instance with its code".into())
    }
    /// Talk to what was started; returns as soon as it can be heard, which is before it is ready.
    fn open(&self, access: Arc<dyn Link>, unit: Option<Arc<Unit>>, host: Arc<dyn Host>) -> Fut<'_, Result<Opening, Fault>>;
}

/// A session whose runtime initialises. What runs beside it may be told of the end already.
pub struct Opening {
    pub session: Arc<dyn Session>,
    /// Resolves when it is ready for a call, or for [`Session::bind`] when there is no unit yet, or why it never will be.
    pub ready: Fut<'static, Result<(), Fault>>,
}

impl Opening {
    /// The session, once it is ready.
    pub async fn finish(self) -> Result<Arc<dyn Session>, Fault> {
        self.ready.await?;
        Ok(self.session)
    }
}

/// What a contract may put into an instance's environment.
#[derive(Clone, Debug)]
pub struct InstanceFacts {
    pub id: InstanceId,
    pub region: Arc<str>,
    pub log_stream: Arc<str>,
    /// `on-demand`, `provisioned-concurrency`.
    pub initialization: &'static str,
    /// The instance's own session, valid on its own socket only.
    pub credential: Option<Credential>,
}

/// A language environment, found on this machine.
#[derive(Clone, Debug)]
pub struct Runtime {
    /// As the function named it.
    pub name: Arc<str>,
    /// What was found: `CPython 3.12.1`.
    pub found: Arc<str>,
    /// Where, and why there.
    pub origin: Arc<str>,
    pub mounts: Vec<Mount>,
    /// What starts the language's loop when the package brings no client of its own; empty for `provided`.
    pub argv: Vec<String>,
    /// Added to the environment.
    pub env: Vec<(String, String)>,
    /// It can start without code and be bound later.
    pub bindable: bool,
    /// Libraries that come with it: name and version.
    pub libraries: Vec<(String, String)>,
    /// What differs from the original (`java21 runs on 25`).
    pub notes: Vec<String>,
}

/// What an instance needs, apart from its tier.
#[derive(Clone, Debug)]
pub struct StartPlan {
    /// The first is the runtime; with it the instance lives and dies. The others start before it, and it when the contract says
    /// that they are ready for it ([`Host::begin`]).
    pub processes: Vec<ProcSpec>,
    pub mounts: Vec<Mount>,
    pub listens: Vec<Endpoint>,
}

/// What a contract may ask of the platform, for its own instance.
pub trait Host: Send + Sync {
    /// A request that is not the contract's own goes to the gateway, with this instance's role as principal.
    fn plane(&self, request: Request) -> Fut<'_, Response>;
    fn clock(&self) -> &dyn crate::Clock;
    /// As [`InstanceFacts::initialization`].
    fn initialization(&self) -> &'static str {
        "on-demand"
    }
    /// What starts before the runtime is ready for it.
    fn begin(&self) {}
    /// Tell this what the instance writes and what is noted of it, from the beginning of its processes on.
    fn hear(&self, hears: Arc<dyn Hears>) {
        let _ = hears;
    }
}

/// Hears what an instance writes and what the platform notes of it. Never waited for.
pub trait Hears: Send + Sync {
    fn line(&self, from: Writer, record: &LogRecord);
}

/// Who wrote a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    Platform,
    Function,
    Extension,
}

/// Cuts what an instance writes into log lines.
pub trait Framer: Send {
    /// Bytes as they came; each finished line goes to `out`.
    fn push(&mut self, bytes: &[u8], out: &mut dyn FnMut(FramedLine));
    /// The pipe is closed, or the invocation is over: an unfinished line goes out as it is.
    fn flush(&mut self, out: &mut dyn FnMut(FramedLine));
}

/// One line of user output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FramedLine {
    pub text: Bytes,
    /// Only where the runtime framed it.
    pub level: Option<Arc<str>>,
    /// Milliseconds since the Unix epoch, where the runtime said.
    pub at_ms: Option<u64>,
}

/// A way to addresses inside one instance.
pub trait Link: Send + Sync {
    fn dial(&self, to: &Endpoint) -> Fut<'_, io::Result<BoxIo>>;
    /// A listener that the [`Spec`] asked for.
    fn listen(&self, at: &Endpoint) -> Fut<'_, io::Result<Box<dyn Listener>>>;
}

pub trait Listener: Send + Sync {
    fn accept(&self) -> Fut<'_, io::Result<BoxIo>>;
}

/// One process generation of an instance, being talked to.
pub trait Session: Send + Sync {
    fn slots(&self) -> Slots;
    /// Hand over one event. The returned futures only watch; `free` resolves when the slot may be used again.
    fn call(&self, event: Event) -> SessionCall;
    /// Give an unbound instance its unit; returns when user code is initialised.
    fn bind(&self, unit: Arc<Unit>, facts: &InstanceFacts) -> Fut<'_, Result<(), Fault>>;
    /// The runtime is gone (or is about to be killed): whatever waits for it fails with this.
    fn close(&self, fault: Fault);
    /// Who is to hear of the end before it comes.
    fn beside(&self) -> Beside {
        Beside::default()
    }
    /// The end comes, at this moment (milliseconds since the Unix epoch) at the latest.
    fn goodbye(&self, why: Goodbye, deadline_ms: u64) {
        let _ = (why, deadline_ms);
    }
}

/// What runs beside a runtime, or in it, and is told of the end.
#[derive(Clone, Debug, Default)]
pub struct Beside {
    /// What all together get to end by themselves; nothing where there is nobody.
    pub budget: Duration,
    /// The runtime's share of it.
    pub runtime: Duration,
    /// Who is waited for.
    pub waits: Vec<Group>,
}

/// Why an instance's processes are ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goodbye {
    /// It isn't needed any more.
    Spindown,
    /// A call took longer than it may.
    Timeout,
    /// The runtime, or what runs beside it, failed.
    Failure,
}

/// A call as its session sees it; the engine adds what it alone knows and makes a [`Call`] of it.
pub struct SessionCall {
    pub reply: Fut<'static, Result<crate::Reply, crate::Failed>>,
    /// The runtime is ready for the next event, or never will be.
    pub free: Fut<'static, SlotEnd>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SlotEnd {
    /// Ready for the next.
    Free,
    /// Ready for the next, after user code reported a failure of this type.
    FreeAfterError(String),
    /// The instance must not be used again; why.
    Spent(String),
    /// As `Spent`, and no byte of the event reached user code: the reply fails with [`crate::Failed::undelivered`].
    Undelivered,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slots {
    One,
    Bounded(u32),
    Unbounded,
}

// ---------------------------------------------------------------------------------------------------------------- sandbox

/// Asked before folders of the host become an instance's: whether what lies there is what was put there.
pub trait Sources: Send + Sync {
    /// `None` when all of them are known to be whole, so that nobody waits for a look; else what looks, and mends or refuses.
    fn check<'a>(&'a self, mounts: &'a [Mount]) -> Option<Fut<'a, Result<(), Fault>>>;
}

/// One tier of isolation.
pub trait Sandbox: Send + Sync {
    fn caps(&self) -> Caps;
    fn create(&self, spec: &Spec) -> Fut<'_, Result<Box<dyn Instance>, Fault>>;
    /// Remove what an earlier life of the platform left behind.
    fn sweep(&self) -> Fut<'_, Vec<Leftover>>;
}

/// One running sandbox. Dropping it kills it and everything inside.
pub trait Instance: Send + Sync {
    fn link(&self) -> Arc<dyn Link>;
    fn spawn(&self, process: ProcSpec) -> Fut<'_, Result<Proc, Fault>>;
    /// Kill a group and wait until none of it is left; the sandbox, its `/tmp` and its network stay.
    fn kill_group(&self, group: Group) -> Fut<'_, Result<(), Fault>>;
    /// Signal a group; one that has ended is no error.
    fn signal(&self, group: Group, signal: Signal) -> Fut<'_, Result<(), Fault>> {
        let _ = (group, signal);
        Box::pin(async { Err(Fault::new(crate::Cause::Unsupported, "this sandbox signals nothing")) })
    }
    /// Code and limits that arrive after the start.
    fn attach(&self, mounts: Vec<Mount>, limits: Limits) -> Fut<'_, Result<(), Fault>>;
    /// CPU while initialising differs from CPU while serving.
    fn limit(&self, limits: Limits) -> Fut<'_, Result<(), Fault>>;
    fn freeze(&self, on: bool) -> Fut<'_, Result<(), Fault>>;
    /// What is known of its use, without waiting.
    fn measure(&self) -> Measured;
    /// Resolves when nothing of the instance is left.
    fn kill(&self) -> Fut<'_, Exit>;
}

/// A process inside an instance.
pub struct Proc {
    /// Resolves when it has ended.
    pub exited: Fut<'static, Exit>,
    /// What it writes to its standard output and error, in the order written (one pipe).
    pub output: OwnedFd,
    /// Framed log records, when [`ProcSpec::log_frames_env`] asked for them.
    pub frames: Option<OwnedFd>,
}

// ---------------------------------------------------------------------------------------------------------------- backend

/// Where instances are placed: this node, or a cluster.
pub trait Backend: Send + Sync {
    fn name(&self) -> &'static str;
    /// What may still be started.
    fn capacity(&self) -> Capacity;
    /// Start one; what it needs was reserved before. May take seconds and fail late.
    fn start(&self, tier: crate::sandbox::Tier, spec: Spec) -> Fut<'_, Result<Box<dyn Instance>, Fault>>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Capacity {
    pub memory_bytes: u64,
    pub instances: u64,
}

// --------------------------------------------------------------------------------------------------------------- journal

/// Where finished work is written down. Never waited for: a full journal drops and counts.
pub trait Journal: Send + Sync {
    fn line(&self, line: LogLine);
    fn record(&self, record: Record);
}

/// The caller on whose behalf a request arrives over an instance's own socket.
#[derive(Clone, Debug)]
pub struct InstanceCaller {
    pub principal: Principal,
    pub credential: Credential,
    pub hops: u32,
}
