//! Journeys: what a user does, from the first command to the answer.

use myna_tests::Test;

pub const ALL: &[Test] = &[];
