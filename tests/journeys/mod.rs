//! Journeys: what a user does, from the first command to the answer.

mod answers;
mod directory;
mod sdk;
mod urls;
mod versions;

use myna_tests::Test;

pub const ALL: &[&[Test]] = &[sdk::ALL, answers::ALL, versions::ALL, urls::ALL, directory::ALL];
