//! What the log and the bodies ask of the file system. There is one of it in the product; tests put one in its place that is slow,
//! fails, ends the process at a step, or forgets at a power cut what was not synced.

use std::{
    fs::File,
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
    sync::Arc,
};

pub(crate) trait Disk: Send + Sync {
    /// A new file; one of that name from before a crash goes.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn Kept>>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// The names in a folder are on stable storage when this returns.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;
}

pub(crate) trait Kept: Send + Sync {
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()>;
    /// What was written is on stable storage when this returns; a larger size too.
    fn sync(&self) -> io::Result<()>;
}

pub(crate) struct Machine;

impl Disk for Machine {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn Kept>> {
        let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        Ok(Arc::new(file))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }
    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }
}

impl Kept for File {
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.write_all_at(bytes, at)
    }
    fn sync(&self) -> io::Result<()> {
        // Also the size, where it changed: fdatasync leaves out only what isn't needed to read the bytes.
        self.sync_data()
    }
}
