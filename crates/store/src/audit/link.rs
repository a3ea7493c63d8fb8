//! One link of the chain: the hash of the link before, its own, and the entry as JSON. A link's own hash is the SHA-256 over the
//! hash before and the JSON, so that whoever has the last one has them all.

use model::audit::Entry;
use serde::{Deserialize, Serialize};

pub(crate) const HASH_BYTES: usize = 32;
pub(crate) type Hash = [u8; HASH_BYTES];

/// Stands before the first entry of a log.
pub(crate) const GENESIS: Hash = [0; HASH_BYTES];

/// An entry with its place in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbered {
    /// From one, without a gap.
    pub seq: u64,
    #[serde(flatten)]
    pub entry: Entry,
}

/// One link as it stands in a segment.
#[derive(Debug)]
pub(crate) struct Link<'a> {
    pub previous: Hash,
    pub hash: Hash,
    pub json: &'a [u8],
}

pub(crate) fn hash(previous: &Hash, json: &[u8]) -> Hash {
    let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
    digest.update(previous);
    digest.update(json);
    digest.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
}

impl<'a> Link<'a> {
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (previous, rest) = bytes.split_first_chunk()?;
        let (hash, json) = rest.split_first_chunk()?;
        Some(Self { previous: *previous, hash: *hash, json })
    }
    pub fn entry(&self) -> Option<Numbered> {
        serde_json::from_slice(self.json).ok()
    }
}

/// Write a link's bytes; gives its hash.
pub(crate) fn write(out: &mut Vec<u8>, previous: &Hash, numbered: &Numbered) -> Hash {
    let json = serde_json::to_vec(numbered).expect("texts and numbers are JSON");
    let hash = hash(previous, &json);
    out.extend_from_slice(previous);
    out.extend_from_slice(&hash);
    out.extend_from_slice(&json);
    hash
}

pub(crate) fn from_hex(text: &str) -> Option<Hash> {
    let bytes = text.trim().as_bytes();
    if bytes.len() != 2 * HASH_BYTES || !bytes.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut hash = [0; HASH_BYTES];
    for (byte, pair) in hash.iter_mut().zip(bytes.chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(hash)
}
