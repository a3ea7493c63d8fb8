//! Where one runtime stands, as a state machine behind a short lock. Nothing here waits or does I/O; a parked request leaves
//! its waker.
//!
//! An event lies in `waiting` until a `/next` takes it, so that a poll whose connection dies at the wrong moment loses
//! nothing: the event is still there for the next poll, or goes back to the engine as undelivered.

use super::{extensions::Extensions, next::Bound, telemetry::Hub};
use bytes::Bytes;
use model::{Cause, Event, Failed, Fault, InvocationId, Mono, Reply, ports::SlotEnd};
use std::{sync::Arc, task::Waker};
use tokio::sync::oneshot;

/// An event with those who watch it.
pub(super) struct Handed {
    pub event: Event,
    pub watchers: Watchers,
}

pub(super) struct Watchers {
    pub reply: Option<oneshot::Sender<Result<Reply, Failed>>>,
    pub free: oneshot::Sender<SlotEnd>,
}

impl Watchers {
    pub fn reply(&mut self, result: Result<Reply, Failed>) {
        if let Some(sender) = self.reply.take() {
            // Nobody may be watching any more; the invocation goes on all the same.
            let _ = sender.send(result);
        }
    }
    pub fn end(self, end: SlotEnd) {
        let _ = self.free.send(end);
    }
}

impl Handed {
    /// Give the event back: nothing of it reached the runtime.
    pub fn undelivered(mut self, fault: Fault) {
        self.watchers.reply(Err(Failed { fault, undelivered: Some(Box::new(self.event)) }));
        self.watchers.end(SlotEnd::Undelivered);
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// The runtime initialises.
    Starting,
    /// A runtime of our own waits for its unit.
    Unbound,
    /// It asked for an event at least once.
    Serving,
    /// Its initialisation failed, or it broke off.
    Failed,
}

/// The invocation that user code has.
pub(super) struct Current {
    pub id: uuid::Uuid,
    pub watchers: Watchers,
    pub step: Step,
    /// The type of the failure with which it was answered.
    pub failed: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    Running,
    /// An answer is being read.
    Answering,
    /// Answered; free once the runtime asks for the next.
    Answered,
}

/// A request that waits, told apart by its ticket.
#[derive(Default)]
pub(super) struct Parked {
    tickets: u64,
    now: Option<(u64, Waker)>,
}

impl Parked {
    pub fn ticket(&mut self) -> u64 {
        self.tickets += 1;
        self.tickets
    }
    pub fn occupied(&self) -> bool {
        self.now.is_some()
    }
    pub fn park(&mut self, ticket: u64, waker: &Waker) {
        match &mut self.now {
            Some((holder, old)) if *holder == ticket => old.clone_from(waker),
            now => *now = Some((ticket, waker.clone())),
        }
    }
    pub fn leave(&mut self, ticket: u64) {
        if self.now.as_ref().is_some_and(|n| n.0 == ticket) {
            self.now = None;
        }
    }
    pub fn wake(&self) {
        if let Some((_, waker)) = &self.now {
            waker.wake_by_ref();
        }
    }
}

pub(super) struct State {
    pub phase: Phase,
    /// When the initialisation began.
    pub began: Mono,
    pub bound: Option<Arc<Bound>>,
    /// What a runtime without a unit is told.
    pub binding: Option<Bytes>,
    /// Who waits for the end of the initialisation.
    pub ready: Option<oneshot::Sender<Result<(), Fault>>>,
    pub next: Parked,
    pub bind: Parked,
    pub waiting: Option<Box<Handed>>,
    pub current: Option<Current>,
    /// A call that the runtime is done with and an extension isn't.
    pub ending: Option<Current>,
    /// What runs beside the runtime, or in it, where there is any.
    pub extensions: Option<Box<Extensions>>,
    /// The contract was broken: no further event, for this reason.
    pub spoiled: Option<&'static str>,
    pub closed: Option<Fault>,
}

impl State {
    pub fn new(began: Mono, bound: Option<Arc<Bound>>, ready: oneshot::Sender<Result<(), Fault>>) -> Self {
        Self {
            phase: Phase::Starting,
            began,
            bound,
            binding: None,
            ready: Some(ready),
            next: Parked::default(),
            bind: Parked::default(),
            waiting: None,
            current: None,
            ending: None,
            extensions: None,
            spoiled: None,
            closed: None,
        }
    }

    /// The reference's name of where the runtime stands.
    pub fn name(&self) -> &'static str {
        match (self.phase, self.current.as_ref().map(|c| c.step)) {
            (Phase::Starting | Phase::Unbound, _) => "Started",
            (Phase::Failed, _) => "InitError",
            (Phase::Serving, None) => "Ready",
            (Phase::Serving, Some(Step::Running)) => "Running",
            (Phase::Serving, Some(Step::Answering)) => "InvocationResponse",
            (Phase::Serving, Some(Step::Answered)) => "ResponseSent",
        }
    }

    /// Why nothing more may be sent here.
    pub fn refusal(&self) -> Option<Fault> {
        match (&self.closed, self.spoiled) {
            (Some(fault), _) => Some(fault.clone()),
            (None, Some(why)) => Some(Fault::new(Cause::Protocol, why)),
            (None, None) if self.phase != Phase::Serving => Some(Fault::new(Cause::Exited, "the runtime isn't initialised")),
            _ => None,
        }
    }

    /// Remember a breach. An event that no one has taken yet goes back at once.
    pub fn spoil(&mut self, why: &'static str) {
        self.spoiled.get_or_insert(why);
        if let Some(handed) = self.waiting.take() {
            handed.undelivered(Fault::new(Cause::Protocol, why));
        }
    }

    /// An event that could not be read never reached the runtime: its slot is free again.
    pub fn give_up(&mut self, fault: Fault) {
        if let Some(mut current) = self.current.take() {
            current.watchers.reply(Err(fault.into()));
            let end = self.end(current.failed.take());
            current.watchers.end(end);
        }
    }

    /// A breach after which the running call can't end well: it fails now.
    pub fn break_off(&mut self, why: &'static str) {
        self.spoil(why);
        if let Some(mut current) = self.current.take() {
            current.watchers.reply(Err(Fault::new(Cause::Protocol, why).into()));
            current.watchers.end(SlotEnd::Spent(why.to_owned()));
        }
    }

    /// How the slot ended, once the runtime is done with the call, which failed with this type if it did.
    pub fn end(&self, failed: Option<String>) -> SlotEnd {
        match (self.spoiled, failed) {
            (Some(why), _) => SlotEnd::Spent(why.to_owned()),
            (None, Some(kind)) => SlotEnd::FreeAfterError(kind),
            (None, None) => SlotEnd::Free,
        }
    }

    pub fn hub(&self) -> Option<&Arc<Hub>> {
        self.extensions.as_ref()?.hub.as_ref()
    }

    /// All are initialised: whoever waited for it is told.
    fn complete(&mut self) {
        let Some(ready) = self.ready.take() else { return };
        if let Some(hub) = self.hub() {
            hub.initialised(self.began);
        }
        let _ = ready.send(Ok(()));
    }

    /// The runtime is done with a call: it is over when every extension is, too.
    pub fn done(&mut self, done: Current) {
        if let Some(hub) = self.hub() {
            hub.runtime_done(InvocationId(done.id), done.failed.as_deref());
        }
        self.over(done);
    }

    fn over(&mut self, mut done: Current) {
        if self.extensions.as_ref().is_some_and(|e| e.at_work()) {
            self.ending = Some(done);
            return;
        }
        let end = self.end(done.failed.take());
        done.watchers.end(end);
    }

    /// An extension asks for its next event: what waited for it may be over now.
    pub fn extension_ready(&mut self) {
        if self.extensions.as_ref().is_none_or(|e| e.at_work()) {
            return;
        }
        if let Some(done) = self.ending.take() {
            self.over(done);
        }
        if self.phase == Phase::Serving {
            self.complete();
        }
    }

    pub fn initialised(&mut self, result: Result<(), Fault>) {
        self.phase = if result.is_ok() { Phase::Serving } else { Phase::Failed };
        if let Some(hub) = self.hub() {
            hub.runtime_initialised(result.as_ref().err());
        }
        match result {
            // Else told when the last extension is.
            Ok(()) if self.extensions.as_ref().is_none_or(|e| !e.at_work()) => self.complete(),
            Ok(()) => {}
            Err(fault) => {
                if let Some(ready) = self.ready.take() {
                    let _ = ready.send(Err(fault));
                }
            }
        }
    }

    /// Everything that waits fails with this, and all that comes later.
    pub fn close(&mut self, fault: Fault) {
        if self.closed.is_some() {
            return;
        }
        if let Some(handed) = self.waiting.take() {
            handed.undelivered(fault.clone());
        }
        for mut call in [self.current.take(), self.ending.take()].into_iter().flatten() {
            call.watchers.reply(Err(fault.clone().into()));
            call.watchers.end(SlotEnd::Spent(fault.message.clone()));
        }
        if let Some(ready) = self.ready.take() {
            let _ = ready.send(Err(fault.clone()));
        }
        self.closed = Some(fault);
        self.next.wake();
        self.bind.wake();
    }
}
