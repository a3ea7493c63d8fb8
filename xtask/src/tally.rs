//! Counting: what a test program's own closing line says, and the sum of all of them.
//!
//! Two forms are read. Cargo's: `test result: ok. 5 passed; 0 failed; 1 ignored; …`. Ours: `5 passed, 0 failed, 1 skipped` alone
//! on a line, with `test result: ` before it or not; such a runner says `test NAME ... skipped: REASON`. A libtest test that can't run on this machine prints `skipped: NAME: reason` and returns; libtest counts it as passed, so
//! it is moved over here, and the reason is repeated at the end of the run.

use std::fmt;

#[derive(Default, Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    pub passed: u64,
    pub failed: u64,
    pub skipped: u64,
    pub reasons: Vec<String>,
}

impl Tally {
    pub fn failed_one() -> Self {
        Self { failed: 1, ..Self::default() }
    }

    pub fn add(&mut self, other: Tally) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.reasons.extend(other.reasons);
    }

    pub fn ran(&self) -> u64 {
        self.passed + self.failed + self.skipped
    }

    /// Reads a whole output. `None` when the program never closed with a count, which is a failure whatever its exit code was.
    /// A program that prints our own closing line has counted its skips itself; libtest's line is then only decoration.
    pub fn read(output: &str) -> Option<Tally> {
        let mut own: Option<Tally> = None;
        let mut libtest: Option<Tally> = None;
        let mut reasons = Vec::new();
        let mut unmoved = 0;
        for line in output.lines() {
            if let Some(counts) = own_line(line) {
                own.get_or_insert_default().add(counts);
            } else if let Some(mut counts) = libtest_line(line) {
                let moved = std::mem::take(&mut unmoved).min(counts.passed);
                counts.passed -= moved;
                counts.skipped += moved;
                libtest.get_or_insert_default().add(counts);
            } else if let Some(reason) = line.trim_start().strip_prefix("skipped: ") {
                unmoved += 1;
                reasons.push(reason.to_owned());
            } else if let Some((test, reason)) = line.strip_prefix("test ").and_then(|l| l.split_once(" ... skipped: ")) {
                reasons.push(format!("{test}: {reason}"));
            }
        }
        let mut sum = own.or(libtest)?;
        sum.reasons = reasons;
        Some(sum)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// `test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured; 7 filtered out; finished in 0.01s`
fn libtest_line(line: &str) -> Option<Tally> {
    let counts = line.strip_prefix("test result: ")?.split_once(". ")?.1;
    let count = |what: &str| counts.split("; ").find_map(|p| p.strip_suffix(what)?.trim().parse::<u64>().ok());
    Some(Tally { passed: count(" passed")?, failed: count(" failed")?, skipped: count(" ignored")?, reasons: Vec::new() })
}

/// `3 passed, 1 failed, 2 skipped`
fn own_line(line: &str) -> Option<Tally> {
    let counts = line.trim();
    let mut parts = counts.strip_prefix("test result: ").unwrap_or(counts).split(", ");
    let mut count = |what: &str| parts.next()?.strip_suffix(what)?.parse::<u64>().ok();
    let found = Tally { passed: count(" passed")?, failed: count(" failed")?, skipped: count(" skipped")?, reasons: Vec::new() };
    parts.next().is_none().then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(passed: u64, failed: u64, skipped: u64, reasons: &[&str]) -> Option<Tally> {
        Some(Tally { passed, failed, skipped, reasons: reasons.iter().map(|r| (*r).to_owned()).collect() })
    }

    #[test]
    fn both_closing_lines_are_read_and_summed() {
        let cargo =
            "test a ... ok\ntest result: FAILED. 3 passed; 1 failed; 2 ignored; 0 measured; 7 filtered out; finished in 0s\n";
        assert_eq!(Tally::read(cargo), tally(3, 1, 2, &[]));
        let own = "ok a\n5 passed, 0 failed, 1 skipped\n";
        assert_eq!(Tally::read(own), tally(5, 0, 1, &[]));
        assert_eq!(Tally::read(&format!("{cargo}{cargo}")), tally(6, 2, 4, &[]));
        assert_eq!(Tally::read(&format!("{cargo}{own}")), tally(5, 0, 1, &[]), "our own line wins");
    }

    #[test]
    fn a_skip_that_libtest_took_for_a_pass_is_counted_as_a_skip() {
        let out =
            "skipped: needs_kvm: /dev/kvm is absent\ntest result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(Tally::read(out), tally(2, 0, 1, &["needs_kvm: /dev/kvm is absent"]));
        let own = "skipped: needs_kvm: /dev/kvm is absent\n2 passed, 0 failed, 1 skipped";
        assert_eq!(Tally::read(own), tally(2, 0, 1, &["needs_kvm: /dev/kvm is absent"]));
        let verdicts = "test needs_kvm ... skipped: /dev/kvm is absent\ntest result: 2 passed, 0 failed, 1 skipped";
        assert_eq!(Tally::read(verdicts), tally(2, 0, 1, &["needs_kvm: /dev/kvm is absent"]));
    }

    #[test]
    fn an_output_without_a_closing_line_is_no_count() {
        assert_eq!(Tally::read("test a ... ok\nthread panicked\n"), None);
        assert_eq!(Tally::read("3 passed, 1 failed, 2 skipped, 4 lost"), None);
    }
}
