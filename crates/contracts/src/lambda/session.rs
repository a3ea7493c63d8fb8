//! One process generation behind the Runtime API. The engine hands over events here; the connections' tasks (`server`)
//! answer the runtime. Both meet in [`State`] and nowhere else.

use super::{
    extensions::{self, Extensions},
    next::Bound,
    plan,
    server::{self, Serving},
    state::{Handed, Phase, State, Watchers},
};
use model::{
    Cause, Event, Fault, Fut, Unit,
    ports::{Beside, Goodbye, Host, InstanceFacts, Link, Opening, Session, SessionCall, SlotEnd, Slots},
    sandbox::Endpoint,
};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::oneshot;

/// What the session and its connections share.
pub(super) struct Core {
    state: Mutex<State>,
    pub host: Arc<dyn Host>,
    /// To addresses inside.
    pub link: Arc<dyn Link>,
    pub port: u16,
}

impl Core {
    /// Held for a few instructions at a time and never across a wait. A panic while it is held can't leave a half-made
    /// change that matters more than going on.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

pub(super) struct LambdaSession {
    core: Arc<Core>,
    /// Ends the listener and every connection when the session goes.
    _serving: Serving,
}

pub(super) async fn open(
    port: u16,
    access: Arc<dyn Link>,
    unit: Option<Arc<Unit>>,
    host: Arc<dyn Host>,
) -> Result<Opening, Fault> {
    let listener = access
        .listen(&Endpoint::Tcp(port))
        .await
        .map_err(|e| Fault::internal(format!("can't get the listener at port {port} of the instance: {e}")))?;
    let (ready, initialised) = oneshot::channel();
    let bound = unit.as_ref().map(|u| Arc::new(Bound::new(u)));
    let mut state = State::new(host.clock().mono(), bound, ready);
    state.extensions = unit.and_then(|unit| Extensions::expecting(extensions::external(&unit)));
    let core = Arc::new(Core { state: Mutex::new(state), host, link: access, port });
    let serving = server::serve(core.clone(), listener);
    Ok(Opening {
        session: Arc::new(LambdaSession { core, _serving: serving }),
        ready: Box::pin(async { initialised.await.unwrap_or_else(|_| Err(gone())) }),
    })
}

fn gone() -> Fault {
    Fault::new(Cause::Exited, "the session ended before the runtime was initialised")
}

impl Session for LambdaSession {
    fn slots(&self) -> Slots {
        Slots::One
    }

    fn call(&self, event: Event) -> SessionCall {
        let (reply, replied) = oneshot::channel();
        let (free, freed) = oneshot::channel();
        let handed = Handed { event, watchers: Watchers { reply: Some(reply), free } };
        self.hand_over(handed);
        SessionCall {
            reply: Box::pin(async move { replied.await.unwrap_or_else(|_| Err(gone().into())) }),
            free: Box::pin(async move { freed.await.unwrap_or_else(|_| SlotEnd::Spent("the session ended".into())) }),
        }
    }

    fn bind(&self, unit: Arc<Unit>, facts: &InstanceFacts) -> Fut<'_, Result<(), Fault>> {
        let document = plan::binding(self.core.port, &unit, facts);
        Box::pin(async move {
            let initialised = {
                let mut state = self.core.state();
                if state.phase != Phase::Unbound || state.closed.is_some() {
                    return Err(state.closed.clone().unwrap_or_else(|| Fault::internal("this instance doesn't wait for a unit")));
                }
                let (ready, initialised) = oneshot::channel();
                state.phase = Phase::Starting;
                state.began = self.core.host.clock().mono();
                state.bound = Some(Arc::new(Bound::new(&unit)));
                state.binding = Some(document);
                state.ready = Some(ready);
                state.bind.wake();
                initialised
            };
            initialised.await.unwrap_or_else(|_| Err(gone()))
        })
    }

    fn close(&self, fault: Fault) {
        self.core.state().close(fault);
    }

    fn beside(&self) -> Beside {
        self.core.state().extensions.as_ref().map(|e| e.beside()).unwrap_or_default()
    }

    fn goodbye(&self, why: Goodbye, deadline_ms: u64) {
        if let Some(extensions) = &mut self.core.state().extensions {
            extensions.goodbye(why, deadline_ms);
        }
    }
}

impl LambdaSession {
    fn hand_over(&self, handed: Handed) {
        if matches!(handed.event.head, model::Head::Http(_)) {
            return handed.undelivered(Fault::new(Cause::Unsupported, "the contract lambda takes documents, not HTTP requests"));
        }
        let mut state = self.core.state();
        if let Some(fault) = state.refusal() {
            drop(state);
            return handed.undelivered(fault);
        }
        if state.current.is_some() || state.waiting.is_some() || state.ending.is_some() {
            drop(state);
            return handed.undelivered(Fault::internal("the instance's only slot is taken"));
        }
        state.waiting = Some(Box::new(handed));
        state.next.wake();
    }
}

impl Drop for LambdaSession {
    fn drop(&mut self) {
        self.core.state().close(Fault::new(Cause::Exited, "the instance was removed"));
    }
}
