//! Journeys: what a user does, from the first command to the answer.

mod amazon;
mod answers;
mod audit;
mod command_line;
pub mod console;
mod development;
mod directory;
mod environment;
mod events;
mod extensions;
mod first_start;
mod frameworks;
mod layers;
mod logs;
mod metrics;
mod mistakes;
mod operations;
mod permissions;
mod plain_user;
mod runtimes;
mod sdk;
mod sealing;
pub mod secrets;
mod settings;
mod shims;
mod streams;
mod telemetry;
mod tenants;
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
    permissions::ALL,
    amazon::ALL,
    shims::ALL,
    runtimes::EACH,
    runtimes::ALL,
    frameworks::ALL,
    environment::ALL,
    events::ALL,
    layers::ALL,
    logs::ALL,
    extensions::ALL,
    telemetry::ALL,
    settings::ALL,
    streams::ALL,
    command_line::ALL,
    development::ALL,
    first_start::ALL,
    metrics::ALL,
    mistakes::ALL,
    plain_user::ALL,
    console::ALL,
    directory::ALL,
    sealing::ALL,
    secrets::ALL,
    operations::ALL,
    audit::ALL,
    tenants::ALL,
];
