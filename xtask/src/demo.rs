//! `cargo xtask demo`: builds the binary and lets it tell its own story; the story itself is a verb of the binary, so that a user
//! without this clone can see it too.

use crate::cargo;
use anyhow::{Result, bail};
use std::process::Command;

pub fn run(args: &[String]) -> Result<bool> {
    let built = cargo::build(&["--package", "myna", "--bins"])?;
    let Some(myna) = built.iter().find(|b| !b.is_test && b.target == "myna") else { bail!("the binary 'myna' was not built") };
    Ok(Command::new(&myna.path).arg("demo").args(args).current_dir(crate::root()).status()?.success())
}
