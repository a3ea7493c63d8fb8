//! Accepted events and what is killed under them, judged by a ledger: what was acknowledged has ended well.

use myna_tests::{Platform, Result, Test, Value, bail, ensure, json, rounds};
use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

pub const ALL: &[Test] = myna_tests::tests![
    accepted_events_survive_a_row_of_kills,
    an_event_that_is_tried_while_the_platform_is_killed_is_tried_again,
    an_event_whose_instance_is_killed_is_tried_again,
    senders_that_go_away_leave_their_events,
];

const PATIENCE: Duration = Duration::from_secs(60);
/// Acknowledged before each kill.
const EACH: usize = 100;

/// The ids of a function's events at a stage.
fn ids(myna: &Platform, function: &str, stage: &str) -> Result<BTreeSet<String>> {
    let all = myna.verb(&["events", "list", function, "--stage", stage, "--limit", "1000"])?;
    let id = |event: &Value| event["id"].as_str().map(str::to_owned);
    Ok(all.as_array().into_iter().flatten().filter_map(id).collect())
}

// F1b, A1.1
fn accepted_events_survive_a_row_of_kills() -> Result<()> {
    let mut myna = Platform::start()?;
    let mut acknowledged = BTreeSet::new();
    let mut kills = 0;
    for round in rounds("kills", 5, Duration::from_secs(3600)) {
        let name = format!("ledger-{round}");
        myna.python(&name, "def handler(event, context): return event")?;
        let told = Mutex::new(BTreeSet::new());
        let count = || told.lock().unwrap_or_else(PoisonError::into_inner).len();
        thread::scope(|s| -> Result<()> {
            for sender in 0..4 {
                let (myna, told, name) = (&myna, &told, &name);
                s.spawn(move || {
                    for n in 0..2 * EACH {
                        let event = serde_json::to_vec(&json!({"from": sender, "n": n})).expect("it is JSON");
                        let sent = myna.function(name).invoke_bytes("", &event, &[("x-amz-invocation-type", "Event")]);
                        match sent {
                            Ok(answer) if answer.status == 202 => {
                                told.lock().unwrap_or_else(PoisonError::into_inner).insert(answer.request_id)
                            }
                            _ => break,
                        };
                    }
                });
            }
            let began = Instant::now();
            while count() < EACH {
                ensure!(began.elapsed() < PATIENCE, "only {} events were acknowledged", count());
                thread::sleep(Duration::from_millis(1));
            }
            myna_tests::kill(myna.pid(), myna_tests::Signal::KILL)
        })?;
        myna.kill()?;
        myna.start_again()?;
        kills += 1;
        let told = told.into_inner().unwrap_or_else(PoisonError::into_inner);
        let began = Instant::now();
        loop {
            let done = ids(&myna, &name, "succeeded")?;
            let lost: Vec<_> = told.difference(&done).collect();
            if lost.is_empty() {
                break;
            }
            if began.elapsed() > PATIENCE {
                bail!(
                    "{} of {} acknowledged events have not succeeded after kill {kills}, as {}",
                    lost.len(),
                    told.len(),
                    lost[0]
                );
            }
            thread::sleep(Duration::from_millis(100));
        }
        acknowledged.extend(told);
        myna.function(&name).api("DELETE", "", &Value::Null)?;
    }
    println!("ledger: {kills} kills, {} events acknowledged, 0 lost", acknowledged.len());
    ensure!(acknowledged.len() >= EACH * kills);
    Ok(())
}

// F2: handed out, and completed without a word of it in the log.
fn an_event_that_is_tried_while_the_platform_is_killed_is_tried_again() -> Result<()> {
    let mut myna = Platform::start()?;
    let source = "import time\ndef handler(event, context):\n    print('begun', event, flush=True)\n    time.sleep(0.5)\n    print('over', event, flush=True)";
    myna.python("f", source)?;
    for (n, point) in ["begun", "over"].into_iter().enumerate() {
        let sent = myna.function("f").invoke_bytes("", n.to_string().as_bytes(), &[("x-amz-invocation-type", "Event")])?;
        ensure!(sent.status == 202, "{}", sent.text());
        myna.until_logged("f", &format!("\"{point} {n}\""), 1)?;
        myna.kill()?;
        myna.start_again()?;
        let began = Instant::now();
        while !ids(&myna, "f", "succeeded")?.contains(&sent.request_id) {
            ensure!(began.elapsed() < PATIENCE, "killed when {point}: {}", myna.verb(&["events", "show", &sent.request_id])?);
            thread::sleep(Duration::from_millis(50));
        }
        let end = myna.verb(&["events", "show", &sent.request_id])?;
        ensure!(end["attempts"] == 1, "an attempt whose end nobody knows is not counted: {end}");
    }
    Ok(())
}

// F44b
fn senders_that_go_away_leave_their_events() -> Result<()> {
    const SENT: usize = 100;
    let myna = Platform::start()?;
    let f = myna.python("f", "import time\ndef handler(event, context):\n    time.sleep(0.01)\n    return event")?;
    f.call(json!(0))?;
    let path = "/2015-03-31/functions/f/invocations";
    for n in 0..SENT {
        let body = n.to_string();
        let mut socket = std::os::unix::net::UnixStream::connect(&myna.ready().admin)?;
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nx-amz-invocation-type: Event\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        std::io::Write::write_all(&mut socket, head.as_bytes())?;
        if n % 2 == 0 {
            // Half of them hear that it was accepted, and go then.
            let mut answer = [0; 12];
            std::io::Read::read_exact(&mut socket, &mut answer)?;
            ensure!(&answer == b"HTTP/1.1 202", "{}", String::from_utf8_lossy(&answer));
        }
    }
    let ended = || ids(&myna, "f", "succeeded").map(|i| i.len());
    ensure!(myna_tests::soon(|| ended().is_ok_and(|n| n >= SENT / 2)), "{:?} events ended well", ended());
    // Whatever of the others was accepted ends as well, and nothing else is left.
    ensure!(
        myna_tests::soon(|| myna.verb(&["events"]).is_ok_and(|l| l.as_array().is_some_and(Vec::is_empty))),
        "{}",
        myna.verb(&["events"])?
    );
    ensure!(ids(&myna, "f", "cancelled")?.is_empty() && ids(&myna, "f", "failed")?.is_empty());
    f.call(json!(1))?;
    Ok(())
}

// F6b
fn an_event_whose_instance_is_killed_is_tried_again() -> Result<()> {
    // One that was started before its code was known has no variable to be found by.
    let config = Some("[events]\nretry_s = 1\n[engine]\nprestarted = 0\n".into());
    let myna = Platform::start_with(myna_tests::Options { config, ..Default::default() })?;
    let marker = format!("victim-{}", std::process::id());
    let source = "import time\ndef handler(event, context):\n    print('begun', flush=True)\n    time.sleep(event)\n    return 1";
    let draft = myna.draft("f", source).set("Timeout", 120);
    let f = draft.set("Environment", json!({"Variables": {"MARK": marker}})).create()?;
    let sent = f.invoke_bytes("", b"100", &[("x-amz-invocation-type", "Event")])?;
    myna.until_logged("f", "begun", 1)?;
    f.update("def handler(event, context): return 1")?;
    let victims = myna_tests::processes::with_environment(&marker);
    ensure!(!victims.is_empty(), "no process of the instance is found");
    victims.into_iter().try_for_each(|pid| myna_tests::kill(pid, myna_tests::Signal::KILL))?;
    let began = Instant::now();
    while !ids(&myna, "f", "succeeded")?.contains(&sent.request_id) {
        ensure!(began.elapsed() < PATIENCE, "{}", myna.verb(&["events", "show", &sent.request_id])?);
        thread::sleep(Duration::from_millis(100));
    }
    let end = myna.verb(&["events", "show", &sent.request_id])?;
    ensure!(end["attempts"] == 2, "{end}");
    Ok(())
}
