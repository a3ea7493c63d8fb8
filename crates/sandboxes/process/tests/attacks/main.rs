//! The sandbox, attacked. This one binary plays every part: it is the spawner, the platform that gets killed, and (bound into the
//! sandboxes) the function that misbehaves.

#![allow(clippy::unwrap_used, reason = "all of this binary is a test")]
#![allow(
    clippy::undocumented_unsafe_blocks,
    reason = "the attacker's part makes raw calls with harmless or absurd arguments, which is its point"
)]

mod inside;
mod isolation;
mod life;
mod rig;

use rig::{Rig, Verdict};

type Test = fn(&Rig) -> Verdict;

fn main() {
    myna_sandbox_process::run_if_helper();
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("inside") => inside::main(&arguments[2..]),
        Some("platform") => life::play_platform(&arguments[2]),
        Some("plain") => run(rig::Rig::new("plain"), isolation::ANY_USER, ""),
        filter => {
            let filter = filter.filter(|f| !f.starts_with('-')).unwrap_or("");
            let tests: Vec<_> = [isolation::ANY_USER, isolation::ALL, life::ALL].concat();
            run(Rig::new("root"), &tests, filter);
        }
    }
}

fn run(rig: Rig, tests: &[(&str, Test)], filter: &str) {
    let mut counts = [0; 3];
    for (name, test) in tests.iter().filter(|t| t.0.contains(filter)) {
        let verdict = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test(&rig)));
        let (at, text) = match verdict {
            Ok(Verdict::Passed) => (0, "ok".to_owned()),
            Ok(Verdict::Skipped(why)) => (2, format!("skipped: {why}")),
            Err(_) => (1, "FAILED".to_owned()),
        };
        counts[at] += 1;
        println!("test {name} ... {text}");
    }
    // Before the exit, which drops nothing: the platform takes its empty groups along.
    let parents = life::parents(&rig.group_name());
    drop(rig);
    let left: Vec<_> = parents.iter().filter(|p| p.exists()).collect();
    counts[1] += u32::from(!left.is_empty());
    if !left.is_empty() {
        println!("test a_stopped_platform_leaves_no_group ... FAILED: {left:?}");
    }
    let [passed, failed, skipped] = counts;
    println!("test result: {passed} passed, {failed} failed, {skipped} skipped");
    std::process::exit(i32::from(failed > 0));
}
