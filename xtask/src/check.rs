//! `cargo xtask check`: what to run before a commit. Formatting first, since it is the fastest to say no.

use crate::{cargo, test};
use anyhow::Result;
use std::time::Instant;

pub fn run(args: &[String]) -> Result<bool> {
    anyhow::ensure!(args.is_empty(), "check takes no argument");
    let steps: &[(&str, &[&str])] = &[
        ("format", &["fmt", "--all", "--check"]),
        ("lints", &["clippy", "--workspace", "--all-targets", "--quiet", "--", "--deny", "warnings"]),
    ];
    for (name, step) in steps {
        let started = Instant::now();
        let ok = cargo::shown(step)?;
        println!("== {name:<14} {:>7.1} s{}", started.elapsed().as_secs_f64(), if ok { "" } else { "  FAILED" });
        if !ok {
            return Ok(false);
        }
    }
    test::units_only()
}
