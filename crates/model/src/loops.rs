//! Loops that run as long as the platform does: retention, the journal's writer, the housekeeper, the doors.
//!
//! One that panics is run again after a pause, and counted; `status` shows it. One that keeps panicking ends the process with an
//! error: whoever supervises it starts it afresh, which is better than a platform that lacks a limb and says nothing.
//!
//! One that stands still in the middle of its work is noticed by a thread of its own: a task is dropped and run again; a thread can't be
//! ended from outside, so one that stands still for long ends the process. A loop says by its [`Pulse`] when it works and when it waits.

use crate::{
    Cancel, Clock, Mono,
    limits::{LOOP_PANICS_MAX, LOOP_PANICS_WITHIN, LOOP_PAUSE, LOOP_STILL_ENDS, LOOP_STILL_MAX},
};
use std::{
    any::Any,
    collections::{BTreeMap, VecDeque},
    fmt,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::Poll,
    time::Duration,
};
use tokio::sync::Notify;

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
    beats: Vec<Weak<Beat>>,
    /// How often each loop stood still.
    still: BTreeMap<String, u64>,
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

/// What a loop tells of itself: one counter that only it writes, odd while it works. A turn that neither ends nor begins for
/// [`LOOP_STILL_MAX`] while it is odd stands still.
struct Beat {
    name: String,
    count: AtomicU64,
    /// A task's: it is dropped and made again.
    again: Option<Notify>,
    /// As the watcher saw it last, and for how many of its looks nothing has moved.
    seen: AtomicU64,
    looks: AtomicU64,
    still: AtomicBool,
}

/// By which a loop says when it works and when it waits for work. Cheap: one store that nobody waits for.
#[derive(Clone)]
pub struct Pulse(Arc<Beat>);

impl Pulse {
    /// It takes up a piece of work, or comes on with one. Waits that are bounded by nothing need [`Pulse::rest`] before them.
    pub fn work(&self) {
        let count = self.0.count.load(Ordering::Relaxed);
        self.0.count.store(count.wrapping_add(2) | 1, Ordering::Relaxed);
        #[cfg(debug_assertions)]
        failpoint::thread(&self.0);
    }

    /// It waits for something to do, however long that takes.
    pub fn rest(&self) {
        let count = self.0.count.load(Ordering::Relaxed);
        self.0.count.store(count.wrapping_add(2) & !1, Ordering::Relaxed);
    }

    /// Of a loop that nobody watches.
    pub fn alone() -> Pulse {
        Pulse(Beat::new("alone", false))
    }
}

impl Beat {
    fn new(name: &str, task: bool) -> Arc<Beat> {
        Arc::new(Beat {
            name: name.to_owned(),
            count: AtomicU64::new(0),
            again: task.then(Notify::new),
            seen: AtomicU64::new(0),
            looks: AtomicU64::new(0),
            still: AtomicBool::new(false),
        })
    }

    /// One look of the watcher: for how many of them in a row it has been in the same piece of work.
    fn look(&self) -> u64 {
        let count = self.count.load(Ordering::Relaxed);
        if count & 1 == 0 || self.seen.swap(count, Ordering::Relaxed) != count {
            self.looks.store(0, Ordering::Relaxed);
            self.still.store(false, Ordering::Relaxed);
            return 0;
        }
        self.looks.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// Between two looks at all pulses. Looks are counted, not the time between them: a platform that was stopped and goes on finds
/// nothing that stood still.
const LOOK_EVERY: Duration = Duration::from_secs(1);

const fn looks(time: Duration) -> u64 {
    time.as_secs() / LOOK_EVERY.as_secs()
}

/// A loop that stands still now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Still {
    pub name: String,
    /// At least.
    pub seconds: u64,
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
    pub fn run(&self, name: &str, mut work: impl FnMut(&Pulse)) {
        let pulse = self.pulse(name, false);
        while let Err(panic) = catch_unwind(AssertUnwindSafe(|| work(&pulse))) {
            pulse.rest();
            match self.panicked(name, &*panic) {
                Some(pause) => std::thread::sleep(pause),
                None => return,
            }
        }
    }

    /// The same of a loop that is a task. Dropping the future drops the loop; so does the watcher, where it stands still.
    pub async fn watch<F: Future<Output = ()>>(&self, name: &str, mut make: impl FnMut(Pulse) -> F) {
        let pulse = self.pulse(name, true);
        let again = pulse.0.again.as_ref().expect("a task's beat has it");
        loop {
            let ended = {
                let mut work = pin!(make(pulse.clone()));
                let mut told = pin!(again.notified());
                // A panic is an end too, so the poll's result is always whole.
                poll_fn(|cx| {
                    if told.as_mut().poll(cx).is_ready() {
                        return Poll::Ready(None);
                    }
                    #[cfg(debug_assertions)]
                    if failpoint::task(&pulse.0) {
                        return Poll::Pending;
                    }
                    match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
                        Ok(polled) => polled.map(|()| Some(Ok(()))),
                        Err(panic) => Poll::Ready(Some(Err(panic))),
                    }
                })
                .await
            };
            pulse.rest();
            match ended {
                Some(Ok(())) => return,
                None => {}
                Some(Err(panic)) => match self.panicked(name, &*panic) {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => return,
                },
            }
        }
    }

    fn pulse(&self, name: &str, task: bool) -> Pulse {
        let beat = Beat::new(name, task);
        let mut seen = self.seen();
        seen.beats.retain(|beat| beat.strong_count() > 0);
        seen.beats.push(Arc::downgrade(&beat));
        Pulse(beat)
    }

    /// Start the thread that looks at all pulses for as long as these loops are held by others.
    pub fn watch_pulses(self: &Arc<Self>) -> std::io::Result<()> {
        let loops = Arc::downgrade(self);
        let rounds = move || {
            let mut given_up = 0;
            while let Some(loops) = loops.upgrade() {
                loops.look();
                given_up += u64::from(loops.given_up.is_cancelled());
                if given_up > looks(LOOP_STILL_MAX) {
                    // What was told to end the platform may be what stands still.
                    std::process::exit(1);
                }
                drop(loops);
                std::thread::sleep(LOOK_EVERY);
            }
        };
        std::thread::Builder::new().name("loop-watch".into()).stack_size(128 * 1024).spawn(rounds).map(drop)
    }

    fn look(&self) {
        let beats: Vec<Arc<Beat>> = self.seen().beats.iter().filter_map(Weak::upgrade).collect();
        for beat in beats {
            let still = beat.look();
            if still == looks(LOOP_STILL_MAX) {
                beat.still.store(true, Ordering::Relaxed);
                *self.seen().still.entry(beat.name.clone()).or_default() += 1;
                let name = &beat.name;
                match &beat.again {
                    Some(again) => {
                        tracing::error!("the loop {name:?} has stood still for {still} s; it is run again");
                        again.notify_one();
                    }
                    None => tracing::error!("the loop {name:?} has stood still for {still} s; see myna status"),
                }
            }
            if still == looks(LOOP_STILL_ENDS) {
                let why = format!("its loop {:?} has stood still for {still} s", beat.name);
                self.seen().broken.get_or_insert(why);
                self.given_up.cancel();
            }
        }
    }

    /// Loops that stand still now.
    pub fn still(&self) -> Vec<Still> {
        let beats = self.seen().beats.iter().filter_map(Weak::upgrade).collect::<Vec<_>>();
        let row = |beat: &Arc<Beat>| Still {
            name: beat.name.clone(),
            seconds: beat.looks.load(Ordering::Relaxed) * LOOK_EVERY.as_secs(),
        };
        beats.iter().filter(|beat| beat.still.load(Ordering::Relaxed)).map(row).collect()
    }

    /// How often loops stood still since the start, by name.
    pub fn stood_still(&self) -> Vec<(String, u64)> {
        self.seen().still.iter().map(|(name, times)| (name.clone(), *times)).collect()
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

/// Has the loop that the environment names stand still once, in builds for development alone: what a test of the whole does to it.
#[cfg(debug_assertions)]
mod failpoint {
    use super::{AtomicBool, Beat, Duration, Ordering};
    use std::{ffi::OsString, sync::OnceLock};

    const STILL: &str = "MYNA_FAILPOINT_STILL";

    fn chosen(beat: &Beat) -> bool {
        static NAME: OnceLock<Option<OsString>> = OnceLock::new();
        NAME.get_or_init(|| std::env::var_os(STILL)).as_ref().is_some_and(|name| **name == *beat.name)
    }

    /// A thread never comes back from here.
    pub(super) fn thread(beat: &Beat) {
        while beat.again.is_none() && chosen(beat) {
            std::thread::sleep(Duration::from_secs(3600));
        }
    }

    /// A task is not run on until the watcher has noticed.
    pub(super) fn task(beat: &Beat) -> bool {
        static DONE: AtomicBool = AtomicBool::new(false);
        if !chosen(beat) || DONE.load(Ordering::Relaxed) {
            return false;
        }
        let noticed = beat.still.load(Ordering::Relaxed);
        DONE.store(noticed, Ordering::Relaxed);
        if !noticed {
            beat.count.store(1, Ordering::Relaxed);
        }
        !noticed
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
        loops.run("writer", |_| {
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
        loops.run("rare", |_| {
            rounds += 1;
            clock.0.fetch_add(LOOP_PANICS_WITHIN.as_nanos() as u64, Ordering::SeqCst);
            assert!(rounds > 50);
        });
        assert_eq!((loops.panics()[0].times, loops.broken()), (50, None));
        loops.run("often", |_| panic!("again"));
        assert_eq!(loops.panics()[0], Panicked { name: "often".into(), times: LOOP_PANICS_MAX as u64 + 1, last: "again".into() });
        assert!(loops.broken().is_some_and(|why| why.contains("\"often\"") && why.contains("again")));
        assert!(loops.given_up.is_cancelled());
    }

    #[test]
    fn a_task_is_run_again_too_also_after_it_has_waited() {
        let clock = Arc::new(Hand::default());
        let loops = loops(&clock);
        let mut rounds = 0;
        let work = loops.watch("task", |_| {
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

    // F65
    #[test]
    fn a_loop_that_stands_still_is_named_and_one_that_waits_is_not() {
        let loops = Arc::new(loops(&Arc::default()));
        let (waits, works, still) = (loops.pulse("waits", false), loops.pulse("works", false), loops.pulse("still", false));
        still.work();
        for n in 0..looks(LOOP_STILL_ENDS) {
            assert_eq!(loops.broken(), None, "after {n} looks");
            works.work();
            waits.rest();
            loops.look();
            let expected = if n >= looks(LOOP_STILL_MAX) { vec!["still"] } else { vec![] };
            assert_eq!(loops.still().iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), expected, "after {n} looks");
        }
        loops.look();
        assert_eq!(loops.stood_still(), [("still".to_owned(), 1)]);
        assert!(loops.broken().is_some_and(|why| why.contains("\"still\"")) && loops.given_up.is_cancelled());
        still.rest();
        loops.look();
        assert_eq!(loops.still(), []);
    }

    #[test]
    fn a_task_that_stands_still_is_dropped_and_run_again() {
        let loops = Arc::new(loops(&Arc::default()));
        let made = AtomicU64::new(0);
        let work = loops.watch("task", |pulse| {
            let round = made.fetch_add(1, Ordering::SeqCst);
            async move {
                pulse.work();
                if round == 0 {
                    std::future::pending::<()>().await;
                }
            }
        });
        let looking = async {
            loop {
                loops.look();
                tokio::task::yield_now().await;
            }
        };
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
            tokio::select! { () = work => {}, () = looking => {} }
        });
        assert_eq!((made.load(Ordering::SeqCst), loops.stood_still()), (2, vec![("task".to_owned(), 1)]));
        assert_eq!((loops.panics(), loops.broken()), (vec![], None));
    }
}
