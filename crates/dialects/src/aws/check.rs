//! The service's own way of refusing members of a request: every violation is collected, and one message names them all.

use super::{fault::WireError, names::word};
use std::fmt::Display;

#[derive(Default)]
pub struct Checks(Vec<String>);

/// Of a value that is quoted back, at most this much.
const QUOTED_BYTES_MAX: usize = 512;

fn quoted(value: impl Display) -> String {
    let mut text = value.to_string();
    if text.len() > QUOTED_BYTES_MAX {
        let cut = (0..=QUOTED_BYTES_MAX).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
        text.truncate(cut);
        text.push_str("...");
    }
    text
}

impl Checks {
    pub fn fail(&mut self, value: impl Display, at: &str, constraint: impl Display) {
        self.0.push(format!("Value '{}' at '{at}' failed to satisfy constraint: {constraint}", quoted(value)));
    }
    pub fn length(&mut self, value: &str, at: &str, least: usize, most: usize) {
        let n = value.chars().count();
        if n > most {
            self.fail(value, at, format_args!("Member must have length less than or equal to {most}"));
        } else if n < least {
            self.fail(value, at, format_args!("Member must have length greater than or equal to {least}"));
        }
    }
    pub fn range(&mut self, value: i64, at: &str, least: i64, most: i64) {
        if value > most {
            self.fail(value, at, format_args!("Member must have value less than or equal to {most}"));
        } else if value < least {
            self.fail(value, at, format_args!("Member must have value greater than or equal to {least}"));
        }
    }
    pub fn pattern(&mut self, value: &str, at: &str, pattern: &str) {
        self.fail(value, at, format_args!("Member must satisfy regular expression pattern: {pattern}"));
    }
    pub fn one_of(&mut self, value: &str, at: &str, allowed: &[&str]) {
        if !allowed.contains(&value) {
            self.fail(value, at, format_args!("Member must satisfy enum value set: [{}]", allowed.join(", ")));
        }
    }
    pub fn missing(&mut self, at: &str) {
        self.0.push(format!("Value null at '{at}' failed to satisfy constraint: Member must not be null"));
    }
    /// The id of a statement in a resource's policy, which must be given.
    pub fn statement_id(&mut self, given: Option<&str>) {
        let at = "statementId";
        let Some(id) = given else { return self.missing(at) };
        self.length(id, at, 1, 100);
        if !word(id) {
            self.pattern(id, at, "([a-zA-Z0-9-_]+)");
        }
    }
    pub fn into_result(self) -> Result<(), WireError> {
        match self.0.len() {
            0 => Ok(()),
            n => {
                let s = if n == 1 { "" } else { "s" };
                Err(WireError::validation(format!("{n} validation error{s} detected: {}", self.0.join("; "))))
            }
        }
    }
}
