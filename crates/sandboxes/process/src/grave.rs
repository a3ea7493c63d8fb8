//! The end of an instance: kill it, wait until the kernel has let go of it, remove its groups, give its ids back.
//!
//! A thread of its own does this, so that it happens wherever an instance is dropped (inside a runtime or not, in a cancelled
//! future or at exit), and because removing groups blocks.

use crate::{
    cgroup::Group,
    ids::{Ids, Pair},
    sys,
    talk::Tell,
    wire,
};
use model::{Loops, sandbox::Exit};
use rustix::net::RecvFlags;
use std::{
    collections::HashSet,
    os::fd::{AsFd, OwnedFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
};
use tokio::sync::oneshot;

/// What instances of one platform share at their end.
pub struct Yard {
    pub ids: Option<Ids>,
    /// Names of groups that belong to this life.
    live: Mutex<HashSet<String>>,
    queue: Mutex<mpsc::Sender<Work>>,
}

/// What the thread does.
enum Work {
    Bury(Grave, oneshot::Sender<Exit>),
    Other(Box<dyn FnOnce() + Send>),
}

impl Yard {
    pub fn live(&self) -> MutexGuard<'_, HashSet<String>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn open(ids: Option<Ids>, loops: &Arc<Loops>) -> std::io::Result<Arc<Yard>> {
        let (queue, work) = mpsc::channel::<Work>();
        let yard = Arc::new(Yard { ids, live: Mutex::default(), queue: Mutex::new(queue) });
        let loops = loops.clone();
        let work = move || {
            loops.run("instance ends", |pulse| {
                for one in &work {
                    pulse.work();
                    one.run();
                    pulse.rest();
                }
            });
        };
        std::thread::Builder::new().name("instance-ends".into()).stack_size(256 * 1024).spawn(work)?;
        Ok(yard)
    }

    /// Has something done that may block.
    pub fn later(&self, work: Box<dyn FnOnce() + Send>) {
        self.queue(Work::Other(work));
    }

    fn queue(&self, work: Work) {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(back) = queue.send(work) {
            // The thread is gone: then here.
            drop(queue);
            back.0.run();
        }
    }
}

impl Work {
    fn run(self) {
        match self {
            Work::Bury(mut grave, done) => {
                let exit = grave.dig();
                drop(grave);
                let _ = done.send(exit);
            }
            Work::Other(work) => work(),
        }
    }
}

/// Everything that outlives an instance's future. Dropping it undoes the instance.
pub struct Grave {
    pub yard: Arc<Yard>,
    pub group: Option<Arc<Group>>,
    pub ids: Option<Pair>,
    pub pidfd: Option<OwnedFd>,
    /// The instance's channel while its birth is under way: its pidfd may be on it.
    pub birth: Option<OwnedFd>,
    pub dug: bool,
}

impl Grave {
    pub fn new(yard: &Arc<Yard>) -> Grave {
        Grave { yard: yard.clone(), group: None, ids: None, pidfd: None, birth: None, dug: false }
    }

    /// Ends the instance; the receiver resolves when nothing is left of it.
    pub fn bury(self) -> oneshot::Receiver<Exit> {
        let (done, when) = oneshot::channel();
        self.strike();
        let yard = self.yard.clone();
        yard.queue(Work::Bury(self, done));
        when
    }

    fn strike(&self) {
        if let Some(pidfd) = &self.pidfd {
            let _ = sys::signal(pidfd.as_fd(), libc::SIGKILL);
            if let Some(group) = &self.group {
                // A frozen version 1 group doesn't die.
                let _ = group.freeze(false);
            }
        }
    }

    fn dig(&mut self) -> Exit {
        self.dug = true;
        if let Some(channel) = self.birth.take() {
            self.pidfd = self.pidfd.take().or_else(|| born_after_all(&channel));
            self.strike();
        }
        if let Some(pidfd) = &self.pidfd {
            while !sys::wait_ended(pidfd.as_fd(), 1000) {
                self.strike();
            }
        }
        let oom = self.group.as_ref().is_some_and(|g| g.oom_kills() > 0);
        let removed = self.group.take().map_or(Ok(()), |group| {
            group.remove()?;
            self.yard.live().remove(group.name());
            std::io::Result::Ok(())
        });
        if let (Some(ids), Some(pair)) = (&self.yard.ids, self.ids.take()) {
            if removed.is_ok() { ids.give_back(pair) } else { ids.lose() }
        }
        if let Err(e) = removed {
            tracing::error!(error = %e, "an instance's control group could not be removed; its user ids are not used again");
        }
        if oom { Exit::OutOfMemory } else { Exit::Signal(libc::SIGKILL) }
    }
}

/// A birth that nobody waits for any more still happens; its pidfd comes first.
fn born_after_all(channel: &OwnedFd) -> Option<OwnedFd> {
    let _ = rustix::io::ioctl_fionbio(channel, false);
    let message = wire::receive(channel, &mut [0; 4096], RecvFlags::empty()).ok()?;
    match Tell::decode(&message.bytes) {
        Ok(Tell::Born) => message.fds.into_iter().next(),
        _ => None,
    }
}

impl Drop for Grave {
    fn drop(&mut self) {
        if !self.dug {
            let rest = Grave {
                yard: self.yard.clone(),
                group: self.group.take(),
                ids: self.ids.take(),
                pidfd: self.pidfd.take(),
                birth: self.birth.take(),
                dug: false,
            };
            self.dug = true;
            drop(rest.bury());
        }
    }
}
