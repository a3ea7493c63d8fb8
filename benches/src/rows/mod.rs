//! What is measured. A row is a function that gives one or more lines of the table. SPECIFICATION.md and the acceptance list name
//! rows as `bench: NAME`.

mod asynchronous;
mod cold;
mod decay;
mod density;
mod dev;
mod idle;
mod peers;
mod policy;
mod sandbox;
mod scale;
mod signed;
mod warm;

use crate::{server::Bench, table::Row};

pub type Measure = fn(&Bench) -> anyhow::Result<Vec<Row>>;

/// A row's name, the seconds that it may take on two cores, and what measures it.
pub const ALL: &[(&str, u64, Measure)] = &[
    ("warm", 60, warm::rows),
    ("policy", 10, policy::rows),
    ("sandbox", 20, sandbox::rows),
    ("cold", 90, cold::rows),
    ("scale-up", 120, scale::rows),
    ("density", 180, density::rows),
    ("idle", 60, idle::rows),
    ("async", 120, asynchronous::rows),
    ("dev", 30, dev::rows),
    ("peers", 120, peers::rows),
    ("decay", 90, decay::rows),
];

/// Rounds of which the best counts.
pub const ROUNDS: usize = 5;
