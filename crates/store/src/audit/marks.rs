//! Two small files beside the segments. `anchor` says which entry is the first that is kept and what hash stands before it;
//! `head` says which entry was the last on stable storage. With them a log that was cut at either end is known for one.

use super::link::{GENESIS, HASH_BYTES, Hash, from_hex};
use crate::{Error, directory, hex};
use serde::{Deserialize, Serialize};
use std::{
    fs::File,
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// An entry by its number, and a hash: its own, or the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub seq: u64,
    pub hash: Hash,
}

#[derive(Serialize, Deserialize)]
struct Anchor {
    first: u64,
    previous: String,
}

/// What a new log begins with.
pub(crate) const BEGINNING: Mark = Mark { seq: 1, hash: GENESIS };

fn anchor_path(folder: &Path) -> PathBuf {
    folder.join("anchor")
}

/// The first entry that is kept and the hash before it; `None` when the file is missing or says nothing.
pub(crate) fn anchor(folder: &Path) -> io::Result<Option<Mark>> {
    let bytes = match directory::open_private(&anchor_path(folder)).and_then(|file| read_small(&file)) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let parsed: Option<Anchor> = serde_json::from_slice(&bytes).ok();
    Ok(parsed.and_then(|a| Some(Mark { seq: a.first, hash: from_hex(&a.previous)? })))
}

pub(crate) fn set_anchor(folder: &Path, mark: Mark) -> Result<(), Error> {
    let text = serde_json::to_vec(&Anchor { first: mark.seq, previous: hex(&mark.hash) }).expect("two fields are JSON");
    directory::write_whole(&anchor_path(folder), &text)
}

fn read_small(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 4096];
    let mut length = 0;
    loop {
        match file.read_at(&mut bytes[length..], length as u64)? {
            0 => break,
            read => length += read,
        }
    }
    bytes.truncate(length);
    Ok(bytes)
}

/// Number, hash and checksum.
const SLOT_BYTES: usize = 8 + HASH_BYTES + 4;
/// A sector each, so that a torn write of one leaves the other.
const SLOT_EVERY: u64 = 512;

/// The file `head`: two places that are written in turn.
#[derive(Debug)]
pub(crate) struct HeadFile {
    file: File,
    next: u64,
}

impl HeadFile {
    /// Also the newest mark in it.
    pub fn open(folder: &Path) -> io::Result<(Self, Option<Mark>)> {
        let flags = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
        let mut options = File::options();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
        let file = file.open(folder.join("head"))?;
        let slots = [0, 1].map(|n| slot(&file, n));
        let newest = slots.iter().flatten().max_by_key(|m| m.seq).copied();
        // The older one is written over, or the one that says nothing.
        let next = u64::from(slots[0].is_some() && slots[0] == newest);
        Ok((Self { file, next }, newest))
    }

    pub fn set(&mut self, mark: Mark) -> io::Result<()> {
        let mut bytes = [&mark.seq.to_le_bytes()[..], &mark.hash].concat();
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        self.file.write_all_at(&bytes, self.next * SLOT_EVERY)?;
        self.next = 1 - self.next;
        Ok(())
    }
}

/// The newest mark in the file `head`, only read.
pub(crate) fn head(folder: &Path) -> io::Result<Option<Mark>> {
    match directory::open_private(&folder.join("head")) {
        Ok(file) => Ok([0, 1].into_iter().filter_map(|n| slot(&file, n)).max_by_key(|mark| mark.seq)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

fn slot(file: &File, number: u64) -> Option<Mark> {
    let mut bytes = [0; SLOT_BYTES];
    file.read_exact_at(&mut bytes, number * SLOT_EVERY).ok()?;
    let (said, crc) = bytes.split_at(8 + HASH_BYTES);
    if crc32fast::hash(said).to_le_bytes() != crc {
        return None;
    }
    let (seq, hash) = said.split_first_chunk()?;
    Some(Mark { seq: u64::from_le_bytes(*seq), hash: hash.try_into().ok()? })
}
