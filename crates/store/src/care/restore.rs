//! A directory out of a backup. It is written beside its place, compared with the backup's own list, examined, and only then put
//! there. An archive is hostile until that is done: only the names that a backup has are taken, and nothing but plain files.

use super::{CHECKSUM, MANIFEST, Report, examine, tarball};
use crate::{Error, hex, seal::Source};
use ring::digest::{Context, SHA256};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufReader, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Component, Path, PathBuf},
};

/// Entries that a backup may have.
const ENTRIES_MAX: usize = 4_000_000;
const LIST_BYTES_MAX: u64 = 1 << 30;
const DEPTH_MAX: usize = 8;
/// What the first part of an entry's name may be, besides the names of files of the directory itself.
const FOLDERS: [&str; 6] = ["secrets", "audit", "queue", "packages", "logs", "records"];

#[derive(Debug, serde::Serialize)]
pub struct Restored {
    pub dir: PathBuf,
    pub entries: usize,
    pub bytes: u64,
    pub report: Report,
}

#[derive(Deserialize)]
struct List {
    entries: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    name: String,
    bytes: u64,
    sha256: String,
}

/// Make `dir` out of a backup. It must not be there, or be an empty folder. `key` as for [`super::verify`].
pub fn restore(file: &Path, dir: &Path, key: &Source) -> Result<Restored, Error> {
    let dir = std::path::absolute(dir).map_err(Error::io("resolve", dir))?;
    match std::fs::read_dir(&dir).map(|mut entries| entries.next().is_some()) {
        Ok(true) => {
            return Err(Error::refused(&dir, "it is not empty", "name a new folder: a backup is never put over anything"));
        }
        Ok(false) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(Error::io("list", &dir)(e)),
    }
    let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let partial = dir.with_file_name(format!(".{name}.{}.part", uuid::Uuid::new_v4()));
    let made = unpack(file, &partial).and_then(|(entries, bytes)| {
        let report = examine::verify(&partial, key)?;
        if let Some(flaw) = report.flaws.first() {
            return Err(Error::damaged(file, format!("{}: {}", flaw.what, flaw.detail), "use another backup"));
        }
        std::fs::rename(&partial, &dir).map_err(Error::io("put the restored folder at", &dir))?;
        crate::directory::sync_folder(dir.parent().unwrap_or(Path::new("/"))).map_err(Error::io("sync the folder of", &dir))?;
        Ok(Restored { dir: dir.clone(), entries, bytes, report })
    });
    if made.is_err() {
        let _ = std::fs::remove_dir_all(&partial);
    }
    made
}

fn folder(path: &Path) -> Result<(), Error> {
    std::fs::DirBuilder::new().mode(0o700).recursive(true).create(path).map_err(Error::io("create", path))
}

fn unpack(file: &Path, into: &Path) -> Result<(usize, u64), Error> {
    let damaged = |what: String| Error::damaged(file, what, "use another backup");
    let broken = |e: io::Error| damaged(format!("it can't be read as a tar archive: {e}"));
    let mut opened = crate::directory::open_private(file).map_err(Error::io("open", file))?;
    if !opened.metadata().map_err(Error::io("look at", file))?.is_file() {
        return Err(Error::refused(file, "it is no file", "name a backup"));
    }
    folder(into)?;
    let mut archive = tar::Archive::new(BufReader::with_capacity(1 << 18, &opened));
    let (mut found, mut list, mut total) = (BTreeMap::new(), None, 0);
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let name =
            String::from_utf8(entry.path_bytes().into_owned()).map_err(|_| damaged("an entry's name is no text".into()))?;
        if list.is_some() && name == CHECKSUM {
            break;
        }
        if list.is_some() || found.len() >= ENTRIES_MAX {
            return Err(damaged(format!("entry {name:?} comes after the end of the list")));
        }
        if entry.header().entry_type() != tar::EntryType::Regular {
            return Err(damaged(format!("entry {name:?} is no plain file")));
        }
        if name == MANIFEST {
            if entry.size() > LIST_BYTES_MAX {
                return Err(damaged("its list is too long".into()));
            }
            let mut text = Vec::new();
            entry.read_to_end(&mut text).map_err(broken)?;
            list = Some(serde_json::from_slice::<List>(&text).map_err(|e| damaged(format!("its list can't be read: {e}")))?);
            continue;
        }
        let to = into.join(place(&name).ok_or_else(|| damaged(format!("entry {name:?} is none of a backup's")))?);
        folder(to.parent().expect("below the new folder"))?;
        let (bytes, sum) = write(&mut entry, &to).map_err(|e| match e.kind() {
            io::ErrorKind::AlreadyExists => damaged(format!("entry {name:?} is there twice")),
            _ => Error::io("write", &to)(e),
        })?;
        total += bytes;
        found.insert(name, (bytes, sum));
    }
    let list = list.ok_or_else(|| damaged("it is cut off: its list is missing".into()))?;
    for wanted in &list.entries {
        match found.remove(&wanted.name) {
            Some((bytes, sum)) if bytes == wanted.bytes && sum == wanted.sha256 => {}
            Some(_) => return Err(damaged(format!("entry {:?} is not what was backed up: its checksum is wrong", wanted.name))),
            None => return Err(damaged(format!("entry {:?} is missing", wanted.name))),
        }
    }
    if let Some(name) = found.keys().next() {
        return Err(damaged(format!("entry {name:?} is not in its list")));
    }
    drop(archive);
    match tarball::unchanged(&mut opened).map_err(broken)? {
        true => Ok((list.entries.len(), total)),
        false => Err(damaged("it was changed or cut off since it was made: its checksum is wrong".into())),
    }
}

/// Where an entry goes, below the new folder; `None` for a name that no backup has.
fn place(name: &str) -> Option<PathBuf> {
    let path = Path::new(name);
    let parts: Vec<_> = path
        .components()
        .map(|c| match c {
            Component::Normal(part) => part.to_str().filter(|p| !p.starts_with('.') && p.len() <= 255),
            _ => None,
        })
        .collect::<Option<_>>()?;
    let known = match parts.as_slice() {
        [] => false,
        [file] => !FOLDERS.contains(file) && *file != "lock" && *file != "staging",
        [first, rest @ ..] => FOLDERS.contains(first) && rest.len() < DEPTH_MAX,
    };
    // As it was written: no double slash, no dot in between.
    (known && parts.join("/") == name).then(|| path.to_owned())
}

fn write(from: &mut impl Read, to: &Path) -> io::Result<(u64, String)> {
    let mut out = File::options().write(true).create_new(true).mode(0o600).open(to)?;
    let (mut sum, mut bytes, mut piece) = (Context::new(&SHA256), 0, vec![0; 1 << 16]);
    loop {
        let n = from.read(&mut piece)?;
        if n == 0 {
            break;
        }
        sum.update(&piece[..n]);
        out.write_all(&piece[..n])?;
        bytes += n as u64;
    }
    out.sync_all()?;
    Ok((bytes, hex(sum.finish().as_ref())))
}

#[cfg(test)]
mod tests {
    use super::place;

    // H37
    #[test]
    fn only_the_names_of_a_backup_have_a_place() {
        for good in ["rows.db", "keys", "secrets/link-key", "queue/bodies/x", "packages/t/d/archive.zip", "logs/t/g/00000001.seg"]
        {
            assert!(place(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "/etc/passwd",
            "../x",
            "secrets/../../x",
            "secrets//x",
            "./rows.db",
            "secrets/./x",
            "queue",
            "packages",
            "lock",
            "other/x",
            ".gitignore",
            "secrets/.x",
            "a/b/c/d/e/f/g/h/i/j",
            "staging/x",
            "logs/1/2/3/4/5/6/7/8/9",
        ] {
            assert!(place(bad).is_none(), "{bad}");
        }
    }
}
