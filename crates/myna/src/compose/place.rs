//! The backend of one machine: each tier's sandboxes, on this node.

use model::{
    Cause, Fault, Fut,
    ports::{Backend, Capacity, Instance, Sandbox},
    sandbox::{Spec, Tier},
};
use std::{collections::BTreeMap, sync::Arc};

/// What this node can run, by tier. A new tier is one line in [`super::node`].
pub struct Node {
    pub tiers: BTreeMap<Tier, Arc<dyn Sandbox>>,
    pub capacity: Capacity,
}

impl Backend for Node {
    fn name(&self) -> &'static str {
        "node"
    }
    fn capacity(&self) -> Capacity {
        self.capacity
    }
    fn start(&self, tier: Tier, spec: Spec) -> Fut<'_, Result<Box<dyn Instance>, Fault>> {
        Box::pin(async move {
            let sandbox = self.tiers.get(&tier).ok_or_else(|| {
                let have: Vec<_> = self.tiers.keys().map(|t| t.name()).collect();
                Fault::new(Cause::Unsupported, format!("this build has no {} sandbox", tier.name()))
                    .hint(format!("it has: {}", have.join(", ")))
            })?;
            sandbox.create(&spec).await
        })
    }
}
