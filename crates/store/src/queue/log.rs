//! The log that takes the acknowledgement: one thread writes what has gathered, syncs once for all of it, then answers.
//!
//! Segments are written with zeroes ahead of need, so that syncing an entry changes no metadata of the file system; the first one
//! when there is a first event, so that a platform without any has none. A segment is never written again after a restart: what follows its last valid entry was never acknowledged. A sync that fails is never tried
//! again: the kernel may have dropped the pages, and a later success would say nothing of them (the log is *broken* until the
//! next start reads what is really there).

use super::{
    disk::{Disk, Kept},
    entry::Entry,
};
use crate::{Error, segments};
use model::{Cause, Fault, Loops, Pulse};
use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc},
    thread::JoinHandle,
    time::Duration,
};
use tokio::sync::oneshot;

pub(super) type Reply = oneshot::Sender<Result<(), Fault>>;

/// How much may wait for the disk, and how much the index may lag behind.
#[derive(Clone, Debug)]
pub(super) struct Bounds {
    pub segment_bytes: u64,
    pub pending_bytes_max: usize,
    pub group_bytes_max: usize,
}

/// How far the index may lag behind: a burst is acknowledged by the log alone, and what lasts waits here in the end.
pub(super) struct Lag {
    /// What lags behind, and how much may.
    bytes: Mutex<(usize, usize)>,
    less: Condvar,
}

impl Lag {
    pub(super) fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { bytes: Mutex::new((0, bytes_max)), less: Condvar::new() })
    }
    fn lock(&self) -> MutexGuard<'_, (usize, usize)> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// So much more is to be followed; waits for room.
    fn more(&self, bytes: usize) {
        let mut held = self.lock();
        while held.0 > 0 && held.0 + bytes > held.1 {
            held = self.less.wait(held).unwrap_or_else(PoisonError::into_inner);
        }
        held.0 += bytes;
    }
    pub(super) fn less(&self, bytes: usize) {
        self.lock().0 -= bytes;
        self.less.notify_one();
    }
    /// Nobody follows any more: nobody waits for that.
    pub(super) fn open(&self) {
        self.lock().1 = usize::MAX / 2;
        self.less.notify_one();
    }
}

/// Entries that are on stable storage, in order, and the position behind them.
pub(super) struct Synced {
    pub entries: Vec<Entry>,
    pub segment: u32,
    pub offset: u64,
    /// How many entries were left with the log up to the last of these.
    pub count: u64,
    /// What to tell when they are in the index too.
    pub applied: Vec<Reply>,
    pub bytes: usize,
}

#[derive(Default)]
struct Waiting {
    jobs: Vec<Job>,
    bytes: usize,
    /// Entries that were left here since the start.
    count: u64,
    closed: bool,
    /// Why nothing is accepted any more.
    broken: Option<String>,
}

struct Job {
    entry: Entry,
    record: Vec<u8>,
    synced: Option<Reply>,
    applied: Option<Reply>,
}

pub(super) struct Log {
    waiting: Arc<(Mutex<Waiting>, Condvar)>,
    bounds: Bounds,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Log {
    /// The next segment is `number`; entries go on to `index` once they are synced.
    pub(super) fn start(
        folder: &Path,
        number: u32,
        bounds: Bounds,
        disk: Arc<dyn Disk>,
        (index, lag): (mpsc::Sender<Synced>, Arc<Lag>),
        loops: &Arc<Loops>,
    ) -> Result<Self, Error> {
        let waiting = Arc::new((Mutex::new(Waiting::default()), Condvar::new()));
        let ahead = Ahead { disk, folder: folder.to_owned(), next: number, size: bounds.segment_bytes, making: None };
        let (segment, framed) = (None, Vec::new());
        let writer = Writer { waiting: waiting.clone(), segment, ahead, index, lag, bounds: bounds.clone(), framed, count: 0 };
        let (mut writer, watching) = (Some(writer), loops.clone());
        let thread = std::thread::Builder::new()
            .name("queue-log".into())
            .spawn(move || watching.run("queue-log", |pulse| writer.take().expect("the event log can go on").run(pulse)))
            .map_err(Error::io("start", folder))?;
        Ok(Self { waiting, bounds, thread: Mutex::new(Some(thread)) })
    }

    /// Leave an entry to be written. `synced` is told when it is on stable storage, `applied` when it can be read as well.
    pub(super) fn push(&self, entry: Entry, synced: Option<Reply>, applied: Option<Reply>) -> Result<(), Fault> {
        let mut record = Vec::with_capacity(256);
        entry.encode(&mut record);
        if record.len() > segments::RECORD_BYTES_MAX {
            return Err(Fault::new(
                Cause::TooLarge,
                format!("an event with {} bytes besides its body is too large", record.len()),
            ));
        }
        let mut waiting = self.lock();
        if let Some(why) = &waiting.broken {
            return Err(broken(why));
        }
        if waiting.closed {
            return Err(Fault::new(Cause::Draining, "the platform is stopping"));
        }
        // What ends events may always come in: it makes room.
        if waiting.bytes + record.len() > self.bounds.pending_bytes_max && matches!(entry, Entry::Put(_)) {
            let text = "events come in faster than the disk takes them";
            return Err(Fault::new(Cause::Exhausted, text).detail("queue").retry_after(Duration::from_secs(1)));
        }
        waiting.bytes += record.len();
        waiting.count += 1;
        waiting.jobs.push(Job { entry, record, synced, applied });
        let first = waiting.jobs.len() == 1;
        drop(waiting);
        if first {
            self.waiting.1.notify_one();
        }
        Ok(())
    }

    /// Write what was left, and end.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.waiting.1.notify_one();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|t| t.join().is_err()) {
            tracing::error!("the event log's thread panicked");
        }
    }

    /// How many entries were left with it.
    pub(super) fn count(&self) -> u64 {
        self.lock().count
    }

    pub(super) fn broken(&self) -> Option<String> {
        self.lock().broken.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        lock(&self.waiting.0)
    }
}

fn broken(why: &str) -> Fault {
    Fault::internal(format!(
        "the event log can't be trusted since {why}; restart the platform to read what is really on the disk"
    ))
}

struct Writer {
    waiting: Arc<(Mutex<Waiting>, Condvar)>,
    segment: Option<Segment>,
    ahead: Ahead,
    index: mpsc::Sender<Synced>,
    lag: Arc<Lag>,
    bounds: Bounds,
    framed: Vec<u8>,
    count: u64,
}

impl Writer {
    fn run(mut self, pulse: &Pulse) {
        while let Some(jobs) = self.gathered() {
            let mut jobs = jobs.into_iter().peekable();
            while jobs.peek().is_some() {
                let room = self.segment.as_ref().map_or(u64::MAX, Segment::room).min(self.bounds.group_bytes_max as u64);
                let (mut group, mut bytes) = (Vec::new(), 0);
                while let Some(job) = jobs.next_if(|j| group.is_empty() || bytes + framed(j) <= room) {
                    bytes += framed(&job);
                    group.push(job);
                }
                pulse.work();
                self.commit(group, bytes, pulse);
            }
            pulse.rest();
        }
    }

    fn gathered(&self) -> Option<Vec<Job>> {
        let (waiting, more) = &*self.waiting;
        let mut waiting = lock(waiting);
        while waiting.jobs.is_empty() && !waiting.closed {
            waiting = more.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        waiting.bytes = 0;
        let jobs = std::mem::take(&mut waiting.jobs);
        (!jobs.is_empty()).then_some(jobs)
    }

    fn commit(&mut self, mut group: Vec<Job>, bytes: u64, pulse: &Pulse) {
        self.count += group.len() as u64;
        match self.write(&group, bytes) {
            Ok((segment, offset)) => {
                // Whoever has gone meanwhile doesn't hear it; the event is kept all the same.
                group.iter_mut().filter_map(|j| j.synced.take()).for_each(|reply| drop(reply.send(Ok(()))));
                let applied = group.iter_mut().filter_map(|j| j.applied.take()).collect();
                let entries = group.into_iter().map(|j| j.entry).collect();
                // Waits while the index lags behind, which in the end refuses new events at the door.
                pulse.rest();
                self.lag.more(self.framed.len());
                pulse.work();
                let _ =
                    self.index.send(Synced { entries, segment, offset, count: self.count, applied, bytes: self.framed.len() });
            }
            Err(fault) => {
                let replies = group.into_iter().flat_map(|j| [j.synced, j.applied]).flatten();
                replies.for_each(|reply| drop(reply.send(Err(fault.clone()))));
            }
        }
    }

    /// On stable storage when it returns the position behind it.
    fn write(&mut self, group: &[Job], bytes: u64) -> Result<(u32, u64), Fault> {
        if let Some(why) = lock(&self.waiting.0).broken.clone() {
            return Err(broken(&why));
        }
        let full = self.segment.as_ref().is_none_or(|s| s.room() < bytes);
        let segment = match &mut self.segment {
            Some(segment) if !full => segment,
            other => other.insert(self.ahead.next().map_err(|e| no_room(&e))?),
        };
        self.framed.clear();
        for job in group {
            segments::frame(&mut self.framed, segment.salt, |out| out.extend_from_slice(&job.record));
        }
        segment.file.write_at(&self.framed, segment.length).map_err(|e| no_room(&e))?;
        if let Err(e) = segment.file.sync() {
            let why = format!("a sync of {} failed ({e})", segment.path.display());
            tracing::error!("{why}; no event is accepted any more until the platform is restarted");
            lock(&self.waiting.0).broken = Some(why.clone());
            return Err(broken(&why));
        }
        segment.length += self.framed.len() as u64;
        Ok((segment.number, segment.length))
    }
}

fn framed(job: &Job) -> u64 {
    (segments::HEAD_BYTES + job.record.len()) as u64
}

fn lock(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

fn no_room(error: &io::Error) -> Fault {
    if crate::error::no_room(error) {
        let fault = Fault::new(Cause::Exhausted, format!("the event can't be kept: {error}")).detail("disk");
        return fault.hint("free some space in the state directory").retry_after(Duration::from_secs(5));
    }
    Fault::internal(format!("the event can't be kept: {error}"))
}

/// A file of zeroes that becomes entries from its beginning on.
struct Segment {
    file: Arc<dyn Kept>,
    path: PathBuf,
    number: u32,
    salt: u32,
    length: u64,
    size: u64,
}

impl Segment {
    fn make(disk: &dyn Disk, folder: &Path, number: u32, size: u64) -> io::Result<Self> {
        let path = segments::path(folder, number);
        let fresh = path.with_extension("new");
        // What there was no room for must not hold the room that is left.
        Self::fill(disk, folder, &fresh, path, number, size).inspect_err(|_| drop(disk.remove(&fresh)))
    }

    fn fill(disk: &dyn Disk, folder: &Path, fresh: &Path, path: PathBuf, number: u32, size: u64) -> io::Result<Self> {
        let file = disk.create(fresh)?;
        let (salt, preamble) = segments::preamble();
        let zeroes = vec![0; 1 << 20];
        let mut at = 0;
        while at < size {
            let part = zeroes.len().min((size - at) as usize);
            file.write_at(&zeroes[..part], at)?;
            at += part as u64;
        }
        file.write_at(&preamble, 0)?;
        file.sync()?;
        disk.rename(fresh, &path)?;
        disk.sync_folder(folder)?;
        Ok(Self { file, path, number, salt, length: preamble.len() as u64, size })
    }

    fn room(&self) -> u64 {
        self.size - self.length
    }
}

/// Makes the next segment while the present one fills.
struct Ahead {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    next: u32,
    size: u64,
    making: Option<JoinHandle<io::Result<Segment>>>,
}

impl Drop for Ahead {
    /// Whoever opens the folder next makes segments of the same numbers.
    fn drop(&mut self) {
        if let Some(making) = self.making.take() {
            drop(making.join());
        }
    }
}

impl Ahead {
    fn next(&mut self) -> io::Result<Segment> {
        let made = match self.making.take() {
            Some(making) => making.join().unwrap_or_else(|_| Err(io::Error::other("making a segment panicked"))),
            None => Segment::make(&*self.disk, &self.folder, self.next, self.size),
        }?;
        self.next = made.number + 1;
        let (disk, folder, number, size) = (self.disk.clone(), self.folder.clone(), self.next, self.size);
        let make = move || Segment::make(&*disk, &folder, number, size);
        // Without the thread the next one is made when it is needed.
        self.making = std::thread::Builder::new().name("queue-ahead".into()).spawn(make).ok();
        Ok(made)
    }
}
