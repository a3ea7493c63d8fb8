//! The sandbox, attacked. This one binary plays every part: it is the spawner, the platform that gets killed, and (bound into the
//! sandboxes) the function that misbehaves.

mod bench;
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
        Some("plain") => finish(run(&rig::Rig::new("plain"), isolation::ANY_USER, "")),
        Some("launch") => bench::launch(&rig::Rig::new("launch")),
        filter => {
            let filter = filter.filter(|f| !f.starts_with('-')).unwrap_or("");
            let rig = Rig::new("root");
            let tests: Vec<_> = [isolation::ANY_USER, isolation::ALL, life::ALL].concat();
            finish(run(&rig, &tests, filter));
        }
    }
}

fn run(rig: &Rig, tests: &[(&str, Test)], filter: &str) -> [u32; 3] {
    let mut counts = [0; 3];
    for (name, test) in tests.iter().filter(|t| t.0.contains(filter)) {
        let verdict = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test(rig)));
        let (at, text) = match verdict {
            Ok(Verdict::Passed) => (0, "ok".to_owned()),
            Ok(Verdict::Skipped(why)) => (2, format!("skipped: {why}")),
            Err(_) => (1, "FAILED".to_owned()),
        };
        counts[at] += 1;
        println!("test {name} ... {text}");
    }
    counts
}

fn finish([passed, failed, skipped]: [u32; 3]) {
    println!("test result: {passed} passed, {failed} failed, {skipped} skipped");
    std::process::exit(i32::from(failed > 0));
}
