//! Everything that an engine needs, and the test's hands on it.

use super::{
    machine::{Machine, Shared},
    runtime::{Handed, Init, Scripted},
};
use crate::{Engine, KeepAlive, Parts, Runtimes, pools};
use bytes::Bytes;
use model::{
    Ask, Body, Call, Clock, Decision, Event, Failed, Fault, Function, Head, ModelOp, Mono, Outcome, Principal, Reply, ReplyBody,
    RevisionId, Target, Unit,
    catalog::Actions,
    event::{Record, Trigger},
    log::{Line, LogLine, LogRecord, Stream},
    ports::{Contract, FramedLine, Framer, Journal, Policy, Runtime, Slots},
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::mpsc;

pub const MS: Duration = Duration::from_millis(1);
pub const SECOND: Duration = Duration::from_secs(1);

pub struct Rig {
    pub engine: Arc<Engine>,
    pub machine: Arc<Machine>,
    pub contract: Arc<Scripted>,
    pub book: Arc<Book>,
    pub rules: Arc<Rules>,
    pub function: Arc<Function>,
    handed: mpsc::UnboundedReceiver<Handed>,
}

/// Lines and records as they were written down.
#[derive(Default)]
pub struct Book {
    pub lines: Mutex<Vec<LogRecord>>,
    pub records: Mutex<Vec<Record>>,
}

impl Journal for Book {
    fn line(&self, line: LogLine) {
        self.lines.lock().unwrap().push(line.record);
    }
    fn record(&self, record: Record) {
        self.records.lock().unwrap().push(record);
    }
}

/// Allows what it is told to allow and remembers what it was asked.
pub struct Rules {
    pub allow: Mutex<bool>,
    pub asked: Mutex<Vec<String>>,
}

impl Policy for Rules {
    fn decide(&self, ask: &Ask<'_>) -> Decision {
        self.asked.lock().unwrap().push(format!("{} {}", ask.action, ask.resource));
        if *self.allow.lock().unwrap() { Decision::Allow } else { Decision::ImplicitDeny }
    }
}

struct Simulated(tokio::time::Instant);

impl Clock for Simulated {
    fn mono(&self) -> Mono {
        Mono(1) + self.0.elapsed()
    }
    fn wall_ms(&self) -> u64 {
        1_800_000_000_000 + u64::try_from(self.0.elapsed().as_millis()).unwrap()
    }
}

struct OneRuntime;

impl Runtimes for OneRuntime {
    fn resolve(&self, name: &str) -> Result<Arc<Runtime>, Fault> {
        Ok(Arc::new(Runtime {
            name: name.into(),
            found: "double".into(),
            origin: "test".into(),
            mounts: Vec::new(),
            argv: Vec::new(),
            env: Vec::new(),
            bindable: false,
            libraries: Vec::new(),
            notes: Vec::new(),
        }))
    }
}

struct Lines(Vec<u8>);

impl Framer for Lines {
    fn push(&mut self, bytes: &[u8], out: &mut dyn FnMut(FramedLine)) {
        self.0.extend_from_slice(bytes);
        while let Some(at) = self.0.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = self.0.drain(..=at).collect();
            out(FramedLine { text: Bytes::copy_from_slice(&line[..at]), level: None, at_ms: None });
        }
    }
    fn flush(&mut self, out: &mut dyn FnMut(FramedLine)) {
        if !self.0.is_empty() {
            out(FramedLine { text: std::mem::take(&mut self.0).into(), level: None, at_ms: None });
        }
    }
}

/// A record in a word or two.
pub fn brief(record: &LogRecord) -> String {
    match &record.line {
        Line::Text { text, .. } => String::from_utf8_lossy(text).into_owned(),
        Line::InitStart { .. } => "INIT".into(),
        Line::Start { .. } => "START".into(),
        Line::End => "END".into(),
        Line::Report { status, .. } => format!("REPORT {status:?}"),
        Line::Platform { text } => text.to_string(),
        Line::Opened => "OPENED".into(),
    }
}

impl Rig {
    pub async fn new() -> Rig {
        Rig::with(|_, _, _| {}).await
    }

    /// With a function, its unit and an operator's numbers as the test wants them.
    pub async fn with(set: impl FnOnce(&mut Function, &mut Unit, &mut pools::Config)) -> Rig {
        let (machine, book) = (Arc::new(Machine::default()), Arc::new(Book::default()));
        let rules = Arc::new(Rules { allow: Mutex::new(true), asked: Mutex::default() });
        let (sender, handed) = mpsc::unbounded_channel();
        let contract = Arc::new(Scripted {
            inits: Mutex::default(),
            always: Mutex::new(|| Init::Ready(Duration::ZERO)),
            slots: Mutex::new(Slots::One),
            beside: Mutex::default(),
            goodbyes: Arc::default(),
            handed: sender,
        });
        let mut config = pools::tests::config(4096);
        config.keep_alive = KeepAlive::Fixed(300 * SECOND);
        let mut unit = Unit::clone(&pools::tests::unit("t", "f", 128, Slots::One));
        unit.contract = "scripted";
        let mut function = Function {
            tenant: "t".into(),
            name: "f".into(),
            dialect: "d",
            resource_name: "arn:f".into(),
            versions: BTreeMap::new(),
            aliases: BTreeMap::new(),
            concurrency: Default::default(),
            policies: BTreeMap::new(),
            urls: Vec::new(),
            entry: "".into(),
            doors: Vec::new(),
            actions: Actions { invoke: "d:Invoke", url: "d:InvokeUrl" },
            events: Default::default(),
        };
        set(&mut function, &mut unit, &mut config);
        function.versions.insert("$LATEST".into(), Arc::new(unit));
        let parts = Parts {
            clock: Arc::new(Simulated(tokio::time::Instant::now())),
            backend: Arc::new(Shared(machine.clone())),
            contracts: HashMap::from([("scripted", contract.clone() as Arc<dyn Contract>)]),
            runtimes: Arc::new(OneRuntime),
            policy: rules.clone(),
            journal: book.clone(),
            framer: |_| Box::new(Lines(Vec::new())),
            format: |_: &Stream, record| Some(brief(record)),
            chance: || 0.5,
            region: "r".into(),
            cpus: 2,
            mib_per_cpu: 1769,
            unbound: 0,
        };
        let engine = Engine::new(parts, config);
        tokio::spawn(engine.clone().housekeep(model::Pulse::alone()));
        let mut rig = Rig { engine, machine, contract, book, rules, function: Arc::new(function), handed };
        rig.deploy(|_| {});
        rig
    }

    /// The function, changed.
    pub fn deploy(&mut self, change: impl FnOnce(&mut Function)) {
        let mut function = Function::clone(&self.function);
        change(&mut function);
        self.function = Arc::new(function);
        self.engine.apply(vec![ModelOp::Put(self.function.clone())]);
    }
    /// As new code.
    pub fn update(&mut self) {
        self.deploy(|f| {
            let unit = Unit { revision: RevisionId::random(), ..Unit::clone(&f.versions["$LATEST"]) };
            f.versions.insert("$LATEST".into(), Arc::new(unit));
        });
    }

    pub fn target(&self) -> Target {
        let caller = Principal::Root { tenant: "t".into() };
        Target { tenant: "t".into(), function: "f".into(), qualifier: None, door: "d", caller, context: Vec::new() }
    }
    pub fn event(&self) -> Event {
        Event::new(&self.target(), Trigger::Invoke, Head::Raw { content_type: None }, Body::Bytes(Bytes::from_static(b"{}")))
    }
    pub async fn invoke(&self) -> Result<Call, Fault> {
        self.engine.invoke(self.target(), self.event()).await
    }
    /// A call on its way, in a task of its own.
    pub fn call(&self) -> tokio::task::JoinHandle<(Result<Reply, Failed>, Outcome)> {
        let (engine, target, event) = (self.engine.clone(), self.target(), self.event());
        tokio::spawn(async move {
            match engine.invoke(target, event).await {
                Ok(call) => (call.reply.await, call.free.await),
                Err(fault) => (Err(fault.into()), Outcome::default()),
            }
        })
    }
    /// The next event that reaches user code.
    pub async fn handed(&mut self) -> Handed {
        tokio::time::timeout(3600 * SECOND, self.handed.recv()).await.expect("no event came").unwrap()
    }
    /// No event is in user code's hands that wasn't taken from them.
    pub fn nothing_handed(&mut self) -> bool {
        self.handed.try_recv().is_err()
    }
    /// Another function, with the same unit's settings.
    pub fn also(&self, name: &str) {
        let mut function = Function::clone(&self.function);
        function.name = name.into();
        let unit = Unit { revision: RevisionId::random(), function: name.into(), ..Unit::clone(&function.versions["$LATEST"]) };
        function.versions.insert("$LATEST".into(), Arc::new(unit));
        self.engine.apply(vec![ModelOp::Put(Arc::new(function))]);
    }
    /// One whole call that succeeds.
    pub async fn round(&mut self) {
        let call = self.call();
        self.handed().await.finish("ok");
        assert_eq!(text(call.await.unwrap().0), "ok");
    }

    /// Waiting and running.
    pub fn load(&self) -> (usize, usize) {
        self.engine.lock().pools.load(&("t".into(), "f".into()))
    }
    pub fn last(&self) -> Record {
        self.book.records.lock().unwrap().last().unwrap().clone()
    }
    pub fn lines(&self) -> Vec<String> {
        self.book.lines.lock().unwrap().iter().map(brief).collect()
    }
    /// No call is counted anywhere, and after the keep-alive nothing is left.
    pub async fn assert_nothing_leaks(&mut self) {
        tokio::time::sleep(MS).await;
        assert_eq!((self.load(), self.engine.in_flight()), ((0, 0), 0), "calls are counted that are over");
        tokio::time::sleep(400 * SECOND).await;
        assert_eq!(self.engine.totals(), (0, 0, 0), "instances are left: {:?}", self.machine.done());
        assert_eq!(self.machine.count("create"), self.machine.count("kill "));
    }
}

pub fn text(reply: Result<Reply, Failed>) -> String {
    match reply.map(|r| r.body) {
        Ok(ReplyBody::Bytes(bytes)) => String::from_utf8(bytes.into()).unwrap(),
        Ok(ReplyBody::Stream(_)) => "a stream".into(),
        Err(failed) => format!("{}: {}", failed.fault.cause.name(), failed.fault.message),
    }
}
