//! Who may run now, who waits, and who is sent away: calls are counted from here until they are over.

use super::{Admission, FunctionKey, Phase, Pools, Refusal, Ticket};
use model::{InstanceId, Mono, RevisionId, Unit, catalog::Concurrency};
use std::sync::Arc;

impl<W> Pools<W> {
    /// Admit one call, and give it a slot or a place in the line.
    pub fn admit(
        &mut self,
        key: &FunctionKey,
        unit: &Arc<Unit>,
        now: Mono,
        waiter: impl FnOnce(Ticket) -> W,
    ) -> Result<Admission, Refusal> {
        self.count_in(key, unit, now)?;
        let pool = self.pool(unit);
        if let Some(id) = pool.free.last().copied() {
            self.take(id, now);
            return Ok(Admission::Slot(id));
        }
        let ticket = self.ticket();
        let pool = self.pool(unit);
        if pool.user != *key {
            pool.user = key.clone();
        }
        pool.waiting.push_back((ticket, key.clone(), waiter(ticket), now));
        let revision = unit.revision;
        self.scale(revision, now);
        Ok(Admission::Waiting(ticket))
    }

    pub(super) fn count_in(&mut self, key: &FunctionKey, unit: &Arc<Unit>, now: Mono) -> Result<(), Refusal> {
        let need = self.need(unit);
        if need > self.config.memory_bytes {
            return Err(Refusal::TooLarge);
        }
        let line = self.pools.get(&unit.revision).map_or(0, |p| p.waiting.len());
        if !self.functions.contains_key(key) {
            self.configure(key, &Concurrency::default());
        }
        let tenant = self.tenants.get_mut(&key.0).expect("configure made it");
        let function = self.functions.get_mut(key).expect("configure made it");
        function.arrivals.note(now);
        match function.reserved {
            Some(limit) if function.admitted >= limit => return Err(Refusal::Function),
            None if tenant.unreserved
                >= tenant.concurrency.unwrap_or(self.config.tenant_concurrency).saturating_sub(tenant.reserved) =>
            {
                return Err(Refusal::Tenant);
            }
            _ if line >= model::limits::WAITING_PER_FUNCTION_MAX => return Err(Refusal::Line),
            Some(_) => {}
            None => tenant.unreserved += 1,
        }
        function.admitted += 1;
        Ok(())
    }

    pub(super) fn count_out(&mut self, key: &FunctionKey) {
        if let Some(function) = self.functions.get_mut(key) {
            function.admitted = function.admitted.saturating_sub(1);
            if function.reserved.is_none()
                && let Some(tenant) = self.tenants.get_mut(&key.0)
            {
                tenant.unreserved = tenant.unreserved.saturating_sub(1);
            }
        }
        self.drop_forgotten(key);
    }

    /// A call could not be handed to the instance that it was granted, which must take no other. The call stays admitted and is
    /// the next to get a slot; nobody comes between.
    pub fn again(
        &mut self,
        id: InstanceId,
        key: &FunctionKey,
        unit: &Arc<Unit>,
        now: Mono,
        waiter: impl FnOnce(Ticket) -> W,
    ) -> Admission {
        if let Some((_, Phase::Ready)) = self.vacate(id, now) {
            self.drain(id);
        }
        if let Some(id) = self.pool(unit).free.last().copied() {
            self.take(id, now);
            return Admission::Slot(id);
        }
        let ticket = self.ticket();
        self.pool(unit).waiting.push_front((ticket, key.clone(), waiter(ticket), now));
        self.scale(unit.revision, now);
        Admission::Waiting(ticket)
    }

    pub(super) fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    /// A caller that waited has gone. `false`: it was granted a slot already, which it must give back.
    pub fn abandon(&mut self, revision: RevisionId, ticket: Ticket, now: Mono) -> bool {
        let Some(pool) = self.pools.get_mut(&revision) else { return false };
        let Some(at) = pool.waiting.iter().position(|w| w.0 == ticket) else { return false };
        if let Some((_, key, ..)) = pool.waiting.remove(at) {
            self.count_out(&key);
        }
        self.sweep(revision);
        // It may have been the one whose turn held up everybody behind it.
        self.feed(now);
        true
    }
}
