//! Files that are there together or not at all. One that is missing beside the others was lost: making a new one in its place would
//! begin a directory that has forgotten what it held, and retention would take the rest.

use super::{FORMAT, FORMAT_FILE, open_private, two_levels};
use crate::{
    Error,
    seal::{self, KEYS_FILE},
};
use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

const ROWS: &str = "rows.db";
/// What a package's archive is called where it is sealed.
const SEALED: &str = "archive.sealed";
/// SQLite, Database File Format, section 1.3: what a file begins with, and where `user_version` stands.
const SQLITE: &[u8; 16] = b"SQLite format 3\0";
const USER_VERSION_AT: usize = 60;
const HINT: &str = "restore it from a backup (myna restore), or let myna repair --dry-run say what can be mended without one";

/// Refuse a directory in which something is missing that must be there beside what is. Nothing is changed.
pub(super) fn check(path: &Path) -> Result<(), Error> {
    let (rows, format) = (path.join(ROWS), path.join(FORMAT_FILE));
    if fs::symlink_metadata(&rows).is_ok_and(|meta| !meta.is_file()) {
        // What stands there is for the look at what everything is to refuse.
        return Ok(());
    }
    // SQLite takes a file of zeroes for one that is to be begun.
    let has_rows = is_database(&rows);
    if has_rows && missing(&format) && format_of_rows(path).is_some() {
        return Err(Error::damaged(format, "it is missing beside what it is the format of", HINT));
    }
    if !has_rows && let Some(beside) = kept(path) {
        let what = if missing(&rows) { "it is missing" } else { "it is empty, or no database" };
        return Err(Error::damaged(rows, format!("{what}, and {} is there", beside.display()), HINT));
    }
    let keys = path.join(KEYS_FILE);
    if let Some(sealed) = sealed_without_keys(path) {
        let what = format!("it is missing, and {} was sealed by a key in it", sealed.display());
        return Err(Error::damaged(keys, what, "restore it from a backup: without it nothing in this directory can be read"));
    }
    Ok(())
}

/// Whether a file begins as a database does.
pub(crate) fn is_database(path: &Path) -> bool {
    let mut head = [0; SQLITE.len()];
    open_private(path).and_then(|mut file| file.read_exact(&mut head)).is_ok() && head == *SQLITE
}

fn missing(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err_and(|e| e.kind() == io::ErrorKind::NotFound)
}

/// Something that is only made after the first rows.
fn kept(path: &Path) -> Option<PathBuf> {
    let any = |folder: &str, wanted: fn(&str) -> bool| {
        let entries = fs::read_dir(path.join(folder)).ok()?;
        entries.flatten().map(|e| e.path()).find(|p| p.file_name().and_then(|n| n.to_str()).is_some_and(wanted))
    };
    any("packages", |name| !name.starts_with('.'))
        .or_else(|| any("audit", |name| name.ends_with(".seg")))
        .or_else(|| any("queue", |name| name == "events.db" || name.ends_with(".seg")))
}

/// Something that is sealed, where the keys that it was sealed by are missing.
pub(crate) fn sealed_without_keys(path: &Path) -> Option<PathBuf> {
    if !missing(&path.join(KEYS_FILE)) {
        return None;
    }
    sealed_secret(path).or_else(|| sealed_archive(path))
}

/// A secret that is sealed: the first things that a directory has.
fn sealed_secret(path: &Path) -> Option<PathBuf> {
    let is_sealed = |path: &PathBuf| {
        let mut head = [0; seal::OVERHEAD];
        open_private(path).and_then(|mut file| file.read_exact(&mut head)).is_ok() && seal::is_sealed(&head)
    };
    fs::read_dir(path.join("secrets")).ok()?.flatten().map(|e| e.path()).find(is_sealed)
}

fn sealed_archive(path: &Path) -> Option<PathBuf> {
    let places = two_levels(&path.join("packages")).ok()?;
    places.into_iter().map(|(_, _, place)| place.join(SEALED)).find(|archive| !missing(archive))
}

/// The format that the rows say that they have, where there are any and this build reads them.
pub(crate) fn format_of_rows(path: &Path) -> Option<u32> {
    let mut header = [0; USER_VERSION_AT + 4];
    open_private(&path.join(ROWS)).and_then(|mut file| file.read_exact(&mut header)).ok()?;
    let version = u32::from_be_bytes(header[USER_VERSION_AT..].try_into().expect("four bytes"));
    (header.starts_with(SQLITE) && (1..=FORMAT).contains(&version)).then_some(version)
}
