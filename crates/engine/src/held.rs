//! A slot from its grant to its return. Everything that was counted for a call hangs on one value: whoever drops it, at whatever
//! moment, gives the slot, the admission and the instance's use back.

use crate::{
    Engine,
    instance::Live,
    invoke::About,
    pools::{Admission, FunctionKey, Ticket},
    start::Failure,
};
use model::{Cause, Fault};
use std::{sync::Arc, time::Duration};
use tokio::sync::oneshot;

/// One granted slot of an instance, which is in use from here on.
pub struct Held {
    engine: Arc<Engine>,
    pub live: Arc<Live>,
    key: FunctionKey,
    /// The instance must take no other call.
    pub spent: bool,
    /// Given back already.
    over: bool,
}

/// A slot, or the news that there will be none.
pub type Lease = Result<Held, Failure>;

/// Who waits in a line.
pub struct Waiter {
    pub key: FunctionKey,
    pub wake: oneshot::Sender<Lease>,
}

/// How a call asks for a slot.
pub enum Claim {
    /// It is new and has to be admitted.
    New(FunctionKey),
    /// It was admitted, and this instance is of no use to it.
    Again(Held),
}

impl Held {
    /// Of a slot that the pools counted; the engine may be locked.
    pub fn new(engine: Arc<Engine>, live: Arc<Live>, key: FunctionKey) -> Self {
        live.enter();
        Self { engine, live, key, spent: false, over: false }
    }
}

/// Never where the engine is locked.
impl Drop for Held {
    fn drop(&mut self) {
        self.live.leave();
        if self.over {
            return;
        }
        let now = self.engine.parts.clock.mono();
        let ended = self.spent || self.live.exit().is_some();
        let mut state = self.engine.lock();
        if ended {
            state.pools.spent(self.live.id, &self.key, now);
        } else {
            state.pools.freed(self.live.id, &self.key, now);
        }
        self.engine.act(state);
    }
}

impl Engine {
    /// A slot, after waiting for it if need be.
    pub(crate) async fn acquire(&self, about: &About, claim: Claim) -> Result<Lease, Fault> {
        let (ticket, woken) = match self.claim(about, claim)? {
            Ok(held) => return Ok(Ok(held)),
            Err(waiting) => waiting,
        };
        let mut place = Place { engine: self, about, ticket, woken, done: false };
        let waited = tokio::time::timeout(about.unit.settings.wait_max(), &mut place.woken).await;
        match waited {
            Ok(lease) => {
                place.done = true;
                Ok(lease.unwrap_or_else(|_| Err(Fault::new(Cause::Draining, "the platform is stopping").into())))
            }
            Err(_) => Err(Fault::new(Cause::Exhausted, format!("no instance became free for {} in time", about.function.name))
                .retry_after(Duration::from_secs(5))
                .hint("the machine is busy: lower the load, the memory sizes, or raise the memory budget")),
        }
    }

    fn claim(&self, about: &About, claim: Claim) -> Result<Result<Held, (Ticket, oneshot::Receiver<Lease>)>, Fault> {
        let now = self.parts.clock.mono();
        let mut woken = None;
        let mut waiter = |key: &FunctionKey| {
            let (wake, receiver) = oneshot::channel();
            woken = Some(receiver);
            Waiter { key: key.clone(), wake }
        };
        let mut state = self.lock();
        let (admission, key, useless) = match claim {
            Claim::New(key) => {
                let admission =
                    state.pools.admit(&key, &about.unit, now, |_| waiter(&key)).map_err(|r| self.refused(r, about))?;
                (admission, key, None)
            }
            Claim::Again(mut held) => {
                held.over = true;
                let key = held.key.clone();
                (state.pools.again(held.live.id, &key, &about.unit, now, |_| waiter(&key)), key, Some(held))
            }
        };
        let claimed = match admission {
            Admission::Waiting(ticket) => Ok(Err((ticket, woken.expect("whoever waits was given a waker")))),
            Admission::Slot(id) => match state.live.get(&id) {
                Some(live) => Ok(Ok(Held::new(self.strong(), live.clone(), key))),
                None => {
                    state.pools.spent(id, &key, now);
                    Err(Fault::internal("an idle instance has no process"))
                }
            },
        };
        // Who waits may have to be looked after, though nothing is to be done now.
        if state.pools.has_actions() || matches!(claimed, Ok(Err(_))) {
            self.act(state);
        } else {
            drop(state);
        }
        drop(useless);
        claimed
    }
}

/// A place in the line. Whoever drops it leaves the line, and gives back what was granted meanwhile.
struct Place<'a> {
    engine: &'a Engine,
    about: &'a About,
    ticket: Ticket,
    woken: oneshot::Receiver<Lease>,
    done: bool,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let now = self.engine.parts.clock.mono();
        let mut state = self.engine.lock();
        let left = state.pools.abandon(self.about.unit.revision, self.ticket, now);
        self.engine.act(state);
        if !left {
            // A slot that was granted meanwhile lies in the channel.
            drop(self.woken.try_recv());
        }
    }
}
