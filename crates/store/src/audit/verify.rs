//! Reads the whole log and follows its chain: an entry that was changed, removed, moved or cut off is named.

use super::{
    link::{self, Hash, Link},
    marks::Mark,
};
use crate::{
    hex,
    segments::{Found, PREAMBLE_BYTES, scan},
};
use serde::{Deserialize, Serialize};

/// Findings in one answer; where there are more, the first ones say enough.
pub(crate) const FINDINGS_MAX: usize = 100;

/// What a check of the whole log found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Verified {
    pub entries: u64,
    /// Numbers of the first and the last entry that were read; zero where there is none.
    pub first: u64,
    pub last: u64,
    /// The hash of the last entry, in hexadecimal: to be kept elsewhere, for `--head`.
    pub head: String,
    /// Empty when the chain is whole.
    pub findings: Vec<Finding>,
    /// For a check with a known hash: the entry that has it.
    pub found_head: Option<u64>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Finding {
    /// The entry that it is about.
    pub seq: u64,
    pub what: String,
}

pub(super) struct Walk {
    expected: u64,
    /// The hash of the entry before; unknown where that is missing.
    previous: Option<Hash>,
    damage: Option<String>,
    wanted: Option<Hash>,
    out: Verified,
}

impl Walk {
    pub(super) fn from(anchor: Mark, wanted: Option<Hash>) -> Self {
        let mut walk = Self { expected: anchor.seq, previous: Some(anchor.hash), damage: None, wanted, out: Verified::default() };
        walk.out.head = hex(&anchor.hash);
        walk.compare(anchor.seq.saturating_sub(1), &anchor.hash);
        walk
    }

    pub(super) fn segment(&mut self, number: u32, bytes: &[u8]) {
        for found in scan(bytes) {
            match found {
                Found::Record { bytes, offset } => self.record(number, offset, bytes),
                Found::Damage { offset, length } => {
                    self.damage = Some(format!("{length} bytes at {offset} of segment {number} are not what was written"));
                }
                // Killed while it was made: entries that it should have are missed by their numbers.
                Found::Torn { .. } if bytes.len() < PREAMBLE_BYTES => {}
                Found::Torn { offset } => {
                    self.damage = Some(format!("segment {number} holds nothing that can be read from {offset} on"));
                }
            }
        }
    }

    fn record(&mut self, number: u32, offset: u32, bytes: &[u8]) {
        let parsed = Link::parse(bytes).and_then(|link| Some((link.entry()?, link)));
        let Some((entry, link)) = parsed else {
            self.damage = Some(format!("what stands at {offset} of segment {number} is no entry"));
            return;
        };
        let seq = entry.seq;
        self.out.entries += 1;
        if seq < self.expected {
            let text = format!("entry {seq} stands behind entry {}: it was moved or repeated", self.expected.saturating_sub(1));
            self.find(seq, text);
            return;
        }
        self.gap(seq);
        if link::hash(&link.previous, link.json) != link.hash {
            self.find(seq, format!("entry {seq} was changed: it doesn't carry the hash of what it says"));
        } else if self.previous.is_some_and(|previous| previous != link.previous) {
            let before = seq.saturating_sub(1);
            self.find(before, format!("entry {before} was changed: entry {seq} carries another hash of it"));
        }
        if self.out.first == 0 {
            self.out.first = seq;
        }
        (self.expected, self.previous) = (seq + 1, Some(link.hash));
        (self.out.last, self.out.head) = (seq, hex(&link.hash));
        self.compare(seq, &link.hash);
    }

    /// Entries that should stand before this one.
    fn gap(&mut self, seq: u64) {
        let damage = self.damage.take();
        if seq > self.expected {
            let text = span(self.expected, seq - 1, "missing", damage.as_deref());
            self.find(self.expected, text);
            self.previous = None;
        } else if let Some(damage) = damage {
            self.find(seq, format!("before entry {seq}: {damage}"));
        }
    }

    fn compare(&mut self, seq: u64, hash: &Hash) {
        if self.wanted.as_ref() == Some(hash) {
            self.out.found_head = Some(seq);
        }
    }

    fn find(&mut self, seq: u64, what: String) {
        if self.out.findings.len() < FINDINGS_MAX {
            self.out.findings.push(Finding { seq, what });
        }
    }

    /// `head` is the last entry that was on stable storage.
    pub(super) fn end(mut self, head: Mark) -> Verified {
        let damage = self.damage.take();
        if head.seq >= self.expected {
            let text = span(self.expected, head.seq, "cut off at the end", damage.as_deref());
            self.find(self.expected, text);
        } else if let Some(damage) = damage {
            self.find(self.expected, format!("behind entry {}: {damage}", self.expected.saturating_sub(1)));
        } else if head.seq + 1 == self.expected && self.previous.is_some_and(|p| p != head.hash) {
            self.find(head.seq, format!("entry {} was changed: the log's head carries another hash of it", head.seq));
        }
        if let Some(wanted) = self.wanted
            && self.out.found_head.is_none()
        {
            let text = format!("no entry has the hash {}: entries were changed or removed since it was noted", hex(&wanted));
            self.find(0, text);
        }
        self.out
    }
}

fn span(from: u64, to: u64, how: &str, damage: Option<&str>) -> String {
    let which = if from == to { format!("entry {from} is {how}") } else { format!("entries {from} to {to} are {how}") };
    damage.map_or_else(|| which.clone(), |damage| format!("{which}: {damage}"))
}
