//! Whether a directory is fit to hold the platform's state, found out without changing it.

use super::{FILES, FOLDERS, FORMAT_FILE};
use crate::Error;
use rustix::fs::{AtFlags, Dir, FileType, RawMode, Stat};
use std::{
    fs::File,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

/// Filesystems where locks or shared memory maps don't hold between machines (linux/magic.h, statfs(2)).
const REMOTE: &[(u32, &str)] = &[
    (0x6969, "NFS"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB"),
    (0x517b, "SMB"),
    (0x0102_1997, "9P"),
    (0x5346_414f, "AFS"),
    (0x00c3_6400, "Ceph"),
    (0x0bd0_0bd0, "Lustre"),
    (0x0116_1970, "GFS2"),
    (0x7461_636f, "OCFS2"),
];
/// Filesystems that a reboot empties.
const VOLATILE: &[(u32, &str)] = &[(0x0102_1994, "tmpfs"), (0x8584_58f6, "ramfs")];

pub(super) fn folder(handle: &OwnedFd, path: &Path, allow_volatile: bool) -> Result<(), Error> {
    let stat = rustix::fs::fstat(handle).map_err(Error::io("look at", path))?;
    owner(&stat, path)?;
    let magic = rustix::fs::fstatfs(handle).map_err(Error::io("look at the filesystem of", path))?.f_type as u32;
    filesystem(magic, path, allow_volatile)?;
    if rustix::fs::fstatvfs(handle)
        .map_err(Error::io("look at the filesystem of", path))?
        .f_flag
        .contains(rustix::fs::StatVfsMountFlags::RDONLY)
    {
        return Err(Error::refused(path, "it is on a read-only filesystem", "mount it writable, or name another with --dir"));
    }
    Ok(())
}

/// By its type, as statfs(2) gives it.
fn filesystem(magic: u32, path: &Path, allow_volatile: bool) -> Result<(), Error> {
    if let Some((_, name)) = REMOTE.iter().find(|f| f.0 == magic) {
        let reason = format!("it is on {name}, where two machines could write it at once");
        return Err(Error::refused(path, reason, "name a folder on a local disk with --dir"));
    }
    if let Some((_, name)) = VOLATILE.iter().find(|f| f.0 == magic)
        && !allow_volatile
    {
        let reason = format!("it is on {name}, which a reboot empties");
        return Err(Error::refused(path, reason, "name a folder on a disk with --dir, or allow it with --volatile"));
    }
    Ok(())
}

fn owner(stat: &Stat, path: &Path) -> Result<(), Error> {
    let me = rustix::process::geteuid().as_raw();
    if stat.st_uid != me {
        let reason = format!("it belongs to user {}, and this is user {me}", stat.st_uid);
        return Err(Error::refused(path, reason, format!("run as its owner, or: chown -R {me} {}", path.display())));
    }
    if stat.st_mode as RawMode & 0o022 != 0 {
        let reason = format!("others may write to it (mode {:04o})", stat.st_mode & 0o7777);
        return Err(Error::refused(path, reason, format!("chmod go-w {}, if nobody did", path.display())));
    }
    if stat.st_mode as RawMode & 0o200 == 0 {
        return Err(Error::refused(path, "it is read-only", format!("chmod u+w {}", path.display())));
    }
    Ok(())
}

/// What stands under our names must be ours; a folder of somebody else's files is not taken over.
pub(super) fn contents(handle: &OwnedFd, path: &Path) -> Result<(), Error> {
    let mut strange = None;
    let mut ours = false;
    for entry in Dir::read_from(handle).map_err(Error::io("list", path))? {
        let entry = entry.map_err(Error::io("list", path))?;
        let name = entry.file_name().to_string_lossy();
        if name == "." || name == ".." {
            continue;
        }
        ours |= name == FORMAT_FILE;
        let is_file = FILES.contains(&&*name);
        if !is_file && !FOLDERS.contains(&&*name) {
            // A file that was being written when the platform was killed is no stranger.
            if !(name.starts_with('.') && name.ends_with(".new")) {
                strange.get_or_insert_with(|| name.to_string());
            }
            continue;
        }
        let at = path.join(&*name);
        let stat = rustix::fs::statat(handle, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW).map_err(Error::io("look at", &at))?;
        kind(&stat, &at, if is_file { FileType::RegularFile } else { FileType::Directory })?;
        owner(&stat, &at)?;
    }
    match strange {
        Some(name) if !ours => {
            let reason = format!("it holds other things ({name:?}) and no state of Myna's");
            Err(Error::refused(path, reason, "name a new or an empty folder with --dir"))
        }
        _ => Ok(()),
    }
}

fn kind(stat: &Stat, path: &Path, wanted: FileType) -> Result<(), Error> {
    let found = FileType::from_raw_mode(stat.st_mode);
    if found == wanted {
        return Ok(());
    }
    let name = |t| match t {
        FileType::RegularFile => "a file",
        FileType::Directory => "a folder",
        FileType::Symlink => "a link",
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        _ => "a device",
    };
    let reason = format!("{} stands where {} belongs", name(found), name(wanted));
    Err(Error::refused(path, reason, "remove it, and find out who put it there"))
}

/// A file with a secret: ours, regular, and nobody else's to read.
pub(super) fn private_file(file: &File, path: &Path) -> Result<(), Error> {
    let stat = rustix::fs::fstat(file.as_fd()).map_err(Error::io("look at", path))?;
    kind(&stat, path, FileType::RegularFile)?;
    owner(&stat, path)?;
    if stat.st_mode as RawMode & 0o077 != 0 {
        let reason = format!("others may read it (mode {:04o})", stat.st_mode & 0o7777);
        return Err(Error::refused(path, reason, format!("chmod 600 {}, and change the secret if somebody did", path.display())));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{NFS_SUPER_MAGIC, PROC_SUPER_MAGIC};

    // F20. Nothing of the kind can be mounted on every machine, so the types are given; that a mounted one is asked for its type is
    // proved with a tmpfs (tests/full.rs).
    #[test]
    fn what_other_machines_can_write_is_refused_whatever_is_allowed() {
        let said =
            |magic, volatile| filesystem(magic, Path::new("/x"), volatile).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(said(NFS_SUPER_MAGIC as u32, true).contains("NFS, where two machines could write it at once"));
        for (magic, name) in REMOTE {
            assert!(said(*magic, true).contains(name) && said(*magic, false).contains("--dir"), "{name}");
        }
        assert!(said(0x0102_1994, false).contains("tmpfs") && said(0x0102_1994, true).is_empty());
        // Of ext4, xfs, btrfs, overlayfs, f2fs, zfs.
        for magic in [0xef53, 0x5846_5342, 0x9123_683e, 0x794c_7630, 0xf2f5_2010, 0x2fc1_2fc1, PROC_SUPER_MAGIC as u32] {
            assert_eq!(said(magic, false), "");
        }
    }
}
