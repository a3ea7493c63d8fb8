//! What tenants may have of the engine: calls per second, calls at a time, events that wait or are dead letters. Looked up in a map that is replaced
//! whole, as what is held is; it has no entry for a tenant whose calls are not limited by time.

use crate::Engine;
use model::{Cause, Fault, Rate, TenantId};
use std::{collections::HashMap, sync::Arc};

/// The limits of one tenant.
#[derive(Clone, Debug)]
pub struct TenantLimits {
    pub concurrency: u32,
    /// Calls and accepted events per second; nothing where these are not limited.
    pub calls: Option<Arc<Rate>>,
    /// Events that wait and dead letters.
    pub events: u64,
}

/// As calls look them up.
#[derive(Debug, Default)]
pub(crate) struct Quotas {
    calls: HashMap<TenantId, Arc<Rate>>,
    events: HashMap<TenantId, u64>,
}

impl Engine {
    /// From now on these limits hold. Calls that are under way go on.
    pub fn limit(&self, tenants: &HashMap<TenantId, TenantLimits>) {
        let calls = tenants.iter().filter_map(|(t, l)| Some((t.clone(), l.calls.clone()?))).collect();
        let events = tenants.iter().map(|(t, l)| (t.clone(), l.events)).collect();
        self.quotas.store(Quotas { calls, events }.into());
        let concurrency = tenants.iter().map(|(t, l)| (t.clone(), l.concurrency)).collect();
        let mut state = self.lock();
        state.pools.limit(&concurrency);
        self.act(state);
    }

    /// Whether a tenant's functions may be called once more in this second.
    pub(crate) fn pay(&self, tenant: &TenantId) -> Result<(), Fault> {
        let quotas = self.quotas.load();
        if quotas.calls.is_empty() {
            return Ok(());
        }
        let Some(rate) = quotas.calls.get(tenant) else { return Ok(()) };
        rate.take(self.parts.clock.mono()).map_err(|early| {
            Fault::new(Cause::Throttled, "the account's functions are called more often per second than it may")
                .detail("rate")
                .retry_after(early)
        })
    }

    /// How many events of a tenant may wait or be dead letters.
    pub(crate) fn events_max(&self, tenant: &TenantId) -> u64 {
        self.quotas.load().events.get(tenant).copied().unwrap_or(u64::MAX)
    }
}
