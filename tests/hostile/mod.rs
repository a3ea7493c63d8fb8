//! Hostile input, thrown at the real binary from where an attacker would stand: at its doors, and inside a function.

mod browser;
mod doors;
mod inside;
mod requests;

use myna_tests::Test;

pub const ALL: &[&[Test]] = &[requests::ALL, doors::ALL, browser::ALL, inside::ALL];
