//! What a platform may not leave behind when it has gone: processes, mounts and cgroups that know its state directory.

use crate::processes;
use std::{collections::BTreeSet, fs, path::Path};

/// The groups that a running platform's instances are in, by the name of its own parent group. Asked before it is stopped.
pub fn groups_of(platform: u32) -> BTreeSet<String> {
    let files = processes::below(platform).into_iter().filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/cgroup")).ok());
    let own = |text: String| -> Vec<String> {
        let parts = text.lines().flat_map(|l| l.split('/')).filter(|part| part.starts_with("myna-"));
        parts.map(str::to_owned).collect()
    };
    files.flat_map(own).collect()
}

/// One line for each thing left behind.
pub fn of(dir: &Path, groups: &BTreeSet<String>) -> Vec<String> {
    let dir = dir.to_string_lossy();
    let mut found: Vec<String> = processes::all().filter_map(|pid| process(pid, &dir)).collect();
    if let Ok(mounts) = fs::read_to_string("/proc/self/mountinfo") {
        found.extend(mounts.lines().filter(|l| l.contains(&*dir)).map(|l| format!("mount left behind: {l}")));
    }
    if !groups.is_empty() {
        cgroups(Path::new("/sys/fs/cgroup"), groups, &mut found);
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

fn cgroups(at: &Path, groups: &BTreeSet<String>, found: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(at) else { return };
    for entry in entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir())) {
        if groups.contains(&*entry.file_name().to_string_lossy()) {
            found.push(format!("cgroup left behind: {}", entry.path().display()));
        } else {
            cgroups(&entry.path(), groups, found);
        }
    }
}
