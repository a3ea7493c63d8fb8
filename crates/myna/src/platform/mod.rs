//! The running platform, seen from the command line: where it is, and how to talk to it. The command line has no way of its
//! own into the platform's state: it uses the admin socket, which speaks the AWS APIs and `/admin/v1`.

pub mod find;
pub mod http;
pub mod lambda;
pub mod registry;

pub use http::Api;
