//! Flushes unpacked packages in the background, many at once by one `syncfs`, and knows what lies in the packages folder.

use super::{ARCHIVE, CODE, SEALED, SETTLED, sum};
use crate::{Error, directory};
use model::{Loops, Pulse};
use rustix::fs::{CWD, Mode, OFlags};
use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::JoinHandle,
    time::Duration,
};

/// A mark is two numbers.
const MARK_BYTES_MAX: u64 = 64;
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
        let work = move || loops.run("package flusher", |pulse| run(&filesystem, &queue, pulse));
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

fn run(filesystem: &File, queue: &Receiver<Unpacked>, pulse: &Pulse) {
    while let Ok(first) = queue.recv() {
        let mut places = vec![first];
        let ended = loop {
            match queue.recv_timeout(GATHER) {
                Ok(place) => places.push(place),
                Err(why) => break why == RecvTimeoutError::Disconnected,
            }
        };
        pulse.work();
        match rustix::fs::syncfs(filesystem) {
            // Without the mark the package is unpacked again at the next start, whatever the reason.
            Ok(()) => {
                for (place, bytes) in &places {
                    pulse.work();
                    mark(place, *bytes);
                }
            }
            Err(error) => tracing::warn!(%error, packages = places.len(), "unpacked packages could not be flushed"),
        }
        pulse.rest();
        if ended {
            return;
        }
    }
}

/// Say how much was unpacked at a place, and what its checksum is. One that is gone, or can't be read, gets no mark.
fn mark(place: &Path, bytes: u64) {
    if let Ok(sum) = sum::of(&place.join(CODE)) {
        // A mark that is torn is none, which costs the next start an unpacking.
        let _ = std::fs::write(place.join(SETTLED), format!("{bytes} {sum:016x}\n"));
    }
}

/// What a mark says.
pub(super) struct Mark {
    /// Of the archive and of what was unpacked.
    pub bytes: u64,
    /// Of what was unpacked.
    pub sum: u64,
}

/// The mark of a package that was flushed; `None` for one that must be unpacked again.
pub(super) fn settled(place: &Path) -> Option<Mark> {
    let archive = [SEALED, ARCHIVE].iter().any(|name| place.join(name).is_file());
    read(place).filter(|_| archive && place.join(CODE).is_dir())
}

/// What the mark at a place says, whatever else is there.
pub(super) fn read(place: &Path) -> Option<Mark> {
    let mut text = String::new();
    directory::open_private(&place.join(SETTLED)).ok()?.take(MARK_BYTES_MAX).read_to_string(&mut text).ok()?;
    let (bytes, sum) = text.strip_suffix('\n')?.split_once(' ')?;
    Some(Mark { bytes: bytes.parse().ok()?, sum: u64::from_str_radix(sum, 16).ok().filter(|_| sum.len() == 16)? })
}
