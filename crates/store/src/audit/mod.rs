//! The audit log: who changed what, and who was refused. Entries are appended and chained by hashes; one thread writes what has
//! gathered, syncs once for all of it, then answers. A sync that failed is never tried again: no change is confirmed any more
//! until the next start reads what is really there.

mod disk;
mod floods;
mod link;
mod marks;
mod verify;

pub use link::Numbered;
pub use verify::{Finding, Verified};

use crate::{
    Error, hex,
    options::AuditLimits,
    segments::{self, Found, scan},
};
use disk::{Disk, Failed};
use floods::Floods;
use link::Link;
use model::{
    Cause, Clock, Fault, Fut, Loops, Pulse,
    audit::{self, Entry},
};
use std::{
    collections::VecDeque,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::{Duration, UNIX_EPOCH},
};
use tokio::sync::oneshot;

/// How often the writer looks whether a window of refusals is over, while one is open.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Entries in one answer.
pub const PAGE_MAX: usize = 10_000;

type Reply = oneshot::Sender<Result<(), Fault>>;

/// What to read of the log. Empty texts match everything.
#[derive(Clone, Debug, Default)]
pub struct AuditQuery {
    /// Inclusive, milliseconds since the Unix epoch.
    pub since_ms: u64,
    pub tenant: String,
    /// An action's beginning: `lambda:` or `lambda:CreateFunction`.
    pub action: String,
    /// The newest so many.
    pub limit: usize,
}

/// The log in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditView {
    /// Entries that are kept.
    pub entries: u64,
    /// Number of the last one.
    pub last: u64,
    /// Its hash, in hexadecimal.
    pub head: String,
    pub bytes: u64,
    /// Entries about refusals that the disk didn't take, since the start.
    pub lost: u64,
    pub broken: Option<String>,
}

pub struct AuditStore {
    inner: Arc<Inner>,
    pending_max: usize,
    folder: PathBuf,
    damaged: Option<String>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Inner {
    waiting: Mutex<Waiting>,
    more: Condvar,
    disk: Mutex<Disk>,
    clock: Arc<dyn Clock>,
}

struct Waiting {
    jobs: Vec<(Entry, Option<Reply>)>,
    floods: Floods,
    lost: u64,
    closed: bool,
    broken: Option<String>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl AuditStore {
    /// Open the log in `folder`, which exists. What a kill tore is cut off; entries that were on stable storage and are gone
    /// stay missing.
    pub(crate) fn open(
        folder: &Path,
        limits: &AuditLimits,
        clock: Arc<dyn Clock>,
        loops: &Arc<Loops>,
    ) -> Result<AuditStore, Error> {
        let disk = Disk::open(folder, limits)?;
        let damaged = disk.damaged.clone();
        let floods = Floods::new(limits);
        let waiting = Waiting { jobs: Vec::new(), floods, lost: 0, closed: false, broken: None };
        let (waiting, disk) = (Mutex::new(waiting), Mutex::new(disk));
        let inner = Arc::new(Inner { waiting, more: Condvar::new(), disk, clock });
        let (writer, loops) = (inner.clone(), loops.clone());
        let work = move || loops.run("audit", |pulse| writer.run(pulse));
        let thread = std::thread::Builder::new().name("store-audit".into()).spawn(work);
        let thread = Mutex::new(Some(thread.map_err(Error::io("start the audit log of", folder))?));
        Ok(AuditStore { inner, pending_max: limits.pending_max, folder: folder.to_owned(), damaged, thread })
    }

    /// What is wrong with the log's own files.
    pub(crate) fn damaged(&self) -> Option<String> {
        self.damaged.clone()
    }

    pub fn view(&self) -> AuditView {
        let (lost, broken) = {
            let waiting = lock(&self.inner.waiting);
            (waiting.lost, waiting.broken.clone())
        };
        let disk = lock(&self.inner.disk);
        let (head, anchor) = (disk.head, disk.anchor);
        AuditView {
            entries: (head.seq + 1).saturating_sub(anchor.seq),
            last: head.seq,
            head: hex(&head.hash),
            bytes: disk.folder.bytes(),
            lost,
            broken,
        }
    }

    /// The newest entries that match, the oldest of them first. Reads files: not for a thread that others wait for.
    pub fn read(&self, query: &AuditQuery) -> Result<Vec<Numbered>, Fault> {
        let limit = query.limit.min(PAGE_MAX);
        let numbers: Vec<u32> = lock(&self.inner.disk).folder.segments.keys().rev().copied().collect();
        let mut kept: VecDeque<Numbered> = VecDeque::new();
        for number in numbers {
            let Some(bytes) = self.segment(number)? else { continue };
            let entry = |found| match found {
                Found::Record { bytes, .. } => Link::parse(bytes)?.entry(),
                _ => None,
            };
            let fits = |n: &Numbered| {
                n.entry.at_ms >= query.since_ms
                    && (query.tenant.is_empty() || n.entry.tenant == query.tenant)
                    && n.entry.action.starts_with(&query.action)
            };
            let all: Vec<Numbered> = scan(&bytes).filter_map(entry).collect();
            let newest = all.iter().map(|n| n.entry.at_ms).max().unwrap_or(0);
            for numbered in all.into_iter().rev().filter(fits) {
                if kept.len() == limit {
                    return Ok(kept.into());
                }
                kept.push_front(numbered);
            }
            // Older segments hold older entries, but for a clock that was set back a little.
            if newest.saturating_add(CLOCK_SLACK_MS) < query.since_ms {
                break;
            }
        }
        Ok(kept.into())
    }

    /// Read everything and follow the chain. `known` is the hash of an entry, noted elsewhere before.
    pub fn verify(&self, known: Option<&str>) -> Result<Verified, Fault> {
        let wanted = known.map(|text| {
            link::from_hex(text).ok_or_else(|| {
                Fault::invalid(format!("head is {text:?}; it must be 64 hexadecimal digits, as verify shows them"))
            })
        });
        let wanted = wanted.transpose()?;
        // Retention may take the oldest segment while they are read; then it is begun again.
        for _ in 0..ROUNDS_MAX {
            let (anchor, head, segments) = {
                let disk = lock(&self.inner.disk);
                (disk.anchor, disk.head, disk.folder.segments.clone())
            };
            let mut walk = verify::Walk::from(anchor, wanted);
            for (number, length) in &segments {
                if let Some(bytes) = self.segment(*number)? {
                    let length = usize::try_from(*length).unwrap_or(usize::MAX).min(bytes.len());
                    walk.segment(*number, &bytes[..length]);
                }
            }
            if lock(&self.inner.disk).anchor == anchor {
                let mut verified = walk.end(head);
                if let Some(damaged) = &self.damaged {
                    verified.findings.push(Finding { seq: 0, what: damaged.clone() });
                }
                return Ok(verified);
            }
        }
        Err(Fault::new(Cause::Conflict, "the audit log was cleaned up while it was read").retry_after(Duration::from_secs(1)))
    }

    /// A segment's bytes; `None` when it is gone.
    fn segment(&self, number: u32) -> Result<Option<Vec<u8>>, Fault> {
        let path = crate::segments::path(&self.folder, number);
        match segments::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::Io { action: "read", path, source }.into()),
        }
    }

    pub(crate) fn retain(&self) -> Result<u64, Error> {
        let now = UNIX_EPOCH + Duration::from_millis(self.inner.clock.wall_ms());
        lock(&self.inner.disk).retain(now)
    }

    /// Write what was left, and end.
    pub(crate) fn close(&self) {
        lock(&self.inner.waiting).closed = true;
        self.inner.more.notify_one();
        let thread = lock(&self.thread).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the audit log's writer ended by a panic");
        }
    }

    fn push(&self, entry: Entry) -> Result<oneshot::Receiver<Result<(), Fault>>, Fault> {
        let (reply, told) = oneshot::channel();
        let mut waiting = lock(&self.inner.waiting);
        waiting.ready(self.pending_max)?;
        waiting.jobs.push((entry.bounded(), Some(reply)));
        drop(waiting);
        self.inner.more.notify_one();
        Ok(told)
    }
}

/// What is wrong with a log that nobody has opened, or somebody else writes. Nothing is changed.
pub(crate) fn examine(folder: &Path) -> io::Result<Vec<String>> {
    // The head first: what is written meanwhile comes behind it.
    let head = marks::head(folder)?;
    let anchor = marks::anchor(folder)?;
    let segments = segments::Folder::open(folder.to_owned())?;
    let Some(anchor) = anchor else {
        let used = head.is_some() || segments.last().is_some();
        return Ok(if used { vec!["its file \"anchor\" is missing or damaged".to_owned()] } else { Vec::new() });
    };
    let mut walk = verify::Walk::from(anchor, None);
    for number in segments.segments.keys() {
        walk.segment(*number, &segments.read(*number)?);
    }
    let before = marks::Mark { seq: anchor.seq.saturating_sub(1), hash: anchor.hash };
    let verified = walk.end(head.unwrap_or(before));
    let mut found: Vec<String> = verified.findings.into_iter().map(|finding| finding.what).collect();
    if head.is_none() && segments.last().is_some() {
        found.push("its file \"head\" is missing or damaged: nobody can tell whether it was cut off at the end".to_owned());
    }
    Ok(found)
}

/// How far the wall clock may have been set back between two entries that are still found by their time.
const CLOCK_SLACK_MS: u64 = 24 * 3_600_000;
/// How often a check is begun again because of retention.
const ROUNDS_MAX: usize = 3;

impl Waiting {
    fn ready(&self, pending_max: usize) -> Result<(), Fault> {
        if let Some(why) = &self.broken {
            return Err(broken(why));
        }
        if self.closed {
            return Err(Fault::new(Cause::Draining, "the platform is stopping"));
        }
        if self.jobs.len() >= pending_max {
            let text = "changes come in faster than the audit log takes them";
            return Err(Fault::new(Cause::Exhausted, text).detail("disk").retry_after(Duration::from_secs(1)));
        }
        Ok(())
    }
}

fn broken(why: &str) -> Fault {
    Fault::internal(format!("no change is accepted since {why}; restart the platform to read what is really on the disk"))
}

impl audit::Audit for AuditStore {
    fn ready(&self) -> Result<(), Fault> {
        lock(&self.inner.waiting).ready(self.pending_max)
    }

    fn change(&self, entry: Entry) -> Fut<'_, Result<(), Fault>> {
        let pushed = self.push(entry);
        Box::pin(async move { pushed?.await.map_err(|_| Fault::internal("the audit log's writer has ended"))? })
    }

    fn denied(&self, entry: Entry) {
        let now = self.inner.clock.mono();
        let mut waiting = lock(&self.inner.waiting);
        let before = waiting.floods.pending();
        let entries = waiting.floods.denied(entry.bounded(), now);
        let wake = !entries.is_empty() || (!before && waiting.floods.pending());
        for entry in entries {
            if waiting.ready(self.pending_max).is_ok() {
                waiting.jobs.push((entry, None));
            } else {
                waiting.lost += entry.count;
            }
        }
        drop(waiting);
        if wake {
            self.inner.more.notify_one();
        }
    }
}

impl Inner {
    fn run(&self, pulse: &Pulse) {
        while let Some(jobs) = self.gathered() {
            pulse.work();
            let (entries, replies): (Vec<_>, Vec<_>) = jobs.into_iter().unzip();
            let denials: u64 = entries.iter().zip(&replies).filter(|p| p.1.is_none()).map(|p| p.0.count).sum();
            let result = self.write(entries);
            if let Err(fault) = &result {
                tracing::error!(%fault, "entries of the audit log are not kept");
                lock(&self.waiting).lost += denials;
            }
            // Whoever has gone meanwhile doesn't hear it; the entry is kept all the same.
            replies.into_iter().flatten().for_each(|reply| drop(reply.send(result.clone())));
            pulse.rest();
        }
    }

    /// What is to be written; `None` when nothing will come any more.
    fn gathered(&self) -> Option<Vec<(Entry, Option<Reply>)>> {
        let mut waiting = lock(&self.waiting);
        loop {
            let ended = match waiting.closed {
                true => waiting.floods.all(),
                false => waiting.floods.ended(self.clock.mono()),
            };
            waiting.jobs.extend(ended.into_iter().map(|entry| (entry, None)));
            if !waiting.jobs.is_empty() {
                return Some(std::mem::take(&mut waiting.jobs));
            }
            if waiting.closed {
                return None;
            }
            waiting = match waiting.floods.pending() {
                true => self.more.wait_timeout(waiting, LOOK_EVERY).unwrap_or_else(PoisonError::into_inner).0,
                false => self.more.wait(waiting).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    fn write(&self, entries: Vec<Entry>) -> Result<(), Fault> {
        if let Some(why) = &lock(&self.waiting).broken {
            return Err(broken(why));
        }
        lock(&self.disk).append(entries).map_err(|failed| match failed {
            Failed::Refused(error) => {
                let fault = Fault::from(Error::Io { action: "write the audit log", path: PathBuf::from("audit"), source: error });
                fault.retry_after(Duration::from_secs(5))
            }
            Failed::Unknown(error) => {
                let why = format!("a sync of the audit log failed ({error})");
                tracing::error!("{why}; no change is accepted any more until the platform is restarted");
                lock(&self.waiting).broken = Some(why.clone());
                broken(&why)
            }
        })
    }
}
