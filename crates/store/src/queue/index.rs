//! What the log says, in an order in which it can be asked: a SQLite file that follows the log and can lag behind it. It knows how
//! far it has followed, in the same transaction as what it followed, so a crash loses nothing and repeats nothing.
//!
//! Of the events of one key only the first is ready; the others stand behind it, apart from what is looked through for work.
//!
//! A row is an event. While it waits its body is here too, so that a segment of the log can go once it is followed; when it has
//! ended well the body goes and the row stays until it is too old.

use super::{
    entry::{self, Entry, Kept, Put, why_number},
    questions::{Body, id_from, number, unreadable},
};
use crate::Error;
use bytes::Bytes;
use model::{
    InvocationId, TenantId,
    queue::{Control, Lane, LaneView, Settled, Why},
};
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use std::{
    collections::{BTreeSet, HashMap},
    path::Path,
    time::Duration,
};

pub(super) const QUEUED: u8 = 0;
pub(super) const SUCCEEDED: u8 = 1;
pub(super) const DEAD: u8 = 2;
pub(super) const CANCELLED: u8 = 3;
pub(super) const FAILED: u8 = 4;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS lanes (
        lane INTEGER PRIMARY KEY, tenant TEXT NOT NULL, function TEXT NOT NULL, paused INTEGER NOT NULL DEFAULT 0,
        queued INTEGER NOT NULL DEFAULT 0, dead INTEGER NOT NULL DEFAULT 0,
        UNIQUE (tenant, function)
    ) STRICT;
    CREATE TABLE IF NOT EXISTS events (
        seq INTEGER PRIMARY KEY, lane INTEGER NOT NULL, state INTEGER NOT NULL, attempts INTEGER NOT NULL,
        accepted_ms INTEGER NOT NULL, due_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL, ended_ms INTEGER NOT NULL,
        id BLOB NOT NULL, key TEXT, head BLOB NOT NULL, bytes INTEGER NOT NULL, crc INTEGER NOT NULL,
        why INTEGER, reason TEXT NOT NULL, body BLOB, behind INTEGER NOT NULL, sealed INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE INDEX IF NOT EXISTS ready ON events (lane, due_ms, seq) WHERE state = 0 AND behind = 0;
    CREATE INDEX IF NOT EXISTS of_lane ON events (lane, seq);
    CREATE INDEX IF NOT EXISTS keyed ON events (lane, key, seq) WHERE state = 0 AND key IS NOT NULL;
    CREATE INDEX IF NOT EXISTS dead ON events (lane, seq) WHERE state = 2;
    CREATE INDEX IF NOT EXISTS letters ON events (seq) WHERE state = 2;
    DROP INDEX IF EXISTS ended;
    CREATE INDEX IF NOT EXISTS closed ON events (ended_ms, seq) WHERE state IN (1, 3, 4);
    CREATE INDEX IF NOT EXISTS buried ON events (ended_ms, seq) WHERE state = 2;
    CREATE TABLE IF NOT EXISTS followed (one INTEGER PRIMARY KEY CHECK (one = 1), segment INTEGER NOT NULL, offset INTEGER NOT NULL) STRICT;
    INSERT OR IGNORE INTO followed VALUES (1, 0, 0);
";

/// What makes an empty index, whose counts are taken from what is put into it.
pub(super) fn schema() -> String {
    SCHEMA.to_owned()
}

pub(super) fn connect(path: &Path) -> Result<Connection, Error> {
    let open = || {
        let connection = Connection::open(path)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // The log is what was promised; this follows it, and says in itself how far.
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        connection.pragma_update(None, "cache_size", -16 * 1024)?;
        connection.pragma_update(None, "trusted_schema", false)?;
        connection.set_prepared_statement_cache_capacity(64);
        Ok(connection)
    };
    open().map_err(|e: rusqlite::Error| damaged(path, e))
}

fn damaged(path: &Path, e: rusqlite::Error) -> Error {
    Error::damaged(path, e, "restore it from a backup, or let myna repair --dry-run say what can be read of it")
}

/// A small index is looked through as a whole at the start; a large one would take longer than a start may.
const SOUND_BYTES_MAX: u64 = 64 << 20;
/// SQLite, Database File Format, section 1.3: where a page's size and the number of pages stand.
const PAGE_AT: usize = 16;
const PAGES_AT: usize = 28;

/// Whether a file that was closed cleanly is shorter than it says. One with changes beside it may be.
fn is_cut(path: &Path) -> bool {
    use std::io::Read;
    let beside = std::fs::metadata(path.with_extension("db-wal")).map_or(0, |meta| meta.len());
    let mut head = [0; PAGES_AT + 4];
    let read = crate::directory::open_private(path).and_then(|mut file| {
        file.read_exact(&mut head)?;
        file.metadata()
    });
    let Ok(meta) = read else { return false };
    let page = match u16::from_be_bytes(head[PAGE_AT..PAGE_AT + 2].try_into().expect("two bytes")) {
        1 => 65_536,
        bytes => u64::from(bytes),
    };
    let pages = u32::from_be_bytes(head[PAGES_AT..].try_into().expect("four bytes"));
    beside == 0 && meta.len() < page * u64::from(pages)
}

fn sound(connection: &Connection, cut: bool) -> rusqlite::Result<()> {
    let corrupt =
        |why: String| rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT), Some(why));
    if cut {
        return Err(corrupt("it is cut off".into()));
    }
    let bytes: i64 =
        connection.query_row("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size", [], |r| r.get(0))?;
    if bytes as u64 > SOUND_BYTES_MAX {
        return Ok(());
    }
    let said: String = connection.query_row("PRAGMA quick_check(1)", [], |r| r.get(0))?;
    if said == "ok" { Ok(()) } else { Err(corrupt(said)) }
}

struct LaneRow {
    lane: Lane,
    view: LaneView,
    changed: bool,
}

#[derive(Default)]
struct Lanes {
    numbers: HashMap<Lane, i64>,
    rows: HashMap<i64, LaneRow>,
}

impl Lanes {
    fn load(c: &Connection) -> rusqlite::Result<Self> {
        let mut all = Self::default();
        let mut rows = c.prepare("SELECT lane, tenant, function, paused, queued, dead FROM lanes")?;
        let mut rows = rows.query([])?;
        while let Some(r) = rows.next()? {
            let lane = Lane { tenant: TenantId::new(r.get_ref(1)?.as_str()?), function: r.get_ref(2)?.as_str()?.into() };
            let view = LaneView { paused: r.get(3)?, queued: number(r, 4)?, dead: number(r, 5)?, taken: 0 };
            all.add(r.get(0)?, lane, view);
        }
        Ok(all)
    }

    fn add(&mut self, number: i64, lane: Lane, view: LaneView) {
        self.numbers.insert(lane.clone(), number);
        self.rows.insert(number, LaneRow { lane, view, changed: false });
    }

    /// The counts of a lane, to be changed.
    fn touch(&mut self, number: i64) -> &mut LaneView {
        let row = self.rows.get_mut(&number).expect("every event's lane was loaded or made");
        row.changed = true;
        &mut row.view
    }
}

/// What older forms of this file lacked: whether a body is sealed, and which events of a key stand behind another. Each together, or
/// not at all.
fn upgrade(connection: &Connection) -> rusqlite::Result<()> {
    let column = |name: &str| {
        connection.query_row("SELECT count(*) FROM pragma_table_info('events') WHERE name = ?", [name], |r| r.get::<_, i64>(0))
    };
    if column("seq")? == 0 {
        return Ok(());
    }
    if column("sealed")? == 0 {
        connection.execute_batch("ALTER TABLE events ADD COLUMN sealed INTEGER NOT NULL DEFAULT 0")?;
    }
    if column("behind")? == 1 {
        return Ok(());
    }
    connection.execute_batch(
        "BEGIN;
         ALTER TABLE events ADD COLUMN behind INTEGER NOT NULL DEFAULT 0;
         DROP INDEX IF EXISTS waiting;
         UPDATE events SET behind = 1 WHERE state = 0 AND key IS NOT NULL AND EXISTS (
             SELECT 1 FROM events b WHERE b.lane = events.lane AND b.state = 0 AND b.key = events.key AND b.seq < events.seq);
         COMMIT;",
    )
}

/// The one that writes.
pub(super) struct Index {
    connection: Connection,
    lanes: Lanes,
    followed: u32,
}

/// What applying some entries did, to be told once it is committed.
#[derive(Default)]
pub(super) struct Applied {
    /// Taken no longer.
    pub settled: Vec<u64>,
    pub lanes: Vec<(Lane, LaneView)>,
    /// Bodies in files of their own that nothing needs any more.
    pub files: Vec<InvocationId>,
    pub ends: Ends,
}

/// How many events came, ended, and how.
#[derive(Clone, Copy, Default)]
pub(super) struct Ends {
    pub accepted: u64,
    pub succeeded: u64,
    pub failed: u64,
    pub dead: u64,
    pub cancelled: u64,
    /// Attempts that are followed by another one.
    pub again: u64,
}

pub(super) struct Followed {
    pub segment: u32,
    pub offset: u64,
    pub seq: u64,
}

impl Index {
    pub(super) fn open(path: &Path) -> Result<(Self, Followed), Error> {
        let cut = is_cut(path);
        let connection = connect(path)?;
        let read = || {
            sound(&connection, cut)?;
            upgrade(&connection)?;
            connection.execute_batch(SCHEMA)?;
            connection.execute(
                "DELETE FROM lanes WHERE queued = 0 AND dead = 0 AND paused = 0
                 AND NOT EXISTS (SELECT 1 FROM events WHERE events.lane = lanes.lane)",
                [],
            )?;
            let seq: i64 = connection.query_row("SELECT coalesce(max(seq), 0) FROM events", [], |r| r.get(0))?;
            let (segment, offset): (u32, i64) =
                connection.query_row("SELECT segment, offset FROM followed", [], |r| Ok((r.get(0)?, r.get(1)?)))?;
            Ok((Lanes::load(&connection)?, Followed { segment, offset: offset as u64, seq: seq as u64 }))
        };
        let (lanes, followed) = read().map_err(|e: rusqlite::Error| damaged(path, e))?;
        Ok((Self { connection, lanes, followed: followed.segment }, followed))
    }

    pub(super) fn lanes(&self) -> impl Iterator<Item = (&Lane, &LaneView)> {
        self.lanes.rows.values().map(|row| (&row.lane, &row.view))
    }

    /// Follow the log by these entries, whose end is the given position: all of them, or none.
    pub(super) fn apply<'a>(
        &mut self,
        entries: impl IntoIterator<Item = &'a Entry>,
        segment: u32,
        offset: u64,
    ) -> rusqlite::Result<Applied> {
        let ((), applied) = self.transact(|step| {
            entries.into_iter().try_for_each(|entry| step.entry(entry))?;
            step.followed(segment, offset)
        })?;
        self.followed = segment;
        Ok(applied)
    }

    /// All of some work, or nothing of it: neither on the disk nor in what is counted in memory.
    fn transact<T>(&mut self, work: impl FnOnce(&mut Step<'_, '_>) -> rusqlite::Result<T>) -> rusqlite::Result<(T, Applied)> {
        let mut applied = Applied::default();
        let transaction = self.connection.transaction()?;
        let mut step = Step { transaction: &transaction, lanes: &mut self.lanes, applied: &mut applied };
        let done = work(&mut step).and_then(|done| step.lanes().map(|()| done));
        match done.and_then(|done| transaction.commit().map(|()| done)) {
            Ok(done) => Ok((done, applied)),
            Err(error) => {
                self.lanes = Lanes::load(&self.connection)?;
                Err(error)
            }
        }
    }

    /// Everything before this segment was followed; nothing of it has been.
    pub(super) fn skip_to(&mut self, segment: u32) -> rusqlite::Result<()> {
        self.apply([], segment, 0)?;
        self.checkpoint().map(drop)
    }

    /// The segment in which the log was followed last.
    pub(super) fn followed_segment(&self) -> u32 {
        self.followed
    }

    /// Whether an event needs its body's file.
    pub(super) fn needs_file(&self, id: InvocationId) -> rusqlite::Result<bool> {
        let mut query = self
            .connection
            .prepare_cached("SELECT 1 FROM events WHERE seq = ? AND id = ? AND state IN (0, 2) AND body IS NULL")?;
        query.exists(params![entry::seq_of(id) as i64, &id.0.as_bytes()[..]])
    }

    /// Put what was followed on stable storage. Everything of the log before the position that was followed may go then.
    pub(super) fn checkpoint(&self) -> rusqlite::Result<bool> {
        self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |r| r.get::<_, i64>(0)).map(|busy| busy == 0)
    }

    /// Forget what ended too long ago, and of what left no dead letter the oldest beyond a count; some at a time. Gives whether
    /// there may be more.
    pub(super) fn forget(&mut self, keep: &Keep, limit: usize) -> rusqlite::Result<(Applied, bool)> {
        let (more, applied) = self.transact(|step| step.forget(keep, limit))?;
        Ok((applied, more))
    }
}

/// An event whose body is kept.
pub(super) struct Held {
    pub seq: u64,
    pub id: InvocationId,
    pub tenant: TenantId,
    pub body: Body,
}

/// A body that was sealed anew, and its checksum; `None` where it lies in a file.
pub(super) struct Renewed {
    pub seq: u64,
    pub body: Option<Vec<u8>>,
    pub crc: u32,
}

impl Index {
    /// Some events whose bodies are kept, by number, from behind one on.
    pub(super) fn held(&self, after: u64, limit: usize) -> rusqlite::Result<Vec<Held>> {
        let mut query = self.connection.prepare_cached(
            "SELECT seq, id, tenant, body, bytes, crc, sealed FROM events JOIN lanes USING (lane)
             WHERE seq > ? AND state IN (0, 2) ORDER BY seq LIMIT ?",
        )?;
        let found = query.query_map(params![after as i64, limit as i64], |r| {
            Ok(Held {
                seq: number(r, 0)?,
                id: id_from(r.get_ref(1)?.as_blob()?).ok_or_else(|| unreadable(1))?,
                tenant: TenantId::new(r.get_ref(2)?.as_str()?),
                body: Body {
                    here: r.get_ref(3)?.as_blob_or_null()?.map(Bytes::copy_from_slice),
                    bytes: number(r, 4)?,
                    crc: r.get(5)?,
                    sealed: r.get(6)?,
                },
            })
        })?;
        found.collect()
    }

    /// Put sealed bodies in the place of what was there, of which the file keeps no copy; all of them or none.
    pub(super) fn renew(&mut self, bodies: &[Renewed]) -> rusqlite::Result<()> {
        self.connection.pragma_update(None, "secure_delete", true)?;
        let transaction = self.connection.transaction()?;
        {
            let mut update = transaction.prepare_cached("UPDATE events SET body = ?, crc = ?, sealed = 1 WHERE seq = ?")?;
            for Renewed { seq, body, crc } in bodies {
                update.execute(params![body, crc, *seq as i64])?;
            }
        }
        transaction.commit()
    }

    /// Write the file anew, without what was deleted in it.
    pub(super) fn compact(&self) -> rusqlite::Result<()> {
        self.connection.execute_batch("VACUUM")
    }
}

/// What of the ended events is kept.
pub(super) struct Keep {
    pub closed_from_ms: u64,
    pub closed_max: usize,
    pub dead_from_ms: u64,
}

fn seqs(c: &Connection, query: &str, values: impl rusqlite::Params) -> rusqlite::Result<Vec<i64>> {
    c.prepare_cached(query)?.query_map(values, |r| r.get(0))?.collect()
}

/// One transaction's work.
struct Step<'a, 't> {
    transaction: &'a Transaction<'t>,
    lanes: &'a mut Lanes,
    applied: &'a mut Applied,
}

impl Step<'_, '_> {
    fn entry(&mut self, entry: &Entry) -> rusqlite::Result<()> {
        match entry {
            Entry::Put(put) => self.put(put),
            Entry::Settle { seq, at_ms, settled, then } => {
                self.applied.settled.push(*seq);
                self.settle(*seq, *at_ms, settled)?;
                then.iter().try_for_each(|put| self.put(put))
            }
            Entry::Control { lane, at_ms, control, up_to } => self.control(lane, *at_ms, control, *up_to),
            Entry::Redrive { lane, at_ms, expires_ms, only, up_to } => {
                let number = self.lane(lane)?;
                let mut redrive = self.transaction.prepare_cached(
                    "UPDATE events SET state = 0, behind = key IS NOT NULL, attempts = 0, due_ms = ?1, expires_ms = ?2, ended_ms = 0,
                     why = NULL, reason = '' WHERE lane = ?3 AND state = 2 AND seq <= ?4 AND (?5 IS NULL OR seq = ?5)",
                )?;
                let only = only.map(|s| s as i64);
                let n = redrive.execute(params![*at_ms as i64, *expires_ms as i64, number, *up_to as i64, only])? as u64;
                let view = self.lanes.touch(number);
                view.dead = view.dead.saturating_sub(n);
                view.queued += n;
                self.let_first(number)
            }
        }
    }

    fn forget(&mut self, keep: &Keep, limit: usize) -> rusqlite::Result<bool> {
        let closed = "state IN (1, 3, 4)";
        let beyond = format!("SELECT ended_ms, seq FROM events WHERE {closed} ORDER BY ended_ms DESC, seq DESC LIMIT 1 OFFSET ?");
        let mut beyond = self.transaction.prepare_cached(&beyond)?;
        let beyond = beyond.query_row([keep.closed_max as i64], |r| Ok((r.get(0)?, r.get(1)?))).optional()?;
        // The older of the two bounds is within the younger.
        let (at, seq): (i64, i64) = beyond.unwrap_or((0, 0)).max((keep.closed_from_ms as i64, 0));
        let old = format!("SELECT seq FROM events WHERE {closed} AND (ended_ms, seq) <= (?, ?) ORDER BY ended_ms, seq LIMIT ?");
        let old = seqs(self.transaction, &old, params![at, seq, limit as i64])?;
        let dead = "SELECT seq FROM events WHERE state = 2 AND ended_ms < ? ORDER BY ended_ms, seq LIMIT ?";
        let dead = seqs(self.transaction, dead, params![keep.dead_from_ms as i64, limit as i64])?;
        let mut letter = self.transaction.prepare_cached("SELECT lane, id, body IS NULL FROM events WHERE seq = ?")?;
        for seq in &dead {
            let (lane, id, file): (i64, Vec<u8>, bool) = letter.query_row([seq], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))?;
            let view = self.lanes.touch(lane);
            view.dead = view.dead.saturating_sub(1);
            self.applied.files.extend(id_from(&id).filter(|_| file));
        }
        let mut delete = self.transaction.prepare_cached("DELETE FROM events WHERE seq = ? RETURNING lane")?;
        let mut left = BTreeSet::new();
        for seq in old.iter().chain(&dead) {
            left.extend(delete.query_row([seq], |r| r.get::<_, i64>(0)).optional()?);
        }
        for lane in left {
            self.leave(lane)?;
        }
        Ok(old.len() == limit || dead.len() == limit)
    }

    /// Forget a lane of which nothing is left: names that were used once would gather for ever.
    fn leave(&mut self, lane: i64) -> rusqlite::Result<()> {
        let empty = |row: &LaneRow| row.view.queued == 0 && row.view.dead == 0 && !row.view.paused;
        if !self.lanes.rows.get(&lane).is_some_and(empty) {
            return Ok(());
        }
        if self.transaction.prepare_cached("SELECT 1 FROM events WHERE lane = ? LIMIT 1")?.exists([lane])? {
            return Ok(());
        }
        self.transaction.prepare_cached("DELETE FROM lanes WHERE lane = ?")?.execute([lane])?;
        if let Some(row) = self.lanes.rows.remove(&lane) {
            self.lanes.numbers.remove(&row.lane);
            self.applied.lanes.push((row.lane, row.view));
        }
        Ok(())
    }

    fn put(&mut self, put: &Put) -> rusqlite::Result<()> {
        let lane = self.lane(&put.event.lane)?;
        self.lanes.touch(lane).queued += 1;
        self.applied.ends.accepted += 1;
        let mut head = Vec::new();
        entry::encode_head(&mut head, &put.event);
        let (body, crc, sealed) = match &put.body {
            Kept::Here(body) => (Some(&body[..]), checksum(put.id, body), false),
            Kept::Sealed(body) => (Some(&body[..]), checksum(put.id, body), true),
            Kept::File { crc, sealed, .. } => (None, *crc, *sealed),
        };
        let mut insert = self.transaction.prepare_cached(
            "INSERT OR REPLACE INTO events (seq, lane, state, attempts, accepted_ms, due_ms, expires_ms, ended_ms, id, key, head, bytes, crc,
             reason, body, behind, sealed) VALUES (?, ?, 0, 0, ?, ?, ?, 0, ?, ?, ?, ?, ?, '', ?, ?, ?)",
        )?;
        let times = [put.accepted_ms as i64, put.event.due_ms as i64, put.event.expires_ms as i64];
        let (id, key) = (&put.id.0.as_bytes()[..], put.event.key.as_deref());
        let behind = match key {
            Some(key) => self.first_of(lane, key)?.is_some_and(|first| first != put.seq as i64),
            None => false,
        };
        insert.execute(params![
            put.seq as i64,
            lane,
            times[0],
            times[1],
            times[2],
            id,
            key,
            head,
            put.body.bytes() as i64,
            crc,
            body,
            behind,
            sealed
        ])?;
        Ok(())
    }

    fn settle(&mut self, seq: u64, at_ms: u64, settled: &Settled) -> rusqlite::Result<()> {
        let mut find =
            self.transaction.prepare_cached("SELECT lane, id, body IS NULL, key FROM events WHERE seq = ? AND state = 0")?;
        let found: Option<(i64, Vec<u8>, bool, Option<String>)> =
            find.query_row([seq as i64], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?))).optional()?;
        // It ended meanwhile: cancelled, or its lane was purged.
        let Some((lane, id, file, key)) = found else { return Ok(()) };
        let ends = &mut self.applied.ends;
        *match settled {
            Settled::Again { .. } => &mut ends.again,
            Settled::Dead { .. } => &mut ends.dead,
            Settled::Failed { .. } => &mut ends.failed,
            Settled::Cancelled => &mut ends.cancelled,
            Settled::Succeeded | Settled::Untold { .. } => &mut ends.succeeded,
        } += 1;
        match settled {
            Settled::Again { due_ms, counted, reason } => {
                let mut again = self
                    .transaction
                    .prepare_cached("UPDATE events SET attempts = attempts + ?, due_ms = ?, reason = ? WHERE seq = ?")?;
                again.execute(params![*counted, *due_ms as i64, &**reason, seq as i64])?;
                self.lanes.touch(lane);
                return Ok(());
            }
            Settled::Dead { why, reason } => {
                let mut dead = self.transaction.prepare_cached(
                    "UPDATE events SET state = 2, attempts = attempts + ?, ended_ms = ?, why = ?, reason = ? WHERE seq = ?",
                )?;
                let counted = i64::from(*why == Why::Failed);
                dead.execute(params![counted, at_ms as i64, why_number(*why), &**reason, seq as i64])?;
            }
            Settled::Succeeded | Settled::Untold { .. } | Settled::Cancelled | Settled::Failed { .. } => {
                let (state, counted, why, reason) = match settled {
                    Settled::Failed { why, reason } => (FAILED, *why == Why::Failed, Some(why_number(*why)), &**reason),
                    Settled::Succeeded => (SUCCEEDED, true, None, ""),
                    Settled::Untold { reason } => (SUCCEEDED, true, None, &**reason),
                    _ => (CANCELLED, false, None, ""),
                };
                let mut end = self.transaction.prepare_cached(
                    "UPDATE events SET state = ?, attempts = attempts + ?, ended_ms = ?, why = ?, reason = ?, body = NULL WHERE seq = ?",
                )?;
                end.execute(params![state, counted, at_ms as i64, why, reason, seq as i64])?;
                self.applied.files.extend(id_from(&id).filter(|_| file));
            }
        }
        let view = self.lanes.touch(lane);
        view.queued = view.queued.saturating_sub(1);
        view.dead += u64::from(matches!(settled, Settled::Dead { .. }));
        match key {
            Some(key) => self.next_of(lane, &key),
            None => Ok(()),
        }
    }

    /// The first event of a key that has not ended.
    fn first_of(&self, lane: i64, key: &str) -> rusqlite::Result<Option<i64>> {
        let text = "SELECT min(seq) FROM events WHERE lane = ? AND key = ? AND state = 0 AND key IS NOT NULL";
        self.transaction.prepare_cached(text)?.query_row(params![lane, key], |r| r.get(0))
    }

    /// One of a key has ended: the next one's turn.
    fn next_of(&self, lane: i64, key: &str) -> rusqlite::Result<()> {
        if let Some(next) = self.first_of(lane, key)? {
            self.transaction.prepare_cached("UPDATE events SET behind = 0 WHERE seq = ?")?.execute([next])?;
        }
        Ok(())
    }

    /// The turn of every key's first event, where none of that key has it.
    fn let_first(&self, lane: i64) -> rusqlite::Result<()> {
        let text = "UPDATE events SET behind = 0 WHERE seq IN (
             SELECT min(seq) FROM events WHERE lane = ? AND state = 0 AND key IS NOT NULL GROUP BY key HAVING min(behind) = 1)";
        self.transaction.prepare_cached(text)?.execute([lane])?;
        Ok(())
    }

    fn control(&mut self, lane: &Lane, at_ms: u64, control: &Control, up_to: u64) -> rusqlite::Result<()> {
        if matches!(control, Control::Deleted | Control::Forget) && !self.lanes.numbers.contains_key(lane) {
            return Ok(());
        }
        let number = self.lane(lane)?;
        let (at_ms, up_to) = (at_ms as i64, up_to as i64);
        match control {
            Control::Pause => self.lanes.touch(number).paused = true,
            Control::Resume => self.lanes.touch(number).paused = false,
            Control::Deleted => {
                let text = "UPDATE events SET state = 2, ended_ms = ?, why = ?, reason = 'the function was deleted'
                            WHERE lane = ? AND state = 0 AND seq <= ?";
                let n = self.transaction.prepare_cached(text)?.execute(params![at_ms, why_number(Why::Deleted), number, up_to])?
                    as u64;
                let view = self.lanes.touch(number);
                view.queued = view.queued.saturating_sub(n);
                view.dead += n;
                self.applied.ends.dead += n;
                // A later function of the name starts afresh.
                view.paused = false;
                self.let_first(number)?;
            }
            Control::Forget => {
                let text = "SELECT id FROM events WHERE lane = ? AND seq <= ? AND body IS NULL AND state IN (0, 2)";
                let mut files = self.transaction.prepare_cached(text)?;
                let files = files.query_map(params![number, up_to], |r| r.get::<_, Vec<u8>>(0))?;
                self.applied.files.extend(files.collect::<Result<Vec<_>, _>>()?.iter().filter_map(|id| id_from(id)));
                let mut delete =
                    self.transaction.prepare_cached("DELETE FROM events WHERE lane = ? AND seq <= ? AND state = ?")?;
                let mut gone = |state: u8| delete.execute(params![number, up_to, state]).map(|n| n as u64);
                let (queued, dead) = (gone(QUEUED)?, gone(DEAD)?);
                [SUCCEEDED, CANCELLED, FAILED].into_iter().try_for_each(|state| gone(state).map(drop))?;
                let view = self.lanes.touch(number);
                (view.queued, view.dead) = (view.queued.saturating_sub(queued), view.dead.saturating_sub(dead));
                view.paused = false;
                self.applied.ends.cancelled += queued;
                self.let_first(number)?;
                self.leave(number)?;
            }
            Control::Purge | Control::PurgeDead => {
                let state = if *control == Control::Purge { QUEUED } else { DEAD };
                // The state stands in the text, by which the index of its events is known.
                let of = format!("WHERE lane = ? AND state = {state} AND seq <= ?");
                let text = format!("SELECT id FROM events {of} AND body IS NULL");
                let mut files = self.transaction.prepare_cached(&text)?;
                let files = files.query_map(params![number, up_to], |r| r.get::<_, Vec<u8>>(0))?;
                self.applied.files.extend(files.collect::<Result<Vec<_>, _>>()?.iter().filter_map(|id| id_from(id)));
                let text = format!("UPDATE events SET state = 3, ended_ms = ?, reason = 'purged', body = NULL {of}");
                let n = self.transaction.prepare_cached(&text)?.execute(params![at_ms, number, up_to])? as u64;
                let view = self.lanes.touch(number);
                let count = if state == QUEUED { &mut view.queued } else { &mut view.dead };
                *count = count.saturating_sub(n);
                if state == QUEUED {
                    self.applied.ends.cancelled += n;
                }
                self.let_first(number)?;
            }
        }
        Ok(())
    }

    /// The number of a lane, which is made when it is new.
    fn lane(&mut self, lane: &Lane) -> rusqlite::Result<i64> {
        if let Some(number) = self.lanes.numbers.get(lane) {
            return Ok(*number);
        }
        let names = params![lane.tenant.as_str(), lane.function.as_str()];
        self.transaction.prepare_cached("INSERT INTO lanes (tenant, function) VALUES (?, ?)")?.execute(names)?;
        let number = self.transaction.last_insert_rowid();
        self.lanes.add(number, lane.clone(), LaneView::default());
        Ok(number)
    }

    fn followed(&mut self, segment: u32, offset: u64) -> rusqlite::Result<()> {
        let mut followed = self.transaction.prepare_cached("UPDATE followed SET segment = ?, offset = ?")?;
        followed.execute(params![segment, offset as i64])?;
        Ok(())
    }

    fn lanes(&mut self) -> rusqlite::Result<()> {
        let mut update = self.transaction.prepare_cached("UPDATE lanes SET paused = ?, queued = ?, dead = ? WHERE lane = ?")?;
        for (number, row) in self.lanes.rows.iter_mut().filter(|(_, row)| row.changed) {
            row.changed = false;
            update.execute(params![row.view.paused, row.view.queued as i64, row.view.dead as i64, number])?;
            self.applied.lanes.push((row.lane.clone(), row.view.clone()));
        }
        Ok(())
    }
}

/// Of a body, and of whose it is.
pub(super) fn checksum(id: InvocationId, body: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(id.0.as_bytes());
    crc.update(body);
    crc.finalize()
}
