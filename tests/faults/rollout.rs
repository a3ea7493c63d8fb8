//! Changes under load: not one call may fail because something was scaled, updated or thawed.

use myna_tests::{Options, Platform, Result, Signal, Test, Value, Wire, ensure, json, kill, processes, scaled, soon, tests};
use std::{
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

pub const ALL: &[Test] = tests![
    new_code_and_scaling_under_load_fail_no_call,
    an_instance_ended_between_calls_is_replaced,
    ready_means_that_the_runtime_asked_for_its_first_event,
    waiting_calls_are_released_as_slots_come_free,
    a_drain_says_how_many_calls_are_left_and_has_an_end,
];

// A2.1, A2.2, B4: instances are let go after a second, so that scaling down and up goes on throughout.
fn new_code_and_scaling_under_load_fail_no_call() -> Result<()> {
    let config = Some("[engine]\nkeep_alive = 1\n".to_owned());
    let myna = Platform::start_with(Options { config, ..Options::default() })?;
    let source = |n: u32| format!("import time\ndef handler(event, context):\n    time.sleep(0.02)\n    return {n}\n");
    let f = myna.draft("rolling", &source(0)).set("Timeout", 60).create()?;
    let (over, newest, calls) = (AtomicBool::new(false), AtomicU32::new(0), AtomicU32::new(0));
    thread::scope(|s| -> Result<()> {
        let callers: Vec<_> = (0..6_u64)
            .map(|caller| {
                let (over, newest, calls, myna) = (&over, &newest, &calls, &myna);
                s.spawn(move || -> Result<()> {
                    while !over.load(Ordering::SeqCst) {
                        let at_least = newest.load(Ordering::SeqCst);
                        let said = myna.function("rolling").call(json!({}))?;
                        ensure!(
                            said.as_u64().is_some_and(|n| n >= u64::from(at_least)),
                            "{at_least} was deployed, and {said} answered"
                        );
                        calls.fetch_add(1, Ordering::SeqCst);
                        // Some callers pause for longer than an idle instance lives.
                        thread::sleep(Duration::from_millis(if caller < 4 { 1 } else { 1500 }));
                    }
                    Ok(())
                })
            })
            .collect();
        let mut changed = Ok(());
        let enough = scaled("calls while code changes", 50, 100_000) as u32;
        for n in 1.. {
            if n > 8 && calls.load(Ordering::SeqCst) > enough {
                break;
            }
            thread::sleep(Duration::from_millis(400));
            changed = f.update(&source(n)).map(|_| newest.store(n, Ordering::SeqCst));
            if changed.is_err() {
                break;
            }
        }
        over.store(true, Ordering::SeqCst);
        for caller in callers {
            caller.join().expect("a caller does not panic")?;
        }
        changed
    })?;
    Ok(())
}

// F35, A2.2
fn an_instance_ended_between_calls_is_replaced() -> Result<()> {
    let myna = Platform::start()?;
    let name = format!("idle-{}", std::process::id());
    let source = "import os\nborn = os.urandom(4).hex()\ndef handler(event, context):\n    return born\n";
    let marked = json!({"Variables": {"MARK": format!("{name}-marker")}});
    let f = myna.draft(&name, source).set("Environment", marked).create()?;
    let first = f.call(json!({}))?;
    let victims = processes::with_environment(&format!("{name}-marker"));
    ensure!(!victims.is_empty(), "the instance is there");
    for victim in &victims {
        kill(*victim, Signal::KILL)?;
    }
    // One that was frozen dies when it is thawed for the next call, which then is told so; any other costs no call.
    let until = Instant::now() + Duration::from_millis(500);
    while victims.iter().any(|v| processes::exists(*v)) && Instant::now() < until {
        thread::sleep(Duration::from_millis(5));
    }
    let frozen = victims.iter().any(|v| processes::exists(*v));
    let answer = f.invoke(&json!({}))?;
    ensure!(answer.error.is_none() || (frozen && answer.text().contains("Runtime.ExitError")), "{}", answer.text());
    ensure!(f.call(json!({}))? != first, "the killed instance answered");
    ensure!(soon(|| !victims.iter().any(|v| processes::exists(*v))), "what was killed is reaped");
    Ok(())
}

// A2.3: while its module is still being loaded the process is there, and the instance is not ready.
fn ready_means_that_the_runtime_asked_for_its_first_event() -> Result<()> {
    let myna = Platform::start()?;
    let source = "import time\nprint('loading', flush=True)\ntime.sleep(2.5)\nprint('loaded', flush=True)\ndef handler(event, context):\n    return event\n";
    let f = myna.python("slow-start", source)?;
    f.api("POST", "/versions", &json!({}))?;
    let provisioned = "/2019-09-30/functions/slow-start/provisioned-concurrency?Qualifier=1";
    f.operation("PUT", provisioned, &json!({"ProvisionedConcurrentExecutions": 1}))?;
    let mut early = 0;
    let ready = soon(|| {
        let loading = myna.logged("slow-start", "loading").unwrap_or(0) > 0;
        let status = f.operation("GET", provisioned, &Value::Null).map_or(Value::Null, |now| now["Status"].clone());
        early += u32::from(loading && status == "IN_PROGRESS");
        status == "READY"
    });
    ensure!(ready, "it was never ready");
    ensure!(myna.logged("slow-start", "loaded")? > 0, "ready before its runtime had loaded the code");
    ensure!(early > 0, "it was not seen between its start and its first request for an event");
    ensure!(f.invoke_bytes("1", b"7", &[])?.json()? == 7);
    Ok(())
}

// A2.5: two slots, ten calls.
fn waiting_calls_are_released_as_slots_come_free() -> Result<()> {
    let config = Some("[engine]\ninstances_max = 2\nprestarted = 0\n".to_owned());
    let myna = Platform::start_with(Options { config, ..Options::default() })?;
    let source = "import time\ndef handler(event, context):\n    begun = time.monotonic()\n    time.sleep(0.4)\n    return [begun, time.monotonic()]\n";
    let f = myna.draft("line", source).set("Timeout", 30).create()?;
    f.call(json!({}))?;
    let waiting = || -> Result<u64> {
        let status: Value = serde_json::from_slice(&myna.cli(&["status", "--json"])?.stdout)?;
        Ok(status["load"]["waiting"].as_u64().unwrap_or(0))
    };
    let (mut times, lines) = thread::scope(|s| -> Result<_> {
        let calls: Vec<_> = (0..10).map(|_| s.spawn(|| f.call(json!({})))).collect();
        let mut lines = Vec::new();
        while calls.iter().any(|c| !c.is_finished()) {
            lines.push(waiting()?);
        }
        let times = calls.into_iter().map(|c| c.join().expect("a caller does not panic")).collect::<Result<Vec<_>>>()?;
        Ok((times.iter().map(|t| (t[0].as_f64(), t[1].as_f64())).collect::<Vec<_>>(), lines))
    })?;
    times.sort_by(|a, b| a.partial_cmp(b).expect("times are numbers"));
    for (first, third) in times.iter().zip(&times[2..]) {
        ensure!(third.0 >= first.1, "three calls ran in two slots: {times:?}");
    }
    let most = lines.iter().position(|n| Some(n) == lines.iter().max()).unwrap_or(0);
    ensure!(lines[most..].is_sorted_by(|a, b| a >= b), "the line grew while it was served: {lines:?}");
    let mut lengths = lines;
    lengths.dedup();
    ensure!(lengths.len() > 3, "the line was let go at once: {lengths:?}");
    Ok(())
}

// A2.6
fn a_drain_says_how_many_calls_are_left_and_has_an_end() -> Result<()> {
    let mut myna = Platform::start()?;
    let name = format!("left-{}", std::process::id());
    let source =
        "import time\ndef handler(event, context):\n    print('begun', flush=True)\n    time.sleep(event)\n    return event\n";
    let marked = json!({"Variables": {"MARK": format!("{name}-marker")}});
    myna.draft(&name, source).set("Timeout", 600).set("Environment", marked).create()?;
    let (aws, f) = (myna.ready().aws.clone(), &myna.function(&name));
    thread::scope(|s| -> Result<()> {
        let calls: Vec<_> = [1.5, 3.0].map(|seconds| s.spawn(move || f.call(json!(seconds)))).into();
        myna.until_logged(&name, "begun", 2)?;
        myna.signal(Signal::TERM)?;
        ensure!(soon(|| left(&myna.log()).contains(&2)), "it says what it waits for: {}", myna.log());
        // Nobody new gets in.
        let request = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let turned_away = Wire::open(&aws).map_or(true, |mut wire| {
            !wire.try_send(request) || wire.answer().ok().flatten().is_none_or(|answer| answer.status != 200)
        });
        ensure!(turned_away, "a stopping platform takes new work");
        calls.into_iter().try_for_each(|c| c.join().expect("a caller does not panic").map(drop))
    })?;
    ensure!(myna.ended()?.success());
    let said = left(&myna.log());
    ensure!(said.contains(&1) && said.is_sorted_by(|a, b| a >= b), "fewer and fewer: {said:?}");

    myna.start_again()?;
    let begun = myna.logged(&name, "begun")?;
    let answer = thread::scope(|s| -> Result<_> {
        let call = s.spawn(|| myna.function(&name).invoke(&json!(500)));
        myna.until_logged(&name, "begun", begun + 1)?;
        myna.signal(Signal::TERM)?;
        ensure!(soon(|| left(&myna.log()).len() > said.len()), "it waits for the one");
        myna.signal(Signal::TERM)?;
        call.join().expect("the caller does not panic")
    })?;
    ensure!(answer.status == 503 && answer.retry_after, "what does not finish is told to come back: {answer:?}");
    ensure!(myna.ended()?.success());
    ensure!(processes::with_environment(&format!("{name}-marker")).is_empty(), "it was ended with the platform");
    Ok(())
}

/// How many calls it said were left, each time it did.
fn left(log: &str) -> Vec<u32> {
    log.lines().filter_map(|l| l.rsplit_once("calls that are not over: ")?.1.trim().parse().ok()).collect()
}
