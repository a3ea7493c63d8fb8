//! F15, F16: the power goes at any moment. A disk that remembers every write gives, for a moment, what may be there afterwards: all
//! that was synced, and of the rest nothing, everything, or some sectors in any order; of names in a folder, some first changes.

use super::*;
use crate::{
    options::QueueLimits,
    queue::{
        QueueStore,
        disk::{Disk, Kept, Machine},
    },
};
use bytes::Bytes;
use model::{
    ports::Queue,
    queue::{NewEvent, Settled, Stage},
};
use std::{
    collections::{BTreeMap, HashSet},
    fs, io,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

enum Op {
    Create {
        file: usize,
        path: PathBuf,
    },
    Write {
        file: usize,
        at: usize,
        bytes: Vec<u8>,
    },
    Sync {
        file: usize,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    /// With the index as it is on stable storage then: segments go only after that.
    Remove {
        path: PathBuf,
        index: Option<Vec<u8>>,
    },
    SyncFolder {
        path: PathBuf,
    },
}

#[derive(Default)]
struct Remembers {
    ops: Mutex<Vec<Op>>,
}

impl Remembers {
    fn add(&self, op: Op) {
        self.ops.lock().unwrap_or_else(PoisonError::into_inner).push(op);
    }
    fn moment(&self) -> usize {
        self.ops.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

struct Power(Arc<Remembers>);

struct Written {
    inner: Arc<dyn Kept>,
    file: usize,
    to: Arc<Remembers>,
}

impl Disk for Power {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn Kept>> {
        let inner = Machine.create(path)?;
        let file = self.0.moment();
        self.0.add(Op::Create { file, path: path.into() });
        Ok(Arc::new(Written { inner, file, to: self.0.clone() }))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Machine.rename(from, to)?;
        self.0.add(Op::Rename { from: from.into(), to: to.into() });
        Ok(())
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        let index = path.extension().is_some_and(|e| e == "seg").then(|| fs::read(path.with_file_name("events.db")));
        self.0.add(Op::Remove { path: path.into(), index: index.transpose()? });
        Machine.remove(path)
    }
    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        Machine.sync_folder(path)?;
        self.0.add(Op::SyncFolder { path: path.into() });
        Ok(())
    }
}

impl Kept for Written {
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.inner.write_at(bytes, at)?;
        self.to.add(Op::Write { file: self.file, at: at as usize, bytes: bytes.into() });
        Ok(())
    }
    fn sync(&self) -> io::Result<()> {
        self.inner.sync()?;
        self.to.add(Op::Sync { file: self.file });
        Ok(())
    }
}

/// Numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % below.max(1)
    }
}

#[derive(Default)]
struct Content {
    synced: Vec<u8>,
    later: Vec<(usize, Vec<u8>)>,
}

impl Content {
    fn put(to: &mut Vec<u8>, at: usize, bytes: &[u8]) {
        to.resize(to.len().max(at + bytes.len()), 0);
        to[at..at + bytes.len()].copy_from_slice(bytes);
    }
    fn sync(&mut self) {
        for (at, bytes) in self.later.drain(..) {
            Self::put(&mut self.synced, at, &bytes);
        }
    }
    /// As the disk may have it: of a thousand sectors that were not synced, about so many.
    fn found(&self, kept: usize, dice: &mut Dice) -> Vec<u8> {
        let mut found = self.synced.clone();
        for (at, bytes) in &self.later {
            let mut from = 0;
            while from < bytes.len() {
                let to = (from + SECTOR - (at + from) % SECTOR).min(bytes.len());
                if dice.roll(1000) < kept {
                    Self::put(&mut found, at + from, &bytes[from..to]);
                }
                from = to;
            }
        }
        found
    }
}

enum Naming<'a> {
    Is(&'a Path, usize),
    Moves(&'a Path, &'a Path),
    Goes(&'a Path),
}

/// Write into `to` what may be there when the power goes after so many steps.
fn cut(ops: &[Op], from: &Path, to: &Path, dice: &mut Dice) {
    let mut contents: BTreeMap<usize, Content> = BTreeMap::new();
    let (mut names, mut pending): (BTreeMap<&Path, usize>, Vec<Naming<'_>>) = Default::default();
    let mut index: Option<&[u8]> = None;
    let name = |names: &mut BTreeMap<_, _>, naming| match naming {
        Naming::Is(path, file) => drop(names.insert(path, file)),
        Naming::Moves(old, new) => drop(names.remove(old).map(|file| names.insert(new, file))),
        Naming::Goes(path) => drop(names.remove(path)),
    };
    for op in ops {
        match op {
            Op::Create { file, path } => pending.push(Naming::Is(path, *file)),
            Op::Write { file, at, bytes } => contents.entry(*file).or_default().later.push((*at, bytes.clone())),
            Op::Sync { file } => contents.entry(*file).or_default().sync(),
            Op::Rename { from, to } => pending.push(Naming::Moves(from, to)),
            Op::Remove { path, index: at } => {
                // The checkpoint before it was synced, whatever becomes of the name.
                index = at.as_deref().or(index);
                pending.push(Naming::Goes(path));
            }
            Op::SyncFolder { path } => {
                let (of, rest) = pending.drain(..).partition::<Vec<_>, _>(|n| match n {
                    Naming::Is(at, _) | Naming::Moves(_, at) | Naming::Goes(at) => at.parent() == Some(path),
                });
                of.into_iter().for_each(|naming| name(&mut names, naming));
                pending = rest;
            }
        }
    }
    let some = dice.roll(pending.len() + 1);
    pending.into_iter().take(some).for_each(|naming| name(&mut names, naming));
    let kept = [0, 500, 1000, 900, 100][dice.roll(5)];
    fs::create_dir_all(to.join("queue/bodies")).unwrap();
    for (path, file) in names {
        let found = contents.get(&file).map(|c| c.found(kept, dice)).unwrap_or_default();
        fs::write(to.join(path.strip_prefix(from).unwrap()), found).unwrap();
    }
    if let Some(index) = index {
        fs::write(to.join("queue/events.db"), index).unwrap();
    }
}

fn limits() -> QueueLimits {
    QueueLimits { segment_bytes: 16 << 10, checkpoint_bytes: 24 << 10, inline_bytes_max: 2 << 10, ..QueueLimits::default() }
}

fn event(n: usize) -> NewEvent {
    let body = if n.is_multiple_of(16) { "x".repeat(3000) } else { format!("event {n}") };
    super::queue::of_f(Bytes::from(body))
}

/// What was promised, and after which step.
#[derive(Default)]
struct Promises {
    accepted: Vec<(usize, InvocationId)>,
    ended: Vec<(usize, InvocationId)>,
}

fn work(home: &Path, remembers: &Arc<Remembers>, producers: usize, each: usize) -> Promises {
    let disk = Arc::new(Power(remembers.clone()));
    let store = QueueStore::open_with(home, &limits(), Hand::new(), &model::Loops::alone(), disk).unwrap();
    let promises = Mutex::new(Promises::default());
    let lane = event(0).lane;
    std::thread::scope(|scope| {
        for thread in 0..producers {
            let (store, promises) = (&store, &promises);
            scope.spawn(move || {
                for n in 0..each {
                    let id = wait(store.put(event(n * producers + thread))).unwrap();
                    promises.lock().unwrap().accepted.push((remembers.moment(), id));
                }
            });
        }
        let mut ended = 0;
        while ended < producers * each / 2 {
            for taken in wait(store.take(&lane, 50)).unwrap().0 {
                wait(store.settle(taken.seq, Settled::Succeeded, Vec::new())).unwrap();
                promises.lock().unwrap().ended.push((remembers.moment(), taken.id));
                ended += 1;
            }
        }
    });
    store.close();
    promises.into_inner().unwrap()
}

#[test]
fn after_a_power_cut_at_any_moment_all_that_was_acknowledged_is_there() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("queue")).unwrap();
    let remembers = Arc::new(Remembers::default());
    let full = std::env::var_os("MYNA_SOAK_HOURS").is_some();
    let (each, cuts) = if full { (5000, 10_000) } else { (250, 100) };
    let promises = work(home.path(), &remembers, 4, each);
    let ops = remembers.ops.lock().unwrap();
    assert!(ops.iter().any(|op| matches!(op, Op::Remove { index: Some(_), .. })), "no segment went");
    let mut dice = Dice(7);
    for n in 0..cuts {
        let at = if n == 0 { ops.len() } else { 1 + dice.roll(ops.len()) };
        let after = tempfile::tempdir().unwrap();
        cut(&ops[..at], home.path(), after.path(), &mut dice);
        judge(after.path(), at, &promises);
    }
    eprintln!("{} steps, {cuts} power cuts, {} events acknowledged, none lost", ops.len(), promises.accepted.len());
}

fn judge(home: &Path, at: usize, promises: &Promises) {
    let store = QueueStore::open(home, &limits(), Hand::new(), &model::Loops::alone()).unwrap();
    let promised = |all: &[(usize, InvocationId)]| all.iter().filter(|p| p.0 <= at).map(|p| p.1).collect::<Vec<_>>();
    let (accepted, ended) = (promised(&promises.accepted), promised(&promises.ended).into_iter().collect::<HashSet<_>>());
    for id in &accepted {
        let found = wait(store.find(&tenant(), *id)).unwrap();
        let view = found.unwrap_or_else(|| panic!("{id} is gone after a cut at {at}: {:?}", store.damaged()));
        if ended.contains(id) {
            assert_eq!(view.stage, Stage::Succeeded, "after a cut at {at}");
        }
    }
    // Everything that is offered is whole, also what was accepted and never acknowledged.
    let lane = event(0).lane;
    loop {
        let taken = wait(store.take(&lane, 1000)).unwrap().0;
        if taken.is_empty() {
            break;
        }
        for t in taken {
            assert!(t.event.body == "x".repeat(3000) || t.event.body.starts_with(b"event "), "after a cut at {at}");
        }
    }
    let dead = wait(store.list(model::queue::EventQuery {
        tenant: tenant(),
        function: None,
        stage: Some(Stage::DeadLettered),
        after: 0,
        limit: 10,
    }));
    assert!(dead.unwrap().is_empty(), "a damaged event after a cut at {at}");
    assert!(wait(store.put(event(1))).is_ok(), "it goes on after a cut at {at}");
    store.close();
}
