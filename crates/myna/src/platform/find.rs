//! Which platform is meant: the directory that was named, else the nearest `.myna` above the working folder, else the only one
//! that this user runs. Two that fit equally are never guessed between.

use super::registry;
use crate::cli::{
    Ctx,
    problem::{Exit, Problem},
};
use std::{
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::{fs::MetadataExt, net::UnixStream},
    },
    path::{Path, PathBuf},
};

pub const SOCKET: &str = "admin.sock";
pub const DIR: &str = ".myna";

/// A running platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub dir: PathBuf,
    /// Why this one.
    pub how: How,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// By `--dir` or `MYNA_DIR`.
    Named,
    /// `.myna` in the working folder.
    Here,
    /// `.myna` in a folder above.
    Above,
    /// The only one that runs.
    Only,
}

/// Find it, and say which one it is unless that is obvious.
pub fn find(ctx: &Ctx) -> Result<Place, Problem> {
    let cwd = std::env::current_dir().map_err(|e| Problem::failed(format!("the working folder can't be read: {e}")))?;
    let announced = registry::read().into_iter().map(|e| e.dir).collect();
    let place = choose(ctx.dir.as_deref(), &cwd, announced, listens, |dir| ours(dir) && listens(dir))?;
    if matches!(place.how, How::Above | How::Only) {
        ctx.out.note(format!("platform: {}", place.dir.display()));
    }
    Ok(place)
}

fn choose(
    named: Option<&Path>,
    cwd: &Path,
    announced: Vec<PathBuf>,
    alive: impl Fn(&Path) -> bool,
    alive_and_ours: impl Fn(&Path) -> bool,
) -> Result<Place, Problem> {
    if let Some(dir) = named {
        let dir = cwd.join(dir);
        return if alive(&dir) { Ok(Place { dir, how: How::Named }) } else { Err(silent(&dir)) };
    }
    let mut stopped = None;
    for (up, folder) in cwd.ancestors().enumerate() {
        let dir = folder.join(DIR);
        if alive_and_ours(&dir) {
            return Ok(Place { dir, how: if up == 0 { How::Here } else { How::Above } });
        }
        if stopped.is_none() && dir.is_dir() {
            stopped = Some(dir);
        }
    }
    let mut running: Vec<PathBuf> = announced.into_iter().filter(|dir| alive_and_ours(dir)).collect();
    match (running.pop(), running.is_empty()) {
        (Some(dir), true) => Ok(Place { dir, how: How::Only }),
        (Some(last), false) => {
            running.push(last);
            let list: Vec<String> = running.iter().map(|d| format!("--dir {}", d.display())).collect();
            Err(Problem::usage(format!("{} platforms run, and none belongs to this folder", running.len()))
                .hint(format!("say which one is meant:\n{}", list.join("\n"))))
        }
        (None, _) => Err(match stopped {
            Some(dir) => silent(&dir),
            None => {
                Problem::new(Exit::NotRunning, "no platform runs for this user").hint("start one in another terminal: myna up")
            }
        }),
    }
}

fn silent(dir: &Path) -> Problem {
    if connect(dir).is_err_and(|e| e.kind() == io::ErrorKind::PermissionDenied) {
        return Problem::new(Exit::NotRunning, format!("the platform in {} is another user's", dir.display()))
            .hint("ask as its owner, or start your own: myna up");
    }
    let what = if dir.is_dir() { "nobody answers for the platform in" } else { "there is no platform directory" };
    Problem::new(Exit::NotRunning, format!("{what} {}", dir.display()))
        .hint(format!("start it in another terminal: myna up --dir {}", dir.display()))
}

/// A directory that nobody named must belong to this user: in a folder that others may write, one could wait for our code.
fn ours(dir: &Path) -> bool {
    dir.metadata().is_ok_and(|meta| meta.uid() == rustix::process::geteuid().as_raw())
}

/// Somebody accepts on the socket in `dir`.
pub fn listens(dir: &Path) -> bool {
    connect(dir).is_ok()
}

/// Connect to the socket in `dir`, however long its path is: an address holds 107 bytes, so a longer path goes through an
/// opened directory.
pub fn connect(dir: &Path) -> io::Result<UnixStream> {
    const ADDRESS_BYTES_MAX: usize = 107;
    let path = dir.join(SOCKET);
    if path.as_os_str().len() <= ADDRESS_BYTES_MAX {
        return UnixStream::connect(path);
    }
    use rustix::fs::{Mode, OFlags};
    let opened: OwnedFd = rustix::fs::open(dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    UnixStream::connect(format!("/proc/self/fd/{}/{SOCKET}", opened.as_raw_fd()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::net::UnixListener};

    #[test]
    fn a_named_one_wins_then_the_nearest_above_then_the_only_one() {
        let cwd = Path::new("/home/u/project/src");
        let all = |_: &Path| true;
        let only = |wanted: &'static str| move |dir: &Path| dir == Path::new(wanted);
        let found = |named: Option<&str>, announced: &[&str], alive: &dyn Fn(&Path) -> bool| {
            choose(named.map(Path::new), cwd, announced.iter().map(PathBuf::from).collect(), alive, alive)
        };
        let place = |dir: &str, how| Place { dir: PathBuf::from(dir), how };
        assert_eq!(found(Some("x"), &[], &all).unwrap(), place("/home/u/project/src/x", How::Named));
        assert_eq!(found(None, &[], &all).unwrap(), place("/home/u/project/src/.myna", How::Here));
        assert_eq!(found(None, &[], &only("/home/u/project/.myna")).unwrap(), place("/home/u/project/.myna", How::Above));
        assert_eq!(found(None, &["/a", "/b"], &only("/b")).unwrap(), place("/b", How::Only));
        // A named one that is silent is not replaced by another that isn't.
        assert_eq!(found(Some("/a"), &["/b"], &only("/b")).unwrap_err().exit, Exit::NotRunning);
        assert_eq!(found(None, &["/b"], &|_| false).unwrap_err().exit, Exit::NotRunning);
        let two = found(None, &["/a", "/b"], &|dir| !dir.ends_with(DIR)).unwrap_err();
        assert_eq!(two.exit, Exit::Usage);
        assert!(two.hint.unwrap().contains("--dir /a"));
    }

    #[test]
    fn a_socket_far_down_is_reached() {
        let temp = tempfile::tempdir().unwrap();
        let short = temp.path().join("s");
        let deep = temp.path().join("d".repeat(120));
        fs::create_dir(&short).unwrap();
        let _listener = UnixListener::bind(short.join(SOCKET)).unwrap();
        fs::rename(&short, &deep).unwrap();
        assert!(listens(&deep));
        assert!(!listens(&short));
    }
}
