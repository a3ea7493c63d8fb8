//! The Telemetry API (2022-07-01) and the older Logs API (2020-08-15): extensions subscribe to what the function writes, what they
//! write themselves, and what the platform notes of both (developer guide, "Lambda Telemetry API" and its schema reference).
//!
//! What is subscribed to is delivered over the instance's own loopback, by a socket of its own network, whatever the subscriber named:
//! nothing outside can be reached by it. A subscriber that is slow or frozen loses what its buffer can't hold, and is told how much.

mod api;
mod buffer;
mod deliver;
mod events;

pub(super) use api::subscribe;

use super::next::Bound;
use buffer::Subscription;
use bytes::Bytes;
use events::{Event, Of};
use model::{
    Fault, InvocationId, Mono,
    log::{Line, LogRecord, Status},
    ports::{Hears, Host, Writer},
};
use serde_json::{Value, json};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

/// Bytes of an initialisation's events that are kept for who subscribes later in it.
const EARLY_BYTES_MAX: usize = 512 * 1024;

/// Everything that is subscribed to in one instance.
pub(super) struct Hub {
    bound: Arc<Bound>,
    /// Not strongly: the instance holds this.
    host: Weak<dyn Host>,
    heard: Mutex<Heard>,
}

struct Heard {
    subscribers: Vec<Arc<Subscription>>,
    tasks: Vec<tokio::task::AbortHandle>,
    /// While somebody may still subscribe.
    early: Option<(Vec<Event>, usize)>,
    /// How the runtime ended the last call that it ended.
    last: Option<(InvocationId, &'static str, Option<String>)>,
}

impl Hub {
    pub fn new(bound: Arc<Bound>, host: &Arc<dyn Host>) -> Arc<Hub> {
        let heard = Heard { subscribers: Vec::new(), tasks: Vec::new(), early: Some((Vec::new(), 0)), last: None };
        Arc::new(Hub { bound, host: Arc::downgrade(host), heard: Mutex::new(heard) })
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        self.host.upgrade().map_or(0, |host| host.clock().wall_ms())
    }

    fn add(&self, subscription: Arc<Subscription>, task: tokio::task::AbortHandle) {
        let mut heard = self.heard();
        for event in heard.early.iter().flat_map(|e| &e.0) {
            subscription.push(event);
        }
        heard.subscribers.push(subscription);
        heard.tasks.push(task);
    }

    fn push(&self, event: Event) {
        let mut heard = self.heard();
        for subscription in &heard.subscribers {
            subscription.push(&event);
        }
        if let Some((early, bytes)) = heard.early.as_mut().filter(|e| e.1 + event.text.len() <= EARLY_BYTES_MAX) {
            *bytes += event.text.len();
            early.push(event);
        }
    }

    /// Something that the platform notes now.
    pub fn note(&self, kind: &'static str, record: Value) {
        self.push(Event::new(self.now_ms(), Of::Platform, kind, record));
    }

    /// The runtime has its event.
    pub fn started(&self, id: InvocationId, trace: &str) {
        let tracing = json!({ "type": "X-Amzn-Trace-Id", "value": trace });
        self.note("platform.start", json!({ "requestId": id.to_string(), "version": self.bound.version, "tracing": tracing }));
    }

    /// The runtime is done with an event: well, or with a failure of this type.
    pub fn runtime_done(&self, id: InvocationId, failed: Option<&str>) {
        let status = if failed.is_some() { "error" } else { "success" };
        self.done(id, status, failed.map(str::to_owned));
    }

    fn done(&self, id: InvocationId, status: &'static str, error: Option<String>) {
        let mut record = json!({ "requestId": id.to_string(), "status": status });
        if let Some(kind) = &error {
            record["errorType"] = kind.as_str().into();
        }
        self.heard().last = Some((id, status, error));
        self.note("platform.runtimeDone", record);
    }

    fn initialization(&self) -> &'static str {
        self.host.upgrade().map_or("on-demand", |host| host.initialization())
    }

    /// The runtime is initialised, or failed to be.
    pub fn runtime_initialised(&self, failed: Option<&Fault>) {
        let mut record = json!({ "initializationType": self.initialization(), "phase": "init", "status": "success" });
        if let Some(fault) = failed {
            record["status"] = "error".into();
            record["errorType"] = fault.detail.as_deref().unwrap_or("Runtime.Unknown").into();
        }
        self.note("platform.initRuntimeDone", record);
    }

    /// The initialisation is over.
    pub fn initialised(&self, began: Mono) {
        let took = self.host.upgrade().map_or(Duration::ZERO, |host| host.clock().mono().since(began));
        let metrics = json!({ "durationMs": events::ms(took) });
        let record = json!({ "initializationType": self.initialization(), "phase": "init", "metrics": metrics });
        self.note("platform.initReport", record);
        self.heard().early = None;
    }

    /// Deliver what there is: the end comes.
    pub fn flush(&self) {
        self.heard().subscribers.iter().for_each(|s| s.flush());
    }

    fn report(&self, record: &LogRecord, id: InvocationId, usage: &model::event::Usage, status: &Status) {
        let last = self.heard().last.clone().filter(|l| l.0 == id);
        let (status, error) = match (last, status) {
            (Some((_, status, error)), Status::Success) => (status, error),
            (_, Status::Success) => ("success", None),
            (done, Status::Timeout) => {
                if done.is_none() {
                    self.done(id, "timeout", None);
                }
                ("timeout", None)
            }
            (done, Status::Error(kind)) => {
                if done.is_none() {
                    self.done(id, "failure", Some(kind.to_string()));
                }
                ("failure", Some(kind.to_string()))
            }
        };
        self.push(Event::new(record.at_ms, Of::Platform, "platform.report", events::report(id, usage, status, error)));
    }
}

impl Hears for Hub {
    fn line(&self, from: Writer, record: &LogRecord) {
        let at = record.at_ms;
        match (&record.line, record.id) {
            (Line::Text { text, .. }, _) => {
                let (of, kind) = match from {
                    Writer::Extension => (Of::Extension, "extension"),
                    Writer::Function | Writer::Platform => (Of::Function, "function"),
                };
                self.push(Event::new(at, of, kind, self.text(from, text)));
            }
            (Line::Platform { text }, _) => self.push(Event::new(at, Of::Function, "function", Value::from(&**text))),
            (Line::InitStart { runtime, .. }, _) => {
                let about = json!({
                    "initializationType": self.initialization(), "phase": "init", "runtimeVersion": &**runtime,
                    "functionName": self.bound.function, "functionVersion": self.bound.version,
                    "instanceMaxMemory": u64::from(self.bound.memory_mib) << 20,
                });
                self.push(Event::new(at, Of::Platform, "platform.initStart", about));
            }
            (Line::Report { usage, status }, Some(id)) => self.report(record, id, usage, status),
            (Line::End, Some(id)) => {
                self.push(Event::new(at, Of::Platform, "platform.end", json!({ "requestId": id.to_string() })));
            }
            // Told by the contract, which knows the trace.
            _ => {}
        }
    }
}

impl Hub {
    /// In a function's own format a line may be a document.
    fn text(&self, from: Writer, text: &Bytes) -> Value {
        let document = || serde_json::from_slice::<Value>(text).ok().filter(Value::is_object);
        let json = self.bound.json && from == Writer::Function;
        json.then(document).flatten().unwrap_or_else(|| Value::from(String::from_utf8_lossy(text)))
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.heard().tasks.iter().for_each(tokio::task::AbortHandle::abort);
    }
}
