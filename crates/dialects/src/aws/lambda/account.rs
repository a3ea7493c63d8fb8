//! GetAccountSettings: the limits that hold here and what of them is used.

use super::{Answer, Op, concurrency};
use crate::aws::{
    limits,
    rows::{self, FunctionRow, LayerVersionRow, VersionRow},
};
use model::Package;
use serde_json::json;

pub fn settings(op: &Op) -> Answer {
    let resources = op.asked.platform().resources();
    let functions = resources.list(&op.asked.tenant, rows::FUNCTION, "", "", usize::MAX);
    let versions = resources.list(&op.asked.tenant, rows::VERSION, "", "", usize::MAX);
    let mut stored = 0u64;
    for row in &functions {
        stored += rows::decode::<FunctionRow>(row)?.latest.code_bytes;
    }
    for row in &versions {
        stored += rows::decode::<VersionRow>(row)?.config.code_bytes;
    }
    for row in resources.list(&op.asked.tenant, rows::LAYER_VERSION, "", "", usize::MAX) {
        let Package::Unpacked { bytes, .. } = rows::decode::<LayerVersionRow>(&row)?.package;
        stored += bytes;
    }
    let limit = op.asked.shared.settings.tenant_concurrency;
    let unreserved = limit.saturating_sub(concurrency::taken(op, None)?);
    op.done(&json!({
        "AccountLimit": {
            "TotalCodeSize": limits::CODE_TOTAL_BYTES_MAX,
            "CodeSizeUnzipped": limits::UNZIPPED_BYTES_MAX,
            "CodeSizeZipped": limits::ZIP_BYTES_MAX,
            "ConcurrentExecutions": limit,
            "UnreservedConcurrentExecutions": unreserved,
        },
        "AccountUsage": { "TotalCodeSize": stored, "FunctionCount": functions.len() },
    }))
}
