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
mod settle;


pub use collect::Collected;

use crate::{Directory, Error, directory::sync_folder, error::no_room, hex, options::PackageLimits};
use bytes::Bytes;
use link::{Link, Signer};
use model::{Cause, Clock, Fault, Fut, Mono, Package, TenantId, ports};
use ring::digest::{SHA256, digest};
use rustix::fs::{CWD, Mode, OFlags};
use std::{
    collections::HashMap,
    fs::File,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

const ARCHIVE: &str = "archive.zip";
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
            Problem::Refused(Refused { cause, what }) => Fault::new(cause, format!("the archive is refused: {what}")).detail("archive"),
            Problem::Io { source, .. } if no_room(&source) => {
                Fault::new(Cause::Exhausted, "the disk of the state directory is full").detail("disk").hint("free some space")
            }
            Problem::Io { what, source } => Fault::internal(format!("{what}: {source}")),
        }
    }
}

/// An archive that a link opened.
#[derive(Debug)]
pub struct Archive {
    pub file: File,
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
}

impl PackageStore {
    pub(crate) fn open(directory: &Directory, limits: &PackageLimits, clock: Arc<dyn Clock>) -> Result<PackageStore, Error> {
        let (folder, staging) = (directory.path().join("packages"), directory.path().join("staging"));
        crate::directory::empty(&staging)?;
        let key = directory.secret("link-key", || crate::random_bytes(32))?;
        let inner = Inner {
            settler: settle::Settler::start(&folder)?,
            folder,
            staging,
            limits: limits.clone(),
            signer: Signer::new(&key),
            clock,
            unpacking: tokio::sync::Semaphore::new(limits.unpacking_max),
            state: Mutex::default(),
        };
        inner.mend()?;
        Ok(PackageStore { inner: Arc::new(inner) })
    }

    /// A stored package.
    pub fn get(&self, tenant: &TenantId, digest: &str) -> Option<Package> {
        self.inner.find(tenant, &checked(digest)?)
    }

    /// What a link reads. Any flaw of the link, and a package that is gone, look the same.
    pub fn open_link(&self, token: &str) -> Result<Archive, Fault> {
        let unknown = || Fault::not_found("this link names nothing, or has expired");
        let inner = &self.inner;
        let link = inner.signer.verify(token, inner.clock.wall_ms()).ok_or_else(unknown)?;
        let digest = checked(&link.digest).ok_or_else(unknown)?;
        let path = inner.place(&TenantId::new(&link.tenant), &digest).join(ARCHIVE);
        let file = crate::directory::open_private(&path).map_err(|_| unknown())?;
        let bytes = file.metadata().map_err(|e| Fault::internal(format!("can't look at an archive: {e}")))?.len();
        Ok(Archive { file, bytes, digest })
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
        let archive = std::fs::symlink_metadata(place.join(ARCHIVE)).ok()?;
        let path = place.join(CODE);
        path.is_dir().then(|| Package::Unpacked { digest: digest.clone(), bytes: archive.len(), path })
    }

    fn put(&self, tenant: &TenantId, archive: &Bytes) -> Result<Package, Fault> {
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
        let made = self.stage(&staged, archive).and_then(|bytes| self.publish(&staged, place).map(|()| bytes));
        let bytes = made.inspect_err(|_| {
            // What can't be removed now is swept at the next start.
            let _ = std::fs::remove_dir_all(&staged);
            self.state().touched.remove(place);
        })?;
        let at = self.place(&place.0, &place.1);
        self.state().sizes.insert(at.clone(), bytes);
        self.settler.add(at, bytes);
        self.find(&place.0, &place.1).ok_or_else(|| Problem::io("find", &place.1, io::ErrorKind::NotFound.into()))
    }

    /// Write the package into a folder of its own; how many bytes it takes.
    fn stage(&self, staged: &Path, archive: &[u8]) -> Result<u64, Problem> {
        let entries = archive::read(archive, self.limits.entries_max, self.limits.name_bytes_max)?;
        let plan = policy::plan(&entries, archive.len() as u64, &self.limits)?;
        private_folder(staged).map_err(|e| Problem::io("create", "a staging folder", e))?;
        write_code(&staged.join(CODE), &plan)?;
        let failed = |e| Problem::io("write", ARCHIVE, e);
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(staged.join(ARCHIVE)).map_err(failed)?;
        file.write_all(archive).and_then(|()| file.sync_all()).and_then(|()| sync_folder(staged)).map_err(failed)?;
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
    fn mend(&self) -> Result<(), Error> {
        for (tenant, digest, place) in crate::directory::two_levels(&self.folder)? {
            if let Some(bytes) = settle::settled(&place) {
                self.state().sizes.insert(place, bytes);
                continue;
            }
            match self.unpack_again(&digest, &place) {
                Ok(bytes) => {
                    self.state().sizes.insert(place.clone(), bytes);
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

    fn unpack_again(&self, wanted: &str, place: &Path) -> Result<u64, Fault> {
        let failed = |e: io::Error| Fault::internal(format!("can't unpack it again: {e}"));
        let archive = std::fs::read(place.join(ARCHIVE)).map_err(failed)?;
        if hex(digest(&SHA256, &archive).as_ref()) != wanted {
            return Err(Fault::internal("its archive has another checksum"));
        }
        // The limits may have been lowered since; what was accepted stays.
        let entries = archive::read(&archive, usize::MAX, usize::from(u16::MAX)).map_err(Problem::from)?;
        let limits = PackageLimits { unzipped_bytes_max: u64::MAX, ratio_max: u64::MAX, depth_max: usize::MAX, ..self.limits.clone() };
        let plan = policy::plan(&entries, archive.len() as u64, &limits).map_err(Problem::from)?;
        let code = place.join(CODE);
        if code.exists() {
            std::fs::remove_dir_all(&code).map_err(failed)?;
        }
        write_code(&code, &plan)?;
        Ok(archive.len() as u64 + plan.bytes())
    }
}

fn write_code(path: &Path, plan: &policy::Plan<'_>) -> Result<(), Problem> {
    let failed = |e: io::Error| Problem::io("create", CODE, e);
    private_folder(path).map_err(failed)?;
    let root = rustix::fs::openat(CWD, path, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
    let root = root.map_err(|e| failed(e.into()))?;
    extract::write(&root, plan)?;
    // Instances run as other users; what keeps the rest of the machine out is the state directory's own mode.
    rustix::fs::fchmod(&root, Mode::from_raw_mode(0o755)).map_err(|e| failed(e.into()))
}

fn private_folder(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().mode(0o700).create(path)
}

/// A digest that a caller named, if it can be one: it becomes part of a path.
fn checked(digest: &str) -> Option<Arc<str>> {
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    (digest.len() == 64 && digest.bytes().all(hex)).then(|| Arc::from(digest))
}
