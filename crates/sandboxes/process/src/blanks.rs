//! Instances made ahead of need: a root that stands, groups joined, listeners open, and nothing of anybody's in it. What a start
//! waits for is then its own mounts and limits.
//!
//! Most of an instance's making is waiting: for the kernel to let a process join control groups of the first version (it waits
//! until every processor has gone through its scheduler), for mounts to be taken down, for three processes to take turns. They
//! are made when nothing else is being started, one after the other, so that a burst of starts has the processors for itself.

use crate::{channel::Channel, grave::Grave, process::Inner};
use model::sandbox::{Endpoint, Limits};
use std::{
    os::fd::OwnedFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

/// Nothing was started for so long: there is time to make one.
const QUIET: Duration = Duration::from_millis(20);
/// So many tries in a row that fail end the trying until the next start.
const TRIES: u32 = 3;

/// An instance that stands, in parts.
pub struct Made {
    pub channel: Arc<Channel>,
    pub grave: Grave,
    pub limits: Limits,
    pub tmp: OwnedFd,
    pub listeners: Vec<OwnedFd>,
}

/// What was asked for last; the next is expected to be alike.
#[derive(Clone, PartialEq)]
pub struct Shape {
    pub listens: Vec<Endpoint>,
    pub limits: Limits,
}

pub struct Blanks {
    /// Kept ready.
    keep: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    shape: Option<Shape>,
    ready: Vec<Made>,
    asked: Option<Instant>,
    making: bool,
    closed: bool,
}

impl Blanks {
    pub fn new(keep: usize) -> Blanks {
        Blanks { keep, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One that can become what is asked for.
    pub fn take(&self, shape: &Shape) -> Option<Made> {
        if self.keep == 0 {
            return None;
        }
        let mut state = self.state();
        state.asked = Some(Instant::now());
        if state.shape.as_ref().is_none_or(|s| s.listens != shape.listens) {
            // Of no use for this one, and the next is expected to be like it.
            drop(std::mem::take(&mut state.ready));
        }
        state.shape = Some(shape.clone());
        state.ready.pop()
    }

    /// Replaces what was taken, in the background.
    pub fn fill(inner: &Arc<Inner>) {
        let blanks = &inner.blanks;
        let mut state = blanks.state();
        if blanks.keep > 0 && !state.making && !state.closed {
            // A future may be dropped where no runtime is left.
            let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
            state.making = true;
            runtime.spawn(work(Arc::downgrade(inner)));
        }
    }

    /// No more of them.
    pub fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.ready.clear();
    }

    /// How long to wait before the next is made, or what to make, or nothing when there are enough.
    fn next(&self) -> Next {
        let mut state = self.state();
        if state.closed || state.ready.len() >= self.keep {
            state.making = false;
            return Next::Enough;
        }
        let quiet = state.asked.map_or(QUIET, |at| at.elapsed());
        match &state.shape {
            Some(shape) if quiet >= QUIET => Next::Make(shape.clone()),
            _ => Next::Wait(QUIET.saturating_sub(quiet)),
        }
    }

    fn put(&self, made: Made, shape: &Shape) {
        let mut state = self.state();
        if !state.closed && state.shape.as_ref().is_some_and(|s| s.listens == shape.listens) {
            state.ready.push(made);
        }
    }

    fn give_up(&self) {
        self.state().making = false;
    }
}

enum Next {
    Enough,
    Wait(Duration),
    Make(Shape),
}

async fn work(inner: Weak<Inner>) {
    let mut failed = 0;
    while let Some(inner) = inner.upgrade() {
        match inner.blanks.next() {
            Next::Enough => return,
            Next::Wait(pause) => {
                drop(inner);
                tokio::time::sleep(pause).await;
            }
            Next::Make(shape) => match crate::process::make(&inner, shape.limits, &[], &shape.listens).await {
                Ok(made) => inner.blanks.put(made, &shape),
                Err(fault) => {
                    failed += 1;
                    if failed == TRIES {
                        tracing::warn!("no sandbox is kept ready: {fault}");
                        return inner.blanks.give_up();
                    }
                }
            },
        }
    }
}
