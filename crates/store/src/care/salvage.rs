//! What can still be read of a damaged database, in a new one: tables are read from both ends towards the damage.

use super::look_into;
use crate::{Error, directory};
use rusqlite::{Connection, params_from_iter, types::Value};
use std::path::{Path, PathBuf};

/// A table, and by what it is ordered.
pub(super) type Table = (&'static str, &'static str);

pub(super) const ROWS: &[Table] = &[("rows", "tenant, kind, name"), ("counters", "name"), ("usage", "tenant, hour, function")];
pub(super) const EVENTS: &[Table] = &[("lanes", "lane"), ("events", "seq"), ("followed", "one")];

/// Counts that are kept beside what they count; an event of a function that nobody knows can't be run.
const RECOUNT: &str = "
    DELETE FROM events WHERE lane NOT IN (SELECT lane FROM lanes);
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
