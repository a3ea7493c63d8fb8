//! The segments of one folder, numbered in the order of their making: which there are, how long each is, and which to drop.

use super::{Found, NUMBER_MAX, SUFFIX, Segment, file::salt, scan};
use std::{
    collections::BTreeMap,
    io::{self, Read},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// Bytes of each segment.
    pub(crate) segments: BTreeMap<u32, u64>,
    /// The number that the next segment gets: never one that was used before, or positions would go back.
    next: u32,
}

impl Folder {
    /// Look at what is there. Made when the first segment is.
    pub(crate) fn open(path: PathBuf) -> io::Result<Folder> {
        let mut segments = BTreeMap::new();
        match std::fs::read_dir(&path) {
            Ok(entries) => {
                for entry in entries {
                    let entry = entry?;
                    let number = entry.file_name().to_str().and_then(|n| n.strip_suffix(SUFFIX)?.parse().ok());
                    if let (Some(number), Ok(meta)) = (number, entry.metadata())
                        && meta.is_file()
                        && number <= NUMBER_MAX
                    {
                        segments.insert(number, meta.len());
                    }
                }
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
        let next = segments.keys().next_back().map_or(1, |last| last + 1);
        Ok(Folder { path, segments, next })
    }

    /// Numbers up to this one were used before, though nothing of them may be left.
    pub(crate) fn begin_after(&mut self, number: u32) {
        self.next = self.next.max(number.saturating_add(1));
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
    pub(crate) fn file(&self, number: u32) -> PathBuf {
        super::path(&self.path, number)
    }
    pub(crate) fn bytes(&self) -> u64 {
        self.segments.values().sum()
    }
    pub(crate) fn last(&self) -> Option<u32> {
        self.segments.keys().next_back().copied()
    }

    pub(crate) fn create(&mut self) -> io::Result<(u32, Segment)> {
        use std::os::unix::fs::DirBuilderExt;
        std::fs::DirBuilder::new().mode(0o700).recursive(true).create(&self.path)?;
        let number = self.next;
        let segment = Segment::create(&self.file(number)).inspect_err(|_| {
            // A file without its magic would only be skipped; without room it can't even be that.
            let _ = std::fs::remove_file(self.file(number));
        })?;
        self.next += 1;
        self.segments.insert(number, segment.length);
        Ok((number, segment))
    }

    /// Go on with the last segment where its valid part ends; `None` when there is none, or it isn't ours to go on with.
    /// `seen` is told of each record in it.
    pub(crate) fn resume(&mut self, mut seen: impl FnMut(u32, &[u8])) -> io::Result<Option<(u32, Segment)>> {
        let Some(number) = self.last() else { return Ok(None) };
        let bytes = self.read(number)?;
        let Some(salt) = salt(&bytes) else { return Ok(None) };
        let mut valid = bytes.len() as u64;
        for found in scan(&bytes) {
            match found {
                Found::Record { offset, bytes } => seen(offset, bytes),
                Found::Damage { .. } => {}
                Found::Torn { offset } => valid = u64::from(offset),
            }
        }
        let segment = Segment::resume(&self.file(number), valid, salt)?;
        self.segments.insert(number, valid);
        Ok(Some((number, segment)))
    }

    pub(crate) fn read(&self, number: u32) -> io::Result<Vec<u8>> {
        super::read(&self.file(number))
    }

    /// The beginning of a segment, enough for its first record.
    pub(crate) fn read_head(&self, number: u32) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        std::fs::File::open(self.file(number))?.take(4096).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Remove a segment; how many bytes that gave back.
    pub(crate) fn remove(&mut self, number: u32) -> io::Result<u64> {
        match std::fs::remove_file(self.file(number)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        Ok(self.segments.remove(&number).unwrap_or(0))
    }

    /// Other bytes in a closed segment's place, whole or not at all; when it was last written to stays.
    pub(crate) fn replace(&mut self, number: u32, bytes: &[u8]) -> io::Result<()> {
        let (file, new) = (self.file(number), self.path.join("replaced"));
        let written = std::fs::metadata(&file)?.modified()?;
        std::fs::write(&new, bytes)?;
        std::fs::File::options().write(true).open(&new)?.set_modified(written)?;
        std::fs::rename(&new, &file)?;
        self.segments.insert(number, bytes.len() as u64);
        Ok(())
    }

    /// Remove the oldest closed segments until the rest fits, and those that were last written too long ago. The one that is
    /// written stays unless `all` may go.
    pub(crate) fn retain(&mut self, bytes_max: u64, age_max: Duration, now: SystemTime, open: Option<u32>) -> io::Result<u64> {
        let mut freed = 0;
        let numbers: Vec<u32> = self.segments.keys().copied().filter(|n| Some(*n) != open).collect();
        for number in numbers {
            let written = std::fs::metadata(self.file(number)).and_then(|m| m.modified());
            let old = written.is_ok_and(|at| now.duration_since(at).is_ok_and(|age| age > age_max));
            if old || self.bytes() > bytes_max {
                freed += self.remove(number)?;
            }
        }
        Ok(freed)
    }
}
