//! Conformance: what the vendors' own tools say about our answers. A folder per system.

mod aws;

use myna_tests::Test;

pub const ALL: &[&[Test]] = &[aws::ALL];
