//! `myna describe`: everything about one function on one page, what was asked for beside what is there.

use super::{alias, list::changed};
use crate::{
    admin::wire::{RuntimeRow, Status},
    cli::{
        Ctx,
        problem::Done,
        units::{bytes, span},
    },
    platform::{
        Api,
        http::segment,
        lambda::{self, Config},
    },
};
use model::event::Record;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  myna describe hello
  myna describe hello --json | jq .instances")]
pub struct Args {
    /// The function.
    name: String,
}

pub async fn run(ctx: &Ctx, args: &Args) -> Done {
    let api = super::platform(ctx)?;
    let page = gather(&api, &args.name).await?;
    if ctx.out.json {
        ctx.out.json(&page);
    } else {
        show(ctx, &page);
    }
    Ok(())
}

async fn gather(api: &Api, name: &str) -> Result<Value, crate::cli::problem::Problem> {
    let function = api.get(&lambda::function_path(name)).await.map_err(|p| lambda::absent(p, name))?;
    let configuration = &function["Configuration"];
    let plain = segment(configuration["FunctionName"].as_str().unwrap_or(name));
    let versions = lambda::list(api, &format!("{}/versions", lambda::function_path(name)), "Versions").await?;
    let aliases = lambda::list(api, &format!("{}/aliases", lambda::function_path(name)), "Aliases").await?;
    let urls = lambda::list(api, &format!("/2021-10-31/functions/{plain}/urls"), "FunctionUrlConfigs").await?;
    let observed = api.get(&format!("/admin/v1/functions/{plain}/observed")).await?;
    let recent = api.get(&format!("/admin/v1/invocations?function={plain}&limit=5")).await?;
    let status: Status = api.read("/admin/v1/status").await?;
    let named = segment(configuration["Runtime"].as_str().unwrap_or_default());
    let runtimes: Vec<RuntimeRow> = api.read(&format!("/admin/v1/runtimes?family={named}")).await?;
    let runtime = runtimes.into_iter().find(|r| configuration["Runtime"] == r.name.as_str());
    Ok(json!({
        "configuration": configuration, "tags": function["Tags"], "concurrency": function["Concurrency"], "versions": versions, "aliases": aliases,
        "urls": urls, "observed": observed, "recent": recent, "runtime": runtime,
        "sandbox": { "tier": status.tier, "weaker": status.weaker },
    }))
}

fn show(ctx: &Ctx, page: &Value) {
    let f = Config::of(&page["configuration"]);
    let runtime = RuntimeRow::deserialize(&page["runtime"]).unwrap_or_default();
    let mut rows = vec![
        ("function", f.function_arn.clone()),
        ("state", reasoned(&f)),
        (
            "runtime",
            if runtime.found.is_empty() {
                f.runtime.clone()
            } else {
                format!("{}: {}, {}", f.runtime, runtime.found, runtime.origin)
            },
        ),
    ];
    if !runtime.libraries.is_empty() {
        let list: Vec<String> = runtime.libraries.iter().map(|(name, version)| format!("{name} {version}")).collect();
        rows.push(("libraries", list.join(", ")));
    }
    rows.extend(runtime.notes.into_iter().map(|note| ("note", note)));
    rows.extend([
        ("handler", f.handler.clone()),
        ("code", format!("{}, {}, changed {}", f.code_hash(), bytes(f.code_size), changed(&f.last_modified))),
        ("sandbox", text(&page["sandbox"], "tier")),
    ]);
    rows.extend(f.layers.iter().map(|l| ("layer", text(l, "Arn"))));
    rows.extend(list(&page["sandbox"]["weaker"]).filter_map(Value::as_str).map(|w| ("weaker", w.to_string())));
    rows.extend([("limits", format!("{} MB memory, {} s a call", f.memory_size, f.timeout)), ("role", f.role.clone())]);
    if !f.description.is_empty() {
        rows.push(("description", f.description.clone()));
    }
    if !f.environment.variables.is_empty() {
        // Names only: values are secrets, and screens are shared.
        rows.push(("variables", f.environment.variables.keys().cloned().collect::<Vec<_>>().join(", ")));
    }
    let reserved = page["concurrency"]["ReservedConcurrentExecutions"].as_u64();
    rows.push(("concurrency", reserved.map_or_else(|| "no limit of its own".to_string(), |n| format!("at most {n}"))));
    rows.push(("versions", list(&page["versions"]).filter_map(|v| v["Version"].as_str()).collect::<Vec<_>>().join(", ")));
    rows.extend(list(&page["urls"]).map(|u| ("address", format!("{} ({})", text(u, "FunctionUrl"), text(u, "AuthType")))));
    let observed = &page["observed"];
    rows.push(("now", format!("{} running, {} waiting", observed["running"], observed["waiting"])));
    ctx.out.pairs(&rows);
    section(ctx, &["alias", "version", "calls", "description"], list(&page["aliases"]).map(alias::row).collect());
    section(
        ctx,
        &["instance", "version", "state", "sandbox", "memory", "calls"],
        list(&observed["instances"]).map(instance).collect(),
    );
    section(
        ctx,
        &["recent call", "version", "result", "took", "start", "memory"],
        list(&page["recent"]).filter_map(call).collect(),
    );
}

fn reasoned(f: &Config) -> String {
    let reason = if f.last_update_status == "Failed" { &f.last_update_status_reason } else { &f.state_reason };
    if reason.is_empty() { f.condition().to_string() } else { format!("{}: {reason}", f.condition()) }
}

fn instance(i: &Value) -> Vec<String> {
    let kept = if i["provisioned"] == true { " (kept ready)" } else { "" };
    vec![
        text(i, "id"),
        text(i, "version"),
        format!("{}{kept}", text(i, "state")),
        text(i, "tier"),
        measured(i["memory_bytes"].as_u64().unwrap_or(0)),
        i["calls"].to_string(),
    ]
}

fn call(record: &Value) -> Option<Vec<String>> {
    let r = Record::deserialize(record).ok()?;
    let start = r
        .usage
        .init
        .map_or_else(|| "warm".to_string(), |init| format!("cold, {}", span(Duration::from_micros(r.steps.sandbox_us) + init)));
    Some(vec![
        r.id.to_string(),
        r.version.to_string(),
        r.status.to_string(),
        span(r.usage.duration),
        start,
        measured(r.usage.memory_max_bytes),
    ])
}

/// No process uses nothing: where the kernel doesn't count, there is no number.
fn measured(memory: u64) -> String {
    if memory == 0 { "not measured".into() } else { bytes(memory) }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_string()
}

fn section(ctx: &Ctx, head: &[&str], rows: Vec<Vec<String>>) {
    if !rows.is_empty() {
        ctx.out.line("");
        ctx.out.table(head, &rows);
    }
}
