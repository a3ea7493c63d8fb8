//! What the tests of the real binary share: a platform to start, the clients of a user, and the list that they are run from.
//!
//! A test is a function that returns `Result<()>`; its module lists it with [`tests!`], so that a forgotten one is dead code and
//! the lints say so. A test that this machine can't run returns [`skip`] with the reason, which is counted and repeated aloud.

mod runner;

pub use runner::{Test, main, skip};

pub use anyhow::{Context, Result, anyhow, bail, ensure};
pub use serde_json::{Value, json};

/// Lists the tests of a module under their own paths: `pub const ALL: &[Test] = tests![first, second];`
#[macro_export]
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        &[$($crate::Test { name: concat!(module_path!(), "::", stringify!($name)), run: $name }),*]
    };
}
