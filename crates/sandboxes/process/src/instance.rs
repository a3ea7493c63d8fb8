//! A running instance, as the engine holds it.

use crate::{
    channel::{Channel, failed, gone},
    grave::Grave,
    process::{BIRTH_TIMEOUT, Inner},
    talk::{Ask, Order, Stack, Start, Tell, stacked},
};
use model::{
    BoxIo, Cause, Fault, Fut,
    ports::{Instance, Link, Listener, Proc},
    sandbox::{Endpoint, Exit, Group, Limits, Measured, Mount, ProcSpec, Signal},
};
use rustix::pipe::{PipeFlags, pipe_with};
use std::{
    collections::HashMap,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// What a process writes waits here while the platform is busy.
const OUTPUT_PIPE_BYTES: usize = 256 * 1024;

pub struct Running {
    pub(crate) inner: Arc<Inner>,
    pub(crate) shared: Arc<Shared>,
    /// What was last started of each group.
    started: Mutex<HashMap<Group, u32>>,
    grave: Mutex<Option<Grave>>,
}

/// What the watch over memory needs too.
pub struct Shared {
    pub channel: Arc<Channel>,
    pub tmp: OwnedFd,
    pub limits: Mutex<Limits>,
    pub frozen: AtomicBool,
    /// The most that was seen besides `/tmp`.
    memory_max: AtomicU64,
    listeners: HashMap<Endpoint, OwnedFd>,
}

impl Shared {
    pub fn limits(&self) -> Limits {
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes in `/tmp`, which the kernel counts as memory.
    pub fn tmp_bytes(&self) -> u64 {
        rustix::fs::fstatvfs(&self.tmp).map_or(0, |s| (s.f_blocks - s.f_bfree) * s.f_frsize)
    }

    pub fn freeze(&self, on: bool) -> io::Result<()> {
        if self.frozen.swap(on, Ordering::SeqCst) == on {
            return Ok(());
        }
        let done = match &self.channel.group {
            Some(group) => group.freeze(on),
            None => Err(io::ErrorKind::Unsupported.into()),
        };
        if done.is_err() {
            // It is as it was: what takes it for frozen would try to thaw it before each question.
            self.frozen.store(!on, Ordering::SeqCst);
        }
        done
    }
}

impl Running {
    pub(crate) fn new(
        inner: Arc<Inner>,
        channel: Arc<Channel>,
        grave: Grave,
        limits: Limits,
        tmp: OwnedFd,
        listeners: HashMap<Endpoint, OwnedFd>,
    ) -> Running {
        tokio::spawn(channel.clone().listen());
        let (frozen, memory_max) = (AtomicBool::new(false), AtomicU64::new(0));
        let shared = Arc::new(Shared { channel, tmp, limits: Mutex::new(limits), frozen, memory_max, listeners });
        inner.watch.add(&shared);
        Running { inner, shared, started: Mutex::default(), grave: Mutex::new(Some(grave)) }
    }

    /// A frozen init answers nothing.
    async fn ask(&self, ask: Ask, fds: Vec<OwnedFd>) -> Result<crate::channel::Done, Fault> {
        if self.shared.frozen.load(Ordering::SeqCst) {
            self.shared.freeze(false).map_err(|e| Fault::internal(format!("thaw an instance: {e}")))?;
        }
        self.shared.channel.ask(ask, fds).await
    }

    async fn start(&self, process: ProcSpec) -> Result<Proc, Fault> {
        let limits = self.shared.limits();
        let (output, writer) = self.pipe()?;
        let mut fds = vec![writer];
        let mut frames = None;
        let mut env: Vec<_> = process.env.iter().map(|(k, v)| [k.as_bytes(), b"=", v.as_bytes()].concat()).collect();
        if let Some(name) = process.log_frames_env {
            let (reader, writer) = self.pipe()?;
            frames = Some(reader);
            fds.push(writer);
            env.push(format!("{name}={}", crate::jail::FRAMES).into_bytes());
        }
        let start = Start {
            argv: process.argv.into_iter().map(OsStringExt::into_vec).collect(),
            env,
            cwd: process.cwd.into_bytes(),
            descriptors: limits.descriptors,
            pids: u64::from(limits.pids),
        };
        let done = self.ask(Ask::Start(start), fds).await?;
        self.started.lock().unwrap_or_else(PoisonError::into_inner).insert(process.group, done.pid);
        let exited = done.exited.ok_or_else(gone)?;
        Ok(Proc { exited: Box::pin(async { exited.await.unwrap_or(Exit::Gone) }), output, frames })
    }

    fn pipe(&self) -> Result<(OwnedFd, OwnedFd), Fault> {
        let make = || {
            let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
            rustix::io::ioctl_fionbio(&reader, true)?;
            if self.inner.privileged {
                // For a plain user the kernel's budget is better spent on more pipes than on larger ones.
                let _ = rustix::pipe::fcntl_setpipe_size(&writer, OUTPUT_PIPE_BYTES);
            }
            io::Result::Ok((reader, writer))
        };
        make().map_err(|e| Fault::new(Cause::Exhausted, format!("make a pipe for the output of a process: {e}")))
    }

    /// Mounts and limits that were not known when it was made.
    pub(crate) async fn furnish(&self, mounts: &[Mount], limits: Limits) -> Result<(), Fault> {
        let (stacks, targets): (Vec<_>, Vec<_>) = stacked(mounts).into_iter().unzip();
        let trees = if stacks.is_empty() { Vec::new() } else { self.trees(stacks).await? };
        self.ask(Ask::Attach { targets, tmp_bytes: limits.tmp_bytes, tmp_inodes: limits.tmp_inodes }, trees).await?;
        self.set_limits(limits)
    }

    async fn trees(&self, stacks: Vec<Stack>) -> Result<Vec<OwnedFd>, Fault> {
        let (ours, theirs) = crate::sys::channel().map_err(Fault::internal)?;
        let wanted = stacks.len();
        self.inner.order(&Order::Trees(stacks), &[theirs.as_fd()])?;
        drop(theirs);
        let channel = Channel::new(ours, None).map_err(Fault::internal)?;
        let answer = tokio::time::timeout(BIRTH_TIMEOUT, channel.receive()).await;
        let answer = answer.map_err(|_| Fault::internal(format!("the spawner opened no mounts within {BIRTH_TIMEOUT:?}")))?;
        let answer = answer.map_err(Fault::internal)?;
        match Tell::decode(&answer.bytes) {
            Ok(Tell::Ready) if answer.fds.len() == wanted => Ok(answer.fds),
            Ok(Tell::Failed { errno, step, .. }) => Err(failed(errno, &step)),
            _ => Err(Fault::internal("the spawner ended while it opened mounts")),
        }
    }

    fn set_limits(&self, limits: Limits) -> Result<(), Fault> {
        let mut now = self.shared.limits.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(group) = &self.shared.channel.group {
            group.limit(&limits, Some(&now)).map_err(Fault::internal)?;
        }
        *now = limits;
        Ok(())
    }

    fn grave(&self) -> Option<Grave> {
        self.grave.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Instance for Running {
    fn link(&self) -> Arc<dyn Link> {
        Arc::new(Wire(self.shared.clone()))
    }

    fn spawn(&self, process: ProcSpec) -> Fut<'_, Result<Proc, Fault>> {
        Box::pin(self.start(process))
    }

    fn kill_group(&self, group: Group) -> Fut<'_, Result<(), Fault>> {
        Box::pin(async {
            match group {
                Group::All => self.ask(Ask::KillAll, Vec::new()).await.map(drop),
                one => Err(Fault::internal(format!("only all of an instance is killed and waited for, not {one:?}"))),
            }
        })
    }

    fn signal(&self, group: Group, signal: Signal) -> Fut<'_, Result<(), Fault>> {
        let pid = self.started.lock().unwrap_or_else(PoisonError::into_inner).get(&group).copied();
        let signal = match signal {
            Signal::Term => libc::SIGTERM,
            Signal::Kill => libc::SIGKILL,
        };
        Box::pin(async move {
            match pid {
                Some(pid) => self.ask(Ask::Signal { pid, signal }, Vec::new()).await.map(drop),
                None => Ok(()),
            }
        })
    }

    fn attach(&self, mounts: Vec<Mount>, limits: Limits) -> Fut<'_, Result<(), Fault>> {
        Box::pin(async move {
            self.inner.check(&mounts).await?;
            self.furnish(&mounts, limits).await
        })
    }

    fn limit(&self, limits: Limits) -> Fut<'_, Result<(), Fault>> {
        Box::pin(std::future::ready(self.set_limits(limits)))
    }

    fn freeze(&self, on: bool) -> Fut<'_, Result<(), Fault>> {
        let done = self.shared.freeze(on).map_err(|e| match e.kind() {
            io::ErrorKind::Unsupported => Fault::new(Cause::Unsupported, "freeze an instance without a freezer control group"),
            _ => Fault::internal(format!("write the freezer: {e}")),
        });
        Box::pin(std::future::ready(done))
    }

    fn measure(&self) -> Measured {
        let Some(group) = &self.shared.channel.group else { return Measured::default() };
        let mut measured = group.measure();
        let (tmp, limit) = (self.shared.tmp_bytes(), self.shared.limits().memory_bytes);
        // Cached files may fill the room that `/tmp` leaves; they are not the function's need.
        measured.memory_bytes = measured.memory_bytes.saturating_sub(tmp).min(limit);
        if self.shared.channel.over_memory.load(Ordering::Relaxed) {
            measured.oom_kills = measured.oom_kills.max(1);
        }
        // The kernel's peak has `/tmp` in it; where that was used, what was seen counts instead.
        let seen = self.shared.memory_max.fetch_max(measured.memory_bytes, Ordering::Relaxed).max(measured.memory_bytes);
        measured.memory_max_bytes = if tmp == 0 { measured.memory_max_bytes.min(limit) } else { seen };
        measured
    }

    fn kill(&self) -> Fut<'_, Exit> {
        let when = self.grave().map(Grave::bury);
        Box::pin(async move {
            match when {
                Some(when) => {
                    let exit = when.await.unwrap_or(Exit::Gone);
                    if self.shared.channel.over_memory.load(Ordering::Relaxed) { Exit::OutOfMemory } else { exit }
                }
                None => Exit::Gone,
            }
        })
    }
}

/// The way to addresses inside.
struct Wire(Arc<Shared>);

impl Wire {
    async fn connect(&self, to: &Endpoint) -> io::Result<BoxIo> {
        let done = self.0.channel.ask(Ask::Dial(to.clone()), Vec::new()).await.map_err(|f| io::Error::other(f.message))?;
        let Some(socket) = done.fds.into_iter().next() else { return Err(io::ErrorKind::NotConnected.into()) };
        Ok(match to {
            Endpoint::Tcp(port) => {
                let socket = tokio::net::TcpSocket::from_std_stream(socket.into());
                let stream = socket.connect((std::net::Ipv4Addr::LOCALHOST, *port).into()).await?;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
            Endpoint::Unix(_) => Box::new(tokio::net::UnixStream::from_std(socket.into())?),
        })
    }

    fn listener(&self, at: &Endpoint) -> io::Result<Box<dyn Listener>> {
        let made =
            self.0.listeners.get(at).ok_or_else(|| {
                io::Error::new(io::ErrorKind::AddrNotAvailable, format!("nothing was asked to listen on {at:?}"))
            })?;
        let fd = made.try_clone()?;
        Ok(match at {
            Endpoint::Tcp(_) => Box::new(Tcp(tokio::net::TcpListener::from_std(fd.into())?)),
            Endpoint::Unix(_) => Box::new(Unix(tokio::net::UnixListener::from_std(fd.into())?)),
        })
    }
}

impl Link for Wire {
    fn dial(&self, to: &Endpoint) -> Fut<'_, io::Result<BoxIo>> {
        let to = to.clone();
        Box::pin(async move { self.connect(&to).await })
    }
    fn listen(&self, at: &Endpoint) -> Fut<'_, io::Result<Box<dyn Listener>>> {
        Box::pin(std::future::ready(self.listener(at)))
    }
}

struct Tcp(tokio::net::TcpListener);
impl Listener for Tcp {
    fn accept(&self) -> Fut<'_, io::Result<BoxIo>> {
        Box::pin(async {
            let (stream, _) = self.0.accept().await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as BoxIo)
        })
    }
}

struct Unix(tokio::net::UnixListener);
impl Listener for Unix {
    fn accept(&self) -> Fut<'_, io::Result<BoxIo>> {
        Box::pin(async { Ok(Box::new(self.0.accept().await?.0) as BoxIo) })
    }
}
