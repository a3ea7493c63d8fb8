//! One line that says what takes so long. On a terminal it is rewritten in place; elsewhere every new step is a line of its own,
//! so that a CI log shows where the time went.

use super::safe::clean_line;
use std::{
    io::{self, Write},
    time::Instant,
};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Live,
    Lines,
    Silent,
}

pub struct Progress {
    style: Style,
    began: Instant,
    step: String,
}

impl Progress {
    pub(super) fn new(style: Style) -> Self {
        Self { style, began: Instant::now(), step: String::new() }
    }

    /// What is being done now; call it as often as you like.
    pub fn step(&mut self, what: &str) {
        let fresh = self.step != what;
        if fresh {
            what.clone_into(&mut self.step);
        }
        let what = clean_line(what);
        let mut stderr = io::stderr().lock();
        // Who reads standard error may have gone; that stops nobody's deployment.
        let _ = match self.style {
            // Erasing the line first: the new text may be shorter.
            Style::Live => {
                write!(stderr, "\r\u{1b}[K{what} ({:.1} s)", self.began.elapsed().as_secs_f64()).and_then(|()| stderr.flush())
            }
            Style::Lines if fresh => writeln!(stderr, "{what}"),
            _ => Ok(()),
        };
    }

    /// Take the line away, before anything else is shown.
    pub fn clear(&mut self) {
        if self.style == Style::Live && !self.step.is_empty() {
            self.step.clear();
            let mut stderr = io::stderr().lock();
            let _ = write!(stderr, "\r\u{1b}[K").and_then(|()| stderr.flush());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
