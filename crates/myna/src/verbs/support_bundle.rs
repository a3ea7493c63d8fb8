//! `myna support-bundle`: what helps somebody else to find out what is wrong, and nothing that is a secret. What goes in is named
//! here one by one; what is not named stays out.

use crate::{
    admin::wire::Status,
    cli::{
        Ctx,
        problem::{Doing, Done, Problem},
    },
};
use serde_json::{Value, json};
use std::path::PathBuf;
use store::care::Tarball;

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  myna support-bundle                        ./myna-support.tar
  myna support-bundle -o /tmp/for-you.tar")]
pub struct Args {
    /// The archive to write.
    #[arg(short, long, value_name = "FILE", default_value = "myna-support.tar")]
    output: PathBuf,
}

/// Of a function's configuration: what no user wrote, or what can hold no secret.
const SHOWN: [&str; 15] = [
    "FunctionName",
    "Runtime",
    "Handler",
    "MemorySize",
    "Timeout",
    "CodeSize",
    "CodeSha256",
    "LastModified",
    "State",
    "StateReasonCode",
    "LastUpdateStatus",
    "LastUpdateStatusReasonCode",
    "PackageType",
    "Version",
    "Architectures",
];

pub async fn run(ctx: &Ctx, args: &Args) -> Done {
    let api = super::platform(ctx)?;
    let status: Status = api.read("/admin/v1/status").await?;
    let mut out = Tarball::create(&args.output).doing("no bundle is made")?;
    let mut add = |name: &str, value: &Value| -> Result<(), Problem> {
        let text = serde_json::to_vec_pretty(value).doing("an answer can't be written as JSON")?;
        out.add(name, &text).doing("the bundle can't be written")
    };
    add("version.json", &json!({ "version": status.version, "kernel": kernel(), "processors": crate::compose::config::cpus() }))?;
    add("status.json", &json!(status))?;
    add("doctor.json", &api.get("/admin/v1/findings").await?)?;
    add("runtimes.json", &api.get("/admin/v1/runtimes").await?)?;
    let functions = crate::platform::lambda::list(&api, "/2015-03-31/functions", "Functions").await?;
    let shown: Vec<Value> = functions.iter().map(shown).collect();
    add("functions.json", &json!(shown))?;
    add("lanes.json", &api.get("/admin/v1/lanes").await?)?;
    let lines: Vec<String> = api.read("/admin/v1/platform-log").await?;
    out.add("platform.log", (lines.join("\n") + "\n").as_bytes()).doing("the bundle can't be written")?;
    let (bytes, entries) = out.finish(json!({ "version": status.version })).doing("the bundle can't be written")?;
    if ctx.out.json {
        ctx.out.json(&json!({ "file": args.output, "bytes": bytes, "entries": entries }));
    } else {
        ctx.out.good(format!("{}: {entries} entries", args.output.display()));
        ctx.out.note("it holds names of functions, settings and the platform's own log; no code, variables, keys, payloads or functions' logs");
    }
    Ok(())
}

fn shown(function: &Value) -> Value {
    let named = SHOWN.iter().filter_map(|name| Some(((*name).to_owned(), function.get(*name)?.clone())));
    let mut map: serde_json::Map<String, Value> = named.collect();
    let variables = function["Environment"]["Variables"].as_object().map_or(0, serde_json::Map::len);
    map.insert("Variables".into(), json!(variables));
    Value::Object(map)
}

fn kernel() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}
