//! The one thread that writes: gathers commits, checks each against what came before it, and makes them durable together.

use super::{
    Database, TenantRows,
    mirror::{Changes, Mirror},
};
use crate::options::RowLimits;
use model::{Cause, Clock, Expect, Fault, Key, Pulse, Resource, TenantId, Write};
use rusqlite::{Connection, ErrorCode};
use std::{
    path::PathBuf,
    sync::{
        Arc, PoisonError, RwLock,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::Duration,
};
use tokio::sync::oneshot;

pub(crate) type Observer = Box<dyn Fn(&[Key]) + Send + Sync>;

/// What is done inside a transaction beside the rows.
pub(crate) type Work = Box<dyn FnOnce(&Connection) -> rusqlite::Result<()> + Send>;

pub(crate) enum Job {
    Commit {
        writes: Vec<Write>,
        reply: Reply,
    },
    /// A transaction beside the rows (usage); `done` is told when it is durable or failed.
    Side {
        work: Work,
        done: Box<dyn FnOnce(Result<(), Fault>) + Send>,
    },
    Stop,
}

/// Commits that share one transaction at most.
const GROUP_MAX: usize = 256;
/// Without changes for so long, what was changed goes where it belongs.
const QUIET_FOR: Duration = Duration::from_secs(2);
/// Held back on the disk, given up so that deleting works when nothing else does.
const RESERVE_BYTES: usize = 1 << 20;

pub(super) struct Writer {
    database: Database,
    mirror: Arc<Mirror>,
    revision: u64,
    limits: RowLimits,
    tenants: Arc<RwLock<Option<TenantRows>>>,
    reserve: PathBuf,
    clock: Arc<dyn Clock>,
    /// Why nothing is written any more.
    failed: Option<String>,
}

type Reply = oneshot::Sender<Result<u64, Fault>>;

/// A commit that was checked against all before it, those not yet stored included. Its answer waits for them.
struct Planned {
    writes: Vec<Write>,
    reply: Reply,
    /// Its revision; the last one where it changes nothing.
    outcome: Result<u64, Fault>,
}

impl Writer {
    pub(super) fn new(
        database: Database,
        mirror: Arc<Mirror>,
        revision: u64,
        (limits, tenants): (RowLimits, Arc<RwLock<Option<TenantRows>>>),
        reserve: PathBuf,
        clock: Arc<dyn Clock>,
    ) -> Writer {
        let writer = Writer { database, mirror, revision, limits, tenants, reserve, clock, failed: None };
        writer.hold_reserve();
        writer
    }

    pub(super) fn run(&mut self, queue: &Receiver<Job>, pulse: &Pulse) {
        // The log of changes has no second copy and its end no checksum of its own: it is emptied as soon as nothing comes.
        let mut dirty = true;
        loop {
            pulse.rest();
            let first = match queue.recv_timeout(if dirty { QUIET_FOR } else { Duration::MAX }) {
                Ok(first) => first,
                Err(RecvTimeoutError::Timeout) => {
                    pulse.work();
                    dirty = self.failed.is_none() && self.database.in_place() && !self.database.checkpoint().unwrap_or(false);
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            };
            dirty = true;
            pulse.work();
            let mut group = Vec::new();
            let mut next = Some(first);
            while let Some(job) = next.take() {
                match job {
                    Job::Commit { writes, reply } => group.push((writes, reply)),
                    Job::Side { work, done } => {
                        self.commit(std::mem::take(&mut group));
                        done(self.side(work));
                    }
                    Job::Stop => {
                        self.commit(std::mem::take(&mut group));
                        return;
                    }
                }
                if group.len() < GROUP_MAX {
                    next = queue.try_recv().ok();
                }
            }
            self.commit(group);
        }
    }

    fn commit(&mut self, group: Vec<(Vec<Write>, Reply)>) {
        let (mut together, mut revision) = (Changes::new(), self.revision);
        let mut planned = Vec::new();
        for (writes, reply) in group {
            let outcome = self.plan(&together, writes.clone(), revision + 1).map(|changes| {
                revision += u64::from(!changes.is_empty());
                together.extend(changes);
                revision
            });
            planned.push(Planned { writes, reply, outcome });
        }
        let stored = if together.is_empty() { Ok(()) } else { self.store(&together, revision) };
        match stored {
            Ok(()) => {
                self.publish(together, revision);
                planned.into_iter().for_each(|one| answer(one.reply, one.outcome));
            }
            Err(fault) if planned.len() == 1 => planned.into_iter().for_each(|one| answer(one.reply, Err(fault.clone()))),
            // Not all need be refused for the one that found no room; each is checked again, without what failed.
            Err(_) => planned.into_iter().for_each(|one| self.commit(vec![(one.writes, one.reply)])),
        }
    }

    /// What the rows become, if every precondition holds.
    fn plan(&self, before: &Changes, writes: Vec<Write>, revision: u64) -> Result<Changes, Fault> {
        let now = self.clock.wall_ms();
        let mut changes = Changes::new();
        for write in writes {
            let key = write.key();
            let found = match changes.get(key).or_else(|| before.get(key)) {
                Some(pending) => pending.clone(),
                None => self.mirror.get(key),
            };
            match write {
                Write::Put { key, body, expect } => {
                    holds(&key, expect, found.as_ref())?;
                    if body.len() > self.limits.body_bytes_max {
                        return Err(Fault::new(Cause::TooLarge, format!("row {:?} is {} bytes long", key.name, body.len())));
                    }
                    let created_ms = found.map_or(now, |row| row.created_ms);
                    changes.insert(key.clone(), Some(Resource { key, revision, body, created_ms, modified_ms: now }));
                }
                Write::Delete { key, expect } => {
                    holds(&key, expect, found.as_ref())?;
                    changes.insert(key, None);
                }
            }
        }
        self.quota(before, &changes)?;
        Ok(changes)
    }

    fn quota(&self, before: &Changes, changes: &Changes) -> Result<(), Fault> {
        // The rows of a tenant lie side by side.
        let mut tenants: Vec<&TenantId> = changes.keys().map(|key| &key.tenant).collect();
        tenants.dedup();
        tenants.into_iter().try_for_each(|tenant| self.quota_of(tenant, before, changes))
    }

    fn quota_of(&self, tenant: &TenantId, before: &Changes, changes: &Changes) -> Result<(), Fault> {
        let stored = |key: &Key| self.mirror.get(key).is_some();
        let growth = |of: &Changes, was: &dyn Fn(&Key) -> bool| -> i64 {
            let ours = of.iter().filter(|(key, _)| key.tenant == *tenant);
            ours.map(|(key, row)| i64::from(row.is_some()) - i64::from(was(key))).sum()
        };
        let new = growth(changes, &|key| before.get(key).map_or_else(|| stored(key), Option::is_some));
        let rows = self.mirror.tenant_rows(tenant) as i64 + growth(before, &stored) + new;
        let most = match &*self.tenants.read().unwrap_or_else(PoisonError::into_inner) {
            Some(tenants) => tenants.get(tenant).copied().unwrap_or(0),
            None => self.limits.per_tenant_max,
        };
        if new > 0 && rows > i64::try_from(most).unwrap_or(i64::MAX) {
            let message = format!("tenant {tenant} has its {most} rows already");
            return Err(Fault::new(Cause::Exhausted, message)
                .detail("rows")
                .hint("delete functions or versions that are not used"));
        }
        Ok(())
    }

    fn store(&mut self, changes: &Changes, revision: u64) -> Result<(), Fault> {
        self.usable()?;
        let mut result = self.database.write(changes, revision);
        if result.as_ref().is_err_and(full)
            && changes.values().all(Option::is_none)
            && std::fs::remove_file(&self.reserve).is_ok()
        {
            result = self.database.write(changes, revision);
        }
        result.map_err(|e| self.fault(&e))
    }

    fn publish(&mut self, together: Changes, revision: u64) {
        if together.is_empty() {
            return;
        }
        self.revision = revision;
        let keys: Vec<Key> = together.keys().cloned().collect();
        let freed = together.values().any(Option::is_none);
        self.mirror.apply(together);
        self.mirror.announce(&keys);
        if freed {
            self.hold_reserve();
        }
    }

    fn side(&mut self, work: Work) -> Result<(), Fault> {
        self.usable()?;
        let result = self.database.connection.unchecked_transaction().and_then(|transaction| {
            work(&transaction)?;
            transaction.commit()
        });
        result.map_err(|e| self.fault(&e))
    }

    fn usable(&mut self) -> Result<(), Fault> {
        if self.failed.is_none() && !self.database.in_place() {
            tracing::error!("rows.db or rows.db-wal was removed or replaced; nothing more is acknowledged");
            self.failed = Some("rows.db or rows.db-wal was removed or replaced while the platform ran".to_owned());
        }
        match &self.failed {
            None => Ok(()),
            Some(why) => Err(Fault::internal(format!("nothing is stored since a write failed ({why})"))
                .hint("look at the disk, then start the platform again; what was acknowledged is kept")),
        }
    }

    /// A full disk passes. Anything else may have lost what the kernel had promised to write.
    fn fault(&mut self, error: &rusqlite::Error) -> Fault {
        if full(error) {
            let fault = Fault::new(Cause::Exhausted, "the disk of the state directory is full").detail("disk");
            return fault.hint("free some space").retry_after(Duration::from_secs(5));
        }
        if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) {
            let fault = Fault::new(Cause::Exhausted, "another program has locked rows.db").detail("rows");
            return fault.retry_after(Duration::from_secs(1));
        }
        tracing::error!(%error, "rows.db can't be written; nothing more is acknowledged");
        self.failed = Some(error.to_string());
        Fault::internal(format!("rows.db: {error}"))
    }

    fn hold_reserve(&self) {
        if std::fs::metadata(&self.reserve).is_ok_and(|m| m.len() == RESERVE_BYTES as u64) {
            return;
        }
        if std::fs::write(&self.reserve, vec![0x4d; RESERVE_BYTES]).is_err() {
            // No room to hold anything back: a part of it would only make things worse.
            let _ = std::fs::remove_file(&self.reserve);
        }
    }
}

fn full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
}

/// The caller may have gone; the rows are stored all the same.
fn answer(reply: Reply, result: Result<u64, Fault>) {
    let _ = reply.send(result);
}

fn holds(key: &Key, expect: Expect, found: Option<&Resource>) -> Result<(), Fault> {
    let why = match (expect, found) {
        (Expect::Any, _) | (Expect::Absent, None) => return Ok(()),
        (Expect::Revision(wanted), Some(row)) if row.revision == wanted => return Ok(()),
        (Expect::Absent, Some(_)) => "exists already".to_owned(),
        (Expect::Revision(_), None) => "doesn't exist any more".to_owned(),
        (Expect::Revision(wanted), Some(row)) => format!("is at revision {}, not {wanted}", row.revision),
    };
    Err(Fault::new(Cause::Stale, format!("{} {:?} {why}", key.kind, key.name)).detail(&*key.name))
}
