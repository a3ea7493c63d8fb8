//! The integration tests: the real binary, with real clients. `cargo xtask test` runs them kind by kind; a kind is a folder here.

mod conformance;
mod examples;
mod faults;
mod hostile;
mod journeys;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut all = Vec::new();
    all.extend_from_slice(journeys::ALL);
    all.extend_from_slice(conformance::ALL);
    all.extend_from_slice(hostile::ALL);
    all.extend_from_slice(faults::ALL);
    all.extend_from_slice(examples::ALL);
    myna_tests::main(&all)
}
