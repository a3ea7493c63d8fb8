//! What joins the journal to logs, records and usage: the thread that writes, and the readers' side.
//!
//! Whoever reads first writes what has gathered, under the same lock as the writing thread: a caller that was answered finds
//! the lines and the record of its invocation.

use crate::{
    Error, Options,
    journal::{Batch, Bounds, Journal},
    logs::LogState,
    records::{RecordState, Usage, tally::Tally},
    rows::RowStore,
};
use model::{
    Cause, Clock, Fault, Fut, InvocationId, Loops, Pulse, TenantId,
    event::Record,
    log::LogLine,
    ports::{self, LogGroup, LogPage, LogQuery, LogStream, UsageHour},
};
use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::sync::broadcast;

/// While lines flow, they are written this often.
const EVERY: Duration = Duration::from_millis(10);
/// After so many rounds without anything new the writer sleeps until it is woken.
const ROUNDS_IDLE: u32 = 20;
const USAGE_EVERY: Duration = Duration::from_secs(1);
/// Tries to have all that was counted on stable storage.
const FLUSHES_MAX: usize = 100;

pub(crate) struct Ledger {
    journal: Arc<Journal>,
    state: Mutex<State>,
    usage: Usage,
    rows: Arc<RowStore>,
    clock: Arc<dyn Clock>,
    usage_age: Duration,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct State {
    logs: LogState,
    records: RecordState,
    /// Emptied, and kept for its room.
    spare: Batch,
}

impl Ledger {
    pub(crate) fn open(
        folder: &Path,
        options: &Options,
        rows: Arc<RowStore>,
        clock: Arc<dyn Clock>,
        loops: &Arc<Loops>,
    ) -> Result<Arc<Ledger>, Error> {
        let usage = Usage::open(folder)?;
        let records = RecordState::open(&folder.join("records"), &options.records, &usage)?;
        let logs = LogState::open(&folder.join("logs"), &options.logs)?;
        let bounds = Bounds {
            lines: options.logs.pending_lines_max,
            bytes: options.logs.pending_bytes_max,
            records: options.records.pending_max,
        };
        let state = Mutex::new(State { logs, records, spare: Batch::default() });
        let journal = Arc::new(Journal::new(bounds));
        let usage_age = options.records.usage_age_max;
        let ledger = Arc::new(Ledger { journal, state, usage, rows, clock, usage_age, thread: Mutex::default() });
        let (writer, loops) = (ledger.clone(), loops.clone());
        let work = move || loops.run("journal", |pulse| writer.run(pulse));
        let thread = std::thread::Builder::new().name("store-journal".into()).spawn(work);
        *ledger.thread.lock().expect("no holder of this lock panics") =
            Some(thread.map_err(Error::io("start the journal of", folder))?);
        Ok(ledger)
    }

    /// Records of calls that are not what was written, named.
    pub(crate) fn damaged(&self) -> Vec<String> {
        self.current().0.records.damaged.clone()
    }

    pub(crate) fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    fn run(&self, pulse: &Pulse) {
        let (mut idle, mut counted) = (0, Instant::now());
        loop {
            pulse.rest();
            let longest = self.usage.dirty().then_some(USAGE_EVERY);
            if idle >= ROUNDS_IDLE && !self.journal.wait(longest) || !self.journal.wait(Some(Duration::ZERO)) {
                return;
            }
            pulse.work();
            idle = if self.current().1 { 0 } else { idle + 1 };
            if self.usage.dirty() && counted.elapsed() >= USAGE_EVERY {
                counted = Instant::now();
                self.usage.flush(&self.rows);
            }
            std::thread::sleep(EVERY);
        }
    }

    /// The state with everything written that has gathered, and whether that was anything.
    fn current(&self) -> (MutexGuard<'_, State>, bool) {
        // A writer that panicked lost what it had taken; files and counts are whole between two writes, and readers go on.
        let mut guard = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *guard;
        let mut batch = self.journal.take(std::mem::take(&mut state.spare));
        let any = !batch.is_empty();
        if any {
            let dropped: Vec<_> = batch.dropped().map(|(stream, count)| (stream.clone(), count)).collect();
            state.logs.write(&batch.lines, &dropped, self.clock.wall_ms());
            let lost = batch.records_dropped;
            state.records.write(&mut batch.records, lost, &self.usage);
            batch.clear();
        }
        state.spare = batch;
        (guard, any)
    }

    /// Remove logs and records of a tenant, and what they cost.
    pub(crate) fn forget(&self, tenant: &TenantId) -> Result<(), Fault> {
        let failed = |e: std::io::Error| Fault::internal(format!("logs or records can't be removed: {e}"));
        let last = {
            let (mut state, _) = self.current();
            state.logs.forget(tenant).map_err(failed)?;
            state.records.part()
        };
        // What stands in a segment is counted before the segment changes: it would be counted by its place after a crash.
        for _ in 0..FLUSHES_MAX {
            match self.usage.flush(&self.rows) {
                Some(told) => drop(told.recv()),
                None if self.usage.dirty() || self.usage.moving() => std::thread::sleep(EVERY),
                None => break,
            }
        }
        let gone = self.usage.forget(&self.rows, tenant)?;
        gone.recv().unwrap_or_else(|_| Err(crate::forget::unfinished("usage")))?;
        self.current().0.records.forget(tenant, last).map_err(failed)
    }

    /// Drop what is past its age or too much; bytes given back.
    pub(crate) fn retain(&self) -> Result<u64, Error> {
        let now_ms = self.clock.wall_ms();
        let now: SystemTime = UNIX_EPOCH + Duration::from_millis(now_ms);
        let (mut state, _) = self.current();
        let freed = state.logs.retain(now)? + state.records.retain(now)?;
        drop(state);
        let first_hour = now_ms.saturating_sub(self.usage_age.as_millis() as u64) / 3_600_000;
        if let Err(fault) = self.usage.retain(&self.rows, first_hour) {
            tracing::debug!(%fault, "old usage is removed later");
        }
        Ok(freed)
    }

    pub(crate) fn sizes(&self) -> Sizes {
        let (state, _) = self.current();
        Sizes {
            log_groups: state.logs.count(),
            logs_bytes: state.logs.bytes(),
            lines_lost: state.logs.lost,
            records_bytes: state.records.bytes(),
            records_lost: state.records.lost,
        }
    }

    /// Write and count what has gathered. Nothing is taken after this.
    pub(crate) fn close(&self) {
        self.journal.close();
        let thread = self.thread.lock().expect("no holder of this lock panics").take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the journal's writer ended by a panic");
        }
        let (state, _) = self.current();
        if let Err(error) = state.logs.sync().and_then(|()| state.records.sync()) {
            tracing::warn!(%error, "logs or records may not outlive a power cut");
        }
        drop(state);
        // One batch may be on its way; what has gathered since goes after it.
        for _ in 0..100 {
            match self.usage.flush(&self.rows) {
                Some(told) => drop(told.recv()),
                None if self.usage.dirty() => std::thread::sleep(EVERY),
                None => return,
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) log_groups: usize,
    pub(crate) logs_bytes: u64,
    pub(crate) lines_lost: u64,
    pub(crate) records_bytes: u64,
    pub(crate) records_lost: u64,
}

/// Reads logs.
pub struct LogStore(pub(crate) Arc<Ledger>);

impl LogStore {
    /// How long a group keeps its lines; without an age as long as all do.
    pub fn keep(&self, tenant: &TenantId, group: &str, age: Option<Duration>) {
        self.0.current().0.logs.keep(tenant, group, age);
    }
    /// A platform that stops waits for no one who merely listens.
    pub fn dismiss_followers(&self) {
        self.0.current().0.logs.dismiss();
    }
}

impl ports::Logs for LogStore {
    fn groups(&self, tenant: &TenantId, prefix: &str, after: &str, limit: usize) -> Vec<LogGroup> {
        self.0.current().0.logs.groups(tenant, prefix, after, limit)
    }
    fn streams(&self, tenant: &TenantId, group: &str) -> Vec<LogStream> {
        self.0.current().0.logs.streams(tenant, group)
    }
    fn read(&self, query: LogQuery) -> Fut<'_, Result<LogPage, Fault>> {
        let now_ms = self.0.clock.wall_ms();
        self.0.current().0.logs.reading(query, now_ms).run()
    }
    fn write(&self, lines: Vec<LogLine>) -> Fut<'_, Result<(), Fault>> {
        let ledger = self.0.clone();
        let work = move || {
            let written = ledger.current().0.logs.put(&lines);
            written.map_err(|e| Fault::new(Cause::Exhausted, format!("log lines can't be kept: {e}")))
        };
        Box::pin(async move { tokio::task::spawn_blocking(work).await.map_err(Fault::internal)? })
    }
    fn remove(&self, tenant: &TenantId, group: &str, stream: Option<&str>) -> Fut<'_, Result<bool, Fault>> {
        let (ledger, tenant, group) = (self.0.clone(), tenant.clone(), group.to_owned());
        let stream = stream.map(str::to_owned);
        let work = move || {
            let removed = ledger.current().0.logs.remove(&tenant, &group, stream.as_deref());
            removed.map_err(|e| Fault::internal(format!("logs of {group} can't be removed: {e}")))
        };
        Box::pin(async move { tokio::task::spawn_blocking(work).await.map_err(Fault::internal)? })
    }
    fn follow(&self, tenant: &TenantId, groups: &[String]) -> Result<broadcast::Receiver<LogLine>, Fault> {
        self.0.current().0.logs.follow(tenant, groups)
    }
}

/// Reads records of invocations and what they cost.
pub struct RecordStore(pub(crate) Arc<Ledger>);

impl RecordStore {
    /// What became of all calls since the start.
    pub fn tally(&self) -> Tally {
        self.0.current().0.records.tally.clone()
    }
}

impl ports::Records for RecordStore {
    fn recent(&self, tenant: &TenantId, function: Option<&str>, limit: usize) -> Vec<Record> {
        self.0.current().0.records.recent(tenant, function, limit)
    }
    fn find(&self, tenant: &TenantId, id: &InvocationId) -> Option<Record> {
        self.0.current().0.records.find(tenant, id)
    }
    fn usage(&self, tenant: &TenantId, function: Option<&str>, from_hour: u64) -> Vec<UsageHour> {
        drop(self.0.current());
        self.0.usage.query(tenant, function, from_hour).unwrap_or_else(|fault| {
            tracing::error!(%fault, "usage can't be shown");
            Vec::new()
        })
    }
    fn follow(&self) -> broadcast::Receiver<Arc<Record>> {
        self.0.current().0.records.followers.subscribe()
    }
}
