//! F2: the process is killed at each named point of accepting, handing out and recording an event, and of clearing away after it.
//! What was acknowledged is there afterwards; what was recorded as over is not offered again.

use super::{
    crash::{child, from_parent},
    disks::{Act, Watch, Watched},
    *,
};
use crate::{options::QueueLimits, queue::QueueStore};
use bytes::Bytes;
use model::{
    ports::Queue,
    queue::{Lane, NewEvent, Settled, Stage},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, BufRead, BufReader, Write as _},
    sync::atomic::AtomicI64,
};

const POINT: &str = "MYNA_STORE_TEST_POINT";

/// Every point: before what is done to which kind of file, or after it, or between two words with the queue.
const POINTS: &[&str] = &[
    "before write of a segment",
    "before sync of a segment",
    "after sync of a segment",
    "before create of a segment",
    "before rename of a segment",
    "after rename of a segment",
    "before create of a body",
    "before write of a body",
    "before sync of a body",
    "after sync of a body",
    "before remove of a body",
    "before remove of a segment",
    "after remove of a segment",
    "acknowledged",
    "taken",
    "tried",
    "settled",
];

fn limits() -> QueueLimits {
    QueueLimits { segment_bytes: 16 << 10, checkpoint_bytes: 24 << 10, inline_bytes_max: 2 << 10, ..QueueLimits::default() }
}

/// Kills this process when a point is reached the n-th time.
struct Trap {
    point: String,
    left: AtomicI64,
}

impl Trap {
    fn reach(&self, point: &str) {
        if point == self.point && self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
            // No other thread may say anything after it.
            std::thread::sleep(Duration::from_secs(60));
        }
    }
    fn at(&self, when: &str, act: Act, path: &Path) {
        let of = if path.components().any(|c| c.as_os_str() == "bodies") { "a body" } else { "a segment" };
        self.reach(&format!("{when} {} of {of}", format!("{act:?}").to_lowercase()));
    }
}

impl Watch for Trap {
    fn before(&self, act: Act, path: &Path) -> io::Result<()> {
        self.at("before", act, path);
        Ok(())
    }
    fn after(&self, act: Act, path: &Path) {
        self.at("after", act, path);
    }
}

fn lane() -> Lane {
    Lane { tenant: tenant(), function: "f".into() }
}

fn event(n: usize) -> NewEvent {
    // Every fifth has a file of its own.
    let body = if n.is_multiple_of(5) { "x".repeat(3000) } else { n.to_string() };
    let expires_ms = begin_ms() + 3_600_000;
    let (lane, body) = (lane(), Bytes::from(body));
    NewEvent { lane, qualifier: None, key: None, due_ms: 0, expires_ms, hops: 0, content_type: None, attributes: vec![], body }
}

fn say(words: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{words}").and_then(|()| out.flush()).unwrap();
}

#[test]
#[ignore = "a process of its own, killed by its own disk and judged by the test below"]
fn works_until_its_disk_kills_it() {
    let Some((folder, round)) = from_parent() else { return };
    let point = std::env::var(POINT).unwrap();
    let trap = Arc::new(Trap { point, left: AtomicI64::new(round.parse().unwrap()) });
    let disk = Arc::new(Watched(trap.clone()));
    let store = QueueStore::open_with(&folder, &limits(), Hand::new(), &model::Loops::alone(), disk).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let (store, trap) = (&store, &trap);
            scope.spawn(move || {
                for n in 0.. {
                    let id = wait(store.put(event(n * 3 + thread))).unwrap();
                    say(&format!("ack {id}"));
                    trap.reach("acknowledged");
                }
            });
        }
        loop {
            for taken in wait(store.take(&lane(), 20)).unwrap().0 {
                trap.reach("taken");
                trap.reach("tried");
                wait(store.settle(taken.seq, Settled::Succeeded, Vec::new())).unwrap();
                trap.reach("settled");
                say(&format!("end {}", taken.id));
            }
        }
    });
}

#[test]
fn killed_at_each_named_point_the_queue_has_all_that_it_acknowledged() {
    let mut told = (0, 0);
    for point in POINTS {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("queue")).unwrap();
        let (mut acknowledged, mut ended) = (BTreeSet::new(), BTreeSet::new());
        for round in [1, 5] {
            let mut child = child("kills::works_until_its_disk_kills_it", home.path(), round, &[], &[(POINT, point)]);
            for line in BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok) {
                let words: Vec<_> = line.split(' ').collect();
                for (word, all) in [("ack", &mut acknowledged), ("end", &mut ended)] {
                    let id = words.iter().position(|w| *w == word).and_then(|at| words.get(at + 1)?.parse().ok());
                    all.extend(id.map(InvocationId));
                }
            }
            let status = child.wait().unwrap();
            assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "{point} was not reached: {status}");
            judge(home.path(), point, &acknowledged, &ended);
        }
        told = (told.0 + acknowledged.len(), told.1 + ended.len());
    }
    eprintln!("{} points, 2 kills at each: {} events acknowledged and {} ended, none lost", POINTS.len(), told.0, told.1);
}

fn judge(folder: &Path, point: &str, acknowledged: &BTreeSet<InvocationId>, ended: &BTreeSet<InvocationId>) {
    let store = QueueStore::open(folder, &limits(), Hand::new(), &model::Loops::alone()).unwrap();
    assert!(store.damaged().is_empty(), "{point}: {:?}", store.damaged());
    let mut offered = BTreeMap::new();
    loop {
        let taken = wait(store.take(&lane(), 1000)).unwrap().0;
        if taken.is_empty() {
            break;
        }
        offered.extend(taken.into_iter().map(|t| (t.id, t.seq)));
    }
    for id in acknowledged {
        let view = wait(store.find(&tenant(), *id)).unwrap();
        let stage = view.unwrap_or_else(|| panic!("{point}: {id} was acknowledged and is not there")).stage;
        assert!(matches!(stage, Stage::Running | Stage::Succeeded), "{point}: {id} is {stage:?}");
    }
    for id in ended {
        assert!(!offered.contains_key(id), "{point}: {id} was over and is offered again");
    }
    offered.values().for_each(|seq| store.release(*seq));
    store.close();
}
