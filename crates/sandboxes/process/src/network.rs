//! Network namespaces made ahead of need: they are the dearest part of an instance (half of its making), and all are alike.
//!
//! A spare one has its loopback interface up and belongs to the spawner's user namespace, so that nobody inside an instance, its
//! init included, has any right over it.

use crate::sys;
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};
use std::{
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
};

/// Kept ready. Each is some tens of kilobytes of the kernel's memory.
const SPARES: usize = 8;

pub struct Networks {
    /// Where the spawner itself is.
    home: OwnedFd,
    spares: Vec<OwnedFd>,
}

impl Networks {
    pub fn new() -> io::Result<Networks> {
        Ok(Networks { home: current()?, spares: Vec::new() })
    }

    pub fn is_full(&self) -> bool {
        self.spares.len() >= SPARES
    }

    pub fn make_spare(&mut self) -> io::Result<()> {
        // SAFETY: one thread; only its network changes, and back.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }?;
        let made = sys::loopback_up().and_then(|()| current());
        self.leave()?;
        self.spares.push(made?);
        Ok(())
    }

    /// Puts this process into a network of nobody's, for a child to inherit.
    pub fn enter(&mut self) -> io::Result<()> {
        if self.spares.is_empty() {
            self.make_spare()?;
        }
        let Some(spare) = self.spares.pop() else { return Err(io::ErrorKind::NotFound.into()) };
        Ok(move_into_link_name_space(spare.as_fd(), Some(LinkNameSpaceType::Network))?)
    }

    pub fn leave(&self) -> io::Result<()> {
        Ok(move_into_link_name_space(self.home.as_fd(), Some(LinkNameSpaceType::Network))?)
    }
}

fn current() -> io::Result<OwnedFd> {
    File::open("/proc/self/ns/net").map(OwnedFd::from)
}
