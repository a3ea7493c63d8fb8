//! Changes under load: not one call may fail because something was scaled, updated or thawed.

use myna_tests::{Options, Platform, Result, Signal, Test, ensure, json, kill, processes, soon, tests};
use std::{
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

pub const ALL: &[Test] = tests![new_code_and_scaling_under_load_fail_no_call, an_instance_ended_between_calls_is_replaced];

// A2.1, A2.2, A2.3, B4: instances are let go after a second, so that scaling down and up goes on throughout.
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
        for n in 1..=8 {
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
    ensure!(calls.load(Ordering::SeqCst) > 50, "only {calls:?} calls were made");
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
