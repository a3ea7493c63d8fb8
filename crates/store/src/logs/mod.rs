//! Logs of functions: written by one thread in batches, read from the files.
//!
//! What was left in the journal before a reader asks is written first, so that everybody reads what they have caused.

mod encode;
mod group;
mod read;

pub(crate) use encode::{put_usage, take_usage};

use crate::{Error, directory, options::LogLimits};
use encode::Group;
use group::{GroupKey, GroupLog, Lost};
use model::{
    Cause, Fault, Fut, TenantId,
    log::{Line, LogLine, LogRecord, Stream},
    ports::{LogGroup, LogPage, LogQuery, LogStream},
};
use std::{
    collections::{BTreeMap, HashMap},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::sync::broadcast;

/// Lines that a slow follower may lag behind before it loses the oldest.
const FOLLOW_LINES: usize = 1024;

/// All groups. Behind the lock of whoever writes.
pub(crate) struct LogState {
    folder: PathBuf,
    limits: LogLimits,
    groups: BTreeMap<GroupKey, GroupLog>,
    followers: Vec<Follower>,
    /// Nobody follows any more: the platform is stopping.
    dismissed: bool,
    batch: u64,
    /// Lines lost since the start: dropped on the way, or refused by the disk.
    pub(crate) lost: u64,
    /// How long groups keep their lines, where their owners chose it.
    ages: HashMap<GroupKey, Duration>,
    /// Owed to a stream whose lines the disk refused, until it takes some again.
    owed: Vec<(Arc<Stream>, u64)>,
}

struct Follower {
    tenant: TenantId,
    /// None named: all.
    groups: Vec<String>,
    out: broadcast::Sender<LogLine>,
}

impl LogState {
    pub(crate) fn open(folder: &Path, limits: &LogLimits) -> Result<LogState, Error> {
        let mut groups = BTreeMap::new();
        for (_, _, path) in directory::two_levels(folder)? {
            if let Some(group) = GroupLog::found(path.clone()).map_err(Error::io("read", path))? {
                groups.insert((group.about.tenant.clone(), group.about.name.clone()), group);
            }
        }
        let (folder, limits) = (folder.to_owned(), limits.clone());
        Ok(LogState {
            folder,
            limits,
            groups,
            followers: Vec::new(),
            dismissed: false,
            batch: 0,
            lost: 0,
            ages: HashMap::new(),
            owed: Vec::new(),
        })
    }

    /// Write a batch. Never fails: what the disk refuses is lost, counted, and said in the log as soon as it takes lines again.
    pub(crate) fn write(&mut self, lines: &[LogLine], dropped: &[(Arc<Stream>, u64)], now_ms: u64) {
        self.batch += 1;
        for line in lines {
            self.add(&line.stream, &line.record);
        }
        for (stream, count) in dropped {
            self.lost += count;
            self.mark(stream, *count, "more than could be kept", now_ms);
        }
        for (stream, count) in std::mem::take(&mut self.owed) {
            self.mark(&stream, count, "the disk was full or failed", now_ms);
        }
        self.flush(lines);
        self.close_some();
        self.tell(lines);
    }

    fn mark(&mut self, stream: &Arc<Stream>, count: u64, why: &str, at_ms: u64) {
        let text = Arc::from(format!("{count} log lines were lost here: {why}"));
        self.add(stream, &LogRecord { at_ms, id: None, line: Line::Platform { text } });
    }

    fn add(&mut self, stream: &Arc<Stream>, record: &LogRecord) {
        let key = (stream.tenant.clone(), stream.group.clone());
        let batch = self.batch;
        let added = match self.groups.get_mut(&key) {
            Some(group) => group.add(stream, record, batch, &self.limits),
            None => self.new_group(&key, record.at_ms).map_err(|error| Lost { lines: 1, error }).and_then(|mut group| {
                let added = group.add(stream, record, batch, &self.limits);
                self.groups.insert(key, group);
                added
            }),
        };
        if let Err(lost) = added {
            self.lose(stream, lost);
        }
    }

    fn new_group(&self, key: &GroupKey, created_ms: u64) -> io::Result<GroupLog> {
        let path = self.folder.join(crate::folder_name(key.0.as_str())).join(crate::folder_name(&key.1));
        let mut group = GroupLog::new(path, Group { tenant: key.0.clone(), name: key.1.clone(), created_ms })?;
        group.age_max = self.ages.get(key).copied();
        Ok(group)
    }

    /// How long a group keeps its lines; without an age as long as all do.
    pub(crate) fn keep(&mut self, tenant: &TenantId, group: &str, age: Option<Duration>) {
        let key = (tenant.clone(), Arc::from(group));
        if let Some(group) = self.groups.get_mut(&key) {
            group.age_max = age;
        }
        match age {
            Some(age) => drop(self.ages.insert(key, age)),
            None => drop(self.ages.remove(&key)),
        }
    }

    /// Write lines that somebody waits for: all are in the file when this returns, or why not.
    pub(crate) fn put(&mut self, lines: &[LogLine]) -> Result<(), io::Error> {
        let before = self.lost;
        self.write(lines, &[], 0);
        if self.lost == before { Ok(()) } else { Err(io::Error::other("the disk takes no lines")) }
    }

    /// Remove a group, or of one all lines of a stream. Whether there was any.
    pub(crate) fn remove(&mut self, tenant: &TenantId, group: &str, stream: Option<&str>) -> io::Result<bool> {
        let key = (tenant.clone(), Arc::from(group));
        let Some(found) = self.groups.get_mut(&key) else { return Ok(false) };
        if let Some(stream) = stream {
            return found.remove_stream(stream);
        }
        found.remove()?;
        self.groups.remove(&key);
        Ok(true)
    }

    /// Remove every group of a tenant.
    pub(crate) fn forget(&mut self, tenant: &TenantId) -> io::Result<()> {
        let own = |key: &&GroupKey| key.0 == *tenant;
        for key in self.groups.keys().filter(own).cloned().collect::<Vec<_>>() {
            self.remove(tenant, &key.1, None)?;
        }
        self.ages.retain(|key, _| key.0 != *tenant);
        self.owed.retain(|(stream, _)| stream.tenant != *tenant);
        match std::fs::remove_dir(self.folder.join(crate::folder_name(tenant.as_str()))) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }

    fn lose(&mut self, stream: &Arc<Stream>, lost: Lost) {
        self.lost += lost.lines;
        match self.owed.iter_mut().find(|(owed, _)| Arc::ptr_eq(owed, stream)) {
            Some((_, owed)) => *owed += lost.lines,
            None => {
                tracing::warn!(group = %stream.group, error = %lost.error, "log lines are lost");
                self.owed.push((stream.clone(), lost.lines));
            }
        }
    }

    fn flush(&mut self, lines: &[LogLine]) {
        let mut failed = Vec::new();
        for (key, group) in &mut self.groups {
            if let Err(lost) = group.flush() {
                failed.push((key.clone(), lost));
            }
        }
        for ((tenant, name), lost) in failed {
            let of_group = |l: &&LogLine| l.stream.tenant == tenant && l.stream.group == name;
            match lines.iter().find(of_group) {
                Some(line) => self.lose(&line.stream.clone(), lost),
                None => self.lost += lost.lines,
            }
        }
    }

    /// Keep only so many segment files open: close those that were written longest ago.
    fn close_some(&mut self) {
        let mut open: Vec<(u64, &mut GroupLog)> =
            self.groups.values_mut().filter_map(|group| Some((group.open.as_ref()?.used, group))).collect();
        if open.len() <= self.limits.open_files_max {
            return;
        }
        open.sort_unstable_by_key(|(used, _)| *used);
        let surplus = open.len() - self.limits.open_files_max / 2;
        open.into_iter().take(surplus).for_each(|(_, group)| group.open = None);
    }

    fn tell(&mut self, lines: &[LogLine]) {
        if self.followers.is_empty() {
            return;
        }
        self.followers.retain(|follower| follower.out.receiver_count() > 0);
        for line in lines {
            for follower in self.followers.iter().filter(|f| f.wants(&line.stream)) {
                // The last receiver may have gone since.
                let _ = follower.out.send(line.clone());
            }
        }
    }

    pub(crate) fn follow(&mut self, tenant: &TenantId, groups: &[String]) -> Result<broadcast::Receiver<LogLine>, Fault> {
        self.followers.retain(|follower| follower.out.receiver_count() > 0);
        let (out, receiver) = broadcast::channel(FOLLOW_LINES);
        if self.dismissed {
            // It is over from the start: the sender ends here.
            return Ok(receiver);
        }
        let own = self.followers.iter().filter(|f| f.tenant == *tenant).count();
        if own >= model::limits::TAILS_PER_TENANT_MAX || self.followers.len() >= self.limits.followers_max {
            let most = model::limits::TAILS_PER_TENANT_MAX;
            return Err(Fault::new(Cause::Exhausted, format!("as many follow logs as may: {most} of a tenant"))
                .detail("tails")
                .hint("end one of them")
                .retry_after(Duration::from_secs(1)));
        }
        self.followers.push(Follower { tenant: tenant.clone(), groups: groups.to_vec(), out });
        Ok(receiver)
    }

    /// Those who follow hear that it is over, and nobody follows any more.
    pub(crate) fn dismiss(&mut self) {
        self.dismissed = true;
        self.followers.clear();
    }

    pub(crate) fn groups(&self, tenant: &TenantId, prefix: &str, after: &str, limit: usize) -> Vec<LogGroup> {
        let from = (tenant.clone(), Arc::from(prefix.max(after)));
        let ours = self.groups.range(from..).take_while(|((t, name), _)| t == tenant && name.starts_with(prefix));
        let listed = ours.filter(|((_, name), _)| after.is_empty() || **name > *after).take(limit);
        listed
            .map(|((_, name), group)| LogGroup {
                name: name.clone(),
                created_ms: group.about.created_ms,
                bytes: group.folder.bytes(),
            })
            .collect()
    }

    pub(crate) fn streams(&mut self, tenant: &TenantId, group: &str) -> Vec<LogStream> {
        let Some(group) = self.groups.get_mut(&(tenant.clone(), Arc::from(group))) else { return Vec::new() };
        group.streams().unwrap_or_else(|error| {
            tracing::warn!(group = %group.about.name, %error, "a log can't be read");
            Vec::new()
        })
    }

    /// What to read for a query, outside of the lock.
    pub(crate) fn reading(&self, mut query: LogQuery, now_ms: u64) -> Reading {
        let group = self.groups.get(&(query.tenant.clone(), Arc::from(&*query.group)));
        // Files go as a whole and later; what is too old is not shown before that.
        if let Some(age) = group.and_then(|g| g.age_max) {
            query.from_ms = query.from_ms.max(now_ms.saturating_sub(age.as_millis() as u64));
        }
        let source = |folder: &crate::segments::Folder, number: u32, length: u64| read::Source {
            number,
            file: folder.file(number),
            length,
        };
        let sources = group.map(|g| g.folder.segments.iter().map(|(n, l)| source(&g.folder, *n, *l)).collect());
        Reading { sources, query }
    }

    /// Drop what is past its age or too much; bytes given back.
    pub(crate) fn retain(&mut self, now: SystemTime) -> Result<u64, Error> {
        let mut freed = 0;
        for group in self.groups.values_mut() {
            freed += group.retain(&self.limits, now).map_err(Error::io("clean up", group.folder.path()))?;
        }
        while self.bytes() > self.limits.total_bytes_max {
            // Whoever has most gives first, so that one tenant's flood takes no other's history.
            let mut held = BTreeMap::<&TenantId, u64>::new();
            for (key, group) in &self.groups {
                *held.entry(&key.0).or_default() += group.folder.bytes();
            }
            let Some(tenant) = held.into_iter().max_by_key(|(_, bytes)| *bytes).map(|(tenant, _)| tenant.clone()) else { break };
            let own = self.groups.iter_mut().filter(|(key, _)| key.0 == tenant).map(|(_, group)| group);
            let Some(group) = own.max_by_key(|group| group.folder.bytes()) else { break };
            match group.remove_oldest().map_err(Error::io("clean up", group.folder.path()))? {
                0 => break,
                bytes => freed += bytes,
            }
        }
        self.groups.retain(|_, group| {
            let gone = group.folder.segments.is_empty() && group.open.is_none();
            // A folder that isn't empty holds something of somebody else's.
            !(gone && (std::fs::remove_dir(group.folder.path()).is_ok() || !group.folder.path().exists()))
        });
        Ok(freed)
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        self.groups.values().try_for_each(GroupLog::sync)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.groups.values().map(|group| group.folder.bytes()).sum()
    }
    pub(crate) fn count(&self) -> usize {
        self.groups.len()
    }
}

impl Follower {
    fn wants(&self, stream: &Stream) -> bool {
        self.tenant == stream.tenant && (self.groups.is_empty() || self.groups.iter().any(|g| **g == *stream.group))
    }
}

/// A query with the files it goes through.
pub(crate) struct Reading {
    /// `None` where there is no such group.
    sources: Option<Vec<read::Source>>,
    query: LogQuery,
}

impl Reading {
    pub(crate) fn run(self) -> Fut<'static, Result<LogPage, Fault>> {
        Box::pin(async move {
            let Some(sources) = self.sources else {
                return Err(Fault::not_found(format!("there is no log group {:?}", self.query.group)));
            };
            let query = self.query;
            let read = tokio::task::spawn_blocking(move || read::page(sources, &query)).await;
            read.map_err(|e| Fault::internal(format!("reading ended early: {e}")))?
        })
    }
}
