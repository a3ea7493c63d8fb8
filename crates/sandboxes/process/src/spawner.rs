//! The one process that makes instances: this binary again, from a sealed copy in memory, with one thread, no environment and no
//! secret. It outlives no platform, and no instance outlives it.
//!
//! Sealed, because what runs as `/proc/self/exe` of a process near user code must not be writable through it (CVE-2019-5736).
//! One thread, because a fork of many is undefined, and because the kernel's "signal when the parent dies" means the parent's
//! thread.

use crate::{
    filter::Filter,
    init::{self, Newborn},
    network::Networks,
    sys::{self, Forked},
    talk::{Birth, Order, Tell},
    template::{GROUP_ID, INIT_ID, Template, USER_ID},
    wire::{self, In, Out},
};
use rustix::net::RecvFlags;
use std::{
    ffi::OsStr,
    fs,
    io::{self, Read, Write},
    os::{
        fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
        unix::{ffi::OsStrExt, process::CommandExt},
    },
    path::Path,
    process::{Command, Stdio},
};

/// What the helper is called in a list of processes; also how a binary knows that it is meant to be one.
pub const NAME: &str = "myna-spawner";
const SOCKET: i32 = 3;
/// An order that comes within this time after another finds the spawner waiting for it.
const REST_NS: i64 = 2_000_000;
/// Each waits for 150 ms by itself.
const SEAL_TRIES: u32 = 30;
const HOST_NAME: &[u8] = b"sandbox.localdomain";

/// Becomes the spawner if that is what this process was started as. The binary calls this before anything else: before it has
/// threads, a runtime, or secrets in memory.
pub fn run_if_helper() {
    if is_helper() {
        // SAFETY: whoever starts a helper puts its socket there, and nothing else here knows of it.
        let socket = unsafe { OwnedFd::from_raw_fd(SOCKET) };
        if let Err((error, step)) = serve(&socket) {
            let tell = Tell::Failed { number: 0, errno: error.raw_os_error().unwrap_or(libc::EIO), step };
            let _ = wire::send(&socket, &tell.encode(), &[]);
            std::process::exit(1);
        }
        std::process::exit(0);
    }
}

fn is_helper() -> bool {
    std::env::args_os().next().as_deref() == Some(OsStr::new(NAME))
}

/// What a spawner is told when it starts.
pub struct Hello<'a> {
    /// Any folder; the spawner covers it in its own view.
    pub over: &'a Path,
    /// The id that is root inside; `None` for a plain user, who has one id only.
    pub root_id: Option<u32>,
}

/// Starts a spawner and waits until it is ready. With `die_with_thread` it ends with the calling thread, which must then be the
/// main one; it ends with the socket in any case.
pub fn launch(hello: &Hello<'_>, die_with_thread: bool) -> io::Result<OwnedFd> {
    if is_helper() {
        // Else it would start itself without end.
        return Err(io::Error::other("this binary doesn't call run_if_helper() before it starts sandboxes"));
    }
    let (ours, theirs) = sys::channel()?;
    let program = sealed_self()?;
    let mut command = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()));
    command.arg0(NAME).env_clear().current_dir("/").stdin(Stdio::null()).stdout(Stdio::null());
    let socket = theirs.as_raw_fd();
    let parent = std::process::id();
    // SAFETY: only system calls between fork and exec, nothing that allocates or locks.
    unsafe {
        command.pre_exec(move || {
            if die_with_thread {
                sys::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as u64)?;
                if libc::getppid() as u32 != parent {
                    return Err(io::Error::from_raw_os_error(libc::ESRCH));
                }
            }
            if socket == SOCKET {
                sys::check(i64::from(libc::fcntl(socket, libc::F_SETFD, 0)))?;
            } else {
                sys::check(i64::from(libc::dup2(socket, SOCKET)))?;
            }
            Ok(())
        });
    }
    let mut child = command.spawn()?;
    drop((theirs, program));
    wire::send(&ours, &Out::kind(0).u32(hello.root_id.unwrap_or(0)).bytes(hello.over.as_os_str().as_bytes()).0, &[])?;
    let answer = wire::receive(&ours, &mut [0; 4096], RecvFlags::empty())?;
    match Tell::decode(&answer.bytes) {
        Ok(Tell::Ready) => {
            // Ends when we do; somebody has to take it off the kernel's hands if it ends before.
            // One that doesn't read its orders must not hold up whoever gives them.
            rustix::io::ioctl_fionbio(&ours, true)?;
            std::thread::Builder::new().name("spawner-wait".into()).stack_size(64 * 1024).spawn(move || drop(child.wait()))?;
            Ok(ours)
        }
        Ok(Tell::Failed { errno, step, .. }) => {
            let _ = child.wait();
            let error = io::Error::from_raw_os_error(errno);
            Err(io::Error::new(error.kind(), format!("the spawner could not {step}: {error}")))
        }
        _ => {
            drop(ours);
            Err(io::Error::other(format!("the spawner ended before it was ready: {}", child.wait()?)))
        }
    }
}

/// A copy of this executable in memory that nobody can change.
fn sealed_self() -> io::Result<OwnedFd> {
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
    let memory = memfd_create(NAME, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut file = fs::File::from(memory);
    io::copy(&mut fs::File::open("/proc/self/exe")?, &mut file)?;
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    // Busy as long as the kernel itself holds on to one of its pages, as reclaim and its monitors do for a moment
    // (`mm/memfd.c`, memfd_wait_for_pins, which waits for 150 ms).
    for left in (0..SEAL_TRIES).rev() {
        match fcntl_add_seals(&file, seals) {
            Err(rustix::io::Errno::BUSY) if left > 0 => std::thread::sleep(std::time::Duration::from_millis(10)),
            ended => {
                ended?;
                break;
            }
        }
    }
    // Executing needs a descriptor that isn't open for writing.
    fs::File::open(format!("/proc/self/fd/{}", file.as_raw_fd())).map(OwnedFd::from)
}

type Failed = (io::Error, String);
use crate::root::step;

fn serve(socket: &OwnedFd) -> Result<(), Failed> {
    rustix::io::fcntl_setfd(socket, rustix::io::FdFlags::CLOEXEC).map_err(step("guard its socket"))?;
    sys::close_range(SOCKET as u32 + 1, u32::MAX).map_err(step("close what it inherited"))?;
    let mut buffer = vec![0; wire::MESSAGE_BYTES_MAX];
    let hello = wire::receive(socket, &mut buffer, RecvFlags::empty()).map_err(step("read its settings"))?;
    let mut read = In(&hello.bytes);
    let mut settings = || {
        read.u8()?;
        Ok((read.u32()?, read.bytes()?))
    };
    let (root_id, over) = settings().map_err(step::<io::Error>("read its settings"))?;
    let root_id = (root_id != 0).then_some(root_id);
    let mut spawner = Spawner::prepare(Path::new(OsStr::from_bytes(over)), root_id)?;
    wire::send(socket, &Tell::Ready.encode(), &[]).map_err(step("report"))?;
    loop {
        spawner.rest(socket).map_err(step("wait for an order"))?;
        let order = wire::receive(socket, &mut buffer, RecvFlags::empty()).map_err(step("read an order"))?;
        if order.bytes.is_empty() {
            return Ok(());
        }
        spawner.obey(&order.bytes, order.fds).map_err(step("understand an order"))?;
    }
}

struct Spawner {
    template: Template,
    filter: Filter,
    /// The id that is root inside.
    root_id: Option<u32>,
    networks: Networks,
}

impl Spawner {
    fn prepare(over: &Path, root_id: Option<u32>) -> Result<Spawner, Failed> {
        let ids = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        // SAFETY: ended children need no reaping; nothing else handles signals here.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
        // Whoever runs user code goes before the platform when the machine has no memory left. Raising is always allowed.
        let _ = fs::write("/proc/self/oom_score_adj", "500");
        // A network of its own too: it needs none, and may come back to this one after lending itself to another's.
        let flags =
            libc::CLONE_NEWNS | libc::CLONE_NEWUTS | libc::CLONE_NEWNET | if root_id.is_none() { libc::CLONE_NEWUSER } else { 0 };
        // SAFETY: one thread; integers only.
        sys::check(i64::from(unsafe { libc::unshare(flags) })).map_err(step("leave the platform's namespaces"))?;
        if root_id.is_none() {
            let map = |file: &str, id: u32| fs::write(format!("/proc/self/{file}"), format!("0 {id} 1"));
            fs::write("/proc/self/setgroups", "deny").map_err(step("give up groups"))?;
            map("gid_map", ids.1).and_then(|()| map("uid_map", ids.0)).map_err(step("map its own user"))?;
        }
        rustix::system::sethostname(HOST_NAME).map_err(step("set the host name"))?;
        let idmap = root_id.and_then(|id| root_idmap(id).ok());
        let template = Template::build(over, idmap, root_id).map_err(step("build the instances' root"))?;
        let networks = Networks::new().map_err(step("remember its network"))?;
        Ok(Spawner { template, filter: Filter::new(), root_id, networks })
    }

    /// Uses the time until the next order for what it may need.
    fn rest(&mut self, socket: &OwnedFd) -> io::Result<()> {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let pause = Timespec { tv_sec: 0, tv_nsec: REST_NS };
        while !self.networks.is_full() && poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&pause))? == 0 {
            self.networks.make_spare()?;
        }
        Ok(())
    }

    /// An error ends the spawner; what fails for one instance is told to that one's channel.
    fn obey(&mut self, bytes: &[u8], fds: Vec<OwnedFd>) -> io::Result<()> {
        let order = Order::decode(bytes)?;
        let mut fds = fds.into_iter();
        let Some(channel) = fds.next() else { return Err(io::Error::other("an order came without a channel")) };
        let failed = match order {
            Order::Birth(birth) => self.bear(birth, channel.try_clone()?, fds.collect()),
            Order::Trees(stacks) => self.template.trees(stacks.iter()).and_then(|trees| {
                let trees: Vec<_> = trees.iter().map(AsFd::as_fd).collect();
                wire::send(&channel, &Tell::Ready.encode(), &trees).map_err(step("send mounts"))
            }),
        };
        if let Err((error, step)) = failed {
            let tell = Tell::Failed { number: 0, errno: error.raw_os_error().unwrap_or(libc::EIO), step };
            // Nobody listening is no reason to end.
            let _ = wire::send(&channel, &tell.encode(), &[]);
        }
        Ok(())
    }

    fn bear(&mut self, birth: Birth, channel: OwnedFd, mut groups: Vec<OwnedFd>) -> Result<(), Failed> {
        let trees = self.template.trees(birth.mounts.iter().map(|m| &m.0))?;
        let (mapped, go) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(step("make a pipe"))?;
        let own = (birth.into_cgroup && !groups.is_empty()).then(|| groups.remove(0));
        let ids = birth.ids;
        const SPACES: i32 =
            libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
        self.networks.enter().map_err(step("make a network"))?;
        // SAFETY: the spawner has one thread.
        let forked = unsafe { sys::fork_into(SPACES as u32 as u64, own.as_ref().map(AsFd::as_fd)) };
        if !matches!(forked, Ok(Forked::Child)) {
            self.networks.leave().map_err(step("leave an instance's network"))?;
        }
        match forked.map_err(step("clone an init"))? {
            Forked::Child => init::live(Newborn { birth, channel, groups, trees, mapped, filter: &self.filter }),
            Forked::Parent { pid, pidfd } => {
                wire::send(&channel, &Tell::Born.encode(), &[pidfd.as_fd()]).map_err(step("report a birth"))?;
                self.map(pid, ids).inspect_err(|_| drop(sys::signal(pidfd.as_fd(), libc::SIGKILL)))?;
                // Fails when the init has ended already, which its channel tells.
                let _ = rustix::io::write(&go, b"!");
                Ok(())
            }
        }
    }

    /// Root inside is an id that no process has; init and function have one each that no other instance has.
    fn map(&self, pid: i32, ids: Option<(u32, u32)>) -> Result<(), Failed> {
        let write = |file: &str, text: String| {
            fs::write(format!("/proc/{pid}/{file}"), text).map_err(step(format!("write the init's {file}")))
        };
        let (uids, gids) = match (self.root_id, ids) {
            (Some(root), Some((init, user))) => (
                format!("0 {root} 1\n{INIT_ID} {init} 1\n{USER_ID} {user} 1\n"),
                format!("0 {root} 1\n{INIT_ID} {init} 1\n{GROUP_ID} {user} 1\n"),
            ),
            _ => (format!("{USER_ID} 0 1\n"), format!("{GROUP_ID} 0 1\n")),
        };
        write("gid_map", gids)?;
        write("uid_map", uids)
    }
}

/// A user namespace whose only purpose is its map: what belongs to root on the host shows as root's inside.
fn root_idmap(root_id: u32) -> io::Result<OwnedFd> {
    let (wait, hold) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    // SAFETY: the spawner has one thread.
    match unsafe { sys::fork_into(libc::CLONE_NEWUSER as u64, None) }? {
        Forked::Child => {
            drop(hold);
            let _ = fs::File::from(wait).read(&mut [0]);
            // SAFETY: ends this process at once.
            unsafe { libc::_exit(0) }
        }
        Forked::Parent { pid, .. } => {
            let map = format!("0 {root_id} 1\n");
            fs::OpenOptions::new().write(true).open(format!("/proc/{pid}/gid_map"))?.write_all(map.as_bytes())?;
            fs::OpenOptions::new().write(true).open(format!("/proc/{pid}/uid_map"))?.write_all(map.as_bytes())?;
            let space = fs::File::open(format!("/proc/{pid}/ns/user"))?;
            drop(hold);
            Ok(space.into())
        }
    }
}
