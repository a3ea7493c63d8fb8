//! Aliases: names for versions, each possibly split between two.

use super::{Answer, Op, functions, no_content};
use crate::aws::{
    check::Checks,
    fault::WireError,
    names::{LATEST, all_digits, word},
    rows::{self, AliasRow},
};
use model::Expect;
use serde::Deserialize;
use serde_json::{Map, Value, json};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Members {
    name: Option<String>,
    function_version: Option<String>,
    description: Option<String>,
    routing_config: Option<Routing>,
    revision_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Routing {
    additional_version_weights: Option<Map<String, Value>>,
}

fn check_name(name: &str, checks: &mut Checks) {
    checks.length(name, "name", 1, 128);
    if !word(name) || all_digits(name) {
        checks.pattern(name, "name", "(?!^[0-9]+$)([a-zA-Z0-9-_]+)");
    }
}

fn check_version(version: &str, checks: &mut Checks) {
    checks.length(version, "functionVersion", 1, 1024);
    if version != LATEST && !all_digits(version) {
        checks.pattern(version, "functionVersion", r"(\$LATEST|[0-9]+)");
    }
}

impl Members {
    fn check(&self, checks: &mut Checks) {
        if let Some(version) = &self.function_version {
            check_version(version, checks);
        }
        if let Some(text) = &self.description {
            checks.length(text, "description", 0, 256);
        }
    }

    /// The second version and its share; `None` when routing is not mentioned, `Some(None)` when it is taken away.
    fn split(&self, op: &Op, function: &str, main: &str) -> Result<Option<Option<(String, f64)>>, WireError> {
        let Some(routing) = &self.routing_config else { return Ok(None) };
        let weights = routing.additional_version_weights.as_ref().filter(|w| !w.is_empty());
        let Some(weights) = weights else { return Ok(Some(None)) };
        if weights.len() > 1 {
            return Err(WireError::invalid("Number of items in AdditionalVersionWeights cannot be greater than 1"));
        }
        let (version, weight) = weights.iter().next().expect("one entry");
        let share = weight.as_f64().ok_or_else(|| WireError::serialization("AdditionalVersionWeights: expected a number"))?;
        let mut checks = Checks::default();
        let at = "routingConfig.additionalVersionWeights";
        if !all_digits(version) {
            if version == LATEST {
                return Err(WireError::invalid("$LATEST is not supported for an alias pointing to more than 1 version"));
            }
            checks.fail(format_args!("{{{version}={share:?}}}"), at, "Map keys must satisfy constraint: [Member must have length less than or equal to 1024, Member must have length greater than or equal to 1, Member must satisfy regular expression pattern: [0-9]+, Member must not be null]");
        }
        if !(0.0..=1.0).contains(&share) {
            checks.fail(format_args!("{{{version}={share:?}}}"), at, "Map value must satisfy constraint: [Member must have value less than or equal to 1.0, Member must have value greater than or equal to 0.0, Member must not be null]");
        }
        checks.into_result()?;
        if main == LATEST {
            return Err(WireError::invalid("$LATEST is not supported for an alias pointing to more than 1 version"));
        }
        if version == main {
            return Err(WireError::invalid(format!(
                "Invalid function version {version}. Function version {version} is already included in routing configuration."
            )));
        }
        exists(op, function, version)?;
        Ok(Some(Some((version.clone(), share))))
    }
}

fn exists(op: &Op, function: &str, version: &str) -> Result<(), WireError> {
    if version == LATEST { Ok(()) } else { functions::resolve(op, function, Some(version)).map(|_| ()) }
}

fn shown(op: &Op, function: &str, alias: &AliasRow) -> Value {
    let mut out = Map::new();
    out.insert("AliasArn".into(), op.arn(function, Some(&alias.name)).into());
    out.insert("Name".into(), alias.name.as_str().into());
    out.insert("FunctionVersion".into(), alias.version.as_str().into());
    out.insert("Description".into(), alias.description.as_str().into());
    if let Some((version, share)) = &alias.split {
        let weights: Map<String, Value> = [(version.clone(), json!(share))].into_iter().collect();
        out.insert("RoutingConfig".into(), json!({ "AdditionalVersionWeights": weights }));
    }
    out.insert("RevisionId".into(), alias.revision_id.as_str().into());
    Value::Object(out)
}

pub async fn create(op: Op) -> Answer {
    let asked: Members = op.members()?;
    let mut checks = Checks::default();
    match &asked.name {
        None => checks.missing("name"),
        Some(name) => check_name(name, &mut checks),
    }
    if asked.function_version.is_none() {
        checks.missing("functionVersion");
    }
    asked.check(&mut checks);
    checks.into_result()?;
    let function = op.unqualified()?.name;
    let shared = op.asked.shared.clone();
    let _one = shared.writing.lock().await;
    op.load(&function)?;
    let (name, version) = (asked.name.clone().unwrap_or_default(), asked.function_version.clone().unwrap_or_default());
    exists(&op, &function, &version)?;
    let split = asked.split(&op, &function, &version)?.flatten();
    let key = format!("{function}/{name}");
    if shared.raw(&op.asked.tenant, rows::ALIAS, &key).is_some() {
        return Err(WireError::conflict(format!("Alias already exists: {}", op.arn(&function, Some(&name)))));
    }
    let alias =
        AliasRow { name, version, description: asked.description.unwrap_or_default(), split, revision_id: rows::new_id() };
    shared.commit(vec![rows::put(&op.asked.tenant, rows::ALIAS, key, &alias, Expect::Absent)]).await?;
    op.done(&shown(&op, &function, &alias))
}

pub async fn update(op: Op) -> Answer {
    let asked: Members = op.members()?;
    let mut checks = Checks::default();
    check_name(op.label(1), &mut checks);
    asked.check(&mut checks);
    checks.into_result()?;
    let function = op.unqualified()?.name;
    let shared = op.asked.shared.clone();
    let _one = shared.writing.lock().await;
    let missing = || WireError::not_found(format!("Alias not found: {}", op.arn(&function, Some(op.label(1)))));
    let key = format!("{function}/{}", op.label(1));
    let mut alias: AliasRow = shared.row(&op.asked.tenant, rows::ALIAS, &key)?.ok_or_else(missing)?;
    if asked.revision_id.as_ref().is_some_and(|r| *r != alias.revision_id) {
        return Err(WireError::stale("GetFunction/GetAlias"));
    }
    if let Some(version) = &asked.function_version {
        exists(&op, &function, version)?;
        alias.version.clone_from(version);
    }
    if let Some(split) = asked.split(&op, &function, &alias.version)? {
        alias.split = split;
    } else if alias.split.as_ref().is_some_and(|s| s.0 == alias.version || alias.version == LATEST) {
        return Err(WireError::invalid(format!(
            "Invalid function version {0}. Function version {0} is already included in routing configuration.",
            alias.version
        )));
    }
    if let Some(text) = asked.description {
        alias.description = text;
    }
    alias.revision_id = rows::new_id();
    shared.commit(vec![rows::put(&op.asked.tenant, rows::ALIAS, key, &alias, Expect::Any)]).await?;
    op.done(&shown(&op, &function, &alias))
}

pub fn get(op: &Op) -> Answer {
    let function = op.unqualified()?.name;
    let missing = || WireError::not_found(format!("Cannot find alias arn: {}", op.arn(&function, Some(op.label(1)))));
    let alias: AliasRow =
        op.asked.shared.row(&op.asked.tenant, rows::ALIAS, &format!("{function}/{}", op.label(1)))?.ok_or_else(missing)?;
    op.done(&shown(op, &function, &alias))
}

const PAGE: usize = 50;

pub fn list(op: &Op) -> Answer {
    let function = op.unqualified()?.name;
    op.load(&function)?;
    let wanted = op.asked.query("FunctionVersion");
    let (size, after) = (op.page_size(PAGE, 10_000)?, op.marker()?);
    let aliases = op.asked.shared.below::<AliasRow>(&op.asked.tenant, rows::ALIAS, &function)?;
    let uses = |a: &AliasRow, v: &str| a.version == v || a.split.as_ref().is_some_and(|s| s.0 == v);
    let kept = aliases.into_iter().filter(|a| wanted.as_deref().is_none_or(|v| uses(a, v)));
    op.listed("Aliases", kept.map(|a| (a.name.clone(), shown(op, &function, &a))), &after, size)
}

/// Deleting what isn't there succeeds. What hung on the alias goes with it.
pub async fn delete(op: Op) -> Answer {
    let function = op.unqualified()?.name;
    let (shared, tenant, alias) = (op.asked.shared.clone(), &op.asked.tenant, op.label(1));
    let _one = shared.writing.lock().await;
    let (mut row, expect) = op.load(&function)?;
    let key = format!("{function}/{alias}");
    if shared.raw(tenant, rows::ALIAS, &key).is_none() {
        return Ok(no_content());
    }
    let mut writes = vec![rows::delete(tenant, rows::ALIAS, &key), rows::delete(tenant, rows::URL, &key)];
    let hung =
        row.policies.remove(alias).is_some() | row.provisioned.remove(alias).is_some() | row.events.remove(alias).is_some();
    if hung {
        writes.push(rows::put(tenant, rows::FUNCTION, &*function, &row, expect));
    }
    shared.commit(writes).await?;
    Ok(no_content())
}
