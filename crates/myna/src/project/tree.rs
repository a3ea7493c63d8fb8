//! Files by name, whether they lie in a folder or in an archive: all that detection looks at.

use super::walk::Walk;
use std::{
    cell::RefCell,
    io::{Cursor, Read},
    path::{Path, PathBuf},
};
use zip::ZipArchive;

pub trait Tree {
    /// Paths from the root, `/` between the parts, in order.
    fn names(&self) -> Vec<&str>;
    /// A text file's content; nothing when it is missing, not text, or past a mebibyte.
    fn text(&self, name: &str) -> Option<String>;
    /// The folder on this machine, when there is one.
    fn folder(&self) -> Option<&Path>;

    fn has(&self, name: &str) -> bool {
        self.names().contains(&name)
    }
}

const TEXT_BYTES_MAX: u64 = 1024 * 1024;

pub struct Folder<'a> {
    pub root: &'a Path,
    pub walk: &'a Walk,
}

impl Tree for Folder<'_> {
    fn names(&self) -> Vec<&str> {
        self.walk.files.iter().map(|f| f.name.as_str()).collect()
    }
    fn text(&self, name: &str) -> Option<String> {
        let file = self.walk.files.iter().find(|f| f.name == name).filter(|f| f.bytes <= TEXT_BYTES_MAX)?;
        std::fs::read_to_string(&file.path).ok()
    }
    fn folder(&self) -> Option<&Path> {
        Some(self.root)
    }
}

pub struct Archive {
    names: Vec<String>,
    zip: RefCell<ZipArchive<Cursor<Vec<u8>>>>,
}

impl Archive {
    pub fn open(bytes: Vec<u8>) -> Result<Self, String> {
        let zip = ZipArchive::new(Cursor::new(bytes)).map_err(|e| e.to_string())?;
        // A name that can't be read is of no use here; the platform judges the archive as a whole.
        let mut names: Vec<String> = zip.file_names().flatten().filter(|n| !n.ends_with('/')).map(|n| n.into_owned()).collect();
        names.sort_unstable();
        Ok(Self { names, zip: RefCell::new(zip) })
    }
}

impl Tree for Archive {
    fn names(&self) -> Vec<&str> {
        self.names.iter().map(String::as_str).collect()
    }
    fn text(&self, name: &str) -> Option<String> {
        let mut zip = self.zip.borrow_mut();
        let file = zip.by_name(name).ok()?;
        let mut text = String::new();
        // The stated size may lie; what is read may not pass the limit.
        let read = file.take(TEXT_BYTES_MAX + 1).read_to_string(&mut text).ok()?;
        (read as u64 <= TEXT_BYTES_MAX).then_some(text)
    }
    fn folder(&self) -> Option<&Path> {
        None
    }
}

/// `src/app.py` → `src/app`, `py`.
pub fn split(name: &str) -> (&str, &str) {
    name.rsplit_once('.').unwrap_or((name, ""))
}

/// A path of the host, when it is a regular file.
pub fn regular(path: PathBuf) -> Option<PathBuf> {
    path.is_file().then_some(path)
}
