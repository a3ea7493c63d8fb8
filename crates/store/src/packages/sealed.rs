//! How an archive lies on the disk: sealed in a file `archive.sealed`, or as it came in `archive.zip` where nothing is sealed.
//!
//! The key is that of the tenant whose folder it lies in, by the folder's name: of a tenant with a long name only that is known here.

use super::{ARCHIVE, Inner, Problem, SEALED};
use crate::{
    Error,
    directory::{self, sync_folder},
    hex,
    seal::{self, Opened},
};
use ring::digest::{Context, SHA256, digest};
use std::{
    fs::File,
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// An archive that was accepted under an earlier, higher limit is still read.
const ARCHIVE_BYTES_READ: u64 = 1 << 30;

type Archive = (Box<dyn Read + Send>, u64);
/// A tenant's folder, a digest, and where the archive lies.
pub(crate) type Stored = (String, String, PathBuf);

fn place_of(tenant_folder: &str, digest: &str) -> String {
    format!("{tenant_folder}/{digest}")
}

impl Inner {
    /// The archive as it came, and how long it is.
    pub(super) fn read(&self, tenant: &str, digest: &str, place: &Path) -> io::Result<Archive> {
        self.read_of(&crate::folder_name(tenant), digest, place)
    }

    fn read_of(&self, folder: &str, digest: &str, place: &Path) -> io::Result<Archive> {
        match directory::open_private(&place.join(SEALED)) {
            Ok(file) => {
                let bytes = seal::plain_bytes(file.metadata()?.len());
                let opened = Opened::new(self.seal.clone(), file, folder, &place_of(folder, digest))?;
                Ok((Box::new(opened), bytes))
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound && !self.seal.complete() => {
                let file = directory::open_private(&place.join(ARCHIVE))?;
                let bytes = file.metadata()?.len();
                Ok((Box::new(file), bytes))
            }
            Err(e) => Err(e),
        }
    }

    pub(super) fn read_whole(&self, folder: &str, digest: &str, place: &Path) -> io::Result<Vec<u8>> {
        let (mut reader, bytes) = self.read_of(folder, digest, place)?;
        let most = self.limits.archive_bytes_max.max(ARCHIVE_BYTES_READ);
        if bytes > most {
            return Err(io::Error::other(format!("it has {bytes} bytes, and no archive has more than {most}")));
        }
        let mut archive = Vec::with_capacity(usize::try_from(bytes).unwrap_or(0));
        reader.read_to_end(&mut archive)?;
        Ok(archive)
    }

    /// Whether the archive is the one that was deployed. Read piece by piece.
    pub(super) fn is_archive_whole(&self, folder: &str, wanted: &str, place: &Path) -> io::Result<bool> {
        let (mut reader, _) = self.read_of(folder, wanted, place)?;
        let (mut sum, mut piece) = (Context::new(&SHA256), vec![0; 1 << 16]);
        loop {
            match reader.read(&mut piece)? {
                0 => return Ok(hex(sum.finish().as_ref()) == wanted),
                n => sum.update(&piece[..n]),
            }
        }
    }

    /// How long the archive at a place is, if there is one.
    pub(super) fn archive_bytes(&self, place: &Path) -> Option<u64> {
        match std::fs::symlink_metadata(place.join(SEALED)) {
            Ok(meta) => Some(seal::plain_bytes(meta.len())),
            Err(_) if self.seal.complete() => None,
            Err(_) => std::fs::symlink_metadata(place.join(ARCHIVE)).ok().map(|meta| meta.len()),
        }
    }

    /// Write an archive to where it is to lie; on stable storage when this returns.
    pub(super) fn write_archive(&self, folder: &str, wanted: &str, staged: &Path, archive: &[u8]) -> Result<(), Problem> {
        let name = if self.seal.is_on() { SEALED } else { ARCHIVE };
        let failed = |e| Problem::io("write", name, e);
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(staged.join(name)).map_err(failed)?;
        if self.seal.is_on() {
            let sealed = seal::seal_stream(&self.seal, folder, &place_of(folder, wanted), archive, &mut file);
            let written = sealed.map_err(|e| failed(io::Error::other(e.to_string())))?;
            written.map_err(failed)?;
        } else {
            file.write_all(archive).map_err(failed)?;
        }
        file.sync_all().and_then(|()| sync_folder(staged)).map_err(failed)
    }

    /// Seal what lies there plain, or sealed by an older key. One archive after the other, each by a rename.
    pub(super) fn seal_again(&self) -> Result<(), Error> {
        if !self.seal.pending() {
            return Ok(());
        }
        directory::two_levels(&self.folder)?.iter().try_for_each(|archive| self.seal_one(archive))
    }

    /// One archive, by its tenant's folder, its digest and its place; one that was collected meanwhile is done.
    pub(super) fn seal_one(&self, (folder, wanted, place): &Stored) -> Result<(), Error> {
        let (plain, sealed) = (place.join(ARCHIVE), place.join(SEALED));
        if self.is_stale(folder, &sealed) {
            let archive = match self.read_whole(folder, wanted, place) {
                Ok(archive) if hex(digest(&SHA256, &archive).as_ref()) == *wanted => archive,
                _ if !place.is_dir() => return Ok(()),
                // It is named among what is damaged when it is needed.
                Ok(_) | Err(_) => {
                    self.state().damaged.push(format!("package {wanted} of {folder}: its archive can't be read"));
                    return Ok(());
                }
            };
            let mut bytes = Vec::with_capacity(archive.len() + archive.len() / 1024 + 1024);
            let place_name = place_of(folder, wanted);
            seal::seal_stream(&self.seal, folder, &place_name, &archive, &mut bytes)?.map_err(Error::io("seal", &sealed))?;
            match directory::write_whole(&sealed, &bytes) {
                Err(_) if !place.is_dir() => return Ok(()),
                written => written?,
            }
        }
        match std::fs::remove_file(&plain) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", &plain)(e)),
            _ => Ok(()),
        }
    }

    /// Whether the sealed file is missing, or its first piece is of an older key; all its pieces are of one.
    fn is_stale(&self, folder: &str, sealed: &Path) -> bool {
        let mut head = [0; seal::OVERHEAD];
        let read = directory::open_private(sealed).and_then(|mut file| file.read_exact(&mut head));
        read.is_err() || self.seal.stale(folder, &head)
    }
}
