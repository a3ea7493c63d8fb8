//! A project on its way to the platform: which files belong to it ([`walk`]), what kind of function it is ([`detect`],
//! [`compiled`]), what its owner said about it ([`settings`], [`options`]), what follows from all that ([`plan`]), and how it is
//! sent ([`pack`], [`send`]).

pub mod compiled;
pub mod detect;
pub mod options;
pub mod pack;
pub mod pattern;
pub mod plan;
pub mod runtime;
pub mod send;
pub mod settings;
pub mod source;
pub mod tree;
pub mod walk;
