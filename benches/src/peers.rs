//! Other people's servers that run the same handlers, each as its own documentation starts it. Installed by `cargo xtask bench`.

use crate::server::{Bench, Running, free_port, wait_for};
use anyhow::Context;
use std::{
    os::unix::{fs::symlink, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Worker processes where a peer lets one choose: one for each processor, as its documentation advises.
pub const WORKERS: usize = 2;
/// How many functions the project of serverless-offline has.
pub const OFFLINE_FUNCTIONS: usize = 8;

pub struct Peer {
    pub address: String,
    _running: Running,
    _folder: tempfile::TempDir,
}

fn deps(bench: &Bench) -> anyhow::Result<&Path> {
    bench.deps.as_deref().context("MYNA_BENCH_DEPS is not set: run through cargo xtask bench")
}

fn module(bench: &Bench, path: &str) -> anyhow::Result<PathBuf> {
    let at = deps(bench)?.join("peers/node_modules").join(path);
    anyhow::ensure!(at.exists(), "{} is not installed: run through cargo xtask bench", at.display());
    Ok(at)
}

/// A folder with these files and the installed packages.
fn project(bench: &Bench, files: &[(&str, &str)]) -> anyhow::Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text)?;
    }
    symlink(module(bench, "")?, folder.path().join("node_modules"))?;
    Ok(folder)
}

/// In a process group of its own, which ends with it: most of them start workers.
fn start(folder: tempfile::TempDir, port: u16, command: &mut Command) -> anyhow::Result<Peer> {
    command.current_dir(folder.path()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    let running = Running::start(command)?.with_group();
    wait_for(port)?;
    Ok(Peer { address: format!("127.0.0.1:{port}"), _running: running, _folder: folder })
}

pub fn functions_framework_python(bench: &Bench, handler: &str) -> anyhow::Result<Peer> {
    let program = deps(bench)?.join("peers-python/bin/functions-framework");
    anyhow::ensure!(program.exists(), "functions-framework is not installed in {}", deps(bench)?.display());
    let (folder, port) = (project(bench, &[("main.py", handler)])?, free_port()?);
    let mut command = Command::new(program);
    command.args(["--source", "main.py", "--target", "handler", "--host", "127.0.0.1", "--port", &port.to_string()]);
    start(folder, port, command.env("WORKERS", WORKERS.to_string()))
}

pub fn functions_framework_node(bench: &Bench, handler: &str) -> anyhow::Result<Peer> {
    let main = module(bench, "@google-cloud/functions-framework/build/src/main.js")?.display().to_string();
    // It has one process; Node's own way to have more is this module.
    let cluster = format!(
        "const cluster = require('cluster');\nif (cluster.isPrimary) for (let n = 0; n < {WORKERS}; n++) cluster.fork();\nelse require({main:?});\n"
    );
    let (folder, port) = (project(bench, &[("index.js", handler), ("workers.js", &cluster)])?, free_port()?);
    let mut command = Command::new("node");
    start(folder, port, command.args(["workers.js", "--target=handler", "--port", &port.to_string()]))
}

/// osls with its plugin: a project of several functions, each at `/fN`.
pub fn serverless_offline(bench: &Bench, handler: &str) -> anyhow::Result<Peer> {
    let mut config =
        String::from("service: bench\nprovider: { name: aws, runtime: nodejs20.x }\nplugins: [serverless-offline]\nfunctions:\n");
    for n in 0..OFFLINE_FUNCTIONS {
        config += &format!("  f{n}: {{ handler: app{n}.handler, events: [{{ httpApi: 'POST /f{n}' }}] }}\n");
    }
    let names: Vec<String> = (0..OFFLINE_FUNCTIONS).map(|n| format!("app{n}.js")).collect();
    let mut files = vec![("serverless.yml", config.as_str())];
    files.extend(names.iter().map(|name| (name.as_str(), handler)));
    let (folder, program, port) = (project(bench, &files)?, module(bench, "osls/bin/serverless.js")?, free_port()?);
    let mut command = Command::new("node");
    command.arg(program).args([
        "offline",
        "start",
        "--host",
        "127.0.0.1",
        "--noPrependStageInUrl",
        "--httpPort",
        &port.to_string(),
    ]);
    command.args(["--lambdaPort", &free_port()?.to_string()]);
    for (name, value) in [
        ("AWS_ACCESS_KEY_ID", "none"),
        ("AWS_SECRET_ACCESS_KEY", "none"),
        ("SLS_TELEMETRY_DISABLED", "1"),
        ("SLS_NOTIFICATIONS_MODE", "off"),
    ] {
        command.env(name, value);
    }
    start(folder, port, &mut command)
}

pub fn lambda_local(bench: &Bench, handler: &str) -> anyhow::Result<Peer> {
    let (folder, program, port) =
        (project(bench, &[("app.js", handler)])?, module(bench, "lambda-local/build/cli.js")?, free_port()?);
    let mut command = Command::new("node");
    start(folder, port, command.arg(program).args(["-l", "app.js", "-h", "handler", "--watch", &port.to_string()]))
}
