//! The thread that keeps the index behind the log: applies what was synced, tells what became due, clears away.

use super::{
    attempts::Attempts,
    bodies::Bodies,
    disk::Disk,
    index::{Applied, Ends, Index, Keep},
    log::{Lag, Synced},
};
use crate::segments;
use model::{
    Clock, Pulse,
    queue::{Lane, LaneView, Tell},
};
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// Followed in one transaction.
const GROUP_BYTES_MAX: usize = 4 << 20;
const CHECKPOINT_EVERY: Duration = Duration::from_secs(5);
const FORGET_AT_ONCE: usize = 5000;
/// A disk that was full may have room again.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// How long ended events can be asked for, and how many that left no dead letter.
#[derive(Clone, Debug)]
pub(super) struct Retention {
    pub ended: Duration,
    pub ended_max: usize,
    pub dead: Duration,
}

/// What readers and the follower share.
#[derive(Default)]
pub(super) struct Board {
    pub lanes: Mutex<BTreeMap<Lane, LaneView>>,
    pub attempts: Attempts,
    pub tell: OnceLock<Tell>,
    /// How many of the log's entries can be read.
    pub followed: watch::Sender<u64>,
    pub counts: Counts,
}

/// What came and what ended since the start of the platform.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub accepted: AtomicU64,
    pub succeeded: AtomicU64,
    pub failed: AtomicU64,
    pub dead: AtomicU64,
    pub cancelled: AtomicU64,
    pub again: AtomicU64,
}

impl Board {
    pub(super) fn lanes(&self) -> MutexGuard<'_, BTreeMap<Lane, LaneView>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
    pub(super) fn tell(&self, lane: &Lane) {
        if let Some(tell) = self.tell.get() {
            tell(lane);
        }
    }
}

pub(super) struct Follower {
    pub index: Index,
    pub board: Arc<Board>,
    pub bodies: Bodies,
    pub clock: Arc<dyn Clock>,
    pub lag: Arc<Lag>,
    pub disk: Arc<dyn Disk>,
    pub folder: PathBuf,
    pub retention: Retention,
    /// The oldest segment that may still be there.
    pub oldest: u32,
    pub since_checkpoint: usize,
    pub forget_every: Duration,
    pub checkpoint_bytes: usize,
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.lag.open();
    }
}

impl Follower {
    pub(super) fn run(mut self, log: &Receiver<Synced>, pulse: &Pulse) {
        let (mut checkpointed, mut forgot) = (Instant::now(), Instant::now());
        let (mut open, mut more) = (true, false);
        while open {
            // Forgetting goes on between what comes in, never before it.
            pulse.rest();
            let came = log.recv_timeout(if more { Duration::ZERO } else { CHECKPOINT_EVERY });
            pulse.work();
            match came {
                Ok(first) => self.follow(first, log, pulse),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => open = false,
            }
            if self.since_checkpoint >= self.checkpoint_bytes
                || (self.since_checkpoint > 0 && checkpointed.elapsed() >= CHECKPOINT_EVERY)
                || !open
            {
                pulse.work();
                self.checkpoint();
                checkpointed = Instant::now();
            }
            if open && (more || forgot.elapsed() >= self.forget_every) {
                pulse.work();
                more = self.forget();
                forgot = Instant::now();
            }
        }
    }

    fn follow(&mut self, first: Synced, log: &Receiver<Synced>, pulse: &Pulse) {
        let (mut bytes, mut group) = (first.bytes, vec![first]);
        while bytes < GROUP_BYTES_MAX
            && let Ok(more) = log.try_recv()
        {
            bytes += more.bytes;
            group.push(more);
        }
        let last = group.last().expect("it has its first");
        let (segment, offset, count) = (last.segment, last.offset, last.count);
        let applied = loop {
            match self.index.apply(group.iter().flat_map(|s| &s.entries), segment, offset) {
                Ok(applied) => break applied,
                // The log has it all; nothing is lost by waiting, and new events are refused once enough of them wait.
                Err(error) => tracing::error!("the index of queued events can't be written, and will be tried again: {error}"),
            }
            std::thread::sleep(TRY_AGAIN);
            pulse.work();
        };
        self.lag.less(bytes);
        self.since_checkpoint += bytes;
        self.publish(applied);
        self.board.followed.send_replace(count);
        let told = group.into_iter().flat_map(|s| s.applied);
        told.for_each(|reply| drop(reply.send(Ok(()))));
    }

    fn publish(&mut self, applied: Applied) {
        let Ends { accepted, succeeded, failed, dead, cancelled, again } = applied.ends;
        let counts = &self.board.counts;
        for (counter, more) in [
            (&counts.accepted, accepted),
            (&counts.succeeded, succeeded),
            (&counts.failed, failed),
            (&counts.dead, dead),
            (&counts.cancelled, cancelled),
            (&counts.again, again),
        ] {
            counter.fetch_add(more, Ordering::Relaxed);
        }
        self.board.attempts.settled(&applied.settled);
        {
            let mut lanes = self.board.lanes();
            for (lane, view) in &applied.lanes {
                if view.queued == 0 && view.dead == 0 && !view.paused {
                    lanes.remove(lane);
                } else {
                    lanes.insert(lane.clone(), view.clone());
                }
            }
        }
        applied.lanes.iter().for_each(|(lane, _)| self.board.tell(lane));
        applied.files.into_iter().for_each(|id| self.bodies.remove(id));
    }

    fn checkpoint(&mut self) {
        match self.index.checkpoint() {
            Ok(true) => {
                self.since_checkpoint = 0;
                let followed = self.index.followed_segment();
                for number in self.oldest..followed {
                    match self.disk.remove(&segments::path(&self.folder, number)) {
                        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                            return tracing::warn!("a segment of the event log that is not needed any more stays: {e}");
                        }
                        _ => self.oldest = number + 1,
                    }
                }
            }
            // A reader was in the way: next time.
            Ok(false) => {}
            Err(error) => tracing::error!("the index of queued events can't be put on stable storage: {error}"),
        }
    }

    /// Some of what is not kept any longer. Gives whether there may be more.
    fn forget(&mut self) -> bool {
        let now = self.clock.wall_ms();
        let from = |age: Duration| now.saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        let Retention { ended, ended_max, dead } = self.retention;
        let keep = Keep { closed_from_ms: from(ended), closed_max: ended_max, dead_from_ms: from(dead) };
        match self.index.forget(&keep, FORGET_AT_ONCE) {
            Ok((applied, more)) => {
                self.publish(applied);
                more
            }
            Err(error) => {
                tracing::error!("ended events can't be forgotten: {error}");
                false
            }
        }
    }
}
