//! Disks for the queue's tests: one that stops the process at a step, one that is slow or fails, one whose power can be cut.

use crate::queue::disk::{Disk, Kept, Machine};
use std::{io, path::Path, sync::Arc};

/// The machine's disk, with something before and after what is done to it.
pub struct Watched<W>(pub Arc<W>);

/// What is done, by the name that its kill points have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Create,
    Write,
    Sync,
    Rename,
    SyncFolder,
    Remove,
}

pub trait Watch: Send + Sync + 'static {
    /// An error is what the disk answers.
    fn before(&self, act: Act, path: &Path) -> io::Result<()>;
    fn after(&self, _act: Act, _path: &Path) {}
}

struct File<W> {
    inner: Arc<dyn Kept>,
    path: std::path::PathBuf,
    watch: Arc<W>,
}

impl<W: Watch> Watched<W> {
    fn around<T>(watch: &W, act: Act, path: &Path, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        watch.before(act, path)?;
        let done = work()?;
        watch.after(act, path);
        Ok(done)
    }
}

impl<W: Watch> Disk for Watched<W> {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn Kept>> {
        let inner = Self::around(&self.0, Act::Create, path, || Machine.create(path))?;
        Ok(Arc::new(File { inner, path: path.to_owned(), watch: self.0.clone() }))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Self::around(&self.0, Act::Rename, to, || Machine.rename(from, to))
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        Self::around(&self.0, Act::Remove, path, || Machine.remove(path))
    }
    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        Self::around(&self.0, Act::SyncFolder, path, || Machine.sync_folder(path))
    }
}

impl<W: Watch> Kept for File<W> {
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        Watched::around(&*self.watch, Act::Write, &self.path, || self.inner.write_at(bytes, at))
    }
    fn sync(&self) -> io::Result<()> {
        Watched::around(&*self.watch, Act::Sync, &self.path, || self.inner.sync())
    }
}
