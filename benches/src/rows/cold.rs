//! First calls: from a pre-started runtime, from nothing, and two hundred at once.

use crate::{
    server::{Bench, Myna},
    table::{Goal, Row},
};
use anyhow::Context;
use std::{
    process::Command,
    time::{Duration, Instant},
};

const PYTHON: &str = "def handler(event, context):\n    return event\n";
const NODE: &str = "exports.handler = async (event) => event;\n";

pub fn rows(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (language, runtime, file, code, bare) in [
        ("Python", "python3.11", "app.py", PYTHON, vec!["python3.11", "-c", "pass"]),
        ("Node", "nodejs20.x", "app.js", NODE, vec!["node", "-e", ""]),
    ] {
        let bare = best(8, || {
            let began = Instant::now();
            anyhow::ensure!(Command::new(bare[0]).args(&bare[1..]).status()?.success(), "{bare:?} failed");
            Ok(began.elapsed())
        })?;
        for (how, config) in [("pre-started", ""), ("spawned", "[engine]\nprestarted = 0\n")] {
            let myna = Myna::up(bench, config)?;
            let mut n = 0;
            let first = best(8, || {
                n += 1;
                let name = format!("f{n}");
                deploy(&myna, &name, runtime, file, code)?;
                std::thread::sleep(Duration::from_millis(400));
                let began = Instant::now();
                call(&myna, &name)?;
                Ok(began.elapsed())
            })?;
            let ratio = first.as_secs_f64() / bare.as_secs_f64();
            rows.push(
                Row::ratio(format!("first call of a {language} function, {how}"), ms(first), ms(bare), ratio, Goal::AtMost(if how == "spawned" { 2.5 } else { 1.0 }))
                    .note("reference: the bare interpreter doing nothing, no sandbox"),
            );
        }
    }
    Ok(rows)
}

/// Two hundred calls at once at a function without an instance.
pub fn scale_up(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let myna = Myna::up(bench, "[engine]\nmemory_overcommit = 50.0\nprestarted = 0\n")?;
    deploy(&myna, "wide", "python3.11", "app.py", "import time\ndef handler(event, context):\n    time.sleep(15)\n    return 1\n")?;
    let began = Instant::now();
    let callers: Vec<_> = (0..200)
        .map(|_| {
            let admin = myna.ready.admin.clone();
            std::thread::spawn(move || crate::server::invoke(&admin, "wide", b"{}"))
        })
        .collect();
    let all_up = loop {
        let observed = myna.admin("GET", "/admin/v1/functions/wide/observed", b"")?;
        let busy = observed["instances"].as_array().map_or(0, |i| i.iter().filter(|i| i["state"] == "busy").count());
        if busy >= 200 {
            break began.elapsed();
        }
        anyhow::ensure!(began.elapsed() < Duration::from_secs(120), "only {busy} of 200 came up");
        std::thread::sleep(Duration::from_millis(20));
    };
    for caller in callers {
        caller.join().map_err(|_| anyhow::anyhow!("a caller panicked"))??;
    }
    let rate = 200.0 / all_up.as_secs_f64();
    Ok(vec![Row::absolute("200 Python instances from zero", format!("{rate:.0}/s, all serving after {}", ms(all_up)), "100/s", rate >= 100.0)])
}

pub fn deploy(myna: &Myna, name: &str, runtime: &str, file: &str, code: &str) -> anyhow::Result<()> {
    let folder = myna.folder().join(name);
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join(file), code)?;
    let text = folder.to_str().context("a temporary folder has a plain name")?;
    myna.cli(&["deploy", text, "--name", name, "--runtime", runtime, "--handler", "app.handler"])?;
    Ok(())
}

fn call(myna: &Myna, name: &str) -> anyhow::Result<()> {
    crate::server::invoke(&myna.ready.admin, name, b"{}")
}

fn best(rounds: usize, mut one: impl FnMut() -> anyhow::Result<Duration>) -> anyhow::Result<Duration> {
    let mut best = Duration::MAX;
    for _ in 0..rounds {
        best = best.min(one()?);
    }
    Ok(best)
}

fn ms(d: Duration) -> String {
    format!("{:.1} ms", d.as_secs_f64() * 1000.0)
}
