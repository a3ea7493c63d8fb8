//! How a verb fails: what went wrong with which object, what to do next, and the exit code that says it to a script.

use std::fmt;

/// Why the process ends with something else than 0. Documented under every `--help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    Failed = 1,
    Usage = 2,
    Function = 3,
    NotRunning = 4,
    NotFound = 5,
    Damaged = 6,
}

/// A failure as it is shown. An empty message means that all there is to say was said already.
#[derive(Clone, Debug)]
pub struct Problem {
    pub exit: Exit,
    /// Lower case, no full stop, names the operand.
    pub message: String,
    /// The next step.
    pub hint: Option<String>,
    /// The stable name of the error, where whoever raised it has one (`ResourceConflictException`).
    pub code: Option<String>,
}

/// What verbs return.
pub type Done = Result<(), Problem>;

impl Problem {
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hint: None, code: None }
    }
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }
    /// Everything was shown; only the exit code is left to say.
    pub fn silent(exit: Exit) -> Self {
        Self::new(exit, "")
    }
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
    pub fn is(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
impl std::error::Error for Problem {}

/// Says what was being done when something lower down failed.
pub trait Doing<T> {
    fn doing(self, what: impl fmt::Display) -> Result<T, Problem>;
}

impl<T, E: fmt::Display> Doing<T> for Result<T, E> {
    fn doing(self, what: impl fmt::Display) -> Result<T, Problem> {
        self.map_err(|error| Problem::failed(format!("{what}: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use model::Cause;

    #[test]
    fn every_cause_has_its_section_in_the_book_and_no_section_is_left_over() {
        let book = include_str!("../../../../docs/errors.md");
        let sections: Vec<&str> = book.lines().filter_map(|l| l.strip_prefix("## ")).collect();
        let causes: Vec<&str> = Cause::ALL.iter().map(|row| row.1).collect();
        assert_eq!(sections, causes);
    }
}
