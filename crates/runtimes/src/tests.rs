//! The shims under real interpreters, started as plain processes against the real contract over the host's loopback. What this
//! machine lacks is skipped aloud.

mod java;
mod node;
mod python;
mod rig;
