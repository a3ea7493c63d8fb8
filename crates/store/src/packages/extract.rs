//! Writes a planned package beneath one folder.
//!
//! Every path is opened from the folder's own descriptor with `openat2` (beneath it, through no link), files are created and
//! never replaced, and links are made last. Nothing here is fsynced: the archive beside the folder is, and the folder can be
//! made from it again.

use super::{
    Problem, Refused,
    archive::{Entry, Method},
    policy::{Plan, PlannedFile},
};
use flate2::{Decompress, FlushDecompress, Status};
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, Timespec, Timestamps};
use std::{
    fs::File,
    io::{self, Write},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

/// The beginning of ZIP's own calendar, 1 January 1980: the same archive makes the same tree.
const FIXED_TIME_S: i64 = 315_532_800;
const PIECE_BYTES: usize = 64 * 1024;

/// Write everything into `root`, an empty folder.
pub(super) fn write(root: &OwnedFd, plan: &Plan<'_>) -> Result<(), Problem> {
    for folder in &plan.folders {
        make_folder(root, folder).map_err(|e| Problem::io("create", folder, e))?;
    }
    let mut unpacker = Unpacker::default();
    for file in &plan.files {
        write_file(root, file, &mut unpacker)?;
    }
    for (path, target) in &plan.links {
        let (parent, name) = parent(root, path).map_err(|e| Problem::io("open the folder of", path, e))?;
        rustix::fs::symlinkat(target.as_str(), parent.as_fd(), name).map_err(|e| Problem::io("link", path, e.into()))?;
    }
    // Deepest first: each creation above has touched the folder it was in.
    for folder in plan.folders.iter().rev() {
        let fixed = rustix::fs::utimensat(root, folder.as_str(), &fixed_times(), AtFlags::SYMLINK_NOFOLLOW);
        fixed.map_err(|e| Problem::io("date", folder, e.into()))?;
    }
    rustix::fs::futimens(root, &fixed_times()).map_err(|e| Problem::io("date", "the package", e.into()))
}

fn make_folder(root: &OwnedFd, path: &str) -> io::Result<()> {
    let (parent, name) = parent(root, path)?;
    rustix::fs::mkdirat(parent.as_fd(), name, Mode::RWXU)?;
    let made = open(parent.as_fd(), name, OFlags::DIRECTORY | OFlags::RDONLY, Mode::empty())?;
    // Not left to the umask.
    Ok(rustix::fs::fchmod(&made, Mode::from_raw_mode(0o755))?)
}

/// The open folder of a path, and the path's last part.
fn parent<'p>(root: &OwnedFd, path: &'p str) -> io::Result<(OwnedFd, &'p str)> {
    let (folder, name) = path.rsplit_once('/').unwrap_or((".", path));
    Ok((open(root.as_fd(), folder, OFlags::DIRECTORY | OFlags::PATH, Mode::empty())?, name))
}

fn open(at: BorrowedFd<'_>, path: &str, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    Ok(rustix::fs::openat2(at, path, flags | OFlags::CLOEXEC | OFlags::NOFOLLOW, mode, resolve)?)
}

fn write_file(root: &OwnedFd, file: &PlannedFile<'_>, unpacker: &mut Unpacker) -> Result<(), Problem> {
    let failed = |e: io::Error| Problem::io("write", &file.path, e);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    let fd = open(root.as_fd(), &file.path, flags, Mode::RUSR | Mode::WUSR).map_err(failed)?;
    let mut out = File::from(fd);
    let mut written = Ok(());
    unpacker
        .unpack(file.entry, |piece| {
            written = out.write_all(piece);
            if written.is_ok() { Ok(()) } else { Err(Refused::invalid("not written")) }
        })
        .map_err(|refused| match std::mem::replace(&mut written, Ok(())) {
            Err(e) => failed(e),
            Ok(()) => Problem::Refused(refused),
        })?;
    let mode = Mode::from_raw_mode(if file.executable { 0o755 } else { 0o644 });
    rustix::fs::fchmod(&out, mode).and_then(|()| rustix::fs::futimens(&out, &fixed_times())).map_err(|e| failed(e.into()))
}

fn fixed_times() -> Timestamps {
    let fixed = Timespec { tv_sec: FIXED_TIME_S, tv_nsec: 0 };
    Timestamps { last_access: fixed, last_modification: fixed }
}

/// Unpacks one entry after the other, with the same memory for all.
pub(super) struct Unpacker {
    inflater: Decompress,
    piece: Vec<u8>,
}

impl Default for Unpacker {
    fn default() -> Self {
        Unpacker { inflater: Decompress::new(false), piece: vec![0; PIECE_BYTES] }
    }
}

impl Unpacker {
    /// An entry's content in pieces. Fails when it is longer or shorter than declared, when compressed bytes are left over,
    /// and when its checksum is wrong; never hands out more than was declared.
    pub(super) fn unpack(&mut self, entry: &Entry<'_>, mut out: impl FnMut(&[u8]) -> Result<(), Refused>) -> Result<(), Refused> {
        let mut crc = crc32fast::Hasher::new();
        let mut take = |piece: &[u8]| {
            crc.update(piece);
            out(piece)
        };
        match entry.method {
            Method::Stored => take(entry.data)?,
            Method::Deflate => self.inflate(entry, take)?,
        }
        if crc.finalize() != entry.crc {
            return Err(wrong(entry, "has a wrong checksum"));
        }
        Ok(())
    }

    fn inflate(&mut self, entry: &Entry<'_>, mut take: impl FnMut(&[u8]) -> Result<(), Refused>) -> Result<(), Refused> {
        let Unpacker { inflater, piece } = self;
        inflater.reset(false);
        loop {
            let (read, made) = (inflater.total_in() as usize, inflater.total_out());
            let step = inflater.decompress(&entry.data[read..], piece, FlushDecompress::None);
            let status = step.map_err(|_| wrong(entry, "is damaged"))?;
            let fresh = (inflater.total_out() - made) as usize;
            if inflater.total_out() > entry.size {
                return Err(wrong(entry, "is longer than it states"));
            }
            take(&piece[..fresh])?;
            if status == Status::StreamEnd {
                break;
            }
            if fresh == 0 && inflater.total_in() as usize == read {
                return Err(wrong(entry, "is cut off"));
            }
        }
        if inflater.total_out() != entry.size {
            return Err(wrong(entry, "is shorter than it states"));
        }
        if inflater.total_in() as usize != entry.data.len() {
            return Err(wrong(entry, "has bytes behind its end"));
        }
        Ok(())
    }
}

fn wrong(entry: &Entry<'_>, what: &str) -> Refused {
    Refused::invalid(format!("entry {:?} {what}", entry.name))
}
