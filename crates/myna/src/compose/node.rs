//! The platform as a dialect sees it, on one machine: the engine and the store behind one port.

use super::{clock::Machine, config::Config, tenants::Tenants, upstream::Upstreams};
use engine::{Engine, events::Events};
use model::{
    Call, Clock, Event, Fault, Function, Fut, InvocationId, Target, TenantId, Unit,
    event::Trigger,
    ports::{Logs, Observed, Packages, Platform, PlatformSettings, Policy, Queue, Records, Resources, Response},
    queue::Accept,
};
use std::sync::Arc;
use store::Store;

pub struct Node {
    pub engine: Arc<Engine>,
    pub events: Arc<Events>,
    pub store: Arc<Store>,
    pub policy: Arc<dyn Policy>,
    pub upstreams: Upstreams,
    pub settings: PlatformSettings,
    pub tenants: Arc<Tenants>,
}

/// What a dialect may know of the operator's choices.
pub fn settings(config: &Config, aws_authority: &str, secure: bool) -> PlatformSettings {
    PlatformSettings {
        region: config.region.as_str().into(),
        default_tenant: TenantId::new(&config.account),
        aws_authority: aws_authority.into(),
        aws_scheme: if secure { "https" } else { "http" },
        tier: model::sandbox::Tier::Process,
        event_retry_base: config.event_retry_base,
    }
}

impl Platform for Node {
    fn invoke(&self, target: Target, event: Event) -> Fut<'_, Result<Call, Fault>> {
        Box::pin(self.engine.invoke(target, event))
    }
    fn enqueue(&self, target: Target, event: Accept) -> Fut<'_, Result<InvocationId, Fault>> {
        Box::pin(self.events.accept(target, event))
    }
    fn events(&self) -> &dyn Queue {
        &**self.store.queue()
    }
    fn check(&self, target: &Target, trigger: Trigger) -> Result<Arc<Unit>, Fault> {
        self.engine.check(target, trigger).map(|(_, unit)| unit)
    }
    fn prepare(&self, unit: Arc<Unit>) -> Fut<'_, Result<(), Fault>> {
        Box::pin(async move {
            let engine = self.engine.clone();
            let unit = super::moved::elsewhere(&self.store, &unit).unwrap_or(unit);
            // Looking for runtimes reads the disk.
            let work = tokio::task::spawn_blocking(move || engine.prepare(&unit));
            work.await.map_err(Fault::internal)?
        })
    }
    fn resources(&self) -> &dyn Resources {
        &**self.store.resources()
    }
    fn packages(&self) -> &dyn Packages {
        &**self.store.packages()
    }
    fn logs(&self) -> &dyn Logs {
        &**self.store.logs()
    }
    fn policy(&self) -> &dyn Policy {
        &*self.policy
    }
    fn records(&self) -> &dyn Records {
        &**self.store.records()
    }
    fn tenants(&self) -> &dyn model::ports::Tenants {
        &*self.tenants
    }
    fn url(&self, id: &str) -> Option<(Arc<Function>, usize)> {
        self.engine.catalog().url(id)
    }
    fn function(&self, tenant: &TenantId, name: &str) -> Option<Arc<Function>> {
        self.engine.catalog().function(tenant, name)
    }
    fn functions(&self, tenant: &TenantId) -> Vec<Arc<Function>> {
        self.engine.catalog().of(tenant)
    }
    fn observed(&self, tenant: &TenantId, function: &str) -> Observed {
        self.engine.observed(tenant, (!function.is_empty()).then_some(function))
    }
    fn pass_on(&self, service: &str, request: http::Request<bytes::Bytes>) -> Option<Fut<'_, Response>> {
        self.upstreams.pass_on(service, request)
    }
    fn clock(&self) -> &dyn Clock {
        &Machine
    }
    fn settings(&self) -> &PlatformSettings {
        &self.settings
    }
}
