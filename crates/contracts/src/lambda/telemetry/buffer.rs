//! What waits for one subscriber, within the limits that it chose.

use super::events::{Event, Kind};
use bytes::Bytes;
use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::Notify, time::Instant};

/// When a batch is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffering {
    pub items_max: usize,
    pub bytes_max: usize,
    pub timeout: Duration,
}

impl Buffering {
    pub const ITEMS: (u64, u64, u64) = (1000, 10_000, 10_000);
    pub const BYTES: (u64, u64, u64) = (262_144, 1_048_576, 262_144);
    pub const TIMEOUT_MS: (u64, u64, u64) = (25, 30_000, 1000);
}

/// Of what doesn't fit into a batch, as much waits as for another.
const BATCHES_WAITING: usize = 2;

pub struct Subscription {
    pub types: Vec<Kind>,
    pub logs_api: bool,
    pub buffering: Buffering,
    waiting: Mutex<Waiting>,
    changed: Notify,
}

#[derive(Default)]
struct Waiting {
    events: VecDeque<Bytes>,
    bytes: usize,
    /// When the oldest came.
    since: Option<Instant>,
    /// Send what there is, however little.
    flush: bool,
    dropped: Dropped,
}

/// What a subscriber lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    pub records: u64,
    pub bytes: u64,
}

impl Subscription {
    pub fn new(types: Vec<Kind>, logs_api: bool, buffering: Buffering) -> Subscription {
        Subscription { types, logs_api, buffering, waiting: Mutex::default(), changed: Notify::new() }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn push(&self, event: &Event) {
        if !self.types.contains(&event.of) || !event.shown(self.logs_api) {
            return;
        }
        let mut waiting = self.waiting();
        let full = waiting.bytes + event.text.len() > self.buffering.bytes_max * BATCHES_WAITING
            || waiting.events.len() >= self.buffering.items_max * BATCHES_WAITING;
        if full {
            waiting.dropped.records += 1;
            waiting.dropped.bytes += event.text.len() as u64;
            return;
        }
        waiting.bytes += event.text.len();
        waiting.events.push_back(event.text.clone());
        let first = waiting.since.is_none();
        waiting.since.get_or_insert_with(Instant::now);
        if first || self.full(&waiting) {
            self.changed.notify_one();
        }
    }

    pub fn flush(&self) {
        self.waiting().flush = true;
        self.changed.notify_one();
    }

    fn full(&self, waiting: &Waiting) -> bool {
        waiting.events.len() >= self.buffering.items_max || waiting.bytes >= self.buffering.bytes_max
    }

    /// The next batch, when it is due; what was lost before it.
    pub async fn batch(&self) -> (Vec<Bytes>, Dropped) {
        loop {
            let due = {
                let mut waiting = self.waiting();
                let due = waiting.since.map(|since| since + self.buffering.timeout);
                let now = self.full(&waiting) || waiting.flush || due.is_some_and(|at| at <= Instant::now());
                if now && !waiting.events.is_empty() {
                    return self.take(&mut waiting);
                }
                due
            };
            match due {
                Some(at) => tokio::select! {
                    () = tokio::time::sleep_until(at) => {}
                    () = self.changed.notified() => {}
                },
                None => self.changed.notified().await,
            }
        }
    }

    fn take(&self, waiting: &mut Waiting) -> (Vec<Bytes>, Dropped) {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while let Some(event) = waiting.events.front() {
            let fits = batch.is_empty() || bytes + event.len() <= self.buffering.bytes_max;
            if !fits || batch.len() >= self.buffering.items_max {
                break;
            }
            bytes += event.len();
            batch.extend(waiting.events.pop_front());
        }
        waiting.bytes -= bytes;
        waiting.since = (!waiting.events.is_empty()).then(Instant::now);
        (batch, std::mem::take(&mut waiting.dropped))
    }

    /// A batch that could not be delivered.
    pub fn lost(&self, batch: &[Bytes]) {
        let mut waiting = self.waiting();
        waiting.dropped.records += batch.len() as u64;
        waiting.dropped.bytes += batch.iter().map(|e| e.len() as u64).sum::<u64>();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn subscription(items_max: usize, bytes_max: usize) -> Subscription {
        let buffering = Buffering { items_max, bytes_max, timeout: Duration::from_secs(1) };
        Subscription::new(vec![Kind::Function], false, buffering)
    }
    fn event(text: &str) -> Event {
        Event::new(0, Kind::Function, "function", json!(text))
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_is_due_by_number_by_size_by_time_or_at_the_end() {
        let by_number = subscription(2, 1 << 20);
        let began = Instant::now();
        by_number.push(&event("a"));
        by_number.push(&event("b"));
        assert_eq!((by_number.batch().await.0.len(), began.elapsed()), (2, Duration::ZERO));
        let by_size = subscription(100, 100);
        by_size.push(&event(&"x".repeat(60)));
        by_size.push(&event("y"));
        assert_eq!((by_size.batch().await.0.len(), began.elapsed()), (1, Duration::ZERO), "a batch is no larger than asked");
        let by_time = subscription(100, 1 << 20);
        by_time.push(&event("a"));
        assert_eq!((by_time.batch().await.0.len(), began.elapsed()), (1, Duration::from_secs(1)));
        let at_the_end = subscription(100, 1 << 20);
        at_the_end.push(&event("a"));
        at_the_end.flush();
        assert_eq!((at_the_end.batch().await.0.len(), began.elapsed()), (1, Duration::from_secs(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_asked_for_stays_away_and_what_does_not_fit_is_counted() {
        let full = subscription(2, 1 << 20);
        full.push(&Event::new(0, Kind::Platform, "platform.start", json!({})));
        (0..7).for_each(|n| full.push(&event(&n.to_string())));
        let size = event("0").text.len() as u64;
        assert_eq!(full.batch().await, (vec![event("0").text, event("1").text], Dropped { records: 3, bytes: 3 * size }));
        full.lost(&[event("8").text]);
        assert_eq!(full.batch().await, (vec![event("2").text, event("3").text], Dropped { records: 1, bytes: size }));
    }
}
