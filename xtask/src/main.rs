//! What a developer and CI run: `cargo xtask COMMAND`.
//!
//! Plain Rust with few dependencies, so that it builds in seconds on a new machine. Each command is one file; `test` is the only
//! one that CI calls, and it prints the closing line `N passed, N failed, N skipped` that the whole run is judged by.

mod bench;
mod cargo;
mod check;
mod child;
mod demo;
mod depends;
mod deps;
mod dist;
mod names;
#[cfg(test)]
mod sources;
mod spec;
mod tally;
mod test;

use std::{path::PathBuf, process::ExitCode};

const USAGE: &str = "\
usage: cargo xtask COMMAND

  test [NAME]   every test, or the part, crate or tests whose name contains NAME; closes with 'N passed, N failed, N skipped'
  check         formatting, lints and unit tests: run it before a commit
  spec          writes SPECIFICATION.md's tables from tests/acceptance.toml (--check only compares)
  demo          builds the binary and shows the story on real functions
  bench [ROW…]  Myna beside its frozen references, in one run (--record writes the table into docs/benchmarks.md)
  soak [NAME]   the fault tests, or the tests whose name contains NAME, at their full lengths (--hours N, 2 unless told)
  dist          release binary, list of licences, checksum, below target/dist
";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let command = args.next().unwrap_or_default();
    let rest: Vec<String> = args.collect();
    let done = match command.as_str() {
        "test" => test::run(&rest),
        "check" => check::run(&rest),
        "spec" => spec::run(&rest),
        "demo" => demo::run(&rest),
        "bench" => bench::bench(&rest),
        "soak" => bench::soak(&rest),
        "dist" => dist::run(&rest),
        "" | "help" | "-h" | "--help" => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        other => {
            eprint!("xtask: no command is called '{other}'\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("xtask {command}: {e:#}");
            ExitCode::FAILURE
        }
    }
}

/// The clone's root: this crate's parent folder.
fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("xtask lies in the workspace").to_path_buf()
}
