//! `myna dev`: from saving a file to the first answer of the new code.

use crate::{
    server::{Bench, Myna, Running, invoke},
    table::{Row, ms},
};
use anyhow::Context;
use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const SAVES: usize = 25;
const GOAL: Duration = Duration::from_millis(300);
const WITHIN: Duration = Duration::from_secs(20);
/// Between two saves: what the last one caused is over.
const PAUSE: Duration = Duration::from_millis(300);

pub fn rows(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let myna = Myna::up(bench, "")?;
    let (folder, file) = (myna.folder().join("live"), myna.folder().join("live/lambda_function.py"));
    std::fs::create_dir(&folder)?;
    let save = |n: usize| std::fs::write(&file, format!("def lambda_handler(event, context):\n    return {n}\n"));
    save(0)?;
    let mut command = Command::new(bench.program("myna"));
    command.arg("--dir").arg(myna.state()).arg("dev").arg(&folder).stdout(Stdio::null()).stderr(Stdio::null());
    let _dev = Running::start(&mut command)?;
    answers(&myna, 0)?;
    let mut all = Vec::new();
    for n in 1..=SAVES {
        std::thread::sleep(PAUSE);
        let began = Instant::now();
        save(n)?;
        answers(&myna, n)?;
        all.push(began.elapsed());
    }
    all.sort_unstable();
    let at = |q: usize| all[(SAVES * q).div_ceil(100) - 1];
    let worst = all.last().context("there were saves")?;
    Ok(vec![
        Row::absolute(
            "development: from a save to the answer of the new code, 95th percentile",
            ms(at(95)),
            "≤ 300 ms",
            at(95) <= GOAL,
        )
        .note(format!("{SAVES} saves of a Python function; median {}, worst {}", ms(at(50)), ms(*worst))),
    ])
}

/// Calls until the code of this save answers.
fn answers(myna: &Myna, n: usize) -> anyhow::Result<()> {
    let began = Instant::now();
    while invoke(&myna.ready.admin, "live", b"{}").ok().as_deref() != Some(&n.to_string()) {
        anyhow::ensure!(began.elapsed() < WITHIN, "the code of save {n} doesn't answer after {WITHIN:?}");
        std::thread::sleep(Duration::from_millis(3));
    }
    Ok(())
}
