//! `myna versions`: numbered, immutable states of a function.

use super::list::changed;
use crate::{
    cli::{Ctx, problem::Done, units::bytes},
    platform::{
        Api,
        lambda::{self, Config},
    },
};
use http::Method;
use serde_json::json;

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  myna versions hello
  myna versions publish hello --description 'first release'")]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    /// The function, to see what is there.
    #[arg(required = true)]
    name: Option<String>,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(clap::Subcommand)]
enum What {
    /// Every version of a function.
    List {
        /// The function.
        name: String,
    },
    /// Keep the function as it is now as a numbered version.
    Publish {
        /// The function.
        name: String,
        #[arg(long, help = "What is special about it")]
        description: Option<String>,
    },
}

pub async fn run(ctx: &Ctx, args: &Args) -> Done {
    let api = super::platform(ctx)?;
    let Some(what) = &args.what else {
        let name = args.name.as_deref().unwrap_or_default();
        return list(ctx, &api, name).await;
    };
    match what {
        What::List { name } => list(ctx, &api, name).await,
        What::Publish { name, description } => publish(ctx, &api, name, description.as_deref()).await,
    }
}

async fn list(ctx: &Ctx, api: &Api, name: &str) -> Done {
    let versions = lambda::list(api, &format!("{}/versions", lambda::function_path(name)), "Versions")
        .await
        .map_err(|p| lambda::absent(p, name))?;
    if ctx.out.json {
        ctx.out.json(&versions);
        return Ok(());
    }
    let row = |v: &Config| {
        vec![
            v.version.clone(),
            v.runtime.clone(),
            v.code_hash(),
            bytes(v.code_size),
            changed(&v.last_modified),
            v.description.clone(),
        ]
    };
    ctx.out.table(
        &["version", "runtime", "hash", "code", "changed", "description"],
        &versions.iter().map(|v| row(&Config::of(v))).collect::<Vec<_>>(),
    );
    Ok(())
}

async fn publish(ctx: &Ctx, api: &Api, name: &str, description: Option<&str>) -> Done {
    let body = description.map_or_else(|| json!({}), |d| json!({ "Description": d }));
    let made = api
        .json(Method::POST, &format!("{}/versions", lambda::function_path(name)), Some(&body))
        .await
        .map_err(|p| lambda::absent(p, name))?;
    if ctx.out.json {
        ctx.out.json(&made);
    } else {
        let version = Config::of(&made);
        ctx.out.line(format!("{name} {} is code {}", version.version, version.code_hash()));
    }
    Ok(())
}
