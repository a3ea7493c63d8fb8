//! What a platform may not leave behind when it has gone: processes, mounts and cgroups that know its state directory.

use std::{fs, path::Path};

/// One line for each thing left behind. `group` is the name that the platform gives its cgroups, when it said one.
pub fn of(dir: &Path, group: Option<&str>) -> Vec<String> {
    let dir = dir.to_string_lossy();
    let mut found = processes(&dir);
    if let Ok(mounts) = fs::read_to_string("/proc/self/mountinfo") {
        found.extend(mounts.lines().filter(|l| l.contains(&*dir)).map(|l| format!("mount left behind: {l}")));
    }
    if let Some(group) = group {
        cgroups(Path::new("/sys/fs/cgroup"), group, &mut found);
    }
    found
}

/// Processes whose arguments, environment or mounts name the directory. A sandbox's own mounts name where they came from.
fn processes(dir: &str) -> Vec<String> {
    let Ok(all) = fs::read_dir("/proc") else { return Vec::new() };
    let numbered = all.flatten().filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok());
    let own = std::process::id();
    numbered
        .filter(|pid| *pid != own)
        .filter_map(|pid| {
            let names = |file: &str| fs::read(format!("/proc/{pid}/{file}")).is_ok_and(|b| contains(&b, dir.as_bytes()));
            let found = ["cmdline", "environ", "mountinfo"].into_iter().find(|f| names(f))?;
            let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            Some(format!("process left behind: {pid} {} (by its {found})", comm.trim()))
        })
        .collect()
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

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|w| w == needle)
}
