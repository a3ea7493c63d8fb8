//! Reserved and provisioned concurrency. What is asked for is stored; what is really there comes from the platform.

use super::{Answer, Op, functions, stamp};
use crate::aws::{
    check::Checks,
    fault::WireError,
    limits::UNRESERVED_MIN,
    names::{Group, LATEST, all_digits},
    rows::{self, AliasRow, FunctionRow, Provisioned},
};
use model::ports::NotKept;
use serde::Deserialize;
use serde_json::{Map, Value, json};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Reserve {
    reserved_concurrent_executions: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Provision {
    provisioned_concurrent_executions: Option<i64>,
}

fn number(given: Option<i64>, at: &str, least: i64) -> Result<u32, WireError> {
    let mut checks = Checks::default();
    match given {
        None => checks.missing(at),
        Some(n) => checks.range(n, at, least, i64::from(u32::MAX)),
    }
    checks.into_result()?;
    Ok(given.and_then(|n| u32::try_from(n).ok()).unwrap_or_default())
}

/// What all functions but one have taken out of the account's concurrency.
pub fn taken(op: &Op, except: Option<&str>) -> Result<u32, WireError> {
    let rows = op.asked.platform().resources().list(&op.asked.tenant, rows::FUNCTION, "", "", usize::MAX);
    let mut sum = 0u32;
    for row in rows.iter().filter(|r| except != Some(&*r.key.name)) {
        let function: FunctionRow = rows::decode(row)?;
        let provisioned = function.provisioned.values().map(|p| p.requested).sum::<u32>();
        sum = sum.saturating_add(function.reserved.unwrap_or(provisioned));
    }
    Ok(sum)
}

fn room(op: &Op, except: &str, wanted: u32, what: &str) -> Result<(), WireError> {
    let limit = op.asked.platform().tenants().quota(&op.asked.tenant).concurrency;
    let least = UNRESERVED_MIN.min(limit);
    if taken(op, Some(except))?.saturating_add(wanted) > limit - least && wanted > 0 {
        return Err(WireError::invalid(format!(
            "Specified {what} for function decreases account's UnreservedConcurrentExecution below its minimum value of [{least}]."
        )));
    }
    Ok(())
}

pub async fn put(op: Op) -> Answer {
    let asked: Reserve = op.members()?;
    let wanted = number(asked.reserved_concurrent_executions, "reservedConcurrentExecutions", 0)?;
    let name = whole(&op)?;
    let shared = op.asked.shared.clone();
    let _one = shared.writing.lock().await;
    let (mut row, expect) = op.load(&name)?;
    room(&op, &name, wanted, "ReservedConcurrentExecutions")?;
    let provisioned = row.provisioned.values().map(|p| p.requested).sum::<u32>();
    if provisioned > wanted {
        return Err(WireError::invalid(format!(
            "ReservedConcurrentExecutions  {wanted} should not be lower than function's total provisioned concurrency [{provisioned}]."
        )));
    }
    row.reserved = Some(wanted);
    op.save(&name, &row, expect).await?;
    op.done(&json!({ "ReservedConcurrentExecutions": wanted }))
}

/// These operations are about the function as a whole.
fn whole(op: &Op) -> Result<std::sync::Arc<str>, WireError> {
    let named = op.unqualified()?;
    match named.qualifier {
        Some(_) => Err(WireError::invalid(
            "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. Please specify either a function name or an unqualified function ARN.",
        )),
        None => Ok(named.name),
    }
}

pub fn get(op: &Op) -> Answer {
    let name = whole(op)?;
    let (row, _) = op.load(&name)?;
    op.done(&row.reserved.map_or_else(|| json!({}), |n| json!({ "ReservedConcurrentExecutions": n })))
}

pub async fn delete(op: Op) -> Answer {
    let name = whole(&op)?;
    let shared = op.asked.shared.clone();
    let _one = shared.writing.lock().await;
    let (mut row, expect) = op.load(&name)?;
    if row.reserved.take().is_some() {
        op.save(&name, &row, expect).await?;
    }
    op.done_empty()
}

const UNPUBLISHED: &str = "Provisioned Concurrency Configs cannot be applied to unpublished function versions.";
const NOT_PUBLISHED: &str = "The function resource provided must be an alias or a published version.";

/// The function and the qualifier, which must be a version or an alias that exists.
fn published(op: &Op, refusal: &str) -> Result<(std::sync::Arc<str>, String), WireError> {
    let named = op.named(Group::Writer)?;
    let Some(qualifier) = named.qualifier.as_deref() else {
        let mut checks = Checks::default();
        checks.missing("qualifier");
        return Err(checks.into_result().expect_err("just refused"));
    };
    if qualifier == LATEST {
        return Err(WireError::invalid(refusal));
    }
    Ok((named.name.clone(), qualifier.to_owned()))
}

pub async fn put_provisioned(op: Op) -> Answer {
    let asked: Provision = op.members()?;
    let wanted = number(asked.provisioned_concurrent_executions, "provisionedConcurrentExecutions", 1)?;
    let (name, qualifier) = published(&op, UNPUBLISHED)?;
    let shared = op.asked.shared.clone();
    let _one = shared.writing.lock().await;
    let (mut row, expect) = op.load(&name)?;
    let version = existing(&op, &name, &qualifier)?;
    if version == LATEST {
        return Err(WireError::invalid(UNPUBLISHED));
    }
    clash(&op, &name, &qualifier, &version, &row)?;
    let others = row.provisioned.iter().filter(|p| *p.0 != qualifier).map(|p| p.1.requested).sum::<u32>();
    match row.reserved {
        Some(reserved) if others + wanted > reserved => {
            return Err(WireError::invalid(
                "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function",
            ));
        }
        Some(_) => {}
        None if wanted > op.asked.platform().tenants().quota(&op.asked.tenant).concurrency => {
            let limit = op.asked.platform().tenants().quota(&op.asked.tenant).concurrency;
            return Err(WireError::invalid(format!(
                "Specified ConcurrentExecutions for function is greater than account's unreserved concurrency [{limit}]."
            )));
        }
        None => room(&op, &name, others.saturating_add(wanted), "ConcurrentExecutions")?,
    }
    let config = Provisioned { requested: wanted, modified_ms: shared.now_ms() };
    row.provisioned.insert(qualifier, config.clone());
    op.save(&name, &row, expect).await?;
    op.done(&json!({
        "RequestedProvisionedConcurrentExecutions": wanted,
        "AvailableProvisionedConcurrentExecutions": 0,
        "AllocatedProvisionedConcurrentExecutions": 0,
        "Status": "IN_PROGRESS",
        "LastModified": stamp(config.modified_ms),
    }))
}

/// The version that a qualifier means.
fn existing(op: &Op, name: &str, qualifier: &str) -> Result<String, WireError> {
    let found = functions::resolve(op, name, Some(qualifier));
    found.map(|(version, _)| version).map_err(|e| match all_digits(qualifier) {
        false if e.status == 404 => WireError::not_found(format!("Cannot find alias arn: {}", op.arn(name, Some(qualifier)))),
        _ => e,
    })
}

/// A version has provisioned instances of its own or through one alias, never both.
fn clash(op: &Op, name: &str, qualifier: &str, version: &str, row: &FunctionRow) -> Result<(), WireError> {
    let aliases: Vec<AliasRow> = op.asked.shared.below(&op.asked.tenant, rows::ALIAS, name)?;
    if all_digits(qualifier) {
        if aliases.iter().any(|a| a.version == version && row.provisioned.contains_key(&a.name)) {
            return Err(WireError::conflict("Version is pointed by a Provisioned Concurrency alias"));
        }
    } else if row.provisioned.contains_key(version) {
        return Err(WireError::conflict(
            "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version",
        ));
    }
    Ok(())
}

const TOO_LARGE: &str = "The requested provisioned concurrency needs more memory or instances than this platform keeps ready. Request less, or lower the function's MemorySize.";

fn shown(op: &Op, name: &str, qualifier: &str, config: &Provisioned) -> Map<String, Value> {
    let observed = op.asked.platform().observed(&op.asked.tenant, name);
    let ready = observed.provisioned_ready.get(qualifier).copied().unwrap_or(0).min(config.requested);
    let (status, reason) = match observed.provisioned_failed.get(qualifier) {
        _ if ready >= config.requested => ("READY", None),
        Some(NotKept::Init) => ("FAILED", Some("FUNCTION_ERROR_INIT_FAILURE")),
        Some(NotKept::TooLarge) => ("FAILED", Some(TOO_LARGE)),
        None => ("IN_PROGRESS", None),
    };
    let mut out = Map::new();
    out.insert("RequestedProvisionedConcurrentExecutions".into(), config.requested.into());
    out.insert("AvailableProvisionedConcurrentExecutions".into(), ready.into());
    out.insert("AllocatedProvisionedConcurrentExecutions".into(), ready.into());
    out.insert("Status".into(), status.into());
    if let Some(reason) = reason {
        out.insert("StatusReason".into(), reason.into());
    }
    out.insert("LastModified".into(), stamp(config.modified_ms).into());
    out
}

pub fn get_provisioned(op: &Op) -> Answer {
    let (name, qualifier) = published(op, NOT_PUBLISHED)?;
    let (row, _) = op.load(&name)?;
    existing(op, &name, &qualifier)?;
    let none = || {
        WireError::new(
            404,
            "ProvisionedConcurrencyConfigNotFoundException",
            "No Provisioned Concurrency Config found for this function",
        )
    };
    let config = row.provisioned.get(&qualifier).ok_or_else(none)?;
    op.done(&Value::Object(shown(op, &name, &qualifier, config)))
}

pub async fn delete_provisioned(op: Op) -> Answer {
    let (name, qualifier) = published(&op, NOT_PUBLISHED)?;
    let shared = op.asked.shared.clone();
    let _one = shared.writing.lock().await;
    let (mut row, expect) = op.load(&name)?;
    existing(&op, &name, &qualifier)?;
    if row.provisioned.remove(&qualifier).is_some() {
        op.save(&name, &row, expect).await?;
    }
    op.done_empty()
}

const PAGE: usize = 50;

pub fn list_provisioned(op: &Op) -> Answer {
    let name = op.unqualified()?.name;
    let (row, _) = op.load(&name)?;
    let (size, after) = (op.page_size(PAGE, 50)?, op.marker()?);
    let configs = row.provisioned.iter().map(|(qualifier, config)| {
        let mut item = shown(op, &name, qualifier, config);
        item.insert("FunctionArn".into(), op.arn(&name, Some(qualifier)).into());
        (qualifier.clone(), Value::Object(item))
    });
    op.listed("ProvisionedConcurrencyConfigs", configs, &after, size)
}
