//! Code packages, kept by content for each tenant: `packages/TENANT/SHA256/` holds the archive as it came and the folder it
//! was unpacked to.
//!
//! An archive is checked as a whole, unpacked in a staging folder and moved into place by one rename, so that a package is
//! there complete or not at all. Only the archive is fsynced before that: thousands of small files would make a deployment
//! wait for as many flushes. The unpacked folder is flushed later, all at once, and marked `settled`; one without the mark
//! (the machine may have lost power) is made again from its archive at the next start.

mod archive;
mod collect;
mod extract;
mod link;
mod policy;
mod put;
mod sealed;
mod settle;
mod sum;
mod whole;

pub use collect::Collected;
pub(crate) use whole::{code_flaw, forget_code};

use crate::{Directory, Error, error::no_room, options::PackageLimits, seal::Seal};
use bytes::Bytes;
use link::{Link, Signer};
use model::{Cause, Clock, Fault, Fut, Loops, Mono, Package, TenantId, ports};
use std::{
    collections::{HashMap, HashSet},
    io::{self, Read},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
};

/// Of a directory in which nothing is sealed, and of older ones.
const ARCHIVE: &str = "archive.zip";
const SEALED: &str = "archive.sealed";
const CODE: &str = "code";
const SETTLED: &str = "settled";

/// Why an archive is not kept. The message names the entry.
#[derive(Debug)]
struct Refused {
    cause: Cause,
    what: String,
}

impl Refused {
    fn invalid(what: impl Into<String>) -> Self {
        Refused { cause: Cause::Invalid, what: what.into() }
    }
    fn large(what: impl Into<String>) -> Self {
        Refused { cause: Cause::TooLarge, what: what.into() }
    }
}

/// What stops an archive from being kept.
#[derive(Debug)]
enum Problem {
    Refused(Refused),
    Io { what: String, source: io::Error },
}

impl Problem {
    fn io(action: &str, path: &str, source: io::Error) -> Self {
        Problem::Io { what: format!("can't {action} {path:?}"), source }
    }
}
impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        Problem::Refused(refused)
    }
}
impl From<Problem> for Fault {
    fn from(problem: Problem) -> Fault {
        match problem {
            Problem::Refused(Refused { cause, what }) => {
                Fault::new(cause, format!("the archive is refused: {what}")).detail("archive")
            }
            Problem::Io { source, .. } if no_room(&source) => {
                Fault::new(Cause::Exhausted, "the disk of the state directory is full").detail("disk").hint("free some space")
            }
            Problem::Io { what, source } => Fault::internal(format!("{what}: {source}")),
        }
    }
}

/// An archive that a link opened.
pub struct Archive {
    /// The archive as it came; what was changed on the disk is an error.
    pub reader: Box<dyn Read + Send>,
    pub bytes: u64,
    /// Hex SHA-256.
    pub digest: Arc<str>,
}

/// The packages of one state directory.
#[derive(Clone)]
pub struct PackageStore {
    inner: Arc<Inner>,
}

struct Inner {
    folder: PathBuf,
    staging: PathBuf,
    limits: PackageLimits,
    signer: Signer,
    seal: Arc<Seal>,
    clock: Arc<dyn Clock>,
    unpacking: tokio::sync::Semaphore,
    state: Mutex<State>,
    settler: settle::Settler,
}

type Place = (TenantId, Arc<str>);

#[derive(Default)]
struct State {
    /// When a package was last put: until a row names it, only this keeps it.
    touched: HashMap<Place, Mono>,
    /// One unpacks, others who bring the same wait for it.
    busy: HashMap<Place, Arc<Mutex<()>>>,
    /// Bytes of each package, by its place.
    sizes: HashMap<PathBuf, u64>,
    damaged: Vec<String>,
    /// Places whose code was unpacked or looked at by this process, and is whole.
    whole: HashSet<PathBuf>,
    /// One looks, others who want the same wait for it.
    looking: HashMap<PathBuf, Arc<Mutex<()>>>,
}

impl PackageStore {
    pub(crate) fn open(
        directory: &Directory,
        limits: &PackageLimits,
        seal: Arc<Seal>,
        clock: Arc<dyn Clock>,
        loops: &Arc<Loops>,
    ) -> Result<PackageStore, Error> {
        let (folder, staging) = (directory.path().join("packages"), directory.path().join("staging"));
        crate::directory::empty(&staging)?;
        let key = directory.secret("link-key", || crate::random_bytes(32))?;
        let inner = Inner {
            settler: settle::Settler::start(&folder, loops)?,
            folder,
            staging,
            limits: limits.clone(),
            signer: Signer::new(&key),
            seal,
            clock,
            unpacking: tokio::sync::Semaphore::new(limits.unpacking_max),
            state: Mutex::default(),
        };
        inner.seal_again()?;
        inner.mend()?;
        Ok(PackageStore { inner: Arc::new(inner) })
    }

    /// Every archive that lies here now.
    pub(crate) fn archives(&self) -> Vec<sealed::Stored> {
        crate::directory::two_levels(&self.inner.folder).unwrap_or_default()
    }
    /// Seal one of them again, when an older key sealed it.
    pub(crate) fn seal_one_again(&self, archive: &sealed::Stored) -> Result<(), Error> {
        self.inner.seal_one(archive)
    }

    /// A stored package.
    pub fn get(&self, tenant: &TenantId, digest: &str) -> Option<Package> {
        self.inner.find(tenant, &checked(digest)?)
    }

    /// The same package where it lies in this directory, when that is elsewhere: rows name the place where a package was put, and the
    /// directory may have been moved, or be a copy of another.
    pub fn moved(&self, tenant: &TenantId, package: &Package) -> Option<Package> {
        let Package::Unpacked { digest, bytes, path } = package;
        let here = self.inner.place(tenant, &checked(digest)?).join(CODE);
        (here != *path).then(|| Package::Unpacked { digest: digest.clone(), bytes: *bytes, path: here })
    }

    /// What a link reads. Any flaw of the link, and a package that is gone, look the same.
    pub fn open_link(&self, token: &str) -> Result<Archive, Fault> {
        let unknown = || Fault::not_found("this link names nothing, or has expired");
        let inner = &self.inner;
        let link = inner.signer.verify(token, inner.clock.wall_ms()).ok_or_else(unknown)?;
        let digest = checked(&link.digest).ok_or_else(unknown)?;
        let place = inner.place(&TenantId::new(&link.tenant), &digest);
        let (reader, bytes) = inner.read(&link.tenant, &digest, &place).map_err(|_| unknown())?;
        Ok(Archive { reader, bytes, digest })
    }

    /// Packages that are broken, and since start-up were not put again.
    pub fn damaged(&self) -> Vec<String> {
        self.inner.state().damaged.clone()
    }

    /// Flush what was unpacked and mark it so. Called at the end; while running a thread does it.
    pub(crate) fn settle(&self) {
        self.inner.settler.finish();
    }
}

impl ports::Packages for PackageStore {
    fn put_zip(&self, tenant: &TenantId, archive: Bytes) -> Fut<'_, Result<Package, Fault>> {
        let (inner, tenant) = (self.inner.clone(), tenant.clone());
        Box::pin(async move {
            let permit = self.inner.unpacking.acquire().await.map_err(Fault::internal)?;
            // Runs to its end even if the caller goes: what it makes is whole, and collected when no row names it.
            let put = tokio::task::spawn_blocking(move || inner.put(&tenant, &archive)).await;
            drop(permit);
            put.map_err(|e| Fault::internal(format!("unpacking ended early: {e}")))?
        })
    }

    fn adopt(&self, from: &TenantId, package: &Package, to: &TenantId) -> Fut<'_, Result<Package, Fault>> {
        let (inner, from, to, digest) = (self.inner.clone(), from.clone(), to.clone(), package.digest().to_owned());
        Box::pin(async move {
            let permit = self.inner.unpacking.acquire().await.map_err(Fault::internal)?;
            let put = move || {
                let digest = checked(&digest).ok_or_else(|| Fault::not_found("there is no such package"))?;
                let folder = crate::folder_name(from.as_str());
                let archive = inner.read_whole(&folder, &digest, &inner.place(&from, &digest));
                let archive = archive.map_err(|e| Fault::internal(format!("package {digest} can't be read: {e}")))?;
                inner.put(&to, &archive.into())
            };
            let put = tokio::task::spawn_blocking(put).await;
            drop(permit);
            put.map_err(|e| Fault::internal(format!("unpacking ended early: {e}")))?
        })
    }

    fn unpacked_bytes(&self, tenant: &TenantId, digest: &str) -> Option<u64> {
        let Package::Unpacked { digest, bytes, .. } = self.inner.find(tenant, &checked(digest)?)?;
        let both = self.inner.state().sizes.get(&self.inner.place(tenant, &digest)).copied()?;
        Some(both.saturating_sub(bytes))
    }

    fn link(&self, tenant: &TenantId, digest: &str) -> Result<Arc<str>, Fault> {
        let found = checked(digest).and_then(|digest| self.inner.find(tenant, &digest));
        let package = found.ok_or_else(|| Fault::not_found(format!("there is no package {digest}")))?;
        let expires_ms = self.inner.clock.wall_ms().saturating_add(self.inner.limits.link_lifetime.as_millis() as u64);
        Ok(self.inner.signer.sign(&Link { tenant: tenant.to_string(), digest: package.digest().into(), expires_ms }))
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    fn place(&self, tenant: &TenantId, digest: &str) -> PathBuf {
        self.folder.join(crate::folder_name(tenant.as_str())).join(digest)
    }

    fn find(&self, tenant: &TenantId, digest: &Arc<str>) -> Option<Package> {
        let place = self.place(tenant, digest);
        let bytes = self.archive_bytes(&place)?;
        let path = place.join(CODE);
        path.is_dir().then(|| Package::Unpacked { digest: digest.clone(), bytes, path })
    }
}

/// A digest that a caller named, if it can be one: it becomes part of a path.
fn checked(digest: &str) -> Option<Arc<str>> {
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    (digest.len() == 64 && digest.bytes().all(hex)).then(|| Arc::from(digest))
}
