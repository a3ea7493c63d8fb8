//! `myna doctor`: what this machine can do. It needs no running platform: what the composition finds by trying (a sandbox, the
//! language runtimes) comes in as a function.

use crate::{
    admin::wire::{Finding, FindingState},
    cli::{
        Ctx,
        problem::{Done, Exit, Problem},
    },
};
use std::{fs, net::TcpListener, path::Path};

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  myna doctor
  myna doctor --json | jq '.[] | select(.state != \"ok\")'

It ends with 1 when something is missing that `myna up` needs.")]
pub struct Args {}

pub fn run(ctx: &Ctx, _args: Args, findings: impl FnOnce() -> Vec<Finding>) -> Done {
    let findings = findings();
    if ctx.out.json {
        ctx.out.json(&findings);
    } else {
        let rows: Vec<Vec<String>> = findings.iter().map(row).collect();
        ctx.out.table(&["what", "state", "found", "what would mend it"], &rows);
    }
    if findings.iter().any(|f| f.state == FindingState::Missing) { Err(Problem::silent(Exit::Failed)) } else { Ok(()) }
}

fn row(f: &Finding) -> Vec<String> {
    let state = match f.state {
        FindingState::Ok => "ok",
        FindingState::Weaker => "weaker",
        FindingState::Absent => "absent",
        FindingState::Missing => "MISSING",
    };
    vec![f.what.clone(), state.to_string(), f.detail.clone(), f.mend.clone().unwrap_or_default()]
}

/// What can be read off the machine without trying anything.
pub fn machine() -> Vec<Finding> {
    vec![kernel(), user(), cgroups(), namespaces(), descriptors(), watches(), port(9000), kvm()]
}

fn finding(what: &str, state: FindingState, detail: impl Into<String>, mend: Option<&str>) -> Finding {
    Finding { what: what.to_string(), state, detail: detail.into(), mend: mend.map(str::to_string) }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_string()
}

fn kernel() -> Finding {
    let release = read("/proc/sys/kernel/osrelease");
    let mut parts = release.split(['.', '-']).map(|p| p.parse::<u32>().unwrap_or(0));
    let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    // clone3 with CLONE_CLEAR_SIGHAND and openat2 are of 5.5 and 5.6; mount_setattr of 5.12.
    let state = if version >= (5, 12) { FindingState::Ok } else { FindingState::Missing };
    finding("kernel", state, format!("Linux {release}"), (state != FindingState::Ok).then_some("Linux 5.12 or newer"))
}

fn user() -> Finding {
    match rustix::process::geteuid().is_root() {
        true => finding("user", FindingState::Ok, "root", None),
        false => finding("user", FindingState::Weaker, "a plain user: all instances share one user id, and limits depend on what cgroups are delegated", Some("run as root for full isolation")),
    }
}

fn cgroups() -> Finding {
    let mounts = read("/proc/self/mountinfo");
    let has = |kind: &str| mounts.lines().any(|l| l.split(" - ").nth(1).is_some_and(|r| r.split(' ').next() == Some(kind)));
    let (v1, v2) = (has("cgroup"), has("cgroup2"));
    let controllers = read("/sys/fs/cgroup/cgroup.controllers");
    match (v1, v2) {
        (true, true) => finding("cgroups", FindingState::Ok, "hybrid: limits by version 1", None),
        (true, false) => finding("cgroups", FindingState::Ok, "version 1", None),
        (false, true) if ["memory", "cpu", "pids"].iter().all(|c| controllers.split(' ').any(|h| h == *c)) => finding("cgroups", FindingState::Ok, "version 2", None),
        (false, true) => finding("cgroups", FindingState::Weaker, format!("version 2 with only: {controllers}"), Some("delegate memory, cpu and pids to this user")),
        (false, false) => finding("cgroups", FindingState::Weaker, "none: no memory, CPU and process limits", Some("mount -t cgroup2 none /sys/fs/cgroup")),
    }
}

fn namespaces() -> Finding {
    let missing: Vec<&str> = ["user", "mnt", "pid", "net", "ipc", "uts"].into_iter().filter(|n| !Path::new("/proc/self/ns").join(n).exists()).collect();
    let max = read("/proc/sys/user/max_user_namespaces");
    let forbidden = !rustix::process::geteuid().is_root() && (read("/proc/sys/kernel/unprivileged_userns_clone") == "0" || max == "0");
    if !missing.is_empty() {
        return finding("namespaces", FindingState::Missing, format!("the kernel lacks: {}", missing.join(", ")), Some("a kernel with CONFIG_NAMESPACES"));
    }
    if forbidden {
        return finding("namespaces", FindingState::Missing, "user namespaces are forbidden to plain users", Some("sysctl -w kernel.unprivileged_userns_clone=1 user.max_user_namespaces=10000"));
    }
    finding("namespaces", FindingState::Ok, "user, mount, pid, net, ipc, uts", None)
}

fn descriptors() -> Finding {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let hard = limit.maximum.unwrap_or(u64::MAX);
    let instances = hard / model::limits::DESCRIPTORS_PER_INSTANCE;
    let state = if hard >= 20_000 { FindingState::Ok } else { FindingState::Weaker };
    let mend = (state != FindingState::Ok).then_some("raise it: ulimit -Hn 65536, or LimitNOFILE= of the service");
    finding("open files", state, format!("{hard} at most: about {instances} instances"), mend)
}

fn watches() -> Finding {
    let watches = read("/proc/sys/fs/inotify/max_user_watches").parse::<u64>().unwrap_or(0);
    let state = if watches >= 8_192 { FindingState::Ok } else { FindingState::Weaker };
    finding("file watches", state, format!("{watches} folders at most, for myna dev"), (state != FindingState::Ok).then_some("sysctl -w fs.inotify.max_user_watches=65536"))
}

fn port(number: u16) -> Finding {
    let what = format!("port {number}");
    match TcpListener::bind(("127.0.0.1", number)) {
        Ok(_) => finding(&what, FindingState::Ok, "free", None),
        Err(error) => finding(&what, FindingState::Weaker, format!("{error}; perhaps by a platform that runs"), Some("myna up --listen 127.0.0.1:PORT")),
    }
}

/// Opening the device proves little: some hosts offer it and fail in the guest. Only a booted guest would prove it.
fn kvm() -> Finding {
    let opens = fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok();
    if opens { finding("kvm", FindingState::Ok, "/dev/kvm opens; not needed by the process sandbox", None) } else { finding("kvm", FindingState::Absent, "not to be had; not needed by the process sandbox", None) }
}
