//! Every route of every door, tried with each kind of credential that must not do. The routes are the rows of `permissions.toml`,
//! which a test of the binary's own crate holds against what the code lists; what each row must answer is said here once, by what
//! it is.

mod apis;
mod others;
pub mod rig;

use myna_tests::{Result, Test, ensure, tests};
use rig::Rig;

pub const ALL: &[Test] = tests![every_route_refuses_whoever_must_not_use_it];

// H53
fn every_route_refuses_whoever_must_not_use_it() -> Result<()> {
    let mut rig = Rig::start()?;
    let before = rig.seen()?;
    let mut refused = apis::from_outside(&rig)? + apis::from_within(&rig)? + apis::by_another_tenant(&rig)?;
    refused += others::listener(&rig)? + others::admin(&rig)? + others::runtime(&rig)?;
    let after = rig.seen()?;
    ensure!(before == after, "something was changed:\n{before:#}\n{after:#}");
    ensure!(rig.myna.logged("target", "was called")? == 0, "a function was called by who may not");
    rig.target_runs()?;
    refused += others::console(&mut rig)?;
    println!("H53: {} rows, {refused} requests refused", rig.table.rows());
    Ok(())
}
