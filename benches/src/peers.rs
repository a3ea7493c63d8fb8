//! Other people's servers that run the same handlers, started from the test dependencies where they are installed.

use crate::server::{Bench, Running, free_port, wait_for};
use anyhow::Context;
use std::process::{Command, Stdio};

/// functions-framework for Python with one worker process per core.
pub fn functions_framework_python(bench: &Bench, folder: &std::path::Path) -> anyhow::Result<(Running, u16)> {
    let deps = bench.deps.as_ref().context("MYNA_TEST_DEPS is not set: run through cargo xtask bench")?;
    let program = deps.join("python/bin/functions-framework");
    anyhow::ensure!(program.exists(), "functions-framework is not installed in {}", deps.display());
    let source = folder.join("main.py");
    std::fs::write(&source, "def handler(request):\n    return {}\n")?;
    let port = free_port()?;
    let running = Running::start(
        Command::new(program)
            .arg("--source")
            .arg(&source)
            .args(["--target", "handler", "--host", "127.0.0.1", "--port", &port.to_string()])
            .env("WEB_CONCURRENCY", "1")
            .stdout(Stdio::null())
            .stderr(Stdio::null()),
    )?;
    wait_for(port)?;
    Ok((running, port))
}
