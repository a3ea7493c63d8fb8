//! A control group of one's own, for a platform that is to be pressed. Version 1 hierarchies, as root; else the test is skipped.

use crate::{Result, skip, soon};
use std::{fs, path::PathBuf};

pub struct Group(PathBuf);

impl Group {
    /// A new group in the hierarchy of that controller.
    pub fn new(controller: &str, name: &str) -> Result<Self> {
        let path = PathBuf::from(format!("/sys/fs/cgroup/{controller}/{name}-{}", std::process::id()));
        fs::create_dir(&path).map_err(|e| skip(format!("can't make the control group {}: {e}", path.display())))?;
        Ok(Self(path))
    }

    pub fn path(&self) -> PathBuf {
        self.0.clone()
    }

    pub fn set(&self, file: &str, value: &str) -> Result<()> {
        fs::write(self.0.join(file), value).map_err(|e| skip(format!("can't write {value} to {file}: {e}")))
    }

    pub fn get(&self, file: &str) -> Result<String> {
        Ok(fs::read_to_string(self.0.join(file))?)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Its last process may be a moment away.
        soon(|| fs::remove_dir(&self.0).is_ok() || !self.0.exists());
    }
}
