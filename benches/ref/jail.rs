//! What the references that start processes share: a child in its own mount, pid, ipc, uts and network namespaces, on a read-only
//! bind of the host's root with a fresh `/proc`, under a system call filter, and with one processor where it is asked for. Nothing
//! is kept ready for the next child. Frozen: a change to this file voids every figure measured against it.

#![allow(unsafe_code, reason = "clone3 and what its child does before the exec have no safe form")]

#[path = "group.rs"]
mod group;

use group::Groups;
use std::{
    ffi::{CStr, CString},
    fs::{self, File},
    io,
    net::TcpListener,
    os::fd::{AsRawFd, RawFd},
    path::{Path, PathBuf},
    ptr::null,
};

/// Refused in a child: a dozen of the calls that every sandbox refuses.
#[rustfmt::skip]
const REFUSED: [i64; 12] = [
    libc::SYS_mount, libc::SYS_umount2, libc::SYS_pivot_root, libc::SYS_setns, libc::SYS_bpf, libc::SYS_ptrace, libc::SYS_keyctl,
    libc::SYS_kexec_load, libc::SYS_init_module, libc::SYS_reboot, libc::SYS_userfaultfd, libc::SYS_io_uring_setup,
];
const SPACES: i32 = libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;

pub struct Jail {
    root: CString,
    home: File,
    filter: Vec<libc::sock_filter>,
    groups: Option<Groups>,
}

/// A child; killed when this is dropped.
pub struct Inmate {
    pid: i32,
    group: Option<PathBuf>,
}

impl Drop for Inmate {
    fn drop(&mut self) {
        // SAFETY: integers, and a null pointer that is allowed.
        unsafe { (libc::kill(self.pid, libc::SIGKILL), libc::waitpid(self.pid, std::ptr::null_mut(), 0)) };
        let _ = self.group.as_ref().map(fs::remove_dir);
    }
}

impl Jail {
    pub fn new(root: &Path, one_processor: bool) -> io::Result<Jail> {
        let op = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
        let mut filter = vec![op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0)];
        for (n, call) in REFUSED.iter().enumerate() {
            filter.push(op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, (REFUSED.len() - n) as u8, 0, *call as u32));
        }
        filter.push(op(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW));
        filter.push(op(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32));
        let groups = if one_processor { Groups::new()? } else { None };
        let root = CString::new(root.as_os_str().as_encoded_bytes())?;
        Ok(Jail { root, home: File::open("/proc/self/ns/net")?, filter, groups })
    }

    /// Starts `argv` with these descriptors as its input and output, and with a listener on its own loopback where one is asked for.
    pub fn start(
        &self,
        argv: &[CString],
        env: &[CString],
        ends: [RawFd; 2],
        port: Option<u16>,
    ) -> io::Result<(Inmate, Option<TcpListener>)> {
        let list = |items: &[CString]| items.iter().map(|s| s.as_ptr()).chain([null()]).collect::<Vec<_>>();
        let (argv, env, group) = (list(argv), list(env), self.groups.as_ref().map(Groups::make).transpose()?);
        // SAFETY: only this thread's network changes, and back below; the child inherits it.
        check(unsafe { libc::unshare(libc::CLONE_NEWNET) }.into())?;
        loopback_up()?;
        let listener = port.map(|p| TcpListener::bind(("127.0.0.1", p))).transpose()?;
        let args: [u64; 8] = [SPACES as u64, 0, 0, 0, libc::SIGCHLD as u64, 0, 0, 0];
        // SAFETY: a fork with a copy of this stack; until its exec the child makes system calls and nothing else.
        let pid = check(unsafe { libc::syscall(libc::SYS_clone3, args.as_ptr(), size_of_val(&args)) })?;
        if pid == 0 {
            self.become_it(&argv, &env, ends, group.as_ref().map(|g| g.1.as_raw_fd()));
        }
        let inmate = Inmate { pid: pid as i32, group: group.map(|g| g.0) };
        // SAFETY: integers only.
        check(unsafe { libc::setns(self.home.as_raw_fd(), libc::CLONE_NEWNET) }.into())?;
        Ok((inmate, listener))
    }

    fn become_it(&self, argv: &[*const libc::c_char], env: &[*const libc::c_char], ends: [RawFd; 2], group: Option<RawFd>) -> ! {
        let mount = |from: Option<&CStr>, at: &CStr, kind: Option<&CStr>, flags| {
            let text = |s: Option<&CStr>| s.map_or(null(), CStr::as_ptr);
            // SAFETY: terminated strings, or null where the kernel takes none.
            unsafe { libc::mount(text(from), at.as_ptr(), text(kind), flags, null()) == 0 }
        };
        let program = libc::sock_fprog { len: self.filter.len() as u16, filter: self.filter.as_ptr().cast_mut() };
        // SAFETY: system calls on integers and on strings and lists that this copy of the memory holds; the one thread.
        unsafe {
            let _ = group.is_none_or(|g| libc::write(g, c"0".as_ptr().cast(), 1) == 1)
                && mount(None, c"/", None, libc::MS_REC | libc::MS_PRIVATE)
                && mount(Some(c"/"), &self.root, None, libc::MS_BIND)
                && mount(None, &self.root, None, libc::MS_BIND | libc::MS_REMOUNT | libc::MS_RDONLY)
                && libc::chdir(self.root.as_ptr()) == 0
                && libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()) == 0
                && libc::umount2(c".".as_ptr(), libc::MNT_DETACH) == 0
                && mount(Some(c"proc"), c"/proc", Some(c"proc"), libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC)
                && libc::dup2(ends[0], 0) == 0
                && libc::dup2(ends[1], 1) == 1
                && libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                && libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) == 0
                && libc::execve(argv[0], argv.as_ptr(), env.as_ptr()) == 0;
            libc::_exit(127)
        }
    }
}

fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn loopback_up() -> io::Result<()> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
    // SAFETY: ifreq is plain data, and SIOCSIFFLAGS reads one.
    unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[..2].copy_from_slice(&[b'l' as libc::c_char, b'o' as libc::c_char]);
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
        check(libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request).into()).map(drop)
    }
}
