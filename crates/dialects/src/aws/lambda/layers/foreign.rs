//! Layers of other accounts, which a platform without a way to AWS can't fetch: its operator says what stands for one.

use super::named;
use crate::aws::{
    fault::WireError,
    limits,
    rows::{self, LayerMapRow},
    shared::Shared,
};
use bytes::Bytes;
use model::{Cause, Expect, Fault, Key, Package, TenantId, ports::Platform};
use serde::Serialize;

/// What stands for somebody else's layer version.
#[derive(Debug, Serialize)]
pub struct Mapped {
    pub arn: String,
    /// Hex SHA-256 of the archive.
    pub digest: String,
    pub bytes: u64,
    pub created_ms: u64,
}

impl Mapped {
    fn of(arn: &str, row: &LayerMapRow) -> Mapped {
        let Package::Unpacked { digest, bytes, .. } = &row.package;
        Mapped { arn: arn.to_owned(), digest: digest.to_string(), bytes: *bytes, created_ms: row.created_ms }
    }
}

/// What the operator types to have it.
pub fn command(arn: &str) -> String {
    format!("myna layer map {arn} PATH")
}

pub fn row(shared: &Shared, tenant: &TenantId, arn: &str) -> Result<Option<LayerMapRow>, WireError> {
    shared.row(tenant, rows::LAYER_MAP, arn)
}

/// From now on this archive stands for that layer version. Functions that have it already keep what they have.
pub async fn map_layer(platform: &dyn Platform, tenant: &TenantId, arn: &str, archive: Bytes) -> Result<Mapped, Fault> {
    let settings = platform.settings();
    let parsed = named::parse(arn).filter(|a| a.version.is_some()).ok_or_else(|| {
        Fault::invalid(format!("{arn:?} is no ARN of a layer version"))
            .hint("it looks like arn:aws:lambda:us-east-1:123456789012:layer:NAME:1")
    })?;
    if parsed.account == tenant.as_str() && parsed.region == &*settings.region {
        let publish = format!("publish it: myna layer publish {} PATH", parsed.name);
        return Err(Fault::invalid(format!("{arn} is a layer of the account's own")).hint(publish));
    }
    let key = Key::new(tenant, rows::LAYER_MAP, arn);
    let resources = platform.resources();
    let full = resources.list(tenant, rows::LAYER_MAP, "", "", limits::LAYER_VERSIONS_MAX).len() >= limits::LAYER_VERSIONS_MAX;
    if full && resources.get(&key).is_none() {
        return Err(Fault::new(Cause::Exhausted, format!("at most {} layers are mapped", limits::LAYER_VERSIONS_MAX)));
    }
    let package = platform.packages().put_zip(tenant, archive).await?;
    let row = LayerMapRow { package, created_ms: platform.clock().wall_ms() };
    let mapped = Mapped::of(arn, &row);
    resources.commit(vec![rows::put(tenant, rows::LAYER_MAP, arn, &row, Expect::Any)]).await?;
    Ok(mapped)
}

/// Every one, by ARN.
pub fn mapped_layers(platform: &dyn Platform, tenant: &TenantId) -> Result<Vec<Mapped>, Fault> {
    let all = platform.resources().list(tenant, rows::LAYER_MAP, "", "", usize::MAX);
    let one = |row: &model::Resource| {
        let read: LayerMapRow = rows::decode(row).map_err(|e| Fault::internal(e.message))?;
        Ok(Mapped::of(&row.key.name, &read))
    };
    all.iter().map(one).collect()
}
