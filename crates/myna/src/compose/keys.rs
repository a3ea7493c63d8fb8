//! The key that comes with a platform, made at the first start; those of other tenants' administrators, and those that are given
//! out; and the policies of who holds them.

use super::tenants::{ROOT_KEY, RootKeyRow};
use arc_swap::ArcSwap;
use model::{Credential, Holder, Key, Principal, TenantId, ports::Identities};
use policy::Brought;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use std::{collections::HashMap, sync::Arc};
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

/// Credentials by the id of their access key.
type Index = ArcSwap<HashMap<Arc<str>, Credential>>;

/// Who an access key stands for: the administrator's own, users', and those of sessions. Read without a lock; what changes is
/// replaced whole when rows are committed.
pub struct Keys {
    root: Credential,
    store: Arc<Store>,
    /// By kind of row, so that a new session doesn't copy everybody's keys.
    index: [(&'static str, Index); 3],
}

impl Keys {
    pub fn new(key: &AccessKey, tenant: &TenantId, store: Arc<Store>) -> Self {
        let root = Credential {
            access_key_id: key.access_key_id.as_str().into(),
            secret: key.secret_access_key.as_str().into(),
            session_token: None,
            principal: Principal::Root { tenant: tenant.clone() },
        };
        let [a, b] = dialects::aws::CREDENTIALS;
        let keys = Self { root, store, index: [ROOT_KEY, a, b].map(|kind| (kind, ArcSwap::default())) };
        keys.follow(&keys.store.resources().keys());
        keys
    }

    /// Rows changed.
    pub fn follow(&self, changed: &[Key]) {
        let rows = &**self.store.resources();
        // With a user or a role goes what its keys and sessions stood for.
        let holders = [dialects::aws::USER, dialects::aws::ROLE];
        let gone = changed.iter().any(|k| holders.contains(&k.kind) && model::ports::Rows::get(rows, k).is_none());
        for (kind, index) in &self.index {
            let known: Vec<Key> = if gone { self.store.resources().keys() } else { Vec::new() };
            let touched = changed.iter().chain(&known).filter(|k| k.kind == *kind);
            let touched: Vec<_> = touched.map(|key| (key, credential(rows, key))).collect();
            if touched.is_empty() {
                continue;
            }
            index.rcu(|map| {
                let mut map = HashMap::clone(map);
                for (key, credential) in &touched {
                    match credential {
                        Some(credential) => map.insert(key.name.clone(), credential.clone()),
                        None => map.remove(&key.name),
                    };
                }
                map
            });
        }
    }
}

/// What the row of a key stands for.
fn credential(rows: &dyn model::ports::Rows, key: &Key) -> Option<Credential> {
    if key.kind != ROOT_KEY {
        return dialects::aws::credential(rows, key);
    }
    let row: RootKeyRow = serde_json::from_slice(&rows.get(key)?.body).ok()?;
    Some(Credential {
        access_key_id: key.name.clone(),
        secret: row.secret.into(),
        session_token: None,
        principal: Principal::Root { tenant: key.tenant.clone() },
    })
}

impl Identities for Keys {
    fn credential(&self, access_key_id: &str) -> Option<Credential> {
        if *access_key_id == *self.root.access_key_id {
            return Some(self.root.clone());
        }
        self.index.iter().find_map(|(_, map)| map.load().get(access_key_id).cloned())
    }
}

/// Callers whose policies are kept parsed.
const KEPT_MAX: usize = 8192;

/// The policies of users and roles, parsed once and forgotten whenever one of them changes. Read without a lock.
pub struct IdentityPolicies {
    store: Arc<Store>,
    kept: ArcSwap<Kept>,
    nothing: Arc<Brought>,
}

#[derive(Clone, Default)]
struct Kept {
    /// How often policies have changed: what was read before a change must not be kept after it, since rows are committed on
    /// another thread.
    changes: u64,
    /// By ARN.
    by_arn: HashMap<TenantId, HashMap<Arc<str>, Arc<Brought>>>,
    count: usize,
}

impl Kept {
    fn forget(&mut self) {
        *self = Self { changes: self.changes + 1, ..Self::default() };
    }

    fn keep(&mut self, read_at: u64, (tenant, arn): (TenantId, Arc<str>), brought: &Arc<Brought>) {
        if read_at != self.changes {
            return;
        }
        if self.count >= KEPT_MAX {
            self.by_arn.clear();
            self.count = 0;
        }
        self.count += usize::from(self.by_arn.entry(tenant).or_default().insert(arn, brought.clone()).is_none());
    }
}

impl IdentityPolicies {
    pub fn new(store: Arc<Store>) -> Self {
        Self { store, kept: ArcSwap::default(), nothing: Arc::default() }
    }

    /// Rows changed.
    pub fn forget(&self, changed: &[Key]) {
        if changed.iter().any(|k| k.kind.starts_with("iam.")) {
            self.kept.rcu(|kept| {
                let mut kept = Kept::clone(kept);
                kept.forget();
                kept
            });
        }
    }

    fn read(&self, tenant: &TenantId, arn: &str) -> Brought {
        let held = dialects::aws::held(&**self.store.resources(), tenant, arn);
        let parse = |text: &String| policy::Document::parse(text).ok().map(Arc::new);
        Brought {
            // What doesn't parse was never accepted; should it be there all the same, it allows nothing.
            documents: held.documents.iter().filter_map(parse).collect(),
            boundary: held.boundary.map(|text| text.as_ref().and_then(parse)),
            tags: held.tags.into_iter().map(|(k, v)| (k.into(), v.into())).collect(),
            id: held.id.map(Into::into),
        }
    }
}

impl policy::IdentityDocuments for IdentityPolicies {
    fn of(&self, principal: &Principal) -> Arc<Brought> {
        let (tenant, arn) = match principal {
            Principal::Role { tenant, role, .. } => (tenant, role),
            Principal::User(user) => (&user.tenant, &user.arn),
            Principal::Session(session) => match &session.holder {
                Holder::Role { arn, .. } => (&session.tenant, arn),
                Holder::User(user) => (&session.tenant, &user.arn),
                Holder::Root => return self.nothing.clone(),
            },
            Principal::Root { .. } | Principal::Anonymous | Principal::Service { .. } => return self.nothing.clone(),
        };
        let read_at = {
            let kept = self.kept.load();
            if let Some(brought) = kept.by_arn.get(tenant).and_then(|of| of.get(arn)) {
                return brought.clone();
            }
            kept.changes
        };
        let brought = Arc::new(self.read(tenant, arn));
        self.kept.rcu(|kept| {
            let mut kept = Kept::clone(kept);
            kept.keep(read_at, (tenant.clone(), arn.clone()), &brought);
            kept
        });
        brought
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
        kept.keep(read_at, role(), &Arc::default());
        assert!(kept.by_arn.is_empty());
        kept.keep(kept.changes, role(), &Arc::default());
        assert_eq!(kept.by_arn.len(), 1);
    }
}
