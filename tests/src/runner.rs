//! Runs a list of tests and closes with `N passed, N failed, N skipped`.

use crate::length;
use anyhow::{Error, Result};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use rustix::process::{Resource, getrlimit, setrlimit};
use std::{
    any::Any,
    cell::RefCell,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
};

/// How much of a platform's log is shown beside a failure.
const LOG_LINES: usize = 60;

thread_local! {
    static COMPLAINTS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    static LOGS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Fails the test that runs on this thread, from where no error can be returned.
pub(crate) fn complain(what: String) {
    COMPLAINTS.with_borrow_mut(|c| c.push(what));
}

/// Shown when the test that runs on this thread fails.
pub(crate) fn keep_log(log: String) {
    LOGS.with_borrow_mut(|l| l.push(log));
}

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
    raise_descriptors();
    let (kind, mut arguments) = arguments();
    // A journey mostly waits for other processes, so more of them than cores run at once.
    arguments.test_threads = arguments.test_threads.or(Some(4));
    let wanted = |t: &&Test| kind.as_deref().is_none_or(|k| t.path().split("::").next() == Some(k));
    let trials = lists.iter().copied().flatten().filter(wanted).map(trial).collect();
    let done = libtest_mimic::run(&arguments, trials);
    println!("{} passed, {} failed, {} skipped", done.num_passed, done.num_failed, done.num_ignored);
    if done.has_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// A thousand callers at once hold a thousand sockets.
fn raise_descriptors() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap_or_else(|e| println!("the limit of descriptors stays as it was: {e}"));
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
    Trial::ignorable_test(name, move || {
        let out_of_time = length::soaking().is_some_and(|left| left.is_zero());
        let bounded = || if out_of_time { Err(skip("the hours of this soak are over")) } else { run() };
        let result = catch_unwind(AssertUnwindSafe(bounded)).unwrap_or_else(|panic| Err(Error::msg(words(&*panic))));
        let (complaints, logs) = (COMPLAINTS.take(), LOGS.take());
        match result {
            Ok(()) if complaints.is_empty() => Ok(Completion::Completed),
            Ok(()) => Err(failure("the test passed, but", &complaints, &logs)),
            Err(e) => match e.downcast_ref::<Skip>() {
                Some(Skip(reason)) => {
                    println!("skipped: {name}: {reason}");
                    Ok(Completion::ignored_with(reason))
                }
                None => Err(failure(&format!("{e:#}"), &complaints, &logs)),
            },
        }
    })
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "panicked".to_owned())
}

fn failure(what: &str, complaints: &[String], logs: &[String]) -> Failed {
    let mut text = what.to_owned();
    complaints.iter().for_each(|c| text += &format!("\n{c}"));
    for log in logs {
        let lines: Vec<&str> = log.lines().collect();
        let tail = &lines[lines.len().saturating_sub(LOG_LINES)..];
        text += &format!("\n--- the platform's log, last {} of {} lines\n{}", tail.len(), lines.len(), tail.join("\n"));
    }
    Failed::from(text)
}
