//! What this machine can do for process sandboxes, for `myna doctor`.

use crate::cgroup::{Layout, Need, Version};
use std::fs;

/// One thing that was looked at.
#[derive(Clone, Debug)]
pub struct Finding {
    pub name: &'static str,
    pub ok: bool,
    /// Without it no function starts at all.
    pub vital: bool,
    pub detail: String,
    /// What would mend it.
    pub remedy: Option<&'static str>,
}

/// Looks at everything; changes nothing.
pub fn probe() -> Vec<Finding> {
    let layout = Layout::of_this_process();
    let mut findings = vec![root(), user_namespaces(), seccomp(), descriptors(), kernel()];
    let names = ["cgroup memory", "cgroup cpu", "cgroup pids", "cgroup freezer", "cgroup cpu accounting"];
    for (need, name) in Need::ALL.into_iter().zip(names) {
        let place = layout.place(need);
        let usable = place.is_some_and(|p| rustix::fs::access(&p.dir, rustix::fs::Access::WRITE_OK).is_ok());
        let at = place.map_or("no hierarchy offers it".into(), |p| format!("{} at {}", version(p.version), p.dir.display()));
        let detail = if usable { at } else { format!("{}: {at}", need.without()) };
        let remedy = "run as root, or let systemd delegate a group: systemd-run --user --scope -p Delegate=yes myna up";
        findings.push(Finding { name, ok: usable, vital: false, detail, remedy: (!usable).then_some(remedy) });
    }
    findings
}

fn version(version: Version) -> &'static str {
    match version {
        Version::One => "version 1",
        Version::Two => "version 2",
    }
}

fn root() -> Finding {
    match privileged(crate::Config::new("").uid_base, 1) {
        Ok(()) => Finding {
            name: "user ids",
            ok: true,
            vital: false,
            detail: "every instance gets user ids of its own".into(),
            remedy: None,
        },
        Err(why) => Finding {
            name: "user ids",
            ok: false,
            vital: false,
            detail: format!("all instances share this user's id: {why}"),
            remedy: Some("run as root"),
        },
    }
}

/// Whether instances can have ids of their own; if not, why.
pub(crate) fn privileged(base: u32, pairs: u32) -> Result<(), String> {
    const NEEDED: u64 = 1 << 21 | 1 << 6 | 1 << 7;
    let status = fs::read_to_string("/proc/self/status").map_err(|e| format!("read /proc/self/status: {e}"))?;
    let effective =
        status.lines().find_map(|l| l.strip_prefix("CapEff:")).and_then(|c| u64::from_str_radix(c.trim(), 16).ok()).unwrap_or(0);
    if !rustix::process::geteuid().is_root() || effective & NEEDED != NEEDED {
        return Err("not root".into());
    }
    let last = u64::from(base) + 2 * u64::from(pairs);
    for file in ["/proc/self/uid_map", "/proc/self/gid_map"] {
        let map = fs::read_to_string(file).map_err(|e| format!("read {file}: {e}"))?;
        let covers = map.lines().any(|l| {
            let n: Vec<u64> = l.split_whitespace().filter_map(|n| n.parse().ok()).collect();
            matches!(n[..], [from, _, count] if from <= u64::from(base) && last < from + count)
        });
        if !covers {
            return Err(format!("{file} doesn't cover ids {base} to {last}"));
        }
    }
    Ok(())
}

fn user_namespaces() -> Finding {
    let read = |path: &str| fs::read_to_string(path).ok().and_then(|t| t.trim().parse::<u64>().ok());
    let most = read("/proc/sys/user/max_user_namespaces");
    let allowed = read("/proc/sys/kernel/unprivileged_userns_clone") != Some(0)
        && (read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") != Some(1) || rustix::process::geteuid().is_root());
    let ok = most.is_some_and(|n| n > 0) && allowed;
    let detail = most.map_or("the kernel has none".into(), |n| {
        format!("at most {n}; {}", if allowed { "allowed" } else { "forbidden to plain users" })
    });
    let remedy = "sysctl user.max_user_namespaces=100000 kernel.unprivileged_userns_clone=1 kernel.apparmor_restrict_unprivileged_userns=0";
    Finding { name: "user namespaces", ok, vital: true, detail, remedy: (!ok).then_some(remedy) }
}

fn seccomp() -> Finding {
    let ok = fs::read_to_string("/proc/self/status").is_ok_and(|s| s.contains("\nSeccomp:"));
    let detail = if ok { "system call filters work" } else { "the kernel has no system call filters" };
    Finding {
        name: "seccomp",
        ok,
        vital: true,
        detail: detail.into(),
        remedy: (!ok).then_some("use a kernel with CONFIG_SECCOMP_FILTER"),
    }
}

fn descriptors() -> Finding {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let hard = limit.maximum.unwrap_or(u64::MAX);
    let instances = hard / model::limits::DESCRIPTORS_PER_INSTANCE;
    let detail = format!("{hard} open files at most: room for about {instances} instances");
    Finding {
        name: "descriptors",
        ok: instances >= 1000,
        vital: false,
        detail,
        remedy: (instances < 1000).then_some("raise the hard limit: ulimit -Hn 65536"),
    }
}

fn kernel() -> Finding {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split(['.', '-']).map_while(|n| n.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let ok = version >= (5, 14);
    Finding { name: "kernel", ok, vital: true, detail: release, remedy: (!ok).then_some("use Linux 5.14 or newer") }
}
