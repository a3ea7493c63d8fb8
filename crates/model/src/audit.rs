//! Who changed what, and who was refused. An entry names things and never holds a secret or a body.

use crate::{Fault, Fut, Holder, Principal};
use serde::{Deserialize, Serialize};

/// Bytes of one text of an entry; a longer one is cut.
pub const FIELD_BYTES_MAX: usize = 512;

/// One change, or one refused attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Entry {
    /// Milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Whose platform it was about; empty where nobody could tell.
    pub tenant: String,
    /// `root`, `role NAME`, `anonymous`, `key AKIA…` (claimed, not proved), `operator`, `platform`.
    pub principal: String,
    /// Where it came from: a door and an address, `aws 127.0.0.1`, `admin uid 0`.
    pub source: String,
    /// `lambda:CreateFunction`, `admin:POST /admin/v1/tenants`.
    pub action: String,
    /// What it was done to; empty where there is nothing to name.
    pub resource: String,
    /// `ok`, `denied: REASON`, `failed: REASON`.
    pub outcome: String,
    pub request_id: String,
    /// More than one: so many alike stand behind this entry.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub count: u64,
}

fn one() -> u64 {
    1
}

fn is_one(count: &u64) -> bool {
    *count <= 1
}

impl Entry {
    /// With each text cut to [`FIELD_BYTES_MAX`] and without control characters.
    pub fn bounded(mut self) -> Self {
        for text in [
            &mut self.tenant,
            &mut self.principal,
            &mut self.source,
            &mut self.action,
            &mut self.resource,
            &mut self.outcome,
            &mut self.request_id,
        ] {
            if text.len() > FIELD_BYTES_MAX {
                let end = (0..=FIELD_BYTES_MAX - '…'.len_utf8()).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
                text.truncate(end);
                text.push('…');
            }
            if text.contains(char::is_control) {
                *text = text.replace(char::is_control, "\u{fffd}");
            }
        }
        self.count = self.count.max(1);
        self
    }
}

/// Who acted, in an entry's words.
pub fn principal(principal: &Principal) -> String {
    match principal {
        Principal::Anonymous => "anonymous".into(),
        Principal::Root { .. } => "root".into(),
        Principal::User(user) => user.arn.to_string(),
        Principal::Session(session) => match &session.holder {
            Holder::Root => "session of root".into(),
            Holder::User(user) => format!("session of {}", user.arn),
            Holder::Role { arn, session, .. } => format!("session {session} of {arn}"),
        },
        Principal::Role { role, .. } => format!("role {role}"),
        Principal::Service { name } => format!("service {name}"),
    }
}

/// What a request would change, as the dialect that it is for names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// `lambda:CreateFunction`.
    pub action: String,
    pub resource: String,
}

/// Put on an answer that refuses its caller for want of rights, so that a door tells it from a function's own 403.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The name of the refusal, `AccessDeniedException`.
    pub code: &'static str,
}

/// Where changes and refusals are written down.
pub trait Audit: Send + Sync {
    /// Whether a change could be written down; asked before it is made.
    fn ready(&self) -> Result<(), Fault>;
    /// On stable storage when it returns.
    fn change(&self, entry: Entry) -> Fut<'_, Result<(), Fault>>;
    /// Never waited for. Many alike become one entry with their count.
    fn denied(&self, entry: Entry);
}

/// Keeps nothing: for tests of what stands before it.
pub struct Nowhere;

impl Audit for Nowhere {
    fn ready(&self) -> Result<(), Fault> {
        Ok(())
    }
    fn change(&self, _: Entry) -> Fut<'_, Result<(), Fault>> {
        Box::pin(std::future::ready(Ok(())))
    }
    fn denied(&self, _: Entry) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters_and_holds_no_line_end() {
        let entry = Entry { resource: "ä".repeat(400), action: "a\r\nb\u{1b}[0m".into(), ..Entry::default() }.bounded();
        assert!(entry.resource.len() <= FIELD_BYTES_MAX && entry.resource.ends_with('…'));
        assert!(!entry.action.contains(char::is_control));
        assert_eq!(entry.count, 1);
    }
}
