//! What the log says beyond the index, read at the start; and what of the two is missing or damaged, named.

use super::{entry::Entry, index::Index};
use crate::{Error, directory, segments};
use std::path::Path;

/// Where the log goes on.
pub(super) struct Read {
    /// Number of the highest event.
    pub seq: u64,
    /// The segment to begin.
    pub next: u32,
    pub oldest: u32,
}

/// Whether the index was lost: it isn't there, and what it followed is. What a log that begins at its beginning says is all of it.
pub(super) fn index_lost(folder: &Path, index: &Path) -> Result<Option<String>, Error> {
    let length = std::fs::symlink_metadata(index).map_or(0, |meta| meta.len());
    if length > 0 {
        // SQLite takes a file of zeroes for one that is to be begun.
        let hint = "restore it from a backup, or let myna repair --dry-run say what can be read of it";
        return if directory::is_database(index) { Ok(None) } else { Err(Error::damaged(index, "it is no database", hint)) };
    }
    let log = segments::Folder::open(folder.to_owned()).map_err(Error::io("list", folder))?;
    let bodies = std::fs::read_dir(folder.join("bodies")).is_ok_and(|mut names| names.next().is_some());
    let Some(first) = log.segments.keys().next().copied().or(bodies.then_some(0)) else { return Ok(None) };
    let of = match first {
        1 => {
            tracing::warn!(
                "{} was missing or empty; it is made again from the log, which goes back to the beginning",
                index.display()
            );
            return Ok(None);
        }
        0 => "events that waited are lost; their bodies are kept until the next start".to_owned(),
        _ => format!("it was made again from the log, which begins with segment {first}: events that were older are lost"),
    };
    Ok(Some(format!("{} was missing or empty: {of}", index.display())))
}

/// Follow what the log says beyond the index.
pub(super) fn read(
    folder: &Path,
    index: &mut Index,
    segment: u32,
    offset: u64,
    damaged: &mut Vec<String>,
) -> Result<Read, Error> {
    let all = segments::Folder::open(folder.to_owned()).map_err(Error::io("list", folder))?;
    let last = all.last().unwrap_or(segment).max(segment);
    let oldest = all.segments.keys().next().copied().unwrap_or(segment).min(segment);
    let mut read = Read { seq: 0, next: last + 1, oldest };
    gaps(&all, segment, offset, damaged);
    for number in all.segments.keys().copied().filter(|n| *n >= segment) {
        let path = all.file(number);
        let bytes = all.read(number).map_err(Error::io("read", &path))?;
        let name = path.display();
        if bytes.is_empty() || (number == segment && (bytes.len() as u64) < offset) {
            let what = if bytes.is_empty() { "it is empty" } else { "it is cut off" };
            damaged.push(format!("{name}: {what}; events that came after what was read of it are lost"));
        }
        let mut entries = Vec::new();
        for found in segments::scan(&bytes) {
            match found {
                segments::Found::Record { offset: at, .. } if number == segment && u64::from(at) < offset => {}
                segments::Found::Record { offset: at, bytes } => match Entry::decode(bytes) {
                    Some(entry) => entries.push(entry),
                    None => damaged.push(format!("{name} at {at}: an entry that this version can't read")),
                },
                segments::Found::Damage { offset: at, length } => {
                    damaged.push(format!("{name} at {at}: {length} bytes are damaged; events in them are lost, unless they were being written when the power went"));
                }
                segments::Found::Torn { offset: 0 } => {
                    damaged.push(format!("{name}: it is no segment of the log; events in it are lost"));
                }
                segments::Found::Torn { offset: at } => {
                    let rest = &bytes[at as usize..];
                    if u64::from(at) >= offset && rest.iter().any(|b| *b != 0) {
                        // A kill leaves the same of what nobody was told is kept.
                        tracing::warn!("{name} from {at} on: what stands there is torn off or damaged, and is not read");
                    }
                }
            }
        }
        let numbers = entries.iter().flat_map(|e| match e {
            Entry::Put(put) => vec![put.seq],
            Entry::Settle { then, .. } => then.iter().map(|p| p.seq).collect(),
            _ => Vec::new(),
        });
        read.seq = numbers.fold(read.seq, u64::max);
        index
            .apply(&entries, number, bytes.len() as u64)
            .map_err(|e| Error::damaged(folder.join("events.db"), e, "free some space, or restore it"))?;
    }
    Ok(read)
}

/// Segments that should be there. They are numbered without a gap, and the one that was followed last stays until a later one is.
fn gaps(all: &segments::Folder, segment: u32, offset: u64, damaged: &mut Vec<String>) {
    let there = all.segments.keys().copied().find(|n| *n >= segment);
    let Some(first) = (if segment > 0 && offset > 0 { Some(segment) } else { there }) else { return };
    let last = all.last().unwrap_or(first).max(first);
    let missing: Vec<u32> = (first..=last).filter(|n| !all.segments.contains_key(n)).take(GAPS_MAX).collect();
    for number in missing {
        damaged.push(format!("{} is missing; events in it that were not read yet are lost", all.file(number).display()));
    }
}

/// Missing segments that are named.
const GAPS_MAX: usize = 20;
