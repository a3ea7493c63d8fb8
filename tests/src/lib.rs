//! What the tests of the real binary share: a platform to start, the clients of a user, and the list that they are run from.
//!
//! A test is a function that returns `Result<()>`; its module lists it with [`tests!`], so that a forgotten one is dead code and
//! the lints say so. A test that this machine can't run returns [`skip`] with the reason, which is counted and repeated aloud.
//!
//! ```ignore
//! let myna = Platform::start()?;
//! let hello = myna.python("hello", "def handler(event, context): return event")?;
//! ensure!(hello.call(json!({"a": 1}))? == json!({"a": 1}));
//! ```

mod archive;
mod browser;
mod cgroup;
mod clients;
mod disk;
mod function;
mod http;
mod leaks;
mod length;
mod package;
mod platform;
pub mod processes;
mod runner;
mod runtimes;
mod sign;
mod wire;

pub use archive::{Entry, archive};
pub use browser::Browser;
pub use cgroup::Group;
pub use clients::{aws_cli, compare, deps, python};
pub use disk::on_small_disk;
pub use function::{Answer, Draft, Function};
pub use http::{Http, Response};
pub use length::{rounds, scaled, soaking};
pub use package::zip;
pub use platform::{Options, Platform, Ready, binary};
pub use processes::{kill, soon};
pub use runner::{Test, main, skip};
pub use sign::Keys;
pub use wire::{Raw, Wire};

pub use anyhow::{Context, Result, anyhow, bail, ensure};
pub use rustix::process::Signal;
pub use serde_json::{Value, json};

/// Lists the tests of a module under their own paths: `pub const ALL: &[Test] = tests![first, second];`
#[macro_export]
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        &[$($crate::Test { name: concat!(module_path!(), "::", stringify!($name)), run: $name }),*]
    };
}
