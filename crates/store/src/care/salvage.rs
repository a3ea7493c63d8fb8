//! What can still be read of a damaged database, in a new one: tables are read from both ends towards the damage.

use super::look_into;
use crate::{Error, directory};
use rusqlite::{Connection, params_from_iter, types::Value};
use std::path::{Path, PathBuf};

/// A table, and by what it is ordered.
pub(super) type Table = (&'static str, &'static str);

pub(super) const ROWS: &[Table] = &[("rows", "tenant, kind, name"), ("counters", "name"), ("usage", "tenant, hour, function")];
pub(super) const EVENTS: &[Table] = &[("lanes", "lane"), ("events", "seq"), ("followed", "one")];

/// Of the events that still wait or are dead letters so many are named that belong to no function.
const NAMED_MAX: usize = 1000;
/// Events of functions that nobody knows can't be run.
const KEEP_OWNERLESS: &str = "CREATE TABLE shelf.events AS SELECT * FROM events WHERE lane NOT IN (SELECT lane FROM lanes)";
const DROP_OWNERLESS: &str = "DELETE FROM events WHERE lane NOT IN (SELECT lane FROM lanes)";
/// Counts that are kept beside what they count.
const RECOUNT: &str = "
    UPDATE lanes SET queued = (SELECT count(*) FROM events e WHERE e.lane = lanes.lane AND e.state = 0),
                     dead = (SELECT count(*) FROM events e WHERE e.lane = lanes.lane AND e.state = 2);
";

/// How many rows of each table were saved; the new database is at `to`, and on stable storage. `make` gives its tables.
pub(super) fn salvage(from: &Path, to: &Path, tables: &[Table], make: &str) -> Result<Vec<(&'static str, usize)>, Error> {
    let failed = |e: rusqlite::Error| Error::damaged(to, e, "free some space, and try again");
    let mut new = Connection::open(to).map_err(failed)?;
    new.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
    new.execute_batch(make).map_err(failed)?;
    let mut saved = Vec::new();
    let old = look_into(from).ok();
    for (table, order) in tables {
        let transaction = new.transaction().map_err(failed)?;
        let before: usize = count(&transaction, table).map_err(failed)?;
        if let Some(old) = &old {
            for direction in ["", " DESC"] {
                let order = order.split(", ").map(|column| format!("{column}{direction}")).collect::<Vec<_>>().join(", ");
                // Where the damage is, reading ends; what was read until then is kept.
                let _ = copy(old, &transaction, table, &order);
            }
        }
        let after = count(&transaction, table).map_err(failed)?;
        transaction.commit().map_err(failed)?;
        saved.push((*table, after.saturating_sub(before)));
    }
    if tables.iter().any(|(table, _)| *table == "events") {
        new.execute_batch(RECOUNT).map_err(failed)?;
    }
    new.close().map_err(|(_, e)| failed(e))?;
    let synced = std::fs::File::open(to).and_then(|file| file.sync_all());
    synced.map_err(Error::io("sync", to))?;
    Ok(saved)
}

/// Take out of the saved index at `index` the events whose function can't be told, and keep them in the folder `shelf`: their rows in
/// a database, with their bodies beside it where those lay apart in `bodies`. Gives a line for each that had not ended.
pub(super) fn put_aside(index: &Path, bodies: &Path, shelf: &Path) -> Result<Vec<String>, Error> {
    let failed = |e: rusqlite::Error| Error::damaged(index, e, "free some space, and try again");
    let new = Connection::open(index).map_err(failed)?;
    let any = "SELECT EXISTS (SELECT 1 FROM events WHERE lane NOT IN (SELECT lane FROM lanes))";
    if !new.query_row(any, [], |r| r.get::<_, bool>(0)).map_err(failed)? {
        return Ok(Vec::new());
    }
    super::repair::make(shelf)?;
    let kept = shelf.join(super::EVENTS);
    new.execute("ATTACH ? AS shelf", [kept.to_string_lossy()]).map_err(failed)?;
    new.execute_batch(KEEP_OWNERLESS).map_err(failed)?;
    let mut named = Vec::new();
    let mut more = 0_usize;
    {
        let mut waiting = new.prepare("SELECT id FROM shelf.events WHERE state IN (0, 2) ORDER BY seq").map_err(failed)?;
        let ids = waiting.query_map([], |r| r.get::<_, Vec<u8>>(0)).map_err(failed)?;
        for id in ids {
            let id =
                uuid::Uuid::from_slice(&id.map_err(failed)?).map_or_else(|_| "without an id".to_owned(), |id| id.to_string());
            let body = bodies.join(&id);
            match std::fs::rename(&body, shelf.join(&id)) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Error::io("move", body)(e)),
                _ => {}
            }
            if named.len() == NAMED_MAX {
                more += 1;
                continue;
            }
            let at = kept.display();
            named.push(format!(
                "event {id}: the function that it is for can't be read; it is kept in {at}; send it again, or restore a backup"
            ));
        }
    }
    if more > 0 {
        named.push(format!("{more} more events whose functions can't be read are kept in {}", kept.display()));
    }
    directory::sync_folder(shelf).map_err(Error::io("sync", shelf))?;
    new.execute_batch("PRAGMA synchronous = FULL").and_then(|()| new.execute_batch(DROP_OWNERLESS)).map_err(failed)?;
    new.close().map_err(|(_, e)| failed(e))?;
    std::fs::File::open(index).and_then(|file| file.sync_all()).map_err(Error::io("sync", index))?;
    Ok(named)
}

fn count(connection: &Connection, table: &str) -> rusqlite::Result<usize> {
    connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |r| r.get::<_, i64>(0)).map(|n| n as usize)
}

fn copy(old: &Connection, new: &Connection, table: &str, order: &str) -> rusqlite::Result<()> {
    let mut read = old.prepare(&format!("SELECT * FROM {table} ORDER BY {order}"))?;
    let names: Vec<String> = read.column_names().map(str::to_owned).collect();
    let places = vec!["?"; names.len()].join(", ");
    let verb = if table == "followed" || table == "counters" { "INSERT OR REPLACE" } else { "INSERT OR IGNORE" };
    let mut write = new.prepare(&format!("{verb} INTO {table} ({}) VALUES ({places})", names.join(", ")))?;
    let mut found = read.query([])?;
    while let Some(row) = found.next()? {
        let values = (0..names.len()).map(|n| row.get::<_, Value>(n)).collect::<rusqlite::Result<Vec<_>>>()?;
        // A row that is none of this table's is left out.
        let _ = write.execute(params_from_iter(values));
    }
    Ok(())
}

/// Put a file in another's place; the old one, and what SQLite keeps beside it, goes to the shelf.
pub(super) fn exchange(shelf: &Path, old: &Path, new: &Path) -> Result<(), Error> {
    for suffix in ["", "-wal", "-shm"] {
        let beside = |path: &Path| PathBuf::from(format!("{}{suffix}", path.display()));
        match std::fs::rename(beside(old), beside(shelf)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Error::io("move", beside(old))(e)),
            _ => {}
        }
    }
    std::fs::rename(new, old).map_err(Error::io("put in place", old))?;
    directory::sync_folder(old.parent().unwrap_or(Path::new("/"))).map_err(Error::io("sync the folder of", old))
}

#[cfg(test)]
mod tests {
    use super::*;

    // F18
    #[test]
    fn an_event_whose_function_is_lost_is_named_and_kept_with_its_body() {
        let home = tempfile::tempdir().unwrap();
        let (index, bodies, shelf) = (home.path().join("new"), home.path().join("bodies"), home.path().join("damaged/1"));
        std::fs::create_dir(&bodies).unwrap();
        let new = Connection::open(&index).unwrap();
        new.execute_batch(&crate::queue::schema()).unwrap();
        new.execute("INSERT INTO lanes (lane, tenant, function) VALUES (1, 't', 'f')", []).unwrap();
        let ids: Vec<uuid::Uuid> = (0..4).map(|_| uuid::Uuid::new_v4()).collect();
        // One of a function that is there; of one that is lost a waiting event, a dead letter, and one that had ended.
        for (id, (lane, state)) in ids.iter().zip([(1, 0), (2, 0), (2, 2), (2, 1)]) {
            let put = "INSERT INTO events (lane, state, attempts, accepted_ms, due_ms, expires_ms, ended_ms, id, head, bytes, crc, reason, behind)
                       VALUES (?, ?, 0, 0, 0, 0, 0, ?, x'', 4, 0, '', 0)";
            new.execute(put, rusqlite::params![lane, state, &id.as_bytes()[..]]).unwrap();
            std::fs::write(bodies.join(id.to_string()), "body").unwrap();
        }
        drop(new);
        let named = put_aside(&index, &bodies, &shelf).unwrap();
        assert!(named.len() == 2 && named.iter().zip(&ids[1..3]).all(|(line, id)| line.contains(&id.to_string())), "{named:?}");
        let all = |path: &Path| count(&Connection::open(path).unwrap(), "events").unwrap();
        assert_eq!((all(&index), all(&shelf.join("events.db"))), (1, 3));
        for id in &ids[1..3] {
            assert_eq!(std::fs::read(shelf.join(id.to_string())).unwrap(), b"body");
        }
        assert!(bodies.join(ids[0].to_string()).exists());
        assert!(put_aside(&index, &bodies, &shelf).unwrap().is_empty(), "once");
    }
}
