//! Flushes unpacked packages in the background, many at once by one `syncfs`, and knows what lies in the packages folder.

use super::{ARCHIVE, CODE, SEALED, SETTLED};
use crate::Error;
use model::Loops;
use rustix::fs::{CWD, Mode, OFlags};
use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::JoinHandle,
    time::Duration,
};

/// What is unpacked within this time is flushed together.
const GATHER: Duration = Duration::from_millis(500);

/// A package's place, and its bytes, which the mark keeps.
type Unpacked = (PathBuf, u64);

pub(super) struct Settler {
    places: Mutex<Option<Sender<Unpacked>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Settler {
    pub(super) fn start(folder: &Path, loops: &Arc<Loops>) -> Result<Settler, Error> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let filesystem = File::from(rustix::fs::openat(CWD, folder, flags, Mode::empty()).map_err(Error::io("open", folder))?);
        let (places, queue) = channel();
        let loops = loops.clone();
        let work = move || loops.run("package flusher", || run(&filesystem, &queue));
        let thread = std::thread::Builder::new().name("store-settle".into()).spawn(work);
        let thread = thread.map_err(Error::io("start the flusher of", folder))?;
        Ok(Settler { places: Mutex::new(Some(places)), thread: Mutex::new(Some(thread)) })
    }

    pub(super) fn add(&self, place: PathBuf, bytes: u64) {
        if let Some(places) = &*self.places.lock().expect("no holder of this lock panics") {
            // Not settled is only slower at the next start.
            let _ = places.send((place, bytes));
        }
    }

    /// Flush what is left, and end.
    pub(super) fn finish(&self) {
        drop(self.places.lock().expect("no holder of this lock panics").take());
        if let Some(thread) = self.thread.lock().expect("no holder of this lock panics").take()
            && thread.join().is_err()
        {
            tracing::error!("the packages' flusher ended by a panic");
        }
    }
}

impl Drop for Settler {
    fn drop(&mut self) {
        self.finish();
    }
}

fn run(filesystem: &File, queue: &Receiver<Unpacked>) {
    while let Ok(first) = queue.recv() {
        let mut places = vec![first];
        let ended = loop {
            match queue.recv_timeout(GATHER) {
                Ok(place) => places.push(place),
                Err(why) => break why == RecvTimeoutError::Disconnected,
            }
        };
        match rustix::fs::syncfs(filesystem) {
            // Without the mark the package is unpacked again at the next start, whatever the reason.
            Ok(()) => places.iter().for_each(|(place, bytes)| drop(std::fs::write(place.join(SETTLED), bytes.to_string()))),
            Err(error) => tracing::warn!(%error, packages = places.len(), "unpacked packages could not be flushed"),
        }
        if ended {
            return;
        }
    }
}

/// The bytes of a package that is whole; `None` for one that must be unpacked again.
pub(super) fn settled(place: &Path) -> Option<u64> {
    let bytes = std::fs::read_to_string(place.join(SETTLED)).ok()?.parse().ok()?;
    let archive = [SEALED, ARCHIVE].iter().any(|name| place.join(name).is_file());
    (place.join(CODE).is_dir() && archive).then_some(bytes)
}
