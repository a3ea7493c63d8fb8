//! Processes that are killed, and what is left of them.

use myna_tests::{Platform, Result, Signal, Test, ensure, json, kill, processes, soon, tests};
use std::thread;

pub const ALL: &[Test] =
    tests![an_instance_killed_in_mid_call_costs_one_call, instances_of_a_killed_platform_are_gone_at_the_next_start];

/// Sleeps with its own function's name in a child's arguments, so that it can be found from outside.
const SLEEPER: &str = "import subprocess, sys, time\ndef handler(event, context):\n    if event == 'quick':\n        return 'fresh'\n    \
    child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)', context.function_name + '-marker'])\n    \
    print('begun', flush=True)\n    child.wait()\n    time.sleep(600)\n";

// F6a, A2.4
fn an_instance_killed_in_mid_call_costs_one_call() -> Result<()> {
    let myna = Platform::start()?;
    let name = format!("victim-{}", std::process::id());
    myna.draft(&name, SLEEPER).set("Timeout", 60).create()?;
    let answer = thread::scope(|s| -> Result<_> {
        let call = s.spawn(|| myna.function(&name).invoke(&json!({})));
        myna.until_logged(&name, "begun", 1)?;
        let parents = processes::parents_of(&format!("{name}-marker"));
        ensure!(parents.len() == 1, "one instance runs: {parents:?}");
        kill(parents[0], Signal::KILL)?;
        call.join().expect("the call does not panic")
    })?;
    ensure!(answer.error.is_some() && answer.text().contains("Runtime.ExitError"), "{answer:?}: {}", answer.text());
    ensure!(soon(|| processes::with(&format!("{name}-marker")).is_empty()), "what it started outlives it");
    ensure!(myna.function(&name).call(json!("quick"))? == "fresh");
    Ok(())
}

// F9, A4.2
fn instances_of_a_killed_platform_are_gone_at_the_next_start() -> Result<()> {
    let mut myna = Platform::start()?;
    let name = format!("orphan-{}", std::process::id());
    let marker = format!("{name}-marker");
    myna.draft(&name, SLEEPER).set("Timeout", 60).create()?;
    thread::scope(|s| -> Result<()> {
        let call = s.spawn(|| myna.function(&name).invoke(&json!({})));
        myna.until_logged(&name, "begun", 1)?;
        ensure!(processes::with(&marker).len() == 1);
        kill(myna.pid(), Signal::KILL)?;
        ensure!(call.join().expect("the call does not panic").is_err(), "nobody can have answered");
        Ok(())
    })?;
    myna.kill()?;
    myna.start_again()?;
    let left = processes::with(&marker);
    ensure!(left.is_empty(), "left of the killed platform: {left:?}");
    ensure!(myna.function(&name).call(json!("quick"))? == "fresh");
    Ok(())
}
