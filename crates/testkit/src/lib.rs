//! Doubles of Myna's ports for tests, and behaviour suites that run against every implementation of a port.

pub mod clock;
pub mod platform;
pub mod queue;
pub mod suites;
