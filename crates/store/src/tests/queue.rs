//! The durable queue: A1.1, A1.3, A1.4, F14, F15, F16, F17 and what an owner does with events.

use super::{
    disks::{Act, Watch, Watched},
    *,
};
use crate::{options::QueueLimits, queue::QueueStore};
use bytes::Bytes;
use model::{
    Cause,
    ports::Queue,
    queue::{Control, EventQuery, EventView, Lane, NewEvent, Queued, Settled, Stage, Why},
};
use std::{
    fs, io,
    path::PathBuf,
    sync::atomic::{AtomicBool, AtomicUsize},
};

fn small() -> QueueLimits {
    QueueLimits { segment_bytes: 64 << 10, ..QueueLimits::default() }
}

struct Rig {
    home: tempfile::TempDir,
    clock: Arc<Hand>,
    limits: QueueLimits,
    store: Option<QueueStore>,
}

impl Rig {
    fn new() -> Self {
        Self::with(small())
    }
    fn with(limits: QueueLimits) -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("queue")).unwrap();
        let mut rig = Rig { home, clock: Hand::new(), limits, store: None };
        rig.open();
        rig
    }
    fn open(&mut self) {
        self.store = Some(QueueStore::open(self.home.path(), &self.limits, self.clock.clone(), &model::Loops::alone()).unwrap());
    }
    fn reopen(&mut self) {
        self.close();
        self.open();
    }
    fn close(&mut self) {
        if let Some(store) = self.store.take() {
            store.close();
        }
    }
    fn q(&self) -> &QueueStore {
        self.store.as_ref().unwrap()
    }
    fn put(&self, event: NewEvent) -> InvocationId {
        wait(self.q().put(event)).unwrap()
    }
    /// Waits until the index has followed what was accepted.
    fn take(&self, limit: usize) -> Vec<Queued> {
        self.settled();
        wait(self.q().take(&lane("f"), limit)).unwrap().0
    }
    fn settled(&self) {
        wait(self.q().control(&lane("other"), Control::Resume)).unwrap();
    }
    fn settle(&self, seq: u64, settled: Settled) {
        wait(self.q().settle(seq, settled, Vec::new())).unwrap();
    }
    fn find(&self, id: InvocationId) -> Option<EventView> {
        self.settled();
        wait(self.q().find(&tenant(), id)).unwrap()
    }
    fn stage(&self, id: InvocationId) -> Stage {
        self.find(id).expect("the event is known").stage
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.close();
    }
}

fn lane(function: &str) -> Lane {
    Lane { tenant: tenant(), function: function.into() }
}

fn event(body: &'static str) -> NewEvent {
    of_f(Bytes::from_static(body.as_bytes()))
}

/// An event for the function f.
pub(super) fn of_f(body: Bytes) -> NewEvent {
    NewEvent {
        lane: lane("f"),
        qualifier: None,
        key: None,
        due_ms: 0,
        expires_ms: begin_ms() + 3_600_000,
        hops: 0,
        content_type: None,
        attributes: Vec::new(),
        body,
    }
}

fn bodies(taken: &[Queued]) -> Vec<&str> {
    taken.iter().map(|q| std::str::from_utf8(&q.event.body).unwrap()).collect()
}

fn dead(reason: &str) -> Settled {
    Settled::Dead { why: Why::Failed, reason: reason.into() }
}

#[test]
fn the_durable_queue_behaves_as_a_queue() {
    use testkit::suites::queue;
    for (name, case) in queue::ALL {
        println!("{name}");
        let (home, clock) = (tempfile::tempdir().unwrap(), Hand::new());
        fs::create_dir(home.path().join("queue")).unwrap();
        let store = QueueStore::open(home.path(), &small(), clock.clone(), &model::Loops::alone()).unwrap();
        let subject = queue::Subject { queue: Arc::new(store), clock };
        wait(case(&subject));
    }
}

#[test]
fn an_event_is_found_by_its_id_from_its_acceptance_to_its_end_and_after_a_restart() {
    let mut rig = Rig::new();
    let mut full = event("{\"a\":1}");
    full.qualifier = Some("live".into());
    full.attributes = vec![("trace".into(), Bytes::from_static(b"t"))];
    let id = rig.put(full.clone());
    assert_eq!(rig.stage(id), Stage::Queued);
    let taken = rig.take(10);
    assert_eq!((taken.len(), taken[0].id, &taken[0].event), (1, id, &full));
    assert_eq!(rig.stage(id), Stage::Running);
    assert!(rig.take(10).is_empty(), "what is taken is not offered again");
    // The process ends without a word of the attempt.
    rig.reopen();
    let taken = rig.take(10);
    assert_eq!((taken.len(), taken[0].id), (1, id), "it is offered again, under the same id");
    let again = Settled::Again { due_ms: 0, counted: true, reason: "it raised".into() };
    rig.settle(taken[0].seq, again);
    assert_eq!(rig.take(10)[0].attempts, 1);
    rig.settle(taken[0].seq, Settled::Succeeded);
    let end = rig.find(id).unwrap();
    assert_eq!((end.stage, end.attempts, end.bytes), (Stage::Succeeded, 2, 7));
    assert!(wait(rig.q().find(&"another".into(), id)).unwrap().is_none());
    rig.reopen();
    assert_eq!(rig.stage(id), Stage::Succeeded);
    assert!(rig.q().lanes().is_empty());
}

#[test]
fn dead_letters_are_kept_listed_and_driven_again() {
    let mut rig = Rig::new();
    let ids: Vec<_> = (0..5).map(|_| rig.put(event("x"))).collect();
    for taken in rig.take(10) {
        rig.settle(taken.seq, dead("it raised ValueError"));
    }
    rig.reopen();
    let query = |after, limit| EventQuery {
        tenant: tenant(),
        function: Some("f".into()),
        stage: Some(Stage::DeadLettered),
        after,
        limit,
    };
    let page = wait(rig.q().list(query(0, 3))).unwrap();
    assert_eq!(page.iter().map(|v| v.id).collect::<Vec<_>>(), ids[..3]);
    assert_eq!((page[0].why, &*page[0].reason, page[0].attempts), (Some(Why::Failed), "it raised ValueError", 1));
    assert_eq!(wait(rig.q().list(query(page[2].seq, 3))).unwrap().len(), 2);
    assert_eq!(wait(rig.q().body(&tenant(), ids[0])).unwrap().unwrap(), "x");
    assert_eq!(wait(rig.q().redrive(&lane("f"), Some(ids[1]), 60_000)).unwrap(), 1);
    assert_eq!(wait(rig.q().redrive(&lane("f"), Some(ids[1]), 60_000)).unwrap(), 0, "it is no dead letter any more");
    let taken = rig.take(10);
    assert_eq!((taken.len(), taken[0].id, taken[0].attempts), (1, ids[1], 0));
    assert_eq!(wait(rig.q().redrive(&lane("f"), None, 60_000)).unwrap(), 4);
    assert_eq!(rig.q().lanes()[0].1, model::queue::LaneView { queued: 5, dead: 0, taken: 1, paused: false });
    rig.settle(taken[0].seq, dead("again"));
    rig.settled();
    wait(rig.q().control(&lane("f"), Control::PurgeDead)).unwrap();
    assert_eq!(rig.stage(ids[1]), Stage::Cancelled);
}

#[test]
fn an_owner_pauses_cancels_and_purges_and_a_deleted_functions_events_become_dead_letters() {
    let mut rig = Rig::new();
    let ids: Vec<_> = (0..4).map(|_| rig.put(event("x"))).collect();
    wait(rig.q().control(&lane("f"), Control::Pause)).unwrap();
    rig.reopen();
    assert!(rig.q().lanes()[0].1.paused, "a pause survives a restart");
    assert!(wait(rig.q().cancel(&tenant(), ids[0])).unwrap());
    assert!(!wait(rig.q().cancel(&tenant(), ids[0])).unwrap(), "it has ended");
    let taken = rig.take(1);
    assert!(!wait(rig.q().cancel(&tenant(), taken[0].id)).unwrap(), "what runs is not cancelled");
    wait(rig.q().control(&lane("f"), Control::Deleted)).unwrap();
    let views: Vec<_> = ids.iter().map(|id| rig.find(*id).unwrap()).collect();
    assert_eq!(views[0].stage, Stage::Cancelled);
    assert!(views[1..].iter().all(|v| v.stage == Stage::DeadLettered && v.why == Some(Why::Deleted)), "{views:?}");
    // The attempt that was under way ends; its event has ended already.
    rig.settle(taken[0].seq, Settled::Succeeded);
    assert_eq!(rig.stage(taken[0].id), Stage::DeadLettered);
    rig.put(event("of the next function of that name"));
    wait(rig.q().control(&lane("f"), Control::Purge)).unwrap();
    assert!(rig.take(10).is_empty());
}

#[test]
fn what_ended_is_known_for_an_hour_and_of_so_many_and_a_dead_letter_longer() {
    let limits = QueueLimits { forget_every: Duration::ZERO, ended_max: 3, ..small() };
    let rig = Rig::with(limits);
    let ids: Vec<_> = (0..6).map(|_| rig.put(event("x"))).collect();
    let taken = rig.take(10);
    rig.settle(taken[0].seq, dead("no"));
    for taken in &taken[1..] {
        rig.settle(taken.seq, Settled::Succeeded);
    }
    let known = |id: InvocationId| rig.find(id).is_some();
    // The follower looks when something came in.
    assert!(soon(|| !known(ids[1]) && !known(ids[2])), "the oldest beyond the count go");
    assert!(ids[3..].iter().chain(&ids[..1]).all(|id| known(*id)), "and no others");
    rig.clock.forward(Duration::from_secs(3601));
    assert!(soon(|| ids[1..].iter().all(|id| !known(*id))));
    assert_eq!(rig.stage(ids[0]), Stage::DeadLettered);
    rig.clock.forward(Duration::from_secs(15 * 24 * 3600));
    assert!(soon(|| !known(ids[0])));
    assert!(soon(|| rig.q().lanes().is_empty()));
}

#[test]
fn a_long_row_of_one_key_holds_nobody_up() {
    let rig = Rig::new();
    // Accepted before any other. Of those that are accepted at the same time each may come first.
    rig.put(NewEvent { key: Some("k".into()), ..event("row") });
    let all = std::thread::scope(|scope| {
        let put = || (0..300).map(|_| rig.put(NewEvent { key: Some("k".into()), ..event("row") })).collect::<Vec<_>>().len();
        let all: Vec<_> = (0..8).map(|_| scope.spawn(put)).collect();
        all.into_iter().map(|t| t.join().unwrap()).sum::<usize>()
    });
    rig.put(event("alone"));
    let first = rig.take(10);
    assert_eq!(bodies(&first), ["row", "alone"], "those behind are not looked through");
    let mut last = first[0].seq;
    rig.settle(first[0].seq, Settled::Succeeded);
    for _ in 0..50 {
        let next = rig.take(10);
        assert_eq!(next.len(), 1);
        assert!(next[0].seq > last, "in the order of acceptance");
        last = next[0].seq;
        rig.settle(last, Settled::Succeeded);
    }
    assert_eq!(all, 2400);
    let explain = rusqlite::Connection::open(rig.home.path().join("queue/events.db")).unwrap();
    let ready: i64 =
        explain.query_row("SELECT count(*) FROM events WHERE state = 0 AND behind = 0 AND key = 'k'", [], |r| r.get(0)).unwrap();
    assert_eq!(ready, 1);
}

#[test]
fn what_follows_from_an_event_is_accepted_with_its_end() {
    let mut rig = Rig::new();
    rig.put(event("cause"));
    let taken = rig.take(1);
    let then = NewEvent { lane: lane("g"), ..event("effect") };
    wait(rig.q().settle(taken[0].seq, Settled::Succeeded, vec![then])).unwrap();
    rig.reopen();
    assert!(rig.take(10).is_empty());
    assert_eq!(bodies(&wait(rig.q().take(&lane("g"), 10)).unwrap().0), ["effect"]);
}

#[test]
fn a_large_body_has_a_file_that_goes_with_its_event_and_a_damaged_one_is_never_delivered() {
    let mut rig = Rig::new();
    let large: &'static str = "x".repeat(200_000).leak();
    let (kept, hurt) = (rig.put(event(large)), rig.put(event(large)));
    let files = |rig: &Rig| fs::read_dir(rig.home.path().join("queue/bodies")).unwrap().count();
    assert_eq!(files(&rig), 2);
    fs::write(rig.home.path().join(format!("queue/bodies/{}", InvocationId::random())), "nobody's").unwrap();
    let path = rig.home.path().join(format!("queue/bodies/{hurt}"));
    let mut bytes = fs::read(&path).unwrap();
    bytes[100_000] ^= 1;
    fs::write(&path, bytes).unwrap();
    rig.reopen();
    assert_eq!(files(&rig), 2, "what no event speaks of is gone");
    let taken = rig.take(10);
    assert_eq!((taken.len(), taken[0].id, taken[0].event.body.len()), (1, kept, 200_000));
    let end = rig.find(hurt).unwrap();
    assert_eq!((end.stage, end.why), (Stage::DeadLettered, Some(Why::Damaged)), "{end:?}");
    rig.settle(taken[0].seq, Settled::Succeeded);
    rig.settled();
    assert!(soon(|| files(&rig) == 1), "the body goes with its event");
}

/// Whether something becomes true within a while that only a hang outlasts.
fn soon(mut is: impl FnMut() -> bool) -> bool {
    (0..500).any(|_| is() || (std::thread::sleep(Duration::from_millis(20)), false).1)
}

fn segments(rig: &Rig) -> Vec<PathBuf> {
    let entries = fs::read_dir(rig.home.path().join("queue")).unwrap().flatten().map(|e| e.path());
    let mut all: Vec<_> = entries.filter(|p| p.extension().is_some_and(|e| e == "seg")).collect();
    all.sort();
    all
}

/// The index as it was before any event: all must be read from the log.
fn forget_index(rig: &Rig) {
    for name in ["events.db", "events.db-wal", "events.db-shm"] {
        let _ = fs::remove_file(rig.home.path().join("queue").join(name));
    }
}

#[test]
fn a_log_cut_anywhere_gives_what_came_before_and_goes_on() {
    let mut rig = Rig::new();
    let ids: Vec<_> = (0..6).map(|_| rig.put(event("one of six"))).collect();
    rig.close();
    let path = segments(&rig)[0].clone();
    let whole = fs::read(&path).unwrap();
    let end = whole.iter().rposition(|b| *b != 0).unwrap() + 1;
    let mut most = 0;
    for cut in (0..=end).rev().step_by(7).chain([12, 0]) {
        // As after a power cut: nothing, zeroes or an older file's bytes where the rest should be.
        for filler in [0u8, 0xa5] {
            let mut bytes = whole.clone();
            bytes[cut..end].fill(filler);
            segments(&rig).iter().for_each(|p| fs::remove_file(p).unwrap());
            fs::write(&path, bytes).unwrap();
            forget_index(&rig);
            rig.open();
            let found: Vec<_> = ids.iter().filter(|id| rig.find(**id).is_some()).collect();
            assert!(ids.iter().zip(&found).all(|(a, b)| a == *b), "a gap after a cut at {cut}");
            most = most.max(found.len());
            let (had, new) = (found.len(), rig.put(event("new")));
            rig.reopen();
            assert_eq!(rig.take(100).len(), had + 1, "cut at {cut}");
            assert!(rig.find(new).is_some());
            rig.close();
        }
    }
    assert_eq!(most, 6, "the whole log gives everything");
}

#[test]
fn a_flipped_bit_costs_its_own_event_and_is_named() {
    let mut rig = Rig::new();
    let ids: Vec<_> = (0..5).map(|_| rig.put(event("an event of five"))).collect();
    rig.close();
    let path = segments(&rig)[0].clone();
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.windows(16).enumerate().filter(|(_, w)| *w == b"an event of five").nth(2).unwrap().0;
    bytes[middle] ^= 4;
    fs::write(&path, bytes).unwrap();
    forget_index(&rig);
    rig.open();
    let lost: Vec<_> = ids.iter().filter(|id| rig.find(**id).is_none()).collect();
    assert_eq!(lost, [&ids[2]]);
    assert!(rig.q().damaged()[0].contains(path.file_name().unwrap().to_str().unwrap()), "{:?}", rig.q().damaged());
}

/// Syncs as it is told to, and counts them.
#[derive(Default)]
struct Syncs {
    count: AtomicUsize,
    fail: AtomicBool,
    slow_ms: AtomicU64,
}

impl Watch for Syncs {
    fn before(&self, act: Act, _: &Path) -> io::Result<()> {
        if act != Act::Sync {
            return Ok(());
        }
        self.count.fetch_add(1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(self.slow_ms.load(Ordering::SeqCst)));
        if self.fail.load(Ordering::SeqCst) { Err(io::Error::from_raw_os_error(5)) } else { Ok(()) }
    }
}

fn on_disk(limits: &QueueLimits) -> (tempfile::TempDir, Arc<Syncs>, QueueStore) {
    let (home, syncs) = (tempfile::tempdir().unwrap(), Arc::new(Syncs::default()));
    fs::create_dir(home.path().join("queue")).unwrap();
    let disk = Arc::new(Watched(syncs.clone()));
    let store = QueueStore::open_with(home.path(), limits, Hand::new(), &model::Loops::alone(), disk).unwrap();
    (home, syncs, store)
}

#[test]
fn a_sync_that_fails_is_never_trusted_again() {
    let (home, syncs, store) = on_disk(&small());
    let first = wait(store.put(event("safe"))).unwrap();
    // The next segment is made, and synced, on its own.
    assert!(soon(|| syncs.count.load(Ordering::SeqCst) >= 3));
    syncs.fail.store(true, Ordering::SeqCst);
    assert_eq!(cause(wait(store.put(event("unsafe")))), Cause::Internal);
    syncs.fail.store(false, Ordering::SeqCst);
    let before = syncs.count.load(Ordering::SeqCst);
    assert_eq!(cause(wait(store.put(event("after")))), Cause::Internal, "a later success says nothing of what was lost");
    assert_eq!(syncs.count.load(Ordering::SeqCst), before, "nor is it tried");
    assert!(store.broken().unwrap().contains("sync"));
    store.close();
    let store = QueueStore::open(home.path(), &small(), Hand::new(), &model::Loops::alone()).unwrap();
    assert!(wait(store.find(&tenant(), first)).unwrap().is_some());
    assert!(wait(store.put(event("after a restart"))).is_ok());
    store.close();
}

// F19: what comes in while the disk works waits together, and beyond a bound it is told to come back.
#[test]
fn a_slow_disk_takes_many_events_with_each_sync_and_pushes_back() {
    let (home, syncs, store) = on_disk(&QueueLimits { pending_bytes_max: 4 << 10, ..QueueLimits::default() });
    wait(store.put(event("the first makes segments"))).unwrap();
    assert!(soon(|| syncs.count.load(Ordering::SeqCst) >= 3));
    syncs.slow_ms.store(200, Ordering::SeqCst);
    let before = syncs.count.load(Ordering::SeqCst);
    let answers = std::thread::scope(|scope| {
        let put = || wait(store.put(event("one of many")));
        let all: Vec<_> = (0..200).map(|_| scope.spawn(put)).collect();
        all.into_iter().map(|t| t.join().unwrap()).collect::<Vec<_>>()
    });
    let (accepted, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    let synced = syncs.count.load(Ordering::SeqCst) - before;
    assert!(accepted.len() > 10 && synced < accepted.len() / 2, "{} accepted with {synced} syncs", accepted.len());
    assert!(!refused.is_empty(), "nothing was pushed back");
    for fault in refused.into_iter().filter_map(Result::err) {
        assert!(fault.cause == Cause::Exhausted && fault.retry_after.is_some(), "{fault:?}");
    }
    store.close();
    let store = QueueStore::open(home.path(), &small(), Hand::new(), &model::Loops::alone()).unwrap();
    for id in accepted.into_iter().filter_map(Result::ok) {
        assert!(wait(store.find(&tenant(), id)).unwrap().is_some());
    }
    store.close();
}

#[test]
fn many_producers_share_syncs_and_what_the_index_has_leaves_the_log() {
    let mut rig = Rig::new();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..500 {
                    rig.put(event("one of four thousand, long enough to fill some segments"));
                }
            });
        }
    });
    rig.settled();
    assert_eq!(rig.q().lanes().iter().map(|l| l.1.queued).sum::<u64>(), 4000);
    assert!(segments(&rig).len() > 2, "{:?}", segments(&rig));
    rig.reopen();
    rig.reopen();
    assert!(segments(&rig).len() <= 2, "what was followed goes: {:?}", segments(&rig));
    let mut seen = 0;
    loop {
        let taken = rig.take(700);
        if taken.is_empty() {
            break;
        }
        assert!(taken.windows(2).all(|w| w[0].seq < w[1].seq));
        seen += taken.len();
    }
    assert_eq!(seen, 4000);
}

// A4.1: what an earlier form of the index kept is kept, and in its order.
#[test]
fn an_index_of_the_first_form_is_brought_up_and_loses_nothing() {
    let mut rig = Rig::new();
    let keyed = |body| NewEvent { key: Some("k".into()), ..event(body) };
    let ids = [rig.put(keyed("1")), rig.put(keyed("2")), rig.put(event("alone"))];
    rig.settled();
    rig.close();
    let file = rig.home.path().join("queue/events.db");
    let old = rusqlite::Connection::open(file).unwrap();
    old.execute_batch(
        "DROP INDEX ready; ALTER TABLE events DROP COLUMN behind;
         CREATE INDEX waiting ON events (lane, due_ms, seq) WHERE state = 0;",
    )
    .unwrap();
    drop(old);
    rig.open();
    let first = rig.take(10);
    assert_eq!(bodies(&first), ["1", "alone"], "the second of the key waits for the first");
    rig.settle(first[0].seq, Settled::Succeeded);
    assert_eq!(bodies(&rig.take(10)), ["2"]);
    assert_eq!(rig.stage(ids[0]), Stage::Succeeded);
    rig.reopen();
    assert_eq!(rig.stage(ids[2]), Stage::Queued);
}

#[test]
fn a_function_that_is_not_used_any_more_leaves_no_lane_behind() {
    let mut rig = Rig::with(QueueLimits { forget_every: Duration::ZERO, ..small() });
    let of = |function: &str| NewEvent { lane: lane(function), ..event("x") };
    let names: Vec<String> = (0..50).map(|n| format!("used-{n}")).collect();
    for name in &names {
        rig.put(of(name));
    }
    rig.settled();
    wait(rig.q().control(&lane("used-7"), Control::Pause)).unwrap();
    for name in &names {
        for taken in wait(rig.q().take(&lane(name), 10)).unwrap().0 {
            rig.settle(taken.seq, if name == "used-8" { dead("no") } else { Settled::Succeeded });
        }
    }
    let file = rig.home.path().join("queue/events.db");
    let lanes = move || -> Vec<String> {
        let c = rusqlite::Connection::open(&file).unwrap();
        let mut query = c.prepare("SELECT function FROM lanes WHERE function LIKE 'used-%' ORDER BY function").unwrap();
        query.query_map([], |r| r.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    };
    rig.settled();
    assert_eq!(lanes().len(), 50, "what ended can be asked for");
    rig.clock.forward(Duration::from_secs(3601));
    // The follower looks when something came in.
    let few = soon(|| {
        rig.settled();
        lanes().len() == 2
    });
    assert!(few, "{:?}", lanes());
    assert_eq!(lanes(), ["used-7", "used-8"], "a pause and a dead letter stay");
    // A name that is used again is as a new one, also after a restart.
    rig.put(of("used-3"));
    rig.reopen();
    assert_eq!(wait(rig.q().take(&lane("used-3"), 10)).unwrap().0.len(), 1);
    assert!(rig.q().lane(&lane("used-7")).is_some_and(|view| view.paused));
}
