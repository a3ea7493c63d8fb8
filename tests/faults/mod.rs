//! Faults: something real is killed, flooded or filled while others work, and what must hold is counted.

mod herd;
mod killed;

use myna_tests::Test;

pub const ALL: &[&[Test]] = &[herd::ALL, killed::ALL];
