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
    for (language, runtime, file, code, flag, nothing) in
        [("Python", "python3.11", "app.py", PYTHON, "-c", "pass"), ("Node", "nodejs20.x", "app.js", NODE, "-e", "0")]
    {
        let program = interpreter(bench, runtime)?;
        let bare = best(8, || {
            let began = Instant::now();
            let mut command = Command::new("unshare");
            command.args(["--mount", "--pid", "--net", "--ipc", "--uts", "--fork"]).arg(&program).args([flag, nothing]);
            anyhow::ensure!(command.status()?.success(), "{command:?} failed");
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
                Row::ratio(format!("first call of a {language} function, {how}"), ms(first), ms(bare), ratio, Goal::AtMost(if how == "spawned" { 1.3 } else { 1.0 }))
                    .note("reference: the same interpreter, started and ended doing nothing in new namespaces by unshare(1); no files, limits, filter or handler"),
            );
        }
    }
    Ok(rows)
}

/// Two hundred calls at once at a function without an instance.
pub fn scale_up(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let myna = Myna::up(bench, "[engine]\nmemory_overcommit = 50.0\nprestarted = 0\n")?;
    deploy(
        &myna,
        "wide",
        "python3.11",
        "app.py",
        "import time\ndef handler(event, context):\n    time.sleep(15)\n    return 1\n",
    )?;
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
    Ok(vec![Row::absolute(
        "200 Python instances from zero",
        format!("{rate:.0}/s, all serving after {}", ms(all_up)),
        "100/s",
        rate >= 100.0,
    )])
}

pub fn deploy(myna: &Myna, name: &str, runtime: &str, file: &str, code: &str) -> anyhow::Result<()> {
    let folder = myna.folder().join(name);
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join(file), code)?;
    let text = folder.to_str().context("a temporary folder has a plain name")?;
    myna.cli(&["deploy", text, "--name", name, "--runtime", runtime, "--handler", "app.handler"])?;
    Ok(())
}

/// The program that Myna runs for a runtime: a version manager's shim under the same name would cost more than what is measured.
fn interpreter(bench: &Bench, runtime: &str) -> anyhow::Result<String> {
    let myna = Myna::up(bench, "[engine]\nprestarted = 0\n")?;
    let rows: serde_json::Value = serde_json::from_str(&myna.cli(&["runtimes", "--json"])?)?;
    let row = rows.as_array().and_then(|all| all.iter().find(|r| r["name"] == runtime));
    let program = row.and_then(|r| r["program"].as_str()).filter(|p| !p.is_empty());
    Ok(program.with_context(|| format!("no program for {runtime} in {rows}"))?.to_owned())
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
