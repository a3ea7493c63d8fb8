//! Looking at processes from outside, as the host sees them.

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs, thread,
    time::{Duration, Instant},
};

const SOON: Duration = Duration::from_secs(10);

/// The processes that have this text in their arguments: what a sandboxed process calls itself can be seen from outside.
pub fn with(marker: &str) -> Vec<u32> {
    all().filter(|pid| mentions(*pid, &["cmdline"], marker).is_some()).collect()
}

/// The parents of those processes.
pub fn parents_of(marker: &str) -> Vec<u32> {
    with(marker).into_iter().filter_map(parent).collect()
}

pub fn kill(pid: u32, signal: Signal) -> Result<()> {
    let pid = Pid::from_raw(pid.try_into()?).context("a process id is never 0")?;
    kill_process(pid, signal).with_context(|| format!("can't signal process {pid:?}"))
}

/// Every process but this one.
pub(crate) fn all() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|e| e.file_name().to_str()?.parse().ok()).filter(|pid| *pid != std::process::id())
}

/// The first of these files below /proc/PID that contains the text.
pub(crate) fn mentions<'f>(pid: u32, files: &[&'f str], text: &str) -> Option<&'f str> {
    let has = |file: &str| {
        fs::read(format!("/proc/{pid}/{file}")).is_ok_and(|bytes| bytes.windows(text.len()).any(|w| w == text.as_bytes()))
    };
    files.iter().copied().find(|f| has(f))
}

/// The processes that this one started itself.
pub fn children_of(pid: u32) -> Vec<u32> {
    all().filter(|p| parent(*p) == Some(pid)).collect()
}

/// The processes that this one and its descendants started.
pub fn below(pid: u32) -> Vec<u32> {
    let family: Vec<(u32, u32)> = all().filter_map(|p| Some((p, parent(p)?))).collect();
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(&of) = found.get(next) {
        found.extend(family.iter().filter(|(_, parent)| *parent == of).map(|(child, _)| *child));
        next += 1;
    }
    found.split_off(1)
}

fn parent(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|l| l.strip_prefix("PPid:"))?.trim().parse().ok()
}

/// The processes that have this text in their environment, which their parents gave them.
pub fn with_environment(marker: &str) -> Vec<u32> {
    all().filter(|pid| mentions(*pid, &["environ"], marker).is_some()).collect()
}

/// Whether something becomes true within a while that only a hang outlasts.
pub fn soon(mut is: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + SOON;
    loop {
        if is() {
            return true;
        }
        if Instant::now() > until {
            return false;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Bytes that a process has in memory.
pub fn resident(pid: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib = text.lines().find_map(|l| l.strip_prefix("VmRSS:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.map(|k| k * 1024).with_context(|| format!("no VmRSS for {pid}"))
}

/// Whether a process is there, as a zombie too.
pub fn exists(pid: u32) -> bool {
    fs::exists(format!("/proc/{pid}")).unwrap_or(false)
}
