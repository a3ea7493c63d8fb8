//! Loops that run as long as the platform does: retention, the journal's writer, the housekeeper, the doors.
//!
//! One that panics is run again after a pause, and counted; `status` shows it. One that keeps panicking ends the process with an
//! error: whoever supervises it starts it afresh, which is better than a platform that lacks a limb and says nothing.

use crate::{
    Cancel, Clock, Mono,
    limits::{LOOP_PANICS_MAX, LOOP_PANICS_WITHIN, LOOP_PAUSE},
};
use std::{
    any::Any,
    collections::{BTreeMap, VecDeque},
    fmt,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// The loops of one platform.
pub struct Loops {
    clock: Arc<dyn Clock>,
    seen: Mutex<Seen>,
    given_up: Cancel,
    pause: Duration,
}

#[derive(Default)]
struct Seen {
    loops: BTreeMap<String, History>,
    /// Why the process must end.
    broken: Option<String>,
}

#[derive(Default)]
struct History {
    times: u64,
    last: String,
    recent: VecDeque<Mono>,
}

/// A loop that panicked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panicked {
    pub name: String,
    /// Since the start of the platform.
    pub times: u64,
    /// What the last panic said.
    pub last: String,
}

impl Loops {
    pub fn new(clock: Arc<dyn Clock>) -> Arc<Loops> {
        Arc::new(Loops { clock, seen: Mutex::default(), given_up: Cancel::new(), pause: LOOP_PAUSE })
    }

    /// Of a part that runs by itself, without a platform around it. Without a clock, every panic counts as a recent one.
    pub fn alone() -> Arc<Loops> {
        Loops::new(Arc::new(Stopped))
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Run a loop on this thread until it ends by itself, or panics too often. What it keeps must make sense after a panic.
    pub fn run(&self, name: &str, mut work: impl FnMut()) {
        while let Err(panic) = catch_unwind(AssertUnwindSafe(&mut work)) {
            match self.panicked(name, &*panic) {
                Some(pause) => std::thread::sleep(pause),
                None => return,
            }
        }
    }

    /// The same of a loop that is a task. Dropping the future drops the loop.
    pub async fn watch<F: Future<Output = ()>>(&self, name: &str, mut make: impl FnMut() -> F) {
        loop {
            let ended = {
                let mut work = pin!(make());
                // A panic is an end too, so the poll's result is always whole.
                poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
                    Ok(polled) => polled.map(Ok),
                    Err(panic) => std::task::Poll::Ready(Err(panic)),
                })
                .await
            };
            let Err(panic) = ended else { return };
            match self.panicked(name, &*panic) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return,
            }
        }
    }

    /// Counts a panic. How long to wait before the loop is run again; `None` when it isn't any more.
    fn panicked(&self, name: &str, panic: &(dyn Any + Send)) -> Option<Duration> {
        let now = self.clock.mono();
        let mut seen = self.seen();
        let history = seen.loops.entry(name.to_owned()).or_default();
        history.times += 1;
        history.last = words(panic);
        history.recent.push_back(now);
        history.recent.retain(|at| now.since(*at) < LOOP_PANICS_WITHIN);
        let recent = history.recent.len();
        if recent <= LOOP_PANICS_MAX {
            return Some(self.pause * (1 << (recent - 1)));
        }
        let why =
            format!("its loop {name:?} panicked {recent} times within {} s: {}", LOOP_PANICS_WITHIN.as_secs(), history.last);
        seen.broken.get_or_insert(why);
        drop(seen);
        self.given_up.cancel();
        None
    }

    /// Loops that panicked.
    pub fn panics(&self) -> Vec<Panicked> {
        let row = |(name, h): (&String, &History)| Panicked { name: name.clone(), times: h.times, last: h.last.clone() };
        self.seen().loops.iter().map(row).collect()
    }

    /// Why the process must end, once it must.
    pub fn broken(&self) -> Option<String> {
        self.seen().broken.clone()
    }

    /// Resolves when it must.
    pub async fn given_up(&self) {
        self.given_up.cancelled().await;
    }
}

struct Stopped;

impl Clock for Stopped {
    fn mono(&self) -> Mono {
        Mono(0)
    }
    fn wall_ms(&self) -> u64 {
        0
    }
}

impl fmt::Debug for Loops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loops").field("panics", &self.panics()).finish_non_exhaustive()
    }
}

/// What a panic said.
fn words(panic: &(dyn Any + Send)) -> String {
    let said = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    said.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no words".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[derive(Default)]
    struct Hand(AtomicU64);
    impl Clock for Hand {
        fn mono(&self) -> Mono {
            Mono(self.0.load(Ordering::SeqCst))
        }
        fn wall_ms(&self) -> u64 {
            0
        }
    }

    fn loops(clock: &Arc<Hand>) -> Loops {
        Loops { pause: Duration::ZERO, ..Arc::into_inner(Loops::new(clock.clone())).expect("nobody else has it") }
    }

    // F12
    #[test]
    fn a_loop_that_panics_is_run_again_and_counted() {
        let loops = loops(&Arc::default());
        let (mut rounds, mut kept) = (0, Vec::new());
        loops.run("writer", || {
            rounds += 1;
            kept.push(rounds);
            assert!(rounds >= 4, "round {rounds}");
        });
        assert_eq!(kept, [1, 2, 3, 4]);
        assert_eq!(loops.panics(), [Panicked { name: "writer".into(), times: 3, last: "round 3".into() }]);
        assert_eq!(loops.broken(), None);
    }

    #[test]
    fn a_loop_that_keeps_panicking_is_given_up_and_rare_panics_are_not() {
        let clock = Arc::new(Hand::default());
        let loops = loops(&clock);
        let mut rounds = 0;
        // One each time that all before it are long ago.
        loops.run("rare", || {
            rounds += 1;
            clock.0.fetch_add(LOOP_PANICS_WITHIN.as_nanos() as u64, Ordering::SeqCst);
            assert!(rounds > 50);
        });
        assert_eq!((loops.panics()[0].times, loops.broken()), (50, None));
        loops.run("often", || panic!("again"));
        assert_eq!(loops.panics()[0], Panicked { name: "often".into(), times: LOOP_PANICS_MAX as u64 + 1, last: "again".into() });
        assert!(loops.broken().is_some_and(|why| why.contains("\"often\"") && why.contains("again")));
        assert!(loops.given_up.is_cancelled());
    }

    #[test]
    fn a_task_is_run_again_too_also_after_it_has_waited() {
        let clock = Arc::new(Hand::default());
        let loops = loops(&clock);
        let mut rounds = 0;
        let work = loops.watch("task", || {
            rounds += 1;
            let round = rounds;
            async move {
                let mut waited = false;
                poll_fn(|cx| {
                    cx.waker().wake_by_ref();
                    if std::mem::replace(&mut waited, true) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
                })
                .await;
                assert_eq!(round, 3, "not yet");
            }
        });
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(work);
        assert_eq!((rounds, loops.panics()[0].times), (3, 2));
    }
}
