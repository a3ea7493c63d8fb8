//! How a package comes to be: staged, moved into place, and made again when what was unpacked may have been lost.

use super::{CODE, Inner, Place, Problem, Refused, archive, extract, policy, settle};
use crate::{
    Error,
    directory::{self, sync_folder},
    hex,
    options::PackageLimits,
};
use bytes::Bytes;
use model::{Fault, Package, TenantId};
use ring::digest::{SHA256, digest};
use rustix::fs::{CWD, Mode, OFlags};
use std::{io, os::unix::fs::DirBuilderExt, path::Path, sync::Arc};

impl Inner {
    pub(super) fn put(&self, tenant: &TenantId, archive: &Bytes) -> Result<Package, Fault> {
        if archive.len() as u64 > self.limits.archive_bytes_max {
            let message = format!("it has {} bytes, and {} are the most", archive.len(), self.limits.archive_bytes_max);
            return Err(Problem::from(Refused::large(message)).into());
        }
        let place = (tenant.clone(), Arc::<str>::from(hex(digest(&SHA256, archive).as_ref())));
        let turn = self.state().busy.entry(place.clone()).or_default().clone();
        let result = {
            // An unpacking that panicked has left only staging behind.
            let _mine = turn.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            self.put_once(&place, archive)
        };
        drop(turn);
        let mut state = self.state();
        if state.busy.get(&place).is_some_and(|turn| Arc::strong_count(turn) == 1) {
            state.busy.remove(&place);
        }
        result.map_err(Fault::from)
    }

    fn put_once(&self, place: &Place, archive: &[u8]) -> Result<Package, Problem> {
        {
            // Under the lock that collection takes: found here, it stays for a while.
            let mut state = self.state();
            state.touched.insert(place.clone(), self.clock.mono());
            if let Some(found) = self.find(&place.0, &place.1) {
                return Ok(found);
            }
        }
        let staged = self.staging.join(uuid::Uuid::new_v4().to_string());
        let made = self.stage(place, &staged, archive).and_then(|bytes| self.publish(&staged, place).map(|()| bytes));
        let bytes = made.inspect_err(|_| {
            // What can't be removed now is swept at the next start.
            let _ = std::fs::remove_dir_all(&staged);
            self.state().touched.remove(place);
        })?;
        let at = self.place(&place.0, &place.1);
        {
            let mut state = self.state();
            state.sizes.insert(at.clone(), bytes);
            state.whole.insert(at.clone());
        }
        self.settler.add(at, bytes);
        self.find(&place.0, &place.1).ok_or_else(|| Problem::io("find", &place.1, io::ErrorKind::NotFound.into()))
    }

    /// Write the package into a folder of its own; how many bytes it takes.
    fn stage(&self, place: &Place, staged: &Path, archive: &[u8]) -> Result<u64, Problem> {
        let entries = archive::read(archive, self.limits.entries_max, self.limits.name_bytes_max)?;
        let plan = policy::plan(&entries, archive.len() as u64, &self.limits)?;
        private_folder(staged).map_err(|e| Problem::io("create", "a staging folder", e))?;
        write_code(&staged.join(CODE), &plan)?;
        self.write_archive(&crate::folder_name(place.0.as_str()), &place.1, staged, archive)?;
        Ok(archive.len() as u64 + plan.bytes())
    }

    fn publish(&self, staged: &Path, place: &Place) -> Result<(), Problem> {
        let target = self.place(&place.0, &place.1);
        let tenant = target.parent().expect("a package lies in its tenant's folder");
        let failed = |e| Problem::io("move into place", &place.1, e);
        match private_folder(tenant) {
            Ok(()) => sync_folder(&self.folder).map_err(failed)?,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(failed(e)),
        }
        if target.exists() {
            // Found incomplete above: the new one takes its place.
            std::fs::remove_dir_all(&target).map_err(failed)?;
        }
        std::fs::rename(staged, &target).and_then(|()| sync_folder(tenant)).map_err(failed)
    }

    /// Make again what was not flushed before the last end, and name what can't be.
    pub(super) fn mend(&self) -> Result<(), Error> {
        for (tenant, digest, place) in directory::two_levels(&self.folder)? {
            if let Some(mark) = settle::settled(&place) {
                self.state().sizes.insert(place, mark.bytes);
                continue;
            }
            match self.unpack_again(&tenant, &digest, &place) {
                Ok(bytes) => {
                    let mut state = self.state();
                    state.sizes.insert(place.clone(), bytes);
                    state.whole.insert(place.clone());
                    drop(state);
                    self.settler.add(place, bytes);
                }
                Err(fault) => {
                    tracing::error!(%tenant, %digest, %fault, "a package is damaged; deploy it again");
                    self.state().damaged.push(format!("package {digest} of {tenant}: {fault}"));
                }
            }
        }
        Ok(())
    }

    /// Unpack an archive that is what was deployed beside what is there, and put it in its place: who has the old folder open keeps
    /// it. How many bytes the package takes.
    pub(super) fn unpack_again(&self, folder: &str, wanted: &str, place: &Path) -> Result<u64, Fault> {
        let failed = |e: io::Error| Fault::internal(format!("can't unpack it again: {e}"));
        let archive = self.read_whole(folder, wanted, place).map_err(failed)?;
        if hex(digest(&SHA256, &archive).as_ref()) != wanted {
            return Err(Fault::internal("its archive has another checksum"));
        }
        // The limits may have been lowered since; what was accepted stays.
        let entries = archive::read(&archive, usize::MAX, usize::from(u16::MAX)).map_err(Problem::from)?;
        let limits = PackageLimits {
            unzipped_bytes_max: u64::MAX,
            ratio_max: u64::MAX,
            depth_max: usize::MAX,
            entries_max: usize::MAX,
            ..self.limits.clone()
        };
        let plan = policy::plan(&entries, archive.len() as u64, &limits).map_err(Problem::from)?;
        let (code, staged) = (place.join(CODE), self.staging.join(uuid::Uuid::new_v4().to_string()));
        private_folder(&staged).map_err(failed)?;
        let moved = write_code(&staged.join(CODE), &plan).map_err(Fault::from).and_then(|()| {
            // What takes the place of the old one is not on stable storage yet.
            match std::fs::remove_file(place.join(super::SETTLED)) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(e)),
                _ => {}
            }
            if code.symlink_metadata().is_ok() {
                std::fs::rename(&code, staged.join("old")).map_err(failed)?;
            }
            std::fs::rename(staged.join(CODE), &code).map_err(failed)
        });
        // What can't be removed now is swept at the next start.
        let _ = std::fs::remove_dir_all(&staged);
        moved?;
        Ok(archive.len() as u64 + plan.bytes())
    }
}

fn write_code(path: &Path, plan: &policy::Plan<'_>) -> Result<(), Problem> {
    let failed = |e: io::Error| Problem::io("create", CODE, e);
    private_folder(path).map_err(failed)?;
    let root =
        rustix::fs::openat(CWD, path, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
    let root = root.map_err(|e| failed(e.into()))?;
    extract::write(&root, plan)?;
    // Instances run as other users; what keeps the rest of the machine out is the state directory's own mode.
    rustix::fs::fchmod(&root, Mode::from_raw_mode(0o755)).map_err(|e| failed(e.into()))
}

fn private_folder(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().mode(0o700).create(path)
}
