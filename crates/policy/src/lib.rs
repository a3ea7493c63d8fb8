//! Who may do what, by AWS-style policy documents (IAM User Guide, "IAM JSON policy elements" and "Policy evaluation logic").
//!
//! Pure: documents in, decision out. Decided here: what this evaluator doesn't understand (an operator, a condition key, a
//! policy variable) never allows and always denies. A statement that says Allow under such a condition doesn't apply; one that
//! says Deny does. A policy that can't be read at all denies.

mod compare;
mod condition;
mod context;
mod document;
mod evaluator;
mod json;
mod kept;
mod pattern;
mod principal;
#[cfg(test)]
mod tests;

pub use document::{Document, Error};
pub use evaluator::{Brought, Evaluator, IdentityDocuments};

use model::DocumentKind;

/// Is this a policy that may be attached to a role or a user?
pub fn validate(document: &str) -> Result<(), Error> {
    Document::parse(document)?.check(DocumentKind::Identity)
}

/// Is this a policy that may say who a role trusts?
pub fn validate_trust(document: &str) -> Result<(), Error> {
    Document::parse(document)?.check(DocumentKind::Trust)
}

/// Is this a policy that may be attached to a function?
pub fn validate_resource(document: &str) -> Result<(), Error> {
    Document::parse(document)?.check(DocumentKind::Resource)
}
