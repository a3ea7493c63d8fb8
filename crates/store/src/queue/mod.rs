//! The durable queue: events are acknowledged by a log (`log`), asked for in an index that follows it (`index`, `follow`), and
//! large bodies lie beside both (`bodies`). What was decided, and why: an acknowledgement costs one sequential write and its
//! share of one sync; everything else may lag behind and is read again from the log after a crash.
//!
//! Which events have an attempt under way is kept in memory alone: they end with this process, and are offered again.

mod attempts;
mod bodies;
mod catch_up;
pub(crate) mod disk;
mod entry;
mod figures;
mod follow;
mod index;
mod log;
mod questions;
mod seal_again;

pub(crate) use bodies::read as read_body;
pub use figures::Figures;

use crate::{
    Error,
    options::QueueLimits,
    seal::{Label, OVERHEAD, Refused, Seal},
};
use attempts::Claimed;
use bodies::Bodies;
use bytes::Bytes;
use disk::Disk;
use entry::{Chance, Entry, Kept, Put, id_of, reason};
use follow::{Board, Follower, Retention};
use index::Index;
use log::{Bounds, Lag, Log};
use model::{
    Cause, Clock, Fault, FunctionName, Fut, InvocationId, Loops, TenantId,
    ports::Queue,
    queue::{Control, EventQuery, EventView, Lane, LaneView, NewEvent, Settled, Stage, Taken, Tell, Why},
};
use rusqlite::Connection;
use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::Duration,
};
use tokio::sync::oneshot;

/// How long a question about a new event waits for the index.
const BEHIND_MAX: Duration = Duration::from_secs(2);
/// Looks for events of a tenant that is removed; after the first there are none but what an attempt under way left.
const FORGET_ROUNDS: usize = 4;

pub struct QueueStore {
    log: Log,
    board: Arc<Board>,
    bodies: Bodies,
    seal: Arc<Seal>,
    /// For attempts, and for what owners ask: a long list must not hold up attempts.
    reader: Reader,
    owners: Reader,
    clock: Arc<dyn Clock>,
    limits: QueueLimits,
    /// The first event of this process, and the next.
    first: u64,
    seq: AtomicU64,
    chance: Chance,
    follower: Mutex<Option<JoinHandle<()>>>,
    /// What was found broken in the log, named.
    damaged: Vec<String>,
    folder: PathBuf,
}

impl QueueStore {
    #[cfg(test)]
    pub(crate) fn open(directory: &Path, limits: &QueueLimits, clock: Arc<dyn Clock>, loops: &Arc<Loops>) -> Result<Self, Error> {
        Self::open_with(directory, limits, clock, loops, Arc::new(disk::Machine))
    }

    /// The same, with bodies sealed.
    pub(crate) fn sealed(
        directory: &Path,
        limits: &QueueLimits,
        seal: Arc<Seal>,
        clock: Arc<dyn Clock>,
        loops: &Arc<Loops>,
    ) -> Result<Self, Error> {
        Self::start(directory, limits, (seal, Arc::new(disk::Machine)), clock, loops)
    }

    #[cfg(test)]
    pub(crate) fn open_with(
        directory: &Path,
        limits: &QueueLimits,
        clock: Arc<dyn Clock>,
        loops: &Arc<Loops>,
        disk: Arc<dyn Disk>,
    ) -> Result<Self, Error> {
        Self::start(directory, limits, (Seal::off(), disk), clock, loops)
    }

    fn start(
        directory: &Path,
        limits: &QueueLimits,
        (seal, disk): (Arc<Seal>, Arc<dyn Disk>),
        clock: Arc<dyn Clock>,
        loops: &Arc<Loops>,
    ) -> Result<Self, Error> {
        let folder = directory.join("queue");
        let bodies = Bodies::open(&folder, disk.clone())?;
        let file = folder.join("events.db");
        let mut damaged = catch_up::index_lost(&folder, &file)?.into_iter().collect::<Vec<_>>();
        let whole = damaged.is_empty();
        let (mut index, followed) = Index::open(&file)?;
        let mut read = catch_up::read(&folder, &mut index, followed.segment, followed.offset, &mut damaged)?;
        let seq = followed.seq.max(read.seq);
        let board = Arc::new(Board::default());
        let held = index.lanes().filter(|(_, v)| v.queued > 0 || v.dead > 0 || v.paused);
        board.lanes().extend(held.map(|(lane, view)| (lane.clone(), view.clone())));
        if whole {
            sweep(&bodies, &index, &folder)?;
        }
        if seal.pending() {
            seal_again::all(&seal, &mut index, &bodies, &folder, &mut damaged)?;
            // What is in the index needs no log, and that has what was plain.
            index.skip_to(read.next).map_err(|e| Error::damaged(&file, e, "free some space, or restore it from a backup"))?;
            seal_again::forget_log(&folder, &*disk, read.next)?;
            read.oldest = read.next;
        }

        let (tx, rx) = mpsc::channel();
        let lag = Lag::new(limits.lag_bytes_max);
        let bounds =
            Bounds { segment_bytes: limits.segment_bytes, pending_bytes_max: limits.pending_bytes_max, group_bytes_max: 4 << 20 };
        let log = Log::start(&folder, read.next, bounds, disk.clone(), (tx, lag.clone()), loops)?;
        let follower = Follower {
            index,
            board: board.clone(),
            bodies: bodies.clone(),
            clock: clock.clone(),
            lag,
            disk,
            folder: folder.clone(),
            retention: Retention { ended: limits.ended_age_max, ended_max: limits.ended_max, dead: limits.dead_age_max },
            oldest: read.oldest,
            since_checkpoint: 1,
            forget_every: limits.forget_every,
            checkpoint_bytes: limits.checkpoint_bytes,
        };
        let watching = loops.clone();
        // It can't go on where it panicked: tried again it ends the platform, and the next start reads the log.
        let mut follower = Some(follower);
        let follow =
            move || watching.run("queue-index", |pulse| follower.take().expect("the event index can go on").run(&rx, pulse));
        let thread = std::thread::Builder::new().name("queue-index".into()).spawn(follow);
        let follower = thread.map_err(Error::io("start a thread for", &folder))?;
        Ok(Self {
            log,
            board,
            bodies,
            seal,
            reader: Reader::start("queue-read", &file, loops)?,
            owners: Reader::start("queue-list", &file, loops)?,
            clock,
            limits: limits.clone(),
            first: seq + 1,
            seq: AtomicU64::new(seq + 1),
            chance: Chance::default(),
            follower: Mutex::new(Some(follower)),
            damaged,
            folder,
        })
    }

    pub fn damaged(&self) -> &[String] {
        &self.damaged
    }
    /// Why no event is accepted any more, when that is so.
    pub fn broken(&self) -> Option<String> {
        self.log.broken()
    }

    /// Write what was left, follow it, and end.
    pub(crate) fn close(&self) {
        self.log.close();
        self.reader.close();
        self.owners.close();
        let follower = self.follower.lock().unwrap_or_else(PoisonError::into_inner).take();
        if follower.is_some_and(|f| f.join().is_err()) {
            tracing::error!("the thread of the event index panicked");
        }
    }

    fn number(&self, event: NewEvent) -> Put {
        let seq = self.seq.fetch_add(1, Ordering::Relaxed);
        let mut put = Put {
            seq,
            id: id_of(seq, self.chance.next()),
            accepted_ms: self.clock.wall_ms(),
            event,
            body: Kept::Here(Bytes::new()),
        };
        put.body = Kept::Here(std::mem::take(&mut put.event.body));
        put
    }

    /// Large bodies go to files of their own, before anything speaks of them.
    async fn lay_out(&self, mut put: Put) -> Result<Put, Fault> {
        let Kept::Here(body) = &put.body else { return Ok(put) };
        if body.len() <= self.limits.inline_bytes_max {
            if self.seal.is_on() {
                let sealed = seal_body(&self.seal, &put.event.lane.tenant, put.id, body)?;
                put.body = Kept::Sealed(sealed.into());
            }
            return Ok(put);
        }
        let (bodies, id, mut body) = (self.bodies.clone(), put.id, body.clone());
        let bytes = body.len() as u64;
        let (seal, tenant) = (self.seal.clone(), put.event.lane.tenant.clone());
        let sealed = seal.is_on();
        let write = move || {
            if sealed {
                body = seal_body(&seal, &tenant, id, &body).map_err(io::Error::other)?.into();
            }
            bodies.write(id, &body)
        };
        let written = tokio::task::spawn_blocking(write).await.map_err(Fault::internal)?;
        let crc = written.map_err(|e| {
            Fault::from(Error::Io { action: "keep the body of an event in", path: "queue/bodies".into(), source: e })
        })?;
        put.body = Kept::File { bytes, crc, sealed };
        Ok(put)
    }

    async fn push(&self, entry: Entry, applied: bool) -> Result<(), Fault> {
        let (tx, rx) = oneshot::channel();
        let (synced, followed) = if applied { (None, Some(tx)) } else { (Some(tx), None) };
        self.log.push(entry, synced, followed)?;
        rx.await.unwrap_or_else(|_| Err(Fault::new(Cause::Draining, "the platform is stopping")))
    }

    /// Remove all events of a tenant, and what is known of those that ended. None of its functions may be there any more.
    pub(crate) async fn forget(&self, tenant: &TenantId) -> Result<(), Fault> {
        let of = |function: &str| Lane { tenant: tenant.clone(), function: FunctionName::new(function) };
        // No function has this name: when the index has followed this, it has followed all that came before.
        self.control(&of(""), Control::Forget).await?;
        for _ in 0..FORGET_ROUNDS {
            let whose = tenant.clone();
            let names = self.owners.ask(move |c| questions::functions(c, &whose)).await?;
            if names.is_empty() {
                return Ok(());
            }
            for name in names {
                self.control(&of(&name), Control::Forget).await?;
            }
        }
        Err(crate::forget::unfinished("events"))
    }

    /// The last event that was accepted before now.
    fn up_to(&self) -> u64 {
        self.seq.load(Ordering::Relaxed).saturating_sub(1)
    }

    fn whole(&self, tenant: &TenantId, id: InvocationId, body: questions::Body) -> Result<Bytes, String> {
        let bytes = match body.here {
            Some(bytes) => bytes,
            None => self.bodies.read(id, body.bytes).map_err(|e| format!("its body can't be read: {e}"))?,
        };
        let longer = if body.sealed { OVERHEAD as u64 } else { 0 };
        if bytes.len() as u64 != body.bytes + longer || index::checksum(id, &bytes) != body.crc {
            return Err("its body is not what was accepted".into());
        }
        match body.sealed {
            true => {
                let opened = self.seal.open_sealed(label(tenant, &id.to_string()), &bytes);
                opened.map(Bytes::from).map_err(|why| format!("its body can't be opened: {why}"))
            }
            false if self.seal.complete() => Err(format!("its body can't be opened: {}", Refused::Plain)),
            false => Ok(bytes),
        }
    }

    async fn take_due(&self, lane: &Lane, limit: usize) -> Result<Taken, Fault> {
        let now = self.clock.wall_ms();
        let look = self.board.attempts.look();
        // As many more as are taken already: those are still due in the index.
        let (taken, mut keys) = look.of(lane);
        let (asked, wanted) = (lane.clone(), limit + taken);
        let (found, next) = self.reader.ask(move |c| questions::due(c, &asked, now, wanted)).await?;
        let (mut out, mut stale) = (Vec::new(), false);
        for (mut queued, body) in found {
            if out.len() == limit {
                break;
            }
            if queued.event.key.as_ref().is_some_and(|k| keys.contains(k)) {
                continue;
            }
            match look.claim(queued.seq, lane, &queued.event.key) {
                Claimed::Yes => {}
                Claimed::Taken => continue,
                Claimed::Stale => {
                    stale = true;
                    continue;
                }
            }
            match self.whole(&lane.tenant, queued.id, body) {
                Ok(bytes) => {
                    keys.extend(queued.event.key.clone());
                    queued.event.body = bytes;
                    out.push(queued);
                }
                Err(why) => {
                    tracing::error!(id = %queued.id, function = %lane.function, "a queued event is damaged: {why}");
                    let settled = Settled::Dead { why: Why::Damaged, reason: reason(&why) };
                    self.log.push(Entry::Settle { seq: queued.seq, at_ms: now, settled, then: Vec::new() }, None, None)?;
                }
            }
        }
        if stale {
            // Word of its being settled may have come before this look's end.
            self.board.tell(lane);
        }
        Ok((out, next))
    }

    /// Wait for the index where an event could have been accepted that isn't there yet. Gives whether it could.
    async fn behind(&self, id: InvocationId) -> bool {
        let (seq, count) = (entry::seq_of(id), self.log.count());
        let could = seq >= self.first && seq < self.seq.load(Ordering::Relaxed);
        if could {
            let mut followed = self.board.followed.subscribe();
            // A log that is broken is followed no further.
            let _ = tokio::time::timeout(BEHIND_MAX, followed.wait_for(|n| *n >= count)).await;
        }
        could
    }

    fn running(&self, mut view: EventView) -> EventView {
        if view.stage == Stage::Queued && self.board.attempts.contains(view.seq) {
            view.stage = Stage::Running;
        }
        view
    }
}

impl Queue for QueueStore {
    fn put(&self, event: NewEvent) -> Fut<'_, Result<InvocationId, Fault>> {
        Box::pin(async move {
            let put = self.lay_out(self.number(event)).await?;
            let (id, file) = (put.id, matches!(put.body, Kept::File { .. }));
            self.push(Entry::Put(put), false).await.inspect_err(|_| {
                if file {
                    self.bodies.remove(id);
                }
            })?;
            Ok(id)
        })
    }

    fn take(&self, lane: &Lane, limit: usize) -> Fut<'_, Result<Taken, Fault>> {
        let lane = lane.clone();
        Box::pin(async move { self.take_due(&lane, limit).await })
    }

    fn settle(&self, seq: u64, mut settled: Settled, then: Vec<NewEvent>) -> Fut<'_, Result<(), Fault>> {
        Box::pin(async move {
            match &mut settled {
                Settled::Again { reason: r, .. }
                | Settled::Dead { reason: r, .. }
                | Settled::Failed { reason: r, .. }
                | Settled::Untold { reason: r } => *r = reason(r),
                Settled::Succeeded | Settled::Cancelled => {}
            }
            let mut puts = Vec::with_capacity(then.len());
            for event in then {
                puts.push(self.lay_out(self.number(event)).await?);
            }
            self.push(Entry::Settle { seq, at_ms: self.clock.wall_ms(), settled, then: puts }, false).await
        })
    }

    fn release(&self, seq: u64) {
        if let Some(lane) = self.board.attempts.release(seq) {
            self.board.tell(&lane);
        }
    }

    fn lanes(&self) -> Vec<(Lane, LaneView)> {
        let mut lanes = self.board.lanes().clone();
        self.board.attempts.each_lane(|lane| {
            if let Some(view) = lanes.get_mut(lane) {
                view.taken += 1;
            }
        });
        lanes.into_iter().collect()
    }

    fn lane(&self, lane: &Lane) -> Option<LaneView> {
        let mut view = self.board.lanes().get(lane).cloned()?;
        view.taken = self.board.attempts.count(lane) as u64;
        Some(view)
    }

    fn on_change(&self, tell: Tell) {
        if self.board.tell.set(tell).is_err() {
            tracing::warn!("the queue was told twice whom to tell; the first stays");
        }
    }

    fn control(&self, lane: &Lane, control: Control) -> Fut<'_, Result<(), Fault>> {
        let lane = lane.clone();
        Box::pin(async move {
            self.push(Entry::Control { lane, at_ms: self.clock.wall_ms(), control, up_to: self.up_to() }, true).await
        })
    }

    fn redrive(&self, lane: &Lane, only: Option<InvocationId>, age_ms: u64) -> Fut<'_, Result<u64, Fault>> {
        let lane = lane.clone();
        Box::pin(async move {
            let dead = self.board.lanes().get(&lane).map_or(0, |v| v.dead);
            let count = match only {
                None => dead,
                Some(id) => {
                    let found = self.find(&lane.tenant, id).await?;
                    u64::from(found.is_some_and(|v| v.stage == Stage::DeadLettered && v.lane == lane))
                }
            };
            if count > 0 {
                let (at_ms, only) = (self.clock.wall_ms(), only.map(entry::seq_of));
                let entry = Entry::Redrive { lane, at_ms, expires_ms: at_ms + age_ms, only, up_to: self.up_to() };
                self.push(entry, true).await?;
            }
            Ok(count)
        })
    }

    fn cancel(&self, tenant: &TenantId, id: InvocationId) -> Fut<'_, Result<bool, Fault>> {
        let tenant = tenant.clone();
        Box::pin(async move {
            let look = self.board.attempts.look();
            let Some(view) = self.find(&tenant, id).await?.filter(|v| v.stage == Stage::Queued) else { return Ok(false) };
            // Taken by this: no attempt begins while it is being cancelled.
            if look.claim(view.seq, &view.lane, &view.key) != Claimed::Yes {
                return Ok(false);
            }
            drop(look);
            let entry =
                Entry::Settle { seq: view.seq, at_ms: self.clock.wall_ms(), settled: Settled::Cancelled, then: Vec::new() };
            self.push(entry, true).await.inspect_err(|_| self.release(view.seq))?;
            // It may have ended between the look and the hand.
            Ok(self.find(&tenant, id).await?.is_some_and(|v| v.stage == Stage::Cancelled))
        })
    }

    fn find(&self, tenant: &TenantId, id: InvocationId) -> Fut<'_, Result<Option<EventView>, Fault>> {
        let tenant = tenant.clone();
        Box::pin(async move {
            let (whose, look) = (tenant.clone(), move |c: &Connection| questions::find(c, &tenant, id));
            let mut found = self.owners.ask(look).await?;
            if found.is_none() && self.behind(id).await {
                found = self.owners.ask(move |c| questions::find(c, &whose, id)).await?;
            }
            Ok(found.map(|view| self.running(view)))
        })
    }

    fn body(&self, tenant: &TenantId, id: InvocationId) -> Fut<'_, Result<Option<Bytes>, Fault>> {
        let tenant = tenant.clone();
        Box::pin(async move {
            let whose = tenant.clone();
            let Some(body) = self.owners.ask(move |c| questions::body(c, &whose, id)).await? else { return Ok(None) };
            self.whole(&tenant, id, body).map(Some).map_err(|why| Fault::internal(format!("event {id}: {why}")))
        })
    }

    fn list(&self, mut query: EventQuery) -> Fut<'_, Result<Vec<EventView>, Fault>> {
        let limit = query.limit.min(self.limits.page_max);
        let stage = query.stage;
        let taken = self.board.attempts.after(query.after);
        // Those that run are queued in the index.
        query.limit = if stage == Some(Stage::Queued) { limit + taken.len() } else { limit };
        Box::pin(async move {
            let found = match stage {
                Some(Stage::Running) => self.owners.ask(move |c| questions::some(c, &query, &taken)).await?,
                _ => self.owners.ask(move |c| questions::list(c, &query)).await?,
            };
            let all = found.into_iter().map(|view| self.running(view));
            Ok(all.filter(|v| stage.is_none_or(|s| s == v.stage)).take(limit).collect())
        })
    }
}

/// Where a body lies: nothing else is taken for it.
fn label<'a>(tenant: &'a TenantId, id: &'a str) -> Label<'a> {
    Label { tenant: tenant.as_str(), kind: "event", name: id }
}

fn seal_body(seal: &Seal, tenant: &TenantId, id: InvocationId, body: &[u8]) -> Result<Vec<u8>, Error> {
    seal.seal(label(tenant, &id.to_string()), body)
}

/// Whether a record of the log is one that this version can read.
pub(crate) fn legible(record: &[u8]) -> bool {
    Entry::decode(record).is_some()
}

/// What makes an empty index.
pub(crate) fn schema() -> String {
    index::schema()
}

/// The checksum that an event's body was accepted with.
pub(crate) fn body_sum(id: InvocationId, body: &[u8]) -> u32 {
    index::checksum(id, body)
}

/// Bodies that no event speaks of: their writer was killed before the log did.
fn sweep(bodies: &Bodies, index: &Index, folder: &Path) -> Result<(), Error> {
    for id in bodies.all().map_err(Error::io("list", folder))? {
        if !index.needs_file(id).map_err(|e| Error::damaged(folder.join("events.db"), e, "restore it from a backup"))? {
            bodies.remove(id);
        }
    }
    Ok(())
}

type Question = Box<dyn FnOnce(&Connection) + Send>;

/// Reads the index on a thread of its own: a page of a long queue must not hold up calls.
struct Reader {
    questions: Mutex<Option<mpsc::Sender<Question>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Reader {
    fn start(name: &'static str, file: &Path, loops: &Arc<Loops>) -> Result<Self, Error> {
        let (connection, loops) = (index::connect(file)?, loops.clone());
        let (tx, rx) = mpsc::channel::<Question>();
        let read = move || {
            loops.run(name, |pulse| {
                for question in &rx {
                    pulse.work();
                    question(&connection);
                    pulse.rest();
                }
            });
        };
        let thread = std::thread::Builder::new().name(name.into()).spawn(read).map_err(Error::io("start a thread for", file))?;
        Ok(Self { questions: Mutex::new(Some(tx)), thread: Mutex::new(Some(thread)) })
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Fault> {
        let (tx, rx) = oneshot::channel();
        let gone = || Fault::new(Cause::Draining, "the platform is stopping");
        let question: Question = Box::new(move |c| drop(tx.send(question(c))));
        let questions = self.questions.lock().unwrap_or_else(PoisonError::into_inner).clone();
        questions.ok_or_else(gone)?.send(question).map_err(|_| gone())?;
        rx.await.map_err(|_| gone())?.map_err(|e| Fault::internal(format!("the index of queued events can't be read: {e}")))
    }

    /// Answer what was asked, and let go of the file.
    fn close(&self) {
        drop(self.questions.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|t| t.join().is_err()) {
            tracing::error!("a thread that reads queued events panicked");
        }
    }
}
