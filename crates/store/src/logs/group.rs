//! One group's segments: appending lines, and the list of its streams.
//!
//! Segments are kept per group, since a group is what is read; a function's own group holds that function alone, and one that
//! several functions share is still read in the order in which lines came.

use super::encode::{self, Entry, Group};
use crate::{
    options::LogLimits,
    segments::{Folder, Found, Segment, frame, scan, without},
};
use model::{
    TenantId,
    log::{Line, LogRecord, Stream},
    ports::LogStream,
};
use std::{
    collections::{BTreeMap, HashMap},
    io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

pub(super) struct GroupLog {
    pub(super) about: Group,
    pub(super) folder: Folder,
    pub(super) open: Option<Open>,
    index: Option<Index>,
    /// Encoded for the open segment, not yet written.
    pending: Vec<u8>,
    pending_lines: u64,
    /// How long lines are kept, where the group's owner chose it.
    pub(super) age_max: Option<Duration>,
    /// The next line begins a segment.
    anew: bool,
}

/// Lines that could not be written, and why.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) lines: u64,
    pub(super) error: io::Error,
}

/// The segment that is being written.
pub(super) struct Open {
    pub(super) number: u32,
    segment: Segment,
    /// By address; each is held, so that its address stays its own.
    streams: HashMap<usize, (Arc<Stream>, u32)>,
    defined: u32,
    /// How many of those are on the disk.
    defined_written: u32,
    /// When it was last written to, on a counter of batches.
    pub(super) used: u64,
    /// When it was opened.
    began: SystemTime,
}

/// The group's streams by name, kept while somebody asks for them.
struct Index {
    streams: BTreeMap<Arc<str>, Known>,
    asked: bool,
}

struct Known {
    stream: LogStream,
    /// The last segment with a line of it.
    segment: u32,
}

impl GroupLog {
    pub(super) fn new(path: PathBuf, about: Group) -> io::Result<GroupLog> {
        Ok(GroupLog::of(about, Folder::open(path)?))
    }

    fn of(about: Group, folder: Folder) -> GroupLog {
        GroupLog { about, folder, open: None, index: None, pending: Vec::new(), pending_lines: 0, age_max: None, anew: false }
    }

    /// A group that an earlier life left, named by its first segment.
    pub(super) fn found(path: PathBuf) -> io::Result<Option<GroupLog>> {
        let folder = Folder::open(path)?;
        for number in folder.segments.keys() {
            let bytes = folder.read_head(*number)?;
            if let Some(Found::Record { bytes, .. }) = scan(&bytes).next()
                && let Some(Entry::Group(about)) = encode::read(bytes)
            {
                return Ok(Some(GroupLog::of(about, folder)));
            }
        }
        Ok(None)
    }

    /// Encode one line for the open segment, opening or closing segments as needed.
    pub(super) fn add(&mut self, stream: &Arc<Stream>, record: &LogRecord, batch: u64, limits: &LogLimits) -> Result<(), Lost> {
        if self.open.as_ref().is_some_and(|o| o.segment.length + self.pending.len() as u64 >= limits.segment_bytes) {
            let flushed = self.flush();
            self.open = None;
            flushed.map_err(|lost| Lost { lines: lost.lines + 1, ..lost })?;
        }
        let open = match &mut self.open {
            Some(open) => open,
            None => {
                let open = start(&mut self.folder, &self.about, limits, self.anew).map_err(|error| Lost { lines: 1, error })?;
                self.anew = false;
                self.open.insert(open)
            }
        };
        open.used = batch;
        let (salt, pending) = (open.segment.salt, &mut self.pending);
        let number = match open.streams.get(&(Arc::as_ptr(stream) as usize)) {
            Some((_, number)) => *number,
            None => {
                frame(pending, salt, |out| encode::stream(out, stream));
                let number = open.defined;
                open.defined += 1;
                open.streams.insert(Arc::as_ptr(stream) as usize, (stream.clone(), number));
                number
            }
        };
        frame(pending, salt, |out| encode::line(out, number, record));
        self.pending_lines += 1;
        if let Some(index) = &mut self.index {
            index.see(stream, record.at_ms, open.number, record.line == Line::Opened);
        }
        Ok(())
    }

    /// Write what was encoded.
    pub(super) fn flush(&mut self) -> Result<(), Lost> {
        let lines = std::mem::take(&mut self.pending_lines);
        let Some(open) = self.open.as_mut().filter(|_| !self.pending.is_empty()) else { return Ok(()) };
        let written = open.segment.append(&self.pending);
        self.pending.clear();
        self.pending.shrink_to(64 * 1024);
        match written {
            Ok(()) => {
                open.defined_written = open.defined;
                self.folder.segments.insert(open.number, open.segment.length);
                Ok(())
            }
            Err(error) => {
                // Streams that were named in the lost bytes must be named again.
                open.streams.clear();
                open.defined = open.defined_written;
                Err(Lost { lines, error })
            }
        }
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.open.as_ref().map_or(Ok(()), |open| open.segment.sync())
    }

    pub(super) fn streams(&mut self) -> io::Result<Vec<LogStream>> {
        if self.index.is_none() {
            self.index = Some(self.build_index()?);
        }
        let index = self.index.as_mut().expect("made above");
        index.asked = true;
        Ok(index.streams.values().map(|known| known.stream.clone()).collect())
    }

    fn build_index(&self) -> io::Result<Index> {
        let mut index = Index { streams: BTreeMap::new(), asked: true };
        for number in self.folder.segments.keys() {
            let mut streams = Vec::new();
            for found in scan(&self.folder.read(*number)?) {
                let Found::Record { bytes, .. } = found else { continue };
                match encode::read(bytes) {
                    Some(Entry::Stream(stream)) => streams.push(Arc::new(stream)),
                    Some(Entry::Line(line)) => {
                        if let Some(stream) = streams.get(line.stream) {
                            index.see(stream, line.at_ms, *number, line.opened());
                        }
                    }
                    _ => {}
                }
            }
        }
        Ok(index)
    }

    /// Drop old segments; bytes given back.
    pub(super) fn retain(&mut self, limits: &LogLimits, now: SystemTime) -> io::Result<u64> {
        let age_max = self.age_max.unwrap_or(limits.age_max);
        let idle = self.idle(age_max, now);
        if idle {
            self.open = None;
        }
        // A file goes as a whole, so none may gather lines for long.
        let long = |open: &Open| now.duration_since(open.began).is_ok_and(|age| age > limits.segment_age.min(age_max / 2));
        if self.pending.is_empty() && self.open.as_ref().is_some_and(long) {
            (self.open, self.anew) = (None, true);
        }
        let open = self.open.as_ref().map(|open| open.number).or(self.folder.last().filter(|_| !idle));
        let freed = self.folder.retain(limits.group_bytes_max, age_max, now, open)?;
        self.forget();
        Ok(freed)
    }

    /// Drop the oldest segment that isn't being written.
    pub(super) fn remove_oldest(&mut self) -> io::Result<u64> {
        let open = self.open.as_ref().map(|open| open.number);
        let Some(oldest) = self.folder.segments.keys().next().copied().filter(|n| Some(*n) != open) else { return Ok(0) };
        let freed = self.folder.remove(oldest)?;
        self.forget();
        Ok(freed)
    }

    /// Whether even the newest segment is past its age.
    fn idle(&self, age_max: Duration, now: SystemTime) -> bool {
        let written = |n| std::fs::metadata(self.folder.file(n)).and_then(|m| m.modified()).ok();
        let last = self.folder.last().and_then(written);
        last.is_some_and(|at| now.duration_since(at).is_ok_and(|age| age > age_max))
    }

    /// Remove all lines of a stream, whether it is being written or not; whether there were any.
    pub(super) fn remove_stream(&mut self, name: &str) -> io::Result<bool> {
        self.flush().map_err(|lost| lost.error)?;
        (self.open, self.index) = (None, None);
        let mut any = false;
        for number in self.folder.segments.keys().copied().collect::<Vec<_>>() {
            let bytes = self.folder.read(number)?;
            let mut streams = Vec::new();
            let kept = without(&bytes, |record| match encode::read(record) {
                Some(Entry::Stream(stream)) => {
                    streams.push(*stream.name == *name);
                    // Lines name streams by their places: those stay.
                    false
                }
                Some(Entry::Line(line)) => streams.get(line.stream).copied().unwrap_or(false),
                Some(Entry::Group(_)) | None => false,
            });
            if let Some(kept) = kept {
                self.folder.replace(number, &kept)?;
                any = true;
            }
        }
        Ok(any)
    }

    /// Remove all that there is of it.
    pub(super) fn remove(&mut self) -> io::Result<()> {
        (self.open, self.index) = (None, None);
        self.pending.clear();
        self.pending_lines = 0;
        for number in self.folder.segments.keys().copied().collect::<Vec<_>>() {
            self.folder.remove(number)?;
        }
        match std::fs::remove_dir(self.folder.path()) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }

    /// Keep the index only while it is asked for, and no stream in it without a segment.
    fn forget(&mut self) {
        let first = self.folder.segments.keys().next().copied().unwrap_or(u32::MAX);
        self.index = self.index.take().filter(|index| index.asked).map(|mut index| {
            index.streams.retain(|_, known| known.segment >= first);
            Index { asked: false, ..index }
        });
    }
}

impl Index {
    /// `opened`: it was made then, and nothing was written.
    fn see(&mut self, stream: &Arc<Stream>, at_ms: u64, segment: u32, opened: bool) {
        let known = self.streams.entry(stream.name.clone()).or_insert_with(|| Known {
            stream: LogStream { stream: stream.clone(), created_ms: at_ms, first_ms: u64::MAX, last_ms: 0 },
            segment,
        });
        if !opened {
            known.stream.first_ms = known.stream.first_ms.min(at_ms);
            known.stream.last_ms = known.stream.last_ms.max(at_ms);
        }
        known.segment = segment;
    }
}

/// Go on with the last segment if it has room, or begin the next.
fn start(folder: &mut Folder, about: &Group, limits: &LogLimits, anew: bool) -> io::Result<Open> {
    let began = SystemTime::now();
    let room = !anew && folder.last().is_some_and(|last| folder.segments[&last] < limits.segment_bytes);
    let mut defined = 0;
    if room {
        let resumed = folder.resume(|_, bytes| defined += u32::from(matches!(encode::read(bytes), Some(Entry::Stream(_)))))?;
        // One that lost its beginning can't be read without it.
        if let Some((number, segment)) = resumed
            && segment.length > crate::segments::PREAMBLE_BYTES as u64
        {
            return Ok(Open { number, segment, streams: HashMap::new(), defined, defined_written: defined, used: 0, began });
        }
    }
    let (number, mut segment) = folder.create()?;
    let mut head = Vec::new();
    frame(&mut head, segment.salt, |out| encode::group(out, about));
    // Without its head nobody would know whose segment it is.
    if let Err(error) = segment.append(&head) {
        folder.remove(number)?;
        return Err(error);
    }
    folder.segments.insert(number, segment.length);
    Ok(Open { number, segment, streams: HashMap::new(), defined: 0, defined_written: 0, used: 0, began })
}

/// Orders groups as they are listed.
pub(super) type GroupKey = (TenantId, Arc<str>);
