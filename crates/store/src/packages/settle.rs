//! Flushes unpacked packages in the background, many at once by one `syncfs`, and knows what lies in the packages folder.

use super::SETTLED;
use crate::Error;
use rustix::fs::{CWD, Mode, OFlags};
use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::JoinHandle,
    time::Duration,
};

/// What is unpacked within this time is flushed together.
const GATHER: Duration = Duration::from_millis(500);

pub(super) struct Settler {
    places: Mutex<Option<Sender<PathBuf>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Settler {
    pub(super) fn start(folder: &Path) -> Result<Settler, Error> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let filesystem = File::from(rustix::fs::openat(CWD, folder, flags, Mode::empty()).map_err(Error::io("open", folder))?);
        let (places, queue) = channel();
        let thread = std::thread::Builder::new().name("store-settle".into()).spawn(move || run(&filesystem, &queue));
        let thread = thread.map_err(Error::io("start the flusher of", folder))?;
        Ok(Settler { places: Mutex::new(Some(places)), thread: Mutex::new(Some(thread)) })
    }

    pub(super) fn add(&self, place: PathBuf) {
        if let Some(places) = &*self.places.lock().expect("no holder of this lock panics") {
            // Not settled is only slower at the next start.
            let _ = places.send(place);
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

fn run(filesystem: &File, queue: &Receiver<PathBuf>) {
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
            Ok(()) => places.iter().for_each(|place| drop(File::create(place.join(SETTLED)))),
            Err(error) => tracing::warn!(%error, packages = places.len(), "unpacked packages could not be flushed"),
        }
        if ended {
            return;
        }
    }
}

/// Remove everything in a folder that holds nothing but leftovers.
pub(super) fn empty(folder: &Path) -> Result<(), Error> {
    for entry in std::fs::read_dir(folder).map_err(Error::io("list", folder))? {
        let path = entry.map_err(Error::io("list", folder))?.path();
        let is_folder = path.symlink_metadata().is_ok_and(|m| m.is_dir());
        let removed = if is_folder { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        removed.map_err(Error::io("remove", path))?;
    }
    Ok(())
}

/// Every package: its tenant's folder, its digest, its place.
pub(super) fn places(folder: &Path) -> Result<Vec<(String, String, PathBuf)>, Error> {
    let list = |path: &Path| -> io::Result<Vec<(String, PathBuf)>> {
        let named = |entry: io::Result<std::fs::DirEntry>| entry.map(|e| (e.file_name().to_string_lossy().into_owned(), e.path()));
        let found = std::fs::read_dir(path)?.map(named).collect::<io::Result<Vec<_>>>()?;
        Ok(found.into_iter().filter(|(_, path)| path.symlink_metadata().is_ok_and(|m| m.is_dir())).collect())
    };
    let mut found = Vec::new();
    for (tenant, path) in list(folder).map_err(Error::io("list", folder))? {
        for (digest, place) in list(&path).map_err(Error::io("list", &path))? {
            found.push((tenant.clone(), digest, place));
        }
    }
    Ok(found)
}
