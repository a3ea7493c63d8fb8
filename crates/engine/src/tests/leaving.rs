//! Callers that go away, at each moment of a call. A reservation of one makes a leak show: the next call would be refused.

use super::{
    rig::{MS, Rig, SECOND},
    runtime::Init,
};

async fn only_one() -> Rig {
    Rig::with(|f, _, _| f.concurrency.reserved = Some(1)).await
}

#[tokio::test(start_paused = true)]
async fn leaving_while_it_runs_fires_cancel_and_the_slot_comes_back() {
    let mut rig = only_one().await;
    for polled in [true, false] {
        let mut call = rig.invoke().await.unwrap();
        let handed = rig.handed().await;
        if polled {
            assert!(tokio::time::timeout(MS, &mut call.reply).await.is_err());
        }
        drop(call);
        assert!(handed.event().cancel.is_cancelled());
        assert_eq!(rig.load(), (0, 1), "user code still runs");
        handed.finish("to nobody");
        tokio::time::sleep(MS).await;
        assert_eq!(rig.load(), (0, 0));
    }
    rig.round().await;
    rig.assert_nothing_leaks().await;
}

// proves F36b
#[tokio::test(start_paused = true)]
async fn leaving_the_line_frees_the_place_and_one_start_serves_who_comes_next() {
    let mut rig = only_one().await;
    *rig.contract.always.lock().unwrap() = || Init::Ready(SECOND);
    for _ in 0..5 {
        assert!(tokio::time::timeout(100 * MS, rig.invoke()).await.is_err());
        assert_eq!(rig.load(), (0, 0));
    }
    rig.round().await;
    assert_eq!(rig.machine.count("create"), 1, "a herd of starts for one waiting call");
    rig.assert_nothing_leaks().await;
}

#[tokio::test(start_paused = true)]
async fn leaving_during_a_thaw_leaks_nothing() {
    let mut rig = only_one().await;
    rig.round().await;
    tokio::time::sleep(SECOND).await;
    *rig.machine.thaw_takes.lock().unwrap() = SECOND;
    assert!(tokio::time::timeout(100 * MS, rig.invoke()).await.is_err());
    assert_eq!(rig.load(), (0, 0));
    rig.round().await;
    assert_eq!(rig.machine.count("create"), 1);
    rig.assert_nothing_leaks().await;
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_does_not_thaw_is_replaced_and_its_call_keeps_its_admission() {
    let mut rig = only_one().await;
    rig.round().await;
    tokio::time::sleep(SECOND).await;
    *rig.machine.thaw_fails.lock().unwrap() = true;
    rig.round().await;
    assert_eq!((rig.machine.count("create"), rig.machine.count("kill 0")), (2, 1));
    rig.assert_nothing_leaks().await;
}

#[tokio::test(start_paused = true)]
async fn leaving_while_processes_are_started_again_leaks_nothing_and_starts_them_once() {
    let mut rig = only_one().await;
    let call = rig.call();
    let _hangs = rig.handed().await;
    assert!(call.await.unwrap().0.is_err());
    *rig.contract.always.lock().unwrap() = || Init::Ready(SECOND);
    assert!(tokio::time::timeout(100 * MS, rig.invoke()).await.is_err());
    assert_eq!(rig.load(), (0, 1), "the start goes on, and its slot is taken");
    tokio::time::sleep(SECOND).await;
    assert_eq!(rig.load(), (0, 0));
    rig.round().await;
    assert_eq!((rig.machine.count("create"), rig.machine.count("spawn")), (1, 2));
    rig.assert_nothing_leaks().await;
}

#[tokio::test(start_paused = true)]
async fn leaving_between_two_placements_leaks_nothing() {
    let mut rig = only_one().await;
    let call = rig.invoke().await.unwrap();
    let first = rig.handed().await;
    *rig.contract.always.lock().unwrap() = || Init::Ready(SECOND);
    first.undelivered();
    assert!(tokio::time::timeout(100 * MS, call.reply).await.is_err());
    let call = rig.call();
    rig.handed().await.undelivered();
    call.abort();
    assert!(call.await.is_err());
    rig.round().await;
    rig.assert_nothing_leaks().await;
}
