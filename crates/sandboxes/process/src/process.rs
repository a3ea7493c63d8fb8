//! The tier itself: starts the spawner, makes instances, removes what an earlier life left.

use crate::{
    blanks::{Blanks, Made, Shape},
    cgroup::{Group, Hierarchies, Kernel, Layout},
    channel::{Channel, failed},
    grave::{Grave, Yard},
    ids::Ids,
    instance::Running,
    spares::Spares,
    spawner::{self, Hello},
    sys,
    talk::{Birth, Order, Tell, stacked},
    watch::Watch,
    wire,
};
use model::{
    Cause, Fault, Fut, Loops,
    ports::{Instance, Sandbox, Sources},
    sandbox::{Caps, Endpoint, Leftover, Limits, Mount, Network, Spec},
};
use std::{
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// From the order to a root that stands. Tens of milliseconds on a crowded machine.
pub(crate) const BIRTH_TIMEOUT: Duration = Duration::from_secs(20);
/// When to try again what the spawner has no room for.
const BEHIND: Duration = Duration::from_secs(5);

/// A start or two at once find one; more are a burst, which gains little.
const BLANKS: usize = 3;

/// How long a stopping platform waits for the ends of its instances.
const ENDS_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Clone, Debug)]
pub struct Config {
    /// The platform's own folder, 0700. Control groups are named after it.
    pub state_dir: PathBuf,
    /// First of the reserved user and group ids.
    pub uid_base: u32,
    /// Instances that can exist before ids run out; each takes two.
    pub uid_pairs: u32,
    /// What all instances together may use.
    pub memory_total_bytes: Option<u64>,
    /// Of the platform; its threads are among them.
    pub loops: Arc<Loops>,
    /// Instances that are kept ready for the next starts, once there was a first.
    pub blanks: usize,
    /// Asked before folders are mounted; without it they are taken as they are.
    pub sources: Asked,
}

/// Who is asked before folders are mounted, if anybody is.
#[derive(Clone)]
pub struct Asked(pub Option<Arc<dyn Sources>>);

impl std::fmt::Debug for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Asked(somebody)" } else { "Asked(nobody)" })
    }
}

impl Config {
    pub fn new(state_dir: impl Into<PathBuf>) -> Config {
        Config {
            state_dir: state_dir.into(),
            uid_base: 2_000_000_000,
            uid_pairs: 100_000,
            memory_total_bytes: None,
            loops: Loops::alone(),
            blanks: BLANKS,
            sources: Asked(None),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("prepare folder {path} for sandboxes: {source}")]
    Folder { path: PathBuf, source: io::Error },
    #[error("start the spawner of sandboxes: {0}")]
    Spawner(io::Error),
    #[error("start a thread: {0}")]
    Thread(io::Error),
}

/// The process sandbox.
pub struct Process {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    config: Config,
    spawner: Mutex<OwnedFd>,
    /// The platform is stopping: no more births.
    closed: AtomicBool,
    pub(crate) groups: Arc<Hierarchies>,
    pub(crate) yard: Arc<Yard>,
    pub(crate) watch: Arc<Watch>,
    spares: Arc<Spares>,
    pub(crate) blanks: Blanks,
    /// Real root: ids of its own per instance, devices, files shown as root's.
    pub(crate) privileged: bool,
    root_id: Option<u32>,
    caps: Caps,
}

impl Process {
    /// Starts the spawner. Call it on the main thread: the spawner ends with the thread that started it.
    pub fn start(config: Config) -> Result<Arc<Process>, Error> {
        let folder = config.state_dir.join("sandboxes");
        let prepared = std::fs::create_dir_all(&folder).and_then(|()| folder.canonicalize());
        let folder = prepared.map_err(|source| Error::Folder { path: config.state_dir.join("sandboxes"), source })?;
        let privileged = crate::probe::privileged(config.uid_base, config.uid_pairs).is_ok();
        let name = format!("myna-{:016x}", fingerprint(folder.as_os_str().as_bytes()));
        let (groups, mut weaker) =
            Hierarchies::prepare(Arc::new(Kernel), Layout::of_this_process(), &name, config.memory_total_bytes);
        let groups = Arc::new(groups);
        let clean = groups.existing().is_empty() && !groups.parents().is_empty();
        let ids = privileged.then(|| Ids::open(&folder, config.uid_base, config.uid_pairs, clean)).transpose();
        let ids = ids.map_err(|source| Error::Folder { path: folder.clone(), source })?;
        let root_id = ids.as_ref().map(Ids::root);
        let spawner = spawner::launch(&Hello { over: &folder, root_id }, true).map_err(Error::Spawner)?;
        if let Err(why) = crate::probe::privileged(config.uid_base, config.uid_pairs) {
            weaker.push(format!("all instances run under this user's own id ({why}); start as root to give each its own"));
        }
        if groups.layout().place(crate::cgroup::Need::Memory).is_some() {
            weaker.push(crate::watch::WEAKER.into());
        }
        let freeze = groups.layout().place(crate::cgroup::Need::Freeze).is_some();
        let caps = Caps { available: true, freeze, fork: false, snapshot: false, bind: true, weaker };
        let yard = Yard::open(ids, &config.loops).map_err(Error::Thread)?;
        let watch = Watch::start(&config.loops).map_err(Error::Thread)?;
        let spares = Spares::new(&groups, &yard);
        let blanks = Blanks::new(config.blanks);
        let inner = Inner {
            config,
            spawner: Mutex::new(spawner),
            closed: AtomicBool::new(false),
            groups,
            yard,
            watch,
            spares,
            blanks,
            privileged,
            root_id,
            caps,
        };
        Ok(Arc::new(Process { inner: Arc::new(inner) }))
    }
}

impl Process {
    /// Leave nothing behind. Call it when every instance was killed; it waits until the last has ended.
    pub fn close(&self) {
        self.inner.close();
    }
}

impl Inner {
    /// Whether what is to be mounted is whole.
    pub(crate) async fn check(&self, mounts: &[Mount]) -> Result<(), Fault> {
        match self.config.sources.0.as_ref().and_then(|sources| sources.check(mounts)) {
            Some(looking) => looking.await,
            None => Ok(()),
        }
    }

    /// Sends an order. A spawner that has died is replaced once; its instances have died with it.
    pub(crate) fn order(&self, order: &Order, fds: &[BorrowedFd<'_>]) -> Result<(), Fault> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Fault::new(Cause::Draining, "the platform is stopping"));
        }
        let bytes = order.encode();
        let mut spawner = self.spawner.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = match wire::send(&*spawner, &bytes, fds) {
            Err(e) if matches!(e.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => {
                tracing::error!("the spawner of sandboxes has died; starting another");
                let folder = self.config.state_dir.join("sandboxes");
                spawner::launch(&Hello { over: &folder, root_id: self.root_id }, false).and_then(|fresh| {
                    *spawner = fresh;
                    wire::send(&*spawner, &bytes, fds)
                })
            }
            other => other,
        };
        sent.map_err(|e| match e.kind() {
            io::ErrorKind::WouldBlock => {
                Fault::new(Cause::Exhausted, "the spawner of sandboxes doesn't keep up with its orders").retry_after(BEHIND)
            }
            _ => Fault::internal(format!("send an order to the spawner of sandboxes: {e}")),
        })
    }
}

impl Process {
    async fn bear(&self, spec: &Spec) -> Result<Box<dyn Instance>, Fault> {
        let Network::Loopback = spec.network;
        let inner = &self.inner;
        inner.check(&spec.mounts).await?;
        // Whatever comes of this one; it has the processors for itself first.
        let _then = Refill(inner);
        let blank = inner.blanks.take(&Shape { listens: spec.listens.clone(), limits: spec.limits });
        let furnished = match blank {
            Some(blank) => furnish(inner, blank, spec).await,
            None => None,
        };
        Ok(Box::new(match furnished {
            Some(instance) => instance,
            None => running(inner, make(inner, spec.limits, &spec.mounts, &spec.listens).await?, &spec.listens),
        }))
    }

    fn clean(&self) -> Vec<Leftover> {
        let inner = &self.inner;
        let live = inner.yard.live().clone();
        let old = inner.groups.existing().into_iter().filter(|name| !live.contains(name));
        let removed = old.map(|name| {
            let group = Group::found(&inner.groups, &name);
            group.kill();
            match group.remove() {
                Ok(()) => Leftover { what: format!("control group {name} with what ran in it") },
                Err(e) => Leftover { what: format!("control group {name}, which could not be removed: {e}") },
            }
        });
        removed.collect()
    }
}

/// An instance that stands, with these folders mounted in it.
pub(crate) async fn make(inner: &Arc<Inner>, limits: Limits, mounts: &[Mount], listens: &[Endpoint]) -> Result<Made, Fault> {
    let mut grave = Grave::new(&inner.yard);
    let mut fds: Vec<OwnedFd> = Vec::new();
    let mut into_cgroup = false;
    if let Some(group) = inner.spares.take().map_err(exhausted)? {
        let group = grave.group.insert(Arc::new(group));
        group.limit(&limits, None).map_err(Fault::internal)?;
        let (own, others) = group.joins().map_err(exhausted)?;
        into_cgroup = own.is_some();
        fds.extend(own.into_iter().chain(others).map(OwnedFd::from));
    }
    if let Some(ids) = &inner.yard.ids {
        grave.ids = Some(ids.take().map_err(exhausted)?);
    }
    let (ours, theirs) = sys::channel().map_err(exhausted)?;
    let birth = Birth {
        ids: grave.ids.map(|p| (p.init, p.user)),
        tmp_bytes: limits.tmp_bytes,
        tmp_inodes: limits.tmp_inodes,
        mounts: stacked(mounts),
        listens: listens.to_vec(),
        into_cgroup,
    };
    fds.insert(0, theirs);
    inner.order(&Order::Birth(birth), &fds.iter().map(AsFd::as_fd).collect::<Vec<_>>())?;
    // Before anything is awaited: the end of the init must be the end of its channel.
    drop(fds);
    grave.birth = Some(sys::duplicate(&ours).map_err(exhausted)?);
    let channel = Arc::new(Channel::new(ours, grave.group.clone()).map_err(exhausted)?);
    let stands = tokio::time::timeout(BIRTH_TIMEOUT, stand(&channel, &mut grave)).await;
    let mut made =
        stands.map_err(|_| Fault::internal(format!("an instance did not stand after {BIRTH_TIMEOUT:?}")))??.into_iter();
    let tmp = made.next().ok_or_else(|| Fault::internal("a new instance passed no /tmp out"))?;
    Ok(Made { channel, grave, limits, tmp, listeners: made.collect() })
}

fn running(inner: &Arc<Inner>, made: Made, listens: &[Endpoint]) -> Running {
    let listeners = listens.iter().cloned().zip(made.listeners).collect();
    Running::new(inner.clone(), made.channel, made.grave, made.limits, made.tmp, listeners)
}

/// Has what was taken replaced when a start is over, also when nobody waits for it any more.
struct Refill<'a>(&'a Arc<Inner>);

impl Drop for Refill<'_> {
    fn drop(&mut self) {
        Blanks::fill(self.0);
    }
}

/// Gives a blank its mounts and limits. What fails is tried with a fresh instance: a blank may have ended meanwhile, and a fault of
/// what was asked for shows there as well.
async fn furnish(inner: &Arc<Inner>, blank: Made, spec: &Spec) -> Option<Running> {
    let instance = running(inner, blank, &spec.listens);
    instance.furnish(&spec.mounts, spec.limits).await.is_ok().then_some(instance)
}

/// Waits for the birth and for the finished root; what the init passes out.
async fn stand(channel: &Channel, grave: &mut Grave) -> Result<Vec<OwnedFd>, Fault> {
    loop {
        let message = channel.receive().await.map_err(Fault::internal)?;
        match Tell::decode(&message.bytes) {
            Ok(Tell::Born) => {
                grave.pidfd = message.fds.into_iter().next();
                grave.birth = None;
            }
            Ok(Tell::Ready) => return Ok(message.fds),
            Ok(Tell::Failed { errno, step, .. }) => return Err(failed(errno, &step)),
            _ => return Err(Fault::internal("a new instance ended before its root stood")),
        }
    }
}

fn exhausted(error: io::Error) -> Fault {
    Fault::new(Cause::Exhausted, format!("make an instance: {error}"))
}

/// FNV-1a: the same folder gives the same name in every life.
fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, b| (hash ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3))
}

impl Sandbox for Process {
    fn caps(&self) -> Caps {
        self.inner.caps.clone()
    }
    fn create(&self, spec: &Spec) -> Fut<'_, Result<Box<dyn Instance>, Fault>> {
        let spec = spec.clone();
        Box::pin(async move { self.bear(&spec).await })
    }
    fn sweep(&self) -> Fut<'_, Vec<Leftover>> {
        Box::pin(async { self.clean() })
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

impl Inner {
    /// The spawner ends, and with it every init that it made; once the last ends are through, the groups go. An instance that was
    /// being made meanwhile goes with them.
    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.blanks.close();
        let _ = rustix::net::shutdown(&*self.spawner.lock().unwrap_or_else(PoisonError::into_inner), rustix::net::Shutdown::Both);
        let (done, all) = std::sync::mpsc::channel();
        let spares = self.spares.clone();
        self.yard.later(Box::new(move || {
            spares.clear();
            let _ = done.send(());
        }));
        let _ = all.recv_timeout(ENDS_TIMEOUT);
        for name in self.groups.existing() {
            let group = Group::found(&self.groups, &name);
            group.kill();
            if let Err(error) = group.remove() {
                tracing::warn!("{error}");
            }
        }
        for parent in self.groups.parents() {
            let _ = std::fs::remove_dir(parent);
        }
    }
}
