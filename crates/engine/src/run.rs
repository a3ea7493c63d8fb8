//! A call at work: the event goes to the session, one task sees it through to the moment when its slot is free or its time is
//! over, and whoever asked awaits the reply.

use crate::{
    Engine,
    account::End,
    held::{Claim, Held},
    instance::Started,
    invoke::About,
};
use model::{
    Call, Cause, Event, Failed, Fault, Frame, FrameStream, Fut, Mono, Outcome, Reply, ReplyBody, Unit,
    event::Deadline,
    log::Line,
    ports::{Session, SessionCall, SlotEnd},
};
use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::sync::{Notify, oneshot};

/// An event that never reached user code is placed this many times before its caller is told.
const PLACEMENTS_MAX: u32 = 3;
/// A timer that fires this late: it is the platform that was not running.
const STOOD_STILL: Duration = Duration::from_millis(250);
/// How long it then reads what came in the meantime, at most.
const CATCH_UP: Duration = Duration::from_secs(1);

/// One call as its supervisor sees it.
pub struct Supervised {
    pub about: About,
    pub held: Held,
    pub begin: Mono,
    /// Of the instance's processes.
    pub generation: u64,
    pub started: Option<Started>,
    pub shared: Arc<Shared>,
}

/// What a call's supervisor and whoever awaits its reply tell each other.
#[derive(Default)]
pub struct Shared {
    /// What an undelivered event needs to be placed again.
    back: Mutex<Option<(Held, oneshot::Sender<Outcome>)>>,
    /// Set before anything is killed for this call's time limit: what fails from then on failed for that.
    overdue: AtomicBool,
    /// When the first byte of the answer came, in microseconds after the call's begin; 0 while there is none.
    pub first_byte_us: AtomicU64,
    /// The supervisor is done.
    over: Notify,
}

impl Shared {
    fn back(&self) -> MutexGuard<'_, Option<(Held, oneshot::Sender<Outcome>)>> {
        self.back.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn overdue(&self) -> bool {
        self.overdue.load(Ordering::Acquire)
    }
}

/// Fires when it is dropped before the answer is complete: nobody waits for it any more.
struct Gone(Option<model::Cancel>);

impl Gone {
    fn disarm(&mut self) {
        self.0 = None;
    }
}
impl Drop for Gone {
    fn drop(&mut self) {
        if let Some(cancel) = &self.0 {
            cancel.cancel();
        }
    }
}

fn timed_out(unit: &Unit) -> Fault {
    Fault::new(Cause::Timeout, format!("Task timed out after {:.2} seconds", unit.settings.timeout.as_secs_f64()))
}

impl Engine {
    pub(crate) fn run(&self, about: About, mut event: Event, held: Held, session: (u64, &dyn Session), placement: u32) -> Call {
        let (unit, live) = (about.unit.clone(), &held.live);
        let begin = self.parts.clock.mono();
        event.deadline = Some(Deadline {
            at: begin + unit.settings.timeout,
            wall_ms: self.parts.clock.wall_ms() + u64::try_from(unit.settings.timeout.as_millis()).unwrap_or(u64::MAX),
        });
        live.host.hops.store(event.hops, Ordering::Relaxed);
        live.output.begin(about.id, about.tail);
        live.output.platform(Line::Start { version: unit.version.clone() });
        let (id, instance, gone) = (about.id, live.id, Gone(Some(event.cancel.clone())));
        let SessionCall { reply, free } = session.1.call(event);
        let (tell, outcome) = oneshot::channel();
        let shared = Arc::new(Shared::default());
        let started = live.take_started();
        let watched = Watched { about: about.clone(), begin, placement, shared: shared.clone(), gone };
        let supervised = Supervised { about, held, begin, generation: session.0, started, shared };
        tokio::spawn(self.strong().supervise(supervised, free, tell));
        let reply = self.strong().watch(reply, watched);
        Call {
            id,
            unit,
            instance: Some(instance),
            reply: Box::pin(reply),
            free: Box::pin(async { outcome.await.unwrap_or_default() }),
        }
    }

    /// Its time is over. Where the platform itself stood still meanwhile (stopped, or starved of the processor), what was answered in
    /// time still lies in the instance's sockets: it gets a moment to be read.
    async fn overdue(&self, at: Mono, timeout: Duration) {
        tokio::time::sleep(timeout).await;
        let late = self.parts.clock.mono().since(at);
        if late > STOOD_STILL {
            tokio::time::sleep(late.min(CATCH_UP)).await;
        }
    }

    /// See a call through to the moment when its slot is free, or its time is over.
    async fn supervise(self: Arc<Self>, mut s: Supervised, free: Fut<'static, SlotEnd>, tell: oneshot::Sender<Outcome>) {
        let timeout = s.about.unit.settings.timeout;
        let end = tokio::select! {
            biased;
            end = free => Some(end),
            () = self.overdue(s.begin + timeout, timeout) => None,
        };
        let duration = self.parts.clock.mono().since(s.begin).min(timeout);
        let shared = s.shared.clone();
        let end = match end {
            Some(SlotEnd::Undelivered) => {
                // Whoever awaits the reply takes the slot's place in hand. Has it gone, then the slot goes with what they share.
                s.held.live.output.end();
                s.held.spent = true;
                *shared.back() = Some((s.held, tell));
                return shared.over.notify_one();
            }
            Some(SlotEnd::Free) => End::Ok,
            Some(SlotEnd::FreeAfterError(_)) => End::Reported,
            Some(SlotEnd::Spent(why)) => {
                s.held.spent = true;
                s.why_spent(why)
            }
            None => {
                shared.overdue.store(true, Ordering::Release);
                s.held.spent = s.kill().await.is_err();
                End::Timeout
            }
        };
        let outcome = Outcome { spent: s.held.spent, ..self.account(&s, &end, duration) };
        drop(s);
        shared.over.notify_one();
        let _ = tell.send(outcome);
    }

    /// The reply as the caller awaits it. Dropping it tells the function's side that the caller has gone.
    async fn watch(self: Arc<Self>, reply: Fut<'static, Result<Reply, Failed>>, mut w: Watched) -> Result<Reply, Failed> {
        match reply.await {
            Ok(reply) => {
                let took = self.parts.clock.mono().since(w.begin).as_micros();
                w.shared.first_byte_us.store(u64::try_from(took).unwrap_or(u64::MAX).max(1), Ordering::Relaxed);
                Ok(w.forward(reply))
            }
            Err(failed) => {
                w.gone.disarm();
                if w.shared.overdue() {
                    // The runtime's connection may have broken before the last of its processes was dead.
                    w.shared.over.notified().await;
                    return Err(timed_out(&w.about.unit).into());
                }
                match failed.undelivered {
                    Some(event) if w.placement < PLACEMENTS_MAX => Box::pin(self.again(w, *event, failed.fault)).await,
                    _ => Err(failed),
                }
            }
        }
    }

    /// Place an event again that no byte of reached user code.
    async fn again(&self, w: Watched, event: Event, fault: Fault) -> Result<Reply, Failed> {
        w.shared.over.notified().await;
        let Some((held, tell)) = w.shared.back().take() else { return Err(Failed { fault, undelivered: Some(Box::new(event)) }) };
        let call = Box::pin(self.place(w.about, event, Claim::Again(held), w.placement + 1)).await?;
        let free = call.free;
        tokio::spawn(async move {
            let outcome = free.await;
            let _ = tell.send(outcome);
        });
        call.reply.await
    }
}

impl Supervised {
    /// Its time is over: all processes of its instance are dead when this returns. Other calls that they served fail as well, but
    /// not for their own time limit.
    async fn kill(&self) -> Result<(), Fault> {
        let fault = Fault::new(Cause::Exited, "the runtime was ended because another of its calls took longer than it may")
            .detail("signal: killed");
        self.held.live.end_generation(self.generation, fault).await
    }
}

/// One call as whoever awaits the reply sees it.
struct Watched {
    about: About,
    begin: Mono,
    placement: u32,
    shared: Arc<Shared>,
    gone: Gone,
}

impl Watched {
    /// The answer as the caller gets it: while its body is on its way, the caller may still go.
    fn forward(mut self, reply: Reply) -> Reply {
        let body = match reply.body {
            ReplyBody::Bytes(bytes) => {
                self.gone.disarm();
                ReplyBody::Bytes(bytes)
            }
            ReplyBody::Stream(inner) => {
                ReplyBody::Stream(Box::pin(Forwarded { inner, unit: self.about.unit, shared: self.shared, gone: self.gone }))
            }
        };
        Reply { head: reply.head, body }
    }
}

/// A streamed answer on its way to the caller.
struct Forwarded {
    inner: FrameStream,
    unit: Arc<Unit>,
    shared: Arc<Shared>,
    gone: Gone,
}

impl futures_core::Stream for Forwarded {
    type Item = Frame;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Frame>> {
        let frame = ready!(self.inner.as_mut().poll_next(cx));
        if !matches!(frame, Some(Frame::Data(_))) {
            self.gone.disarm();
        }
        Poll::Ready(match frame {
            Some(Frame::Fault(_)) if self.shared.overdue() => Some(Frame::Fault(timed_out(&self.unit))),
            other => other,
        })
    }
}
