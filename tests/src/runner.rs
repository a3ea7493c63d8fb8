//! Runs a list of tests and closes with `N passed, N failed, N skipped`.

use anyhow::{Error, Result};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use std::{fmt, process::ExitCode};

/// One test: its path, which begins with its kind (`journeys::…`), and what it does.
#[derive(Clone, Copy)]
pub struct Test {
    pub name: &'static str,
    pub run: fn() -> Result<()>,
}

impl Test {
    /// The path without the test program's own name.
    fn path(&self) -> &'static str {
        self.name.split_once("::").map_or(self.name, |(_, rest)| rest)
    }
}

#[derive(Debug)]
struct Skip(String);

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "can't run here: {}", self.0)
    }
}

impl std::error::Error for Skip {}

/// The error of a test that this machine can't run: `return Err(skip("no /dev/kvm"))`.
pub fn skip(reason: impl fmt::Display) -> Error {
    Error::new(Skip(reason.to_string()))
}

/// Runs what the arguments ask for: libtest's own, and `--kind NAME` for the tests of one kind.
pub fn main(lists: &[&[Test]]) -> ExitCode {
    let (kind, mut arguments) = arguments();
    // A journey mostly waits for other processes, so more of them than cores run at once.
    arguments.test_threads = arguments.test_threads.or(Some(4));
    let wanted = |t: &&Test| kind.as_deref().is_none_or(|k| t.path().split("::").next() == Some(k));
    let trials = lists.iter().copied().flatten().filter(wanted).map(trial).collect();
    let done = libtest_mimic::run(&arguments, trials);
    println!("{} passed, {} failed, {} skipped", done.num_passed, done.num_failed, done.num_ignored);
    if done.has_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn arguments() -> (Option<String>, Arguments) {
    let mut rest = Vec::new();
    let mut kind = None;
    let mut args = std::env::args();
    while let Some(arg) = args.next() {
        if arg == "--kind" {
            kind = args.next();
        } else {
            rest.push(arg);
        }
    }
    (kind, Arguments::from_iter(rest))
}

fn trial(test: &Test) -> Trial {
    let (name, run) = (test.path(), test.run);
    Trial::ignorable_test(name, move || match run() {
        Ok(()) => Ok(Completion::Completed),
        Err(e) => match e.downcast_ref::<Skip>() {
            Some(Skip(reason)) => {
                println!("skipped: {name}: {reason}");
                Ok(Completion::ignored_with(reason))
            }
            None => Err(Failed::from(format!("{e:?}"))),
        },
    })
}
