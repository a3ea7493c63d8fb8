//! Every limit and retention of the store, in one place. `myna status` shows them as they are here.

use crate::seal::Source;
use std::time::Duration;

#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Options {
    /// Accept a directory on tmpfs or ramfs, which a reboot empties.
    pub allow_volatile: bool,
    /// Where the key is that everything is sealed with.
    #[serde(skip)]
    pub seal: Source,
    pub rows: RowLimits,
    pub packages: PackageLimits,
    pub logs: LogLimits,
    pub records: RecordLimits,
    pub queue: QueueLimits,
    pub audit: AuditLimits,
    pub scrub: ScrubTimes,
}

/// When what lies on the disk is read again and held against its checksums.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct ScrubTimes {
    /// After the start, which has other things to do.
    pub first: Duration,
    pub every: Duration,
}

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct RowLimits {
    pub body_bytes_max: usize,
    pub per_tenant_max: usize,
    /// Commits that wait for the writer.
    pub pending_max: usize,
}

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct PackageLimits {
    pub archive_bytes_max: u64,
    pub unzipped_bytes_max: u64,
    /// Files and folders, those included that an entry's path only implies.
    pub entries_max: usize,
    /// Bytes of an entry's whole name.
    pub name_bytes_max: usize,
    /// Folders above an entry.
    pub depth_max: usize,
    /// Unzipped bytes per archive byte, once the archive unpacks to more than [`PackageLimits::ratio_free_bytes`].
    pub ratio_max: u64,
    pub ratio_free_bytes: u64,
    /// Archives that are unpacked at once; others wait.
    pub unpacking_max: usize,
    /// How long a link reads the archive.
    pub link_lifetime: Duration,
    /// A package that no row names yet is kept this long after it was last put.
    pub unreferenced_for: Duration,
}

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct LogLimits {
    /// A segment file is closed at this size.
    pub segment_bytes: u64,
    /// And once it is this old, or half as old as its group keeps lines: it is dropped as a whole.
    pub segment_age: Duration,
    /// Per group; a function's own group unless its owner chose another.
    pub group_bytes_max: u64,
    /// All groups of all tenants together.
    pub total_bytes_max: u64,
    pub age_max: Duration,
    /// What may wait to be written before lines are dropped and counted.
    pub pending_lines_max: usize,
    pub pending_bytes_max: usize,
    /// Segment files that are kept open.
    pub open_files_max: usize,
    pub followers_max: usize,
}

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct RecordLimits {
    /// Kept in memory.
    pub recent_max: usize,
    pub segment_bytes: u64,
    pub total_bytes_max: u64,
    pub age_max: Duration,
    pub usage_age_max: Duration,
    pub pending_max: usize,
}

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct QueueLimits {
    pub segment_bytes: u64,
    /// What may wait for the disk before events are refused.
    pub pending_bytes_max: usize,
    /// What may be acknowledged and not in the index yet, before acknowledging waits for it.
    pub lag_bytes_max: usize,
    /// A larger body has a file of its own.
    pub inline_bytes_max: usize,
    /// How long what became of an event can be asked for, and of how many the latest of those that left no dead letter.
    pub ended_age_max: Duration,
    pub ended_max: usize,
    pub dead_age_max: Duration,
    /// Followed between two checkpoints of the index; as much is read again after a crash.
    pub checkpoint_bytes: usize,
    /// Between two looks at what is not kept any longer.
    pub forget_every: Duration,
    /// Events in one answer.
    pub page_max: usize,
}

/// What is kept of the audit log, and what of it may wait.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct AuditLimits {
    /// A segment file is closed at this size.
    pub segment_bytes: u64,
    pub total_bytes_max: u64,
    pub age_max: Duration,
    /// Entries that may wait for the disk before changes are refused.
    pub pending_max: usize,
    /// Refusals that have an entry each, from one source within [`AuditLimits::window`]; the rest are counted.
    pub denials_per_source: u64,
    /// The same of all sources together.
    pub denials_max: u64,
    pub window: Duration,
    /// Sources that are told apart; all others count as one.
    pub sources_max: usize,
}

const DAY: Duration = Duration::from_secs(24 * 3600);

impl Default for RowLimits {
    fn default() -> Self {
        Self { body_bytes_max: 4 << 20, per_tenant_max: 100_000, pending_max: 1024 }
    }
}
impl Default for PackageLimits {
    fn default() -> Self {
        Self {
            archive_bytes_max: 262_144_000,
            unzipped_bytes_max: 262_144_000,
            entries_max: 100_000,
            name_bytes_max: 1024,
            depth_max: 64,
            ratio_max: 250,
            ratio_free_bytes: 16 << 20,
            unpacking_max: 2,
            link_lifetime: Duration::from_secs(600),
            unreferenced_for: Duration::from_secs(600),
        }
    }
}
impl Default for LogLimits {
    fn default() -> Self {
        Self {
            segment_bytes: 8 << 20,
            segment_age: DAY,
            group_bytes_max: 64 << 20,
            total_bytes_max: 2 << 30,
            age_max: 14 * DAY,
            pending_lines_max: 65_536,
            pending_bytes_max: 32 << 20,
            open_files_max: 64,
            followers_max: 1000,
        }
    }
}
impl Default for RecordLimits {
    fn default() -> Self {
        Self {
            recent_max: 10_000,
            segment_bytes: 4 << 20,
            total_bytes_max: 64 << 20,
            age_max: 14 * DAY,
            usage_age_max: 400 * DAY,
            pending_max: 16_384,
        }
    }
}
impl Default for QueueLimits {
    fn default() -> Self {
        Self {
            segment_bytes: 16 << 20,
            pending_bytes_max: 64 << 20,
            lag_bytes_max: 32 << 20,
            inline_bytes_max: 64 << 10,
            ended_age_max: Duration::from_secs(3600),
            ended_max: 1_000_000,
            dead_age_max: 14 * DAY,
            checkpoint_bytes: 128 << 20,
            forget_every: Duration::from_secs(30),
            page_max: 1000,
        }
    }
}
impl Default for ScrubTimes {
    fn default() -> Self {
        Self { first: Duration::from_secs(60), every: DAY }
    }
}
impl Default for AuditLimits {
    fn default() -> Self {
        Self {
            segment_bytes: 1 << 20,
            total_bytes_max: 256 << 20,
            age_max: 365 * DAY,
            pending_max: 4096,
            denials_per_source: 5,
            denials_max: 60,
            window: Duration::from_secs(60),
            sources_max: 1024,
        }
    }
}
