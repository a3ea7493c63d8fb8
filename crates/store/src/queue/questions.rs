//! What is asked of the index, by whoever tries events and by their owners. Nothing here writes.

use super::{
    entry,
    index::{CANCELLED, DEAD, FAILED, QUEUED, SUCCEEDED},
};
use crate::segments::code::Reader;
use bytes::Bytes;
use model::{
    InvocationId, TenantId,
    queue::{EventQuery, EventView, Lane, Queued, Stage},
};
use rusqlite::{Connection, OptionalExtension, Row, params};

/// Since when the event that is due longest, of these lanes, has been due: milliseconds since the Unix epoch.
pub(super) fn first_due(c: &Connection, lanes: &[Lane]) -> rusqlite::Result<Option<u64>> {
    let mut first = c.prepare_cached("SELECT min(due_ms) FROM events WHERE lane = ? AND state = 0 AND behind = 0")?;
    let mut earliest: Option<u64> = None;
    for lane in lanes {
        let Some(number) = lane_number(c, lane)? else { continue };
        let found: Option<i64> = first.query_row([number], |r| r.get(0))?;
        earliest = found.map(|ms| ms as u64).into_iter().chain(earliest).min();
    }
    Ok(earliest)
}

/// Events without their bodies, and where those are.
type Due = Vec<(Queued, Body)>;

/// Those that are due first, and when the next one is. A later event of a key waits for the earlier ones.
pub(super) fn due(c: &Connection, lane: &Lane, now_ms: u64, limit: usize) -> rusqlite::Result<(Due, Option<u64>)> {
    let Some(number) = lane_number(c, lane)? else { return Ok((Vec::new(), None)) };
    let mut query = c.prepare_cached(
        "SELECT seq, id, accepted_ms, due_ms, expires_ms, attempts, head, bytes, crc, body, sealed FROM events
         WHERE lane = ?1 AND state = 0 AND behind = 0 AND due_ms <= ?2
         ORDER BY due_ms, seq LIMIT ?3",
    )?;
    let found = query.query_map(params![number, now_ms as i64, limit as i64], |r| {
        let mut event = entry::decode_head(&mut Reader(r.get_ref(6)?.as_blob()?), lane.clone()).ok_or_else(|| unreadable(6))?;
        (event.due_ms, event.expires_ms) = (self::number(r, 3)?, self::number(r, 4)?);
        let id = id_from(r.get_ref(1)?.as_blob()?).ok_or_else(|| unreadable(1))?;
        let body = Body {
            here: r.get_ref(9)?.as_blob_or_null()?.map(Bytes::copy_from_slice),
            bytes: self::number(r, 7)?,
            crc: r.get(8)?,
            sealed: r.get(10)?,
        };
        Ok((Queued { seq: self::number(r, 0)?, id, accepted_ms: self::number(r, 2)?, attempts: r.get(5)?, event }, body))
    })?;
    let found = found.collect::<Result<Vec<_>, _>>()?;
    let mut next =
        c.prepare_cached("SELECT min(due_ms) FROM events WHERE lane = ? AND state = 0 AND behind = 0 AND due_ms > ?")?;
    let next: Option<i64> = next.query_row(params![number, now_ms as i64], |r| r.get(0))?;
    Ok((found, next.map(|n| n as u64)))
}

/// A body as the index has it.
pub(super) struct Body {
    pub here: Option<Bytes>,
    /// Of what was accepted.
    pub bytes: u64,
    /// Of what lies there.
    pub crc: u32,
    pub sealed: bool,
}

const VIEW: &str =
    "SELECT seq, id, state, attempts, accepted_ms, due_ms, expires_ms, ended_ms, key, head, bytes, why, reason, tenant, function
     FROM events JOIN lanes USING (lane)";

pub(super) fn find(c: &Connection, tenant: &TenantId, id: InvocationId) -> rusqlite::Result<Option<EventView>> {
    let mut query = c.prepare_cached(&format!("{VIEW} WHERE seq = ? AND id = ? AND tenant = ?"))?;
    let (seq, id) = (entry::seq_of(id) as i64, &id.0.as_bytes()[..]);
    query.query_row(params![seq, id, tenant.as_str()], view).optional()
}

/// Those of these numbers that are there, of a tenant and perhaps a function.
pub(super) fn some(c: &Connection, q: &EventQuery, seqs: &[u64]) -> rusqlite::Result<Vec<EventView>> {
    let mut query = c.prepare_cached(&format!("{VIEW} WHERE seq = ? AND tenant = ? AND (?3 IS NULL OR function = ?3)"))?;
    let function = q.function.as_ref().map(|f| f.as_str());
    let found = seqs.iter().map(|seq| query.query_row(params![*seq as i64, q.tenant.as_str(), function], view).optional());
    found.filter_map(Result::transpose).take(q.limit).collect()
}

pub(super) fn body(c: &Connection, tenant: &TenantId, id: InvocationId) -> rusqlite::Result<Option<Body>> {
    let mut query = c.prepare_cached(
        "SELECT body, bytes, crc, sealed FROM events JOIN lanes USING (lane) WHERE seq = ? AND id = ? AND tenant = ? AND state IN (0, 2)",
    )?;
    let (seq, id) = (entry::seq_of(id) as i64, &id.0.as_bytes()[..]);
    let read = |r: &Row<'_>| {
        Ok(Body {
            here: r.get_ref(0)?.as_blob_or_null()?.map(Bytes::copy_from_slice),
            bytes: number(r, 1)?,
            crc: r.get(2)?,
            sealed: r.get(3)?,
        })
    };
    query.query_row(params![seq, id, tenant.as_str()], read).optional()
}

pub(super) fn list(c: &Connection, q: &EventQuery) -> rusqlite::Result<Vec<EventView>> {
    let state = q.stage.map(|stage| match stage {
        Stage::Queued | Stage::Running => QUEUED,
        Stage::Succeeded => SUCCEEDED,
        Stage::DeadLettered => DEAD,
        Stage::Failed => FAILED,
        Stage::Cancelled => CANCELLED,
    });
    let lane = match &q.function {
        Some(function) => match lane_number(c, &Lane { tenant: q.tenant.clone(), function: function.clone() })? {
            Some(number) => Some(number),
            None => return Ok(Vec::new()),
        },
        None => None,
    };
    // What has ended is found among millions that wait by indices of its own.
    let (index, only) = match (lane, state) {
        (None, None | Some(QUEUED)) => ("", "?2 IS NULL AND (?3 IS NULL OR state = ?3)"),
        (Some(_), None | Some(QUEUED)) => ("INDEXED BY of_lane", "lane = ?2 AND (?3 IS NULL OR state = ?3)"),
        (Some(_), Some(DEAD)) => ("INDEXED BY dead", "lane = ?2 AND state = 2 AND ?3 = 2"),
        (None, Some(DEAD)) => ("INDEXED BY letters", "?2 IS NULL AND state = 2 AND ?3 = 2"),
        _ => ("INDEXED BY closed", "(?2 IS NULL OR lane = ?2) AND state IN (1, 3, 4) AND state = ?3"),
    };
    let from = VIEW.replace("FROM events", &format!("FROM events {index}"));
    let mut query = c.prepare_cached(&format!("{from} WHERE {only} AND tenant = ?1 AND seq > ?4 ORDER BY seq LIMIT ?5"))?;
    let found = query.query_map(params![q.tenant.as_str(), lane, state, q.after as i64, q.limit as i64], view)?;
    found.collect()
}

fn view(r: &Row<'_>) -> rusqlite::Result<EventView> {
    let lane = Lane { tenant: TenantId::new(r.get_ref(13)?.as_str()?), function: r.get_ref(14)?.as_str()?.into() };
    let event = entry::decode_head(&mut Reader(r.get_ref(9)?.as_blob()?), lane).ok_or_else(|| unreadable(9))?;
    let stage = match r.get::<_, u8>(2)? {
        QUEUED => Stage::Queued,
        SUCCEEDED => Stage::Succeeded,
        DEAD => Stage::DeadLettered,
        FAILED => Stage::Failed,
        _ => Stage::Cancelled,
    };
    Ok(EventView {
        seq: number(r, 0)?,
        id: id_from(r.get_ref(1)?.as_blob()?).ok_or_else(|| unreadable(1))?,
        lane: event.lane,
        qualifier: event.qualifier,
        key: event.key,
        stage,
        why: r.get::<_, Option<u8>>(11)?.and_then(entry::why_of),
        reason: r.get_ref(12)?.as_str()?.into(),
        attempts: r.get(3)?,
        accepted_ms: number(r, 4)?,
        due_ms: number(r, 5)?,
        expires_ms: number(r, 6)?,
        ended_ms: number(r, 7)?,
        bytes: number(r, 10)?,
    })
}

pub(super) fn lane_number(c: &Connection, lane: &Lane) -> rusqlite::Result<Option<i64>> {
    let mut query = c.prepare_cached("SELECT lane FROM lanes WHERE tenant = ? AND function = ?")?;
    query.query_row(params![lane.tenant.as_str(), lane.function.as_str()], |r| r.get(0)).optional()
}

pub(super) fn number(r: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(r.get::<_, i64>(column)? as u64)
}

pub(super) fn unreadable(column: usize) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Blob, "not what was written".into())
}

pub(super) fn id_from(bytes: &[u8]) -> Option<InvocationId> {
    uuid::Uuid::from_slice(bytes).ok().map(InvocationId)
}

/// Functions of a tenant of whose events something is kept.
pub(super) fn functions(connection: &Connection, tenant: &TenantId) -> rusqlite::Result<Vec<String>> {
    let mut find = connection.prepare_cached("SELECT function FROM lanes WHERE tenant = ?")?;
    find.query_map([tenant.as_str()], |row| row.get(0))?.collect()
}
