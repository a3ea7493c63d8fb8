//! Settings of a function that change how Amazon runs it, kept and shown as they were put: runtime updates (there is one build
//! of a runtime here) and recursion.

use super::{Answer, Op, describe::runtime_version_arn, functions};
use crate::aws::{
    check::Checks,
    fault::WireError,
    names::{Group, LATEST},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Runtime {
    update_runtime_on: Option<String>,
    runtime_version_arn: Option<String>,
}

pub async fn put_runtime(op: Op) -> Answer {
    let asked: Runtime = op.members()?;
    let mut checks = Checks::default();
    match &asked.update_runtime_on {
        None => checks.missing("updateRuntimeOn"),
        Some(mode) => checks.one_of(mode, "updateRuntimeOn", &["Auto", "Manual", "FunctionUpdate"]),
    }
    checks.into_result()?;
    let mode = asked.update_runtime_on.unwrap_or_default();
    if (mode == "Manual") != asked.runtime_version_arn.is_some() {
        return Err(WireError::invalid(
            "RuntimeVersionArn is required when UpdateRuntimeOn is Manual, and must not be given otherwise",
        ));
    }
    let named = op.named(Group::Reader)?;
    let (shared, qualifier) = (op.asked.shared.clone(), named.qualifier.as_deref().unwrap_or(LATEST).to_owned());
    let _one = shared.writing.lock().await;
    let (_, config) = functions::resolve(&op, &named.name, named.qualifier.as_deref())?;
    if let Some(arn) = asked.runtime_version_arn.filter(|a| *a != runtime_version_arn(op.asked.region(), &config.runtime)) {
        return Err(WireError::invalid(format!(
            "Runtime version {arn} is not available here; there is one version of each runtime"
        )));
    }
    let (mut row, expect) = op.load(&named.name)?;
    row.runtime_management.insert(qualifier, mode);
    op.save(&named.name, &row, expect).await?;
    shown_runtime(&op)
}

pub fn get_runtime(op: &Op) -> Answer {
    shown_runtime(op)
}

fn shown_runtime(op: &Op) -> Answer {
    let named = op.named(Group::Reader)?;
    let qualifier = named.qualifier.as_deref();
    let (_, config) = functions::resolve(op, &named.name, qualifier)?;
    let (row, _) = op.load(&named.name)?;
    let mode = row.runtime_management.get(qualifier.unwrap_or(LATEST)).map_or("Auto", String::as_str);
    let mut out = Map::new();
    out.insert("UpdateRuntimeOn".into(), mode.into());
    if mode == "Manual" {
        out.insert("RuntimeVersionArn".into(), runtime_version_arn(op.asked.region(), &config.runtime).into());
    }
    out.insert("FunctionArn".into(), op.arn(&named.name, Some(qualifier.unwrap_or(LATEST))).into());
    op.done(&Value::Object(out))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Recursion {
    recursive_loop: Option<String>,
}

pub async fn put_recursion(op: Op) -> Answer {
    let asked: Recursion = op.members()?;
    let mut checks = Checks::default();
    match &asked.recursive_loop {
        None => checks.missing("recursiveLoop"),
        Some(mode) => checks.one_of(mode, "recursiveLoop", &["Allow", "Terminate"]),
    }
    checks.into_result()?;
    let name = op.unqualified()?.name;
    let shared = op.asked.shared.clone();
    let _one = shared.writing.lock().await;
    let (mut row, expect) = op.load(&name)?;
    row.recursive_loop.clone_from(&asked.recursive_loop);
    op.save(&name, &row, expect).await?;
    op.done(&json!({ "RecursiveLoop": asked.recursive_loop }))
}

pub fn get_recursion(op: &Op) -> Answer {
    let (row, _) = op.load(&op.unqualified()?.name)?;
    op.done(&json!({ "RecursiveLoop": row.recursive_loop.as_deref().unwrap_or("Terminate") }))
}
