//! The queue in numbers, for whoever watches.

use super::{QueueStore, questions};
use model::{Fault, queue::Lane};
use std::{path::Path, sync::atomic::Ordering, time::Duration};

/// The queue of the whole platform. What is counted is counted since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Events that have not ended.
    pub queued: u64,
    /// Of those, with an attempt under way.
    pub taken: u64,
    /// Dead letters that are kept.
    pub dead: u64,
    /// Functions with events or dead letters.
    pub lanes: usize,
    /// Of those, stopped by their owners.
    pub paused: usize,
    /// How long the event that is due longest has been due; zero when none waits but in lanes that are stopped.
    pub due_for: Duration,
    pub accepted: u64,
    pub succeeded: u64,
    /// Failed, and their destination has them.
    pub failed: u64,
    pub dead_lettered: u64,
    pub cancelled: u64,
    /// Attempts after which another one follows.
    pub retried: u64,
    /// No event is accepted any more until the next start.
    pub broken: bool,
}

impl QueueStore {
    pub async fn figures(&self) -> Result<Figures, Fault> {
        let (mut figures, mut waiting) = (Figures::default(), Vec::<Lane>::new());
        for (lane, view) in self.board.lanes().iter() {
            figures.queued += view.queued;
            figures.dead += view.dead;
            figures.lanes += 1;
            figures.paused += usize::from(view.paused);
            if view.queued > 0 && !view.paused {
                waiting.push(lane.clone());
            }
        }
        figures.taken = self.board.attempts.all() as u64;
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let counts = &self.board.counts;
        (figures.accepted, figures.succeeded) = (count(&counts.accepted), count(&counts.succeeded));
        (figures.failed, figures.dead_lettered) = (count(&counts.failed), count(&counts.dead));
        (figures.cancelled, figures.retried) = (count(&counts.cancelled), count(&counts.again));
        figures.broken = self.broken().is_some();
        if let Some(first) = self.owners.ask(move |c| questions::first_due(c, &waiting)).await? {
            figures.due_for = Duration::from_millis(self.clock.wall_ms().saturating_sub(first));
        }
        Ok(figures)
    }

    /// Of the log, its index and the bodies that lie apart. Looks at the disk.
    pub fn bytes(&self) -> u64 {
        files(&self.folder, 2)
    }
}

/// Bytes of all files in a folder and so many levels of folders below it.
fn files(folder: &Path, levels: u32) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let of = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(m) if m.is_dir() && levels > 0 => files(&entry.path(), levels - 1),
        Ok(m) if m.is_file() => m.len(),
        _ => 0,
    };
    entries.flatten().map(of).sum()
}
