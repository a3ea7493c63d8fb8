//! `cargo xtask bench` and `cargo xtask soak`: the long runs, whose programs live in `benches/` and `tests/`.

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

/// What soak was asked for: the tests whose name contains this, else those of faults; and the hours that bound the whole.
#[derive(Debug, PartialEq)]
struct Soak<'a> {
    name: Option<&'a str>,
    hours: &'a str,
}

impl<'a> Soak<'a> {
    fn read(args: &'a [String]) -> Result<Self> {
        let (mut name, mut hours, mut rest) = (None, "2", args.iter().map(String::as_str));
        while let Some(arg) = rest.next() {
            match arg {
                "--hours" => hours = rest.next().unwrap_or_default(),
                flag if flag.starts_with('-') => bail!("soak knows no {flag}, only a piece of the names of tests and --hours N"),
                part if name.is_none() => name = Some(part),
                second => bail!("soak takes one piece of the names of tests, and found a second one: {second}"),
            }
        }
        if !hours.parse::<f64>().is_ok_and(|h| h > 0.0 && h.is_finite()) {
            bail!("--hours takes a number above 0, as in --hours 1.5, and found '{hours}'");
        }
        Ok(Self { name, hours })
    }

    fn arguments(&self) -> Vec<&'a str> {
        self.name.map_or_else(|| vec!["--kind", "faults"], |name| vec![name])
    }
}

/// Whether what `--list` printed names a test.
fn lists_a_test(printed: &str) -> bool {
    printed.lines().any(|line| line.ends_with(": test"))
}

/// The fault tests again, or those of one name, at the lengths that they are worded with.
pub fn soak(args: &[String]) -> Result<bool> {
    let asked = Soak::read(args)?;
    deps::install()?.iter().for_each(|l| println!("{l}"));
    let built = cargo::build(&["--package", "myna", "--package", "myna-tests", "--bins", "--tests"])?;
    let Some(all) = built.iter().find(|b| b.is_test && b.target == "all") else { bail!("the integration program was not built") };
    let Some(myna) = built.iter().find(|b| !b.is_test && b.target == "myna") else { bail!("the binary was not built") };
    let listed = Command::new(&all.path).args(asked.arguments()).arg("--list").output()?;
    if !lists_a_test(&String::from_utf8_lossy(&listed.stdout)) {
        bail!("no test of the whole is called anything like '{}'", asked.name.unwrap_or_default());
    }
    let mut c = Command::new(&all.path);
    c.args(asked.arguments()).args(["--test-threads", "1"]).env("MYNA_SOAK_HOURS", asked.hours).current_dir(&all.folder);
    Ok(c.env("MYNA_BIN", &myna.path).env("MYNA_TEST_DEPS", deps::dir()).status()?.success())
}

#[cfg(test)]
mod tests {
    use super::{Soak, lists_a_test};

    fn read(words: &str) -> Result<(Option<String>, String), String> {
        let args: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
        let asked = Soak::read(&args).map_err(|e| e.to_string())?;
        Ok((asked.name.map(str::to_owned), asked.hours.to_owned()))
    }

    #[test]
    fn soak_takes_a_name_and_hours_in_either_order() {
        let of = |name: Option<&str>, hours: &str| Ok((name.map(str::to_owned), hours.to_owned()));
        assert_eq!(read(""), of(None, "2"));
        assert_eq!(read("--hours 0.5"), of(None, "0.5"));
        assert_eq!(read("kills"), of(Some("kills"), "2"));
        assert_eq!(read("kills --hours 1"), of(Some("kills"), "1"));
        assert_eq!(read("--hours 1 kills"), of(Some("kills"), "1"));
    }

    #[test]
    fn a_name_that_no_test_has_is_told_from_one_that_some_have() {
        let closing = "0 passed, 0 failed, 0 skipped\n";
        assert!(lists_a_test(&format!("faults::events::accepted_events_survive_a_row_of_kills: test\n{closing}")));
        assert!(!lists_a_test(closing));
    }

    #[test]
    fn soak_says_what_it_found_instead() {
        for (words, found) in
            [("--hours", "''"), ("--hours 0", "'0'"), ("--hours inf", "'inf'"), ("--for 1", "--for"), ("a b", "b")]
        {
            let told = read(words).unwrap_err();
            assert!(told.contains(found), "{words}: {told}");
        }
    }
}
