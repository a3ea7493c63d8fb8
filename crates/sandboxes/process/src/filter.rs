//! The system call filter of every process that runs user code.
//!
//! An allowing filter with a list of refusals: what a serverless function may need can't be listed for all languages, what it
//! never needs can. Three answers are used, which is why the program is written here and not by a crate that knows one answer per
//! filter: EPERM for what is refused, ENOSYS where libraries have a fallback for an older kernel (`clone3`, whose flags a filter
//! can't read) and for every call newer than this list, EAFNOSUPPORT for address families.

use libc::{c_long, sock_filter, sock_fprog};
use std::io;

#[cfg(target_arch = "x86_64")]
const ARCH: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCH: u32 = 0xc000_00b7;

/// The newest call that was looked at (`mseal`, the same number on every 64-bit architecture).
const NEWEST: c_long = 462;

/// Refused with EPERM whatever the arguments.
#[rustfmt::skip]
const REFUSED: &[c_long] = &[
    // Mounts and roots; listing mounts by number.
    libc::SYS_mount, libc::SYS_umount2, libc::SYS_pivot_root, libc::SYS_chroot, libc::SYS_open_tree, libc::SYS_move_mount,
    libc::SYS_fsopen, libc::SYS_fsconfig, libc::SYS_fsmount, libc::SYS_fspick, libc::SYS_mount_setattr, 457, 458,
    // Namespaces.
    libc::SYS_setns,
    // Keyrings: not namespaced by user until late, a classic of escapes.
    libc::SYS_add_key, libc::SYS_request_key, libc::SYS_keyctl,
    // Files by handle get around paths and mounts.
    libc::SYS_open_by_handle_at,
    // Programs and events inside the kernel.
    libc::SYS_bpf, libc::SYS_perf_event_open, libc::SYS_userfaultfd, libc::SYS_io_uring_setup, libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register, libc::SYS_fanotify_init,
    // Other processes' memory and descriptors. Own children too: nothing that is deployed needs a debugger.
    libc::SYS_ptrace, libc::SYS_process_vm_readv, libc::SYS_process_vm_writev, libc::SYS_kcmp, libc::SYS_pidfd_getfd,
    // The machine itself.
    libc::SYS_kexec_load, libc::SYS_kexec_file_load, libc::SYS_init_module, libc::SYS_finit_module, libc::SYS_delete_module,
    libc::SYS_reboot, libc::SYS_swapon, libc::SYS_swapoff, libc::SYS_acct, libc::SYS_quotactl, libc::SYS_quotactl_fd,
    libc::SYS_settimeofday, libc::SYS_clock_settime, libc::SYS_sethostname, libc::SYS_setdomainname, libc::SYS_syslog,
    libc::SYS_vhangup, libc::SYS_lookup_dcookie, libc::SYS_nfsservctl,
    #[cfg(target_arch = "x86_64")] libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")] libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")] libc::SYS_modify_ldt,
    #[cfg(target_arch = "x86_64")] libc::SYS_uselib,
    #[cfg(target_arch = "x86_64")] libc::SYS_ustat,
    #[cfg(target_arch = "x86_64")] libc::SYS_sysfs,
    #[cfg(target_arch = "x86_64")] libc::SYS__sysctl,
];

/// Flags of `clone` and `unshare` that make a namespace: user, mount, pid, net, ipc, uts, cgroup, time. (In `clone` the last is
/// part of the exit signal's byte, where it can't be given.)
const NAMESPACES: u32 = 0x7e02_0000;
const NEWTIME: u32 = 0x80;

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const GREATER: u16 = (libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K) as u16;
const ANY_BIT: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;

fn refuse(errno: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | errno as u32
}

/// A compiled filter, made once per spawner and inherited by every init.
pub struct Filter(Vec<sock_filter>);

impl Filter {
    pub fn new() -> Filter {
        let mut program = Program(Vec::with_capacity(200));
        program.load(4);
        program.unless_return(EQUAL, ARCH, KILL);
        program.load(0);
        program.if_return(GREATER, NEWEST as u32, refuse(libc::ENOSYS));
        program.if_return(EQUAL, libc::SYS_clone3 as u32, refuse(libc::ENOSYS));
        for &call in REFUSED {
            program.if_return(EQUAL, call as u32, refuse(libc::EPERM));
        }
        let bits = |flags, answer| vec![load_argument(0), jump(ANY_BIT, flags, 0, 1), give(answer), give(ALLOW)];
        program.when(libc::SYS_clone, bits(NAMESPACES, refuse(libc::EPERM)));
        program.when(libc::SYS_unshare, bits(NAMESPACES | NEWTIME, refuse(libc::EPERM)));
        let (inet6, netlink) = (libc::AF_INET6 as u32, libc::AF_NETLINK as u32);
        let families = vec![
            load_argument(0),
            jump(EQUAL, libc::AF_UNIX as u32, 5, 0),
            jump(EQUAL, libc::AF_INET as u32, 4, 0),
            jump(EQUAL, inet6, 3, 0),
            jump(EQUAL, netlink, 0, 3),
            load_argument(2),
            jump(EQUAL, libc::NETLINK_ROUTE as u32, 0, 1),
            give(ALLOW),
            give(refuse(libc::EAFNOSUPPORT)),
        ];
        program.when(libc::SYS_socket, families);
        // The current personality may be asked for, and the plain one set.
        let personality =
            vec![load_argument(0), jump(EQUAL, 0, 1, 0), jump(EQUAL, u32::MAX, 0, 1), give(ALLOW), give(refuse(libc::EPERM))];
        program.when(libc::SYS_personality, personality);
        // Typing into a terminal; there is none inside, and this keeps it so.
        let ioctl = vec![load_argument(1), jump(EQUAL, libc::TIOCSTI as u32, 0, 1), give(refuse(libc::EPERM)), give(ALLOW)];
        program.when(libc::SYS_ioctl, ioctl);
        program.0.push(give(ALLOW));
        Filter(program.0)
    }

    /// Puts the filter on this thread for good. No new privileges must have been set before.
    pub fn install(&self) -> io::Result<()> {
        let program = sock_fprog { len: self.0.len() as u16, filter: self.0.as_ptr().cast_mut() };
        // SAFETY: the kernel copies the program during the call and doesn't write to it.
        crate::sys::check(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) })
            .map(drop)
    }
}

struct Program(Vec<sock_filter>);

impl Program {
    fn load(&mut self, offset: u32) {
        self.0.push(sock_filter { code: LOAD, jt: 0, jf: 0, k: offset });
    }
    fn if_return(&mut self, test: u16, k: u32, answer: u32) {
        self.0.extend([jump(test, k, 0, 1), give(answer)]);
    }
    fn unless_return(&mut self, test: u16, k: u32, answer: u32) {
        self.0.extend([jump(test, k, 1, 0), give(answer)]);
    }
    /// `body` decides about this call; it returns on every path.
    fn when(&mut self, call: c_long, body: Vec<sock_filter>) {
        self.0.push(jump(EQUAL, call as u32, 0, body.len() as u8));
        self.0.extend(body);
    }
}

fn jump(test: u16, k: u32, yes: u8, no: u8) -> sock_filter {
    sock_filter { code: test, jt: yes, jf: no, k }
}

fn give(answer: u32) -> sock_filter {
    sock_filter { code: RETURN, jt: 0, jf: 0, k: answer }
}

/// The low half of an argument: all that the kernel itself looks at in the ones tested here.
fn load_argument(index: u32) -> sock_filter {
    sock_filter { code: LOAD, jt: 0, jf: 0, k: 16 + 8 * index }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the program as the kernel would.
    fn answer(call: c_long, arguments: [u64; 3]) -> u32 {
        let program = Filter::new().0;
        let mut data = Vec::new();
        data.extend((call as u32).to_le_bytes());
        data.extend(ARCH.to_le_bytes());
        data.extend([0; 8]);
        arguments.iter().for_each(|a| data.extend(a.to_le_bytes()));
        let (mut at, mut value) = (0, 0u32);
        loop {
            let op = program[at];
            let hop = |yes: bool| 1 + usize::from(if yes { op.jt } else { op.jf });
            at += match op.code {
                LOAD => {
                    value = u32::from_le_bytes(data[op.k as usize..][..4].try_into().unwrap());
                    1
                }
                EQUAL => hop(value == op.k),
                GREATER => hop(value > op.k),
                ANY_BIT => hop(value & op.k != 0),
                _ => return op.k,
            };
        }
    }

    #[test]
    fn each_call_gets_its_answer() {
        let none = [0; 3];
        assert_eq!(answer(libc::SYS_read, none), ALLOW);
        assert_eq!(answer(libc::SYS_mount, none), refuse(libc::EPERM));
        assert_eq!(answer(libc::SYS_clone3, none), refuse(libc::ENOSYS));
        assert_eq!(answer(NEWEST + 1, none), refuse(libc::ENOSYS));
        assert_eq!(answer(libc::SYS_clone, [libc::SIGCHLD as u64, 0, 0]), ALLOW);
        assert_eq!(answer(libc::SYS_clone, [libc::CLONE_NEWUSER as u64, 0, 0]), refuse(libc::EPERM));
        assert_eq!(answer(libc::SYS_unshare, [u64::from(NEWTIME), 0, 0]), refuse(libc::EPERM));
        assert_eq!(answer(libc::SYS_unshare, [libc::CLONE_FILES as u64, 0, 0]), ALLOW);
        for family in [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK] {
            assert_eq!(answer(libc::SYS_socket, [family as u64, 3, 0]), ALLOW, "family {family}");
        }
        for (family, protocol) in [(libc::AF_ALG, 0), (libc::AF_VSOCK, 0), (libc::AF_PACKET, 0), (libc::AF_NETLINK, 9)] {
            assert_eq!(answer(libc::SYS_socket, [family as u64, 3, protocol]), refuse(libc::EAFNOSUPPORT), "family {family}");
        }
        assert_eq!(answer(libc::SYS_personality, [0xffff_ffff, 0, 0]), ALLOW);
        assert_eq!(answer(libc::SYS_personality, [0x40000, 0, 0]), refuse(libc::EPERM));
        assert_eq!(answer(libc::SYS_ioctl, [0, libc::TIOCSTI, 0]), refuse(libc::EPERM));
    }
}
