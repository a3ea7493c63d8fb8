//! What runs beside the runtime and hears of every call: external extensions, programs of `/opt/extensions` that the platform starts
//! before the runtime, and internal ones, which register from within the runtime's own process (developer guide, "Lambda
//! Extensions API"; limits and errors as in Amazon's emulator, `core/registrations.go` and `rapi/handler/agent*.go`).
//!
//! The runtime starts when every external one has registered; the initialisation is over when the runtime and all extensions have
//! asked for an event, and a call when they have asked again.

mod api;
#[cfg(test)]
mod tests;

pub(super) use api::{identify, route};

use super::{state::Parked, telemetry::Hub};
use bytes::Bytes;
use model::{
    Unit,
    ports::{Beside, Goodbye},
    sandbox::Group,
};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use uuid::Uuid;

/// Extensions of one function.
const EXTENSIONS_MAX: usize = 10;
/// What all get to end in when there is an external one, and when there are internal ones only.
const BUDGET_EXTERNAL: Duration = Duration::from_millis(2000);
const BUDGET_INTERNAL: Duration = Duration::from_millis(500);
/// The runtime's share of the former, in percent; internal ones are the runtime.
const RUNTIME_PERCENT: u32 = 30;
/// A layer with this file switches all extensions off.
const DISABLE: &str = "disable-extensions-jwigqn8j";

/// The programs at the top of `/opt/extensions`, by name.
pub(super) fn external(unit: &Unit) -> impl Iterator<Item = String> + use<> {
    let mut names = BTreeSet::new();
    let off = unit.layers.iter().any(|l| l.path().join(DISABLE).exists());
    for layer in unit.layers.iter().filter(|_| !off) {
        let entries = std::fs::read_dir(layer.path().join("extensions")).into_iter().flatten().flatten();
        let programs = entries.filter(|e| e.file_type().is_ok_and(|t| !t.is_dir()));
        names.extend(programs.filter_map(|e| e.file_name().into_string().ok()));
    }
    names.into_iter()
}

pub(super) struct Extensions {
    /// Started, and not registered yet.
    expected: Vec<String>,
    registered: Vec<Extension>,
    /// Where somebody subscribed to what happens here.
    pub hub: Option<Arc<Hub>>,
}

pub(super) struct Extension {
    pub id: Uuid,
    pub name: String,
    pub external: bool,
    invoke: bool,
    shutdown: bool,
    /// It asked for an event, and has none that it works on.
    ready: bool,
    /// It asked for its first.
    initialised: bool,
    /// What it is to be told.
    event: Option<Bytes>,
    next: Parked,
}

/// What an extension that asks for an event gets.
pub(super) enum Told {
    Event(Bytes),
    NotYet,
}

impl Extensions {
    /// Of a unit whose package brings some.
    pub fn expecting(names: impl Iterator<Item = String>) -> Option<Box<Extensions>> {
        let expected: Vec<String> = names.collect();
        (!expected.is_empty()).then(|| Box::new(Extensions { expected, ..Extensions::none() }))
    }

    fn none() -> Extensions {
        Extensions { expected: Vec::new(), registered: Vec::new(), hub: None }
    }

    /// Whether somebody has not yet asked for the next event.
    pub fn at_work(&self) -> bool {
        !self.expected.is_empty() || self.registered.iter().any(|e| !e.ready)
    }

    /// Every one that wants to know gets the event.
    pub fn dispatch(&mut self, event: impl FnOnce() -> Bytes) {
        let mut wanting = self.registered.iter_mut().filter(|e| e.invoke).peekable();
        if wanting.peek().is_none() {
            return;
        }
        let event = event();
        for extension in wanting {
            extension.ready = false;
            extension.event = Some(event.clone());
            extension.next.wake();
        }
    }

    pub fn beside(&self) -> Beside {
        let external = self.registered.iter().any(|e| e.external);
        match (external, self.registered.is_empty()) {
            (_, true) => Beside::default(),
            (false, false) => Beside { budget: BUDGET_INTERNAL, runtime: BUDGET_INTERNAL, waits: Vec::new() },
            (true, false) => Beside {
                budget: BUDGET_EXTERNAL,
                runtime: BUDGET_EXTERNAL * RUNTIME_PERCENT / 100,
                waits: self
                    .registered
                    .iter()
                    .filter(|e| e.external && e.shutdown)
                    .map(|e| Group::Extension(e.name.as_str().into()))
                    .collect(),
            },
        }
    }

    /// Every one that wants to know hears of the end, as its last event.
    pub fn goodbye(&mut self, why: Goodbye, deadline_ms: u64) {
        let reason = match why {
            Goodbye::Spindown => "spindown",
            Goodbye::Timeout => "timeout",
            Goodbye::Failure => "failure",
        };
        let event = serde_json::json!({ "eventType": "SHUTDOWN", "shutdownReason": reason, "deadlineMs": deadline_ms });
        let event = Bytes::from(event.to_string());
        if let Some(hub) = &self.hub {
            hub.flush();
        }
        for extension in self.registered.iter_mut().filter(|e| e.shutdown) {
            extension.event = Some(event.clone());
            extension.next.wake();
        }
    }

    pub fn name_of(&mut self, id: Uuid) -> String {
        self.find(id).map(|e| e.name.clone()).unwrap_or_default()
    }

    fn find(&mut self, id: Uuid) -> Option<&mut Extension> {
        self.registered.iter_mut().find(|e| e.id == id)
    }
}

impl Extension {
    /// What the platform notes when it asks for its first event.
    fn note(&self) -> serde_json::Value {
        let wants = [(self.invoke, "INVOKE"), (self.shutdown, "SHUTDOWN")];
        let events: Vec<&str> = wants.into_iter().filter(|w| w.0).map(|w| w.1).collect();
        serde_json::json!({ "name": self.name, "state": "Ready", "events": events })
    }

    fn take(&mut self) -> Told {
        match self.event.take() {
            Some(event) => Told::Event(event),
            None => Told::NotYet,
        }
    }
}
