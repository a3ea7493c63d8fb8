//! A plan carried out: created when there is no such function, else updated, and waited for.

use super::{options::Options, pack::Packer, plan, plan::Plan, runtime, source::Source};
use crate::{
    admin::wire::{RuntimeRow, Status},
    cli::{Ctx, problem::Problem, units},
    platform::{Api, lambda, lambda::Config, registry},
};
use base64::Engine;
use serde_json::{Map, Value, json};
use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

pub struct Sent {
    pub function: Config,
    pub what: What,
    pub took: Duration,
    /// Its HTTP address, when one was asked for.
    pub url: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Created,
    Updated,
    /// The function has this code and these settings already.
    Unchanged,
}

/// Read the project again; directories of platforms are known by the one that is talked to and by those that were announced.
pub fn open(api: &Api, path: &Path, options: &Options) -> Result<Source, Problem> {
    let mut state: Vec<PathBuf> = registry::read().into_iter().map(|e| e.dir).collect();
    state.extend(api.dir().canonicalize());
    Source::open(path, &options.allow_outside, state)
}

/// Deploy a project as it lies there now.
pub async fn deploy(ctx: &Ctx, api: &Api, path: &Path, options: &Options, packer: &mut Packer) -> Result<Sent, Problem> {
    let began = Instant::now();
    let mut source = open(api, path, options)?;
    if let Some(unbuilt) = source.findings().unbuilt.filter(|u| options.build && u.build.command().is_some()) {
        ctx.out.note(format!("building: {}", unbuilt.build.shown()));
        source.build(unbuilt.build)?;
        source = open(api, path, options)?;
    }
    let name = plan::name(&source, options);
    let existing = lambda::find(api, &name).await?;
    let plan = plan(ctx, api, &source, options, existing.as_ref()).await?;
    let first = packer.is_fresh();
    let (archive, files) = source.pack(&plan.contents, packer)?;
    if first {
        say(ctx, &source, &plan, files, archive.len());
    }
    let mut progress = if first { ctx.out.progress() } else { ctx.out.no_progress() };
    progress.step(&format!("{name}: sending {}", units::bytes(archive.len() as u64)));
    let base64 = base64::engine::general_purpose::STANDARD;
    let hash = base64.encode(ring::digest::digest(&ring::digest::SHA256, &archive));
    let code = base64.encode(&archive);
    drop(archive);
    let what = match &existing {
        None => {
            lambda::create(api, &creation(api, &plan, code).await?).await?;
            What::Created
        }
        Some(now) => {
            // What failed is sent again: what it failed for may be mended.
            let same_code = now.code_sha256 == hash && now.condition() != "Failed";
            let changes = changes(api, &plan, now).await?;
            let unchanged = same_code && changes.is_empty();
            // Settings first: what is wrong in them is found out before anything has changed.
            if !changes.is_empty() {
                lambda::update_configuration(api, &name, &Value::Object(changes)).await?;
                lambda::settled(api, &name, |doing| progress.step(&format!("{name}: {doing}"))).await?;
            }
            if !same_code {
                lambda::update_code(api, &name, &code).await?;
            }
            if unchanged { What::Unchanged } else { What::Updated }
        }
    };
    let function = lambda::settled(api, &name, |doing| progress.step(&format!("{name}: {doing}"))).await?;
    progress.clear();
    let url = if options.url { Some(open_url(api, &name).await?) } else { None };
    Ok(Sent { function, what, took: began.elapsed(), url })
}

/// Which runtimes the platform has is asked only where one must be chosen: finding out takes a while.
async fn plan(ctx: &Ctx, api: &Api, source: &Source, options: &Options, existing: Option<&Config>) -> Result<Plan, Problem> {
    let draft = plan::draft(source, options, existing, &ctx.out)?;
    let runtimes: Vec<RuntimeRow> = match draft.undecided() {
        Some(language) => api.read(&format!("/admin/v1/runtimes?family={}", runtime::family(language))).await?,
        None => Vec::new(),
    };
    draft.decide(source, &runtimes)
}

/// What was found and why, before anything is sent.
fn say(ctx: &Ctx, source: &Source, plan: &Plan, files: usize, bytes: usize) {
    let wide = plan.runtime.is.len().max(plan.handler.is.len());
    ctx.out.note(format!("{} from {}", plan.name, source.path.display()));
    for (what, value) in [("runtime", &plan.runtime), ("handler", &plan.handler)] {
        ctx.out.note(format!("  {what:<9} {:<wide$}  {}", value.is, value.why));
    }
    let files = if files == 1 { "1 file".to_string() } else { format!("{files} files") };
    ctx.out.note(format!("  {:<9} {files}, {}", "package", units::bytes(bytes as u64)));
    if !source.left_out().is_empty() {
        ctx.out.note(format!("  {:<9} {}", "left out", shortened(source.left_out())));
    }
    for note in &plan.notes {
        ctx.out.warn(note);
    }
}

fn shortened(names: &[String]) -> String {
    const SHOWN: usize = 12;
    let more = names.len().saturating_sub(SHOWN);
    let list = names[..names.len() - more].join(", ");
    if more == 0 { list } else { format!("{list} and {more} more") }
}

async fn creation(api: &Api, plan: &Plan, code: String) -> Result<Value, Problem> {
    let mut body = settings(plan);
    body.insert("FunctionName".into(), json!(plan.name));
    body.insert("Runtime".into(), json!(plan.runtime.is));
    body.insert("Handler".into(), json!(plan.handler.is));
    body.insert("Role".into(), json!(role(api, plan.role.as_deref()).await?));
    body.insert("PackageType".into(), json!("Zip"));
    body.insert("Code".into(), json!({ "ZipFile": code }));
    Ok(Value::Object(body))
}

/// What differs from what the function has.
async fn changes(api: &Api, plan: &Plan, now: &Config) -> Result<Map<String, Value>, Problem> {
    let mut changes = settings(plan);
    let same = |name: &str, value: &Value| match name {
        "MemorySize" => *value == json!(now.memory_size),
        "Timeout" => *value == json!(now.timeout),
        "Description" => *value == json!(now.description),
        "Layers" => value.as_array().is_some_and(|wanted| wanted.iter().eq(now.layers.iter().map(|l| &l["Arn"]))),
        "Environment" => *value == json!({ "Variables": now.environment.variables }),
        _ => false,
    };
    changes.retain(|name, value| !same(name, value));
    if plan.runtime.is != now.runtime {
        changes.insert("Runtime".into(), json!(plan.runtime.is));
    }
    if plan.handler.is != now.handler {
        changes.insert("Handler".into(), json!(plan.handler.is));
    }
    if plan.role.is_some() {
        let role = role(api, plan.role.as_deref()).await?;
        if role != now.role {
            changes.insert("Role".into(), json!(role));
        }
    }
    Ok(changes)
}

fn settings(plan: &Plan) -> Map<String, Value> {
    let mut map = Map::new();
    let mut set = |name: &str, value: Option<Value>| value.map(|v| map.insert(name.into(), v));
    set("MemorySize", plan.memory.map(|v| json!(v)));
    set("Timeout", plan.timeout.map(|v| json!(v)));
    set("Description", plan.description.as_ref().map(|v| json!(v)));
    set("Layers", plan.layers.as_ref().map(|v| json!(v)));
    set("Environment", plan.env.as_ref().map(|v| json!({ "Variables": v })));
    map
}

/// An ARN as it is, a name in the platform's account, or the platform's default.
async fn role(api: &Api, said: Option<&str>) -> Result<String, Problem> {
    if let Some(arn) = said.filter(|r| r.starts_with("arn:")) {
        return Ok(arn.to_string());
    }
    let status: Status = api.read("/admin/v1/status").await?;
    Ok(match said {
        Some(name) => format!("arn:aws:iam::{}:role/{name}", status.account),
        None => status.default_role,
    })
}

/// An HTTP address that needs no signature, and the permission for everybody to call it.
async fn open_url(api: &Api, name: &str) -> Result<String, Problem> {
    let address = crate::verbs::url::set(api, name, None, Some("NONE")).await?;
    Ok(address["FunctionUrl"].as_str().unwrap_or_default().to_string())
}
