//! One instance's root, as its init makes it: a copy of the template, a fresh `/proc`, its own `/tmp`, its code.
//!
//! Targets are opened beneath the new root and no link is followed, so that a package can't plant one where the next mount goes;
//! mounts are attached by descriptor.

use crate::{
    sys,
    talk::Birth,
    template::{POINTS, READ_ONLY},
};
use rustix::{
    fs::{CWD, Mode, OFlags, ResolveFlags, mkdirat, openat, openat2},
    mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree},
};
use std::{
    ffi::CString,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

/// What a step was when it failed.
pub type Failed = (io::Error, String);
/// Names a step for the error.
pub fn step<E: Into<io::Error>>(what: impl Into<String>) -> impl FnOnce(E) -> Failed {
    let what = what.into();
    move |e| (e.into(), what)
}

/// Readable by everybody otherwise, and about the whole machine.
const MASKED: [&std::ffi::CStr; 3] = [c"proc/keys", c"proc/key-users", c"proc/kallsyms"];
const SHM_BYTES: u64 = 64 << 20;

pub struct Root {
    top: OwnedFd,
    /// Mount points that got a small writable tree for deeper targets, and those that carry a mount themselves.
    scaffolds: Vec<(&'static str, OwnedFd)>,
    taken: Vec<&'static str>,
    /// Root's id is mapped inside.
    owned: bool,
}

impl Root {
    /// Copies the template into this namespace and goes there. Needs no mapped ids yet.
    pub fn copy(owned: bool) -> Result<Root, Failed> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
        let tree = open_tree(CWD, c"/t", flags).map_err(step("copy the template"))?;
        let put = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        move_mount(&tree, c"", CWD, c"/t", put).map_err(step("attach the copied template"))?;
        rustix::process::fchdir(&tree).map_err(step("enter the copied template"))?;
        Ok(Root { top: tree, scaffolds: Vec::new(), taken: Vec::new(), owned })
    }

    /// What needs mapped ids: fresh file systems.
    pub fn fill(&mut self, birth: &Birth) -> Result<(), Failed> {
        const PLAIN: libc::c_ulong = libc::MS_NOSUID | libc::MS_NODEV;
        let proc = c"hidepid=invisible";
        sys::mount(c"proc", c"proc", c"proc", PLAIN | libc::MS_NOEXEC, Some(proc)).map_err(step("mount /proc"))?;
        for path in MASKED {
            match sys::mount(c"/mask", path, c"", libc::MS_BIND, None) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err((e, format!("mask {}", path.to_string_lossy()))),
                _ => {}
            }
        }
        self.tmpfs(c"tmp", PLAIN, 0o1777, birth.tmp_bytes, birth.tmp_inodes)?;
        self.tmpfs(c"dev/shm", PLAIN, 0o1777, SHM_BYTES, birth.tmp_inodes)?;
        let in_run = |at: &model::sandbox::Endpoint| matches!(at, model::sandbox::Endpoint::Unix(p) if p.starts_with("/run/"));
        if birth.listens.iter().any(in_run) {
            self.tmpfs(c"run", PLAIN, 0o755, 1 << 20, 100)?;
        }
        Ok(())
    }

    fn tmpfs(&self, at: &std::ffi::CStr, flags: libc::c_ulong, mode: u32, bytes: u64, inodes: u64) -> Result<(), Failed> {
        let owner = if self.owned { ",uid=0,gid=0" } else { "" };
        let options =
            CString::new(format!("mode={mode:o},size={bytes},nr_inodes={inodes}{owner}")).expect("numbers hold no zero byte");
        sys::mount(c"tmpfs", at, c"tmpfs", flags, Some(&options))
            .map_err(step(format!("mount a tmpfs on /{}", at.to_string_lossy())))
    }

    /// A larger or smaller `/tmp`, after the fact.
    pub fn resize_tmp(&self, bytes: u64, inodes: u64) -> Result<(), Failed> {
        let options = CString::new(format!("size={bytes},nr_inodes={inodes}")).expect("numbers hold no zero byte");
        let flags = libc::MS_REMOUNT | libc::MS_NOSUID | libc::MS_NODEV;
        sys::mount(c"tmpfs", c"/tmp", c"tmpfs", flags, Some(&options)).map_err(step("resize /tmp"))
    }

    /// Attaches detached mounts to their targets.
    pub fn attach<'a>(&mut self, mounts: impl Iterator<Item = (BorrowedFd<'a>, &'a str)>) -> Result<(), Failed> {
        for (tree, target) in mounts {
            let at = self.target(tree, target).map_err(step(format!("make the mount point {target}")))?;
            let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
            move_mount(tree, c"", &at, c"", flags).map_err(step(format!("mount on {target}")))?;
            let inside = target.trim_start_matches('/').trim_end_matches('/');
            self.taken.extend(POINTS.iter().find(|p| **p == inside));
        }
        for (_, scaffold) in &self.scaffolds {
            sys::mount_attributes(scaffold.as_fd(), READ_ONLY, 0, 0, None).map_err(step("make mount points read-only"))?;
        }
        Ok(())
    }

    fn open(&self, path: &str) -> rustix::io::Result<OwnedFd> {
        let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        openat2(&self.top, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), how)
    }

    fn target(&mut self, tree: BorrowedFd<'_>, target: &str) -> io::Result<OwnedFd> {
        let inside = target.trim_start_matches('/').trim_end_matches('/');
        let point = POINTS.iter().find(|p| inside.strip_prefix(**p).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')));
        let Some(point) = point else { return Err(io::Error::from_raw_os_error(libc::EINVAL)) };
        match self.open(inside) {
            Err(rustix::io::Errno::NOENT) if !self.taken.contains(point) => {}
            other => return Ok(other?),
        }
        self.scaffold(point)?;
        let folder = rustix::fs::fstat(tree).map(|s| rustix::fs::FileType::from_raw_mode(s.st_mode).is_dir())?;
        let mut at = self.open(point)?;
        let rest: Vec<_> = inside[point.len()..].split('/').filter(|s| !s.is_empty()).collect();
        for (n, name) in rest.iter().enumerate() {
            if n + 1 == rest.len() && !folder {
                let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                drop(openat(&at, *name, flags, Mode::from_raw_mode(0o444))?);
                return Ok(openat(&at, *name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?);
            }
            match mkdirat(&at, *name, Mode::from_raw_mode(0o755)) {
                Err(rustix::io::Errno::EXIST) | Ok(()) => {}
                Err(e) => return Err(e.into()),
            }
            at = openat(&at, *name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        }
        Ok(at)
    }

    /// A small tree on a mount point, in which deeper mount points can be made. Writable until the mounts are attached.
    fn scaffold(&mut self, point: &'static str) -> io::Result<()> {
        if let Some((_, tree)) = self.scaffolds.iter().find(|s| s.0 == point) {
            return sys::mount_attributes(tree.as_fd(), 0, READ_ONLY, 0, None);
        }
        let owner = if self.owned { "0" } else { "" };
        let tree = detached_tmpfs(owner)?;
        let at = self.open(point)?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        move_mount(&tree, c"", &at, c"", flags)?;
        self.scaffolds.push((point, tree));
        Ok(())
    }

    /// Makes this tree the root and forgets everything else.
    pub fn enter(&self) -> Result<(), Failed> {
        rustix::process::fchdir(&self.top).map_err(step("enter the root"))?;
        sys::pivot_here().map_err(step("change the root"))
    }
}

pub fn detached_tmpfs(owner: &str) -> io::Result<OwnedFd> {
    use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen};
    let context = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in [("mode", "755"), ("size", "1m"), ("nr_inodes", "1000"), ("uid", owner), ("gid", owner)] {
        if !value.is_empty() {
            fsconfig_set_string(context.as_fd(), key, value)?;
        }
    }
    fsconfig_create(context.as_fd())?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    Ok(fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}
