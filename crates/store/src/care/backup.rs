//! A copy of all that a platform was trusted with, taken while it works.
//!
//! The queue first. Its index is copied by SQLite at one moment and says how far it had followed the log; what came later is read
//! from the log again when the copy is started. The log's files and the large bodies are held by links from before that moment, so
//! that none goes while it is needed; if one was made and removed again in between, it is all done once more. The rows come after,
//! and the packages last: a package is there before a row names it, and stays for a while after.

use super::{ARCHIVE, BODIES, EVENTS, PACKAGES, QUEUE, ROWS, SEALED, Tarball, known};
use crate::{Error, directory, segments};
use rusqlite::Connection;
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

/// How often the copy of a queue is begun again because files came and went in between.
const ATTEMPTS_MAX: u32 = 20;
/// Files of the directory itself that are not part of its state, or are copied in another way.
const NOT_COPIED: [&str; 5] = ["lock", "reserve", "rows.db", "rows.db-wal", "rows.db-shm"];
/// Folders whose files are copied as they are.
const COPIED: [&str; 2] = ["secrets", "audit"];

#[derive(Debug, serde::Serialize)]
pub struct Backup {
    pub file: PathBuf,
    /// Of all entries.
    pub bytes: u64,
    pub entries: usize,
    pub rows: u64,
    pub packages: usize,
    /// Events that wait, of the index; those behind it in the log are in the copy too.
    pub queued: u64,
    /// Up to where the copied index had followed the log.
    pub position: (u32, u64),
}

/// Goes with all that is in it.
struct Stage(PathBuf);

impl Drop for Stage {
    fn drop(&mut self) {
        // The next start of the platform empties the folder that it is in.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Copy the directory into `file`, a tar archive; `logs`: functions' logs and the records of calls too. The master key of a sealed
/// directory lies elsewhere and is not in it; a function's code and an access key are.
pub fn backup(dir: &Path, file: &Path, logs: bool) -> Result<Backup, Error> {
    let (dir, _) = known(dir)?;
    let stage = Stage(dir.join("staging").join(format!("backup-{}", uuid::Uuid::new_v4())));
    make(&stage.0)?;
    let mut out = Tarball::create(file)?;
    let queue = Queue::hold(&dir, &stage.0)?;
    let rows = stage.0.join(ROWS);
    copy_database(&dir.join(ROWS), &rows)?;
    let count = count(&rows, "SELECT count(*) FROM rows")?;

    for (name, path) in files(&dir)? {
        if !NOT_COPIED.contains(&name.as_str()) && !name.starts_with('.') {
            out.add_file(&name, &path)?;
        }
    }
    for folder in COPIED {
        for (name, path) in files(&dir.join(folder))? {
            if !name.starts_with('.') {
                out.add_file(&format!("{folder}/{name}"), &path)?;
            }
        }
    }
    out.add_file(ROWS, &rows)?;
    queue.write(&mut out)?;
    let mut packages = 0;
    for (tenant, digest, place) in directory::two_levels(&dir.join(PACKAGES))? {
        for name in [SEALED, ARCHIVE] {
            match out.add_file(&format!("{PACKAGES}/{tenant}/{digest}/{name}"), &place.join(name)) {
                Ok(()) => {
                    packages += 1;
                    break;
                }
                // It lies there the other way, or was collected meanwhile: then no row of the copy names it.
                Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
    if logs {
        for folder in ["logs", "records"] {
            deep(&dir.join(folder), folder, &mut out)?;
        }
    }
    let about = json!({
        "format": directory::FORMAT, "logs": logs, "rows": count, "packages": packages,
        "queued": queue.queued, "position": [queue.position.0, queue.position.1],
    });
    let (bytes, entries) = out.finish(about)?;
    let file = std::path::absolute(file).map_err(Error::io("resolve", file))?;
    Ok(Backup { file, bytes, entries, rows: count, packages, queued: queue.queued, position: queue.position })
}

fn make(folder: &Path) -> Result<(), Error> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().mode(0o700).create(folder).map_err(Error::io("create", folder))
}

/// The files right below a folder; none where there is no folder.
pub(super) fn files(folder: &Path) -> Result<Vec<(String, PathBuf)>, Error> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::io("list", folder)(e)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Error::io("list", folder))?;
        // What is gone by now was on its way.
        if entry.file_type().is_ok_and(|t| t.is_file()) {
            found.push((entry.file_name().to_string_lossy().into_owned(), entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

/// Logs are dropped by their age while they are copied: what has gone is left out.
fn deep(folder: &Path, name: &str, out: &mut Tarball) -> Result<(), Error> {
    for (file, path) in files(folder)? {
        match out.add_file(&format!("{name}/{file}"), &path) {
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(()) };
    for entry in entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir())) {
        deep(&entry.path(), &format!("{name}/{}", entry.file_name().to_string_lossy()), out)?;
    }
    Ok(())
}

fn copy_database(from: &Path, to: &Path) -> Result<(), Error> {
    let copy = || {
        let connection = Connection::open_with_flags(
            from,
            rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE
                | rusqlite::OpenFlags::SQLITE_OPEN_NO_MUTEX
                | rusqlite::OpenFlags::SQLITE_OPEN_NOFOLLOW,
        )?;
        connection.busy_timeout(Duration::from_secs(10))?;
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        connection.execute("VACUUM INTO ?", [to.to_string_lossy()])
    };
    let copied = copy().map_err(|e: rusqlite::Error| Error::damaged(from, e, "look at it with: myna verify"));
    copied?;
    std::fs::File::open(to).and_then(|f| f.sync_all()).map_err(Error::io("write", to))
}

fn count(path: &Path, query: &str) -> Result<u64, Error> {
    let asked = super::look_into(path).and_then(|c| c.query_row(query, [], |r| crate::rows::number(r, 0)));
    asked.map_err(|e| Error::damaged(path, e, "look at it with: myna verify"))
}

/// The queue at one moment, held by links and a copy.
struct Queue {
    stage: PathBuf,
    segments: BTreeMap<u32, PathBuf>,
    bodies: BTreeSet<String>,
    queued: u64,
    position: (u32, u64),
}

impl Queue {
    fn hold(dir: &Path, stage: &Path) -> Result<Self, Error> {
        let folder = dir.join(QUEUE);
        for attempt in 0..ATTEMPTS_MAX {
            let stage = stage.join(format!("queue-{attempt}"));
            make(&stage)?;
            make(&stage.join(BODIES))?;
            let mut held = Self { stage, segments: BTreeMap::new(), bodies: BTreeSet::new(), queued: 0, position: (0, 0) };
            held.link(&folder)?;
            let index = held.stage.join(EVENTS);
            if folder.join(EVENTS).exists() {
                copy_database(&folder.join(EVENTS), &index)?;
                held.link(&folder)?;
                if !held.whole(&index)? {
                    continue;
                }
            }
            return Ok(held);
        }
        Err(Error::refused(folder, "its files come and go faster than they can be held", "try again, or stop the platform first"))
    }

    fn link(&mut self, folder: &Path) -> Result<(), Error> {
        for (name, path) in files(folder)? {
            let Some(number) = name.strip_suffix(".seg").and_then(|n| n.parse().ok()) else { continue };
            let held = segments::path(&self.stage, number);
            if !self.segments.contains_key(&number) && link(&path, &held)? {
                self.segments.insert(number, held);
            }
        }
        for (name, path) in files(&folder.join(BODIES))? {
            if !self.bodies.contains(&name) && link(&path, &self.stage.join(BODIES).join(&name))? {
                self.bodies.insert(name);
            }
        }
        Ok(())
    }

    /// Whether all is there that the copied index needs: the log from where it had followed it, and the bodies that lie apart.
    fn whole(&mut self, index: &Path) -> Result<bool, Error> {
        let damaged = |e| Error::damaged(index, e, "look at it with: myna verify");
        let (position, queued, bodies) = super::look_into(index)
            .and_then(|c| {
                let at =
                    c.query_row("SELECT segment, offset FROM followed", [], |r| Ok((r.get(0)?, crate::rows::number(r, 1)?)))?;
                let queued = c.query_row("SELECT count(*) FROM events WHERE state = 0", [], |r| crate::rows::number(r, 0))?;
                let mut apart = c.prepare("SELECT id FROM events WHERE state IN (0, 2) AND body IS NULL AND bytes > 0")?;
                let ids = apart.query_map([], |r| r.get::<_, Vec<u8>>(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
                Ok((at, queued, ids))
            })
            .map_err(damaged)?;
        (self.position, self.queued) = (position, queued);
        let ids = bodies.iter().filter_map(|id| uuid::Uuid::from_slice(id).ok());
        let bodies = ids.into_iter().all(|id| self.bodies.contains(&id.to_string()));
        let last = self.segments.keys().next_back().copied().unwrap_or(position.0);
        let log = (position.0.max(1)..=last).all(|n| self.segments.contains_key(&n)) || self.segments.is_empty();
        Ok(bodies && log)
    }

    fn write(&self, out: &mut Tarball) -> Result<(), Error> {
        let index = self.stage.join(EVENTS);
        if index.exists() {
            out.add_file(&format!("{QUEUE}/{EVENTS}"), &index)?;
        }
        for (number, path) in &self.segments {
            out.add_file(&format!("{QUEUE}/{number:08}.seg"), path)?;
        }
        for name in &self.bodies {
            out.add_file(&format!("{QUEUE}/{BODIES}/{name}"), &self.stage.join(BODIES).join(name))?;
        }
        Ok(())
    }
}

/// False when it had gone.
fn link(from: &Path, to: &Path) -> Result<bool, Error> {
    match std::fs::hard_link(from, to) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(Error::io("hold", from)(e)),
    }
}
