//! Control groups: what bounds an instance's memory, CPU and processes, stops it and counts what it used.
//!
//! Three worlds exist: version 1 (a tree per controller), version 2 (one tree), and hybrids that keep the controllers in version 1
//! and have an empty version 2 tree beside them. Each need (memory, cpu, pids, freeze, usage of CPU) is therefore placed on its own,
//! in version 2 where that offers it. All file operations go through [`Files`], so that the version 2 controllers, which no machine
//! of ours mounts, are tested over a recording double.

#[cfg(test)]
mod double;
mod group;
mod layout;

pub use group::Group;
pub use layout::{Layout, Need, Version};

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The few operations that a cgroup file system knows.
pub trait Files: Send + Sync {
    fn make(&self, dir: &Path) -> io::Result<()>;
    fn remove(&self, dir: &Path) -> io::Result<()>;
    fn write(&self, file: &Path, text: &str) -> io::Result<()>;
    fn read(&self, file: &Path) -> io::Result<String>;
    /// Names of the groups in a group.
    fn groups(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// A kept descriptor for the hot paths; `None` where there is no real file.
    fn open(&self, file: &Path, write: bool) -> io::Result<Option<File>>;
}

/// The kernel's own.
pub struct Kernel;

impl Files for Kernel {
    fn make(&self, dir: &Path) -> io::Result<()> {
        std::fs::create_dir(dir)
    }
    fn remove(&self, dir: &Path) -> io::Result<()> {
        std::fs::remove_dir(dir)
    }
    fn write(&self, file: &Path, text: &str) -> io::Result<()> {
        use std::io::Write;
        std::fs::OpenOptions::new().write(true).open(file)?.write_all(text.as_bytes())
    }
    fn read(&self, file: &Path) -> io::Result<String> {
        std::fs::read_to_string(file)
    }
    fn groups(&self, dir: &Path) -> io::Result<Vec<String>> {
        let entries = std::fs::read_dir(dir)?.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir()));
        Ok(entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect())
    }
    fn open(&self, file: &Path, write: bool) -> io::Result<Option<File>> {
        std::fs::OpenOptions::new().read(!write).write(write).open(file).map(Some)
    }
}

/// The groups of one platform: a parent in every hierarchy in use, below the platform's own group and named after its folder, so
/// that several platforms get along.
pub struct Hierarchies {
    pub(crate) files: Arc<dyn Files>,
    pub(crate) layout: Layout,
    pub(crate) name: String,
}

impl Hierarchies {
    /// Makes the parents and caps all instances together. What can't be had is left out of the layout, and why is returned.
    pub fn prepare(files: Arc<dyn Files>, layout: Layout, name: &str, memory_total: Option<u64>) -> (Hierarchies, Vec<String>) {
        let mut all = Hierarchies { files, layout, name: name.to_owned() };
        let mut weaker = Vec::new();
        all.delegate(&mut weaker);
        for need in layout::Need::ALL {
            let Some(place) = all.layout.place(need) else {
                weaker.push(format!("{}: {} (no control group hierarchy offers it here)", need.name(), need.without()));
                continue;
            };
            let parent = place.dir.join(name);
            let made =
                all.files.make(&parent).or_else(|e| if e.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(e) });
            if let Err(e) = made.and_then(|()| all.probe(need, &parent)) {
                weaker.push(format!("{}: {} ({} can't be used: {e})", need.name(), need.without(), parent.display()));
                all.layout.drop_need(need);
            }
        }
        if let (Some(bytes), Some(place)) = (memory_total, all.layout.place(layout::Need::Memory)) {
            let file = place.dir.join(name).join(place.version.memory_limit());
            if let Err(e) = all.files.write(&file, &bytes.to_string()) {
                weaker.push(format!("memory of all instances together: {} not written: {e}", file.display()));
            }
        }
        (all, weaker)
    }

    /// Version 2 gives a group's children only what its parent passes on, and only while the parent holds no process itself.
    fn delegate(&self, weaker: &mut Vec<String>) {
        let wanted: Vec<&str> =
            layout::Need::ALL.iter().filter_map(|n| self.layout.place(*n).and_then(|p| n.controller(p.version))).collect();
        let Some(own) = self.layout.unified.as_ref().filter(|_| !wanted.is_empty()) else { return };
        let on = wanted.iter().map(|c| format!("+{c}")).collect::<Vec<_>>().join(" ");
        let control = own.join("cgroup.subtree_control");
        if self.files.write(&control, &on).is_err() {
            let leaf = own.join("platform");
            let moved =
                self.files.make(&leaf).or_else(|e| if e.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(e) });
            let moved = moved.and_then(|()| self.files.write(&leaf.join("cgroup.procs"), &std::process::id().to_string()));
            if let Err(e) = moved.and_then(|()| self.files.write(&control, &on)) {
                weaker.push(format!(
                    "control groups: {} is not delegated to this user ({e}); run under systemd-run --user -p Delegate=yes",
                    own.display()
                ));
            }
        }
        let parent = own.join(&self.name);
        let _ = self.files.make(&parent);
        let _ = self.files.write(&parent.join("cgroup.subtree_control"), &on);
    }

    /// Whether the parent really has the file that the need is about.
    fn probe(&self, need: layout::Need, parent: &Path) -> io::Result<()> {
        let Some(place) = self.layout.place(need) else { return Ok(()) };
        self.files.read(&parent.join(need.file(place.version))).map(drop)
    }

    /// The parents, each once.
    pub fn parents(&self) -> Vec<PathBuf> {
        self.layout.dirs().into_iter().map(|d| d.join(&self.name)).collect()
    }

    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Names of all groups of instances, in any hierarchy.
    pub fn existing(&self) -> Vec<String> {
        let mut names: Vec<_> = self.parents().iter().flat_map(|p| self.files.groups(p).unwrap_or_default()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}
