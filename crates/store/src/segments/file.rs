//! One segment: appending to it, and finding the records of one that was read.

use super::{HEAD_BYTES, MAGIC, PREAMBLE_BYTES, RECORD_BYTES_MAX};
use std::{
    fs::File,
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
};

/// What a scan meets.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    Record {
        offset: u32,
        bytes: &'a [u8],
    },
    /// Bytes that hold no valid record, up to the next one that is.
    Damage {
        offset: u32,
        length: u32,
    },
    /// From here on there is nothing valid.
    Torn {
        offset: u32,
    },
}

/// A segment's bytes without the records that are to go, or nothing where none is. What is damaged doesn't stay either.
pub(crate) fn without(bytes: &[u8], mut goes: impl FnMut(&[u8]) -> bool) -> Option<Vec<u8>> {
    let (mut kept, mut some) = (bytes[..bytes.len().min(PREAMBLE_BYTES)].to_vec(), false);
    for found in scan(bytes) {
        let Found::Record { offset, bytes: record } = found else { continue };
        if goes(record) {
            some = true;
        } else {
            let at = offset as usize;
            kept.extend_from_slice(&bytes[at..at + HEAD_BYTES + record.len()]);
        }
    }
    some.then_some(kept)
}

/// Bytes that may be checked in looking for the next record after damage; beyond it the rest counts as torn.
const SEARCH_BYTES_MAX: usize = 64 << 20;

/// Everything in a segment's bytes, in order.
pub(crate) fn scan(bytes: &[u8]) -> impl Iterator<Item = Found<'_>> {
    let salt = salt(bytes);
    let mut at = PREAMBLE_BYTES;
    let mut ended = false;
    std::iter::from_fn(move || {
        let Some(salt) = salt else {
            // Not even a whole preamble, or another file's.
            return (!std::mem::replace(&mut ended, true)).then_some(Found::Torn { offset: 0 });
        };
        if ended || at >= bytes.len() {
            return None;
        }
        let offset = at as u32;
        if let Some(record) = record(bytes, at, salt) {
            at += HEAD_BYTES + record.len();
            return Some(Found::Record { offset, bytes: record });
        }
        match next_valid(bytes, at, salt) {
            Some(next) => {
                at = next;
                Some(Found::Damage { offset, length: next as u32 - offset })
            }
            None => {
                ended = true;
                Some(Found::Torn { offset })
            }
        }
    })
}

/// What the checksums of a segment begin with; `None` where the bytes are no segment.
pub(super) fn salt(bytes: &[u8]) -> Option<u32> {
    let salt = bytes.strip_prefix(MAGIC)?.get(..4)?;
    Some(u32::from_le_bytes(salt.try_into().expect("four bytes")))
}

fn record(bytes: &[u8], at: usize, salt: u32) -> Option<&[u8]> {
    let record = stated(bytes, at)?;
    let crc = u32::from_le_bytes(bytes[at + 4..at + HEAD_BYTES].try_into().expect("four bytes"));
    (checksum(salt, record) == crc).then_some(record)
}

/// The bytes that a record says it has, if they are there.
fn stated(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let length = u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().expect("four bytes")) as usize;
    // A length of zero would make a run of zeroes valid.
    let possible = length > 0 && length <= RECORD_BYTES_MAX;
    possible.then(|| bytes.get(at + HEAD_BYTES..at + HEAD_BYTES + length)).flatten()
}

fn next_valid(bytes: &[u8], damaged: usize, salt: u32) -> Option<usize> {
    // Where only the record's own bytes are damaged, the next one is where its length says.
    let said = stated(bytes, damaged).map(|r| damaged + HEAD_BYTES + r.len());
    if let Some(next) = said
        && record(bytes, next, salt).is_some()
    {
        return Some(next);
    }
    let mut budget = SEARCH_BYTES_MAX;
    for at in damaged + 1..bytes.len() {
        let Some(candidate) = stated(bytes, at) else { continue };
        budget = budget.checked_sub(candidate.len())?;
        if record(bytes, at, salt).is_some() {
            return Some(at);
        }
    }
    None
}

fn checksum(salt: u32, record: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new_with_initial(salt);
    crc.update(record);
    crc.finalize()
}

/// A segment that is being written.
#[derive(Debug)]
pub(crate) struct Segment {
    file: File,
    pub(crate) length: u64,
    /// For [`frame`].
    pub(crate) salt: u32,
}

impl Segment {
    pub(crate) fn create(path: &Path) -> io::Result<Segment> {
        let file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
        let (salt, bytes) = preamble();
        let mut segment = Segment { file, length: 0, salt };
        segment.append(&bytes)?;
        Ok(segment)
    }

    /// Go on with one of which `length` bytes are valid; what follows them is cut off.
    pub(crate) fn resume(path: &Path, length: u64, salt: u32) -> io::Result<Segment> {
        let file = File::options().write(true).custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32).open(path)?;
        file.set_len(length)?;
        Ok(Segment { file, length, salt })
    }

    /// Write records that [`frame`] made. On failure the segment ends where it ended before.
    pub(crate) fn append(&mut self, framed: &[u8]) -> io::Result<()> {
        match self.file.write_all_at(framed, self.length) {
            Ok(()) => {
                self.length += framed.len() as u64;
                Ok(())
            }
            Err(error) => {
                self.file.set_len(self.length)?;
                Err(error)
            }
        }
    }

    /// Have the file system set room aside, behind what is written.
    pub(crate) fn reserve(&self, bytes: u64) -> io::Result<()> {
        Ok(rustix::fs::fallocate(&self.file, rustix::fs::FallocateFlags::KEEP_SIZE, 0, bytes)?)
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// What a new segment begins with, and the salt that is in it.
pub(crate) fn preamble() -> (u32, Vec<u8>) {
    let (salt, ..) = uuid::Uuid::new_v4().as_fields();
    (salt, begin(salt))
}

fn begin(salt: u32) -> Vec<u8> {
    [&MAGIC[..], &salt.to_le_bytes()].concat()
}

/// Append one record to a buffer, for the segment with this salt; `fill` writes its bytes.
pub(crate) fn frame(out: &mut Vec<u8>, salt: u32, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; HEAD_BYTES]);
    fill(out);
    let body = &out[start + HEAD_BYTES..];
    debug_assert!(!body.is_empty() && body.len() <= RECORD_BYTES_MAX, "a record has a kind, and its text was cut to the limit");
    let (length, crc) = (body.len() as u32, checksum(salt, body));
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    out[start + 4..start + HEAD_BYTES].copy_from_slice(&crc.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Vec<u8> {
        let mut bytes = begin(7);
        for text in ["first", "second", "third"] {
            frame(&mut bytes, 7, |out| out.extend_from_slice(text.as_bytes()));
        }
        bytes
    }
    fn texts(bytes: &[u8]) -> Vec<String> {
        let text = |found| match found {
            Found::Record { bytes, .. } => String::from_utf8(bytes.to_vec()).unwrap(),
            Found::Damage { length, .. } => format!("damage of {length}"),
            Found::Torn { .. } => "torn".into(),
        };
        scan(bytes).map(text).collect()
    }

    #[test]
    fn a_tail_torn_anywhere_loses_only_what_was_torn() {
        let whole = three();
        assert_eq!(texts(&whole), ["first", "second", "third"]);
        for cut in 0..whole.len() {
            let kept = texts(&whole[..cut]);
            let records: Vec<_> = kept.iter().filter(|t| *t != "torn").collect();
            assert!(records.iter().zip(["first", "second", "third"]).all(|(a, b)| *a == b), "cut at {cut}: {kept:?}");
            assert!(!kept.iter().any(|t| t.starts_with("damage")));
        }
        let zeroes = [&whole[..], &[0; 4096]].concat();
        assert_eq!(texts(&zeroes), ["first", "second", "third", "torn"]);
    }

    #[test]
    fn text_that_looks_like_a_record_is_not_one() {
        let mut inner = Vec::new();
        frame(&mut inner, 0, |out| out.extend_from_slice(b"forged"));
        let mut bytes = begin(7);
        frame(&mut bytes, 7, |out| out.extend_from_slice(&inner));
        frame(&mut bytes, 7, |out| out.extend_from_slice(b"last"));
        bytes[PREAMBLE_BYTES + 2] ^= 0x40;
        assert_eq!(texts(&bytes), ["damage of 22", "last"]);
    }

    #[test]
    fn any_flipped_bit_costs_one_record() {
        let whole = three();
        for at in PREAMBLE_BYTES..whole.len() {
            let mut bent = whole.clone();
            bent[at] ^= 0x10;
            let kept = texts(&bent);
            assert_eq!(
                kept.iter().filter(|t| ["first", "second", "third"].contains(&&***t)).count(),
                2,
                "bit of byte {at}: {kept:?}"
            );
        }
    }
}
