//! All committed rows in memory, in order.

use super::writer::Observer;
use model::{Key, Resource, TenantId};
use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    sync::{Arc, RwLock, RwLockReadGuard},
};

pub(crate) struct Mirror {
    rows: RwLock<Rows>,
    observers: RwLock<Vec<Observer>>,
}

#[derive(Default)]
struct Rows {
    by_key: BTreeMap<Key, Resource>,
    per_tenant: HashMap<TenantId, usize>,
}

/// Rows as they will be after a commit that is being prepared; `None` is a deleted one.
pub(crate) type Changes = BTreeMap<Key, Option<Resource>>;

impl Mirror {
    pub(crate) fn new(rows: Vec<Resource>) -> Mirror {
        let mut state = Rows::default();
        for row in rows {
            *state.per_tenant.entry(row.key.tenant.clone()).or_default() += 1;
            state.by_key.insert(row.key.clone(), row);
        }
        Mirror { rows: RwLock::new(state), observers: RwLock::default() }
    }

    fn read(&self) -> RwLockReadGuard<'_, Rows> {
        self.rows.read().expect("no holder of this lock panics")
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Resource> {
        self.read().by_key.get(key).cloned()
    }

    pub(crate) fn list(&self, tenant: &TenantId, kind: &'static str, prefix: &str, after: &str, limit: usize) -> Vec<Resource> {
        // Whichever lies further on is where to begin; `after` itself is left out, `prefix` itself is not.
        let from = Key { tenant: tenant.clone(), kind, name: Arc::from(prefix.max(after)) };
        let from = if after >= prefix && !after.is_empty() { Bound::Excluded(from) } else { Bound::Included(from) };
        let rows = self.read();
        let ours = |key: &Key| key.tenant == *tenant && key.kind == kind && key.name.starts_with(prefix);
        rows.by_key
            .range((from, Bound::Unbounded))
            .take_while(|(key, _)| ours(key))
            .take(limit)
            .map(|(_, row)| row.clone())
            .collect()
    }

    pub(crate) fn all(&self, kind: &str) -> Vec<Resource> {
        self.read().by_key.values().filter(|row| row.key.kind == kind).cloned().collect()
    }

    /// Every row, as they all are at one moment.
    pub(crate) fn each(&self, look: impl FnMut(&Resource)) {
        self.read().by_key.values().for_each(look);
    }

    pub(crate) fn keys(&self) -> Vec<Key> {
        self.read().by_key.keys().cloned().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.read().by_key.len()
    }

    pub(crate) fn tenant_rows(&self, tenant: &TenantId) -> usize {
        self.read().per_tenant.get(tenant).copied().unwrap_or(0)
    }

    pub(crate) fn apply(&self, changes: Changes) {
        let mut guard = self.rows.write().expect("no holder of this lock panics");
        let rows = &mut *guard;
        for (key, row) in changes {
            let tenant = key.tenant.clone();
            let (before, now) = match row {
                Some(row) => (rows.by_key.insert(key, row).is_some(), true),
                None => (rows.by_key.remove(&key).is_some(), false),
            };
            let count = rows.per_tenant.entry(tenant).or_default();
            *count = *count + usize::from(now) - usize::from(before);
        }
    }

    pub(crate) fn observe(&self, observer: Observer) {
        self.observers.write().expect("no holder of this lock panics").push(observer);
    }

    /// An observer that panics is a defect of the observer's; the rows stay committed and the next observer is still told.
    pub(crate) fn announce(&self, keys: &[Key]) {
        let observers = match self.observers.read() {
            Ok(observers) => observers,
            Err(poisoned) => poisoned.into_inner(),
        };
        for observer in observers.iter() {
            if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| observer(keys))).is_err() {
                tracing::error!(rows = keys.len(), "an observer of committed rows panicked");
            }
        }
    }
}
