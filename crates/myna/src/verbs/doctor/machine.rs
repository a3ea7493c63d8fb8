//! What concerns the platform and is no sandbox's: the disk, the ports, what `dev` needs, and what would let tenants on one
//! machine learn of each other.

use crate::admin::wire::{Finding, FindingState};
use rustix::fs::{Mode, OFlags};
use std::{
    fs::{self, File},
    io::Write,
    net::TcpListener,
    path::Path,
    time::Instant,
};

pub fn findings() -> Vec<Finding> {
    vec![disk(Path::new(".")), port(9000), watches(), swap(), hyperthreads(), merging(), kvm()]
}

fn finding(what: &str, state: FindingState, detail: impl Into<String>, mend: &str) -> Finding {
    Finding { what: what.to_string(), state, detail: detail.into(), mend: (state != FindingState::Ok).then(|| mend.to_string()) }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_string()
}

/// How long it takes until a write is on stable storage: every change waits for that. The file has no name, so nothing is left.
fn disk(folder: &Path) -> Finding {
    const WRITES: u32 = 5;
    const SLOW_MS: f64 = 50.0;
    let measure = || -> std::io::Result<f64> {
        let mut file =
            File::from(rustix::fs::open(folder, OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR)?);
        let began = Instant::now();
        for _ in 0..WRITES {
            file.write_all(&[0; 4096])?;
            file.sync_data()?;
        }
        Ok(began.elapsed().as_secs_f64() * 1e3 / f64::from(WRITES))
    };
    match measure() {
        Ok(ms) if ms <= SLOW_MS => finding("disk sync", FindingState::Ok, format!("{ms:.1} ms in this folder"), ""),
        Ok(ms) => finding(
            "disk sync",
            FindingState::Weaker,
            format!("{ms:.0} ms in this folder: every change waits that long"),
            "put the state on another disk: myna up --dir",
        ),
        Err(error) => finding(
            "disk sync",
            FindingState::Weaker,
            format!("can't be measured in this folder: {error}"),
            "put the state on another disk: myna up --dir",
        ),
    }
}

fn port(number: u16) -> Finding {
    let what = format!("port {number}");
    match TcpListener::bind(("127.0.0.1", number)) {
        Ok(_) => finding(&what, FindingState::Ok, "free", ""),
        Err(error) => finding(
            &what,
            FindingState::Weaker,
            format!("{error}; perhaps a platform runs already"),
            "another port: myna up --listen 127.0.0.1:PORT",
        ),
    }
}

fn watches() -> Finding {
    let most = read("/proc/sys/fs/inotify/max_user_watches").parse::<u64>().unwrap_or(0);
    let state = if most >= 8_192 { FindingState::Ok } else { FindingState::Weaker };
    finding("file watches", state, format!("{most} folders at most, for myna dev"), "sysctl -w fs.inotify.max_user_watches=65536")
}

/// Memory of a function that was swapped out outlives it, and its limits say less.
fn swap() -> Finding {
    let used = read("/proc/swaps").lines().count() > 1;
    let state = if used { FindingState::Weaker } else { FindingState::Ok };
    finding("swap", state, if used { "on: functions' memory reaches the disk" } else { "off" }, "swapoff -a")
}

fn hyperthreads() -> Finding {
    let shared = read("/sys/devices/system/cpu/smt/active") == "1";
    let state = if shared { FindingState::Weaker } else { FindingState::Ok };
    let detail = if shared { "on: tenants that share a core can measure each other" } else { "off, or not visible" };
    finding(
        "simultaneous threads",
        state,
        detail,
        "if tenants don't trust each other: echo off > /sys/devices/system/cpu/smt/control",
    )
}

/// Equal pages of two tenants that are kept once tell each of them what the other has.
fn merging() -> Finding {
    let on = read("/sys/kernel/mm/ksm/run") == "1";
    let state = if on { FindingState::Weaker } else { FindingState::Ok };
    finding(
        "page merging",
        state,
        if on { "on: tenants can find out equal pages" } else { "off" },
        "echo 2 > /sys/kernel/mm/ksm/run",
    )
}

/// Opening the device proves little: some hosts offer it and fail in the guest.
fn kvm() -> Finding {
    let opens = fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok();
    let state = if opens { FindingState::Ok } else { FindingState::Absent };
    finding(
        "kvm",
        state,
        if opens {
            "/dev/kvm opens; the process sandbox doesn't need it"
        } else {
            "not to be had; the process sandbox doesn't need it"
        },
        "nothing to do now",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_finding_says_what_it_found_and_the_bad_ones_what_mends_them() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let busy = port(taken.local_addr().unwrap().port());
        assert_eq!(busy.state, FindingState::Weaker);
        assert_eq!(disk(Path::new("/proc")).state, FindingState::Weaker);
        for f in findings().into_iter().chain([busy]) {
            assert!(!f.detail.is_empty(), "{f:?}");
            assert_eq!(f.mend.is_some(), f.state != FindingState::Ok, "{f:?}");
        }
    }
}
