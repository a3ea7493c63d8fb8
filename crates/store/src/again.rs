//! What older keys sealed is sealed again while the platform runs: rows and archives, a little at a time, beside everything else.
//! Each step is whole by itself, so a process that is killed has lost nothing, and its next start does the rest. Queued events, and
//! the older keys themselves, go at the next start: until then something may be on its way that was sealed before.

use crate::{
    PackageStore, RowStore,
    rows::{Job, Work, checksum},
    seal::{Label, Seal},
};
use model::{Fault, Key};
use rusqlite::{Connection, OptionalExtension, params};
use std::{
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    time::Duration,
};

/// Rows in one transaction.
const ROWS_AT_ONCE: usize = 64;
/// Between two steps.
const PAUSE: Duration = Duration::from_millis(50);
/// A step that failed is tried again after this; the disk may have room again.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// How far it is.
#[derive(Default)]
pub(crate) struct Again {
    done: AtomicU64,
    of: AtomicU64,
    /// Asked for since the last round began.
    wanted: AtomicBool,
    running: Mutex<bool>,
}

/// What a round works on; gone with the store.
#[derive(Clone)]
pub(crate) struct Parts {
    pub rows: Weak<RowStore>,
    pub packages: Weak<PackageStore>,
    pub seal: Arc<Seal>,
}

impl Again {
    /// Rows and archives that were looked at since the keys changed, and how many there are.
    pub(crate) fn progress(&self) -> (u64, u64) {
        (self.done.load(Ordering::Relaxed), self.of.load(Ordering::Relaxed))
    }

    /// Begin, or begin once more: the keys were changed.
    pub(crate) fn begin(self: &Arc<Self>, parts: Parts) -> std::io::Result<()> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        self.wanted.store(true, Ordering::Release);
        if *running {
            return Ok(());
        }
        let again = self.clone();
        std::thread::Builder::new().name("seal-again".into()).spawn(move || again.run(&parts))?;
        *running = true;
        Ok(())
    }

    fn run(&self, parts: &Parts) {
        loop {
            while self.wanted.swap(false, Ordering::AcqRel) {
                if self.round(parts).is_none() {
                    // The store is closed; its next start goes on.
                    return;
                }
            }
            let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            if !self.wanted.load(Ordering::Acquire) {
                *running = false;
                return;
            }
        }
    }

    /// Everything once; nothing when the store is closed.
    fn round(&self, parts: &Parts) -> Option<()> {
        let keys = parts.rows.upgrade()?.keys();
        let archives = parts.packages.upgrade()?.archives();
        self.done.store(0, Ordering::Relaxed);
        self.of.store((keys.len() + archives.len()) as u64, Ordering::Relaxed);
        for step in keys.chunks(ROWS_AT_ONCE) {
            while let Err(fault) = rows(&*parts.rows.upgrade()?, &parts.seal, step) {
                tracing::warn!("rows are not sealed again yet: {fault}");
                std::thread::sleep(TRY_AGAIN);
            }
            self.done.fetch_add(step.len() as u64, Ordering::Relaxed);
            std::thread::sleep(PAUSE);
        }
        for archive in &archives {
            while let Err(error) = parts.packages.upgrade()?.seal_one_again(archive) {
                tracing::warn!("an archive is not sealed again yet: {error}");
                std::thread::sleep(TRY_AGAIN);
            }
            self.done.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(PAUSE);
        }
        Some(())
    }
}

/// On the thread that writes rows, so that no change comes in between.
fn rows(store: &RowStore, seal: &Arc<Seal>, keys: &[Key]) -> Result<(), Fault> {
    let (seal, keys) = (seal.clone(), keys.to_vec());
    let work: Work = Box::new(move |connection| {
        connection.pragma_update(None, "secure_delete", true)?;
        keys.iter().try_for_each(|key| row(connection, &seal, key))
    });
    let (tell, told) = mpsc::channel();
    store.submit(Job::Side { work, done: Box::new(move |outcome| drop(tell.send(outcome))) })?;
    told.recv().unwrap_or(Ok(()))
}

fn row(connection: &Connection, seal: &Seal, key: &Key) -> rusqlite::Result<()> {
    let text = "SELECT body, crc FROM rows WHERE tenant = ? AND kind = ? AND name = ?";
    let mut query = connection.prepare_cached(text)?;
    let found = query.query_row(params![key.tenant.as_str(), key.kind, &*key.name], |r| Ok((r.get(0)?, r.get(1)?)));
    let found: Option<(Vec<u8>, i64)> = found.optional()?;
    let Some((body, crc)) = found else { return Ok(()) };
    let label = Label { tenant: key.tenant.as_str(), kind: key.kind, name: &key.name };
    // What is damaged stays as it is, and is named at the next start.
    if !seal.stale(label.tenant, &body) || i64::from(checksum(key, &body)) != crc {
        return Ok(());
    }
    let Ok(plain) = seal.open_text(label, &body) else { return Ok(()) };
    let sealed = seal.seal(label, &plain).map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))?;
    let text = "UPDATE rows SET body = ?, crc = ? WHERE tenant = ? AND kind = ? AND name = ?";
    let crc = checksum(key, &sealed);
    connection.prepare_cached(text)?.execute(params![sealed, crc, key.tenant.as_str(), key.kind, &*key.name])?;
    Ok(())
}
