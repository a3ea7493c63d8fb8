//! What can be wrong with a state directory, said so that its owner knows what to do next.

use model::{Cause, Fault};
use std::{io, path::PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory is not safe or not fit to be used. Nothing in it was changed.
    #[error("{}: {reason}; {hint}", path.display())]
    Refused { path: PathBuf, reason: String, hint: String },
    /// A file holds something that Myna did not write.
    #[error("{} is damaged: {what}; {hint}", path.display())]
    Damaged { path: PathBuf, what: String, hint: String },
    #[error("can't {action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
}

impl Error {
    pub(crate) fn refused(path: impl Into<PathBuf>, reason: impl Into<String>, hint: impl Into<String>) -> Self {
        Error::Refused { path: path.into(), reason: reason.into(), hint: hint.into() }
    }
    pub(crate) fn damaged(path: impl Into<PathBuf>, what: impl ToString, hint: impl Into<String>) -> Self {
        Error::Damaged { path: path.into(), what: what.to_string(), hint: hint.into() }
    }
    /// For `map_err`: says what was being done to which path.
    pub(crate) fn io<E: Into<io::Error>>(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(E) -> Self {
        move |source| Error::Io { action, path: path.into(), source: source.into() }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        match &error {
            Error::Io { source, .. } if no_room(source) => {
                Fault::new(Cause::Exhausted, error.to_string()).detail("disk").hint("free some space in the state directory")
            }
            _ => Fault::internal(error),
        }
    }
}

/// Whether an error means that the disk is full (bytes, inodes or quota), which passes when space returns.
pub(crate) fn no_room(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
