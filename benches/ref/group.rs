//! Control groups of the references that start processes: one for all of them, as a platform has, so that both get the same share of a
//! machine that is busy otherwise; below it one for each, with one processor. Frozen: a change to this file voids every figure
//! measured against it.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

pub struct Groups {
    parent: PathBuf,
    unified: bool,
    count: AtomicU64,
}

impl Drop for Groups {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.parent);
    }
}

impl Groups {
    /// None where there is no hierarchy for processors.
    pub fn new() -> io::Result<Option<Groups>> {
        let places = [("/sys/fs/cgroup/cpu", "cpu.cfs_quota_us", false), ("/sys/fs/cgroup", "cgroup.subtree_control", true)];
        let Some((at, _, unified)) = places.into_iter().find(|(at, file, _)| Path::new(at).join(file).exists()) else {
            return Ok(None);
        };
        let parent = Path::new(at).join(format!("myna-bench-{}", std::process::id()));
        fs::create_dir(&parent)?;
        if unified {
            fs::write(parent.join("cgroup.subtree_control"), "+cpu")?;
        }
        Ok(Some(Groups { parent, unified, count: AtomicU64::new(0) }))
    }

    /// A fresh one, and the file that a process joins it by.
    pub fn make(&self) -> io::Result<(PathBuf, File)> {
        let made = self.parent.join(self.count.fetch_add(1, Ordering::Relaxed).to_string());
        fs::create_dir(&made)?;
        let (file, quota) = if self.unified { ("cpu.max", "100000 100000") } else { ("cpu.cfs_quota_us", "100000") };
        File::options().write(true).open(made.join(file))?.write_all(quota.as_bytes())?;
        let joins = File::options().write(true).open(made.join("cgroup.procs"))?;
        Ok((made, joins))
    }
}
