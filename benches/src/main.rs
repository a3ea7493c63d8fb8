//! `cargo xtask bench [ROW…] [--record]`: figures are ratios to a reference that runs in the same minute, on the same machine, under
//! the same client. Rounds alternate between Myna and the reference, and the best of them counts on both sides, since everything
//! that disturbs a measurement makes it worse.

mod deploy;
mod load;
mod nats;
mod peers;
mod program;
mod record;
mod reference;
mod rows;
mod server;
mod table;

use anyhow::ensure;
use std::{path::PathBuf, time::Instant};
use table::{Row, Run};

fn main() -> anyhow::Result<()> {
    // The row of the sandbox alone starts one from here.
    sandbox_process::run_if_helper();
    let (flags, asked): (Vec<String>, Vec<String>) = std::env::args().skip(1).partition(|a| a.starts_with("--"));
    let record = flags.iter().any(|f| f == "--record");
    ensure!(flags.iter().all(|f| f == "--record"), "the only option is --record");
    let unknown = asked.iter().find(|a| !rows::ALL.iter().any(|(name, ..)| a == name));
    let known: Vec<_> = rows::ALL.iter().map(|r| r.0).collect();
    ensure!(unknown.is_none(), "no row is called {}; there are {}", unknown.map_or("", |u| u), known.join(", "));
    ensure!(!record || asked.is_empty(), "--record writes the whole table down, so it takes no row");

    let bench = server::Bench::from_env()?;
    let mut run = Run::begin(&asked);
    for (name, budget, measure) in rows::ALL.iter().filter(|r| asked.is_empty() || asked.iter().any(|a| a == r.0)) {
        eprintln!("bench: {name} …");
        let began = Instant::now();
        let rows = measure(&bench).unwrap_or_else(|error| vec![Row::failed(name, &error)]);
        let took = began.elapsed().as_secs();
        eprintln!("bench: {name} took {took} s of {budget} s{}", if took > *budget { "  OVER" } else { "" });
        run.add(name, rows);
    }
    let text = run.text();
    println!("{text}");
    run.write(&PathBuf::from(std::env::var_os("MYNA_BENCH_OUT").unwrap_or_else(|| "target/bench".into())))?;
    if record {
        record::write(&text)?;
    }
    // What is measured is printed, met or not; only what could not be measured is an error.
    ensure!(run.rows.iter().all(|r| r.verdict != "failed"), "some rows could not be measured");
    Ok(())
}
