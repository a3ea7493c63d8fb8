//! Whose turn it is to get an instance when not all can: tenants take turns, and the pools of a tenant take turns within it.

use model::{RevisionId, TenantId};
use std::collections::VecDeque;

#[derive(Default)]
pub struct Turns {
    ring: VecDeque<(TenantId, VecDeque<RevisionId>)>,
}

impl Turns {
    /// Ask for a turn; asking twice changes nothing. `false`: it had asked.
    pub fn join(&mut self, tenant: &TenantId, pool: RevisionId) -> bool {
        match self.ring.iter_mut().find(|t| t.0 == *tenant) {
            Some((_, pools)) if pools.contains(&pool) => return false,
            Some((_, pools)) => pools.push_back(pool),
            None => self.ring.push_back((tenant.clone(), VecDeque::from([pool]))),
        }
        true
    }

    pub fn remove(&mut self, tenant: &TenantId, pool: RevisionId) {
        if let Some((_, pools)) = self.ring.iter_mut().find(|t| t.0 == *tenant) {
            pools.retain(|p| *p != pool);
        }
        self.ring.retain(|t| !t.1.is_empty());
    }

    /// Whose turn it is. The tenant goes to the back of the ring, the pool leaves it: it joins again if it wants more.
    pub fn next(&mut self) -> Option<RevisionId> {
        let (tenant, mut pools) = self.ring.pop_front()?;
        let pool = pools.pop_front();
        if !pools.is_empty() {
            self.ring.push_back((tenant, pools));
        }
        pool
    }

    /// Put back who could not use its turn, at the front.
    pub fn unget(&mut self, tenant: &TenantId, pool: RevisionId) {
        match self.ring.iter().position(|t| t.0 == *tenant) {
            Some(at) => {
                let (tenant, mut pools) = self.ring.remove(at).expect("position found it");
                pools.push_front(pool);
                self.ring.push_front((tenant, pools));
            }
            None => self.ring.push_front((tenant.clone(), VecDeque::from([pool]))),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }
    /// Whose turn comes next, this one left out.
    pub fn first_but(&self, pool: RevisionId) -> Option<RevisionId> {
        self.ring.iter().find_map(|t| t.1.iter().copied().find(|p| *p != pool))
    }
}
