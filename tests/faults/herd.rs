//! Many callers at once.

use myna_tests::{Platform, Result, Test, ensure, json, tests};
use std::{collections::BTreeMap, sync::Barrier, thread};

pub const ALL: &[Test] =
    tests![a_thousand_calls_at_zero_instances_are_answered_or_throttled, a_flood_on_one_function_leaves_another_served];

/// Calls `name` from that many threads at the same moment; counts the answers by status, function errors as status 0.
fn at_once(myna: &Platform, name: &str, calls: usize) -> Result<BTreeMap<u16, usize>> {
    let gate = Barrier::new(calls);
    let one = || -> Result<u16> {
        gate.wait();
        let answer = myna.function(name).invoke_bytes("", b"7", &[])?;
        ensure!(answer.status != 200 || answer.error.is_some() || answer.json()? == 7, "a wrong answer: {}", answer.text());
        ensure!(answer.status != 503 || answer.retry_after, "503 without Retry-After");
        Ok(if answer.error.is_some() { 0 } else { answer.status })
    };
    thread::scope(|s| {
        let threads: Vec<_> = (0..calls).map(|_| s.spawn(one)).collect();
        let mut counts = BTreeMap::new();
        for thread in threads {
            *counts.entry(thread.join().expect("a caller does not panic")?).or_insert(0) += 1;
        }
        Ok(counts)
    })
}

// F45, B3
fn a_thousand_calls_at_zero_instances_are_answered_or_throttled() -> Result<()> {
    let myna = Platform::start()?;
    myna.draft("herd", "def handler(event, context):\n    return event\n").set("Timeout", 60).create()?;
    let counts = at_once(&myna, "herd", 1000)?;
    ensure!(
        counts.keys().all(|status| [200, 429, 503].contains(status)) && counts.contains_key(&200),
        "answers by status: {counts:?}"
    );
    ensure!(myna.function("herd").call(json!(7))? == 7, "it serves on");
    Ok(())
}

// F46, B5
fn a_flood_on_one_function_leaves_another_served() -> Result<()> {
    let myna = Platform::start()?;
    let flooded = myna.python("flooded", "import time\ndef handler(event, context):\n    time.sleep(0.2)\n    return event\n")?;
    let limit = json!({"ReservedConcurrentExecutions": 2});
    flooded.operation("PUT", "/2017-10-31/functions/flooded/concurrency", &limit)?;
    let other = myna.python("other", "def handler(event, context):\n    return event\n")?;
    other.call(json!(0))?;
    let (counts, quiet) = thread::scope(|s| -> Result<_> {
        let flood = s.spawn(|| at_once(&myna, "flooded", 200));
        let quiet: Vec<_> = (0..20).map(|n| other.call(json!(n))).collect::<Result<_>>()?;
        Ok((flood.join().expect("the flood does not panic")?, quiet))
    })?;
    ensure!(quiet == (0..20).map(|n| json!(n)).collect::<Vec<_>>(), "{quiet:?}");
    ensure!(counts.keys().all(|status| [200, 429].contains(status)) && counts.contains_key(&429), "{counts:?}");
    ensure!(flooded.call(json!(7))? == 7, "the flooded one serves again");
    Ok(())
}
