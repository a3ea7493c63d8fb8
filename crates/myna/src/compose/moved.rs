//! Packages of a directory that was moved, or restored elsewhere: what the rows say of their place is replaced by where they are.

use model::{ModelOp, Unit};
use std::sync::Arc;
use store::Store;

pub fn ops(store: &Store, ops: Vec<ModelOp>) -> Vec<ModelOp> {
    ops.into_iter().map(|op| op_here(store, op)).collect()
}

fn op_here(store: &Store, op: ModelOp) -> ModelOp {
    let ModelOp::Put(function) = op else { return op };
    let moved: Vec<_> = function.versions.iter().filter_map(|(v, unit)| Some((v.clone(), elsewhere(store, unit)?))).collect();
    if moved.is_empty() {
        return ModelOp::Put(function);
    }
    let mut function = Arc::unwrap_or_clone(function);
    function.versions.extend(moved);
    ModelOp::Put(Arc::new(function))
}

/// The unit with its packages where they are, when its own words say otherwise.
pub fn elsewhere(store: &Store, unit: &Arc<Unit>) -> Option<Arc<Unit>> {
    let at = |package: &model::Package| store.packages().moved(&unit.tenant, package);
    let (package, layers) = (at(&unit.package), unit.layers.iter().map(at).collect::<Vec<_>>());
    if package.is_none() && layers.iter().all(Option::is_none) {
        return None;
    }
    let mut unit = Unit::clone(unit);
    if let Some(package) = package {
        unit.package = package;
    }
    for (layer, moved) in unit.layers.iter_mut().zip(layers) {
        if let Some(moved) = moved {
            *layer = moved;
        }
    }
    Some(Arc::new(unit))
}
