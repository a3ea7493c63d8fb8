//! `myna list`.

use crate::{
    cli::{
        Ctx,
        problem::Done,
        units::{ago, bytes},
    },
    platform::lambda::{self, Config},
};

#[derive(clap::Args)]
#[command(visible_alias = "ls")]
#[command(after_help = "\
Examples:
  myna list
  myna list --json | jq -r '.[].FunctionName'")]
pub struct Args {}

pub async fn run(ctx: &Ctx, _args: &Args) -> Done {
    let api = super::platform(ctx)?;
    let functions = lambda::functions(&api).await?;
    if ctx.out.json {
        ctx.out.json(&functions);
        return Ok(());
    }
    if functions.is_empty() {
        ctx.out.note("no functions yet; write one with: myna init --like lambda-python hello");
        return Ok(());
    }
    let rows: Vec<Vec<String>> = functions.iter().map(|f| row(&Config::of(f))).collect();
    ctx.out.table(&["name", "runtime", "state", "memory", "timeout", "code", "hash", "changed"], &rows);
    Ok(())
}

fn row(f: &Config) -> Vec<String> {
    vec![
        f.function_name.clone(),
        f.runtime.clone(),
        f.condition().to_string(),
        format!("{} MB", f.memory_size),
        format!("{} s", f.timeout),
        bytes(f.code_size),
        f.code_hash(),
        changed(&f.last_modified),
    ]
}

/// Lambda writes `2026-01-02T03:04:05.678+0000`, an offset without its colon (ISO 8601 basic form).
pub fn changed(last_modified: &str) -> String {
    let time = last_modified.replace("+0000", "Z").parse::<jiff::Timestamp>().ok();
    time.and_then(|t| u64::try_from(t.as_millisecond()).ok()).map_or_else(|| last_modified.to_string(), ago)
}
