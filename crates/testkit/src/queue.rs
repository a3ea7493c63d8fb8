//! A queue in memory, for tests of what stands on one.

use bytes::Bytes;
use model::{
    Clock, Fault, Fut, InvocationId, TenantId,
    ports::Queue,
    queue::{Control, EventQuery, EventView, Lane, LaneView, NewEvent, Queued, Settled, Stage, Taken, Tell, Why},
};
use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

struct Row {
    queued: Queued,
    view: EventView,
}

#[derive(Default)]
struct State {
    rows: BTreeMap<u64, Row>,
    taken: HashSet<u64>,
    seq: u64,
    paused: BTreeSet<Lane>,
    /// So many reads never end.
    stalls: usize,
    /// Nothing can be written.
    full: bool,
}

pub struct MemoryQueue {
    state: Mutex<State>,
    clock: Arc<dyn Clock>,
    tell: OnceLock<Tell>,
}

impl Row {
    fn offered(&self) -> Queued {
        let mut queued = Queued { attempts: self.view.attempts, ..self.queued.clone() };
        (queued.event.due_ms, queued.event.expires_ms) = (self.view.due_ms, self.view.expires_ms);
        queued
    }
}

impl State {
    fn shown(&self, row: &Row) -> EventView {
        let mut view = row.view.clone();
        if view.stage == Stage::Queued && self.taken.contains(&view.seq) {
            view.stage = Stage::Running;
        }
        view
    }
}

impl MemoryQueue {
    pub fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), clock, tell: OnceLock::new() })
    }
    /// Refuse to write anything, or write again.
    pub fn full(&self, full: bool) {
        self.lock().full = full;
    }
    fn stalled(&self) -> bool {
        let mut state = self.lock();
        let left = state.stalls.checked_sub(1);
        state.stalls = left.unwrap_or(0);
        left.is_some()
    }
    /// Let so many reads never end.
    pub fn stall(&self, reads: usize) {
        self.lock().stalls = reads;
    }
    /// Every event, in the order of acceptance.
    pub fn all(&self) -> Vec<EventView> {
        self.lock().rows.values().map(|r| r.view.clone()).collect()
    }
    pub fn bodies(&self, lane: &str) -> Vec<Bytes> {
        let of = |r: &&Row| r.view.lane.function.as_str() == lane;
        self.lock().rows.values().filter(of).map(|r| r.queued.event.body.clone()).collect()
    }
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn changed(&self, lane: &Lane) {
        if let Some(tell) = self.tell.get() {
            tell(lane);
        }
    }
    fn add(&self, event: NewEvent) -> Result<(InvocationId, Lane), Fault> {
        let mut state = self.lock();
        if state.full {
            return Err(Fault::new(model::Cause::Exhausted, "the disk is full"));
        }
        state.seq += 1;
        let seq = state.seq;
        let (id, accepted_ms, lane) = (InvocationId::random(), self.clock.wall_ms(), event.lane.clone());
        let view = EventView {
            seq,
            id,
            lane: lane.clone(),
            qualifier: event.qualifier.clone(),
            key: event.key.clone(),
            stage: Stage::Queued,
            why: None,
            reason: "".into(),
            attempts: 0,
            accepted_ms,
            due_ms: event.due_ms,
            expires_ms: event.expires_ms,
            ended_ms: 0,
            bytes: event.body.len() as u64,
        };
        state.rows.insert(seq, Row { queued: Queued { seq, id, accepted_ms, attempts: 0, event }, view });
        Ok((id, lane))
    }
    fn update(&self, lane: &Lane, pick: impl Fn(&EventView) -> bool, change: impl Fn(&mut Row)) -> u64 {
        let mut state = self.lock();
        let rows = state.rows.values_mut().filter(|r| r.view.lane == *lane && pick(&r.view));
        let count = rows.map(change).count() as u64;
        drop(state);
        self.changed(lane);
        count
    }
}

impl Queue for MemoryQueue {
    fn put(&self, event: NewEvent) -> Fut<'_, Result<InvocationId, Fault>> {
        Box::pin(async move {
            let (id, lane) = self.add(event)?;
            self.changed(&lane);
            Ok(id)
        })
    }
    fn take(&self, lane: &Lane, limit: usize) -> Fut<'_, Result<Taken, Fault>> {
        let (lane, now) = (lane.clone(), self.clock.wall_ms());
        Box::pin(async move {
            if self.stalled() {
                std::future::pending::<()>().await;
            }
            let mut state = self.lock();
            let state = &mut *state;
            let waiting = state.rows.values().filter(|r| r.view.lane == lane && r.view.stage == Stage::Queued);
            let next = waiting.clone().map(|r| r.view.due_ms).filter(|due| *due > now).min();
            // Of a key the earliest, and none while one is taken.
            let taken = state.taken.iter().filter_map(|seq| state.rows.get(seq)).filter(|r| r.view.lane == lane);
            let mut keys: HashSet<Arc<str>> = taken.filter_map(|r| r.view.key.clone()).collect();
            let first = |r: &&Row| r.view.key.as_ref().is_none_or(|k| keys.insert(k.clone()));
            let free = waiting.filter(first).filter(|r| r.view.due_ms <= now && !state.taken.contains(&r.view.seq));
            let mut due: Vec<&Row> = free.collect();
            due.sort_by_key(|r| (r.view.due_ms, r.view.seq));
            let taken: Vec<Queued> = due.into_iter().take(limit).map(Row::offered).collect();
            state.taken.extend(taken.iter().map(|q| q.seq));
            Ok((taken, next))
        })
    }
    fn settle(&self, seq: u64, settled: Settled, then: Vec<NewEvent>) -> Fut<'_, Result<(), Fault>> {
        Box::pin(async move {
            if self.lock().full {
                return Err(Fault::new(model::Cause::Exhausted, "the disk is full"));
            }
            for event in then {
                let (_, lane) = self.add(event)?;
                self.changed(&lane);
            }
            let mut state = self.lock();
            state.taken.remove(&seq);
            let Some(row) = state.rows.get_mut(&seq).filter(|r| r.view.stage == Stage::Queued) else { return Ok(()) };
            let view = &mut row.view;
            view.ended_ms = self.clock.wall_ms();
            let tried = |why: Why| u32::from(why == Why::Failed);
            match settled {
                Settled::Succeeded => (view.stage, view.attempts) = (Stage::Succeeded, view.attempts + 1),
                Settled::Again { due_ms, counted, reason } => {
                    (view.due_ms, view.ended_ms, view.reason) = (due_ms, 0, reason);
                    view.attempts += u32::from(counted);
                }
                Settled::Dead { why, reason } => {
                    view.attempts += tried(why);
                    (view.stage, view.why, view.reason) = (Stage::DeadLettered, Some(why), reason);
                }
                Settled::Untold { reason } => {
                    (view.stage, view.attempts, view.reason) = (Stage::Succeeded, view.attempts + 1, reason);
                }
                Settled::Failed { why, reason } => {
                    view.attempts += tried(why);
                    (view.stage, view.why, view.reason) = (Stage::Failed, Some(why), reason);
                }
                Settled::Cancelled => view.stage = Stage::Cancelled,
            }
            let lane = view.lane.clone();
            drop(state);
            self.changed(&lane);
            Ok(())
        })
    }
    fn release(&self, seq: u64) {
        let mut state = self.lock();
        state.taken.remove(&seq);
        let lane = state.rows.get(&seq).map(|r| r.view.lane.clone());
        drop(state);
        lane.iter().for_each(|lane| self.changed(lane));
    }
    fn lanes(&self) -> Vec<(Lane, LaneView)> {
        let state = self.lock();
        let lanes = state.rows.values().map(|r| r.view.lane.clone()).chain(state.paused.iter().cloned());
        let lanes: BTreeSet<Lane> = lanes.collect();
        drop(state);
        lanes.into_iter().filter_map(|l| self.lane(&l).map(|v| (l, v))).collect()
    }
    fn lane(&self, lane: &Lane) -> Option<LaneView> {
        let state = self.lock();
        let count = |stage| state.rows.values().filter(|r| r.view.lane == *lane && r.view.stage == stage).count() as u64;
        let view = LaneView {
            queued: count(Stage::Queued),
            dead: count(Stage::DeadLettered),
            taken: state.rows.values().filter(|r| r.view.lane == *lane && state.taken.contains(&r.view.seq)).count() as u64,
            paused: state.paused.contains(lane),
        };
        (view.queued > 0 || view.dead > 0 || view.paused).then_some(view)
    }
    fn on_change(&self, tell: Tell) {
        let _ = self.tell.set(tell);
    }
    fn control(&self, lane: &Lane, control: Control) -> Fut<'_, Result<(), Fault>> {
        let lane = lane.clone();
        Box::pin(async move {
            let now = self.clock.wall_ms();
            let ended = |stage| move |row: &mut Row| (row.view.stage, row.view.ended_ms) = (stage, now);
            let deleted = |row: &mut Row| {
                ended(Stage::DeadLettered)(row);
                row.view.why = Some(Why::Deleted);
            };
            match control {
                Control::Pause => drop(self.lock().paused.insert(lane.clone())),
                Control::Resume => drop(self.lock().paused.remove(&lane)),
                Control::Purge => drop(self.update(&lane, |v| v.stage == Stage::Queued, ended(Stage::Cancelled))),
                Control::PurgeDead => drop(self.update(&lane, |v| v.stage == Stage::DeadLettered, ended(Stage::Cancelled))),
                Control::Forget => self.lock().rows.retain(|_, row| row.view.lane != lane),
                Control::Deleted => {
                    self.update(&lane, |v| v.stage == Stage::Queued, deleted);
                    self.lock().paused.remove(&lane);
                }
            }
            self.changed(&lane);
            Ok(())
        })
    }
    fn redrive(&self, lane: &Lane, only: Option<InvocationId>, age_ms: u64) -> Fut<'_, Result<u64, Fault>> {
        let (lane, now) = (lane.clone(), self.clock.wall_ms());
        Box::pin(async move {
            let pick = |v: &EventView| v.stage == Stage::DeadLettered && only.is_none_or(|id| id == v.id);
            Ok(self.update(&lane, pick, |row| {
                let view = &mut row.view;
                (view.stage, view.attempts, view.due_ms, view.expires_ms) = (Stage::Queued, 0, now, now + age_ms);
                (view.ended_ms, view.why, view.reason) = (0, None, "".into());
                row.queued.event.expires_ms = now + age_ms;
            }))
        })
    }
    fn cancel(&self, tenant: &TenantId, id: InvocationId) -> Fut<'_, Result<bool, Fault>> {
        let tenant = tenant.clone();
        Box::pin(async move {
            let Some(view) = self.find(&tenant, id).await? else { return Ok(false) };
            if view.stage != Stage::Queued {
                return Ok(false);
            }
            Ok(self.update(&view.lane, |v| v.id == id, |row| row.view.stage = Stage::Cancelled) > 0)
        })
    }
    fn find(&self, tenant: &TenantId, id: InvocationId) -> Fut<'_, Result<Option<EventView>, Fault>> {
        let state = self.lock();
        let found = state.rows.values().find(|r| r.view.id == id && r.view.lane.tenant == *tenant);
        let found = found.map(|r| state.shown(r));
        Box::pin(async move { Ok(found) })
    }
    fn body(&self, tenant: &TenantId, id: InvocationId) -> Fut<'_, Result<Option<Bytes>, Fault>> {
        let kept = |r: &&Row| {
            r.view.id == id && r.view.lane.tenant == *tenant && matches!(r.view.stage, Stage::Queued | Stage::DeadLettered)
        };
        let found = self.lock().rows.values().find(kept).map(|r| r.queued.event.body.clone());
        Box::pin(async move { Ok(found) })
    }
    fn list(&self, query: EventQuery) -> Fut<'_, Result<Vec<EventView>, Fault>> {
        let fits = |v: &EventView| {
            v.lane.tenant == query.tenant
                && v.seq > query.after
                && query.function.as_ref().is_none_or(|f| *f == v.lane.function)
                && query.stage.is_none_or(|s| s == v.stage)
        };
        let state = self.lock();
        let found = state.rows.values().map(|r| state.shown(r)).filter(fits).take(query.limit).collect();
        Box::pin(async move { Ok(found) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::Hand, suites::queue};

    #[tokio::test]
    async fn the_queue_in_memory_behaves_as_a_queue() {
        for (name, case) in queue::ALL {
            println!("{name}");
            let clock = Hand::new();
            case(&queue::Subject { queue: MemoryQueue::new(clock.clone()), clock }).await;
        }
    }
}
