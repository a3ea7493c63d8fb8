//! A thousand deployed functions that nobody calls: what the platform itself takes.

use crate::{
    deploy::{self, Code, PYTHON},
    server::{self, Bench, Myna},
    table::{Row, ms},
};
use std::time::Duration;

const FUNCTIONS: usize = 1000;
const WATCHED_S: u64 = 10;

pub fn rows(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let myna = Myna::up(bench, "[engine]\nprestarted = 0\n")?;
    let code = Code::python(PYTHON)?.memory(128);
    for n in 0..FUNCTIONS {
        deploy::create(&myna, &format!("f{n}"), &code)?;
    }
    std::thread::sleep(Duration::from_secs(3));
    anyhow::ensure!(deploy::unbound(&myna)? == 0, "the generic pool is not empty");
    let before = server::cpu(myna.pid())?;
    std::thread::sleep(Duration::from_secs(WATCHED_S));
    let share = (server::cpu(myna.pid())? - before).as_secs_f64() / WATCHED_S as f64;
    let bytes = server::rss(myna.pid())? as f64;
    let startup = myna.startup;
    Ok(vec![
        Row::absolute(
            "1,000 deployed functions, no traffic: memory of the platform",
            format!("{:.1} MB", bytes / 1e6),
            "≤ 50 MB",
            bytes <= 50e6,
        )
        .note("the generic pool is empty"),
        Row::absolute("the same: processor", format!("{share:.3} cores"), "≤ 0.1 cores", share <= 0.1),
        Row::absolute("start of an empty platform until it is ready", ms(startup), "≤ 1 s", startup <= Duration::from_secs(1)),
    ])
}
