//! GetAccountSettings: the limits that hold for the account and what of them is used.

use super::{Answer, Op, concurrency};
use crate::aws::{
    fault::WireError,
    limits,
    rows::{self, Config, FunctionRow, LayerVersionRow, VersionRow},
    shared::Shared,
};
use model::{Package, TenantId};
use serde_json::json;
use std::collections::BTreeMap;

/// Bytes of all archives that functions, versions and layers of an account have, and of other accounts' layers that they use, which are
/// stored once more.
pub fn stored(shared: &Shared, tenant: &TenantId) -> Result<u64, WireError> {
    let resources = shared.platform.resources();
    let (mut stored, mut adopted) = (0u64, BTreeMap::new());
    let mut count = |config: Config| {
        stored += config.code_bytes;
        for layer in config.layers {
            let Package::Unpacked { digest, bytes, .. } = layer.package;
            if layer.arn.split(':').nth(4) != Some(tenant.as_str()) {
                adopted.insert(digest, bytes);
            }
        }
    };
    for row in resources.list(tenant, rows::FUNCTION, "", "", usize::MAX) {
        count(rows::decode::<FunctionRow>(&row)?.latest);
    }
    for row in resources.list(tenant, rows::VERSION, "", "", usize::MAX) {
        count(rows::decode::<VersionRow>(&row)?.config);
    }
    stored += adopted.values().sum::<u64>();
    for row in resources.list(tenant, rows::LAYER_VERSION, "", "", usize::MAX) {
        let Package::Unpacked { bytes, .. } = rows::decode::<LayerVersionRow>(&row)?.package;
        stored += bytes;
    }
    Ok(stored)
}

/// Whether so many bytes of archives more fit into what the account may have. `freed`: of those that go in the same change.
pub fn room(shared: &Shared, tenant: &TenantId, more: u64, freed: u64) -> Result<(), WireError> {
    let most = shared.platform.tenants().quota(tenant).storage_bytes;
    if more <= freed || stored(shared, tenant)?.saturating_sub(freed).saturating_add(more) <= most {
        return Ok(());
    }
    Err(full("Code storage limit exceeded."))
}

/// The account has as much as it may have.
pub fn full(text: impl Into<String>) -> WireError {
    WireError::new(400, "CodeStorageExceededException", text)
}

pub fn settings(op: &Op) -> Answer {
    let functions = op.asked.platform().resources().list(&op.asked.tenant, rows::FUNCTION, "", "", usize::MAX);
    let stored = stored(&op.asked.shared, &op.asked.tenant)?;
    let quota = op.asked.platform().tenants().quota(&op.asked.tenant);
    let limit = quota.concurrency;
    let unreserved = limit.saturating_sub(concurrency::taken(op, None)?);
    op.done(&json!({
        "AccountLimit": {
            "TotalCodeSize": quota.storage_bytes,
            "CodeSizeUnzipped": limits::UNZIPPED_BYTES_MAX,
            "CodeSizeZipped": limits::ZIP_BYTES_MAX,
            "ConcurrentExecutions": limit,
            "UnreservedConcurrentExecutions": unreserved,
        },
        "AccountUsage": { "TotalCodeSize": stored, "FunctionCount": functions.len() },
    }))
}
