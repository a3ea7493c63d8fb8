//! Initialisations that fail, hang or end again, and instances that are kept ready.

use super::{
    rig::{MS, Rig, SECOND, text},
    runtime::Init,
};
use model::{
    Cause, Fault, RevisionId, Unit,
    ports::{Beside, Goodbye},
    sandbox::Exit,
    secret::{SecretState, SecretUse},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

fn broken() -> Init {
    Init::Fails(
        Fault::new(Cause::InitFailed, "no module").detail("Runtime.Unknown").report(&b"{\"errorMessage\":\"verbatim\"}"[..]),
    )
}

// proves B1
#[tokio::test(start_paused = true)]
async fn a_failed_initialisation_is_told_to_one_caller_in_its_own_words_and_recorded_as_a_cold_start() {
    let mut rig = Rig::new().await;
    rig.contract.inits.lock().unwrap().push_back(broken());
    *rig.machine.create_takes.lock().unwrap() = 20 * MS;
    let calls = [rig.call(), rig.call(), rig.call()];
    for _ in 0..2 {
        rig.handed().await.finish("ok");
    }
    let mut failed = 0;
    for call in calls {
        if let Err(told) = call.await.unwrap().0 {
            failed += 1;
            assert_eq!(told.fault.report.as_deref(), Some(&b"{\"errorMessage\":\"verbatim\"}"[..]));
        }
    }
    assert_eq!(failed, 1);
    let records = rig.book.records.lock().unwrap().clone();
    let record = records.iter().find(|r| &*r.status == "init-failed").unwrap();
    assert!(record.usage.init.is_some() && record.steps.sandbox_us >= 20_000 && record.steps.run_us == 0, "{record:?}");
    assert!(records.len() == 3 && records.iter().all(|r| r.usage.init.is_some()));
    assert!(rig.lines().contains(&"REPORT Error(\"Runtime.Unknown\")".to_owned()));
    rig.assert_nothing_leaks().await;
}

#[tokio::test(start_paused = true)]
async fn what_runs_beside_a_runtime_that_never_gets_ready_hears_why() {
    let mut rig = Rig::new().await;
    *rig.contract.beside.lock().unwrap() = Beside { budget: 2 * SECOND, ..Beside::default() };
    rig.contract.inits.lock().unwrap().extend([broken(), Init::Hangs, Init::Hangs, Init::Hangs]);
    let told = rig.contract.goodbyes.clone();
    let take = || std::mem::take(&mut *told.lock().unwrap());

    let (before, deadline) = (rig.engine.parts.clock.wall_ms(), 2000);
    assert_eq!(text(rig.call().await.unwrap().0), "init-failed: no module");
    tokio::time::sleep(MS).await;
    assert_eq!(take(), [(Goodbye::Failure, before + deadline)]);

    let call = rig.call();
    tokio::time::sleep(SECOND / 10).await;
    rig.machine.boxes.lock().unwrap().last().unwrap().exit(Exit::Code(3));
    assert_eq!(text(call.await.unwrap().0), "exited: the runtime exited with status 3");
    tokio::time::sleep(MS).await;
    assert_eq!(take().iter().map(|t| t.0).collect::<Vec<_>>(), [Goodbye::Failure]);

    // Both tries, the first before the second begins.
    let call = rig.call();
    assert!(text(call.await.unwrap().0).starts_with("timeout: initialisation took longer than"));
    tokio::time::sleep(MS).await;
    assert_eq!(take().iter().map(|t| t.0).collect::<Vec<_>>(), [Goodbye::Timeout, Goodbye::Timeout]);
    rig.round().await;
    rig.assert_nothing_leaks().await;
}

// proves F11
#[tokio::test(start_paused = true)]
async fn a_revision_that_keeps_failing_is_refused_with_its_reason_until_it_is_tried_again_or_replaced() {
    let mut rig = Rig::new().await;
    *rig.contract.always.lock().unwrap() = broken;
    for _ in 0..20 {
        assert_eq!(text(rig.call().await.unwrap().0), "init-failed: no module");
    }
    assert_eq!(rig.machine.count("create"), 4, "tried while its circuit was open");
    tokio::time::sleep(10 * SECOND).await;
    assert_eq!(text(rig.call().await.unwrap().0), "init-failed: no module");
    assert_eq!(rig.machine.count("create"), 5);
    assert_eq!(text(rig.call().await.unwrap().0), "init-failed: no module");
    assert_eq!(rig.machine.count("create"), 5);
    *rig.contract.always.lock().unwrap() = || Init::Ready(Duration::ZERO);
    rig.update();
    rig.round().await;
    let records = rig.book.records.lock().unwrap().clone();
    assert_eq!(records.len(), 23, "refused calls are counted too");
    assert!(records.iter().all(|r| r.instance.is_some() == r.usage.init.is_some()), "who was refused ran nowhere");
    rig.assert_nothing_leaks().await;
}

#[tokio::test(start_paused = true)]
async fn an_initialisation_over_its_limit_has_a_second_try_under_the_functions_own() {
    let mut rig = Rig::new().await;
    rig.contract.inits.lock().unwrap().extend([Init::Hangs, Init::Ready(2 * SECOND), Init::Hangs, Init::Hangs]);
    rig.round().await;
    assert_eq!(rig.machine.done()[..4], ["create 0", "spawn 0", "kill-group 0", "spawn 0"]);
    assert!(rig.last().usage.init.is_some());
    rig.update();
    assert!(text(rig.call().await.unwrap().0).starts_with("timeout: "));
    assert_eq!(rig.last().usage.duration, 13 * SECOND, "both tries");
    rig.assert_nothing_leaks().await;
}

// proves F11
#[tokio::test(start_paused = true)]
async fn provisioned_instances_appear_and_one_that_keeps_ending_is_replaced_less_and_less_often() {
    let mut rig = Rig::new().await;
    rig.deploy(|f| f.concurrency.provisioned = [("$LATEST".into(), 2)].into());
    tokio::time::sleep(MS).await;
    let seen = rig.engine.observed(&"t".into(), Some("f"));
    assert_eq!((seen.provisioned_ready["$LATEST"], seen.instances.iter().filter(|i| i.provisioned).count()), (2, 2));
    tokio::time::sleep(1000 * SECOND).await;
    assert_eq!(rig.machine.count("create"), 2, "kept, and not replaced");
    // From now on each ends half a second after its start.
    let (machine, stop) = (rig.machine.clone(), Arc::new(AtomicBool::new(false)));
    let until = stop.clone();
    let reaper = tokio::spawn(async move {
        while !until.load(Ordering::Relaxed) {
            tokio::time::sleep(SECOND / 2).await;
            let all = machine.boxes.lock().unwrap().clone();
            all.iter().for_each(|b| b.exit(Exit::Code(1)));
        }
    });
    tokio::time::sleep(20 * SECOND).await;
    let early = rig.machine.count("create") - 2;
    tokio::time::sleep(100 * SECOND).await;
    let later = rig.machine.count("create") - 2 - early;
    assert!(early <= 24 && (10..=24).contains(&later), "{early} starts in 20 s, then {later} in 100 s");
    stop.store(true, Ordering::Relaxed);
    reaper.await.unwrap();
    tokio::time::sleep(20 * SECOND).await;
    assert_eq!(rig.engine.observed(&"t".into(), Some("f")).provisioned_ready["$LATEST"], 2, "replaced in the end");
    rig.round().await;
    rig.deploy(|f| f.concurrency.provisioned.clear());
    rig.assert_nothing_leaks().await;
}

#[tokio::test(start_paused = true)]
async fn a_unit_without_its_secret_is_not_started_and_says_which() {
    let mut rig = Rig::new().await;
    let with = |state: SecretState| {
        move |f: &mut model::Function| {
            let secrets = vec![SecretUse { variable: "TOKEN".into(), secret: "db/token".into(), state }];
            let unit = Unit { secrets, revision: RevisionId::random(), ..Unit::clone(&f.versions["$LATEST"]) };
            f.versions.insert("$LATEST".into(), Arc::new(unit));
        }
    };
    for state in [SecretState::Missing, SecretState::Damaged, SecretState::TooLarge] {
        rig.deploy(with(state));
        let said = text(rig.call().await.unwrap().0);
        assert!(said.starts_with("init-failed: the variable TOKEN is the secret db/token"), "{state:?}: {said}");
    }
    assert_eq!(rig.machine.count("create"), 0);
    rig.deploy(with(SecretState::Version(1)));
    rig.round().await;
    rig.assert_nothing_leaks().await;
}
