//! The integration tests: the real binary, with real clients. `cargo xtask test` runs them kind by kind.

mod journeys;

use std::process::ExitCode;

fn main() -> ExitCode {
    myna_tests::main(&[journeys::ALL])
}
