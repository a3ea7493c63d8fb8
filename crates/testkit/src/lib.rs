//! Doubles of Myna's ports for tests: a whole platform in memory, as a dialect sees it, and a queue.

pub mod clock;
pub mod platform;
pub mod queue;
pub mod suites;
