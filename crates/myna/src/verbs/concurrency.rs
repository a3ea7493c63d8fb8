//! `myna concurrency`: how many instances a function may have, keeps for itself, and keeps ready.

use crate::{
    cli::{Ctx, problem::Done},
    platform::{Api, http::segment, lambda},
};
use http::Method;
use serde_json::{Value, json};

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  myna concurrency hello
  myna concurrency set hello 10              at most ten at once, and ten kept for it
  myna concurrency set hello 0               stops it
  myna concurrency set hello none            no limit of its own
  myna concurrency provision hello live 5    five instances of hello:live kept ready
  myna concurrency provision hello live 0    none any more")]
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
    /// What is set, and what is there.
    Get {
        /// The function.
        name: String,
    },
    /// Reserve instances, and limit the function to them.
    Set {
        /// The function.
        name: String,
        /// A number, or none.
        #[arg(value_parser = limit)]
        limit: Limit,
    },
    /// Keep instances of a version or an alias ready.
    Provision {
        /// The function.
        name: String,
        /// A version or an alias.
        qualifier: String,
        /// How many; 0 for none any more.
        instances: u32,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Limit {
    None,
    Of(u32),
}

fn limit(text: &str) -> Result<Limit, String> {
    match text {
        "none" => Ok(Limit::None),
        _ => text.parse().map(Limit::Of).map_err(|_| format!("{text:?} is neither a number nor none")),
    }
}

pub async fn run(ctx: &Ctx, args: &Args) -> Done {
    let api = super::platform(ctx)?;
    let Some(what) = &args.what else {
        let name = args.name.as_deref().unwrap_or_default();
        return get(ctx, &api, name).await;
    };
    match what {
        What::Get { name } => get(ctx, &api, name).await,
        What::Set { name, limit } => set(ctx, &api, name, *limit).await,
        What::Provision { name, qualifier, instances } => provision(ctx, &api, name, qualifier, *instances).await,
    }
}

fn reserved_path(name: &str) -> String {
    format!("/2017-10-31/functions/{}/concurrency", segment(name))
}
fn provisioned_path(name: &str, query: &str) -> String {
    format!("/2019-09-30/functions/{}/provisioned-concurrency?{query}", segment(name))
}

async fn get(ctx: &Ctx, api: &Api, name: &str) -> Done {
    let reserved =
        api.get(&format!("/2019-09-30/functions/{}/concurrency", segment(name))).await.map_err(|p| lambda::absent(p, name))?;
    let provisioned = lambda::list(api, &provisioned_path(name, "List=ALL"), "ProvisionedConcurrencyConfigs").await?;
    let observed = api.get(&format!("/admin/v1/functions/{}/observed", segment(name))).await?;
    let reserved = &reserved["ReservedConcurrentExecutions"];
    if ctx.out.json {
        ctx.out.json(&json!({ "reserved": reserved, "provisioned": provisioned, "running": observed["running"], "waiting": observed["waiting"] }));
        return Ok(());
    }
    ctx.out.pairs(&[
        (
            "reserved",
            reserved
                .as_u64()
                .map_or_else(|| "none; it shares the account's limit".to_string(), |n| format!("at most {n}, kept for it")),
        ),
        ("now", format!("{} running, {} waiting", observed["running"], observed["waiting"])),
    ]);
    if !provisioned.is_empty() {
        ctx.out.line("");
        ctx.out.table(&["kept ready", "asked", "there", "state"], &provisioned.iter().map(row).collect::<Vec<_>>());
    }
    Ok(())
}

fn row(config: &Value) -> Vec<String> {
    let arn = config["FunctionArn"].as_str().unwrap_or_default();
    let number = |name: &str| config[name].as_u64().unwrap_or(0).to_string();
    vec![
        arn.rsplit(':').next().unwrap_or(arn).to_string(),
        number("RequestedProvisionedConcurrentExecutions"),
        number("AvailableProvisionedConcurrentExecutions"),
        config["Status"].as_str().unwrap_or_default().to_string(),
    ]
}

async fn set(ctx: &Ctx, api: &Api, name: &str, limit: Limit) -> Done {
    let said = match limit {
        Limit::None => {
            api.json(Method::DELETE, &reserved_path(name), None).await.map_err(|p| lambda::absent(p, name))?;
            format!("{name} has no limit of its own")
        }
        Limit::Of(n) => {
            let body = json!({ "ReservedConcurrentExecutions": n });
            api.json(Method::PUT, &reserved_path(name), Some(&body)).await.map_err(|p| lambda::absent(p, name))?;
            if n == 0 {
                format!("{name} is stopped: every call is refused until its limit changes")
            } else {
                format!("{name} runs at most {n} at once")
            }
        }
    };
    if ctx.out.json {
        ctx.out.json(&json!({ "reserved": match limit { Limit::None => None, Limit::Of(n) => Some(n) } }));
    } else {
        ctx.out.line(said);
    }
    Ok(())
}

async fn provision(ctx: &Ctx, api: &Api, name: &str, qualifier: &str, instances: u32) -> Done {
    let path = provisioned_path(name, &format!("Qualifier={}", segment(qualifier)));
    let answer = if instances == 0 {
        api.json(Method::DELETE, &path, None).await
    } else {
        api.json(Method::PUT, &path, Some(&json!({ "ProvisionedConcurrentExecutions": instances }))).await
    };
    let answer = answer.map_err(|p| lambda::absent_version(p, name, Some(qualifier)))?;
    if ctx.out.json {
        ctx.out.json(&answer);
    } else if instances == 0 {
        ctx.out.line(format!("{name}:{qualifier} keeps none ready"));
    } else {
        ctx.out.line(format!("{name}:{qualifier} keeps {instances} ready; when they are there: myna concurrency get {name}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_number_or_none() {
        assert_eq!([limit("0"), limit("10"), limit("none")], [Ok(Limit::Of(0)), Ok(Limit::Of(10)), Ok(Limit::None)]);
        assert!(limit("-1").is_err() && limit("all").is_err());
    }
}
