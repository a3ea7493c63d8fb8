//! A configuration that is changed while the platform works.

use myna_tests::{Options, Platform, Result, Signal, Test, Wire, ensure, json, soon, tests};
use std::{fs, thread};

pub const ALL: &[Test] = tests![a_configuration_read_again_with_an_error_changes_nothing];

/// How many of the same calls at once are answered, and how many refused for want of concurrency.
fn at_once(myna: &Platform, calls: usize) -> Result<[usize; 2]> {
    let answers: Vec<_> = thread::scope(|s| {
        let started: Vec<_> = (0..calls).map(|_| s.spawn(|| myna.function("slow").invoke(&json!(1.5)))).collect();
        started.into_iter().map(|t| t.join().expect("a call does not panic")).collect::<Result<_>>()
    })?;
    let with = |status: u16| answers.iter().filter(|a| a.status == status).count();
    ensure!(with(200) + with(429) == calls, "{answers:?}");
    Ok([with(200), with(429)])
}

// F58
fn a_configuration_read_again_with_an_error_changes_nothing() -> Result<()> {
    let text = |concurrency: &str| format!("# the operator's\n[engine]\nkeep_alive = 60\nconcurrency = {concurrency}\n");
    let myna = Platform::start_with(Options { config: Some(text("1")), ..Options::default() })?;
    let slow = myna.python("slow", "import time\ndef handler(event, context):\n    time.sleep(event)\n    return event\n")?;
    ensure!(at_once(&myna, 3)? == [1, 2], "one call at a time was configured");
    let mut connection = Wire::open(&myna.ready().aws)?;
    let mut alive = || -> Result<bool> {
        connection.send(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n")?;
        Ok(connection.answer()?.is_some_and(|a| a.status == 200))
    };
    ensure!(alive()?);
    let read_again = |text: &str, says: &str| -> Result<()> {
        let before = myna.log().matches(says).count();
        fs::write(myna.home().join("myna.toml"), text)?;
        myna.signal(Signal::HUP)?;
        ensure!(soon(|| myna.log().matches(says).count() > before), "it doesn't say {says:?}");
        Ok(())
    };
    // A call that is under way through all of it.
    thread::scope(|s| -> Result<()> {
        read_again(&text("3"), "engine.concurrency from 1 to 3")?;
        let call = s.spawn(|| slow.call(json!(4)));
        for (bad, says) in [
            (text("0"), "line 4: engine.concurrency is \"0\"; it must be from 1 to 1000000"),
            ("[engine]\n\nconcurency = 1\n".into(), "line 3, column 1"),
            ("[engine\n".into(), "line 1"),
            (text("1").replace("keep_alive = 60", "keep_alive = \"long\""), "engine.keep_alive is"),
        ] {
            read_again(&bad, says)?;
            ensure!(alive()?, "a connection was dropped by {bad:?}");
        }
        let done = call.join().expect("a call does not panic")?;
        ensure!(done == json!(4), "{done}");
        Ok(())
    })?;
    ensure!(at_once(&myna, 5)? == [3, 2], "what was in force is in force no more");
    read_again(&format!("region = \"mars-1\"\n{}", text("2")), "take effect at the next start")?;
    ensure!(at_once(&myna, 4)? == [2, 2] && alive()?);
    ensure!(myna.verb(&["status"])?["region"] == "us-east-1", "what is not live was changed");
    Ok(())
}
