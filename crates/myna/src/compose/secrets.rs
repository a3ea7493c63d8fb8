//! The values of secrets, put into the units that name them. A unit with other values is another revision: what ran with the old
//! ones serves out its calls and goes, as after any change, and no instance has values of two moments.

use crate::admin::secrets::{Row, SECRET};
use engine::Engine;
use model::{
    Function, Key, ModelOp, RevisionId, Unit, limits::SECRETS_PER_FUNCTION_BYTES_MAX, ports::Resources, secret::SecretState,
};
use std::{collections::HashSet, sync::Arc};
use store::Store;

/// What changed, with the values as they are stored now.
pub fn ops(store: &Store, ops: Vec<ModelOp>) -> Vec<ModelOp> {
    let filled = |op| match op {
        ModelOp::Put(function) => ModelOp::Put(filled(store, function)),
        gone @ ModelOp::Drop { .. } => gone,
    };
    ops.into_iter().map(filled).collect()
}

/// Secrets changed: whoever names one of them is another revision now.
pub fn follow(store: &Store, engine: &Engine, changed: &[Key]) {
    let changed: HashSet<_> = changed.iter().filter(|key| key.kind == SECRET).map(|key| (&key.tenant, &key.name)).collect();
    if changed.is_empty() {
        return;
    }
    let concerned =
        |f: &Arc<Function>| f.versions.values().flat_map(|u| &u.secrets).any(|s| changed.contains(&(&f.tenant, &s.secret)));
    let functions = engine.catalog().all().into_iter().filter(concerned);
    engine.apply(functions.map(|f| ModelOp::Put(filled(store, f))).collect());
}

fn filled(store: &Store, function: Arc<Function>) -> Arc<Function> {
    if function.versions.values().all(|unit| unit.secrets.is_empty()) {
        return function;
    }
    let mut function = Arc::unwrap_or_clone(function);
    for unit in function.versions.values_mut().filter(|unit| !unit.secrets.is_empty()) {
        *unit = Arc::new(with_values(store, unit));
    }
    Arc::new(function)
}

fn with_values(store: &Store, unit: &Unit) -> Unit {
    let mut unit = unit.clone();
    let mut revision = ring::digest::Context::new(&ring::digest::SHA256);
    revision.update(unit.made.0.as_bytes());
    let mut bytes = 0;
    for used in &mut unit.secrets {
        let row = Resources::get(&**store.resources(), &Key::new(&unit.tenant, SECRET, &used.secret));
        // A row's number is never used again, not even by a secret that was deleted and made anew.
        revision.update(&row.as_ref().map_or(0, |row| row.revision).to_le_bytes());
        let value = match row.as_ref().map(Row::read) {
            None => Err(SecretState::Missing),
            Some(Err(error)) => {
                tracing::error!("the secret {} of {} can't be read: {error}", used.secret, unit.tenant);
                Err(SecretState::Damaged)
            }
            Some(Ok((row, value))) => {
                bytes += value.len();
                if bytes > SECRETS_PER_FUNCTION_BYTES_MAX { Err(SecretState::TooLarge) } else { Ok((row.version, value)) }
            }
        };
        let (state, text) = match value {
            Ok((version, value)) => (SecretState::Version(version), value),
            Err(state) => (state, String::new()),
        };
        used.state = state;
        if let Some(variable) = unit.env.iter_mut().find(|v| v.0 == used.variable) {
            variable.1 = text;
        }
    }
    let digest = revision.finish();
    let half: [u8; 16] = digest.as_ref()[..16].try_into().expect("a SHA-256 has 32 bytes");
    unit.revision = RevisionId(uuid::Uuid::from_bytes(half));
    unit
}
