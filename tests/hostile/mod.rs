//! Hostile input, thrown at the real binary from where an attacker would stand: at its doors, and inside a function.

mod archives;
mod browser;
mod credentials;
mod documents;
mod doors;
mod inside;
mod requests;
mod sandbox;
mod secrets;
mod signatures;

use myna_tests::Test;

pub const ALL: &[&[Test]] = &[
    requests::ALL,
    doors::ALL,
    browser::ALL,
    inside::ALL,
    archives::ALL,
    credentials::ALL,
    signatures::ALL,
    documents::ALL,
    sandbox::ALL,
    secrets::ALL,
];
