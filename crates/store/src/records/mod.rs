//! Finished invocations: the newest in memory, all within their retention in segments, and what they cost in SQLite.

mod encode;
pub mod tally;
mod usage;

pub(crate) use usage::Usage;

use crate::{
    Error,
    options::RecordLimits,
    segments::{self, Folder, Found, HEAD_BYTES, Segment, frame, parts, position, scan, without},
};
use model::{FunctionName, InvocationId, TenantId, event::Record};
use std::{
    collections::{HashMap, VecDeque},
    io,
    path::Path,
    sync::Arc,
    time::SystemTime,
};
use tally::Tally;
use tokio::sync::broadcast;

/// Of each function this many stay in memory, however busy the others are.
const PER_FUNCTION: usize = 20;
const FOLLOW_RECORDS: usize = 1024;

/// Behind the lock of whoever writes.
pub(crate) struct RecordState {
    limits: RecordLimits,
    folder: Folder,
    open: Option<(u32, Segment)>,
    /// The last segment of an earlier life may be gone on with: no record in it would stand before what was counted.
    resumable: bool,
    /// Of each tenant that has any, the newest last.
    recent: HashMap<TenantId, VecDeque<Arc<Record>>>,
    /// How many there are in `recent`.
    held: usize,
    by_function: HashMap<(TenantId, FunctionName), VecDeque<Arc<Record>>>,
    pub(crate) followers: broadcast::Sender<Arc<Record>>,
    pub(crate) lost: u64,
    /// What was written since the start, counted.
    pub(crate) tally: Tally,
    buffer: Vec<u8>,
    /// Segments that are not what was written, named.
    pub(crate) damaged: Vec<String>,
}

impl RecordState {
    /// Read back what is newest, and count again what `usage` has not in SQLite yet.
    pub(crate) fn open(path: &Path, limits: &RecordLimits, usage: &Usage) -> Result<RecordState, Error> {
        let mut folder = Folder::open(path.to_owned()).map_err(Error::io("list", path))?;
        let counted = usage.watermark();
        folder.begin_after(parts(counted).0);
        let mut state = RecordState {
            limits: limits.clone(),
            folder,
            open: None,
            resumable: true,
            recent: HashMap::new(),
            held: 0,
            by_function: HashMap::new(),
            followers: broadcast::channel(FOLLOW_RECORDS).0,
            lost: 0,
            tally: Tally::default(),
            buffer: Vec::new(),
            damaged: Vec::new(),
        };
        state.load(counted, usage).map_err(Error::io("read", path))?;
        Ok(state)
    }

    fn load(&mut self, counted: u64, usage: &Usage) -> io::Result<()> {
        // Enough segments for what is kept in memory, and all that was not counted.
        let mut first = self.folder.last().unwrap_or(0);
        let mut bytes = 0;
        for (number, length) in self.folder.segments.iter().rev() {
            if bytes > (self.limits.recent_max * encode::RECORD_BYTES) as u64 && *number < parts(counted).0 {
                break;
            }
            (first, bytes) = (*number, bytes + length);
        }
        let numbers: Vec<u32> = self.folder.segments.range(first..).map(|(n, _)| *n).collect();
        for number in numbers {
            let (mut end, bytes) = (0, self.folder.read(number)?);
            let name = self.folder.file(number);
            self.damaged.extend(segments::flaws(&bytes).into_iter().map(|flaw| format!("{} {flaw}", name.display())));
            for found in scan(&bytes) {
                let Found::Record { offset, bytes } = found else { continue };
                end = offset + (HEAD_BYTES + bytes.len()) as u32;
                let Some(record) = encode::read(bytes) else { continue };
                if position(number, offset) >= counted {
                    usage.add(&record);
                }
                self.remember(Arc::new(record));
            }
            // A power cut may take records that SQLite has counted already.
            self.resumable = position(number, end) >= counted;
        }
        if let Some(last) = self.folder.last() {
            usage.written(position(last, self.folder.segments[&last] as u32));
        }
        Ok(())
    }

    fn remember(&mut self, record: Arc<Record>) {
        let function = self.by_function.entry((record.tenant.clone(), record.function.clone())).or_default();
        function.push_back(record.clone());
        if function.len() > PER_FUNCTION {
            function.pop_front();
        }
        self.recent.entry(record.tenant.clone()).or_default().push_back(record);
        self.held += 1;
        if self.held > self.limits.recent_max {
            self.drop_one();
        }
    }

    /// The oldest of the tenant that has most, so that one tenant's flood takes nobody else's.
    fn drop_one(&mut self) {
        if self.recent.values_mut().max_by_key(|own| own.len()).and_then(VecDeque::pop_front).is_some() {
            self.held -= 1;
        }
    }

    /// Write a batch down, and count it. A record that the disk refuses still counts.
    pub(crate) fn write(&mut self, records: &mut Vec<Record>, dropped: u64, usage: &Usage) {
        self.lost += dropped;
        if records.is_empty() {
            return;
        }
        if let Err(error) = self.append(records) {
            tracing::warn!(%error, records = records.len(), "records of invocations are not kept on the disk");
            self.lost += records.len() as u64;
        }
        for record in records.drain(..) {
            usage.add(&record);
            self.tally.add(&record);
            let record = Arc::new(record);
            if self.followers.receiver_count() > 0 {
                // The last follower may have gone since.
                let _ = self.followers.send(record.clone());
            }
            self.remember(record);
        }
        if let Some((number, segment)) = &self.open {
            usage.written(position(*number, segment.length as u32));
        }
    }

    fn append(&mut self, records: &[Record]) -> io::Result<()> {
        if self.open.as_ref().is_some_and(|(_, segment)| segment.length >= self.limits.segment_bytes) {
            self.open = None;
        }
        let (number, segment) = match &mut self.open {
            Some(open) => open,
            None => {
                let room = self.resumable
                    && self.folder.last().is_some_and(|last| self.folder.segments[&last] < self.limits.segment_bytes);
                let resumed = if room { self.folder.resume(|_, _| {})? } else { None };
                let open = match resumed {
                    Some(open) => open,
                    None => self.folder.create()?,
                };
                self.open.insert(open)
            }
        };
        self.buffer.clear();
        for record in records {
            frame(&mut self.buffer, segment.salt, |out| encode::write(out, record));
        }
        let appended = segment.append(&self.buffer);
        self.folder.segments.insert(*number, segment.length);
        self.buffer.shrink_to(64 * 1024);
        appended
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        self.open.as_ref().map_or(Ok(()), |(_, segment)| segment.sync())
    }

    pub(crate) fn recent(&self, tenant: &TenantId, function: Option<&str>, limit: usize) -> Vec<Record> {
        let wanted = |r: &&Arc<Record>| function.is_none_or(|f| r.function.as_str() == f);
        let ours = self.recent.get(tenant).into_iter().flatten().rev();
        let mut found: Vec<Record> = ours.filter(wanted).take(limit).map(|r| (**r).clone()).collect();
        let own = function.and_then(|f| self.by_function.get(&(tenant.clone(), FunctionName::new(f))));
        // What busier functions have pushed out of the common ring is still in the function's own.
        for record in own.into_iter().flatten().rev().skip(found.len()).take(limit - found.len()) {
            found.push((**record).clone());
        }
        found
    }

    pub(crate) fn find(&self, tenant: &TenantId, id: &InvocationId) -> Option<Record> {
        if let Some(record) = self.recent.get(tenant).into_iter().flatten().rev().find(|r| r.id == *id) {
            return Some((**record).clone());
        }
        let older = self.folder.segments.keys().rev();
        older.filter_map(|number| self.folder.read(*number).ok()).find_map(|bytes| search(&bytes, tenant, id))
    }

    /// What is written from now on goes to a new segment; gives the number of the last one before it.
    pub(crate) fn part(&mut self) -> Option<u32> {
        (self.open, self.resumable) = (None, false);
        self.folder.last()
    }

    /// Remove the records of a tenant, on the disk those in segments up to this one: all of them were counted.
    pub(crate) fn forget(&mut self, tenant: &TenantId, last: Option<u32>) -> io::Result<()> {
        self.held -= self.recent.remove(tenant).map_or(0, |own| own.len());
        self.by_function.retain(|(whose, _), _| whose != tenant);
        self.tally.forget(tenant);
        let Some(last) = last else { return Ok(()) };
        for number in self.folder.segments.range(..=last).map(|(n, _)| *n).collect::<Vec<_>>() {
            let bytes = self.folder.read(number)?;
            let ours = |record: &[u8]| encode::read(record).is_some_and(|r| r.tenant == *tenant);
            if let Some(kept) = without(&bytes, ours) {
                self.folder.replace(number, &kept)?;
            }
        }
        Ok(())
    }

    pub(crate) fn retain(&mut self, now: SystemTime) -> Result<u64, Error> {
        let open = self.open.as_ref().map(|(number, _)| *number).or(self.folder.last());
        let freed = self.folder.retain(self.limits.total_bytes_max, self.limits.age_max, now, open);
        freed.map_err(Error::io("clean up", self.folder.path()))
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.folder.bytes()
    }
}

fn search(bytes: &[u8], tenant: &TenantId, id: &InvocationId) -> Option<Record> {
    let record = |found| match found {
        Found::Record { bytes, .. } if encode::id(bytes) == Some(*id) => encode::read(bytes),
        _ => None,
    };
    scan(bytes).filter_map(record).find(|r| r.tenant == *tenant)
}
