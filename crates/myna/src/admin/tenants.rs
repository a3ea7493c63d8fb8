//! Tenants, as the operator adds, bounds and removes them.

use super::{Admin, Query, reply, wire};
use model::{Fault, Fut, TenantId, ports::Response};
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// Tenants of one platform.
pub const TENANTS_MAX: usize = 1000;
/// Keys of one tenant's administrator, beside the default tenant's in its file.
pub const KEYS_MAX: usize = 2;

/// Who there is. A tenant is named by its name or by its account.
pub trait Registry: Send + Sync {
    /// The default one first, then by name.
    fn list(&self) -> Vec<wire::Tenant>;
    fn show(&self, name: &str) -> Result<wire::Tenant, Fault>;
    fn account(&self, name: &str) -> Result<TenantId, Fault>;
    fn add<'a>(&'a self, name: &'a str, asked: wire::NewTenant) -> Fut<'a, Result<wire::TenantMade, Fault>>;
    /// What isn't given stays; after `reset` it is the configuration's.
    fn change<'a>(&'a self, name: &'a str, quota: wire::QuotaChange, reset: bool) -> Fut<'a, Result<wire::Tenant, Fault>>;
    fn new_key<'a>(&'a self, name: &'a str) -> Fut<'a, Result<wire::MadeKey, Fault>>;
    fn revoke<'a>(&'a self, name: &'a str, id: &'a str) -> Fut<'a, Result<wire::Tenant, Fault>>;
    /// As it was before.
    fn remove<'a>(&'a self, name: &'a str, force: bool) -> Fut<'a, Result<wire::Tenant, Fault>>;
}

impl Admin {
    /// `/admin/v1/tenants` and what lies below it.
    pub(super) async fn tenants(
        &self,
        method: &str,
        path: &[&str],
        query: &Query,
        body: &bytes::Bytes,
    ) -> Result<Response, Fault> {
        let registry = self.registry()?;
        match (method, path) {
            ("GET", []) => Ok(reply::json(&registry.list())),
            ("GET", [name]) => Ok(reply::json(&registry.show(name)?)),
            ("POST", [name]) => Ok(reply::json(&registry.add(name, read(body)?).await?)),
            ("DELETE", [name]) => Ok(reply::json(&registry.remove(name, query.flag("force")).await?)),
            ("PUT", [name, "quota"]) => Ok(reply::json(&registry.change(name, read(body)?, query.flag("reset")).await?)),
            ("POST", [name, "keys"]) => Ok(reply::json(&registry.new_key(name).await?)),
            ("DELETE", [name, "keys", id]) => Ok(reply::json(&registry.revoke(name, id).await?)),
            _ => Err(Fault::not_found(format!("the admin API has no {method} /admin/v1/tenants/{}", path.join("/")))),
        }
    }

    pub(super) fn registry(&self) -> Result<Arc<dyn Registry>, Fault> {
        self.host.registry().ok_or_else(|| Fault::new(model::Cause::Unsupported, "this platform has one tenant"))
    }
}

/// A document that may be missing.
fn read<T: DeserializeOwned + Default>(body: &bytes::Bytes) -> Result<T, Fault> {
    if body.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(body).map_err(|e| Fault::invalid(format!("the request's document: {e}")))
}
