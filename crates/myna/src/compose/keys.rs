//! The key that comes with a platform, made at the first start, and what a role may do.

use model::{Credential, Key, Principal, TenantId, ports::Identities};
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};
use store::Store;

/// As it stands in the state directory, mode 0600.
#[derive(Clone, Serialize, Deserialize)]
pub struct AccessKey {
    pub access_key_id: String,
    pub secret_access_key: String,
}

/// A new key of the form that AWS's clients expect: twenty characters and forty.
pub fn generate() -> Vec<u8> {
    let key = AccessKey {
        access_key_id: format!("AKIA{}", text(16, b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")),
        secret_access_key: text(40, b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"),
    };
    serde_json::to_vec(&key).expect("two strings are JSON")
}

fn text(len: usize, alphabet: &[u8]) -> String {
    let mut bytes = vec![0; len];
    SystemRandom::new().fill(&mut bytes).expect("the kernel gives random bytes once it has booted");
    // Both alphabets have a power of two signs, so the remainder favours none.
    bytes.iter().map(|b| char::from(alphabet[usize::from(*b) % alphabet.len()])).collect()
}

/// The one key there is so far: the administrator's.
pub struct Keys(pub Credential);

impl Keys {
    pub fn new(key: &AccessKey, tenant: &TenantId) -> Self {
        Self(Credential {
            access_key_id: key.access_key_id.as_str().into(),
            secret: key.secret_access_key.as_str().into(),
            session_token: None,
            principal: Principal::Root { tenant: tenant.clone() },
        })
    }
}

impl Identities for Keys {
    fn credential(&self, access_key_id: &str) -> Option<Credential> {
        (*access_key_id == *self.0.access_key_id).then(|| self.0.clone())
    }
}

type Parsed = Vec<Arc<policy::Document>>;

/// The policies of roles, parsed once and forgotten whenever a role changes.
pub struct RolePolicies {
    store: Arc<Store>,
    parsed: RwLock<Kept>,
}

#[derive(Default)]
struct Kept {
    /// How often roles have changed: what was read before a change must not be kept after it, since rows are committed on
    /// another thread.
    changes: u64,
    by_role: HashMap<(TenantId, Arc<str>), Parsed>,
}

impl Kept {
    fn forget(&mut self) {
        self.changes += 1;
        self.by_role.clear();
    }

    fn keep(&mut self, read_at: u64, role: (TenantId, Arc<str>), documents: &Parsed) {
        if read_at == self.changes {
            self.by_role.insert(role, documents.clone());
        }
    }
}

impl RolePolicies {
    pub fn new(store: Arc<Store>) -> Self {
        Self { store, parsed: RwLock::default() }
    }

    /// Rows changed.
    pub fn forget(&self, changed: &[Key]) {
        if changed.iter().any(|k| k.kind.starts_with("iam.")) {
            self.parsed.write().unwrap_or_else(PoisonError::into_inner).forget();
        }
    }
}

impl policy::IdentityDocuments for RolePolicies {
    fn of(&self, principal: &Principal) -> Parsed {
        let Principal::Role { tenant, role, .. } = principal else { return Vec::new() };
        let name = (tenant.clone(), role.clone());
        let changes = {
            let kept = self.parsed.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(documents) = kept.by_role.get(&name) {
                return documents.clone();
            }
            kept.changes
        };
        let texts = dialects::aws::role_documents(&**self.store.resources(), tenant, role);
        // What doesn't parse was never accepted; should it be there all the same, it allows nothing.
        let documents: Parsed = texts.iter().filter_map(|t| policy::Document::parse(t).ok()).map(Arc::new).collect();
        self.parsed.write().unwrap_or_else(PoisonError::into_inner).keep(changes, name, &documents);
        documents
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A policy that is taken away between the reading of it and the keeping would otherwise allow for ever.
    #[test]
    fn what_was_read_before_a_change_is_not_kept_after_it() {
        let role = || (TenantId::new("000000000000"), Arc::<str>::from("r"));
        let mut kept = Kept::default();
        let read_at = kept.changes;
        kept.forget();
        kept.keep(read_at, role(), &Vec::new());
        assert!(kept.by_role.is_empty());
        kept.keep(kept.changes, role(), &Vec::new());
        assert_eq!(kept.by_role.len(), 1);
    }
}
