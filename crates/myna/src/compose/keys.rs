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
    parsed: RwLock<HashMap<(TenantId, Arc<str>), Parsed>>,
}

impl RolePolicies {
    pub fn new(store: Arc<Store>) -> Self {
        Self { store, parsed: RwLock::default() }
    }

    /// Rows changed.
    pub fn forget(&self, changed: &[Key]) {
        if changed.iter().any(|k| k.kind.starts_with("iam.")) {
            self.parsed.write().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }
}

impl policy::IdentityDocuments for RolePolicies {
    fn of(&self, principal: &Principal) -> Parsed {
        let Principal::Role { tenant, role, .. } = principal else { return Vec::new() };
        let name = (tenant.clone(), role.clone());
        if let Some(documents) = self.parsed.read().unwrap_or_else(PoisonError::into_inner).get(&name) {
            return documents.clone();
        }
        let texts = dialects::aws::role_documents(&**self.store.resources(), tenant, role);
        // What doesn't parse was never accepted; should it be there all the same, it allows nothing.
        let documents: Parsed = texts.iter().filter_map(|t| policy::Document::parse(t).ok()).map(Arc::new).collect();
        self.parsed.write().unwrap_or_else(PoisonError::into_inner).insert(name, documents.clone());
        documents
    }
}
