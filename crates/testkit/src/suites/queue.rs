//! The behaviour of a [`Queue`], as the engine and the owners of events count on it. An implementation may show what it accepted
//! a little later than it acknowledged it; a control tells when everything before it can be read.

#![allow(clippy::unwrap_used, reason = "a suite tells by panicking, as any test does")]

use crate::clock::Hand;
use bytes::Bytes;
use model::{
    Clock, Fut, InvocationId, TenantId,
    ports::Queue,
    queue::{Control, EventQuery, EventView, Lane, LaneView, NewEvent, Queued, Settled, Stage, Why},
};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// An empty queue of its own for each case, over a clock that the case moves.
pub struct Subject {
    pub queue: Arc<dyn Queue>,
    pub clock: Arc<Hand>,
}

type Case = for<'a> fn(&'a Subject) -> Fut<'a, ()>;

/// Every case, to be run one by one.
pub const ALL: &[(&str, Case)] = &[
    ("an event is known from its acceptance to its end", |s| Box::pin(known(s))),
    ("events come as they fall due", |s| Box::pin(due(s))),
    ("of a key one after the other", |s| Box::pin(keyed(s))),
    ("what was not tried comes again at its place", |s| Box::pin(released(s))),
    ("dead letters are listed and driven again", |s| Box::pin(dead_letters(s))),
    ("an owner holds up, cancels and purges", |s| Box::pin(controlled(s))),
    ("a deleted function's events are dead letters", |s| Box::pin(deleted(s))),
    ("what follows from an event comes with its end", |s| Box::pin(followed(s))),
    ("every end has its stage and its words", |s| Box::pin(ends(s))),
    ("lists are one tenant's, by function, by stage, in pages", |s| Box::pin(listed(s))),
    ("whoever listens hears of changes", |s| Box::pin(told(s))),
];

fn lane(function: &str) -> Lane {
    Lane { tenant: TenantId::new("000000000000"), function: function.into() }
}

impl Subject {
    fn event(&self, body: &'static str) -> NewEvent {
        NewEvent {
            lane: lane("f"),
            qualifier: None,
            key: None,
            due_ms: self.clock.wall_ms(),
            expires_ms: self.clock.wall_ms() + 3_600_000,
            hops: 0,
            content_type: None,
            attributes: Vec::new(),
            body: Bytes::from_static(body.as_bytes()),
        }
    }
    async fn put(&self, body: &'static str) -> InvocationId {
        self.queue.put(self.event(body)).await.expect("it is accepted")
    }
    /// Everything that was accepted before can be read.
    async fn settled(&self) {
        self.queue.control(&lane("nobody"), Control::Resume).await.expect("a control is accepted");
    }
    async fn take(&self, limit: usize) -> Vec<Queued> {
        self.settled().await;
        self.queue.take(&lane("f"), limit).await.expect("events are read").0
    }
    async fn settle(&self, seq: u64, settled: Settled) {
        self.queue.settle(seq, settled, Vec::new()).await.expect("an end is accepted");
    }
    async fn control(&self, control: Control) {
        self.queue.control(&lane("f"), control).await.expect("a control is accepted");
    }
    async fn view(&self, id: InvocationId) -> EventView {
        self.settled().await;
        self.queue.find(&lane("f").tenant, id).await.expect("events are read").expect("it is known")
    }
    async fn body(&self, id: InvocationId) -> Option<Bytes> {
        self.settled().await;
        self.queue.body(&lane("f").tenant, id).await.expect("bodies are read")
    }
    async fn lane(&self) -> Option<LaneView> {
        self.settled().await;
        self.queue.lane(&lane("f"))
    }
}

fn bodies(taken: &[Queued]) -> Vec<&str> {
    taken.iter().map(|q| std::str::from_utf8(&q.event.body).expect("bodies here are text")).collect()
}

fn dead(reason: &str) -> Settled {
    Settled::Dead { why: Why::Failed, reason: reason.into() }
}

async fn known(s: &Subject) {
    let mut whole = s.event("{\"a\":1}");
    whole.qualifier = Some("live".into());
    whole.key = Some("k".into());
    whole.hops = 3;
    whole.content_type = Some("application/json".into());
    whole.attributes = vec![("trace".into(), Bytes::from_static(b"t"))];
    let id = s.queue.put(whole.clone()).await.expect("the queue answers");
    assert!(
        s.queue.find(&lane("f").tenant, id).await.expect("the queue answers").is_some(),
        "an id that was given can be asked for at once"
    );
    let view = s.view(id).await;
    assert_eq!((view.stage, view.attempts, view.bytes, &view.lane), (Stage::Queued, 0, 7, &lane("f")));
    assert_eq!((view.qualifier.as_deref(), view.key.as_deref()), (Some("live"), Some("k")));
    assert_eq!((view.accepted_ms, view.ended_ms), (s.clock.wall_ms(), 0));
    let taken = s.take(10).await;
    assert_eq!((taken.len(), taken[0].id, taken[0].attempts, &taken[0].event), (1, id, 0, &whole));
    assert_eq!(s.view(id).await.stage, Stage::Running);
    assert!(s.take(10).await.is_empty(), "what is taken is not offered again");
    assert!(s.queue.find(&"another".into(), id).await.expect("the queue answers").is_none(), "ids are one tenant's");
    assert!(s.queue.body(&"another".into(), id).await.expect("the queue answers").is_none());
    s.settle(taken[0].seq, Settled::Again { due_ms: 0, counted: true, reason: "it raised".into() }).await;
    let view = s.view(id).await;
    assert_eq!((view.stage, view.attempts, &*view.reason), (Stage::Queued, 1, "it raised"));
    assert_eq!(s.body(id).await.as_deref(), Some(&b"{\"a\":1}"[..]));
    assert_eq!(s.take(10).await[0].attempts, 1);
    s.clock.forward(Duration::from_secs(1));
    s.settle(taken[0].seq, Settled::Succeeded).await;
    let view = s.view(id).await;
    assert_eq!((view.stage, view.attempts, view.ended_ms), (Stage::Succeeded, 2, s.clock.wall_ms()));
    assert_eq!(s.body(id).await, None, "nobody needs it any more");
}

async fn due(s: &Subject) {
    let now = s.clock.wall_ms();
    for (body, after) in [("third", 5000), ("first", 0), ("second", 1000)] {
        s.queue.put(NewEvent { due_ms: now + after, ..s.event(body) }).await.expect("the queue answers");
    }
    let first = s.take(10).await;
    assert_eq!(bodies(&first), ["first"]);
    assert_eq!(
        s.queue.take(&lane("f"), 10).await.expect("the queue answers"),
        (vec![], Some(now + 1000)),
        "when the next falls due"
    );
    s.clock.forward(Duration::from_secs(5));
    assert_eq!(bodies(&s.take(1).await), ["second"], "those due first come first");
    // One that is put off stands behind those that fell due before it.
    s.settle(first[0].seq, Settled::Again { due_ms: now + 5001, counted: false, reason: "".into() }).await;
    s.clock.forward(Duration::from_millis(1));
    let rest = s.take(10).await;
    assert_eq!((bodies(&rest), rest[1].attempts), (vec!["third", "first"], 0));
}

async fn keyed(s: &Subject) {
    for (body, key) in [("a1", Some("a")), ("a2", Some("a")), ("b1", Some("b")), ("none", None), ("a3", Some("a"))] {
        s.queue.put(NewEvent { key: key.map(Into::into), ..s.event(body) }).await.expect("the queue answers");
    }
    let first = s.take(10).await;
    assert_eq!(bodies(&first), ["a1", "b1", "none"]);
    // A key waits for its earlier event also while that waits for another attempt.
    let later = s.clock.wall_ms() + 100;
    s.settle(first[0].seq, Settled::Again { due_ms: later, counted: true, reason: "".into() }).await;
    assert!(s.take(10).await.is_empty());
    s.clock.forward(Duration::from_millis(100));
    assert_eq!(bodies(&s.take(10).await), ["a1"]);
    s.settle(first[0].seq, dead("no")).await;
    let second = s.take(10).await;
    assert_eq!(bodies(&second), ["a2"], "a dead letter holds nobody up");
    // One that is driven again stands before those that came after it, not before the one whose turn it is.
    assert_eq!(s.queue.redrive(&lane("f"), None, 60_000).await.expect("the queue answers"), 1);
    assert!(s.take(10).await.is_empty());
    s.settle(second[0].seq, Settled::Succeeded).await;
    let third = s.take(10).await;
    assert_eq!(bodies(&third), ["a1"]);
    s.queue.release(third[0].seq);
    assert!(s.queue.cancel(&lane("f").tenant, third[0].id).await.expect("the queue answers"));
    let fourth = s.take(10).await;
    assert_eq!(bodies(&fourth), ["a3"], "a cancelled one lets the next one go");
    s.control(Control::Purge).await;
    s.queue.put(NewEvent { key: Some("a".into()), ..s.event("a4") }).await.expect("the queue answers");
    assert!(s.take(10).await.is_empty(), "a purged one that still runs is in nobody's company");
    s.settle(fourth[0].seq, Settled::Succeeded).await;
    assert_eq!(bodies(&s.take(10).await), ["a4"]);
}

async fn released(s: &Subject) {
    for body in ["1", "2", "3"] {
        s.put(body).await;
    }
    let taken = s.take(2).await;
    assert_eq!(s.lane().await.map(|l| (l.queued, l.taken)), Some((3, 2)));
    s.queue.release(taken[0].seq);
    let again = s.take(10).await;
    assert_eq!((bodies(&again), again[0].attempts), (vec!["1", "3"], 0));
}

async fn dead_letters(s: &Subject) {
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(s.put("x").await);
    }
    for taken in s.take(10).await {
        s.settle(taken.seq, dead("it raised ValueError")).await;
    }
    let view = s.view(ids[0]).await;
    assert_eq!(
        (view.stage, view.why, &*view.reason, view.attempts),
        (Stage::DeadLettered, Some(Why::Failed), "it raised ValueError", 1)
    );
    assert_eq!(s.body(ids[0]).await.as_deref(), Some(&b"x"[..]), "a dead letter keeps its body");
    assert_eq!(s.lane().await, Some(LaneView { queued: 0, dead: 4, taken: 0, paused: false }));
    s.clock.forward(Duration::from_secs(7200));
    assert_eq!(
        s.queue.redrive(&lane("g"), Some(ids[1]), 60_000).await.expect("the queue answers"),
        0,
        "it is another function's"
    );
    assert_eq!(s.queue.redrive(&lane("f"), Some(ids[1]), 60_000).await.expect("the queue answers"), 1);
    assert_eq!(
        s.queue.redrive(&lane("f"), Some(ids[1]), 60_000).await.expect("the queue answers"),
        0,
        "it is no dead letter any more"
    );
    let taken = s.take(10).await;
    assert_eq!((taken.len(), taken[0].id, taken[0].attempts), (1, ids[1], 0), "as if it had just been accepted");
    assert_eq!(taken[0].event.expires_ms, s.clock.wall_ms() + 60_000);
    assert_eq!(s.queue.redrive(&lane("f"), None, 60_000).await.expect("the queue answers"), 3);
    assert_eq!(s.lane().await, Some(LaneView { queued: 4, dead: 0, taken: 1, paused: false }));
    s.settle(taken[0].seq, dead("again")).await;
    s.settled().await;
    s.control(Control::PurgeDead).await;
    assert_eq!(s.view(ids[1]).await.stage, Stage::Cancelled);
    assert_eq!(s.body(ids[1]).await, None);
}

async fn controlled(s: &Subject) {
    let ids = [s.put("1").await, s.put("2").await, s.put("3").await];
    s.control(Control::Pause).await;
    assert_eq!(s.lane().await, Some(LaneView { queued: 3, dead: 0, taken: 0, paused: true }));
    s.control(Control::Resume).await;
    assert!(!s.lane().await.expect("it holds events").paused);
    let tenant = lane("f").tenant;
    assert!(!s.queue.cancel(&"another".into(), ids[0]).await.expect("the queue answers"), "another tenant's id is nobody's");
    assert!(s.queue.cancel(&tenant, ids[0]).await.expect("the queue answers"));
    assert!(!s.queue.cancel(&tenant, ids[0]).await.expect("the queue answers"), "it has ended");
    assert_eq!(s.view(ids[0]).await.stage, Stage::Cancelled);
    let taken = s.take(1).await;
    assert!(!s.queue.cancel(&tenant, taken[0].id).await.expect("the queue answers"), "what runs is not cancelled");
    s.settle(taken[0].seq, Settled::Succeeded).await;
    s.settled().await;
    s.control(Control::Purge).await;
    assert!(s.take(10).await.is_empty());
    assert_eq!(s.view(ids[2]).await.stage, Stage::Cancelled);
    assert_eq!(s.lane().await, None, "it holds nothing");
    s.control(Control::Pause).await;
    assert_eq!(s.lane().await, Some(LaneView { paused: true, ..LaneView::default() }), "a pause outlasts what it held up");
    s.put("4").await;
    assert_eq!(s.lane().await.map(|l| l.queued), Some(1), "events are accepted all the same");
    assert!(s.queue.lanes().iter().any(|(l, v)| *l == lane("f") && v.paused));
}

async fn deleted(s: &Subject) {
    let ids = [s.put("runs").await, s.put("waits").await];
    let taken = s.take(1).await;
    s.control(Control::Pause).await;
    s.control(Control::Deleted).await;
    assert_eq!(s.lane().await.map(|l| l.paused), Some(false), "the next function of that name is not paused");
    for id in ids {
        let view = s.view(id).await;
        assert_eq!((view.stage, view.why), (Stage::DeadLettered, Some(Why::Deleted)));
    }
    // The attempt that was under way ends; its event has ended already.
    s.settle(taken[0].seq, Settled::Succeeded).await;
    assert_eq!(s.view(ids[0]).await.stage, Stage::DeadLettered);
    let next = s.put("of the next function of that name").await;
    let taken = s.take(10).await;
    assert_eq!((taken.len(), taken[0].id), (1, next));
}

async fn followed(s: &Subject) {
    s.put("cause").await;
    let taken = s.take(1).await;
    let then = ["one", "two"].map(|body| NewEvent { lane: lane("g"), ..s.event(body) });
    s.queue.settle(taken[0].seq, Settled::Succeeded, then.to_vec()).await.expect("the queue answers");
    assert!(s.take(10).await.is_empty());
    assert_eq!(bodies(&s.queue.take(&lane("g"), 10).await.expect("the queue answers").0), ["one", "two"]);
}

async fn ends(s: &Subject) {
    let failed = Settled::Failed { why: Why::Expired, reason: "too old".into() };
    let untold = Settled::Untold { reason: "not allowed".into() };
    let expired = Settled::Dead { why: Why::Expired, reason: "too old".into() };
    for (settled, stage, why, attempts, words) in [
        (Settled::Succeeded, Stage::Succeeded, None, 1, ""),
        (untold, Stage::Succeeded, None, 1, "not allowed"),
        (failed, Stage::Failed, Some(Why::Expired), 0, "too old"),
        (dead("it raised"), Stage::DeadLettered, Some(Why::Failed), 1, "it raised"),
        (expired, Stage::DeadLettered, Some(Why::Expired), 0, "too old"),
        (Settled::Cancelled, Stage::Cancelled, None, 0, ""),
    ] {
        let id = s.put("x").await;
        let seq = s.take(1).await[0].seq;
        s.settle(seq, settled).await;
        let view = s.view(id).await;
        assert_eq!((view.stage, view.why, view.attempts, &*view.reason), (stage, why, attempts, words));
        assert_eq!(s.body(id).await.is_some(), stage == Stage::DeadLettered, "{stage:?}");
        // It ends once.
        s.settle(seq, dead("again")).await;
        assert_eq!(s.view(id).await, view);
    }
}

async fn listed(s: &Subject) {
    let mut ids = Vec::new();
    for function in ["f", "g", "f", "f"] {
        ids.push(s.queue.put(NewEvent { lane: lane(function), ..s.event("x") }).await.expect("the queue answers"));
    }
    let stranger = Lane { tenant: TenantId::new("111111111111"), function: "f".into() };
    s.queue.put(NewEvent { lane: stranger, ..s.event("x") }).await.expect("the queue answers");
    let taken = s.take(1).await;
    s.settle(taken[0].seq, dead("no")).await;
    s.settled().await;
    let list = async |function: Option<&str>, stage, after, limit| {
        let function = function.map(Into::into);
        let query = EventQuery { tenant: lane("f").tenant, function, stage, after, limit };
        s.queue.list(query).await.expect("events are listed")
    };
    let found = |views: &[EventView]| views.iter().map(|v| v.id).collect::<Vec<_>>();
    assert_eq!(found(&list(None, None, 0, 10).await), ids);
    assert_eq!(found(&list(Some("f"), None, 0, 10).await), [ids[0], ids[2], ids[3]]);
    assert_eq!(found(&list(Some("f"), Some(Stage::DeadLettered), 0, 10).await), [ids[0]]);
    assert_eq!(found(&list(None, Some(Stage::Queued), 0, 10).await), ids[1..]);
    assert!(list(Some("nobody"), None, 0, 10).await.is_empty());
    let runs = s.take(1).await[0].id;
    assert_eq!(found(&list(None, Some(Stage::Running), 0, 1).await), [runs]);
    assert_eq!(found(&list(Some("f"), Some(Stage::Queued), 0, 1).await), [ids[3]], "a page is full where there are more");
    let page = list(None, None, 0, 3).await;
    assert_eq!(found(&page), ids[..3]);
    assert_eq!(found(&list(None, None, page[2].seq, 3).await), ids[3..]);
}

async fn told(s: &Subject) {
    let heard: Arc<Mutex<Vec<Lane>>> = Arc::default();
    let ear = heard.clone();
    s.queue.on_change(Box::new(move |lane| ear.lock().unwrap_or_else(PoisonError::into_inner).push(lane.clone())));
    let hears = |what: &str| {
        let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(heard.contains(&lane("f")), "nothing was heard of {what}");
        heard.clear();
    };
    s.put("x").await;
    s.settled().await;
    hears("an event");
    let taken = s.take(1).await;
    s.queue.release(taken[0].seq);
    hears("a release");
    let taken = s.take(1).await;
    s.settle(taken[0].seq, Settled::Again { due_ms: 0, counted: true, reason: "".into() }).await;
    s.settled().await;
    hears("another attempt");
    s.control(Control::Pause).await;
    hears("a pause");
}
