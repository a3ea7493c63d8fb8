//! The platform killed while it changes things.

use myna_tests::{Options, Platform, Result, Test, Value, ensure, json, processes, rounds, scaled, tests};
use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

pub const ALL: &[Test] = tests![
    killed_while_deploying_the_old_version_or_the_new_one_serves,
    a_row_of_kills_leaves_nothing_behind,
    functions_that_come_and_go_leave_nothing_behind,
];

fn source(n: u32) -> String {
    format!("def handler(event, context):\n    return {n}\n# {}\n", "padding ".repeat(20_000))
}

// F3: killed at a moment that differs from round to round, in the middle of updates and creations.
fn killed_while_deploying_the_old_version_or_the_new_one_serves() -> Result<()> {
    let mut myna = Platform::start()?;
    myna.python("changing", &source(0))?.call(json!({}))?;
    let mut newest = 0;
    for round in 0..scaled("kills while deploying", 8, 1000) {
        let acknowledged = thread::scope(|s| {
            let deploys = s.spawn(|| {
                let mut acknowledged = newest;
                for n in newest + 1.. {
                    let created = myna.draft(&format!("new-{n}"), &source(n)).create().is_ok();
                    if myna.function("changing").update(&source(n)).is_err() || !created {
                        break;
                    }
                    acknowledged = n;
                }
                acknowledged
            });
            thread::sleep(Duration::from_millis(40 + round as u64 * 37 % 600));
            // The lock on the platform is ours; the kill goes by its process id.
            let killed = myna_tests::kill(myna.pid(), myna_tests::Signal::KILL);
            (deploys.join().expect("the deployer does not panic"), killed)
        });
        acknowledged.1?;
        myna.kill()?;
        myna.start_again()?;
        let serves = myna.function("changing").call(json!({}))?.as_u64().unwrap_or(u64::MAX);
        let at_least = u64::from(acknowledged.0);
        ensure!((at_least..=at_least + 1).contains(&serves), "acknowledged was {at_least}, and {serves} serves");
        for n in 1..=acknowledged.0 {
            ensure!(myna.function(&format!("new-{n}")).call(json!({}))? == n, "new-{n} was acknowledged");
        }
        newest = u32::try_from(serves)?;
    }
    Ok(())
}

/// Files below a folder that look like something half done.
fn half_done(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if [".new", ".tmp", ".part", "staging-"].iter().any(|mark| name.contains(mark)) {
            found.push(entry.path().display().to_string());
        }
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            half_done(&entry.path(), found);
        }
    }
}

// F1a, F1c, A4.3: five kills, or an hour of them, each with forty instances at work.
fn a_row_of_kills_leaves_nothing_behind() -> Result<()> {
    let mut myna = Platform::start()?;
    let name = format!("row-{}", std::process::id());
    let source = "import os, time\ndef handler(event, context):\n    print('begun', flush=True)\n    time.sleep(event)\n    return os.environ['MARK']\n";
    let marked = json!({"Variables": {"MARK": format!("{name}-marker")}});
    myna.draft(&name, source).set("Timeout", 120).set("Environment", marked).create()?;
    let instances = scaled("instances at each kill", 40, 200);
    let mut seen = 0;
    for round in rounds("kills", 5, Duration::from_secs(3600)) {
        let over = AtomicBool::new(false);
        thread::scope(|s| -> Result<()> {
            let calls: Vec<_> = (0..instances)
                .map(|_| {
                    s.spawn(|| {
                        let answer = myna.function(&name).invoke_bytes("", b"100", &[]);
                        ensure!(over.load(Ordering::SeqCst) || answer.is_ok(), "a call failed before the kill: {answer:?}");
                        Ok(())
                    })
                })
                .collect();
            let begun = myna.until_logged(&name, "begun", seen + instances / 2);
            over.store(true, Ordering::SeqCst);
            myna_tests::kill(myna.pid(), myna_tests::Signal::KILL)?;
            for call in calls {
                call.join().expect("a caller does not panic")?;
            }
            begun
        })?;
        myna.kill()?;
        myna.start_again()?;
        let left = myna_tests::processes::with_environment(&format!("{name}-marker"));
        ensure!(left.is_empty(), "round {round}: instances of the killed platform are alive: {left:?}");
        seen = myna.logged(&name, "begun")?;
    }
    ensure!(myna.function(&name).call(json!(0))? == format!("{name}-marker").as_str());
    myna.function(&name).api("DELETE", "", &Value::Null)?;
    let mut found = Vec::new();
    half_done(&myna.dir(), &mut found);
    ensure!(found.is_empty(), "half done and left: {found:?}");
    let status = myna.stop()?;
    ensure!(status.success(), "{status}");
    Ok(())
}

/// What one platform holds.
#[derive(Debug, Clone, Copy)]
struct Held {
    resident: u64,
    descriptors: usize,
    processes: usize,
    packages: usize,
}

fn held(myna: &Platform) -> Result<Held> {
    let packages = fs::read_dir(myna.dir().join("packages"))?.flatten().filter_map(|tenant| fs::read_dir(tenant.path()).ok());
    Ok(Held {
        resident: processes::resident(myna.pid())?,
        descriptors: fs::read_dir(format!("/proc/{}/fd", myna.pid()))?.count(),
        processes: processes::below(myna.pid()).len(),
        packages: packages.map(Iterator::count).sum(),
    })
}

// F61: shortened to some rounds, the first of which fills what is filled once; in soak for as long as it is given.
fn functions_that_come_and_go_leave_nothing_behind() -> Result<()> {
    const EACH: usize = 20;
    const MIB: u64 = 1 << 20;
    let config = Some("[engine]\nprestarted = 0\n".to_owned());
    let myna = Platform::start_with(Options { config, ..Options::default() })?;
    let before = held(&myna)?;
    let (mut first, mut last) = (None, before);
    for round in rounds("deploys and deletes", 4, Duration::from_secs(900)) {
        thread::scope(|s| -> Result<()> {
            let all: Vec<_> = (0..EACH)
                .map(|n| {
                    let myna = &myna;
                    s.spawn(move || -> Result<()> {
                        let f = myna.python(&format!("passing-{n}"), &source(1))?;
                        ensure!(f.call(json!({}))? == 1);
                        f.api("POST", "/versions", &json!({}))?;
                        f.api("POST", "/aliases", &json!({"Name": "live", "FunctionVersion": "1"}))?;
                        f.api("DELETE", "", &Value::Null).map(drop)
                    })
                })
                .collect();
            all.into_iter().try_for_each(|t| t.join().expect("a deployer does not panic"))
        })?;
        let alive = || processes::with_environment("AWS_LAMBDA_FUNCTION_NAME=passing-");
        ensure!(processes::soon(|| alive().is_empty()), "round {round}: instances of deleted functions are alive: {:?}", alive());
        last = held(&myna)?;
        first.get_or_insert(last);
    }
    let first = first.unwrap_or(before);
    // What an instance held is closed a moment after its last process is gone.
    processes::soon(|| held(&myna).is_ok_and(|now| now.descriptors < first.descriptors + EACH));
    last.descriptors = held(&myna)?.descriptors;
    println!("before {before:?}, after a round {first:?}, after all {last:?}");
    ensure!(last.resident < first.resident + 16 * MIB, "memory grows: {first:?}, {last:?}");
    // A few sandboxes are kept ready for whoever comes next.
    ensure!(last.processes < EACH, "processes stay: {first:?}, {last:?}");
    ensure!(last.descriptors < first.descriptors + EACH, "descriptors stay open: {first:?}, {last:?}");
    ensure!(last.packages == first.packages, "the same package is kept more than once: {first:?}, {last:?}");
    let listed = myna.verb(&["list"])?;
    ensure!(listed.as_array().is_some_and(Vec::is_empty), "{listed}");
    Ok(())
}
