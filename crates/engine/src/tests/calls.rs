//! Calls that go well, and calls that are refused.

use super::rig::{MS, Rig, SECOND, text};
use model::{Body, Cause, Principal, ports::SlotEnd};

// proves B1
#[tokio::test(start_paused = true)]
async fn a_cold_call_starts_an_instance_and_the_next_one_finds_it_warm() {
    let mut rig = Rig::new().await;
    *rig.machine.create_takes.lock().unwrap() = 20 * MS;
    let call = rig.call();
    let handed = rig.handed().await;
    tokio::time::sleep(30 * MS).await;
    handed.answer("one");
    tokio::time::sleep(10 * MS).await;
    handed.end(SlotEnd::Free);
    assert_eq!(text(call.await.unwrap().0), "one");
    let cold = rig.last();
    assert!(cold.usage.init.is_some() && cold.steps.sandbox_us >= 20_000 && cold.steps.queued_us < 5_000, "{:?}", cold.steps);
    assert!((30_000..39_000).contains(&cold.steps.first_byte_us) && cold.steps.run_us >= 40_000, "{:?}", cold.steps);
    rig.round().await;
    let warm = rig.last();
    assert!(warm.usage.init.is_none() && warm.instance == cold.instance);
    rig.assert_nothing_leaks().await;
}

#[tokio::test(start_paused = true)]
async fn two_calls_at_once_have_an_instance_each() {
    let mut rig = Rig::new().await;
    let calls = [rig.call(), rig.call()];
    let (a, b) = (rig.handed().await, rig.handed().await);
    a.finish("ok");
    b.finish("ok");
    for call in calls {
        assert_eq!(text(call.await.unwrap().0), "ok");
    }
    let records = rig.book.records.lock().unwrap().clone();
    assert_ne!(records[0].instance, records[1].instance);
    rig.assert_nothing_leaks().await;
}

#[tokio::test(start_paused = true)]
async fn lines_belong_to_the_call_that_ran_and_stand_between_its_start_and_its_report() {
    let mut rig = Rig::new().await;
    rig.round().await;
    let inside = rig.machine.inside(rig.last().instance.unwrap());
    rig.book.lines.lock().unwrap().clear();
    inside.write("between\n");
    let mut event = rig.event();
    event.tail = true;
    let (id, target) = (event.id, rig.target());
    let call = rig.engine.invoke(target, event).await.unwrap();
    let handed = rig.handed().await;
    inside.write("mine\nmine too\n");
    handed.finish("ok");
    assert_eq!(text(call.reply.await), "ok");
    let tail = call.free.await.tail.unwrap();
    assert_eq!(&tail[..], b"START\nmine\nmine too\nEND\nREPORT Success\n");
    assert_eq!(rig.lines(), ["between", "START", "mine", "mine too", "END", "REPORT Success"]);
    let ids: Vec<_> = rig.book.lines.lock().unwrap().iter().map(|r| r.id).collect();
    assert!(ids[0].is_none() && ids[1..].iter().all(|i| *i == Some(id)), "{ids:?}");
}

#[tokio::test(start_paused = true)]
async fn a_frozen_instance_is_thawed_before_its_call_and_none_is_frozen_while_it_serves() {
    let mut rig = Rig::new().await;
    rig.round().await;
    tokio::time::sleep(SECOND).await;
    assert_eq!(rig.machine.done().last().unwrap(), "freeze 0");
    let call = rig.call();
    let handed = rig.handed().await;
    assert_eq!(rig.machine.done().last().unwrap(), "thaw 0");
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(rig.machine.done().last().unwrap(), "thaw 0", "frozen while it serves");
    handed.finish("ok");
    assert_eq!(text(call.await.unwrap().0), "ok");
    rig.assert_nothing_leaks().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_for_a_second_is_gone_after_two_whatever_else_is_going_on() {
    let mut rig = Rig::with(|_, unit, config| {
        unit.settings.timeout = 60 * SECOND;
        config.keep_alive = crate::KeepAlive::Fixed(SECOND);
    })
    .await;
    let busy = rig.call();
    let held = rig.handed().await;
    for _ in 0..3 {
        rig.round().await;
        assert_eq!(rig.engine.totals().0, 2);
        tokio::time::sleep(2 * SECOND).await;
        assert_eq!(rig.engine.totals().0, 1, "only the busy one is left: {:?}", rig.machine.done());
    }
    held.finish("ok");
    assert_eq!(text(busy.await.unwrap().0), "ok");
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(rig.engine.totals().0, 0);
}

/// The causes with which calls are refused before anything starts.
#[tokio::test(start_paused = true)]
async fn a_call_is_refused_for_its_size_its_depth_and_its_functions_reservation() {
    let mut rig = Rig::new().await;
    let mut large = rig.event();
    large.body = Body::Bytes(vec![0; 1001].into());
    let refused = rig.engine.invoke(rig.target(), large).await.err().unwrap();
    assert_eq!((refused.cause, refused.detail.as_deref()), (Cause::TooLarge, Some("1000")));
    rig.deploy(|f| f.concurrency.reserved = Some(0));
    assert_eq!(rig.invoke().await.err().unwrap().cause, Cause::Throttled);
    assert_eq!(rig.machine.count("create"), 0);
}

// proves F40
#[tokio::test(start_paused = true)]
async fn functions_that_call_each_other_are_stopped_after_the_last_hop() {
    let mut rig = Rig::new().await;
    let (mut caller, mut open) = (Principal::Root { tenant: "t".into() }, Vec::new());
    for hop in 0..=model::limits::HOPS_MAX {
        let mut target = rig.target();
        target.caller = caller;
        let call = rig.engine.invoke(target, rig.event()).await.unwrap();
        let handed = rig.handed().await;
        assert_eq!(handed.event().hops, hop);
        caller = Principal::Role { tenant: "t".into(), role: "r".into(), instance: call.instance.unwrap() };
        open.push((call, handed));
    }
    let mut target = rig.target();
    target.caller = caller;
    let refused = rig.engine.invoke(target, rig.event()).await.err().unwrap();
    assert_eq!((refused.cause, refused.detail.as_deref()), (Cause::Throttled, Some("recursion")));
    for (call, handed) in open {
        handed.finish("ok");
        assert_eq!(text(call.reply.await), "ok");
    }
    rig.assert_nothing_leaks().await;
}

// proves H67
#[tokio::test(start_paused = true)]
async fn who_may_call_is_asked_in_one_place_whatever_the_door() {
    let mut rig = Rig::new().await;
    let mut through = rig.target();
    through.door = "other";
    let denied = rig.engine.invoke(through.clone(), rig.event()).await.err().unwrap();
    assert_eq!(denied.cause, Cause::Denied);
    assert!(rig.rules.asked.lock().unwrap().is_empty(), "a door that is not open is no question of policy");
    rig.deploy(|f| f.doors = vec!["other".into()]);
    *rig.rules.allow.lock().unwrap() = false;
    for target in [through.clone(), rig.target()] {
        assert_eq!(rig.engine.invoke(target, rig.event()).await.err().unwrap().cause, Cause::Denied);
    }
    assert_eq!(*rig.rules.asked.lock().unwrap(), ["d:Invoke arn:f"; 2]);
    assert_eq!(rig.machine.count("create"), 0);
    *rig.rules.allow.lock().unwrap() = true;
    let call = rig.engine.invoke(through, rig.event()).await.unwrap();
    rig.handed().await.finish("ok");
    assert_eq!(text(call.reply.await), "ok");
}
