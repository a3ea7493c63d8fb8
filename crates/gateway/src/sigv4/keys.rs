//! Signing keys, kept: deriving one costs four HMACs and holds for a day.
//!
//! Sharded by access key, so that threads rarely meet; on one thread a free lock costs a few nanoseconds. A kept key is used
//! only while the credential's secret is the one that it was made of.

use ring::hmac;
use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher,
    sync::{Arc, Mutex},
};

const SHARDS: usize = 16;
/// Access keys per shard; when it is full it starts afresh, which costs a derivation each.
const ACCESS_KEYS_MAX: usize = 1024;
/// Dates, regions and services of one access key.
const SCOPES_MAX: usize = 8;

/// The scope of a signature, as its credential names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope<'a> {
    /// `20260102`.
    pub date: &'a str,
    pub region: &'a str,
    pub service: &'a str,
}

impl Scope<'_> {
    pub fn text(&self) -> String {
        format!("{}/{}/{}/aws4_request", self.date, self.region, self.service)
    }
}

struct Kept {
    scope: [Box<str>; 3],
    secret: Arc<str>,
    key: hmac::Key,
}

impl Kept {
    fn fits(&self, scope: Scope<'_>, secret: &Arc<str>) -> bool {
        *self.scope[2] == *scope.service
            && *self.scope[1] == *scope.region
            && *self.scope[0] == *scope.date
            && (Arc::ptr_eq(&self.secret, secret) || super::same(self.secret.as_bytes(), secret.as_bytes()))
    }
}

#[derive(Default)]
pub struct Keys {
    shards: [Mutex<HashMap<Box<str>, Vec<Kept>>>; SHARDS],
    hasher: RandomState,
}

impl Keys {
    pub fn get(&self, access_key: &str, secret: &Arc<str>, scope: Scope<'_>) -> hmac::Key {
        let shard = &self.shards[usize::try_from(self.hasher.hash_one(access_key) % SHARDS as u64).expect("below SHARDS")];
        let mut kept = shard.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(found) = kept.get(access_key).and_then(|all| all.iter().find(|k| k.fits(scope, secret))) {
            return found.key.clone();
        }
        if kept.len() >= ACCESS_KEYS_MAX {
            kept.clear();
        }
        let key = derive(secret, scope);
        let all = kept.entry(access_key.into()).or_default();
        if all.len() >= SCOPES_MAX {
            all.clear();
        }
        all.push(Kept {
            scope: [scope.date.into(), scope.region.into(), scope.service.into()],
            secret: secret.clone(),
            key: key.clone(),
        });
        key
    }
}

/// Step 3 of the General Reference.
pub fn derive(secret: &str, scope: Scope<'_>) -> hmac::Key {
    let key = |bytes: &[u8]| hmac::Key::new(hmac::HMAC_SHA256, bytes);
    let start = key(format!("AWS4{secret}").as_bytes());
    [scope.date, scope.region, scope.service, "aws4_request"]
        .iter()
        .fold(start, |k, part| key(hmac::sign(&k, part.as_bytes()).as_ref()))
}
