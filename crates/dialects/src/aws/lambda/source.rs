//! Event source mappings: stored, validated and shown. Nothing polls a source yet, and every answer says so. A mapping stays when
//! its function is deleted, as the service leaves it.

use super::{
    Answer, Op,
    source_check::{self, Members},
};
use crate::aws::{
    fault::WireError,
    limits,
    names::{self, Group, LATEST},
    rows::{self, AliasRow, SourceRow},
};
use model::Expect;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Said of every mapping that its owner wants enabled.
const NOT_POLLED: &str = "Stored, but nothing polls this source yet: no event of it reaches the function.";
const BY_USER: &str = "USER_INITIATED";

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct Asked {
    function_name: Option<String>,
    enabled: Option<bool>,
    tags: Option<BTreeMap<String, String>>,
}

fn missing() -> WireError {
    WireError::not_found("The resource you requested does not exist.")
}

fn no_function() -> WireError {
    WireError::invalid("Function does not exist")
}

pub fn arn(op: &Op, uuid: &str) -> String {
    format!("arn:aws:lambda:{}:{}:event-source-mapping:{uuid}", op.asked.region(), op.asked.tenant)
}

/// A mapping with the revision under which it was read.
pub fn load(op: &Op, uuid: &str) -> Result<(SourceRow, Expect), WireError> {
    let row = op.asked.shared.raw(&op.asked.tenant, rows::SOURCE, uuid).ok_or_else(missing)?;
    Ok((rows::decode(&row)?, Expect::Revision(row.revision)))
}

pub async fn save(op: &Op, row: &SourceRow, expect: Expect) -> Result<(), WireError> {
    op.asked.shared.commit(vec![rows::put(&op.asked.tenant, rows::SOURCE, &row.uuid, row, expect)]).await
}

fn all(op: &Op) -> Result<Vec<SourceRow>, WireError> {
    let found = op.asked.platform().resources().list(&op.asked.tenant, rows::SOURCE, "", "", limits::SOURCES_MAX);
    found.iter().map(rows::decode).collect()
}

/// The function that a request names, which must be there.
fn function(op: &Op, text: &str) -> Result<(String, Option<String>), WireError> {
    let named = names::parse(op.asked.region(), &op.asked.tenant, text, None, Group::Reader)?;
    let (shared, tenant, name) = (&op.asked.shared, &op.asked.tenant, &*named.name);
    let there = |kind, key: &str| shared.raw(tenant, kind, key).is_some();
    let found = there(rows::FUNCTION, name)
        && match named.qualifier.as_deref() {
            None | Some(LATEST) => true,
            Some(number) if names::all_digits(number) => {
                number.parse().is_ok_and(|n| there(rows::VERSION, &rows::version_name(name, n)))
            }
            Some(alias) => shared.row::<AliasRow>(tenant, rows::ALIAS, &format!("{name}/{alias}"))?.is_some(),
        };
    if found { Ok((name.to_owned(), named.qualifier.as_deref().map(str::to_owned))) } else { Err(no_function()) }
}

pub async fn create(op: Op) -> Answer {
    let asked: Asked = op.members()?;
    let members: Members = op.members()?;
    let name = source_check::constraints(&members, Some(asked.function_name.as_deref()))?.unwrap_or_default();
    let kind = source_check::kind(&members)?;
    kind.check(&members)?;
    let tags = asked.tags.unwrap_or_default();
    super::tags::check(&tags)?;
    let shared = op.asked.shared.clone();
    let _one = shared.writing.lock().await;
    let (function, qualifier) = function(&op, &name)?;
    let others = all(&op)?;
    if others.len() >= limits::SOURCES_MAX {
        return Err(WireError::invalid(format!("an account holds at most {} event source mappings", limits::SOURCES_MAX)));
    }
    let row = SourceRow {
        uuid: rows::new_id(),
        function,
        qualifier,
        enabled: asked.enabled.unwrap_or(true),
        tags,
        modified_ms: shared.now_ms(),
        members: members.kept(),
    };
    conflict(&others, &row, kind)?;
    save(&op, &row, Expect::Absent).await?;
    op.done(&shown(&op, &row, None)?)
}

/// One source feeds a function once.
fn conflict(others: &[SourceRow], row: &SourceRow, kind: &source_check::Kind) -> Result<(), WireError> {
    let source =
        |r: &SourceRow| ["EventSourceArn", "SelfManagedEventSource", "Topics", "Queues"].map(|m| r.members.get(m).cloned());
    let same = |r: &&SourceRow| {
        r.uuid != row.uuid && r.function == row.function && r.qualifier == row.qualifier && source(r) == source(row)
    };
    let Some(other) = others.iter().find(same) else { return Ok(()) };
    let arn = row.members.get("EventSourceArn").and_then(Value::as_str).unwrap_or_default();
    let (name, uuid) = (&row.function, &other.uuid);
    let what = if kind.is_queue() {
        format!("An event source mapping with SQS arn (\" {arn} \") and function (\" {name} \") already exists.")
    } else {
        format!("The event source arn (\" {arn} \") and function (\" {name} \") provided mapping already exists.")
    };
    Err(WireError::conflict(format!("{what} Please update or delete the existing mapping with UUID {uuid}")))
}

pub fn get(op: &Op) -> Answer {
    let (row, _) = load(op, op.label(0))?;
    op.done(&shown(op, &row, None)?)
}

/// What is not said is left as it was; the whole must make sense afterwards.
pub async fn update(op: Op) -> Answer {
    let asked: Asked = op.members()?;
    let changes: Members = op.members()?;
    source_check::constraints(&changes, None)?;
    let shared = op.asked.shared.clone();
    let _one = shared.writing.lock().await;
    let (mut row, expect) = load(&op, op.label(0))?;
    if let Some(name) = &asked.function_name {
        (row.function, row.qualifier) = function(&op, name)?;
    }
    row.members.extend(changes.changeable());
    let merged: Members = serde_json::from_value(Value::Object(row.members.clone())).map_err(WireError::unreadable)?;
    let kind = source_check::kind(&merged)?;
    kind.check(&merged)?;
    if asked.function_name.is_some() {
        conflict(&all(&op)?, &row, kind)?;
    }
    row.enabled = asked.enabled.unwrap_or(row.enabled);
    row.modified_ms = shared.now_ms();
    save(&op, &row, expect).await?;
    op.done(&shown(&op, &row, None)?)
}

pub async fn delete(op: Op) -> Answer {
    let shared = op.asked.shared.clone();
    let _one = shared.writing.lock().await;
    let (row, _) = load(&op, op.label(0))?;
    shared.commit(vec![rows::delete(&op.asked.tenant, rows::SOURCE, &row.uuid)]).await?;
    op.done(&shown(&op, &row, Some("Deleting"))?)
}

/// The most that one page holds (Lambda API reference, "ListEventSourceMappings").
const PAGE: usize = 100;

pub fn list(op: &Op) -> Answer {
    let (size, after) = (op.page_size(PAGE, 10_000)?, op.marker()?);
    let source = op.asked.query("EventSourceArn");
    let named = op.asked.query("FunctionName").filter(|n| !n.is_empty());
    let named = named.map(|n| names::parse(op.asked.region(), &op.asked.tenant, &n, None, Group::Reader)).transpose()?;
    let wanted = |r: &SourceRow| {
        named.as_ref().is_none_or(|n| *n.name == *r.function && n.qualifier.as_deref() == r.qualifier.as_deref())
            && source.as_deref().is_none_or(|s| r.members.get("EventSourceArn").and_then(Value::as_str) == Some(s))
    };
    let found = all(op)?.into_iter().filter(|r| *r.uuid > *after && wanted(r)).take(size + 1);
    let found = found.map(|r| Ok((r.uuid.clone(), shown(op, &r, None)?))).collect::<Result<Vec<_>, WireError>>()?;
    op.listed("EventSourceMappings", found, &after, size)
}

fn shown(op: &Op, row: &SourceRow, state: Option<&str>) -> Result<Value, WireError> {
    let members: Members = serde_json::from_value(Value::Object(row.members.clone())).map_err(WireError::unreadable)?;
    let mut out = source_check::kind(&members)?.defaults();
    out.extend(row.members.clone());
    out.insert("UUID".into(), row.uuid.as_str().into());
    out.insert("EventSourceMappingArn".into(), arn(op, &row.uuid).into());
    out.insert("FunctionArn".into(), op.arn(&row.function, row.qualifier.as_deref()).into());
    out.insert("LastModified".into(), json!(row.modified_ms as f64 / 1000.0));
    out.insert("State".into(), state.unwrap_or("Disabled").into());
    out.insert("StateTransitionReason".into(), if row.enabled { NOT_POLLED } else { BY_USER }.into());
    Ok(Value::Object(out))
}
