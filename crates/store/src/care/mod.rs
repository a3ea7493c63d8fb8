//! Care of a state directory from outside of the platform that uses it: a backup while it runs, putting one back, finding what is
//! broken, and mending it. Nothing here asks the running platform: SQLite gives a consistent copy to another process, and every
//! other file is only ever added to, replaced whole or removed.

mod backup;
mod examine;
mod files;
mod repair;
mod restore;
mod salvage;
mod tarball;

pub use backup::{Backup, backup};
pub use examine::{Flaw, Report, verify};
pub use repair::{Repair, Step, repair};
pub use restore::{Restored, restore};
pub use tarball::Tarball;

use crate::{Error, directory};
use rusqlite::{Connection, OpenFlags};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// The list of what a backup holds, after all of it.
const MANIFEST: &str = "MANIFEST.json";
/// The checksum of a backup's bytes up to there; its last entry.
const CHECKSUM: &str = "SHA256";
/// The rows and the index of the queue, and the folders of the queue.
const ROWS: &str = "rows.db";
const QUEUE: &str = "queue";
const EVENTS: &str = "events.db";
const BODIES: &str = "bodies";
const PACKAGES: &str = "packages";
const ARCHIVE: &str = "archive.zip";
const SEALED: &str = "archive.sealed";
/// Where sealed directories keep their wrapped keys.
const KEYS: &str = "keys";

/// A state directory that is there and of a format that this build knows; and, where its file `FORMAT` says nothing while the rows do,
/// what they say and what is wrong with the file.
fn known(dir: &Path) -> Result<(PathBuf, Option<(u32, String)>), Error> {
    let dir = std::path::absolute(dir).map_err(Error::io("resolve", dir))?;
    match (directory::read_format(&dir), directory::format_of_rows(&dir)) {
        (Ok(Some(_)), _) => Ok((dir, None)),
        (Ok(None), Some(format)) => Ok((dir, Some((format, "it is missing".to_owned())))),
        (Err(Error::Damaged { what, .. }), Some(format)) => Ok((dir, Some((format, what)))),
        (Ok(None), None) => Err(Error::refused(&dir, "it holds no state of Myna's", "name a platform's directory with --dir")),
        (Err(error), _) => Err(error),
    }
}

/// A database of another process's, only to be read. One without a log of changes was closed cleanly, and is read without making
/// any file beside it.
fn look_into(path: &Path) -> rusqlite::Result<Connection> {
    let clean = std::fs::metadata(path.with_extension("db-wal")).map_or(0, |m| m.len()) == 0;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let name = path.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    let connection = Connection::open_with_flags(format!("file:{name}{}", if clean { "?immutable=1" } else { "" }), flags)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "trusted_schema", false)?;
    Ok(connection)
}
