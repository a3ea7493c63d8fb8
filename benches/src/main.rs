//! `cargo xtask bench`: every figure is a ratio to a reference that runs in the same minute, on the same machine, under the same
//! client. Rows alternate between Myna and the reference, and the best of the rounds counts on both sides, since everything
//! that disturbs a measurement makes it worse.

mod load;
mod peers;
mod rows;
mod server;
mod table;

use std::path::PathBuf;
use table::Row;

fn main() -> anyhow::Result<()> {
    let only: Vec<String> = std::env::args().skip(1).collect();
    let bench = server::Bench::from_env()?;
    let mut done: Vec<Row> = Vec::new();
    for (name, row) in rows::ALL {
        if !only.is_empty() && !only.iter().any(|o| name.contains(o.as_str())) {
            continue;
        }
        eprintln!("bench: {name} …");
        match row(&bench) {
            Ok(rows) => done.extend(rows),
            Err(error) => done.push(Row::failed(name, &error)),
        }
    }
    let text = table::text(&done);
    println!("{text}");
    table::write(&PathBuf::from(std::env::var_os("MYNA_BENCH_OUT").unwrap_or_else(|| "target/bench".into())), &done, &text)
}
