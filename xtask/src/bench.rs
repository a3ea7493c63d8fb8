//! `cargo xtask bench` and `cargo xtask soak`: the long runs, in release, whose programs live in `benches/` and `tests/`.

use crate::{cargo, deps};
use anyhow::{Result, bail};
use std::process::Command;

/// Rows that stand beside other people's servers.
const WITH_PEERS: &str = "peers";
const WITH_NATS: &str = "async";

/// Rows by name, else all of them; `--record` writes the table of all into docs/benchmarks.md.
pub fn bench(args: &[String]) -> Result<bool> {
    let needs = |row: &str| args.iter().all(|a| a.starts_with("--")) || args.iter().any(|a| a == row);
    if needs(WITH_PEERS) {
        deps::peers()?.iter().for_each(|l| println!("{l}"));
    }
    if needs(WITH_NATS) {
        deps::nats()?.iter().for_each(|l| println!("{l}"));
    }
    let built = cargo::build(&["--release", "--package", "myna", "--package", "myna-benches", "--bins"])?;
    let path = |target: &str| built.iter().find(|b| !b.is_test && b.target == target).map(|b| b.path.clone());
    // The programs that it measures lie beside it.
    let (Some(_), Some(bench)) = (path("myna"), path("bench")) else { bail!("the binary or its benchmarks were not built") };
    let mut c = Command::new(bench);
    c.args(args).env("MYNA_BENCH_DEPS", deps::dir()).env("MYNA_BENCH_OUT", cargo::target_dir().join("bench"));
    Ok(c.status()?.success())
}

/// The fault tests again, at the lengths that they are worded with; `--hours N` bounds the whole.
pub fn soak(args: &[String]) -> Result<bool> {
    let hours = match args {
        [] => "2",
        [flag, n] if flag == "--hours" && n.parse::<f64>().is_ok_and(|h| h > 0.0) => n,
        _ => bail!("soak takes --hours N and nothing else"),
    };
    deps::install()?.iter().for_each(|l| println!("{l}"));
    let built = cargo::build(&["--package", "myna", "--package", "myna-tests", "--bins", "--tests"])?;
    let Some(all) = built.iter().find(|b| b.is_test && b.target == "all") else { bail!("the integration program was not built") };
    let Some(myna) = built.iter().find(|b| !b.is_test && b.target == "myna") else { bail!("the binary was not built") };
    let mut c = Command::new(&all.path);
    c.args(["--kind", "faults", "--test-threads", "1"]).env("MYNA_SOAK_HOURS", hours).current_dir(&all.folder);
    Ok(c.env("MYNA_BIN", &myna.path).env("MYNA_TEST_DEPS", deps::dir()).status()?.success())
}
