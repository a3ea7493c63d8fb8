//! `myna runtime`: the language runtimes that functions may name.

use crate::{
    admin::wire::{InstallLine, RuntimeRow},
    cli::{
        Ctx,
        problem::{Done, Problem},
    },
    platform::http::{request, segment},
};
use http::Method;
use serde::Deserialize;

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  myna runtime list
  myna runtime list --json | jq '.[] | select(.found == \"\")'    also where it was looked for
  myna runtime install nodejs22.x")]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Every runtime: found here, or to be had, or neither and why.
    List,
    /// Fetch a runtime from its language's package registry.
    Install {
        /// As functions name it: nodejs22.x.
        name: String,
    },
}

pub async fn run(ctx: &Ctx, args: &Args) -> Done {
    match &args.what {
        What::List => list(ctx).await,
        What::Install { name } => install(ctx, name).await,
    }
}

async fn list(ctx: &Ctx) -> Done {
    let rows: Vec<RuntimeRow> = super::platform(ctx)?.read("/admin/v1/runtimes").await?;
    if ctx.out.json {
        ctx.out.json(&rows);
        return Ok(());
    }
    ctx.out.table(&["runtime", "found", "where", "notes"], &rows.into_iter().map(row).collect::<Vec<_>>());
    Ok(())
}

/// Where one is missing, what to do about it matters more than all the places where it was looked for; those are in the JSON.
fn row(r: RuntimeRow) -> Vec<String> {
    if r.found.is_empty() {
        let mend = r.mend.or_else(|| r.installable.then(|| format!("myna runtime install {}", r.name)));
        return vec![r.name, "-".to_string(), "-".to_string(), mend.unwrap_or_default()];
    }
    vec![r.name, r.found, r.origin, r.notes.join("; ")]
}

async fn install(ctx: &Ctx, name: &str) -> Done {
    let api = super::platform(ctx)?;
    let path = format!("/admin/v1/runtimes/{}/install", segment(name));
    let mut lines = api.lines(request(Method::POST, &path, None)).await?;
    let mut progress = ctx.out.progress();
    while let Some(line) = lines.next().await? {
        match InstallLine::deserialize(&line) {
            Ok(InstallLine::Step(step)) => progress.step(&step),
            Ok(InstallLine::Done(row)) => {
                progress.clear();
                if ctx.out.json {
                    ctx.out.json(&row);
                } else {
                    ctx.out.line(format!("{} is {}, {}", row.name, row.found, row.origin));
                }
                return Ok(());
            }
            Ok(InstallLine::Failed { message, hint }) => return Err(Problem { hint, ..Problem::failed(message) }),
            Err(error) => return Err(Problem::failed(format!("the platform said something else than a step: {error}"))),
        }
    }
    Err(Problem::failed(format!("the platform stopped while it installed {name}"))
        .hint("see what it printed, and: myna runtime list"))
}
