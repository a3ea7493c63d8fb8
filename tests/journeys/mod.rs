//! Journeys: what a user does, from the first command to the answer.

mod amazon;
mod answers;
mod command_line;
pub mod console;
mod directory;
mod sdk;
mod settings;
mod streams;
mod upstream;
mod urls;
mod versions;

use myna_tests::Test;

pub const ALL: &[&[Test]] = &[
    sdk::ALL,
    answers::ALL,
    versions::ALL,
    upstream::ALL,
    urls::ALL,
    amazon::ALL,
    settings::ALL,
    streams::ALL,
    command_line::ALL,
    console::ALL,
    directory::ALL,
];
