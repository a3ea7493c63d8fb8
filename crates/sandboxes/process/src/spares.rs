//! Control groups made ahead of need: eight folders and their open files cost a quarter of an instance's making.

use crate::{
    cgroup::{Group, Hierarchies},
    grave::Yard,
};
use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

const SPARES: usize = 4;

pub struct Spares {
    all: Arc<Hierarchies>,
    yard: Arc<Yard>,
    /// Names of this life start with it, so that they never meet those of an earlier one.
    life: String,
    next: AtomicU64,
    ready: Mutex<Vec<Group>>,
    /// The platform is stopping: none are made ahead any more.
    closed: AtomicBool,
}

impl Spares {
    pub fn new(all: &Arc<Hierarchies>, yard: &Arc<Yard>) -> Arc<Spares> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_millis());
        let life = format!("i-{now:x}-{}", std::process::id());
        Arc::new(Spares {
            all: all.clone(),
            yard: yard.clone(),
            life,
            next: AtomicU64::new(0),
            ready: Mutex::default(),
            closed: AtomicBool::new(false),
        })
    }

    fn ready(&self) -> MutexGuard<'_, Vec<Group>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn make(&self) -> io::Result<Group> {
        let name = format!("{}-{}", self.life, self.next.fetch_add(1, Ordering::Relaxed));
        self.yard.live().insert(name.clone());
        Group::make(&self.all, &name).inspect_err(|_| drop(self.yard.live().take(&name)))
    }

    /// A fresh group; `None` where there are no hierarchies.
    pub fn take(self: &Arc<Self>) -> io::Result<Option<Group>> {
        if self.all.parents().is_empty() {
            return Ok(None);
        }
        let ready = self.ready().pop();
        let weak = Arc::downgrade(self);
        self.yard.later(Box::new(move || {
            if let Some(spares) = weak.upgrade() {
                spares.fill();
            }
        }));
        ready.map_or_else(|| self.make(), Ok).map(Some)
    }

    /// No more of them.
    pub fn clear(&self) {
        self.closed.store(true, Ordering::Release);
        for group in self.ready().drain(..) {
            let _ = group.remove();
        }
    }

    /// Failing is for whoever really needs one to report.
    fn fill(&self) {
        while self.ready().len() < SPARES && !self.closed.load(Ordering::Acquire) {
            let Ok(group) = self.make() else { return };
            self.ready().push(group);
        }
    }
}
