//! What invocations cost, summed per function and hour.
//!
//! Sums gather in memory and are added to SQLite once a second, together with the position up to which the records' segments
//! are counted. Both are in one transaction: after a kill, what was not counted is exactly what stands behind that position.
//! Each such batch has a number, by which a reader knows whether it sees the batch in SQLite or must still add it.

use crate::{
    Error,
    rows::{Database, Job, RowStore, number},
};
use model::{Fault, TenantId, event::Record, ports::UsageHour};
use rusqlite::{Connection, OptionalExtension, params};
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, mpsc},
};

const HOUR_MS: u64 = 3_600_000;
const WATERMARK: &str = "usage";
const BATCH: &str = "usage-batch";

#[derive(Clone)]
pub(crate) struct Usage {
    sums: Arc<Mutex<Sums>>,
    /// Reads what is in SQLite, beside the writer.
    reader: Arc<Mutex<Connection>>,
}

type Hours = BTreeMap<(TenantId, Arc<str>, u64), UsageHour>;

#[derive(Default)]
struct Sums {
    /// Not in SQLite, and not on the way.
    open: Hours,
    /// On the way.
    moving: Option<Batch>,
    /// Up to where the segments are written and counted in `open`.
    written: u64,
    stored: u64,
    /// The number of the last batch.
    batch: u64,
}

#[derive(Clone)]
struct Batch {
    hours: Hours,
    position: u64,
    number: u64,
}

impl Usage {
    pub(crate) fn open(folder: &Path) -> Result<Usage, Error> {
        let reader = Database::reader(folder)?;
        let read =
            |name| counter(&reader, name).map_err(|e| Error::damaged(folder.join("rows.db"), e, "restore it from a backup"));
        let (stored, batch) = (read(WATERMARK)?, read(BATCH)?);
        let sums = Sums { stored, written: stored, batch, ..Sums::default() };
        Ok(Usage { sums: Arc::new(Mutex::new(sums)), reader: Arc::new(Mutex::new(reader)) })
    }

    fn sums(&self) -> MutexGuard<'_, Sums> {
        self.sums.lock().expect("no holder of this lock panics")
    }

    /// Records before this position are in SQLite.
    pub(crate) fn watermark(&self) -> u64 {
        self.sums().stored
    }

    pub(crate) fn add(&self, record: &Record) {
        let hour = record.started_ms / HOUR_MS;
        let mut sums = self.sums();
        let key = (record.tenant.clone(), record.function.0.clone(), hour);
        let sum = sums.open.entry(key).or_insert_with(|| UsageHour {
            function: record.function.to_string(),
            hour,
            ..UsageHour::default()
        });
        let one = UsageHour {
            function: String::new(),
            hour,
            invocations: 1,
            errors: u64::from(&*record.status != "ok"),
            cold_starts: u64::from(record.usage.init.is_some()),
            billed_ms: record.usage.billed_ms(),
            gb_seconds: record.usage.gb_seconds(),
            memory_max_bytes: record.usage.memory_max_bytes,
        };
        merge(sum, &one);
    }

    /// Everything in the segments before this position has been added.
    pub(crate) fn written(&self, position: u64) {
        let mut sums = self.sums();
        sums.written = sums.written.max(position);
    }

    pub(crate) fn dirty(&self) -> bool {
        !self.sums().open.is_empty()
    }

    /// Send what has gathered to SQLite. The receiver hears how it ended; nothing is sent while something is on its way.
    pub(crate) fn flush(&self, rows: &RowStore) -> Option<mpsc::Receiver<Result<(), Fault>>> {
        let batch = {
            let mut sums = self.sums();
            if sums.moving.is_some() || sums.open.is_empty() {
                return None;
            }
            sums.batch += 1;
            let moving = Batch { hours: std::mem::take(&mut sums.open), position: sums.written, number: sums.batch };
            sums.moving.insert(moving).clone()
        };
        let (tell, told) = mpsc::channel();
        let this = self.clone();
        let done = move |result: Result<(), Fault>| {
            this.landed(result.is_ok());
            // Only the last flush, at closing, is waited for.
            let _ = tell.send(result);
        };
        let job = Job::Side { work: Box::new(move |connection| store(connection, &batch)), done: Box::new(done) };
        if let Err(fault) = rows.submit(job) {
            tracing::debug!(%fault, "usage is stored later");
            self.landed(false);
            return None;
        }
        Some(told)
    }

    fn landed(&self, stored: bool) {
        let mut sums = self.sums();
        let Some(Batch { hours, position, .. }) = sums.moving.take() else { return };
        if stored {
            sums.stored = position;
            return;
        }
        for (key, hour) in hours {
            match sums.open.get_mut(&key) {
                Some(sum) => merge(sum, &hour),
                None => drop(sums.open.insert(key, hour)),
            }
        }
    }

    pub(crate) fn query(&self, tenant: &TenantId, function: Option<&str>, from_hour: u64) -> Result<Vec<UsageHour>, Fault> {
        // Held throughout, so that nothing moves from memory to SQLite between the two looks.
        let sums = self.sums();
        let mut reader = self.reader.lock().expect("no holder of this lock panics");
        let failed = |e: rusqlite::Error| Fault::internal(format!("usage can't be read: {e}"));
        let (stored, hours) = select(&mut reader, tenant, function, from_hour).map_err(failed)?;
        let mut found: BTreeMap<(u64, String), UsageHour> =
            hours.into_iter().map(|h| ((h.hour, h.function.clone()), h)).collect();
        let moving = sums.moving.as_ref().filter(|batch| batch.number > stored).map(|batch| &batch.hours);
        for ((of, name, hour), sum) in moving.into_iter().flatten().chain(&sums.open) {
            if of == tenant && *hour >= from_hour && function.is_none_or(|f| **name == *f) {
                let key = (*hour, sum.function.clone());
                let empty = || UsageHour { function: sum.function.clone(), hour: *hour, ..UsageHour::default() };
                merge(found.entry(key).or_insert_with(empty), sum);
            }
        }
        Ok(found.into_values().collect())
    }

    /// Whether something is on its way to SQLite.
    pub(crate) fn moving(&self) -> bool {
        self.sums().moving.is_some()
    }

    /// Forget a tenant's hours. The receiver hears how it ended.
    pub(crate) fn forget(&self, rows: &RowStore, tenant: &TenantId) -> Result<mpsc::Receiver<Result<(), Fault>>, Fault> {
        let (tell, told) = mpsc::channel();
        let whose = tenant.clone();
        let work = move |c: &Connection| c.execute("DELETE FROM usage WHERE tenant = ?", [whose.as_str()]).map(drop);
        rows.submit(Job::Side { work: Box::new(work), done: Box::new(move |result| drop(tell.send(result))) })?;
        Ok(told)
    }

    /// Forget hours before this one.
    pub(crate) fn retain(&self, rows: &RowStore, first_hour: u64) -> Result<(), Fault> {
        let work =
            move |connection: &Connection| connection.execute("DELETE FROM usage WHERE hour < ?", [first_hour as i64]).map(drop);
        rows.submit(Job::Side { work: Box::new(work), done: Box::new(|_| {}) })
    }
}

fn merge(into: &mut UsageHour, more: &UsageHour) {
    into.invocations += more.invocations;
    into.errors += more.errors;
    into.cold_starts += more.cold_starts;
    into.billed_ms += more.billed_ms;
    into.gb_seconds += more.gb_seconds;
    into.memory_max_bytes = into.memory_max_bytes.max(more.memory_max_bytes);
}

fn counter(connection: &Connection, name: &str) -> rusqlite::Result<u64> {
    let found = connection.query_row("SELECT value FROM counters WHERE name = ?", [name], |row| number(row, 0)).optional()?;
    Ok(found.unwrap_or(0))
}

fn store(connection: &Connection, batch: &Batch) -> rusqlite::Result<()> {
    let mut add = connection.prepare_cached(
        "INSERT INTO usage (tenant, function, hour, invocations, errors, cold_starts, billed_ms, gb_seconds, memory_max_bytes)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT DO UPDATE SET invocations = invocations + excluded.invocations, errors = errors + excluded.errors,
         cold_starts = cold_starts + excluded.cold_starts, billed_ms = billed_ms + excluded.billed_ms,
         gb_seconds = gb_seconds + excluded.gb_seconds, memory_max_bytes = max(memory_max_bytes, excluded.memory_max_bytes)",
    )?;
    for ((tenant, function, hour), sum) in &batch.hours {
        let counts = [sum.invocations, sum.errors, sum.cold_starts, sum.billed_ms].map(|n| n as i64);
        let key = (tenant.as_str(), &**function, *hour as i64);
        let memory = sum.memory_max_bytes as i64;
        add.execute(params![key.0, key.1, key.2, counts[0], counts[1], counts[2], counts[3], sum.gb_seconds, memory])?;
    }
    let mut count = connection.prepare_cached("INSERT OR REPLACE INTO counters (name, value) VALUES (?, ?)")?;
    count.execute(params![WATERMARK, batch.position as i64])?;
    count.execute(params![BATCH, batch.number as i64])?;
    Ok(())
}

/// The number of the last batch that is stored, and the hours that go with it: one look, in one transaction.
fn select(
    connection: &mut Connection,
    tenant: &TenantId,
    function: Option<&str>,
    from_hour: u64,
) -> rusqlite::Result<(u64, Vec<UsageHour>)> {
    let transaction = connection.transaction()?;
    let stored = counter(&transaction, BATCH)?;
    let mut statement = transaction.prepare_cached(
        "SELECT function, hour, invocations, errors, cold_starts, billed_ms, gb_seconds, memory_max_bytes FROM usage
         WHERE tenant = ?1 AND hour >= ?2 AND (?3 IS NULL OR function = ?3) ORDER BY hour, function",
    )?;
    let hours = statement.query_map(params![tenant.as_str(), from_hour as i64, function], |row| {
        Ok(UsageHour {
            function: row.get(0)?,
            hour: number(row, 1)?,
            invocations: number(row, 2)?,
            errors: number(row, 3)?,
            cold_starts: number(row, 4)?,
            billed_ms: number(row, 5)?,
            gb_seconds: row.get(6)?,
            memory_max_bytes: number(row, 7)?,
        })
    })?;
    let hours = hours.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok((stored, hours))
}
