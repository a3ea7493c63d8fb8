//! System calls that no crate wraps as we need them. Everything here is one call with its arguments checked by the types; what
//! the calls are used for stands in the modules above.

use std::{
    ffi::CStr,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
};

/// Turns the kernel's −1 into the error that it stands for.
pub fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// What [`fork_into`] returns.
pub enum Forked {
    Parent { pid: i32, pidfd: OwnedFd },
    Child,
}

#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// `clone3` as a fork with namespaces: the child goes on at the same place with its own copy of the memory. `cgroup` is a
/// directory of the unified hierarchy that the child starts in.
///
/// # Safety
/// The calling process must have one thread only, or the child may find locks held by threads that don't exist in it.
pub unsafe fn fork_into(flags: u64, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Forked> {
    const CLONE_PIDFD: u64 = 0x1000;
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    let mut pidfd: RawFd = -1;
    let mut args = CloneArgs {
        flags: flags | CLONE_PIDFD,
        pidfd: &raw mut pidfd as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArgs::default()
    };
    if let Some(fd) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = fd.as_raw_fd() as u64;
    }
    // SAFETY: `args` is valid for the size given; the caller vouches for the single thread; without a stack the child gets a
    // copy of this one.
    let pid = check(unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>()) })?;
    if pid == 0 {
        return Ok(Forked::Child);
    }
    // SAFETY: CLONE_PIDFD made this descriptor for us and nobody else knows it.
    Ok(Forked::Parent { pid: pid as i32, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } })
}

pub fn signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    // SAFETY: plain integers and a null pointer, which stands for "as kill(2) does".
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, std::ptr::null::<u8>(), 0) }).map(drop)
}

/// Waits until the process of a pidfd has ended; false when the time is over first.
pub fn wait_ended(pidfd: BorrowedFd<'_>, wait_ms: i32) -> bool {
    let mut poll = libc::pollfd { fd: pidfd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one valid pollfd.
    (unsafe { libc::poll(&raw mut poll, 1, wait_ms) }) == 1
}

#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// Sets attributes of a detached or attached mount, and of all beneath it.
pub fn mount_attributes(
    mount: BorrowedFd<'_>,
    set: u64,
    clear: u64,
    propagation: u64,
    idmap: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    const AT_RECURSIVE: i32 = 0x8000;
    const MOUNT_ATTR_IDMAP: u64 = 0x10_0000;
    let mut attr = MountAttr { attr_set: set, attr_clr: clear, propagation, userns_fd: 0 };
    if let Some(fd) = idmap {
        attr.attr_set |= MOUNT_ATTR_IDMAP;
        attr.userns_fd = fd.as_raw_fd() as u64;
    }
    // SAFETY: an empty path with AT_EMPTY_PATH means the descriptor itself; `attr` is valid for the size given.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | AT_RECURSIVE,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    })
    .map(drop)
}

/// `mount(2)`, with its options as one string.
pub fn mount(source: &CStr, target: &CStr, kind: &CStr, flags: libc::c_ulong, data: Option<&CStr>) -> io::Result<()> {
    let data = data.map_or(std::ptr::null(), |d| d.as_ptr().cast());
    // SAFETY: all pointers are terminated strings that outlive the call.
    check(i64::from(unsafe { libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, data) })).map(drop)
}

/// Makes the current directory the root and forgets the old one, with everything mounted there.
pub fn pivot_here() -> io::Result<()> {
    rustix::process::pivot_root(c".", c".")?;
    rustix::mount::unmount(c".", rustix::mount::UnmountFlags::DETACH)?;
    rustix::process::chdir(c"/")?;
    Ok(())
}

#[repr(C)]
struct CapHeader {
    version: u32,
    pid: i32,
}
#[repr(C)]
#[derive(Clone, Copy)]
struct CapData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Keeps these capabilities (a bit each) as permitted and effective, and no other.
pub fn keep_capabilities(bits: u64) -> io::Result<()> {
    const VERSION_3: u32 = 0x2008_0522;
    let header = CapHeader { version: VERSION_3, pid: 0 };
    let part = |bits: u32| CapData { effective: bits, permitted: bits, inheritable: 0 };
    let data = [part(bits as u32), part((bits >> 32) as u32)];
    // SAFETY: version 3 takes two data words, which `data` is.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) }).map(drop)
}

/// Forgets every capability that an exec could bring back.
pub fn clear_bounding() -> io::Result<()> {
    for capability in 0..64 {
        // SAFETY: integers only.
        if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) } < 0 {
            let error = io::Error::last_os_error();
            // Past the last capability that this kernel knows.
            return if error.raw_os_error() == Some(libc::EINVAL) { Ok(()) } else { Err(error) };
        }
    }
    Ok(())
}

/// All three user ids of this thread, by the bare call: glibc's own tells other threads, and there must not be any.
pub fn set_uid(id: u32) -> io::Result<()> {
    // SAFETY: integers only.
    check(unsafe { libc::syscall(libc::SYS_setresuid, id, id, id) }).map(drop)
}

pub fn set_gid(id: u32) -> io::Result<()> {
    // SAFETY: integers only.
    check(unsafe { libc::syscall(libc::SYS_setresgid, id, id, id) }).map(drop)
}

pub fn clear_groups() -> io::Result<()> {
    // SAFETY: zero groups need no list.
    check(unsafe { libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<u32>()) }).map(drop)
}

pub fn prctl(option: i32, value: u64) -> io::Result<()> {
    // SAFETY: used with options that take one integer.
    check(i64::from(unsafe { libc::prctl(option, value, 0, 0, 0) })).map(drop)
}

/// Closes every descriptor but those in `keep`.
pub fn close_all_but(keep: &mut Vec<RawFd>) -> io::Result<()> {
    keep.sort_unstable();
    keep.dedup();
    let mut from: u32 = 0;
    for &fd in keep.iter() {
        let fd = fd as u32;
        if fd > from {
            close_range(from, fd - 1)?;
        }
        from = fd + 1;
    }
    close_range(from, u32::MAX)
}

pub fn close_range(first: u32, last: u32) -> io::Result<()> {
    // SAFETY: closes descriptors by number; callers are about to exec or own nothing in that range any more.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) }).map(drop)
}

/// Brings the loopback interface of the current network namespace up.
pub fn loopback_up() -> io::Result<()> {
    // SAFETY: makes a descriptor.
    let fd = check(i64::from(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) }))?;
    // SAFETY: fresh, and ours.
    let socket = unsafe { OwnedFd::from_raw_fd(fd as RawFd) };
    // SAFETY: ifreq is plain data, for which zeros are valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads an ifreq.
    check(i64::from(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) })).map(drop)
}

/// A pair of connected sockets that keep message boundaries.
pub fn channel() -> io::Result<(OwnedFd, OwnedFd)> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

pub fn duplicate(fd: impl AsFd) -> io::Result<OwnedFd> {
    Ok(rustix::io::fcntl_dupfd_cloexec(fd, 3)?)
}
