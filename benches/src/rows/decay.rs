//! Does it get slower with use? First calls and warm calls on a new platform, and again after many calls, functions and versions.

use super::cold::first_calls;
use crate::{
    deploy::{self, Code, PYTHON},
    load::{self, Measured},
    server::{self, Bench, Myna},
    table::{Goal, Row},
};
use std::time::Duration;

const CALLS: usize = 30_000;
const FUNCTIONS: usize = 300;
const VERSIONS: usize = 100;
/// A round is short, so each side has several.
const ROUNDS: usize = 4;

struct Figures {
    cold: Duration,
    warm: Measured,
    rss: u64,
}

pub fn rows(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let myna = Myna::up(bench, "[engine]\nprestarted = 0\n")?;
    deploy::create(&myna, "bare", &Code::bare(bench)?)?;
    let (url, code) = (deploy::url(&myna, "bare")?, Code::python(PYTHON)?);
    let measure = |from: usize| -> anyhow::Result<Figures> {
        let (mut cold, mut warm) = (Duration::MAX, load::run(myna.address(), &*url, 1, 3000)?);
        for round in from..from + ROUNDS {
            cold = cold.min(first_calls(&myna, &code, round, 0)?);
            warm = warm.best(load::run(myna.address(), &*url, 1, 3000)?);
        }
        Ok(Figures { cold, warm, rss: server::rss(myna.pid())? })
    };
    let new = measure(0)?;
    for n in 0..FUNCTIONS {
        deploy::create(&myna, &format!("more-{n}"), &code)?;
    }
    for n in 0..VERSIONS {
        deploy::update(&myna, "more-0", &Code::python(&format!("def handler(event, context):\n    return {n}\n"))?)?;
        myna.admin("POST", "/2015-03-31/functions/more-0/versions", b"{}")?;
    }
    load::run(myna.address(), &*url, 8, CALLS)?;
    let used = measure(ROUNDS)?;
    let after = format!("after {CALLS} calls, {FUNCTIONS} functions and {VERSIONS} versions");
    let mib = |bytes: u64| format!("{} MiB", bytes >> 20);
    Ok(vec![
        Row::times(format!("first call of a new function {after}"), used.cold, new.cold, Goal::AtMost(1.25))
            .note("reference: the same on the platform when it was new"),
        Row::ratio(
            "warm call at the same time",
            used.warm.p50(),
            new.warm.p50(),
            used.warm.p50_us / new.warm.p50_us,
            Goal::AtMost(1.25),
        )
        .note(format!("memory of the platform {} before, {} now", mib(new.rss), mib(used.rss))),
    ])
}
