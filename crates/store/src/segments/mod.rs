//! Append-only files of checksummed records: the form in which logs and records of invocations lie on the disk.
//!
//! A segment begins with eight bytes of magic and a random salt; each record is its length, its CRC-32 and its bytes. Nothing is
//! fsynced per record: after kill -9 everything written is there, after a power cut a tail may be missing, and what is torn is
//! cut off when the segment is next written. A damaged record in the middle costs itself alone. The checksums begin with the
//! salt, which no function knows: text that looks like a record is never taken for one, wherever damage leads the reader.

pub(crate) mod code;
mod file;
mod folder;

pub(crate) use file::{Found, Segment, frame, preamble, scan, without};
pub(crate) use folder::Folder;

const SUFFIX: &str = ".seg";
pub(crate) const MAGIC: &[u8; 8] = b"MYNASEG1";
/// Magic and salt.
pub(crate) const PREAMBLE_BYTES: usize = MAGIC.len() + 4;
/// Length and checksum.
pub(crate) const HEAD_BYTES: usize = 8;
/// A record's length is at most this; a larger one is damage.
pub(crate) const RECORD_BYTES_MAX: usize = 1 << 20;

/// No segment of ours is longer; of a file that claims to be one no more is read.
pub(crate) const SEGMENT_BYTES_MAX: u64 = 256 << 20;
/// A higher number is no segment of ours.
pub(crate) const NUMBER_MAX: u32 = 1 << 30;

/// A segment's bytes. Of a file that begins otherwise only the beginning is read, however long it is: nothing in it is a record.
pub(crate) fn read(path: &std::path::Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let mut file = crate::directory::open_private(path)?.take(SEGMENT_BYTES_MAX);
    let mut bytes = Vec::with_capacity(PREAMBLE_BYTES);
    (&mut file).take(PREAMBLE_BYTES as u64).read_to_end(&mut bytes)?;
    if bytes.starts_with(MAGIC) {
        file.read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// What is wrong with a segment's bytes, a line for each flaw, the first so many; nothing for one that is whole. A tail that can't be
/// read is none: a kill leaves one, of what nobody was told is kept.
pub(crate) fn flaws(bytes: &[u8]) -> Vec<String> {
    let line = |found| match found {
        Found::Damage { offset, length } => Some(format!("at {offset}: {length} bytes are damaged")),
        // One that was being made has not even its preamble.
        Found::Torn { offset: 0 } => (bytes.len() >= PREAMBLE_BYTES).then(|| "it is no segment of ours".to_owned()),
        Found::Record { .. } | Found::Torn { .. } => None,
    };
    scan(bytes).filter_map(line).take(FLAWS_MAX).collect()
}

/// Whether bytes begin as a segment does.
pub(crate) fn is_segment(bytes: &[u8]) -> bool {
    bytes.len() >= PREAMBLE_BYTES && bytes.starts_with(MAGIC)
}

/// Flaws of one segment that are told; where there are more, these say enough.
const FLAWS_MAX: usize = 20;

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
