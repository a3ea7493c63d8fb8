//! Where the engine leaves log lines and records of finished invocations.
//!
//! Leaving one is a lock, a push and nothing else: no allocation of its own, no disk, no wake-up while lines are flowing. One
//! thread takes what has gathered every few milliseconds. What waits is bounded by count and bytes, and no stream may take more
//! than its share of that, so that one function's flood costs its own lines; what is dropped is counted and marked in the log.

use model::{
    event::Record,
    log::{Line, LogLine, Stream},
    ports,
};
use std::{
    collections::HashMap,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    time::Duration,
};

/// Of all that may wait, one stream gets one part in this many.
const SHARE: usize = 4;
/// What a line weighs besides its text.
const LINE_BYTES: usize = 128;

#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) lines: usize,
    pub(crate) bytes: usize,
    pub(crate) records: usize,
}

/// What has gathered, in the order it came.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) lines: Vec<LogLine>,
    pub(crate) records: Vec<Record>,
    pub(crate) records_dropped: u64,
    bytes: usize,
    shares: HashMap<usize, Share>,
}

struct Share {
    stream: Arc<Stream>,
    bytes: usize,
    lines: usize,
    dropped: u64,
}

impl Batch {
    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.records.is_empty() && self.records_dropped == 0 && self.shares.is_empty()
    }
    /// Streams that lost lines, with how many.
    pub(crate) fn dropped(&self) -> impl Iterator<Item = (&Arc<Stream>, u64)> {
        self.shares.values().filter(|s| s.dropped > 0).map(|s| (&s.stream, s.dropped))
    }
    /// Ready to gather again, with the room it had.
    pub(crate) fn clear(&mut self) {
        self.lines.clear();
        self.records.clear();
        self.shares.clear();
        // After a flood the room goes back.
        self.lines.shrink_to(4096);
        self.records.shrink_to(1024);
        (self.bytes, self.records_dropped) = (0, 0);
    }
}

/// The engine's side of logs and records.
pub struct Journal {
    queue: Mutex<Queue>,
    wake: Condvar,
    bounds: Bounds,
}

#[derive(Default)]
struct Queue {
    batch: Batch,
    /// The writer sleeps until it is woken.
    asleep: bool,
    closed: bool,
}

impl Journal {
    pub(crate) fn new(bounds: Bounds) -> Journal {
        Journal { queue: Mutex::default(), wake: Condvar::new(), bounds }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("no holder of this lock panics")
    }

    fn wake(&self, mut queue: MutexGuard<'_, Queue>) {
        if std::mem::take(&mut queue.asleep) {
            drop(queue);
            self.wake.notify_one();
        }
    }

    /// Exchange what has gathered for an empty batch.
    pub(crate) fn take(&self, empty: Batch) -> Batch {
        std::mem::replace(&mut self.queue().batch, empty)
    }

    /// Sleep until something has come, or for so long. False when the journal is closed.
    pub(crate) fn wait(&self, longest: Option<Duration>) -> bool {
        let mut queue = self.queue();
        if queue.batch.is_empty() && !queue.closed {
            queue.asleep = true;
            let sleeping = |q: &mut Queue| q.asleep && !q.closed;
            queue = match longest {
                Some(longest) => self.wake.wait_timeout_while(queue, longest, sleeping).expect("no holder of this lock panics").0,
                None => self.wake.wait_while(queue, sleeping).expect("no holder of this lock panics"),
            };
            queue.asleep = false;
        }
        !queue.closed
    }

    pub(crate) fn close(&self) {
        self.queue().closed = true;
        self.wake.notify_one();
    }
}

fn weight(line: &Line) -> usize {
    LINE_BYTES
        + match line {
            Line::Text { text, .. } => text.len(),
            Line::Platform { text } => text.len(),
            Line::InitStart { .. } | Line::Start { .. } | Line::End | Line::Opened | Line::Report { .. } => 0,
        }
}

impl ports::Journal for Journal {
    fn line(&self, line: LogLine) {
        let bytes = weight(&line.record.line);
        let mut guard = self.queue();
        let queue = &mut *guard;
        if queue.closed {
            return;
        }
        let batch = &mut queue.batch;
        let share = batch.shares.entry(Arc::as_ptr(&line.stream) as usize).or_insert_with(|| Share {
            stream: line.stream.clone(),
            bytes: 0,
            lines: 0,
            dropped: 0,
        });
        let own = share.bytes + bytes <= self.bounds.bytes / SHARE && share.lines < self.bounds.lines / SHARE;
        let all = batch.bytes + bytes <= self.bounds.bytes && batch.lines.len() < self.bounds.lines;
        if own && all {
            share.bytes += bytes;
            share.lines += 1;
            batch.bytes += bytes;
            batch.lines.push(line);
        } else {
            share.dropped += 1;
        }
        self.wake(guard);
    }

    fn record(&self, record: Record) {
        let mut queue = self.queue();
        if queue.closed {
            return;
        }
        if queue.batch.records.len() < self.bounds.records {
            queue.batch.records.push(record);
        } else {
            queue.batch.records_dropped += 1;
        }
        self.wake(queue);
    }
}
