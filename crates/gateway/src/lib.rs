//! The doors: listeners, HTTP hygiene, and who a request comes from.
//!
//! A connection passes, from the outside in: [`serve`] (accept, limits, stopping) → `guard` (only whole and strictly formed
//! heads, deadlines) → hyper → `service` (path, size, body, panics) → a [`Handler`]. [`aws::AwsDoor`] is the handler that
//! verifies AWS signatures ([`sigv4`]) and hands requests to a dialect.
//!
//! A door with certificates speaks TLS ([`tls`]) between `serve` and `guard`; a door without them knows nothing of it.
//!
//! Deliberately absent: HTTP/2, upgrades and tunnels (no handler offers any), and
//! authorisation, which is asked for once, in the engine.

pub mod aws;
mod bind;
mod body;
mod conn;
mod door;
mod guard;
mod holder;
pub mod path;
pub mod reply;
mod serve;
mod service;
pub mod sigv4;
mod stage;
pub mod tls;

pub use bind::{Error, is_loopback};
pub use door::{Bind, Counters, Door, Handler, Limits, Paths, Peer, Report};
pub use serve::{Bound, open, serve};
pub use stage::Stop;

#[cfg(test)]
mod tests;
