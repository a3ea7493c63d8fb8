//! The references as programs: what they print, and whether the machine let them do what they can.

use crate::server::Bench;
use anyhow::{Context, bail};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a reference to its end; the durations that it printed.
pub fn durations(bench: &Bench, name: &str, args: &[&str]) -> anyhow::Result<Vec<Duration>> {
    let mut child = Command::new(bench.program(name)).args(args).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let until = Instant::now() + PATIENCE;
    let status = loop {
        match child.try_wait()? {
            Some(status) => break status,
            None if Instant::now() > until => {
                child.kill()?;
                child.wait()?;
                bail!("{name} {args:?} took longer than {PATIENCE:?}");
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let text = std::io::read_to_string(child.stdout.take().context("stdout was asked for")?)?;
    anyhow::ensure!(status.success(), "{name} {args:?} ended with {status}");
    let all = text.lines().map(|l| Ok(Duration::from_micros(l.parse()?))).collect::<anyhow::Result<Vec<_>>>()?;
    anyhow::ensure!(!all.is_empty(), "{name} {args:?} printed nothing");
    Ok(all)
}

/// The middle one.
pub fn median(mut all: Vec<Duration>) -> Duration {
    all.sort_unstable();
    all[all.len() / 2]
}

#[derive(Deserialize)]
struct Floors {
    processor: String,
    cores: usize,
    micros: BTreeMap<String, u64>,
}

/// Why a reference's best says that it was disturbed, if it was.
pub fn disturbed(name: &str, best: Duration) -> Option<String> {
    let floors: Floors = toml::from_str(include_str!("../ref/floors.toml")).expect("a file of our own, tested below");
    let (processor, cores) = crate::table::processor();
    let floor = floors.micros.get(name).filter(|_| floors.processor == processor && floors.cores == cores)?;
    above(best, Duration::from_micros(*floor)).then(|| {
        format!("void: {name} did {best:?} at best, more than twice its known floor of {:?}", Duration::from_micros(*floor))
    })
}

fn above(best: Duration, floor: Duration) -> bool {
    best > floor * 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_twice_above_its_floor_is_disturbed() {
        let floor = Duration::from_micros(880);
        assert!(!above(floor * 2, floor) && above(floor * 2 + Duration::from_micros(1), floor));
        assert_eq!(disturbed("a reference without a floor", Duration::MAX), None);
    }
}
