//! What lies on the disk and is rarely read is read now and then and held against its checksums, so that damage is known before
//! somebody needs what is damaged: packages with their unpacked code, logs, records, the audit log. Rows are in memory, and what waits
//! in the queue is looked at when it is tried.
//!
//! It takes its time: between two files it rests for longer than it worked.

use crate::{
    AuditStore, Error, PackageStore, directory,
    options::ScrubTimes,
    segments::{self, Folder},
};
use model::{Loops, Pulse};
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// Findings that are kept; where there are more, these say enough.
const FOUND_MAX: usize = 200;
/// Of the audit log.
const AUDIT_MAX: usize = 5;
/// So many times as long as it worked, it rests.
const REST: u32 = 9;
const REST_MAX: Duration = Duration::from_secs(10);

/// What is read.
pub(crate) struct About {
    pub directory: PathBuf,
    pub packages: PackageStore,
    pub audit: Arc<AuditStore>,
}

pub(crate) struct Scrub {
    found: Arc<Mutex<Vec<String>>>,
    running: Mutex<Option<(Sender<()>, JoinHandle<()>)>>,
}

impl Scrub {
    pub(crate) fn start(about: About, times: &ScrubTimes, loops: &Arc<Loops>) -> Result<Self, Error> {
        let (held, ended) = channel();
        let (found, times, loops) = (Arc::<Mutex<Vec<String>>>::default(), times.clone(), loops.clone());
        let (told, folder) = (found.clone(), about.directory.clone());
        let work = move || loops.run("scrub", |pulse| rounds(&about, &times, &told, (&ended, pulse)));
        let thread = std::thread::Builder::new().name("store-scrub".into()).spawn(work);
        let thread = thread.map_err(Error::io("start a thread for", folder))?;
        Ok(Self { found, running: Mutex::new(Some((held, thread))) })
    }

    /// What the last look found.
    pub(crate) fn found(&self) -> Vec<String> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn close(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((held, thread)) = running {
            drop(held);
            if thread.join().is_err() {
                tracing::error!("the thread that looks for damage ended by a panic");
            }
        }
    }
}

fn rounds(about: &About, times: &ScrubTimes, told: &Mutex<Vec<String>>, (ended, pulse): (&Receiver<()>, &Pulse)) {
    let mut wait = times.first;
    while ended.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
        wait = times.every;
        let mut worked = Instant::now();
        let mut rest = || {
            pulse.rest();
            let pause = (worked.elapsed() * REST).min(REST_MAX);
            let goes_on = ended.recv_timeout(pause) == Err(RecvTimeoutError::Timeout);
            worked = Instant::now();
            pulse.work();
            goes_on
        };
        about.packages.look_again(&mut rest);
        let mut found = Vec::new();
        let whole = segments_below(&about.directory, &mut |path| {
            if let Ok(bytes) = segments::read(path) {
                found.extend(segments::flaws(&bytes).into_iter().map(|flaw| format!("{} {flaw}", path.display())));
            }
            found.len() < FOUND_MAX && rest()
        });
        if let Ok(verified) = about.audit.verify(None) {
            found.extend(verified.findings.into_iter().take(AUDIT_MAX).map(|f| format!("the audit log: {}", f.what)));
        }
        found.truncate(FOUND_MAX);
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        for new in found.iter().filter(|f| !told.contains(f)) {
            tracing::error!("found damaged: {new}");
        }
        pulse.rest();
        // A round that was broken off has not seen everything.
        if whole || !found.is_empty() {
            *told = found;
        }
    }
}

/// Every closed segment of logs and records; the last of a folder may be half written just now. `false` when `look` had enough.
fn segments_below(directory: &Path, look: &mut dyn FnMut(&Path) -> bool) -> bool {
    let groups = directory::two_levels(&directory.join("logs")).unwrap_or_default();
    let folders = groups.into_iter().map(|(_, _, path)| path).chain([directory.join("records")]);
    for folder in folders {
        let Ok(folder) = Folder::open(folder) else { continue };
        let last = folder.last();
        for number in folder.segments.keys().copied().filter(|n| Some(*n) != last) {
            if !look(&folder.file(number)) {
                return false;
            }
        }
    }
    true
}
