//! Functions that the operator holds: none of their calls is begun, whoever asks. What is held is looked up in a map that is replaced
//! whole, as the catalogue is.

use crate::{Engine, key_of, pools::FunctionKey, provisioned, revisions};
use model::{Cause, Fault, Function, TenantId, Unit};
use std::{collections::HashMap, time::Duration};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Calls are refused, events wait.
    Paused,
    /// Events are refused too, and no instance of it lives.
    Quarantined,
}

pub type Holds = HashMap<FunctionKey, Hold>;

/// How long the end of an instance may take.
const EVICT_MAX: Duration = Duration::from_secs(20);
const EVICT_LOOK_EVERY: Duration = Duration::from_millis(25);

impl Engine {
    /// From now on these are held, and no others. What others had kept ready is kept ready again.
    pub fn hold(&self, holds: Holds) {
        let before = self.holds.swap(holds.into());
        let now = self.parts.clock.mono();
        for (tenant, name) in before.keys().filter(|key| !self.holds.load().contains_key(key)) {
            let Some(function) = self.catalog().function(tenant, name.as_str()) else { continue };
            let mut state = self.lock();
            for (unit, wanted) in provisioned(&function) {
                state.broken.remove(&unit.revision);
                state.pools.provision(&unit, wanted, now);
            }
            self.act(state);
        }
    }

    /// Why a call of this function is not begun, when it is held.
    pub(crate) fn free_to_run(&self, key: &FunctionKey) -> Result<(), Fault> {
        self.unheld(key, false)
    }

    /// The same for a call that has waited; nothing is cloned unless something is held.
    pub(crate) fn unheld_now(&self, function: &Function) -> Result<(), Fault> {
        if self.holds.load().is_empty() { Ok(()) } else { self.free_to_run(&key_of(function)) }
    }

    /// Why no instance of a unit is started, when its function is in quarantine.
    pub(crate) fn quarantined(&self, unit: &Unit) -> Option<Fault> {
        let holds = self.holds.load();
        if holds.is_empty() {
            return None;
        }
        let key = (unit.tenant.clone(), unit.function.clone());
        (holds.get(&key) == Some(&Hold::Quarantined)).then(|| self.free_to_run(&key).err()).flatten()
    }

    /// Why an event for this function is not accepted, when it is.
    pub(crate) fn free_to_queue(&self, key: &FunctionKey) -> Result<(), Fault> {
        self.unheld(key, true)
    }

    fn unheld(&self, key: &FunctionKey, queued: bool) -> Result<(), Fault> {
        let holds = self.holds.load();
        if holds.is_empty() {
            return Ok(());
        }
        match holds.get(key) {
            None => Ok(()),
            Some(Hold::Paused) if queued => Ok(()),
            Some(Hold::Paused) => Err(Fault::new(Cause::Throttled, format!("function {} is paused by the operator", key.1))
                .detail("paused")
                .hint(format!("it takes calls again after: myna pause {} --resume", key.1))),
            Some(Hold::Quarantined) => {
                Err(Fault::new(Cause::Conflict, format!("function {} is in quarantine: the operator stopped it", key.1))
                    .hint(format!("it takes calls again after: myna quarantine {} --release", key.1)))
            }
        }
    }

    /// End every instance of a function, also those that serve. Gives how many are left, which is none unless one can't be ended.
    pub async fn evict(&self, tenant: &TenantId, name: &str) -> usize {
        self.evict_some(tenant, Some(name)).await
    }

    /// The same of all functions of a tenant, those included that were deleted.
    pub async fn evict_all(&self, tenant: &TenantId) -> usize {
        self.evict_some(tenant, None).await
    }

    async fn evict_some(&self, tenant: &TenantId, name: Option<&str>) -> usize {
        let mut functions = self.catalog().of(tenant);
        functions.retain(|f| name.is_none_or(|n| n == f.name.as_str()));
        for function in functions {
            let now = self.parts.clock.mono();
            let mut state = self.lock();
            for revision in revisions(&function) {
                state.pools.retire(revision, now);
            }
            self.act(state);
        }
        let evict = async {
            loop {
                let (left, live) = {
                    let state = self.lock();
                    let named = |v: &crate::pools::View<'_>| name.is_none_or(|n| n == v.unit.function.as_str());
                    let own = |v: &crate::pools::View<'_>| v.unit.tenant == *tenant && named(v);
                    let ids: Vec<_> = state.pools.views().filter(own).map(|v| v.id).collect();
                    (ids.len(), ids.iter().filter_map(|id| state.live.get(id).cloned()).collect::<Vec<_>>())
                };
                if left == 0 {
                    return;
                }
                for live in live {
                    live.bury().await;
                }
                tokio::time::sleep(EVICT_LOOK_EVERY).await;
            }
        };
        let _ = tokio::time::timeout(EVICT_MAX, evict).await;
        self.observed(tenant, name).instances.len()
    }
}
