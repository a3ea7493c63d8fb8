//! From an init's rights to a function's: what happens between the fork of a process and its exec.
//!
//! The child borrows the init's memory until it execs (vfork's way: nothing is copied), so it allocates nothing and returns what
//! failed through a shared word. Every step is one that user code can't undo.

use crate::{
    filter::Filter,
    sys,
    template::{GROUP_ID, USER_ID},
};
use std::{ffi::CString, io, os::fd::RawFd, ptr};

/// All that the child needs, made ready before it exists.
pub struct Plan<'a> {
    /// What to execute, tried in order.
    pub paths: Vec<CString>,
    pub argv: Vec<CString>,
    pub env: Vec<CString>,
    pub cwd: CString,
    /// Numbers above [`LOWEST`], so that putting them in place overwrites none of them.
    pub null: RawFd,
    pub output: RawFd,
    pub frames: Option<RawFd>,
    pub descriptors: u64,
    pub pids: u64,
    /// The user has an id of its own.
    pub own_ids: bool,
    pub filter: &'a Filter,
}

pub const LOWEST: i32 = 10;
/// Where a process finds its pipe for framed log records.
pub const FRAMES: i32 = 3;
const STACK: usize = 64 * 1024;

struct Shared<'a> {
    plan: &'a Plan<'a>,
    argv: *const *const libc::c_char,
    env: *const *const libc::c_char,
    failed: i32,
    step: &'static str,
}

/// Starts the process; its pid as the init sees it, or what failed.
pub fn start(plan: &Plan<'_>) -> Result<i32, (io::Error, &'static str)> {
    let list = |items: &[CString]| items.iter().map(|s| s.as_ptr()).chain([ptr::null()]).collect::<Vec<_>>();
    let (argv, env) = (list(&plan.argv), list(&plan.env));
    let mut shared = Shared { plan, argv: argv.as_ptr(), env: env.as_ptr(), failed: 0, step: "" };
    let mut stack = vec![0u128; STACK / 16];
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: the child runs on its own stack and this thread sleeps until it has exec'd or ended, so what `shared` points to
    // lives long enough and is never touched by both at once. The init has one thread.
    let pid = unsafe { libc::clone(child, stack.as_mut_ptr_range().end.cast(), flags, (&raw mut shared).cast()) };
    if pid < 0 {
        return Err((io::Error::last_os_error(), "fork"));
    }
    // SAFETY: the child wrote this through the pointer it was given; a volatile read keeps the compiler from assuming that it didn't.
    match unsafe { ptr::read_volatile(&raw const shared.failed) } {
        0 => Ok(pid),
        errno => {
            let mut status = 0;
            // SAFETY: reaps the child that has just ended.
            unsafe { libc::waitpid(pid, &raw mut status, 0) };
            Err((io::Error::from_raw_os_error(errno), shared.step))
        }
    }
}

extern "C" fn child(shared: *mut libc::c_void) -> i32 {
    // SAFETY: `start` passes a `Shared` that outlives this function and sleeps meanwhile.
    let shared = unsafe { &mut *shared.cast::<Shared<'_>>() };
    let (step, error) = match become_user(shared.plan) {
        Ok(()) => execute(shared),
        Err(failed) => failed,
    };
    shared.step = step;
    shared.failed = error.raw_os_error().unwrap_or(libc::EIO);
    // SAFETY: ends this process without running anything of the init's.
    unsafe { libc::_exit(127) }
}

type Step = (&'static str, io::Error);

fn become_user(plan: &Plan<'_>) -> Result<(), Step> {
    let at = |step: &'static str| move |e: io::Error| (step, e);
    // SAFETY: a session of its own; the init's SIGPIPE setting is not the function's.
    unsafe {
        libc::setsid();
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        libc::umask(0o022);
    }
    descriptors(plan).map_err(at("arrange descriptors"))?;
    limits(plan).map_err(at("set limits"))?;
    if plan.own_ids {
        sys::clear_groups().map_err(at("leave groups"))?;
        sys::set_gid(GROUP_ID).map_err(at("take the group"))?;
        sys::set_uid(USER_ID).map_err(at("take the user"))?;
    }
    sys::keep_capabilities(0).map_err(at("drop capabilities"))?;
    // SAFETY: a terminated string; done as the user, so that the user's rights decide.
    sys::check(i64::from(unsafe { libc::chdir(plan.cwd.as_ptr()) })).map_err(at("enter the working directory"))?;
    plan.filter.install().map_err(at("install the filter"))
}

/// 0, 1 and 2, perhaps the pipe for frames, and nothing else.
fn descriptors(plan: &Plan<'_>) -> io::Result<()> {
    let mut next = 0;
    for from in [Some(plan.null), Some(plan.output), Some(plan.output), plan.frames].into_iter().flatten() {
        // SAFETY: `from` is open and above all targets.
        sys::check(i64::from(unsafe { libc::dup2(from, next) }))?;
        next += 1;
    }
    sys::close_range(next as u32, u32::MAX)
}

fn limits(plan: &Plan<'_>) -> io::Result<()> {
    const MIB: u64 = 1 << 20;
    let each = [
        // With 0 the kernel would still pipe a dump to a program that the host has for it (core(5)); with 1 it doesn't.
        (libc::RLIMIT_CORE, 1, 1),
        (libc::RLIMIT_NOFILE, plan.descriptors, plan.descriptors),
        (libc::RLIMIT_NPROC, plan.pids, plan.pids),
        (libc::RLIMIT_STACK, 8 * MIB, u64::MAX),
        (libc::RLIMIT_MEMLOCK, 65_536, 65_536),
    ];
    for (what, soft, hard) in each {
        let mut now = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: `now` is a valid rlimit to write to, then one to read.
        unsafe {
            sys::check(i64::from(libc::getrlimit(what, &raw mut now)))?;
            let hard = hard.min(now.rlim_max);
            let new = libc::rlimit { rlim_cur: soft.min(hard), rlim_max: hard };
            sys::check(i64::from(libc::setrlimit(what, &raw const new)))?;
        }
    }
    Ok(())
}

/// Returns only with an error.
fn execute(shared: &Shared<'_>) -> Step {
    let mut last = io::Error::from_raw_os_error(libc::ENOENT);
    // SAFETY: an empty set of blocked signals; pointers to terminated lists of terminated strings.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
        for path in &shared.plan.paths {
            libc::execve(path.as_ptr(), shared.argv, shared.env);
            let error = io::Error::last_os_error();
            let more = matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR | libc::EACCES));
            last = error;
            if !more {
                break;
            }
        }
    }
    ("execute", last)
}

/// Where `program` may lie: as it is when it names a folder, else along the process's own `PATH`.
pub fn candidates(program: &[u8], env: &[Vec<u8>]) -> Vec<Vec<u8>> {
    if program.contains(&b'/') {
        return vec![program.to_vec()];
    }
    let path = env.iter().find_map(|e| e.strip_prefix(b"PATH=".as_slice())).unwrap_or(b"/usr/bin:/bin");
    path.split(|b| *b == b':').filter(|d| !d.is_empty()).map(|d| [d, b"/", program].concat()).collect()
}
