//! The log on the disk: opening it, appending to it, and dropping what is too old with the chain carried over the cut.

use super::{
    link::{self, Link, Numbered},
    marks::{self, BEGINNING, HeadFile, Mark},
};
use crate::{
    Error, directory,
    options::AuditLimits,
    segments::{Folder, Found, RECORD_BYTES_MAX, Segment, frame, scan},
};
use model::audit::Entry;
use std::{io, path::Path, time::SystemTime};

/// What a first start writes.
const FIRST_ENTRIES: u64 = 2;

#[derive(Debug)]
pub(super) struct Disk {
    limits: AuditLimits,
    pub(super) folder: Folder,
    open: Option<(u32, Segment)>,
    head_file: HeadFile,
    /// The last entry that is on stable storage.
    pub(super) head: Mark,
    pub(super) anchor: Mark,
    /// What is wrong with the two small files, if anything.
    pub(super) damaged: Option<String>,
    buffer: Vec<u8>,
}

impl Disk {
    pub(super) fn open(path: &Path, limits: &AuditLimits) -> Result<Disk, Error> {
        let io = |e: io::Error| Error::io("read", path)(e);
        let folder = Folder::open(path.to_owned()).map_err(io)?;
        let (head_file, head) = HeadFile::open(path).map_err(io)?;
        let mut damaged = None;
        let anchor = match marks::anchor(path).map_err(io)? {
            Some(anchor) => anchor,
            None => {
                if folder.last().is_some() || head.is_some() {
                    damaged = Some("the audit log's file \"anchor\" is missing or damaged".to_owned());
                } else {
                    marks::set_anchor(path, BEGINNING)?;
                }
                BEGINNING
            }
        };
        let limits = limits.clone();
        let before = Mark { seq: anchor.seq.saturating_sub(1), hash: anchor.hash };
        let mut disk = Disk { limits, folder, open: None, head_file, head: before, anchor, damaged, buffer: Vec::new() };
        disk.remove_cut().map_err(io)?;
        disk.resume(head).map_err(io)?;
        // A platform that was killed before its first entries were answered has none.
        if head.is_none() && disk.head.seq > FIRST_ENTRIES {
            disk.damaged.get_or_insert_with(|| "the audit log's file \"head\" is missing or damaged".to_owned());
        }
        Ok(disk)
    }

    /// What a retention that was killed had moved the anchor beyond.
    fn remove_cut(&mut self) -> io::Result<()> {
        let numbers: Vec<u32> = self.folder.segments.keys().copied().collect();
        for pair in numbers.windows(2) {
            let next_begins = first(&self.folder.read(pair[1])?);
            if next_begins.is_none_or(|m| m.seq > self.anchor.seq) {
                break;
            }
            self.folder.remove(pair[0])?;
        }
        Ok(())
    }

    /// Go on behind the last entry. What is torn was never confirmed, and goes. When the head says that more entries were
    /// there, the numbers go on behind those, so that they are missed for ever.
    fn resume(&mut self, head: Option<Mark>) -> io::Result<()> {
        let mut last = None;
        self.open = self.folder.resume(|_, bytes| last = mark(bytes).or(last))?;
        if last.is_none() {
            let earlier = self.folder.segments.keys().rev().skip(1);
            last = earlier.filter_map(|n| self.folder.read(*n).ok()).find_map(|bytes| last_of(&bytes));
        }
        let last = last.unwrap_or(self.head);
        self.head = match head {
            Some(head) if head.seq > last.seq => head,
            _ => last,
        };
        Ok(())
    }

    /// Write entries behind the last one. They are on stable storage when this returns.
    pub(super) fn append(&mut self, entries: Vec<Entry>) -> Result<(), Failed> {
        if self.open.as_ref().is_none_or(|(_, segment)| segment.length >= self.limits.segment_bytes) {
            self.open = None;
            let made = self.folder.create().map_err(Failed::Refused)?;
            // Room for what is written while the disk is full; without it entries are refused then.
            let _ = made.1.reserve(self.limits.segment_bytes);
            directory::sync_folder(self.folder.path()).map_err(Failed::Refused)?;
            self.open = Some(made);
        }
        let (number, segment) = self.open.as_mut().expect("it was just opened");
        let mut head = self.head;
        self.buffer.clear();
        for entry in entries {
            let numbered = Numbered { seq: head.seq + 1, entry };
            frame(&mut self.buffer, segment.salt, |out| {
                head = Mark { seq: numbered.seq, hash: link::write(out, &head.hash, &numbered) };
                debug_assert!(out.len() < RECORD_BYTES_MAX, "an entry's texts were cut");
            });
        }
        segment.append(&self.buffer).map_err(Failed::Refused)?;
        self.folder.segments.insert(*number, segment.length);
        self.buffer.shrink_to(64 << 10);
        segment.sync().map_err(Failed::Unknown)?;
        self.head = head;
        // Behind the log at worst, which says nothing wrong.
        if let Err(error) = self.head_file.set(head) {
            tracing::warn!(%error, "the audit log's head is not written down");
        }
        Ok(())
    }

    /// Remove whole segments that are too old or too much, the oldest first; bytes given back. The anchor moves first.
    pub(super) fn retain(&mut self, now: SystemTime) -> Result<u64, Error> {
        let mut freed = 0;
        loop {
            let mut numbers = self.folder.segments.keys().copied();
            let (Some(oldest), Some(next)) = (numbers.next(), numbers.next()) else { return Ok(freed) };
            let written = std::fs::metadata(self.folder.file(oldest)).and_then(|m| m.modified());
            let old = written.is_ok_and(|at| now.duration_since(at).is_ok_and(|age| age > self.limits.age_max));
            if !old && self.folder.bytes() <= self.limits.total_bytes_max {
                return Ok(freed);
            }
            let path = self.folder.path().to_owned();
            let io = |action| Error::io(action, path.clone());
            // A damaged segment stays until a neighbour can say where the chain goes on.
            let Some(begins) = first(&self.folder.read(next).map_err(io("read"))?) else { return Ok(freed) };
            marks::set_anchor(self.folder.path(), begins)?;
            self.anchor = begins;
            freed += self.folder.remove(oldest).map_err(io("clean up"))?;
        }
    }
}

/// Why entries were not kept.
#[derive(Debug)]
pub(super) enum Failed {
    /// The disk takes none; the log ends where it ended before.
    Refused(io::Error),
    /// A sync failed: nobody can say what is on the disk.
    Unknown(io::Error),
}

fn mark(bytes: &[u8]) -> Option<Mark> {
    let link = Link::parse(bytes)?;
    Some(Mark { seq: link.entry()?.seq, hash: link.hash })
}

fn last_of(bytes: &[u8]) -> Option<Mark> {
    let of = |found| if let Found::Record { bytes, .. } = found { mark(bytes) } else { None };
    scan(bytes).filter_map(of).last()
}

/// A segment's first entry with the hash before it, from the beginning of its bytes.
fn first(head: &[u8]) -> Option<Mark> {
    let of = |found| match found {
        Found::Record { bytes, .. } => {
            let link = Link::parse(bytes)?;
            Some(Mark { seq: link.entry()?.seq, hash: link.previous })
        }
        _ => None,
    };
    of(scan(head).next()?)
}
