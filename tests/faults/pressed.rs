//! The platform itself is stopped, starved or has its limits lowered while it runs.

use myna_tests::{Group, Options, Platform, Result, Signal, Test, ensure, json, processes, scaled, soon, tests};
use std::{fs, thread, time::Duration};

pub const ALL: &[Test] = tests![
    calls_outlive_a_platform_that_is_stopped_and_continued,
    under_memory_pressure_instances_die_and_the_platform_lives,
    limits_lowered_while_it_runs_are_answered_and_survived,
];

// F5a: some answer before the platform stands still, some meanwhile, of which one has a time limit that ends then too, some after.
fn calls_outlive_a_platform_that_is_stopped_and_continued() -> Result<()> {
    let myna = Platform::start()?;
    let source = "import os, time\nborn = os.urandom(4).hex()\ndef handler(event, context):\n    print('begun', flush=True)\n    \
                  time.sleep(event)\n    return born\n";
    let pause = scaled("seconds that the platform stands still", 4, 30);
    let f = myna.draft("patient", source).set("Timeout", 90).create()?;
    let strict = myna.draft("strict", source).set("Timeout", 3).create()?;
    let at_work = [pause as f64 / 2.0, pause as f64 / 2.0, pause as f64 + 2.0];
    let (before, last) = thread::scope(|s| -> Result<_> {
        let patient = &f;
        let calls: Vec<_> = at_work.iter().map(|seconds| s.spawn(move || patient.call(json!(seconds)))).collect();
        let limited = s.spawn(|| strict.call(json!(1.5)));
        myna.until_logged("patient", "begun", calls.len())?;
        myna.until_logged("strict", "begun", 1)?;
        myna.signal(Signal::STOP)?;
        thread::sleep(Duration::from_secs(pause as u64));
        myna.signal(Signal::CONT)?;
        let said = calls.into_iter().map(|c| c.join().expect("a call does not panic")).collect::<Result<Vec<_>>>()?;
        Ok((said, limited.join().expect("a call does not panic")))
    })?;
    ensure!(last.is_ok(), "what was answered within its time while nobody looked is an answer: {last:?}");
    let after = f.call(json!(0))?;
    ensure!(before.contains(&after), "an instance was started anew: {after} after {before:?}");
    ensure!(strict.call(json!(0))? == last?, "the instance of the call with the limit was started anew");
    Ok(())
}

// F8: small instances and a platform larger than any of them, so that without its precaution the platform would be who dies.
fn under_memory_pressure_instances_die_and_the_platform_lives() -> Result<()> {
    const MIB: u64 = 1 << 20;
    let group = Group::new("memory", "test-pressure")?;
    let config = Some("[engine]\nmemory_mib = 4096\nprestarted = 0\n".to_owned());
    let myna = Platform::start_with(Options { config, groups: vec![group.path()], ..Options::default() })?;
    let source = "import time\nheld = []\ndef handler(event, context):\n    held.append(bytearray(event << 20))\n    print('begun', flush=True)\n    \
                  time.sleep(3)\n    return len(held)\n";
    let f = myna.draft("grows", source).set("Timeout", 60).set("MemorySize", 256).create()?;
    let idle = myna.python("quiet", "def handler(event, context):\n    return event\n")?;
    idle.call(json!(0))?;
    let pid = myna.pid();
    let used: u64 = group.get("memory.usage_in_bytes")?.trim().parse()?;
    group.set("memory.limit_in_bytes", &(used + 60 * MIB).to_string())?;
    let answers = thread::scope(|s| -> Result<Vec<_>> {
        let calls: Vec<_> = (0..12).map(|_| s.spawn(|| f.invoke(&json!(2)))).collect();
        calls.into_iter().map(|c| c.join().expect("a call does not panic")).collect()
    })?;
    let kills = group.get("memory.oom_control")?;
    let died = answers.iter().filter(|a| a.error.is_some() || a.status != 200).count();
    ensure!(died > 0, "memory was never short: {kills}");
    for answer in &answers {
        let explained = answer.error.is_none() || answer.text().contains("Runtime.");
        ensure!(answer.status != 200 || explained, "a call whose instance died is told so: {}", answer.text());
    }
    ensure!(myna.pid() == pid && processes::exists(pid), "the platform died");
    group.set("memory.limit_in_bytes", "-1")?;
    ensure!(f.call(json!(1))?.as_u64().is_some() && idle.call(json!(7))? == 7, "it serves on");
    // By design, not by luck: whatever runs user code goes first.
    let adjusted = |pid: u32| fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap_or_default().trim().parse::<i32>();
    let below: Vec<_> = processes::below(pid).into_iter().filter_map(|p| adjusted(p).ok()).collect();
    ensure!(!below.is_empty() && below.iter().all(|n| *n >= 500), "instances are not marked to die first: {below:?}");
    ensure!(adjusted(pid)? < 500);
    Ok(())
}

// F63: descriptors and processes; memory is the test above.
fn limits_lowered_while_it_runs_are_answered_and_survived() -> Result<()> {
    let group = Group::new("pids", "test-pids")?;
    let config = Some("[engine]\nprestarted = 0\n".to_owned());
    let myna = Platform::start_with(Options { config, groups: vec![group.path()], ..Options::default() })?;
    let warm = myna.python("warm", "def handler(event, context):\n    return event\n")?;
    let cold = myna.python("cold", "import time\ndef handler(event, context):\n    time.sleep(0.2)\n    return event\n")?;
    warm.call(json!(0))?;
    thread::sleep(Duration::from_secs(scaled("seconds in which idle threads may end", 0, 15) as u64));
    let now = group.get("pids.current")?;
    group.set("pids.max", now.trim())?;
    let refused = cold.invoke(&json!(1))?;
    ensure!(
        refused.status == 429 || refused.status >= 500 || refused.error.is_some(),
        "no process can have been made: {refused:?}"
    );
    ensure!(!refused.text().is_empty(), "a refusal without a reason");
    ensure!(warm.call(json!(1))? == 1, "what runs goes on");
    // By threads that were kept for it.
    myna.draft("new", "def handler(event, context):\n    return event\n").create()?;
    ensure!(myna.logged("warm", "START")? > 0, "logs are read");
    group.set("pids.max", "max")?;
    ensure!(soon(|| cold.call(json!(2)).is_ok_and(|said| said == 2)), "it did not recover from processes running out");

    let open = fs::read_dir(format!("/proc/{}/fd", myna.pid()))?.count();
    nofile(myna.pid(), &(open / 2).to_string())?;
    let answers: Vec<_> = thread::scope(|s| {
        let calls: Vec<_> = (0..20).map(|_| s.spawn(|| cold.invoke(&json!(1)).map(|a| (a.status, a.text())))).collect();
        calls.into_iter().map(|c| c.join().expect("a caller does not panic")).collect()
    });
    let refused = |answer: &Result<(u16, String)>| answer.as_ref().map_or(true, |(status, _)| *status == 429 || *status >= 500);
    ensure!(answers.iter().any(refused), "nobody was refused: {answers:?}");
    ensure!(answers.iter().all(|a| refused(a) || a.as_ref().is_ok_and(|(_, said)| said == "1")), "wrong answers: {answers:?}");
    ensure!(myna.log().contains("no descriptor is left"), "the log names what is short");
    nofile(myna.pid(), "4096")?;
    ensure!(
        soon(|| warm.call(json!(3)).is_ok() && cold.call(json!(3)).is_ok()),
        "it did not recover from descriptors running out"
    );
    Ok(())
}

/// The soft limit alone, so that it can be raised again.
fn nofile(pid: u32, soft: &str) -> Result<()> {
    let set = std::process::Command::new("prlimit").args(["--pid", &pid.to_string(), &format!("--nofile={soft}:")]).status()?;
    ensure!(set.success(), "prlimit: {set}");
    Ok(())
}
