//! Refusals are logged, and whoever is refused can come again ten thousand times a second, a function over its own socket too: so
//! there is a most of lines per second. What is left out is counted and said; errors are always written.

use super::log::Lines;
use std::{
    io::Write,
    sync::{Mutex, PoisonError},
    time::Instant,
};
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::{MakeWriter, writer::OptionalWriter};

/// Errors don't count.
const LINES_PER_SECOND_MAX: u32 = 100;

/// The platform's log, with its lines counted.
pub struct Paced {
    out: Lines,
    began: Instant,
    budget: Mutex<Budget>,
}

#[derive(Default)]
struct Budget {
    second: u64,
    written: u32,
    left_out: u64,
}

impl Budget {
    /// Whether a line may be written, and how many were not before it.
    fn admit(&mut self, second: u64) -> Option<u64> {
        if second != self.second {
            (self.second, self.written) = (second, 0);
        }
        if self.written >= LINES_PER_SECOND_MAX {
            self.left_out += 1;
            return None;
        }
        self.written += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

impl Paced {
    pub fn new(out: Lines) -> Self {
        Self { out, began: Instant::now(), budget: Mutex::default() }
    }
}

impl<'a> MakeWriter<'a> for Paced {
    type Writer = OptionalWriter<Lines>;

    fn make_writer(&'a self) -> Self::Writer {
        OptionalWriter::some(self.out.clone())
    }

    fn make_writer_for(&'a self, of: &Metadata<'_>) -> Self::Writer {
        if *of.level() == Level::ERROR {
            return self.make_writer();
        }
        let admitted = self.budget.lock().unwrap_or_else(PoisonError::into_inner).admit(self.began.elapsed().as_secs());
        match admitted {
            None => return OptionalWriter::none(),
            Some(0) => {}
            // It is dropped and counted there when there is no room for it.
            Some(lines) => {
                let text = format!("{lines} lines were left out: more than {LINES_PER_SECOND_MAX} in a second\n");
                // It is dropped and counted there when there is no room for it.
                drop(self.out.clone().write_all(text.as_bytes()));
            }
        }
        self.make_writer()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_written_or_counted() {
        let (mut budget, most) = (Budget::default(), u64::from(LINES_PER_SECOND_MAX));
        let (mut written, mut counted) = (0, 0);
        for second in [0, 0, 1, 1, 7] {
            for _ in 0..most {
                if let Some(left_out) = budget.admit(second) {
                    (written, counted) = (written + 1, counted + left_out);
                }
            }
        }
        assert_eq!((written, counted), (3 * most, 2 * most));
        assert_eq!(budget.left_out, 0);
    }
}
