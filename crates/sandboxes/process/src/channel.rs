//! The platform's end of the conversation with an instance's init.

use crate::{
    cgroup::Group,
    talk::{Ask, Tell},
    wire::{self, Message},
};
use model::{Cause, Fault, sandbox::Exit};
use rustix::net::RecvFlags;
use std::{
    collections::HashMap,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::oneshot,
};

/// Longest answer of an init: some numbers and one sentence with a path.
const ANSWER_BYTES_MAX: usize = 8 * 1024;

/// What an init did when asked.
pub struct Done {
    /// Of what was started, as inside.
    pub pid: u32,
    pub fds: Vec<OwnedFd>,
    pub exited: Option<oneshot::Receiver<Exit>>,
}

#[derive(Default)]
struct Open {
    waiting: HashMap<u64, (bool, oneshot::Sender<Result<Done, Fault>>)>,
    processes: HashMap<u32, Running>,
    /// No answer will come any more.
    over: bool,
}

struct Running {
    exited: oneshot::Sender<Exit>,
    /// The out-of-memory killer's count when it started.
    oom_before: u64,
}

pub struct Channel {
    socket: AsyncFd<OwnedFd>,
    next: AtomicU64,
    open: Mutex<Open>,
    pub group: Option<Arc<Group>>,
    /// The platform itself killed for memory.
    pub over_memory: AtomicBool,
}

impl Channel {
    /// In a runtime, which will watch the socket.
    pub fn new(socket: OwnedFd, group: Option<Arc<Group>>) -> io::Result<Channel> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        // SAFETY: the descriptor is owned by what is registered and closed with it, never before.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE | Interest::WRITABLE) }?;
        Ok(Channel { socket, next: AtomicU64::new(1), open: Mutex::default(), group, over_memory: AtomicBool::new(false) })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub async fn receive(&self) -> io::Result<Message> {
        let mut buffer = [0; ANSWER_BYTES_MAX];
        loop {
            let mut ready = self.socket.readable().await?;
            match ready.try_io(|s| wire::receive(s.get_ref(), &mut buffer, RecvFlags::empty())) {
                Ok(message) => return message,
                Err(_not_yet) => {}
            }
        }
    }

    async fn send(&self, bytes: &[u8], fds: &[OwnedFd]) -> io::Result<()> {
        let fds: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
        // Nearly always there is room.
        match wire::send(self.socket.get_ref(), bytes, &fds) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            other => return other,
        }
        loop {
            let mut ready = self.socket.writable().await?;
            match ready.try_io(|s| wire::send(s.get_ref(), bytes, &fds)) {
                Ok(sent) => return sent,
                Err(_not_yet) => {}
            }
        }
    }

    /// Asks without waiting, from any thread. Number 0 is nobody's.
    pub fn tell(&self, ask: Ask) {
        let _ = wire::send(self.socket.get_ref(), &ask.encode(0), &[]);
    }

    /// Asks and waits for the answer.
    pub async fn ask(&self, ask: Ask, fds: Vec<OwnedFd>) -> Result<Done, Fault> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (tell, answer) = oneshot::channel();
        {
            let mut open = self.open();
            if open.over {
                return Err(gone());
            }
            open.waiting.insert(number, (matches!(ask, Ask::Start(_)), tell));
        }
        if let Err(e) = self.send(&ask.encode(number), &fds).await {
            self.open().waiting.remove(&number);
            if e.raw_os_error() == Some(libc::E2BIG) {
                return Err(Fault::invalid("arguments and environment of a process are too long").detail("environment"));
            }
            return Err(gone());
        }
        drop(fds);
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Reads what the init tells until it has ended.
    pub async fn listen(self: Arc<Self>) {
        while let Ok(message) = self.receive().await {
            match Tell::decode(&message.bytes) {
                Ok(tell) => self.told(tell, message.fds),
                Err(_end_or_nonsense) => break,
            }
        }
        let oom = self.oom_kills() > 0 || self.over_memory.load(Ordering::Relaxed);
        let mut open = self.open();
        open.over = true;
        open.waiting.clear();
        for (_, process) in open.processes.drain() {
            let _ = process.exited.send(if oom { Exit::OutOfMemory } else { Exit::Gone });
        }
    }

    fn oom_kills(&self) -> u64 {
        self.group.as_ref().map_or(0, |g| g.oom_kills())
    }

    fn told(&self, tell: Tell, fds: Vec<OwnedFd>) {
        match tell {
            Tell::Done { number, pid } => {
                let oom_before = self.oom_kills_at_start(number);
                let mut open = self.open();
                let Some((started, waiting)) = open.waiting.remove(&number) else { return };
                let exited = started.then(|| {
                    let (exited, when) = oneshot::channel();
                    open.processes.insert(pid, Running { exited, oom_before });
                    when
                });
                let _ = waiting.send(Ok(Done { pid, fds, exited }));
            }
            Tell::Failed { number, errno, step } => {
                if let Some((_, waiting)) = self.open().waiting.remove(&number) {
                    let _ = waiting.send(Err(failed(errno, &step)));
                }
            }
            Tell::Ended { pid, status } => {
                let process = self.open().processes.remove(&pid);
                if let Some(process) = process {
                    let exit = self.exit(status, process.oom_before);
                    let _ = process.exited.send(exit);
                }
            }
            Tell::Born | Tell::Ready => {}
        }
    }

    /// Only a start needs the count, and reading it costs a system call or three.
    fn oom_kills_at_start(&self, number: u64) -> u64 {
        let starts = self.open().waiting.get(&number).is_some_and(|w| w.0);
        if starts { self.oom_kills() } else { 0 }
    }

    fn exit(&self, status: i32, oom_before: u64) -> Exit {
        if libc::WIFEXITED(status) {
            return Exit::Code(libc::WEXITSTATUS(status));
        }
        let signal = libc::WTERMSIG(status);
        let for_memory = signal == libc::SIGKILL && (self.over_memory.load(Ordering::Relaxed) || self.oom_kills() > oom_before);
        if for_memory { Exit::OutOfMemory } else { Exit::Signal(signal) }
    }
}

pub fn gone() -> Fault {
    Fault::new(Cause::Exited, "the instance has ended")
}

/// What an init or the spawner could not do, as a fault. Being out of something is not a defect. Its detail names the error, which
/// tells a missing program (`ENOENT`) from one that may not be executed (`EACCES`) or is none (`ENOEXEC`).
pub fn failed(errno: i32, step: &str) -> Fault {
    let error = io::Error::from_raw_os_error(errno);
    let cause = match errno {
        libc::ENOSPC | libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE | libc::EUSERS => Cause::Exhausted,
        _ if step.starts_with("execute") || step.starts_with("enter the working") => Cause::InitFailed,
        libc::E2BIG | libc::EINVAL if step.starts_with("read the") => Cause::Invalid,
        _ => Cause::Internal,
    };
    let names = [
        (libc::ENOENT, "ENOENT"),
        (libc::EACCES, "EACCES"),
        (libc::ENOEXEC, "ENOEXEC"),
        (libc::ELOOP, "ELOOP"),
        (libc::ENOTDIR, "ENOTDIR"),
    ];
    let detail = names.iter().find(|n| n.0 == errno).map_or(format!("errno {errno}"), |n| n.1.to_owned());
    Fault::new(cause, format!("could not {step}: {error}")).detail(detail)
}
