//! Bodies that are too large for the log: a file each, written and synced before the log speaks of it.

use super::{disk::Disk, index::checksum};
use crate::{Error, directory, seal::OVERHEAD};
use bytes::Bytes;
use model::InvocationId;
use std::{
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// A file of which so many bytes are expected, plain or sealed.
pub(crate) fn read(path: &Path, bytes: u64) -> io::Result<Bytes> {
    use std::io::Read;
    let mut body = Vec::new();
    let at_most = bytes.saturating_add(OVERHEAD as u64 + 1);
    directory::open_private(path)?.take(at_most).read_to_end(&mut body)?;
    Ok(body.into())
}

#[derive(Clone)]
pub(super) struct Bodies {
    folder: PathBuf,
    disk: Arc<dyn Disk>,
}

impl Bodies {
    pub(super) fn open(folder: &Path, disk: Arc<dyn Disk>) -> Result<Self, Error> {
        let path = folder.join("bodies");
        std::fs::DirBuilder::new().mode(0o700).recursive(true).create(&path).map_err(Error::io("create", &path))?;
        Ok(Self { folder: path, disk })
    }

    /// Its checksum; on stable storage when this returns.
    pub(super) fn write(&self, id: InvocationId, body: &[u8]) -> io::Result<u32> {
        let path = self.path(id);
        let written = self.disk.create(&path).and_then(|file| {
            file.write_at(body, 0)?;
            file.sync()?;
            self.disk.sync_folder(&self.folder)
        });
        written.inspect_err(|_| self.remove(id))?;
        Ok(checksum(id, body))
    }

    /// A body that is `bytes` long; of a file that is longer no more is read than shows that.
    pub(super) fn read(&self, id: InvocationId, bytes: u64) -> io::Result<Bytes> {
        read(&self.path(id), bytes)
    }

    pub(super) fn remove(&self, id: InvocationId) {
        if let Err(error) = self.disk.remove(&self.path(id))
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%id, "the body of an ended event stays: {error}");
        }
    }

    /// Every body that is there, and whose it is.
    pub(super) fn all(&self) -> io::Result<Vec<InvocationId>> {
        let names = std::fs::read_dir(&self.folder)?.map(|entry| entry.map(|e| e.file_name()));
        let names = names.collect::<io::Result<Vec<_>>>()?;
        Ok(names.iter().filter_map(|n| n.to_str()?.parse().ok().map(InvocationId)).collect())
    }

    pub(super) fn path(&self, id: InvocationId) -> PathBuf {
        self.folder.join(id.to_string())
    }
}
