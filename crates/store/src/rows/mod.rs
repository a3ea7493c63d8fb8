//! Versioned rows: what every dialect keeps its resources in.
//!
//! SQLite holds them (WAL, `synchronous=FULL`); one thread writes, commits what has gathered in one transaction, and answers
//! only when it is on stable storage. All rows are mirrored in memory, in order, so that no reader ever waits for a disk. A
//! failed write leaves the mirror and the file as they were; after a failed fsync nothing more is acknowledged until the
//! platform has been started again, since what the kernel dropped can't be written a second time.

mod database;
mod mirror;
mod writer;

pub(crate) use database::schema;
pub(crate) use database::{Database, checksum, number};
pub(crate) use mirror::Mirror;
pub(crate) use writer::{Job, Work};

use crate::{Error, Options, seal::Seal};
use model::{Cause, Clock, Fault, Fut, Key, Loops, Resource, TenantId, Write, ports};
use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        mpsc::{SyncSender, TrySendError, sync_channel},
    },
    thread::JoinHandle,
};
use writer::{Observer, Writer};

/// The rows of one state directory.
pub struct RowStore {
    mirror: Arc<Mirror>,
    jobs: SyncSender<Job>,
    thread: Mutex<Option<JoinHandle<()>>>,
    limits: Arc<RwLock<Option<TenantRows>>>,
}

/// How many rows each tenant may have. One that is not named may have no new ones.
pub type TenantRows = HashMap<TenantId, usize>;

impl RowStore {
    pub(crate) fn open(
        folder: &Path,
        options: &Options,
        seal: Arc<Seal>,
        clock: Arc<dyn Clock>,
        loops: &Arc<Loops>,
    ) -> Result<(RowStore, Vec<String>), Error> {
        let (database, loaded) = Database::open(folder, seal)?;
        let mirror = Arc::new(Mirror::new(loaded.rows));
        let (jobs, queue) = sync_channel(options.rows.pending_max);
        let limits = Arc::<RwLock<Option<TenantRows>>>::default();
        let bounds = (options.rows.clone(), limits.clone());
        let mut writer = Writer::new(database, mirror.clone(), loaded.revision, bounds, folder.join("reserve"), clock);
        let loops = loops.clone();
        let thread = std::thread::Builder::new()
            .name("store-rows".into())
            .spawn(move || loops.run("rows", |pulse| writer.run(&queue, pulse)))
            .map_err(Error::io("start the writer of", folder))?;
        Ok((RowStore { mirror, jobs, thread: Mutex::new(Some(thread)), limits }, loaded.damaged))
    }

    /// Be told of every commit: called on the writer's thread when the rows are on stable storage and readable, before the
    /// commit is answered. Must not commit and wait for it.
    pub fn on_commit(&self, observer: impl Fn(&[Key]) + Send + Sync + 'static) {
        self.mirror.observe(Box::new(observer) as Observer);
    }

    /// From now on each tenant may have so many rows; who is not named may have no new one. Until this is called all have the
    /// number of the options.
    pub fn limit(&self, tenants: TenantRows) {
        *self.limits.write().unwrap_or_else(PoisonError::into_inner) = Some(tenants);
    }

    /// Every row's key, in order; for the reconciliation at start and for finding what is still referred to.
    pub fn keys(&self) -> Vec<Key> {
        self.mirror.keys()
    }

    /// Every row of a kind, of all tenants.
    pub fn all(&self, kind: &str) -> Vec<Resource> {
        self.mirror.all(kind)
    }

    /// How many rows a tenant has.
    pub fn rows_of(&self, tenant: &TenantId) -> usize {
        self.mirror.tenant_rows(tenant)
    }

    pub(crate) fn each(&self, look: impl FnMut(&Resource)) {
        self.mirror.each(look);
    }

    pub fn len(&self) -> usize {
        self.mirror.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn submit(&self, job: Job) -> Result<(), Fault> {
        self.jobs.try_send(job).map_err(|e| match e {
            TrySendError::Full(_) => Fault::new(Cause::Exhausted, "too many changes wait to be stored")
                .detail("rows")
                .retry_after(std::time::Duration::from_secs(1)),
            TrySendError::Disconnected(_) => Fault::new(Cause::Draining, "the store is closed"),
        })
    }

    /// Finish what was accepted and close the database.
    pub(crate) fn close(&self) {
        let thread = self.thread.lock().expect("no holder of this lock panics").take();
        if let Some(thread) = thread {
            // A writer that has ended already has nothing left to finish.
            let _ = self.jobs.send(Job::Stop);
            if thread.join().is_err() {
                tracing::error!("the store's writer ended by a panic");
            }
        }
    }
}

impl Drop for RowStore {
    fn drop(&mut self) {
        self.close();
    }
}

impl ports::Rows for RowStore {
    fn get(&self, key: &Key) -> Option<Resource> {
        self.mirror.get(key)
    }
    fn list(&self, tenant: &TenantId, kind: &'static str, prefix: &str) -> Vec<Resource> {
        self.mirror.list(tenant, kind, prefix, "", usize::MAX)
    }
}

impl ports::Resources for RowStore {
    fn get(&self, key: &Key) -> Option<Resource> {
        self.mirror.get(key)
    }
    fn list(&self, tenant: &TenantId, kind: &'static str, prefix: &str, after: &str, limit: usize) -> Vec<Resource> {
        self.mirror.list(tenant, kind, prefix, after, limit)
    }
    fn commit(&self, writes: Vec<Write>) -> Fut<'_, Result<u64, Fault>> {
        let (reply, answer) = tokio::sync::oneshot::channel();
        let submitted = self.submit(Job::Commit { writes, reply });
        Box::pin(async move {
            submitted?;
            answer.await.unwrap_or_else(|_| Err(unanswered()))
        })
    }
}

/// The store was closed, or its writer broke off in the middle.
fn unanswered() -> Fault {
    Fault::new(Cause::Draining, "the store ended before it said whether the change is stored")
        .hint("look whether it is there before you try again")
        .retry_after(std::time::Duration::from_secs(1))
}
