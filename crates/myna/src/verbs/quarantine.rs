//! `myna quarantine`: every instance of a function is ended, its calls are refused, and what it did is kept.

use super::pause::hold;
use crate::{
    admin::{
        hold::Row,
        wire::{LogLine, Status},
    },
    cli::{
        Ctx,
        problem::{Doing, Done, Problem},
    },
    platform::{
        Api,
        http::{request, segment},
        lambda,
    },
};
use http::Method;
use serde_json::{Value, json};
use std::path::PathBuf;
use store::care::Tarball;

/// Lines and records that go into the evidence.
const LINES_MAX: usize = 1_000_000;
const RECORDS_MAX: usize = 1000;

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  myna quarantine hello                   ends its instances, refuses its calls, keeps the evidence here
  myna quarantine hello --out /evidence
  myna quarantine hello --release")]
pub struct Args {
    /// The function.
    name: String,
    /// The folder for the archive with the evidence. [default: this folder]
    #[arg(long, value_name = "DIR", conflicts_with = "release")]
    out: Option<PathBuf>,
    /// Let it take calls again.
    #[arg(long)]
    release: bool,
}

pub async fn run(ctx: &Ctx, args: &Args) -> Done {
    let (api, name) = (super::platform(ctx)?, &args.name);
    if args.release {
        let held = hold(&api, name, "none&from=quarantined").await?;
        match ctx.out.json {
            true => ctx.out.json(&held),
            false => ctx.out.line(format!("{name} takes calls again; events that waited: {}", held.queued)),
        }
        return Ok(());
    }
    // First it is stopped: whatever goes wrong with the evidence, it stays so.
    let held = hold(&api, name, "quarantined").await?;
    let row = held.held.ok_or_else(|| Problem::failed(format!("function {name} was released meanwhile")))?;
    let folder = args.out.clone().unwrap_or_else(|| PathBuf::from("."));
    let safe: String = name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' }).collect();
    let file = folder.join(format!("quarantine-{safe}-{}.tar", crate::cli::units::now_ms()));
    let entries = evidence(&api, name, &row, &file).await.map_err(|p| {
        p.hint(format!("the function is stopped all the same; for the evidence once more: myna quarantine {name}"))
    })?;
    if ctx.out.json {
        ctx.out.json(
            &json!({ "function": name, "evidence": file, "entries": entries, "packages": row.packages, "queued": held.queued }),
        );
        return Ok(());
    }
    ctx.out.good(format!("{name} is in quarantine: no instance of it is left, and its calls are refused"));
    ctx.out.pairs(&[
        ("evidence", file.display().to_string()),
        ("entries", entries.to_string()),
        ("code", row.packages.join("\n")),
    ]);
    ctx.out.note(format!("it ends with: myna quarantine {name} --release"));
    Ok(())
}

/// Configuration, code, log, records and events, with a list of them and their checksums.
async fn evidence(api: &Api, name: &str, row: &Row, file: &std::path::Path) -> Result<usize, Problem> {
    let mut out = Tarball::create(file).doing("no evidence is kept")?;
    let mut add = |name: &str, bytes: &[u8]| out.add(name, bytes).doing("the evidence can't be written");
    let pretty = |value: &Value| serde_json::to_vec_pretty(value).doing("an answer can't be written as JSON");
    let at = segment(name);
    for (entry, path) in [
        ("function.json", format!("/2015-03-31/functions/{at}")),
        ("explain.json", format!("/admin/v1/functions/{at}/explain")),
        ("records.json", format!("/admin/v1/invocations?function={at}&limit={RECORDS_MAX}")),
        ("events.json", format!("/admin/v1/events?function={at}")),
        ("status.json", "/admin/v1/status".to_owned()),
    ] {
        let answer = api.get(&path).await.map_err(|p| lambda::absent(p, name))?;
        add(entry, &pretty(&answer)?)?;
    }
    let versions = lambda::list(api, &format!("/2015-03-31/functions/{at}/versions"), "Versions").await?;
    add("versions.json", &pretty(&json!(versions))?)?;
    add("hold.json", &pretty(&json!(row))?)?;
    let mut lines = api.lines(request(Method::GET, &format!("/admin/v1/logs?function={at}&limit={LINES_MAX}"), None)).await?;
    let mut log = Vec::new();
    while let Some(line) = lines.next().await? {
        let line: LogLine = serde_json::from_value(line).doing("the platform's answer has another shape")?;
        serde_json::to_writer(&mut log, &line).doing("a log line can't be written as JSON")?;
        log.push(b'\n');
    }
    add("log.jsonl", &log)?;
    let status: Status = api.read("/admin/v1/status").await?;
    for (digest, place) in packages(&api.dir().join("packages").join(status.account), &row.packages) {
        out.add_file(&format!("code/{digest}.zip"), &place).doing("the function's code can't be kept")?;
    }
    let about = json!({ "function": name, "since_ms": row.since_ms, "packages": row.packages });
    out.finish(about).doing("the evidence can't be written").map(|(_, entries)| entries)
}

/// The archives of these digests, in the folder of their tenant.
fn packages(folder: &std::path::Path, digests: &[String]) -> Vec<(String, PathBuf)> {
    let find = |digest: &String| {
        let path = folder.join(digest).join("archive.zip");
        path.is_file().then(|| (digest.clone(), path))
    };
    digests.iter().filter_map(find).collect()
}
