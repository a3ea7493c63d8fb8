//! What a platform may not leave behind when it has gone: processes, mounts and cgroups that know its state directory.

use crate::processes;
use std::{fs, path::Path};

/// One line for each thing left behind. `group` is a word in the names of its cgroups, when it said one.
pub fn of(dir: &Path, group: Option<&str>) -> Vec<String> {
    let dir = dir.to_string_lossy();
    let mut found: Vec<String> = processes::all().filter_map(|pid| process(pid, &dir)).collect();
    if let Ok(mounts) = fs::read_to_string("/proc/self/mountinfo") {
        found.extend(mounts.lines().filter(|l| l.contains(&*dir)).map(|l| format!("mount left behind: {l}")));
    }
    if let Some(group) = group {
        cgroups(Path::new("/sys/fs/cgroup"), group, &mut found);
    }
    found
}

/// A process is the platform's when its arguments, environment or mounts name the directory; a sandbox's own mounts name where
/// they came from.
fn process(pid: u32, dir: &str) -> Option<String> {
    let by = processes::mentions(pid, &["cmdline", "environ", "mountinfo"], dir)?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some(format!("process left behind: {pid} {} (known by its {by})", name.trim()))
}

fn cgroups(at: &Path, group: &str, found: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(at) else { return };
    for entry in entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir())) {
        if entry.file_name().to_string_lossy().contains(group) {
            found.push(format!("cgroup left behind: {}", entry.path().display()));
        } else {
            cgroups(&entry.path(), group, found);
        }
    }
}
