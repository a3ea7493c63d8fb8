//! Hostile input, thrown at the real binary from where an attacker would stand: at its doors, and inside a function.

mod archives;
mod browser;
mod credentials;
mod documents;
mod doors;
mod guesses;
mod inside;
mod internal;
mod permissions;
mod requests;
mod sandbox;
mod signatures;

use myna_tests::Test;

pub const ALL: &[&[Test]] = &[
    requests::ALL,
    doors::ALL,
    browser::ALL,
    inside::ALL,
    archives::ALL,
    credentials::ALL,
    guesses::ALL,
    internal::ALL,
    signatures::ALL,
    documents::ALL,
    sandbox::ALL,
];
