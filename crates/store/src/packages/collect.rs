//! Removes packages that nothing refers to any more. What is still wanted is the caller's word: the digests that rows name.

use super::{Inner, PackageStore};
use crate::{Error, directory};
use model::TenantId;
use std::{collections::HashSet, path::Path, sync::Arc};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Collected {
    pub packages: u64,
    /// Bytes of their archives and files.
    pub bytes: u64,
}

impl PackageStore {
    /// Remove every package that `live` doesn't name and that wasn't put lately. `live` must have been read from the rows
    /// after this call was decided on; a package put since then is protected by its age.
    pub fn collect(&self, live: &HashSet<(TenantId, Arc<str>)>, goes_on: &dyn Fn()) -> Result<Collected, Error> {
        let inner = &self.inner;
        let wanted: HashSet<(String, &str)> = live.iter().map(|(t, d)| (crate::folder_name(t.as_str()), &**d)).collect();
        let mut done = Collected::default();
        for (tenant, digest, place) in directory::two_levels(&inner.folder)? {
            if wanted.contains(&(tenant.clone(), digest.as_str())) {
                continue;
            }
            goes_on();
            if let Some(bytes) = inner.remove(&tenant, &digest, &place)? {
                done.packages += 1;
                done.bytes += bytes;
            }
        }
        Ok(done)
    }

    /// Remove every package of a tenant. Whoever still reads one has it open.
    pub(crate) fn forget(&self, tenant: &TenantId) -> Result<(), Error> {
        let inner = &self.inner;
        let folder = inner.folder.join(crate::folder_name(tenant.as_str()));
        let trash = inner.staging.join(uuid::Uuid::new_v4().to_string());
        {
            let mut state = inner.state();
            match std::fs::rename(&folder, &trash) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
                moved => moved.map_err(Error::io("remove", &folder))?,
            }
            state.sizes.retain(|place, _| !place.starts_with(&folder));
            state.touched.retain(|(whose, _), _| whose != tenant);
        }
        directory::sync_folder(&inner.folder).map_err(Error::io("remove", &folder))?;
        std::fs::remove_dir_all(&trash).map_err(Error::io("remove", &trash))
    }

    /// Bytes that a tenant's packages take, archives and unpacked files.
    pub fn bytes_of(&self, tenant: &TenantId) -> u64 {
        let folder = self.inner.folder.join(crate::folder_name(tenant.as_str()));
        self.inner.state().sizes.iter().filter(|(place, _)| place.starts_with(&folder)).map(|(_, bytes)| bytes).sum()
    }

    /// Bytes that packages take, archives and unpacked files; and how many packages there are.
    pub fn bytes(&self) -> (u64, usize) {
        let state = self.inner.state();
        (state.sizes.values().sum(), state.sizes.len())
    }
}

impl Inner {
    fn remove(&self, tenant: &str, digest: &str, place: &Path) -> Result<Option<u64>, Error> {
        let trash = self.staging.join(uuid::Uuid::new_v4().to_string());
        let bytes = {
            let mut state = self.state();
            let now = self.clock.mono();
            state.touched.retain(|_, put| now.since(*put) < self.limits.unreferenced_for);
            let same = |(t, d): &(TenantId, Arc<str>)| crate::folder_name(t.as_str()) == tenant && **d == *digest;
            if state.touched.keys().any(same) || state.busy.keys().any(same) {
                return Ok(None);
            }
            // Out of sight in one step, so that nobody finds half of it.
            std::fs::rename(place, &trash).map_err(Error::io("remove", place))?;
            state.whole.remove(place);
            state.sizes.remove(place)
        };
        let bytes = bytes.unwrap_or_else(|| directory::folder_bytes(&trash));
        std::fs::remove_dir_all(&trash).map_err(Error::io("remove", &trash))?;
        Ok(Some(bytes))
    }
}
