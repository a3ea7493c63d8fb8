//! The language's side of a call, played by the test: how an initialisation goes, and what becomes of each event.

use bytes::Bytes;
use model::{
    Event, Failed, Fault, Fut, Reply, ReplyBody, ReplyHead, Unit,
    event::FunctionError,
    ports::{
        Beside, Contract, Goodbye, Host, InstanceFacts, Link, Opening, Runtime, Session, SessionCall, SlotEnd, Slots, StartPlan,
    },
    sandbox::{Group, ProcSpec},
};
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::{mpsc, oneshot};

/// How one initialisation goes.
pub enum Init {
    Ready(Duration),
    Fails(Fault),
    Hangs,
}

/// The contract of the tests. Initialisations go as the script says, and well at once when it says nothing.
pub struct Scripted {
    pub inits: Mutex<VecDeque<Init>>,
    /// After the script's end.
    pub always: Mutex<fn() -> Init>,
    pub slots: Mutex<Slots>,
    pub beside: Mutex<Beside>,
    /// What sessions were told of their end, and until when.
    pub goodbyes: Arc<Mutex<Vec<(Goodbye, u64)>>>,
    pub handed: mpsc::UnboundedSender<Handed>,
}

impl Contract for Scripted {
    fn name(&self) -> &'static str {
        "scripted"
    }
    fn plan(&self, _: &Runtime, _: Option<&Unit>, _: &InstanceFacts) -> Result<StartPlan, Fault> {
        let process =
            ProcSpec { argv: vec!["run".into()], env: Vec::new(), cwd: "/".into(), group: Group::Runtime, log_frames_env: None };
        Ok(StartPlan { processes: vec![process], mounts: Vec::new(), listens: Vec::new() })
    }
    fn open(&self, _: Arc<dyn Link>, _: Option<Arc<Unit>>, _: Arc<dyn Host>) -> Fut<'_, Result<Opening, Fault>> {
        let init = self.inits.lock().unwrap().pop_front().unwrap_or_else(|| self.always.lock().unwrap()());
        let ready = async move {
            match init {
                Init::Ready(after) => tokio::time::sleep(after).await,
                Init::Fails(fault) => return Err(fault),
                Init::Hangs => std::future::pending().await,
            }
            Ok(())
        };
        let (handed, slots) = (self.handed.clone(), *self.slots.lock().unwrap());
        let (beside, goodbyes) = (self.beside.lock().unwrap().clone(), self.goodbyes.clone());
        let session = Arc::new(Talk { slots, beside, goodbyes, handed, calls: Arc::default() });
        Box::pin(async { Ok(Opening { session, ready: Box::pin(ready) }) })
    }
}

type Calls = Arc<Mutex<(usize, Option<Fault>, HashMap<usize, Watchers>)>>;

struct Watchers {
    reply: Option<oneshot::Sender<Result<Reply, Failed>>>,
    free: oneshot::Sender<SlotEnd>,
}

struct Talk {
    slots: Slots,
    beside: Beside,
    goodbyes: Arc<Mutex<Vec<(Goodbye, u64)>>>,
    handed: mpsc::UnboundedSender<Handed>,
    calls: Calls,
}

/// An event in user code's hands.
pub struct Handed {
    number: usize,
    calls: Calls,
    pub event: Option<Event>,
}

impl Handed {
    pub fn event(&self) -> &Event {
        self.event.as_ref().unwrap()
    }
    fn send(&self, result: Result<Reply, Failed>) {
        let mut calls = self.calls.lock().unwrap();
        if let Some(reply) = calls.2.get_mut(&self.number).and_then(|w| w.reply.take()) {
            let _ = reply.send(result);
        }
    }
    pub fn answer(&self, text: &'static str) {
        self.reply(ReplyBody::Bytes(Bytes::from_static(text.as_bytes())));
    }
    pub fn reply(&self, body: ReplyBody) {
        self.send(Ok(Reply { head: ReplyHead::default(), body }));
    }
    pub fn end(&self, end: SlotEnd) {
        if let Some(watchers) = self.calls.lock().unwrap().2.remove(&self.number) {
            let _ = watchers.free.send(end);
        }
    }
    /// Answered, and ready for the next.
    pub fn finish(&self, text: &'static str) {
        self.answer(text);
        self.end(SlotEnd::Free);
    }
    /// User code's own word that it failed, and ready for the next.
    pub fn report(&self, kind: &str) {
        let head = ReplyHead { error: Some(FunctionError { kind: kind.into() }), ..ReplyHead::default() };
        self.send(Ok(Reply { head, body: ReplyBody::Bytes(Bytes::from_static(b"{}")) }));
        self.end(SlotEnd::FreeAfterError(kind.into()));
    }
    pub fn undelivered(mut self) {
        let event = self.event.take().map(Box::new);
        self.send(Err(Failed { fault: Fault::internal("nobody was there"), undelivered: event }));
        self.end(SlotEnd::Undelivered);
    }
}

impl Session for Talk {
    fn slots(&self) -> Slots {
        self.slots
    }
    fn call(&self, event: Event) -> SessionCall {
        let (reply, replied) = oneshot::channel();
        let (free, freed) = oneshot::channel();
        let mut calls = self.calls.lock().unwrap();
        assert!(calls.1.is_none(), "called after it was closed");
        calls.0 += 1;
        let number = calls.0;
        calls.2.insert(number, Watchers { reply: Some(reply), free });
        let _ = self.handed.send(Handed { number, calls: self.calls.clone(), event: Some(event) });
        SessionCall { reply: Box::pin(async { replied.await.unwrap() }), free: Box::pin(async { freed.await.unwrap() }) }
    }
    fn bind(&self, _: Arc<Unit>, _: &InstanceFacts) -> Fut<'_, Result<(), Fault>> {
        Box::pin(async { Err(Fault::internal("not here")) })
    }
    fn close(&self, fault: Fault) {
        let mut calls = self.calls.lock().unwrap();
        for (_, watchers) in calls.2.drain() {
            watchers.reply.map(|r| r.send(Err(fault.clone().into())));
            let _ = watchers.free.send(SlotEnd::Spent(fault.message.clone()));
        }
        calls.1 = Some(fault);
    }
    fn beside(&self) -> Beside {
        self.beside.clone()
    }
    fn goodbye(&self, why: Goodbye, deadline_ms: u64) {
        self.goodbyes.lock().unwrap().push((why, deadline_ms));
    }
}
