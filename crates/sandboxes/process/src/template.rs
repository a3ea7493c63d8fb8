//! The root that instances share, built once per spawner: a small read-only tree with the system's programs and libraries, own
//! files in `/etc`, and the empty folders where an instance's own mounts go.
//!
//! It hangs in a mount namespace that holds nothing else but it and one visible `/proc` (without which the kernel refuses a fresh
//! one in a user namespace), so that an instance's copy of the namespace is small and nothing of the host has to be hidden.

use crate::{
    root::{Failed, step},
    sys,
    talk::Stack,
};
use rustix::{
    fs::{CWD, Mode, OFlags},
    mount::{MountPropagationFlags, MoveMountFlags, OpenTreeFlags, mount_change, move_mount, open_tree},
    thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space},
};
use std::{
    ffi::CString,
    fs,
    io::{self, Write},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::{
            ffi::OsStrExt,
            fs::{PermissionsExt, symlink},
        },
    },
    path::Path,
};

/// Where an instance's own mounts may go.
pub const POINTS: [&str; 4] = ["var/task", "var/runtime", "var/lang", "opt"];
/// The function's user, as Lambda numbers it.
pub const USER_ID: u32 = 993;
pub const GROUP_ID: u32 = 990;
/// The init's id inside, where it has one of its own.
pub const INIT_ID: u32 = 1;

pub const READ_ONLY: u64 = 1;
pub const NO_SUID: u64 = 2;
pub const NO_DEVICES: u64 = 4;

const SYSTEM: [&str; 7] = ["usr/bin", "usr/sbin", "usr/lib", "usr/lib32", "usr/lib64", "usr/libexec", "usr/share"];
const DEVICES: [(&str, u32); 5] = [("null", 3), ("zero", 5), ("full", 7), ("random", 8), ("urandom", 9)];
/// Copied, not mounted: small, and every mount costs each instance some microseconds.
const COPIED: [&str; 9] =
    ["ld.so.cache", "ld.so.conf", "localtime", "mime.types", "protocols", "services", "alternatives", "ssl", "pki"];

/// What the spawner keeps.
pub struct Template {
    /// The namespace with the host's mounts, from which folders are taken.
    host: OwnedFd,
    /// The namespace with the template alone.
    own: OwnedFd,
    /// Shows the owner of the platform's files as root inside; `None` where the kernel or the file system can't.
    idmap: Option<OwnedFd>,
    /// An empty folder.
    nothing: OwnedFd,
}

impl Template {
    /// Builds the tree and makes this process see nothing else. `over` is any folder: it is covered, in this process only.
    pub fn build(over: &Path, idmap: Option<OwnedFd>, root_id: Option<u32>) -> io::Result<Template> {
        mount_change(c"/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)?;
        let host = namespace()?;
        // SAFETY: this process has one thread; only its view of mounts changes.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }?;
        mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;

        let owner = root_id.map_or(String::new(), |id| format!(",uid={id},gid={id}"));
        tmpfs(over, &format!("mode=755,size=64m{owner}"))?;
        std::env::set_current_dir(over)?;
        fs::create_dir("t")?;
        fs::create_dir("proc")?;
        fs::write("mask", "")?;
        fs::set_permissions("mask", fs::Permissions::from_mode(0o000))?;
        // SAFETY of the visible proc: only inits see it, until they have pivoted.
        let proc = open_tree(
            CWD,
            c"/proc",
            OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE,
        )?;
        put(proc.as_fd(), "proc")?;
        tmpfs(Path::new("t"), &format!("mode=755,size=64m{owner}"))?;
        std::env::set_current_dir("t")?;
        let template = Template { host, own: namespace()?, idmap, nothing: crate::root::detached_tmpfs("")? };
        template.fill(root_id)?;
        std::env::set_current_dir("..")?;
        let tree = open_tree(CWD, c"t", OpenTreeFlags::OPEN_TREE_CLOEXEC)?;
        sys::mount_attributes(tree.as_fd(), READ_ONLY | NO_SUID, 0, 0, None)?;
        sys::pivot_here()?;
        Ok(template)
    }

    /// The current directory is the new root.
    fn fill(&self, root_id: Option<u32>) -> io::Result<()> {
        fs::create_dir("usr")?;
        for folder in SYSTEM {
            if fs::metadata(format!("/{folder}")).is_ok_and(|m| m.is_dir()) {
                fs::create_dir(folder)?;
                let tree = self.tree(Path::new(&format!("/{folder}")))?;
                put(tree.as_fd(), folder)?;
            }
        }
        for name in ["bin", "sbin", "lib", "lib32", "lib64"] {
            self.like_host(name)?;
        }
        for folder in ["etc", "dev", "dev/shm", "proc", "sys", "run", "tmp", "root", "home", "var"].iter().chain(&POINTS) {
            fs::create_dir(folder)?;
        }
        symlink("/tmp", "var/tmp")?;
        etc()?;
        self.devices(root_id.is_some())?;
        if let Some(id) = root_id {
            own_all(Path::new("."), id)?;
        }
        Ok(())
    }

    /// `/lib` is a link on merged systems and a folder on others.
    fn like_host(&self, name: &str) -> io::Result<()> {
        let path = format!("/{name}");
        match fs::symlink_metadata(&path) {
            Ok(m) if m.is_symlink() => symlink(fs::read_link(&path)?, name),
            Ok(m) if m.is_dir() => {
                fs::create_dir(name)?;
                put(self.tree(Path::new(&path))?.as_fd(), name)
            }
            _ => Ok(()),
        }
    }

    fn devices(&self, privileged: bool) -> io::Result<()> {
        for (name, minor) in DEVICES {
            let path = format!("dev/{name}");
            if privileged {
                let made = rustix::fs::mknodat(
                    CWD,
                    path.as_str(),
                    rustix::fs::FileType::CharacterDevice,
                    Mode::from_raw_mode(0o666),
                    rustix::fs::makedev(1, minor),
                );
                if made.is_ok() {
                    fs::set_permissions(&path, fs::Permissions::from_mode(0o666))?;
                    continue;
                }
            }
            fs::write(&path, "")?;
            let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
            put(open_tree(CWD, format!("/dev/{name}").as_str(), flags)?.as_fd(), &path)?;
        }
        symlink("/proc/self/fd", "dev/fd")?;
        for (n, name) in ["stdin", "stdout", "stderr"].iter().enumerate() {
            symlink(format!("/proc/self/fd/{n}"), format!("dev/{name}"))?;
        }
        Ok(())
    }

    /// A folder or file as a detached mount: read-only, without devices or set-user-id. In the current namespace.
    fn tree(&self, path: &Path) -> io::Result<OwnedFd> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
        let tree = open_tree(CWD, path, flags)?;
        const FLAGS: u64 = READ_ONLY | NO_SUID | NO_DEVICES;
        if let Some(idmap) = &self.idmap
            && sys::mount_attributes(tree.as_fd(), FLAGS, 0, 0, Some(idmap.as_fd())).is_ok()
        {
            return Ok(tree);
        }
        sys::mount_attributes(tree.as_fd(), FLAGS, 0, 0, None)?;
        Ok(tree)
    }

    /// The same behind an overlay with nothing in it: a mount's own line in `/proc/self/mountinfo` names its folder on the host,
    /// and this one's names a descriptor that is long closed. A file is taken out of its veiled folder, so that its line has
    /// its bare name.
    fn veil(&self, path: &Path, tree: &OwnedFd) -> io::Result<OwnedFd> {
        if rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(tree)?.st_mode).is_dir() {
            return self.overlay([tree]);
        }
        // A link would lead out of the overlay, back to where it shows.
        let path = fs::canonicalize(path)?;
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return Err(io::ErrorKind::NotFound.into()) };
        let folder = self.overlay([&self.tree(folder)?])?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
        Ok(open_tree(&folder, name, flags)?)
    }

    /// Folders over each other, the uppermost first.
    fn overlay<'a>(&'a self, folders: impl IntoIterator<Item = &'a OwnedFd>) -> io::Result<OwnedFd> {
        use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen};
        let context = fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_set_string(context.as_fd(), "source", "package")?;
        // With nothing beneath, since an overlay has two layers at least.
        for lower in folders.into_iter().chain([&self.nothing]) {
            fsconfig_set_string(context.as_fd(), "lowerdir+", format!("/proc/self/fd/{}", lower.as_raw_fd()))?;
        }
        fsconfig_create(context.as_fd())?;
        let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
        Ok(fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
    }

    /// The host's folders and files as detached mounts. The error names the one that failed.
    pub fn trees<'a>(&self, stacks: impl Iterator<Item = &'a Stack>) -> Result<Vec<OwnedFd>, Failed> {
        let mut stacks = stacks.peekable();
        if stacks.peek().is_none() {
            return Ok(Vec::new());
        }
        move_into_link_name_space(self.host.as_fd(), Some(LinkNameSpaceType::Mount)).map_err(step("enter the host's mounts"))?;
        let trees = stacks.map(|stack| self.stack(stack)).collect();
        move_into_link_name_space(self.own.as_fd(), Some(LinkNameSpaceType::Mount)).map_err(step("leave the host's mounts"))?;
        trees
    }

    /// In the host's mounts.
    fn stack(&self, stack: &Stack) -> Result<OwnedFd, Failed> {
        let open = |source: &Vec<u8>| {
            let path = Path::new(std::ffi::OsStr::from_bytes(source));
            let tree = self.tree(path).map_err(step(format!("open {} for mounting", path.display())))?;
            Ok((path.to_owned(), tree))
        };
        let mut opened = stack.iter().map(open).collect::<Result<Vec<_>, Failed>>()?;
        if opened.len() > 1 {
            let over = self.overlay(opened.iter().rev().map(|o| &o.1));
            return over.map_err(step(format!("lay {} folders over each other", opened.len())));
        }
        let (path, tree) = opened.pop().ok_or_else(|| (io::ErrorKind::NotFound.into(), "open nothing for mounting".into()))?;
        // Kernels that can't: the path shows, the content is the same.
        Ok(self.veil(&path, &tree).unwrap_or(tree))
    }
}

fn namespace() -> io::Result<OwnedFd> {
    Ok(rustix::fs::open("/proc/self/ns/mnt", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
}

fn tmpfs(at: &Path, options: &str) -> io::Result<()> {
    let text = |s: &[u8]| CString::new(s).map_err(io::Error::other);
    sys::mount(c"tmpfs", &text(at.as_os_str().as_bytes())?, c"tmpfs", libc::MS_NOSUID, Some(&text(options.as_bytes())?))
}

fn put(tree: BorrowedFd<'_>, at: &str) -> io::Result<()> {
    Ok(move_mount(tree, c"", CWD, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
}

/// Own files of `/etc`, and what programs need of the host's: certificates, the loader's cache, the alternatives' links.
fn etc() -> io::Result<()> {
    let user = format!("root:x:0:0:root:/root:/sbin/nologin\nsbx_user1051:x:{USER_ID}:{GROUP_ID}::/tmp:/sbin/nologin\n");
    let own = [
        ("passwd", user.as_str()),
        ("group", &format!("root:x:0:\nsbx_user1051:x:{GROUP_ID}:\n")),
        ("hosts", "127.0.0.1 localhost sandbox.localdomain\n"),
        ("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n"),
        ("resolv.conf", ""),
        ("hostname", "sandbox.localdomain\n"),
    ];
    for (name, text) in own {
        fs::File::create(format!("etc/{name}"))?.write_all(text.as_bytes())?;
    }
    symlink("/proc/self/mounts", "etc/mtab")?;
    let java = fs::read_dir("/etc")?.flatten().map(|e| e.file_name()).filter(|n| n.as_bytes().starts_with(b"java-"));
    for name in COPIED.iter().map(|n| n.into()).chain(java) {
        copy(&Path::new("/etc").join(&name), &Path::new("etc").join(&name))?;
    }
    Ok(())
}

/// Copies what everybody may read. Absolute links stay links; `/etc/localtime` becomes the file that it points to, since
/// its target may lie outside.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let Ok(about) = fs::symlink_metadata(from) else { return Ok(()) };
    if about.is_symlink() && !from.ends_with("localtime") {
        return symlink(fs::read_link(from)?, to);
    }
    if about.is_dir() {
        if about.permissions().mode() & 0o005 != 0o005 {
            return Ok(());
        }
        fs::create_dir(to)?;
        return fs::read_dir(from)?.flatten().try_for_each(|e| copy(&e.path(), &to.join(e.file_name())));
    }
    if fs::metadata(from).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o004 != 0) {
        fs::copy(from, to)?;
    }
    Ok(())
}

/// Gives the tree to the id that is root inside, without following links or leaving the tmpfs.
fn own_all(at: &Path, id: u32) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    let device = fs::symlink_metadata(".")?.dev();
    for entry in fs::read_dir(at)?.flatten() {
        let about = fs::symlink_metadata(entry.path())?;
        if about.dev() != device {
            continue;
        }
        std::os::unix::fs::lchown(entry.path(), Some(id), Some(id))?;
        if about.is_dir() {
            own_all(&entry.path(), id)?;
        }
    }
    Ok(())
}
