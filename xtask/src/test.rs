//! `cargo xtask test`: every test of the project, in parts.
//!
//! One build makes the binary and all test programs; packages are fetched meanwhile. Then each crate's own tests run, then the one
//! integration program against the real binary, a part per kind. Each part prints its seconds beside its budget; the closing
//! line is the sum of what every program counted, and skips are repeated with their reasons.

use crate::{cargo, cargo::Built, child, deps, tally::Tally};
use anyhow::{Result, anyhow, bail};
use std::{
    collections::BTreeMap,
    process::Command,
    thread,
    time::{Duration, Instant},
};

const INTEGRATION: &str = "myna-tests";

/// The kinds of the integration program's tests: the first word of their names, what they may take, in seconds.
const KINDS: &[(&str, u64)] = &[("journeys", 300), ("conformance", 300), ("hostile", 300), ("faults", 600), ("examples", 300)];
const BUILD_BUDGET: u64 = 900;
const DEPS_BUDGET: u64 = 360;
const UNIT_BUDGET: u64 = 120;
/// A part that takes this many times its budget hangs: it is killed and counted as failed.
const PATIENCE: u32 = 3;

/// What was asked for.
enum Asked {
    All,
    Kind(String),
    Crate(String),
    Names(String),
}

#[derive(Default)]
struct Report {
    lines: Vec<String>,
    sum: Tally,
}

impl Report {
    fn part(&mut self, name: &str, took: Duration, budget: u64, tally: Tally) {
        let took = took.as_secs_f64();
        let over = if took > budget as f64 { "  OVER" } else { "" };
        let counts = if tally.ran() == 0 { String::new() } else { tally.to_string() };
        let line = format!("{name:<14} {took:>7.1} s of {budget:>4} s{over:<6}  {counts}");
        println!("== {line}");
        self.lines.push(line);
        self.sum.add(tally);
    }
}

pub fn run(args: &[String]) -> Result<bool> {
    let asked = read(args)?;
    let began = Instant::now();
    let mut report = Report::default();

    let fetch = needs_deps(&asked).then(|| {
        thread::spawn(|| {
            let started = Instant::now();
            (deps::install(), started.elapsed())
        })
    });

    let started = Instant::now();
    println!("== building");
    let built = match &asked {
        Asked::Crate(name) => cargo::build(&["--package", name, "--bins", "--tests"])?,
        Asked::Kind(_) => cargo::build(&["--package", "myna", "--package", INTEGRATION, "--bins", "--tests"])?,
        Asked::All | Asked::Names(_) => cargo::build(&["--workspace", "--bins", "--tests"])?,
    };
    report.part("build", started.elapsed(), BUILD_BUDGET, Tally::default());

    unit(&asked, &built, &mut report)?;
    if let Some(fetch) = fetch {
        let (fetched, took) = fetch.join().map_err(|_| anyhow!("installing what the tests need panicked"))?;
        let tally = match fetched {
            Ok(lacking) => {
                lacking.iter().for_each(|l| println!("{l}"));
                Tally::default()
            }
            Err(e) => {
                println!("{e:#}");
                Tally::failed_one()
            }
        };
        report.part("deps", took, DEPS_BUDGET, tally);
        kinds(&asked, &built, &mut report)?;
    }
    close(&asked, report, began)
}

/// The crates' own tests alone, for `check`.
pub fn units_only() -> Result<bool> {
    let began = Instant::now();
    let mut report = Report::default();
    let built = cargo::build(&["--workspace", "--tests"])?;
    report.part("build", began.elapsed(), BUILD_BUDGET, Tally::default());
    unit(&Asked::All, &built, &mut report)?;
    close(&Asked::All, report, began)
}

fn read(args: &[String]) -> Result<Asked> {
    Ok(match args {
        [] => Asked::All,
        [name] if KINDS.iter().any(|(kind, _)| kind == name) => Asked::Kind(name.clone()),
        [name] => match crates()?.into_iter().find(|c| c == name || c.strip_prefix("myna-") == Some(name.as_str())) {
            Some(found) => Asked::Crate(found),
            None => Asked::Names(name.clone()),
        },
        _ => bail!("one name at most: a part, a crate, or a piece of the names of tests"),
    })
}

fn needs_deps(asked: &Asked) -> bool {
    !matches!(asked, Asked::Crate(_))
}

/// The names of the workspace's packages, the integration tests' own left out (they are asked for by kind).
fn crates() -> Result<Vec<String>> {
    let out = cargo::cargo().args(["metadata", "--no-deps", "--format-version=1", "--offline"]).output()?;
    let value: serde_json::Value = serde_json::from_slice(&out.stdout)?;
    let packages = value["packages"].as_array().ok_or_else(|| anyhow!("cargo metadata listed no packages"))?;
    Ok(packages.iter().filter_map(|p| p["name"].as_str()).filter(|n| *n != INTEGRATION).map(str::to_owned).collect())
}

/// Each crate's own tests. Their output is shown only when something fails.
fn unit(asked: &Asked, built: &[Built], report: &mut Report) -> Result<()> {
    if matches!(asked, Asked::Kind(_)) {
        return Ok(());
    }
    let mut by_crate: BTreeMap<&str, Vec<&Built>> = BTreeMap::new();
    for test in built.iter().filter(|b| b.is_test && !(b.package == INTEGRATION && b.target == "all")) {
        by_crate.entry(&test.package).or_default().push(test);
    }
    let started = Instant::now();
    let mut sum = Tally::default();
    for (package, tests) in by_crate {
        let one = Instant::now();
        let mut counted = Tally::default();
        for test in tests {
            let mut c = Command::new(&test.path);
            c.current_dir(&test.folder).env("CARGO_MANIFEST_DIR", &test.folder).env("MYNA_TEST_DEPS", deps::dir());
            // The name first: runners of our own take it from there.
            if let Asked::Names(part) = asked {
                c.arg(part);
            }
            c.arg("--show-output");
            counted.add(program(&mut c, &format!("{package} {}", test.target), UNIT_BUDGET, false)?);
        }
        if counted.ran() > 0 {
            println!("   {package:<24} {counted}   {:.1} s", one.elapsed().as_secs_f64());
        }
        sum.add(counted);
    }
    report.part("unit", started.elapsed(), UNIT_BUDGET, sum);
    Ok(())
}

/// The integration program, once per kind, its lines shown as they come.
fn kinds(asked: &Asked, built: &[Built], report: &mut Report) -> Result<()> {
    let Some(all) = built.iter().find(|b| b.is_test && b.package == INTEGRATION && b.target == "all") else {
        bail!("{INTEGRATION} built no test program called 'all'");
    };
    let Some(myna) = built.iter().find(|b| !b.is_test && b.target == "myna") else {
        bail!("the binary 'myna' was not built");
    };
    for (kind, budget) in KINDS {
        if matches!(asked, Asked::Kind(only) if only != kind) {
            continue;
        }
        let started = Instant::now();
        let mut c = Command::new(&all.path);
        c.current_dir(&all.folder).env("MYNA_BIN", &myna.path).env("MYNA_TEST_DEPS", deps::dir()).args(["--kind", kind]);
        if let Asked::Names(part) = asked {
            c.arg(part);
        }
        let tally = program(&mut c, kind, *budget, true)?;
        if tally.ran() > 0 {
            report.part(kind, started.elapsed(), *budget, tally);
        }
    }
    Ok(())
}

/// Runs one test program and counts it. One that fails without saying so in its count is counted as one failure.
fn program(c: &mut Command, name: &str, budget: u64, show: bool) -> Result<Tally> {
    let ended = child::run(c, Duration::from_secs(budget) * PATIENCE, show)?;
    let counted = Tally::read(&ended.output);
    let failed = !ended.ok || counted.as_ref().is_none_or(|t| t.failed > 0);
    if failed && !show {
        print!("{}", ended.output);
    }
    if ended.timed_out {
        println!("{name}: killed after {PATIENCE} times its budget of {budget} s");
    } else if counted.is_none() {
        println!("{name}: ended without saying how many tests it ran");
    }
    let mut tally = counted.unwrap_or_default();
    if failed && tally.failed == 0 {
        tally.failed = 1;
    }
    Ok(tally)
}

fn close(asked: &Asked, report: Report, began: Instant) -> Result<bool> {
    println!("\n== parts");
    report.lines.iter().for_each(|l| println!("   {l}"));
    println!("   {:<14} {:>7.1} s", "total", began.elapsed().as_secs_f64());
    if !report.sum.reasons.is_empty() {
        println!("== skipped");
        report.sum.reasons.iter().for_each(|r| println!("   {r}"));
    }
    if report.sum.ran() == 0 {
        match asked {
            Asked::Names(name) => bail!("no part, crate or test is called anything like '{name}'"),
            _ => bail!("no test ran"),
        }
    }
    println!("\n{}", report.sum);
    Ok(report.sum.failed == 0)
}
