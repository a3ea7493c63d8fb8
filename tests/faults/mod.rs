//! Faults: something real is killed, flooded or filled while others work, and what must hold is counted.

mod backlog;
mod clocks;
mod configuration;
mod connections;
mod damage;
mod deploys;
mod disk;
mod events;
mod herd;
mod killed;
mod misbehaving;
mod network;
mod pressed;
mod rollout;
mod still;

use myna_tests::Test;

pub const ALL: &[&[Test]] = &[
    herd::ALL,
    killed::ALL,
    deploys::ALL,
    events::ALL,
    backlog::ALL,
    misbehaving::ALL,
    rollout::ALL,
    connections::ALL,
    disk::ALL,
    pressed::ALL,
    clocks::ALL,
    configuration::ALL,
    network::ALL,
    damage::ALL,
    still::ALL,
];
