//! Platforms with language runtimes that `myna runtime install` brings: fetched for the first test that wants one, kept beside the
//! tests' other packages, so once per machine.

use crate::{Options, Platform, deps, skip};
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::sync::{Mutex, PoisonError};

/// One fetch at a time: tests that want the same find it there.
static FETCH: Mutex<()> = Mutex::new(());

impl Platform {
    /// A platform whose functions may ask for these runtimes, each with the libraries that it is supplied with. What neither this
    /// machine nor a registry has is a reason to skip.
    pub fn with_runtimes(names: &[&str]) -> Result<Self> {
        let managed = std::path::absolute(deps())?.join("managed");
        let env = vec![("MYNA_RUNTIMES".to_owned(), managed.to_string_lossy().into_owned())];
        let myna = Self::start_with(Options { env, ..Options::default() })?;
        for name in names {
            let _turn = FETCH.lock().unwrap_or_else(PoisonError::into_inner);
            if !complete(&myna.runtime(name)?) {
                myna.fetch(name)?;
            }
        }
        Ok(myna)
    }

    /// What `myna runtime list` says of one.
    pub fn runtime(&self, name: &str) -> Result<Value> {
        let out = self.cli(&["runtime", "list", "--json"])?;
        ensure!(out.status.success(), "myna runtime list: {}", String::from_utf8_lossy(&out.stderr));
        let rows: Vec<Value> = serde_json::from_slice(&out.stdout)?;
        rows.into_iter().find(|r| r["name"] == name).with_context(|| format!("myna runtime list has no {name}"))
    }

    fn fetch(&self, name: &str) -> Result<()> {
        let out = self.developer(&["runtime", "install", name])?;
        let row = self.runtime(name)?;
        if row["found"] == "" {
            return Err(skip(format!("no registry has what {name} lacks here: {}", row["origin"].as_str().unwrap_or_default())));
        }
        if !out.status.success() {
            bail!("myna runtime install {name}: {}", String::from_utf8_lossy(&out.stderr));
        }
        ensure!(complete(&row), "after its installation {name} lacks something: {row}");
        Ok(())
    }
}

fn complete(row: &Value) -> bool {
    row["found"] != "" && row["libraries"].as_array().is_some_and(|l| !l.is_empty())
}
