//! Append-only files of checksummed records: the form in which logs and records of invocations lie on the disk.
//!
//! A segment begins with eight bytes of magic and a random salt; each record is its length, its CRC-32 and its bytes. Nothing is
//! fsynced per record: after kill -9 everything written is there, after a power cut a tail may be missing, and what is torn is
//! cut off when the segment is next written. A damaged record in the middle costs itself alone. The checksums begin with the
//! salt, which no function knows: text that looks like a record is never taken for one, wherever damage leads the reader.

pub(crate) mod code;
mod file;
mod folder;

pub(crate) use file::{Found, Segment, frame, preamble, scan};
pub(crate) use folder::Folder;

const SUFFIX: &str = ".seg";
pub(crate) const MAGIC: &[u8; 8] = b"MYNASEG1";
/// Magic and salt.
pub(crate) const PREAMBLE_BYTES: usize = MAGIC.len() + 4;
/// Length and checksum.
pub(crate) const HEAD_BYTES: usize = 8;
/// A record's length is at most this; a larger one is damage.
pub(crate) const RECORD_BYTES_MAX: usize = 1 << 20;

/// Where a folder's segment of that number is.
pub(crate) fn path(folder: &std::path::Path, number: u32) -> std::path::PathBuf {
    folder.join(format!("{number:08}{SUFFIX}"))
}

/// A position: which segment, and where in it. Grows with every record, also over restarts.
pub(crate) fn position(segment: u32, offset: u32) -> u64 {
    u64::from(segment) << 32 | u64::from(offset)
}
pub(crate) fn parts(position: u64) -> (u32, u32) {
    ((position >> 32) as u32, position as u32)
}
