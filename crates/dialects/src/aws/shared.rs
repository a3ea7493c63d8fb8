//! What all operations of this dialect share, and one request as they see it.

use super::{fault::WireError, names, percent, rows};
use bytes::Bytes;
use model::{
    Body, InvocationId, Key, Principal, Resource, TenantId, Write,
    ports::{Platform, PlatformSettings, Resources, Rows},
};
use serde::de::DeserializeOwned;
use std::{borrow::Cow, sync::Arc};
use tokio::sync::{Mutex, Notify};

pub struct Shared {
    pub platform: Arc<dyn Platform>,
    pub settings: PlatformSettings,
    /// Held while an operation reads rows, decides and commits: the control plane is one change at a time, so that no
    /// operation has to be undone halfway. Slow work (unpacking, preparing) happens outside.
    pub writing: Mutex<()>,
    /// Rings when a function has left a state in which others wait for it.
    pub settled: Notify,
}

impl Shared {
    pub fn new(platform: Arc<dyn Platform>, settings: PlatformSettings) -> Self {
        Self { platform, settings, writing: Mutex::new(()), settled: Notify::new() }
    }
    pub fn now_ms(&self) -> u64 {
        self.platform.clock().wall_ms()
    }
    pub fn region(&self) -> &str {
        &self.settings.region
    }
    pub fn raw(&self, tenant: &TenantId, kind: &'static str, name: &str) -> Option<Resource> {
        self.platform.resources().get(&Key::new(tenant, kind, name))
    }
    pub fn row<T: DeserializeOwned>(&self, tenant: &TenantId, kind: &'static str, name: &str) -> Result<Option<T>, WireError> {
        self.raw(tenant, kind, name).map(|r| rows::decode(&r)).transpose()
    }
    /// Whether a role is there. What an instance holds of one that was deleted is good for nothing.
    pub fn role_stands(&self, tenant: &TenantId, role: &str) -> bool {
        let name = names::role_name(role);
        // What a row says of it was checked when it was written; a role of another account is nobody's here all the same.
        let own = role.strip_prefix("arn:aws:iam::").and_then(|rest| rest.strip_prefix(tenant.as_str()));
        if !own.is_some_and(|rest| rest.starts_with(':')) {
            return false;
        }
        name == names::DEFAULT_ROLE || self.raw(tenant, rows::ROLE, name).is_some()
    }
    /// Every row of a kind below a function.
    pub fn below<T: DeserializeOwned>(&self, tenant: &TenantId, kind: &'static str, function: &str) -> Result<Vec<T>, WireError> {
        let prefix = rows::below(function);
        self.platform.resources().list(tenant, kind, &prefix, "", usize::MAX).iter().map(rows::decode).collect()
    }
    pub async fn commit(&self, writes: Vec<Write>) -> Result<(), WireError> {
        self.platform.resources().commit(writes).await?;
        Ok(())
    }
}

/// Rows as they are committed now.
pub struct Committed<'a>(pub &'a dyn Resources);

impl Rows for Committed<'_> {
    fn get(&self, key: &Key) -> Option<Resource> {
        self.0.get(key)
    }
    fn list(&self, tenant: &TenantId, kind: &'static str, prefix: &str) -> Vec<Resource> {
        self.0.list(tenant, kind, prefix, "", usize::MAX)
    }
}

/// One request to a signed API.
pub struct Asked {
    pub shared: Arc<Shared>,
    pub id: InvocationId,
    pub tenant: TenantId,
    pub principal: Principal,
    pub parts: http::request::Parts,
    pub body: Bytes,
}

impl Asked {
    pub fn new(
        shared: &Arc<Shared>,
        parts: http::request::Parts,
        body: Body,
        principal: Principal,
        id: InvocationId,
    ) -> Result<Self, WireError> {
        let Body::Bytes(body) = body else {
            return Err(WireError::internal("a signed request arrived without its whole body"));
        };
        let tenant = principal.tenant().unwrap_or(&shared.settings.default_tenant).clone();
        Ok(Self { shared: shared.clone(), id, tenant, principal, parts, body })
    }
    pub fn header(&self, name: &str) -> Option<&str> {
        self.parts.headers.get(name).and_then(|v| v.to_str().ok())
    }
    /// The first value of a query parameter.
    pub fn query(&self, name: &str) -> Option<Cow<'_, str>> {
        percent::pairs(self.parts.uri.query()?).find(|p| p.0 == name).map(|p| p.1)
    }
    pub fn platform(&self) -> &Arc<dyn Platform> {
        &self.shared.platform
    }
    pub fn region(&self) -> &str {
        self.shared.region()
    }
}
