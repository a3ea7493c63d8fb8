//! Bodies that are too large for the log: a file each, written and synced before the log speaks of it.

use super::index::checksum;
use crate::Error;
use bytes::Bytes;
use model::InvocationId;
use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

#[derive(Clone)]
pub(super) struct Bodies(PathBuf);

impl Bodies {
    pub(super) fn open(folder: &Path) -> Result<Self, Error> {
        let path = folder.join("bodies");
        std::fs::DirBuilder::new().mode(0o700).recursive(true).create(&path).map_err(Error::io("create", &path))?;
        Ok(Self(path))
    }

    /// Its checksum; on stable storage when this returns.
    pub(super) fn write(&self, id: InvocationId, body: &[u8]) -> io::Result<u32> {
        let path = self.path(id);
        let written = File::options().write(true).create_new(true).mode(0o600).open(&path).and_then(|mut file| {
            file.write_all(body)?;
            file.sync_all()?;
            File::open(&self.0)?.sync_all()
        });
        written.inspect_err(|_| self.remove(id))?;
        Ok(checksum(id, body))
    }

    pub(super) fn read(&self, id: InvocationId) -> io::Result<Bytes> {
        std::fs::read(self.path(id)).map(Bytes::from)
    }

    pub(super) fn remove(&self, id: InvocationId) {
        if let Err(error) = std::fs::remove_file(self.path(id))
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%id, "the body of an ended event stays: {error}");
        }
    }

    /// Every body that is there, and whose it is.
    pub(super) fn all(&self) -> io::Result<Vec<InvocationId>> {
        let names = std::fs::read_dir(&self.0)?.map(|entry| entry.map(|e| e.file_name()));
        let names = names.collect::<io::Result<Vec<_>>>()?;
        Ok(names.iter().filter_map(|n| n.to_str()?.parse().ok().map(InvocationId)).collect())
    }

    fn path(&self, id: InvocationId) -> PathBuf {
        self.0.join(id.to_string())
    }
}
