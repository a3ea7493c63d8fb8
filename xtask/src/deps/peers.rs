//! Other people's servers that the benchmarks stand beside. Minutes, once; only the benchmarks ask for them.

use super::{dir, quiet};
use anyhow::{Context, Result};
use std::{fs, process::Command};

const PEERS_NODE: &[&str] =
    &["osls@4.3.1", "serverless-offline@14.8.2", "@google-cloud/functions-framework@5.0.5", "lambda-local@2.2.0"];
const PEERS_PYTHON: &str = "functions-framework==3.10.2";

/// Returns what could not be had, one line each: the rows of those fail and say so.
pub fn peers() -> Result<Vec<String>> {
    fs::create_dir_all(dir()).with_context(|| format!("can't make {}", dir().display()))?;
    Ok([peers_node(), peers_python()].into_iter().filter_map(|had| had.err().map(|e| format!("missing: {e:#}"))).collect())
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

fn peers_python() -> Result<()> {
    let venv = dir().join("peers-python");
    let stamp = venv.join("installed.txt");
    if fs::read_to_string(&stamp).is_ok_and(|had| had == PEERS_PYTHON) {
        return Ok(());
    }
    quiet(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
    let mut pip = Command::new(venv.join("bin/python"));
    quiet(pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", PEERS_PYTHON]))?;
    fs::write(&stamp, PEERS_PYTHON).with_context(|| format!("can't write {}", stamp.display()))
}
