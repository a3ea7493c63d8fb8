//! Process 1 of an instance: builds the root, makes the listeners, then starts, kills and reaps what runs inside, as asked over
//! its channel. It is a fork of the spawner that never executes anything; when it ends, the kernel ends all the rest.

use crate::{
    filter::Filter,
    jail::{self, Plan},
    root::{Failed, Root, step},
    sys,
    talk::{Ask, Birth, Start, Tell},
    template::INIT_ID,
    wire,
};
use model::sandbox::Endpoint;
use rustix::{
    fs::{CWD, Mode, OFlags},
    net::RecvFlags,
};
use std::{
    ffi::CString,
    io,
    net::TcpListener,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
        unix::{fs::PermissionsExt, net::UnixListener},
    },
};

/// What a new init is born with.
pub struct Newborn<'a> {
    pub birth: Birth,
    pub channel: OwnedFd,
    /// Open `cgroup.procs` files to join.
    pub groups: Vec<OwnedFd>,
    pub trees: Vec<OwnedFd>,
    /// Readable once the ids are mapped; at its end before, the spawner gave up.
    pub mapped: OwnedFd,
    pub filter: &'a Filter,
}

/// What the init needs of its capabilities: attach mounts, make mount points, change ids, clear what an exec could keep, kill.
const KEPT: u64 = 1 << 21 | 1 << 1 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 5;

/// Lives the init's life; never returns.
pub fn live(newborn: Newborn<'_>) -> ! {
    let channel = newborn.channel.as_raw_fd();
    if let Err((error, step)) = raise(newborn) {
        let tell = Tell::Failed { number: 0, errno: error.raw_os_error().unwrap_or(libc::EIO), step };
        // SAFETY: the channel stays open until this process ends: nothing closes it after `raise` has taken it over.
        let channel = unsafe { BorrowedFd::borrow_raw(channel) };
        let _ = wire::send(channel, &tell.encode(), &[]);
    }
    // SAFETY: ends this process; everything inside ends with it.
    unsafe { libc::_exit(0) }
}

fn raise(newborn: Newborn<'_>) -> Result<(), Failed> {
    // Never dropped: the descriptor must outlive an error.
    let newborn = std::mem::ManuallyDrop::new(newborn);
    let birth = &newborn.birth;
    let keep = [&newborn.groups, &newborn.trees].into_iter().flatten().chain([&newborn.channel, &newborn.mapped]);
    sys::close_all_but(&mut keep.map(AsRawFd::as_raw_fd).chain([2]).collect())
        .map_err(step("close the spawner's descriptors"))?;
    // SAFETY: default disposition, so that ended children wait to be reaped.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
    for group in &newborn.groups {
        rustix::io::write(group, b"0").map_err(step("join a control group"))?;
    }
    // After joining, so that its view of the hierarchies begins at its own groups.
    // SAFETY: one thread; integers only.
    sys::check(i64::from(unsafe { libc::unshare(libc::CLONE_NEWCGROUP) })).map_err(step("hide the platform's control groups"))?;
    let mut listeners = tcp_listeners(&birth.listens)?;
    let mut root = Root::copy(birth.ids.is_some())?;
    wait_mapped(&newborn.mapped)?;
    if birth.ids.is_some() {
        sys::clear_groups().map_err(step("leave the platform's groups"))?;
        sys::set_gid(INIT_ID).map_err(step("take the init's group"))?;
        sys::set_uid(INIT_ID).map_err(step("take the init's user"))?;
    }
    root.fill(birth)?;
    root.attach(newborn.trees.iter().map(AsFd::as_fd).zip(birth.mounts.iter().map(|m| m.1.as_str())))?;
    root.enter()?;
    unix_listeners(&birth.listens, &mut listeners)?;
    confine()?;

    let open = |path: &str, flags: OFlags| rustix::fs::openat(CWD, path, flags | OFlags::CLOEXEC, Mode::empty());
    let null = open("/dev/null", OFlags::RDWR).map_err(step("open /dev/null"))?;
    let null = above(null.as_fd()).map_err(step("move a descriptor"))?;
    let tmp = open("/tmp", OFlags::PATH).map_err(step("open /tmp"))?;
    // SAFETY: the trees and groups are ours and not used again.
    newborn
        .trees
        .iter()
        .chain(&newborn.groups)
        .chain([&newborn.mapped])
        .for_each(|fd| unsafe { drop(OwnedFd::from_raw_fd(fd.as_raw_fd())) });
    let signals = child_signals().map_err(step("watch for ended processes"))?;
    let out: Vec<_> = [tmp.as_fd()].into_iter().chain(listeners.iter().flatten().map(AsFd::as_fd)).collect();
    wire::send(&newborn.channel, &Tell::Ready.encode(), &out).map_err(step("report"))?;
    drop((tmp, listeners));
    let own_ids = birth.ids.is_some();
    let mut init =
        Init { channel: newborn.channel.as_fd(), signals, null, root, own_ids, filter: newborn.filter, started: Vec::new() };
    // An error here means that the platform is gone.
    let _ = init.serve();
    Ok(())
}

fn wait_mapped(mapped: &OwnedFd) -> Result<(), Failed> {
    match rustix::io::retry_on_intr(|| rustix::io::read(mapped, &mut [0u8; 1])) {
        Ok(1) => Ok(()),
        Ok(_) => Err((io::Error::from_raw_os_error(libc::EPIPE), "wait for mapped ids".into())),
        Err(e) => Err((e.into(), "wait for mapped ids".into())),
    }
}

/// One place per asked listener, filled for TCP.
fn tcp_listeners(listens: &[Endpoint]) -> Result<Vec<Option<OwnedFd>>, Failed> {
    let make = |at: &Endpoint| match at {
        Endpoint::Tcp(port) => TcpListener::bind(("127.0.0.1", *port))
            .and_then(|l| l.set_nonblocking(true).map(|()| Some(l.into())))
            .map_err(step(format!("listen on port {port}"))),
        Endpoint::Unix(_) => Ok(None),
    };
    listens.iter().map(make).collect()
}

fn unix_listeners(listens: &[Endpoint], made: &mut [Option<OwnedFd>]) -> Result<(), Failed> {
    for (at, place) in listens.iter().zip(made) {
        if let Endpoint::Unix(path) = at {
            let bind = || {
                let listener = UnixListener::bind(path)?;
                listener.set_nonblocking(true)?;
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
                io::Result::Ok(listener)
            };
            *place = Some(bind().map_err(step(format!("listen on {path}")))?.into());
        }
    }
    Ok(())
}

/// Gives up what an init doesn't need, for itself and for all that it will start.
fn confine() -> Result<(), Failed> {
    sys::clear_bounding().map_err(step("clear the bounding set"))?;
    sys::keep_capabilities(KEPT).map_err(step("drop capabilities"))?;
    sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1).map_err(step("forbid new privileges"))?;
    sys::prctl(libc::PR_SET_DUMPABLE, 0).map_err(step("forbid being looked into"))?;
    // The last: a change of ids or rights would clear it.
    sys::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as u64).map_err(step("follow the spawner"))
}

fn child_signals() -> io::Result<OwnedFd> {
    // SAFETY: a valid set of signals, blocked here and unblocked again before an exec.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut set);
        sys::check(i64::from(libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut())))?;
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        let fd = sys::check(i64::from(libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)))?;
        Ok(OwnedFd::from_raw_fd(fd as RawFd))
    }
}

fn above(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    Ok(rustix::io::fcntl_dupfd_cloexec(fd, jail::LOWEST)?)
}

struct Init<'a> {
    channel: BorrowedFd<'a>,
    signals: OwnedFd,
    null: OwnedFd,
    root: Root,
    own_ids: bool,
    filter: &'a Filter,
    started: Vec<u32>,
}

impl Init<'_> {
    fn serve(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; wire::MESSAGE_BYTES_MAX];
        loop {
            use rustix::event::{PollFd, PollFlags, poll};
            let mut wait = [PollFd::new(&self.channel, PollFlags::IN), PollFd::new(&self.signals, PollFlags::IN)];
            rustix::io::retry_on_intr(|| poll(&mut wait, None))?;
            let (asked, ended) = (!wait[0].revents().is_empty(), !wait[1].revents().is_empty());
            if ended {
                let _ = rustix::io::read(&self.signals, &mut [0u8; 128]);
                self.reap(libc::WNOHANG)?;
            }
            if asked {
                let message = wire::receive(self.channel, &mut buffer, RecvFlags::empty())?;
                if message.bytes.is_empty() {
                    return Ok(());
                }
                self.answer(message)?;
            }
        }
    }

    fn answer(&mut self, message: wire::Message) -> io::Result<()> {
        let (number, ask) = Ask::decode(&message.bytes)?;
        let done = match ask {
            Ask::Start(start) => self.start(start, &message.fds).map(|pid| (pid, None)),
            Ask::KillAll => {
                // SAFETY: from process 1 this reaches all in this namespace but itself.
                unsafe { libc::kill(-1, libc::SIGKILL) };
                self.reap(0)?;
                Ok((0, None))
            }
            Ask::Attach { targets, tmp_bytes, tmp_inodes } => {
                let mounts = message.fds.iter().map(AsFd::as_fd).zip(targets.iter().map(String::as_str));
                self.root.attach(mounts).and_then(|()| self.root.resize_tmp(tmp_bytes, tmp_inodes)).map(|()| (0, None))
            }
            Ask::Signal { pid, signal } => {
                // Each was started as the leader of a session; the number of one that has ended may be another's by now.
                if self.started.contains(&pid) {
                    // SAFETY: numbers only; the group is the process's own.
                    unsafe { libc::kill(-(pid as i32), signal) };
                }
                Ok((0, None))
            }
            Ask::Dial(to) => dial(&to).map(|socket| (0, Some(socket))).map_err(step("make a socket")),
        };
        match done {
            Ok((pid, made)) => {
                let fds: Vec<_> = made.iter().map(AsFd::as_fd).collect();
                wire::send(self.channel, &Tell::Done { number, pid }.encode(), &fds)
            }
            Err((error, step)) => {
                let errno = error.raw_os_error().unwrap_or(libc::EIO);
                wire::send(self.channel, &Tell::Failed { number, errno, step }.encode(), &[])
            }
        }
    }

    fn start(&mut self, start: Start, fds: &[OwnedFd]) -> Result<u32, Failed> {
        let text = |bytes: Vec<u8>| CString::new(bytes).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL));
        let texts = |list: Vec<Vec<u8>>| list.into_iter().map(text).collect::<io::Result<Vec<_>>>();
        let program = start.argv.first().cloned().unwrap_or_default();
        let name = String::from_utf8_lossy(&program).into_owned();
        let fds = fds.iter().map(|fd| above(fd.as_fd())).collect::<io::Result<Vec<_>>>().map_err(step("move a descriptor"))?;
        let Some(output) = fds.first() else {
            return Err((io::Error::from_raw_os_error(libc::EINVAL), "take the output pipe".into()));
        };
        let invalid = |what: &str| step(format!("read the {what} of {name}"));
        let plan = Plan {
            paths: texts(jail::candidates(&program, &start.env)).map_err(invalid("path"))?,
            argv: texts(start.argv).map_err(invalid("arguments"))?,
            env: texts(start.env).map_err(invalid("environment"))?,
            cwd: text(start.cwd).map_err(invalid("working directory"))?,
            null: self.null.as_raw_fd(),
            output: output.as_raw_fd(),
            frames: fds.get(1).map(AsRawFd::as_raw_fd),
            descriptors: start.descriptors,
            pids: start.pids,
            own_ids: self.own_ids,
            filter: self.filter,
        };
        let pid = jail::start(&plan).map_err(|(e, what)| (e, format!("{what} for {name}")))? as u32;
        self.started.push(pid);
        Ok(pid)
    }

    /// Takes ended processes off the kernel's hands and reports those that were asked for. Without `WNOHANG`: until none is left.
    fn reap(&mut self, how: i32) -> io::Result<()> {
        loop {
            let mut status = 0;
            // SAFETY: `status` is valid to write to.
            let pid = unsafe { libc::waitpid(-1, &raw mut status, how) };
            if pid <= 0 {
                return Ok(());
            }
            let pid = pid as u32;
            if let Some(at) = self.started.iter().position(|p| *p == pid) {
                self.started.swap_remove(at);
                wire::send(self.channel, &Tell::Ended { pid, status }.encode(), &[])?;
            }
        }
    }
}

/// An unconnected TCP socket of this network, or a connection to a path beneath this root.
fn dial(to: &Endpoint) -> io::Result<OwnedFd> {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(match to {
        Endpoint::Tcp(_) => socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?,
        Endpoint::Unix(path) => {
            let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
            connect(&socket, &SocketAddrUnix::new(path.as_str())?)?;
            socket
        }
    })
}
