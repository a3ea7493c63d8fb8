//! One way to say that something went wrong. A module has its own error enum; at the edge between two seams it becomes a
//! [`Fault`], and each dialect turns that into its own wire error in one file.

use std::{fmt, time::Duration};

/// Whose doing it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The request can't be served as it is; repeating it unchanged is useless.
    Caller,
    /// User code or its settings.
    Function,
    /// Myna or its machine.
    Platform,
}

/// What went wrong, as far as the engine can tell without knowing any dialect. Each has a page in docs/errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The named thing doesn't exist, or the caller may not know that it does.
    NotFound,
    /// The caller is who they say, and may not do this.
    Denied,
    /// Who the caller is could not be established.
    Unauthenticated,
    /// A field is wrong; the message names it, what was found and what was expected.
    Invalid,
    /// A precondition on a stored version failed.
    Stale,
    /// The thing exists already, or is being changed.
    Conflict,
    /// A body is past its limit.
    TooLarge,
    /// A rate or concurrency limit that the owner set.
    Throttled,
    /// The machine has no room: memory, descriptors, the waiting line.
    Exhausted,
    /// The function's own time limit passed; all its processes are dead.
    Timeout,
    /// The runtime ended without answering.
    Exited,
    /// The instance was killed for its memory limit.
    OutOfMemory,
    /// Initialisation failed; the function's own report is in [`Fault::report`].
    InitFailed,
    /// The instance broke its contract (a second answer, a wrong id, a truncated body).
    Protocol,
    /// The answer is past its limit.
    ReplyTooLarge,
    /// What is asked for needs something that this machine or this build lacks.
    Unsupported,
    /// The platform is stopping.
    Draining,
    /// The caller has gone.
    Cancelled,
    /// A defect or a failed disk.
    Internal,
}

impl Cause {
    /// The one table: every cause with its stable name and who is to blame by default.
    pub const ALL: &'static [(Cause, &'static str, Who)] = &[
        (Cause::NotFound, "not-found", Who::Caller),
        (Cause::Denied, "denied", Who::Caller),
        (Cause::Unauthenticated, "unauthenticated", Who::Caller),
        (Cause::Invalid, "invalid", Who::Caller),
        (Cause::Stale, "stale", Who::Caller),
        (Cause::Conflict, "conflict", Who::Caller),
        (Cause::TooLarge, "too-large", Who::Caller),
        (Cause::Throttled, "throttled", Who::Caller),
        (Cause::Exhausted, "exhausted", Who::Platform),
        (Cause::Timeout, "timeout", Who::Function),
        (Cause::Exited, "exited", Who::Function),
        (Cause::OutOfMemory, "out-of-memory", Who::Function),
        (Cause::InitFailed, "init-failed", Who::Function),
        (Cause::Protocol, "protocol", Who::Function),
        (Cause::ReplyTooLarge, "reply-too-large", Who::Function),
        (Cause::Unsupported, "unsupported", Who::Platform),
        (Cause::Draining, "draining", Who::Platform),
        (Cause::Cancelled, "cancelled", Who::Caller),
        (Cause::Internal, "internal", Who::Platform),
    ];

    fn row(self) -> &'static (Cause, &'static str, Who) {
        Self::ALL.iter().find(|r| r.0 == self).expect("ALL lists every cause (tested)")
    }
    /// The stable name, as printed and as the name of its page in docs/errors.
    pub fn name(self) -> &'static str {
        self.row().1
    }
    pub fn who(self) -> Who {
        self.row().2
    }
}

/// What went wrong, in one sentence without a full stop, and what to do about it.
#[derive(Clone, Debug)]
pub struct Fault {
    pub cause: Cause,
    /// Lower case, no full stop, names the operand. Never contains a secret.
    pub message: String,
    /// What to do next, when there is something.
    pub hint: Option<String>,
    /// Set when trying again later can help, with the least time to wait.
    pub retry_after: Option<Duration>,
    /// What the function itself said of its failure (contract's own error document), passed on verbatim.
    pub report: Option<bytes::Bytes>,
    /// A narrower name of the cause in the terms of whoever raised it (`Runtime.ExitError`, `memory`, a field's name).
    pub detail: Option<String>,
}

impl Fault {
    pub fn new(cause: Cause, message: impl Into<String>) -> Self {
        Self { cause, message: message.into(), hint: None, retry_after: None, report: None, detail: None }
    }
    pub fn internal(message: impl fmt::Display) -> Self {
        Self::new(Cause::Internal, message.to_string())
    }
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Cause::NotFound, message)
    }
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Cause::Invalid, message)
    }
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }
    pub fn report(mut self, report: impl Into<bytes::Bytes>) -> Self {
        self.report = Some(report.into());
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "; {hint}")?;
        }
        Ok(())
    }
}
impl std::error::Error for Fault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_has_its_row_and_a_name_of_its_own() {
        let mut names: Vec<_> = Cause::ALL.iter().map(|r| r.1).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Cause::ALL.len());
        // A new variant without a row would panic here: the match makes the compiler ask for it.
        let all = |c: Cause| match c {
            Cause::NotFound | Cause::Denied | Cause::Unauthenticated | Cause::Invalid | Cause::Stale | Cause::Conflict => {
                c.name()
            }
            Cause::TooLarge | Cause::Throttled | Cause::Exhausted | Cause::Timeout | Cause::Exited | Cause::OutOfMemory => {
                c.name()
            }
            Cause::InitFailed | Cause::Protocol | Cause::ReplyTooLarge | Cause::Unsupported | Cause::Draining => c.name(),
            Cause::Cancelled | Cause::Internal => c.name(),
        };
        assert_eq!(all(Cause::Internal), "internal");
    }
}
