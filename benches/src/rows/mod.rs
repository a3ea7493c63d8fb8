//! What is measured. A row is a function that gives one or more lines of the table.

mod cold;
mod footprint;
mod warm;

use crate::{server::Bench, table::Row};

pub type Measure = fn(&Bench) -> anyhow::Result<Vec<Row>>;

pub const ALL: &[(&str, Measure)] = &[
    ("warm", warm::rows),
    ("cold", cold::rows),
    ("scale-up", cold::scale_up),
    ("idle", footprint::idle_functions),
    ("density", footprint::idle_instances),
];

/// Rounds of which the best counts.
pub const ROUNDS: usize = 5;
