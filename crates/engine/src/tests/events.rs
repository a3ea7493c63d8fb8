//! Events in simulated time: attempts, pauses, ends, and what holds them up.

use super::rig::{MS, Rig, SECOND};
use crate::{
    TenantLimits,
    events::{Events, Outcomes},
};
use bytes::Bytes;
use model::{
    Cause, Fault,
    catalog::{Destination, EventRule},
    ports::Queue,
    queue::{Accept, Control, EventView, Finished, Lane, NewEvent, Settled, Stage, Why},
};
use std::{sync::Arc, time::Duration};
use testkit::queue::MemoryQueue;

const MINUTE: Duration = Duration::from_secs(60);

struct Told;

impl Outcomes for Told {
    fn event(&self, f: &Finished<'_>) -> Option<Bytes> {
        let ended = if *f.settled == Settled::Succeeded { "succeeded" } else { "failed" };
        Some(format!("{} {ended}: {}", f.function.name, String::from_utf8_lossy(f.answer)).into())
    }
}

async fn events(rig: &Rig, in_flight_max: usize) -> (Arc<Events>, Arc<MemoryQueue>) {
    let queue = MemoryQueue::new(rig.engine.parts.clock.clone());
    let events = Events::new(rig.engine.clone(), queue.clone(), in_flight_max);
    events.connect(Arc::new(Told));
    tokio::spawn(events.clone().run());
    (events, queue)
}

async fn accept(rig: &Rig, events: &Events, body: &'static str) -> model::InvocationId {
    let accept = Accept { body: Bytes::from_static(body.as_bytes()), ..Accept::default() };
    events.accept(rig.target(), accept).await.unwrap()
}

fn one(queue: &MemoryQueue) -> EventView {
    queue.all().remove(0)
}

#[tokio::test(start_paused = true)]
async fn an_event_runs_under_its_id_and_is_over() {
    let mut rig = Rig::new().await;
    let (events, queue) = events(&rig, 10).await;
    let id = accept(&rig, &events, "{}").await;
    let handed = rig.handed().await;
    assert_eq!((handed.event().id, handed.event().attempt), (id, 1));
    assert_eq!(one(&queue).stage, Stage::Queued, "it has not ended while it runs");
    handed.finish("done");
    tokio::time::sleep(MS).await;
    assert_eq!((one(&queue).stage, one(&queue).attempts, events.view().in_flight), (Stage::Succeeded, 1, 0));
    rig.assert_nothing_leaks().await;
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_tried_again_after_a_pause_that_doubles_under_the_same_id_and_becomes_a_dead_letter() {
    let mut rig = Rig::new().await;
    let (events, queue) = events(&rig, 10).await;
    let id = accept(&rig, &events, "{}").await;
    let began = tokio::time::Instant::now();
    for (attempt, after) in [(1, Duration::ZERO), (2, MINUTE), (3, 3 * MINUTE)] {
        let handed = rig.handed().await;
        assert_eq!((handed.event().id, handed.event().attempt), (id, attempt));
        let late = began.elapsed().abs_diff(after);
        assert!(late < 10 * SECOND, "attempt {attempt} came {:?} after the first", began.elapsed());
        handed.report("Boom");
    }
    tokio::time::sleep(SECOND).await;
    let end = one(&queue);
    assert_eq!((end.stage, end.why), (Stage::DeadLettered, Some(Why::Failed)));
    assert!(end.reason.contains("Boom"), "{end:?}");
    tokio::time::sleep(60 * MINUTE).await;
    assert!(rig.nothing_handed(), "it is over");
    assert_eq!(queue.redrive(&end.lane, None, 1_000_000).await.unwrap(), 1);
    rig.handed().await.finish("at last");
    tokio::time::sleep(MS).await;
    assert_eq!(one(&queue).stage, Stage::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_killed_for_its_time_is_dead_before_it_is_offered_again() {
    let mut rig = Rig::new().await;
    let (events, queue) = events(&rig, 10).await;
    accept(&rig, &events, "{}").await;
    let _hangs = rig.handed().await;
    let again = rig.handed().await;
    assert_eq!(again.event().attempt, 2);
    assert!(rig.machine.done().contains(&"kill-group 0".to_owned()));
    assert!(one(&queue).reason.contains("timed out"), "{:?}", one(&queue));
}

#[tokio::test(start_paused = true)]
async fn what_its_function_never_saw_costs_no_attempt_and_grows_old() {
    let mut rig = Rig::new().await;
    let (events, queue) = events(&rig, 10).await;
    rig.deploy(|f| f.concurrency.reserved = Some(0));
    accept(&rig, &events, "{}").await;
    tokio::time::sleep(30 * MINUTE).await;
    let view = one(&queue);
    assert_eq!((view.stage, view.attempts), (Stage::Queued, 0), "throttled, and waiting");
    rig.deploy(|f| f.concurrency.reserved = None);
    rig.handed().await.finish("ok");
    tokio::time::sleep(MS).await;
    assert_eq!(one(&queue).stage, Stage::Succeeded);

    rig.deploy(|f| f.concurrency.reserved = Some(0));
    accept(&rig, &events, "{}").await;
    tokio::time::sleep(7 * 60 * MINUTE).await;
    let end = queue.all().pop().unwrap();
    assert_eq!((end.stage, end.why, end.attempts), (Stage::DeadLettered, Some(Why::Expired), 0));
}

// proves A1.6: what an event was sent to is gone; it waits and says so, and holds nobody else up
#[tokio::test(start_paused = true)]
async fn an_event_for_a_version_that_is_gone_waits_with_its_reason_while_others_run_and_ends_by_its_age() {
    let mut rig = Rig::new().await;
    let (events, queue) = events(&rig, 1).await;
    let target = rig.target();
    let stranded = queue
        .put(NewEvent {
            lane: Lane { tenant: target.tenant, function: target.function },
            qualifier: Some("gone".into()),
            key: None,
            due_ms: 0,
            expires_ms: rig.engine.parts.clock.wall_ms() + 6 * 3_600_000,
            hops: 0,
            content_type: None,
            attributes: Vec::new(),
            body: Bytes::new(),
        })
        .await
        .unwrap();
    let of_stranded = || queue.all().into_iter().find(|v| v.id == stranded).unwrap();
    for _ in 0..5 {
        let id = accept(&rig, &events, "{}").await;
        let handed = rig.handed().await;
        assert_eq!(handed.event().id, id);
        handed.finish("ok");
    }
    tokio::time::sleep(SECOND).await;
    let view = of_stranded();
    assert_eq!((view.stage, view.attempts), (Stage::Queued, 0));
    assert!(view.reason.contains("gone"), "why it waits: {view:?}");
    tokio::time::sleep(7 * 60 * MINUTE).await;
    assert_eq!((of_stranded().stage, of_stranded().why), (Stage::DeadLettered, Some(Why::Expired)));
}

#[tokio::test(start_paused = true)]
async fn word_of_an_end_goes_where_its_owner_wants_it() {
    let mut rig = Rig::new().await;
    let (events, queue) = events(&rig, 10).await;
    let to = |name: &str| Some(Destination { function: name.into(), qualifier: None });
    rig.also("good");
    rig.also("bad");
    rig.deploy(|f| {
        let rule = EventRule { attempts_max: 1, on_success: to("good"), on_failure: to("bad"), ..EventRule::DEFAULT };
        f.events.insert("".into(), rule);
        // Whoever hears of it need not run here.
        f.concurrency.reserved = None;
    });
    accept(&rig, &events, "1").await;
    rig.handed().await.finish("fine");
    accept_until(&queue, "good").await;
    assert_eq!(queue.bodies("good"), ["f succeeded: fine"]);
    rig.handed().await.finish("heard");
    accept(&rig, &events, "2").await;
    rig.handed().await.report("Boom");
    accept_until(&queue, "bad").await;
    assert!(queue.bodies("bad")[0].starts_with(b"f failed: "));
    let failed = queue.all().into_iter().find(|v| v.stage == Stage::Failed).expect("its destination has it");
    assert_eq!(failed.why, Some(Why::Failed));
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_its_role_may_not_invoke_is_not_told_and_the_end_says_so() {
    let mut rig = Rig::new().await;
    let (events, queue) = events(&rig, 10).await;
    let to = Some(Destination { function: "heard".into(), qualifier: None });
    rig.also("heard");
    rig.deploy(|f| {
        let rule = EventRule { attempts_max: 1, on_success: to.clone(), on_failure: to, ..EventRule::DEFAULT };
        f.events.insert("".into(), rule);
    });
    for (stage, end) in [(Stage::Succeeded, "fine"), (Stage::DeadLettered, "Boom")] {
        let id = accept(&rig, &events, "1").await;
        *rig.rules.allow.lock().unwrap() = false;
        let handed = rig.handed().await;
        if stage == Stage::Succeeded {
            handed.finish(end)
        } else {
            handed.report(end)
        }
        tokio::time::sleep(SECOND).await;
        *rig.rules.allow.lock().unwrap() = true;
        let view = queue.all().into_iter().find(|v| v.id == id).unwrap();
        assert_eq!((view.stage, view.attempts.max(1)), (stage, 1));
        assert!(view.reason.contains("heard was not told: not allowed"), "{}", view.reason);
        assert!(stage == Stage::Succeeded || view.reason.contains("Boom"), "why it failed is kept: {}", view.reason);
    }
    assert!(queue.bodies("heard").is_empty());
}

async fn accept_until(queue: &MemoryQueue, lane: &str) {
    while queue.bodies(lane).is_empty() {
        tokio::time::sleep(MS).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_that_cannot_be_written_down_is_not_run_again_and_written_later() {
    let mut rig = Rig::new().await;
    let (events, queue) = events(&rig, 10).await;
    accept(&rig, &events, "{}").await;
    let handed = rig.handed().await;
    queue.full(true);
    handed.finish("ok");
    tokio::time::sleep(MINUTE).await;
    assert_eq!(one(&queue).stage, Stage::Queued);
    assert!(rig.nothing_handed());
    let accept = Accept::default();
    assert_eq!(
        events.accept(rig.target(), accept).await.err().map(|f| f.cause),
        Some(Cause::Exhausted),
        "nothing is acknowledged"
    );
    queue.full(false);
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(one(&queue).stage, Stage::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_accepted_that_could_not_be_called() {
    let rig = Rig::new().await;
    let (events, queue) = events(&rig, 10).await;
    let cause = async |target, body: usize| {
        let accept = Accept { body: vec![b'x'; body].into(), ..Accept::default() };
        events.accept(target, accept).await.err().map(|f: Fault| f.cause)
    };
    assert_eq!(cause(rig.target(), 1001).await, Some(Cause::TooLarge));
    let mut target = rig.target();
    target.function = "absent".into();
    assert_eq!(cause(target, 1).await, Some(Cause::NotFound));
    *rig.rules.allow.lock().unwrap() = false;
    assert_eq!(cause(rig.target(), 1).await, Some(Cause::Denied));
    assert!(queue.all().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_stands_still_before_work_is_started_again_and_counted() {
    let mut rig = Rig::new().await;
    let (events, queue) = events(&rig, 10).await;
    queue.stall(2);
    accept(&rig, &events, "{}").await;
    rig.handed().await.finish("at last");
    tokio::time::sleep(MS).await;
    assert_eq!((one(&queue).stage, events.view().restarts), (Stage::Succeeded, 2));
    tokio::time::sleep(10 * MINUTE).await;
    assert_eq!(events.view().restarts, 2, "nothing to do is no standstill");
}

struct Breaks(std::sync::atomic::AtomicBool);

impl Outcomes for Breaks {
    fn event(&self, _: &Finished<'_>) -> Option<Bytes> {
        assert!(self.0.swap(true, std::sync::atomic::Ordering::SeqCst), "the word of an end breaks the attempt");
        Some("worded".into())
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_panics_gives_its_event_back() {
    let mut rig = Rig::new().await;
    let queue = MemoryQueue::new(rig.engine.parts.clock.clone());
    let events = Events::new(rig.engine.clone(), queue.clone(), 10);
    events.connect(Arc::new(Breaks(false.into())));
    tokio::spawn(events.clone().run());
    rig.also("heard");
    rig.deploy(|f| {
        let on_success = Some(Destination { function: "heard".into(), qualifier: None });
        f.events.insert("".into(), EventRule { on_success, ..EventRule::DEFAULT });
    });
    let id = accept(&rig, &events, "{}").await;
    rig.handed().await.finish("once");
    let again = rig.handed().await;
    assert_eq!((again.event().id, again.event().attempt), (id, 1), "what came of the first is not known");
    again.finish("twice");
    accept_until(&queue, "heard").await;
    assert_eq!((one(&queue).stage, queue.bodies("heard").len()), (Stage::Succeeded, 1));
}

#[tokio::test(start_paused = true)]
async fn no_more_run_at_once_than_may_and_a_stop_waits_for_them() {
    let mut rig = Rig::new().await;
    let (events, queue) = events(&rig, 2).await;
    for _ in 0..5 {
        accept(&rig, &events, "{}").await;
    }
    let (first, second) = (rig.handed().await, rig.handed().await);
    tokio::time::sleep(SECOND).await;
    assert!(rig.nothing_handed());
    first.finish("ok");
    let third = rig.handed().await;
    let draining = tokio::spawn({
        let events = events.clone();
        async move { events.drain(MINUTE).await }
    });
    tokio::time::sleep(MS).await;
    second.finish("ok");
    third.finish("ok");
    assert_eq!(draining.await.unwrap(), 0);
    assert!(rig.nothing_handed());
    assert_eq!(queue.all().iter().filter(|v| v.stage == Stage::Queued).count(), 2, "those wait for the next start");
}

// A1.1, F59
#[tokio::test(start_paused = true)]
async fn events_of_a_function_that_is_gone_are_ended_at_the_start_and_its_name_inherits_nothing() {
    let rig = Rig::new().await;
    let queue = MemoryQueue::new(rig.engine.parts.clock.clone());
    let (there, gone) = (rig.target().function, model::FunctionName::new("gone"));
    let tenant = rig.target().tenant;
    let put = |function: &model::FunctionName| {
        queue.put(NewEvent {
            lane: Lane { tenant: tenant.clone(), function: function.clone() },
            qualifier: None,
            key: None,
            due_ms: u64::MAX / 4,
            expires_ms: u64::MAX / 2,
            hops: 0,
            content_type: None,
            attributes: Vec::new(),
            body: Bytes::new(),
        })
    };
    // As a crash between a deletion and its word to the queue leaves them.
    let (kept, orphan) = (put(&there).await.unwrap(), put(&gone).await.unwrap());
    let events = Events::new(rig.engine.clone(), queue.clone(), 10);
    events.end_orphans().await;
    let all = queue.all();
    let of = |id| all.iter().find(|view| view.id == id).map(|view| (view.stage, view.why));
    assert_eq!(of(orphan), Some((Stage::DeadLettered, Some(Why::Deleted))));
    assert_eq!(of(kept), Some((Stage::Queued, None)));
}

// A function that fails on every event fills nobody's disk: what it leaves counts until its owner clears it away
#[tokio::test(start_paused = true)]
async fn dead_letters_count_against_the_tenants_quota_until_they_are_purged() {
    let mut rig = Rig::new().await;
    let (events, queue) = events(&rig, 10).await;
    rig.deploy(|f| drop(f.events.insert("".into(), EventRule { attempts_max: 1, ..EventRule::DEFAULT })));
    let limits = TenantLimits { concurrency: 1000, calls: None, events: 3 };
    rig.engine.limit(&[("t".into(), limits)].into());
    for _ in 0..3 {
        accept(&rig, &events, "{}").await;
        rig.handed().await.report("Boom");
        tokio::time::sleep(SECOND).await;
    }
    assert!(queue.all().iter().all(|e| e.stage == Stage::DeadLettered));
    let refused = events.accept(rig.target(), Accept::default()).await.unwrap_err();
    assert_eq!((refused.cause, refused.detail.as_deref()), (Cause::Throttled, Some("queued")));
    assert!(refused.message.contains("dead letters"), "{}", refused.message);
    assert_eq!(queue.redrive(&one(&queue).lane, Some(one(&queue).id), 1_000_000).await.unwrap(), 1);
    rig.handed().await.finish("at last");
    tokio::time::sleep(SECOND).await;
    accept(&rig, &events, "{}").await;
    rig.handed().await.report("Boom");
    tokio::time::sleep(SECOND).await;
    assert!(events.accept(rig.target(), Accept::default()).await.is_err(), "full again");
    queue.control(&one(&queue).lane, Control::PurgeDead).await.unwrap();
    accept(&rig, &events, "{}").await;
}
