//! Which functions the operator holds, out of the rows that say so.

use crate::admin::hold;
use engine::{Engine, Hold, Holds};
use store::Store;

/// Tell the engine what the rows say now.
pub fn apply(store: &Store, engine: &Engine) {
    let mut holds = Holds::new();
    for row in store.resources().all(hold::KIND) {
        let held = match serde_json::from_slice::<hold::Row>(&row.body) {
            Ok(row) if row.state == hold::State::Paused => Hold::Paused,
            Ok(_) => Hold::Quarantined,
            Err(error) => {
                tracing::error!("the row that holds function {} is damaged, so it stays in quarantine: {error}", row.key.name);
                Hold::Quarantined
            }
        };
        holds.insert((row.key.tenant, model::FunctionName::new(&*row.key.name)), held);
    }
    engine.hold(holds);
}
