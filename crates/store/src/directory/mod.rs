//! The state directory: one folder that belongs to one platform at a time.
//!
//! It is opened once, checked before anything in it is changed, and refused with the reason and what to do when it is not
//! fit: the owner of a machine should read one line, not search. Everything below it is private to the platform's user.

mod check;
mod listing;
mod lock;
mod together;

pub(crate) use listing::{SHELF, empty, folder_bytes, shelf_holds, two_levels};
pub(crate) use together::{format_of_rows, is_database, sealed_without_keys};

use crate::{
    Error,
    seal::{KEYS_FILE, Label, PLATFORM, Seal},
};
use lock::Lock;
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, OwnedFd},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

/// The newest format that this build reads, and the one it writes.
pub const FORMAT: u32 = 2;

/// Far more than a small secret has, sealed or not; of a file that was put in its place no more is read.
const SECRET_BYTES_MAX: u64 = 64 << 10;

const FORMAT_FILE: &str = "FORMAT";
const FOLDERS: &[&str] = &["packages", "staging", "logs", "records", "queue", "secrets", "audit"];
const FILES: &[&str] = &[FORMAT_FILE, ".gitignore", "lock", "rows.db", "rows.db-wal", "rows.db-shm", "reserve", KEYS_FILE];

/// An opened state directory. Dropping it lets another platform have it.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    handle: OwnedFd,
    seal: OnceLock<Arc<Seal>>,
    _lock: Lock,
}

impl Directory {
    /// Create or open the directory at `path`. Its parent must exist. A directory that is refused is left as it was.
    pub fn open(path: &Path, allow_volatile: bool) -> Result<Directory, Error> {
        Directory::take(path, allow_volatile, together::check)
    }

    /// The same of one that is to be mended: what is missing is for whoever mends it to say.
    pub(crate) fn open_damaged(path: &Path, allow_volatile: bool) -> Result<Directory, Error> {
        Directory::take(path, allow_volatile, |_| Ok(()))
    }

    fn take(path: &Path, allow_volatile: bool, whole: fn(&Path) -> Result<(), Error>) -> Result<Directory, Error> {
        let path = absolute(path)?;
        create(&path)?;
        let handle = open_folder(&path)?;
        check::folder(&handle, &path, allow_volatile)?;
        whole(&path)?;
        check::contents(&handle, &path)?;
        let found = read_format(&path)?;
        let lock = Lock::take(&handle, &path)?;
        let directory = Directory { path, handle, seal: OnceLock::new(), _lock: lock };
        directory.prepare(found)?;
        Ok(directory)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A small secret kept in a file of mode 0600. Made by `generate` the first time, the same ever after.
    pub fn secret(&self, name: &str, generate: impl FnOnce() -> Vec<u8>) -> Result<Vec<u8>, Error> {
        assert!(
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'),
            "secret names are our own words"
        );
        let folder = self.path.join("secrets");
        let path = folder.join(name);
        match open_private(&path) {
            Ok(mut file) => {
                check::private_file(&file, &path)?;
                let mut bytes = Vec::new();
                (&mut file).take(SECRET_BYTES_MAX).read_to_end(&mut bytes).map_err(Error::io("read", &path))?;
                if bytes.is_empty() {
                    return Err(self.damaged_secret(name, "it is empty"));
                }
                let Some(seal) = self.seal.get() else { return Ok(bytes) };
                let opened = seal.open_text(label(name), &bytes);
                opened.map_err(|why| self.damaged_secret(name, why))
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let bytes = generate();
                match self.seal.get() {
                    Some(seal) => write_whole(&path, &seal.seal(label(name), &bytes)?)?,
                    None => write_whole(&path, &bytes)?,
                }
                Ok(bytes)
            }
            Err(source) => Err(Error::Io { action: "open", path, source }),
        }
    }

    /// What a secret holds is not what was written.
    pub fn damaged_secret(&self, name: &str, why: impl ToString) -> Error {
        let hint = "restore it from a backup, or let myna repair put it aside, to have a new one made";
        Error::damaged(self.path.join("secrets").join(name), why, hint)
    }

    /// From now on small secrets are sealed; those that lie there otherwise are sealed again.
    pub(crate) fn sealed_by(&self, seal: &Arc<Seal>) -> Result<(), Error> {
        if self.seal.set(seal.clone()).is_err() || !seal.pending() {
            return Ok(());
        }
        let folder = self.path.join("secrets");
        for entry in std::fs::read_dir(&folder).map_err(Error::io("list", &folder))? {
            let path = entry.map_err(Error::io("list", &folder))?.path();
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            if name.starts_with('.') {
                // It was being written when the platform was killed.
                std::fs::remove_file(&path).map_err(Error::io("remove", &path))?;
                continue;
            }
            let mut bytes = Vec::new();
            let mut file = open_private(&path).map_err(Error::io("open", &path))?;
            (&mut file).take(SECRET_BYTES_MAX).read_to_end(&mut bytes).map_err(Error::io("read", &path))?;
            if seal.stale(PLATFORM, &bytes) && !bytes.is_empty() {
                let opened = seal.open_text(label(name), &bytes);
                let plain = opened.map_err(|why| Error::damaged(&path, why, "restore it from a backup"))?;
                write_whole(&path, &seal.seal(label(name), &plain)?)?;
            }
        }
        Ok(())
    }

    /// Everything is of this build's format now.
    pub(crate) fn upgraded(&self) -> Result<(), Error> {
        if read_format(&self.path)? == Some(FORMAT) {
            return Ok(());
        }
        write_whole(&self.path.join(FORMAT_FILE), format!("{FORMAT}\n").as_bytes())
    }

    fn prepare(&self, found: Option<u32>) -> Result<(), Error> {
        rustix::fs::fchmod(&self.handle, Mode::RWXU).map_err(Error::io("make private", &self.path))?;
        for name in FOLDERS {
            match rustix::fs::mkdirat(&self.handle, *name, Mode::RWXU) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(e) => return Err(Error::io("create", self.path.join(name))(e)),
            }
        }
        if rustix::fs::statat(&self.handle, ".gitignore", AtFlags::SYMLINK_NOFOLLOW).is_err() {
            write_whole(&self.path.join(".gitignore"), b"*\n")?;
        }
        if found.is_none() {
            write_whole(&self.path.join(FORMAT_FILE), format!("{FORMAT}\n").as_bytes())?;
        }
        Ok(())
    }
}

fn label(name: &str) -> Label<'_> {
    Label { tenant: PLATFORM, kind: "secret file", name }
}

/// What is wrong with a small secret, if anything is.
pub(crate) fn secret_flaw(path: &Path, name: &str, seal: &Seal) -> Result<(), String> {
    let mut bytes = Vec::new();
    let read = open_private(path).and_then(|file| file.take(SECRET_BYTES_MAX).read_to_end(&mut bytes));
    read.map_err(|e| format!("it can't be read: {e}"))?;
    let opened = seal.open_text(label(name), &bytes).map_err(|why| format!("it can't be opened: {why}"))?;
    // The one that is a document.
    match name == "access-key" && serde_json::from_slice::<serde_json::Value>(&opened).is_err() {
        true => Err("it is not what was written".to_owned()),
        false => Ok(()),
    }
}

/// Refused while a platform uses the directory; nothing is written to find out.
pub(crate) fn in_use(path: &Path) -> Result<(), Error> {
    lock::free(path)
}

fn absolute(path: &Path) -> Result<PathBuf, Error> {
    std::path::absolute(path).map_err(Error::io("resolve", path))
}

fn create(path: &Path) -> Result<(), Error> {
    match rustix::fs::mkdirat(CWD, path, Mode::RWXU) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
        Err(rustix::io::Errno::NOENT) => {
            Err(Error::refused(path, "the folder above it doesn't exist", "create that first, or name another with --dir"))
        }
        Err(rustix::io::Errno::ROFS | rustix::io::Errno::ACCESS) => {
            Err(Error::refused(path, "it can't be created there: the place is not writable", "name another with --dir"))
        }
        Err(e) => Err(Error::io("create", path)(e)),
    }
}

fn open_folder(path: &Path) -> Result<OwnedFd, Error> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
    rustix::fs::openat(CWD, path, flags, Mode::empty()).map_err(|e| match e {
        rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP => {
            Error::refused(path, "it is not a folder (a link is not followed)", "name the folder itself with --dir")
        }
        rustix::io::Errno::ACCESS => Error::refused(path, "it belongs to another user", "name another with --dir"),
        e => Error::io("open", path)(e),
    })
}

/// The format that the directory was written in; `None` for a new one. Nothing was changed when a newer one is refused.
pub(crate) fn read_format(path: &Path) -> Result<Option<u32>, Error> {
    let file = path.join(FORMAT_FILE);
    let mut text = String::new();
    match open_private(&file) {
        Ok(f) => {
            let read = f.take(64).read_to_string(&mut text);
            read.map_err(|e| Error::damaged(&file, e, "restore it from a backup of the directory"))?;
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::io("open", file)(e)),
    }
    let number = text.trim();
    let format: u32 = number.parse().map_err(|_| {
        Error::damaged(
            &file,
            "it should hold the format's number",
            format!("write {FORMAT} into it if this version wrote the directory, or let myna repair do it"),
        )
    })?;
    newer(&file, format)?;
    Ok(Some(format))
}

/// Refuse what a newer Myna wrote.
pub(crate) fn newer(file: &Path, format: u32) -> Result<(), Error> {
    if format <= FORMAT {
        return Ok(());
    }
    let reason = format!("a newer Myna wrote it (format {format}; this one reads up to {FORMAT})");
    Err(Error::refused(file, reason, "run that version, or name another directory with --dir"))
}

/// Open a file of ours for reading, never through a link, never waiting for a FIFO's other end.
pub(crate) fn open_private(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    File::options().read(true).custom_flags(flags.bits() as i32).open(path)
}

/// Write a small private file so that it is either there whole or not at all, and is on stable storage.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let folder = path.parent().expect("files of the state directory lie in a folder");
    let partial = folder.join(format!(".{}.new", uuid::Uuid::new_v4()));
    let written = (|| {
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&partial)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&partial, path)?;
        sync_folder(folder)
    })();
    written.map_err(|source| {
        // What can't be removed is swept at the next start.
        let _ = std::fs::remove_file(&partial);
        Error::Io { action: "write", path: path.to_owned(), source }
    })
}

pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    let handle = rustix::fs::openat(CWD, folder, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    Ok(rustix::fs::fsync(handle.as_fd())?)
}
