//! Calls whose instance ends under them, or too late.

use super::{
    rig::{MS, Rig, SECOND, text},
    runtime::Init,
};
use bytes::Bytes;
use model::{
    Cause, Frame, ReplyBody,
    ports::{SlotEnd, Slots},
    sandbox::Exit,
};
use std::{future::poll_fn, pin::Pin};

// proves F7, F28
#[tokio::test(start_paused = true)]
async fn a_call_past_its_time_is_dead_before_it_fails_and_the_next_one_respawns_in_the_same_sandbox() {
    let mut rig = Rig::new().await;
    *rig.machine.kill_takes.lock().unwrap() = 200 * MS;
    let call = rig.invoke().await.unwrap();
    let _hangs = rig.handed().await;
    assert_eq!(text(call.reply.await), "timeout: Task timed out after 3.00 seconds");
    assert_eq!(rig.machine.done().last().unwrap(), "kill-group 0", "it lives while its caller hears");
    call.free.await;
    assert_eq!((&*rig.last().status, rig.last().usage.duration), ("timeout", 3 * SECOND));
    assert!(rig.lines().contains(&"REPORT Timeout".to_owned()));
    rig.round().await;
    assert_eq!((rig.machine.count("create"), rig.machine.count("spawn 0")), (1, 2));
    rig.assert_nothing_leaks().await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_breaks_while_its_processes_are_killed_is_a_timeout_and_waits_for_their_end() {
    let mut rig = Rig::new().await;
    *rig.machine.kill_takes.lock().unwrap() = 200 * MS;
    let call = rig.invoke().await.unwrap();
    let handed = rig.handed().await;
    tokio::spawn(async move {
        tokio::time::sleep(3 * SECOND + 100 * MS).await;
        handed.undelivered();
    });
    assert_eq!(text(call.reply.await), "timeout: Task timed out after 3.00 seconds");
    assert_eq!(rig.machine.count("kill-group"), 1);
    rig.assert_nothing_leaks().await;
}

#[tokio::test(start_paused = true)]
async fn a_process_that_exits_during_a_call_is_told_with_its_status_and_replaced() {
    let mut rig = Rig::new().await;
    let call = rig.invoke().await.unwrap();
    let _handed = rig.handed().await;
    rig.machine.inside(call.instance.unwrap()).exit(Exit::Code(3));
    let failed = call.reply.await.err().unwrap();
    assert_eq!((failed.fault.cause, failed.fault.detail.as_deref()), (Cause::Exited, Some("exit status 3")));
    assert!(call.free.await.spent);
    assert_eq!(&*rig.last().status, "exited");
    rig.round().await;
    assert_eq!(rig.machine.count("create"), 2);
    rig.assert_nothing_leaks().await;
}

#[tokio::test(start_paused = true)]
async fn an_event_that_nobody_took_goes_elsewhere_and_keeps_its_admission() {
    let mut rig = Rig::with(|f, _, _| f.concurrency.reserved = Some(1)).await;
    let call = rig.call();
    rig.handed().await.undelivered();
    rig.handed().await.undelivered();
    let third = rig.handed().await;
    assert_eq!((rig.load(), third.event().attempt), ((0, 1), 1));
    assert_eq!(
        rig.invoke().await.err().unwrap().cause,
        Cause::Throttled,
        "the call is still the one that the reservation allows"
    );
    third.finish("at last");
    assert_eq!(text(call.await.unwrap().0), "at last");
    let call = rig.call();
    for _ in 0..3 {
        rig.handed().await.undelivered();
    }
    assert_eq!(text(call.await.unwrap().0), "internal: nobody was there");
    rig.assert_nothing_leaks().await;
}

#[tokio::test(start_paused = true)]
async fn one_call_past_its_time_fails_the_others_of_its_instance_for_another_reason() {
    let mut rig = Rig::with(|_, unit, _| unit.settings.slots = Slots::Bounded(3)).await;
    *rig.contract.slots.lock().unwrap() = Slots::Bounded(3);
    let slow = rig.call();
    let _slow = rig.handed().await;
    tokio::time::sleep(SECOND).await;
    let other = rig.call();
    let _other = rig.handed().await;
    assert_eq!(text(slow.await.unwrap().0), "timeout: Task timed out after 3.00 seconds");
    assert!(text(other.await.unwrap().0).starts_with("exited: "));
    assert_eq!((rig.machine.count("create"), rig.machine.count("kill-group")), (1, 1));
    let status: Vec<_> = rig.book.records.lock().unwrap().iter().map(|r| r.status.to_string()).collect();
    assert!(status.contains(&"timeout".into()) && status.contains(&"exited".into()), "{status:?}");
    rig.assert_nothing_leaks().await;
}

#[tokio::test(start_paused = true)]
async fn two_calls_that_find_an_instance_killed_start_its_processes_once() {
    let mut rig = Rig::with(|_, unit, _| unit.settings.slots = Slots::Bounded(2)).await;
    *rig.contract.slots.lock().unwrap() = Slots::Bounded(2);
    let slow = rig.call();
    let _slow = rig.handed().await;
    assert!(slow.await.unwrap().0.is_err());
    *rig.contract.always.lock().unwrap() = || Init::Ready(SECOND);
    let calls = [rig.call(), rig.call()];
    let (a, b) = (rig.handed().await, rig.handed().await);
    a.finish("ok");
    b.finish("ok");
    for call in calls {
        assert_eq!(text(call.await.unwrap().0), "ok");
    }
    assert_eq!((rig.machine.count("create"), rig.machine.count("spawn")), (1, 2));
    rig.assert_nothing_leaks().await;
}

/// A stream that the test feeds.
struct Fed(tokio::sync::mpsc::UnboundedReceiver<Frame>);

impl futures_core::Stream for Fed {
    type Item = Frame;
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<Option<Frame>> {
        self.0.poll_recv(cx)
    }
}

fn fed() -> (tokio::sync::mpsc::UnboundedSender<Frame>, ReplyBody) {
    let (feed, frames) = tokio::sync::mpsc::unbounded_channel();
    (feed, ReplyBody::Stream(Box::pin(Fed(frames))))
}

// proves F33a
#[tokio::test(start_paused = true)]
async fn a_stream_that_goes_on_past_the_time_limit_ends_with_that_fault() {
    let mut rig = Rig::new().await;
    let call = rig.invoke().await.unwrap();
    let handed = rig.handed().await;
    let (feed, body) = fed();
    handed.reply(body);
    let ReplyBody::Stream(mut stream) = call.reply.await.ok().unwrap().body else { panic!("a stream") };
    // As a session does: a byte now and then, and a broken answer when the runtime is gone.
    tokio::spawn(async move {
        for _ in 0..2 {
            feed.send(Frame::Data(Bytes::from_static(b"."))).ok();
            tokio::time::sleep(2 * SECOND).await;
        }
        feed.send(Frame::Fault(model::Fault::new(Cause::Exited, "broke off"))).ok();
    });
    let mut frames = Vec::new();
    while let Some(frame) = poll_fn(|cx| stream.as_mut().poll_next(cx)).await {
        frames.push(match frame {
            Frame::Data(_) => "data".to_owned(),
            Frame::Trailers(_) => "trailers".to_owned(),
            Frame::Fault(fault) => fault.message,
        });
    }
    assert_eq!(frames, ["data", "data", "Task timed out after 3.00 seconds"]);
    call.free.await;
    assert_eq!((&*rig.last().status, rig.machine.count("kill-group")), ("timeout", 1));
    rig.assert_nothing_leaks().await;
}

#[tokio::test(start_paused = true)]
async fn who_leaves_in_the_middle_of_a_stream_is_noticed_and_who_read_it_whole_is_not() {
    let mut rig = Rig::new().await;
    for whole in [true, false] {
        let call = rig.invoke().await.unwrap();
        let handed = rig.handed().await;
        let (feed, body) = fed();
        handed.reply(body);
        let ReplyBody::Stream(mut stream) = call.reply.await.ok().unwrap().body else { panic!("a stream") };
        assert!(!handed.event().cancel.is_cancelled());
        if whole {
            drop(feed);
            assert!(poll_fn(|cx| stream.as_mut().poll_next(cx)).await.is_none());
        }
        drop(stream);
        assert_eq!(handed.event().cancel.is_cancelled(), !whole);
        handed.end(SlotEnd::Free);
        assert!(!call.free.await.spent);
    }
    rig.assert_nothing_leaks().await;
}

// F5: the clock jumps while nothing of the platform runs, as it does for a process that was stopped.
#[tokio::test(start_paused = true)]
async fn an_answer_that_came_while_the_platform_stood_still_is_not_too_late() {
    let mut rig = Rig::new().await;
    let call = rig.call();
    let handed = rig.handed().await;
    tokio::time::advance(30 * SECOND).await;
    tokio::time::sleep(100 * MS).await;
    handed.finish("in time");
    assert_eq!(text(call.await.unwrap().0), "in time");
    assert_eq!(rig.machine.count("kill-group"), 0);

    // One that has nothing to say then is over.
    let call = rig.call();
    let _hangs = rig.handed().await;
    tokio::time::advance(30 * SECOND).await;
    assert_eq!(text(call.await.unwrap().0), "timeout: Task timed out after 3.00 seconds");
    rig.assert_nothing_leaks().await;
}
