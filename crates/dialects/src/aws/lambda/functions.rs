//! GetFunction, GetFunctionConfiguration, ListFunctions, DeleteFunction.

use super::{Answer, Op, describe::Shown, marker_of, no_content};
use crate::aws::{
    check::Checks,
    fault::WireError,
    names::{self, Group, LATEST},
    rows::{self, AliasRow, Config, FunctionRow, VersionRow},
};
use model::{Expect, Write};
use serde_json::{Map, Value, json};

/// A row under a qualifier: the version's number and its configuration.
pub fn resolve(op: &Op, name: &str, qualifier: Option<&str>) -> Result<(String, Config), WireError> {
    let (shared, tenant) = (&op.asked.shared, &op.asked.tenant);
    let (row, _) = op.load(name).map_err(|e| if e.status == 404 { op.not_found(name, qualifier) } else { e })?;
    let version = match qualifier {
        None | Some(LATEST) => return Ok((LATEST.into(), row.latest)),
        Some(number) if names::all_digits(number) => number.to_owned(),
        Some(alias) => {
            let alias = shared.row::<AliasRow>(tenant, rows::ALIAS, &format!("{name}/{alias}"))?;
            alias.ok_or_else(|| op.not_found(name, qualifier))?.version
        }
    };
    if version == LATEST {
        return Ok((version, row.latest));
    }
    let number: u64 = version.parse().map_err(|_| op.not_found(name, qualifier))?;
    let found = shared.row::<VersionRow>(tenant, rows::VERSION, &rows::version_name(name, number))?;
    let found = found.ok_or_else(|| op.not_found(name, qualifier))?;
    Ok((found.number.to_string(), found.config))
}

pub fn configuration(op: &Op) -> Answer {
    let named = op.named(Group::Reader)?;
    let (version, config) = resolve(op, &named.name, named.qualifier.as_deref())?;
    let shown = op.shown_qualifier(&version, named.qualifier.as_deref());
    op.done(&Value::Object(op.describe(&named.name, &version, shown, &config, Shown::Alone)))
}

pub fn get(op: &Op) -> Answer {
    let named = op.named(Group::Reader)?;
    let (version, config) = resolve(op, &named.name, named.qualifier.as_deref())?;
    let (row, _) = op.load(&named.name)?;
    let shown = op.shown_qualifier(&version, named.qualifier.as_deref());
    let link = op.asked.platform().packages().link(&op.asked.tenant, config.package.digest())?;
    // A capability: whoever has it may read the archive until it expires.
    let location = format!("{}://{}/_code/{link}", op.asked.shared.settings.aws_scheme, op.asked.shared.settings.aws_authority);
    let mut out = Map::new();
    out.insert("Configuration".into(), Value::Object(op.describe(&named.name, &version, shown, &config, Shown::Alone)));
    out.insert("Code".into(), json!({ "RepositoryType": "S3", "Location": location }));
    if !row.tags.is_empty() {
        out.insert("Tags".into(), json!(row.tags));
    }
    if let Some(n) = row.reserved {
        out.insert("Concurrency".into(), json!({ "ReservedConcurrentExecutions": n }));
    }
    op.done(&Value::Object(out))
}

/// The most that one page of ListFunctions holds (Lambda API reference, "ListFunctions").
const PAGE: usize = 50;

pub fn list(op: &Op) -> Answer {
    let every = match op.asked.query("FunctionVersion").as_deref() {
        None => false,
        Some("ALL") => true,
        Some(other) => {
            let mut checks = Checks::default();
            checks.one_of(other, "functionVersion", &["ALL"]);
            return Err(checks.into_result().expect_err("just refused"));
        }
    };
    let (size, after) = (op.page_size(PAGE, 10_000)?, op.marker()?);
    let (after_name, after_version) = match after.split_once('/') {
        Some((name, version)) => (name, version.parse::<u64>().unwrap_or(0)),
        None => (after.as_str(), if every { 0 } else { u64::MAX }),
    };
    let (mut items, mut last, mut more) = (Vec::new(), String::new(), false);
    let rows = functions_from(op, after_name, size);
    'walk: for row in &rows {
        let function: FunctionRow = rows::decode(row)?;
        let name = &*row.key.name;
        let here = if name == after_name { Some(after_version) } else { None };
        let mut shown: Vec<(u64, Config)> = vec![(0, function.latest)];
        if every {
            shown.extend(
                op.asked
                    .shared
                    .below::<VersionRow>(&op.asked.tenant, rows::VERSION, name)?
                    .into_iter()
                    .map(|v| (v.number, v.config)),
            );
        }
        for (number, config) in shown.into_iter().filter(|s| here.is_none_or(|h| !after.is_empty() && s.0 > h)) {
            if items.len() == size {
                more = true;
                break 'walk;
            }
            let version = if number == 0 { LATEST.to_owned() } else { number.to_string() };
            // With FunctionVersion=ALL every ARN says its version.
            let qualifier = every.then_some(version.as_str());
            items.push(Value::Object(op.describe(name, &version, qualifier, &config, Shown::Listed)));
            last = if every { format!("{name}/{number}") } else { name.to_owned() };
        }
    }
    let mut out = Map::new();
    out.insert("Functions".into(), Value::Array(items));
    if more {
        out.insert("NextMarker".into(), marker_of(&last));
    }
    op.done(&Value::Object(out))
}

/// The function in which the last page ended, and enough of those after it to fill a page and see whether there are more.
fn functions_from(op: &Op, after: &str, size: usize) -> Vec<model::Resource> {
    let resources = op.asked.platform().resources();
    let mut rows = resources.list(&op.asked.tenant, rows::FUNCTION, "", after, size + 1);
    if let Some(at) = op.asked.shared.raw(&op.asked.tenant, rows::FUNCTION, after).filter(|_| !after.is_empty()) {
        rows.insert(0, at);
    }
    rows
}

pub async fn delete(op: Op) -> Answer {
    let named = op.named(Group::Reader)?;
    let (shared, tenant, name) = (&op.asked.shared, &op.asked.tenant, &*named.name);
    let _one = shared.writing.lock().await;
    let (_, expect) =
        op.load(name).map_err(|e| if e.status == 404 { op.not_found(name, named.qualifier.as_deref()) } else { e })?;
    let mut writes = Vec::new();
    match named.qualifier.as_deref() {
        Some(LATEST) => return Err(WireError::invalid("$LATEST version cannot be deleted without deleting the function.")),
        Some(number) if names::all_digits(number) => {
            let aliases = shared.below::<AliasRow>(tenant, rows::ALIAS, name)?;
            let uses = |a: &&AliasRow| a.version == number || a.split.as_ref().is_some_and(|s| s.0 == number);
            let users: Vec<String> = aliases.iter().filter(uses).map(|a| a.name.clone()).collect();
            if !users.is_empty() {
                let text = format!("Unable to delete version because the following aliases reference it: [{}]", users.join(", "));
                return Err(WireError::conflict(text));
            }
            let Ok(number) = number.parse() else { return Ok(no_content()) };
            writes.push(rows::delete(tenant, rows::VERSION, rows::version_name(name, number)));
        }
        Some(_) => return Err(WireError::invalid("Deletion of aliases is not currently supported.")),
        None => {
            writes.push(Write::Delete { key: model::Key::new(tenant, rows::FUNCTION, name), expect });
            for kind in [rows::VERSION, rows::ALIAS, rows::URL] {
                let below = shared.platform.resources().list(tenant, kind, &rows::below(name), "", usize::MAX);
                writes.extend(below.into_iter().map(|r| Write::Delete { key: r.key, expect: Expect::Any }));
            }
        }
    }
    shared.commit(writes).await?;
    shared.settled.notify_waiters();
    if named.qualifier.is_none() {
        super::events::dead_with(&op, name).await?;
    }
    Ok(no_content())
}
