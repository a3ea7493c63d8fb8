//! Which platforms this user runs, so that the command line finds one from any folder. `up` announces itself here. The file is
//! a hint and nothing more: an entry counts only while somebody answers on the socket in its directory.

use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The platform's directory, absolute.
    pub dir: PathBuf,
    pub pid: u32,
    /// Milliseconds since the Unix epoch.
    pub since_ms: u64,
}

/// `up` calls this once its admin socket listens.
pub fn announce(dir: &Path) -> io::Result<()> {
    let dir = dir.canonicalize()?;
    let entry = Entry { dir, pid: std::process::id(), since_ms: crate::cli::units::now_ms() };
    change(|entries| {
        entries.retain(|e| e.dir != entry.dir);
        entries.push(entry);
    })
}

/// `up` calls this when it ends in order. After a crash the entry stays, and is dropped by the next change.
pub fn withdraw(dir: &Path) -> io::Result<()> {
    let dir = dir.canonicalize()?;
    change(|entries| entries.retain(|e| e.dir != dir))
}

/// What was announced, oldest first. Nothing when there is no file, or one that somebody else could have written.
pub fn read() -> Vec<Entry> {
    folder().map(|folder| read_from(&folder.join(FILE))).unwrap_or_default()
}

const FILE: &str = "platforms.json";

/// Beside the user's other sockets while they are logged in, else with their state.
fn folder() -> Option<PathBuf> {
    let from = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let base = from("XDG_RUNTIME_DIR")
        .or_else(|| from("XDG_STATE_HOME"))
        .or_else(|| from("HOME").map(|home| home.join(".local/state")))?;
    Some(base.join("myna"))
}

fn read_from(path: &Path) -> Vec<Entry> {
    let mine = |meta: fs::Metadata| meta.uid() == rustix::process::geteuid().as_raw() && meta.mode() & 0o022 == 0;
    if !fs::symlink_metadata(path).is_ok_and(mine) {
        return Vec::new();
    }
    fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

fn change(edit: impl FnOnce(&mut Vec<Entry>)) -> io::Result<()> {
    match folder() {
        Some(folder) => change_in(&folder, edit),
        None => Err(io::Error::new(io::ErrorKind::NotFound, "neither XDG_RUNTIME_DIR nor HOME is set")),
    }
}

/// Read, edit, replace: under a lock, and by renaming, so that a reader never sees half a file.
fn change_in(folder: &Path, edit: impl FnOnce(&mut Vec<Entry>)) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let lock = private(&folder.join("lock"))?;
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)?;
    let mut entries = read_from(&folder.join(FILE));
    entries.retain(|e| super::find::listens(&e.dir) || e.pid == std::process::id());
    edit(&mut entries);
    let fresh = folder.join(format!("{FILE}.{}", std::process::id()));
    let mut file = private(&fresh)?;
    file.set_len(0)?;
    file.write_all(&serde_json::to_vec_pretty(&entries)?)?;
    fs::rename(&fresh, folder.join(FILE))
}

fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::{fs::PermissionsExt, net::UnixListener};

    #[test]
    fn entries_come_and_go_dead_ones_are_dropped_and_the_file_is_private() {
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("state");
        let alive = temp.path().join("alive");
        fs::create_dir(&alive).unwrap();
        let _socket = UnixListener::bind(alive.join("admin.sock")).unwrap();
        let entry = |dir: &Path, pid| Entry { dir: dir.to_path_buf(), pid, since_ms: 1 };
        change_in(&folder, |e| e.extend([entry(&alive, 1), entry(&temp.path().join("dead"), 2)])).unwrap();
        change_in(&folder, |_| ()).unwrap();
        assert_eq!(read_from(&folder.join(FILE)), [entry(&alive, 1)]);
        assert_eq!(fs::metadata(folder.join(FILE)).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
        // A file that others may write is no hint worth following.
        fs::set_permissions(folder.join(FILE), fs::Permissions::from_mode(0o666)).unwrap();
        assert_eq!(read_from(&folder.join(FILE)), []);
    }
}
