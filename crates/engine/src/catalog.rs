//! What can be invoked, read without a lock: the whole catalogue is replaced on every change.

use arc_swap::ArcSwap;
use model::{Cause, Fault, Function, ModelOp, TenantId, Unit, catalog::Alias};
use std::{collections::HashMap, sync::Arc};

#[derive(Default, Clone)]
pub struct Shelf {
    functions: HashMap<TenantId, HashMap<Arc<str>, Arc<Function>>>,
    urls: HashMap<Arc<str>, (Arc<Function>, usize)>,
}

/// What a function was and what it is now.
pub type Change = (Option<Arc<Function>>, Option<Arc<Function>>);

#[derive(Default)]
pub struct Catalog(ArcSwap<Shelf>);

impl Catalog {
    pub fn function(&self, tenant: &TenantId, name: &str) -> Option<Arc<Function>> {
        self.0.load().functions.get(tenant)?.get(name).cloned()
    }
    pub fn url(&self, id: &str) -> Option<(Arc<Function>, usize)> {
        self.0.load().urls.get(id).cloned()
    }
    /// Every function of a tenant, in no order.
    pub fn of(&self, tenant: &TenantId) -> Vec<Arc<Function>> {
        self.0.load().functions.get(tenant).map(|own| own.values().cloned().collect()).unwrap_or_default()
    }
    pub fn all(&self) -> Vec<Arc<Function>> {
        self.0.load().functions.values().flat_map(|t| t.values().cloned()).collect()
    }

    /// Apply operations in order; returns what each replaced and what it is now.
    pub fn apply(&self, ops: Vec<ModelOp>) -> Vec<Change> {
        let mut shelf = Shelf::clone(&self.0.load());
        let mut changes = Vec::with_capacity(ops.len());
        for op in ops {
            let (tenant, name, now) = match op {
                ModelOp::Put(f) => (f.tenant.clone(), f.name.0.clone(), Some(f)),
                ModelOp::Drop { tenant, name } => (tenant, name.0, None),
            };
            let functions = shelf.functions.entry(tenant).or_default();
            let before = match &now {
                Some(f) => functions.insert(name, f.clone()),
                None => functions.remove(&name),
            };
            for url in before.iter().flat_map(|f| &f.urls) {
                shelf.urls.remove(&url.id);
            }
            for (i, url) in now.iter().flat_map(|f| f.urls.iter().enumerate()) {
                shelf.urls.insert(url.id.clone(), (now.clone().expect("iterated from it"), i));
            }
            changes.push((before, now));
        }
        self.0.store(Arc::new(shelf));
        changes
    }
}

/// The unit that a qualifier means. `chance` is a number in 0–1 that decides a split alias.
pub fn resolve(function: &Function, qualifier: Option<&str>, chance: impl FnOnce() -> f64) -> Result<Arc<Unit>, Fault> {
    let missing = |q: &str| Fault::not_found(format!("function {} has no version or alias {q:?}", function.name)).detail(q);
    let qualifier = qualifier.unwrap_or(LATEST);
    let version = match function.aliases.get(qualifier) {
        Some(Alias { split: Some((other, share)), .. }) if chance() < *share => other,
        Some(alias) => &alias.version,
        None => return function.versions.get(qualifier).cloned().ok_or_else(|| missing(qualifier)),
    };
    function.versions.get(version).cloned().ok_or_else(|| missing(version))
}

/// The version that changes.
pub const LATEST: &str = "$LATEST";

/// A function that isn't there, said the same way everywhere.
pub fn absent(name: &str) -> Fault {
    Fault::new(Cause::NotFound, format!("no function named {name:?}"))
}
