//! One instance's groups, one per hierarchy in use.

use super::{Hierarchies, Version, layout::Need};
use model::sandbox::{Limits, Measured};
use std::{fs::File, io, os::unix::fs::FileExt, path::PathBuf, sync::Arc, time::Duration};

/// Quotas are given out per period. A short one keeps a small function from standing still for most of a tenth of a second; the
/// kernel's least quota of one millisecond bounds it from below.
const PERIOD_US: u64 = 20_000;
const LONG_PERIOD_US: u64 = 100_000;
const QUOTA_US_MIN: u64 = 1_000;

/// A group goes when its last process has left the kernel, which is a moment after it has ended.
const REMOVE_TRIES: u32 = 400;

pub struct Group {
    all: Arc<Hierarchies>,
    name: String,
    dirs: Vec<PathBuf>,
    freeze: Option<File>,
    usage: Option<File>,
    usage_max: Option<File>,
    cpu: Option<File>,
    pids: Option<File>,
    kills: Option<File>,
}

impl Group {
    /// Makes the group everywhere; on an error nothing of it is left.
    pub fn make(all: &Arc<Hierarchies>, name: &str) -> io::Result<Group> {
        let mut group = Group {
            all: all.clone(),
            name: name.to_owned(),
            dirs: Vec::new(),
            freeze: None,
            usage: None,
            usage_max: None,
            cpu: None,
            pids: None,
            kills: None,
        };
        for parent in all.parents() {
            let dir = parent.join(name);
            if let Err(e) = all.files.make(&dir) {
                let _ = group.remove();
                return Err(io::Error::new(e.kind(), format!("make control group {}: {e}", dir.display())));
            }
            group.dirs.push(dir);
        }
        group.keep_open().inspect_err(|_| drop(group.remove()))?;
        Ok(group)
    }

    fn keep_open(&mut self) -> io::Result<()> {
        let open = |need: Need, one: &str, two: &str, write: bool| match self.file(need, one, two) {
            Some((_, file)) => {
                self.all.files.open(&file, write).map_err(|e| io::Error::new(e.kind(), format!("open {}: {e}", file.display())))
            }
            None => Ok(None),
        };
        let freeze = open(Need::Freeze, "freezer.state", "cgroup.freeze", true)?;
        let usage = open(Need::Memory, "memory.usage_in_bytes", "memory.current", false)?;
        // Kernels before 5.19 keep no peak in version 2.
        let usage_max = open(Need::Memory, "memory.max_usage_in_bytes", "memory.peak", false).unwrap_or(None);
        let cpu = open(Need::Usage, "cpuacct.usage", "cpu.stat", false)?;
        let pids = open(Need::Pids, "pids.current", "pids.current", false)?;
        let kills = open(Need::Memory, "memory.oom_control", "memory.events", false)?;
        (self.freeze, self.usage, self.usage_max, self.cpu, self.pids, self.kills) = (freeze, usage, usage_max, cpu, pids, kills);
        Ok(())
    }

    fn file(&self, need: Need, one: &str, two: &str) -> Option<(Version, PathBuf)> {
        let place = self.all.layout.place(need)?;
        let name = if place.version == Version::One { one } else { two };
        Some((place.version, place.dir.join(&self.all.name).join(&self.name).join(name)))
    }

    fn write(&self, need: Need, one: &str, two: &str, text: &str) -> io::Result<()> {
        let Some((_, file)) = self.file(need, one, two) else { return Ok(()) };
        self.all
            .files
            .write(&file, text)
            .map_err(|e| io::Error::new(e.kind(), format!("write {text:?} to {}: {e}", file.display())))
    }

    /// Writes what differs from `before`. `/tmp` lives in memory and is charged to who writes it, so the kernel's wall stands at
    /// memory and `/tmp` together.
    pub fn limit(&self, now: &Limits, before: Option<&Limits>) -> io::Result<()> {
        let wall = |l: &Limits| l.memory_bytes.saturating_add(l.tmp_bytes);
        let changed = |get: &dyn Fn(&Limits) -> u64| before.is_none_or(|b| get(b) != get(now));
        if changed(&wall) {
            self.limit_memory(wall(now), before.is_some_and(|b| wall(now) > wall(b)))?;
        }
        if changed(&|l| u64::from(l.cpu_millis)) {
            self.limit_cpu(now.cpu_millis, before.map(|b| b.cpu_millis))?;
        }
        if changed(&|l| u64::from(l.pids)) {
            // The init counts too, and must always be able to start something.
            self.write(Need::Pids, "pids.max", "pids.max", &(u64::from(now.pids) + 1).to_string())?;
        }
        Ok(())
    }

    fn limit_memory(&self, bytes: u64, up: bool) -> io::Result<()> {
        let bytes = bytes.to_string();
        let with_swap = || match self.write(
            Need::Memory,
            "memory.memsw.limit_in_bytes",
            "memory.swap.max",
            if self.memory_version() == Some(Version::One) { &bytes } else { "0" },
        ) {
            // The kernel was built or started without accounting for swap.
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        };
        // Version 1 wants memory ≤ memory + swap at every moment.
        if up {
            with_swap()?;
        }
        self.write(Need::Memory, "memory.limit_in_bytes", "memory.max", &bytes)?;
        if up { Ok(()) } else { with_swap() }
    }

    fn memory_version(&self) -> Option<Version> {
        self.all.layout.place(Need::Memory).map(|p| p.version)
    }

    fn limit_cpu(&self, millis: u32, before: Option<u32>) -> io::Result<()> {
        let (quota, period) = quota(millis);
        let Some((version, _)) = self.file(Need::Cpu, "", "") else { return Ok(()) };
        if version == Version::Two {
            return self.write(Need::Cpu, "", "cpu.max", &format!("{quota} {period}"));
        }
        if before.is_none_or(|b| quota_period(b) != period) {
            self.write(Need::Cpu, "cpu.cfs_period_us", "", &period.to_string())?;
        }
        self.write(Need::Cpu, "cpu.cfs_quota_us", "", &quota.to_string())
    }

    /// Stops or continues everything inside; by one write.
    pub fn freeze(&self, on: bool) -> io::Result<()> {
        let Some(file) = &self.freeze else { return Err(io::Error::from(io::ErrorKind::Unsupported)) };
        let version = self.all.layout.place(Need::Freeze).map(|p| p.version);
        let text: &[u8] = match (version, on) {
            (Some(Version::One), true) => b"FROZEN",
            (Some(Version::One), false) => b"THAWED",
            (_, true) => b"1",
            (_, false) => b"0",
        };
        file.write_all_at(text, 0)
    }

    pub fn memory_bytes(&self) -> u64 {
        number(&self.usage, "")
    }

    /// Cached files, which the kernel drops before it kills.
    pub fn cached_bytes(&self) -> u64 {
        let Some((version, file)) = self.file(Need::Memory, "memory.stat", "memory.stat") else { return 0 };
        let text = self.all.files.read(&file).unwrap_or_default();
        let names = if version == Version::One {
            ["total_active_file ", "total_inactive_file "]
        } else {
            ["active_file ", "inactive_file "]
        };
        names.iter().map(|n| field(&text, n)).sum()
    }

    pub fn oom_kills(&self) -> u64 {
        self.counted(&self.kills, Need::Memory, ["memory.oom_control", "memory.events"], "oom_kill ")
    }

    /// From the open file; a group that was found instead of made has none.
    fn counted(&self, open: &Option<File>, need: Need, [one, two]: [&str; 2], label: &str) -> u64 {
        if open.is_some() {
            return number(open, label);
        }
        let Some((_, file)) = self.file(need, one, two) else { return 0 };
        self.all.files.read(&file).map_or(0, |text| field(&text, label))
    }

    pub fn measure(&self) -> Measured {
        let version = self.all.layout.place(Need::Usage).map(|p| p.version);
        let cpu_us = match version {
            Some(Version::One) => number(&self.cpu, "") / 1000,
            _ => number(&self.cpu, "usage_usec "),
        };
        let pids = self.counted(&self.pids, Need::Pids, ["pids.current", "pids.current"], "");
        let processes = u32::try_from(pids.saturating_sub(1)).unwrap_or(u32::MAX);
        let memory_bytes = self.memory_bytes();
        let memory_max_bytes = number(&self.usage_max, "").max(memory_bytes);
        Measured { memory_bytes, memory_max_bytes, cpu_us, processes, oom_kills: self.oom_kills() }
    }

    /// What an init needs to join: the version 2 folder to be born in, and the version 1 files to write itself into.
    pub fn joins(&self) -> io::Result<(Option<File>, Vec<File>)> {
        let (mut own, mut others) = (None, Vec::new());
        for dir in &self.dirs {
            let two = self.all.layout.unified.as_deref().is_some_and(|u| dir.starts_with(u));
            if two {
                own = Some(File::open(dir)?);
            } else {
                others.push(std::fs::OpenOptions::new().write(true).open(dir.join("cgroup.procs"))?);
            }
        }
        Ok((own, others))
    }

    /// Kills whatever is in it, from outside. For groups whose init nobody knows any more.
    pub fn kill(&self) {
        for dir in &self.dirs {
            let _ = self.all.files.write(&dir.join("freezer.state"), "THAWED");
            if self.all.files.write(&dir.join("cgroup.kill"), "1").is_ok() {
                continue;
            }
            let pids = self.all.files.read(&dir.join("cgroup.procs")).unwrap_or_default();
            for pid in pids.lines().filter_map(|l| l.parse::<i32>().ok()).filter(|p| *p > 1) {
                // SAFETY: integers only; the process is in a group of ours.
                unsafe { libc::kill(pid, libc::SIGKILL) };
            }
        }
    }

    /// A group that is there already, left by an earlier life.
    pub fn found(all: &Arc<Hierarchies>, name: &str) -> Group {
        let dirs = all.parents().iter().map(|p| p.join(name)).collect();
        Group {
            all: all.clone(),
            name: name.to_owned(),
            dirs,
            freeze: None,
            usage: None,
            usage_max: None,
            cpu: None,
            pids: None,
            kills: None,
        }
    }

    /// Success proves that nothing is left in it.
    pub fn remove(&self) -> io::Result<()> {
        for dir in &self.dirs {
            let mut tries = 0;
            loop {
                match self.all.files.remove(dir) {
                    Ok(()) => break,
                    Err(e) if e.kind() == io::ErrorKind::NotFound => break,
                    Err(e) if tries == REMOVE_TRIES => {
                        return Err(io::Error::new(e.kind(), format!("remove control group {}: {e}", dir.display())));
                    }
                    Err(_) => std::thread::sleep(Duration::from_micros(100 * u64::from(tries.min(50)) + 50)),
                }
                tries += 1;
            }
        }
        Ok(())
    }

    pub fn name(&self) -> &str {
        &self.name
    }
}

fn quota_period(millis: u32) -> u64 {
    quota(millis).1
}

/// Quota and period in microseconds for a share in thousandths of a CPU.
fn quota(millis: u32) -> (u64, u64) {
    let per = |period: u64| u64::from(millis) * period / 1000;
    let period = if per(PERIOD_US) >= QUOTA_US_MIN { PERIOD_US } else { LONG_PERIOD_US };
    (per(period).max(QUOTA_US_MIN), period)
}

fn number(file: &Option<File>, label: &str) -> u64 {
    let mut text = [0; 256];
    let n = file.as_ref().and_then(|f| f.read_at(&mut text, 0).ok()).unwrap_or(0);
    std::str::from_utf8(&text[..n]).map_or(0, |t| field(t, label))
}

/// The number after `label` at the start of a line.
fn field(text: &str, label: &str) -> u64 {
    text.lines().find_map(|l| l.strip_prefix(label)).and_then(|n| n.trim().parse().ok()).unwrap_or(0)
}
