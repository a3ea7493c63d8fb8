//! One platform per directory: by flock(2), which the kernel takes back however the platform ends, and by a note of who holds
//! it, so that the refusal can name them and a lock that doesn't hold (some mounts) is still noticed.

use crate::Error;
use rustix::{
    fs::{FlockOperation, Mode, OFlags},
    io::Errno,
};
use std::{
    fs::File,
    io::{Read, Seek, Write},
    os::fd::OwnedFd,
    path::Path,
};

#[derive(Debug)]
pub(super) struct Lock {
    file: File,
}

impl Lock {
    pub(super) fn take(folder: &OwnedFd, path: &Path) -> Result<Lock, Error> {
        let at = path.join("lock");
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let fd = rustix::fs::openat(folder, "lock", flags, Mode::RUSR | Mode::WUSR).map_err(|e| match e {
            Errno::ROFS | Errno::ACCESS => Error::refused(path, "it is not writable", "name another with --dir"),
            e => Error::io("open", &at)(e),
        })?;
        let mut file = File::from(fd);
        let mut note = String::new();
        // An unreadable note only costs the name in the refusal.
        let _ = (&mut file).take(256).read_to_string(&mut note);
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) if !alive(&note) => {}
            Ok(()) | Err(Errno::WOULDBLOCK) => return Err(taken(path, &note)),
            Err(e) => return Err(Error::io("lock", &at)(e)),
        }
        let mut lock = Lock { file };
        lock.sign(&myself()).map_err(Error::io("write", at))?;
        Ok(lock)
    }

    fn sign(&mut self, note: &str) -> std::io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(note.as_bytes())
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // The lock itself goes with the descriptor; a note that stays is recognised as that of a process that has ended.
        let _ = self.sign("");
        // Said aloud, since a child that is between fork and exec holds a copy of the descriptor.
        let _ = rustix::fs::flock(&self.file, FlockOperation::Unlock);
    }
}

/// Whether nobody holds the lock, found out without taking it.
pub(super) fn free(path: &Path) -> Result<(), Error> {
    let at = path.join("lock");
    let mut file = match super::open_private(&at) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(Error::io("open", at)(e)),
    };
    let mut note = String::new();
    let _ = (&mut file).take(256).read_to_string(&mut note);
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) if !alive(&note) => Ok(()),
        Ok(()) | Err(Errno::WOULDBLOCK) => Err(taken(path, &note)),
        Err(e) => Err(Error::io("lock", &at)(e)),
    }
}

fn taken(path: &Path, note: &str) -> Error {
    let pid = note.split_whitespace().next().unwrap_or("unknown");
    Error::refused(
        path,
        format!("a running platform uses it (pid {pid})"),
        format!("stop that one (kill {pid}), or name another with --dir"),
    )
}

fn myself() -> String {
    let pid = std::process::id();
    format!("{pid} {} {}\n", started(pid).unwrap_or_default(), boot())
}

/// Whether the process that signed still runs: its number may have been given to another since.
fn alive(note: &str) -> bool {
    let mut words = note.split_whitespace();
    let (Some(pid), Some(start), Some(at)) = (words.next().and_then(|p| p.parse().ok()), words.next(), words.next()) else {
        return false;
    };
    // In this process the lock was just taken, so an earlier holder here has let go.
    pid != std::process::id() && at == boot() && started(pid).is_some_and(|s| s == start)
}

/// When a process started, in clock ticks since boot (proc_pid_stat(5), field 22).
fn started(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(stat.rsplit_once(") ")?.1.split_whitespace().nth(19)?.to_owned())
}

fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|b| b.trim().to_owned()).unwrap_or_else(|_| "unknown".into())
}
