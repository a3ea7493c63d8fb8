//! Loops of the platform that stand still in the middle of their work: noticed, reported, run again where that can be.

use myna_tests::{Options, Platform, Result, Test, Value, ensure, json, tests};
use std::{
    process::Command,
    thread,
    time::{Duration, Instant},
};

pub const ALL: &[Test] =
    tests![a_task_that_stands_still_is_noticed_and_run_again, a_thread_that_stands_still_makes_the_platform_unhealthy];

/// What only a hang outlasts: the loop is noticed within 30 s.
const NOTICED_WITHIN: Duration = Duration::from_secs(90);

/// A platform whose loop of that name is made to stand still once.
fn with_still(name: &str) -> Result<Platform> {
    let env = vec![("MYNA_FAILPOINT_STILL".to_owned(), name.to_owned())];
    Platform::start_with(Options { env, ..Options::default() })
}

fn until(myna: &Platform, what: &str, mut is: impl FnMut(&Value) -> bool) -> Result<()> {
    let end = Instant::now() + NOTICED_WITHIN;
    loop {
        let status = myna.verb(&["status"])?;
        if is(&status) {
            return Ok(());
        }
        ensure!(Instant::now() < end, "{what}: {status}");
        thread::sleep(Duration::from_millis(100));
    }
}

fn ask(myna: &Platform, path: &str) -> Result<String> {
    let socket = myna.dir().join("admin.sock");
    let mut curl = Command::new("curl");
    curl.args(["-sS", "-w", " %{http_code}", "--unix-socket"]).arg(socket).arg(format!("http://localhost{path}"));
    let out = curl.output()?;
    ensure!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

// F65
fn a_task_that_stands_still_is_noticed_and_run_again() -> Result<()> {
    let myna = with_still("housekeeper")?;
    let f = myna.python("f", "def handler(event, context): return event")?;
    until(&myna, "nobody noticed", |_| {
        ask(&myna, "/metrics").is_ok_and(|page| page.contains("myna_loop_stalls_total{loop=\"housekeeper\"} 1"))
    })?;
    until(&myna, "it is not healthy again", |status| status["healthy"] == true)?;
    ensure!(myna.log().contains("\"housekeeper\" has stood still") && myna.log().contains("it is run again"), "{}", myna.log());
    ensure!(f.call(json!(1))? == 1 && ask(&myna, "/readyz")?.ends_with("200"));
    Ok(())
}

// F65
fn a_thread_that_stands_still_makes_the_platform_unhealthy() -> Result<()> {
    let myna = with_still("retention")?;
    let f = myna.python("f", "def handler(event, context): return event")?;
    until(&myna, "nobody noticed", |status| status["healthy"] == false)?;
    let status = myna.verb(&["status"])?;
    ensure!(status["still"][0]["name"] == "retention", "{status}");
    let ready = ask(&myna, "/readyz")?;
    ensure!(ready.ends_with("503") && ready.contains("\"retention\""), "{ready}");
    ensure!(ask(&myna, "/metrics")?.contains("myna_loops_still{loop=\"retention\"} 1"));
    let said = myna.cli(&["status"])?;
    ensure!(
        String::from_utf8_lossy(&said.stderr).contains("unhealthy")
            || String::from_utf8_lossy(&said.stdout).contains("unhealthy")
    );
    // Calls don't need it.
    ensure!(f.call(json!(2))? == 2);
    Ok(())
}
