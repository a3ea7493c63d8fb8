//! `myna alias`: names for versions, which callers use instead of numbers.

use crate::{
    cli::{Ctx, problem::Done},
    platform::{Api, http::segment, lambda},
};
use http::Method;
use serde_json::{Value, json};

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  myna alias hello
  myna alias set hello live 3
  myna alias set hello live 3 --split 4=10%      a tenth of the calls goes to version 4
  myna alias delete hello live")]
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
    /// Every alias of a function.
    List {
        /// The function.
        name: String,
    },
    /// Create an alias, or point it elsewhere.
    Set {
        /// The function.
        name: String,
        /// The alias's name.
        alias: String,
        /// The version that it stands for.
        version: String,
        /// A second version, and the share of the calls that it gets.
        #[arg(long, value_name = "VERSION=SHARE", value_parser = split)]
        split: Option<(String, f64)>,
    },
    /// Delete an alias; its versions stay.
    Delete {
        /// The function.
        name: String,
        /// The alias's name.
        alias: String,
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
        What::Set { name, alias, version, split } => set(ctx, &api, name, alias, version, split.as_ref()).await,
        What::Delete { name, alias } => {
            api.json(Method::DELETE, &path(name, alias), None).await?;
            if ctx.out.json {
                ctx.out.json(&json!({ "deleted": alias }));
            } else {
                ctx.out.line(format!("{name}:{alias} deleted"));
            }
            Ok(())
        }
    }
}

/// `4=10%` or `4=0.1`.
fn split(text: &str) -> Result<(String, f64), String> {
    let expected = || format!("{text:?} is not VERSION=SHARE, such as 4=10% or 4=0.1");
    let (version, share) = text.split_once('=').ok_or_else(expected)?;
    let (number, whole) = share.strip_suffix('%').map_or((share, 1.0), |percent| (percent, 100.0));
    let share = number.parse::<f64>().map_err(|_| expected())? / whole;
    if (0.0..=1.0).contains(&share) {
        Ok((version.to_string(), share))
    } else {
        Err(format!("a share lies between 0% and 100%, and {text:?} doesn't"))
    }
}

fn path(name: &str, alias: &str) -> String {
    format!("{}/aliases/{}", lambda::function_path(name), segment(alias))
}

async fn list(ctx: &Ctx, api: &Api, name: &str) -> Done {
    let aliases = lambda::list(api, &format!("{}/aliases", lambda::function_path(name)), "Aliases")
        .await
        .map_err(|p| lambda::absent(p, name))?;
    if ctx.out.json {
        ctx.out.json(&aliases);
    } else if aliases.is_empty() {
        ctx.out.note(format!("no aliases yet; one for version 1: myna alias set {name} live 1"));
    } else {
        ctx.out.table(&["alias", "version", "calls", "description"], &aliases.iter().map(row).collect::<Vec<_>>());
    }
    Ok(())
}

pub fn row(alias: &Value) -> Vec<String> {
    let text = |name: &str| alias[name].as_str().unwrap_or_default().to_string();
    vec![text("Name"), text("FunctionVersion"), shares(alias), text("Description")]
}

/// `90% 3, 10% 4`.
fn shares(alias: &Value) -> String {
    let main = alias["FunctionVersion"].as_str().unwrap_or_default();
    let others = alias["RoutingConfig"]["AdditionalVersionWeights"].as_object();
    let others: Vec<(&String, f64)> = others.into_iter().flatten().map(|(v, share)| (v, share.as_f64().unwrap_or(0.0))).collect();
    let rest = 1.0 - others.iter().map(|o| o.1).sum::<f64>();
    let shown = |share: f64| format!("{}%", (share * 1000.0).round() / 10.0);
    let mut all = vec![format!("{} {main}", shown(rest))];
    all.extend(others.iter().map(|(v, share)| format!("{} {v}", shown(*share))));
    all.join(", ")
}

async fn set(ctx: &Ctx, api: &Api, name: &str, alias: &str, version: &str, split: Option<&(String, f64)>) -> Done {
    // An empty map takes an earlier split back.
    let weights = split.map_or_else(|| json!({}), |(v, share)| json!({ v.as_str(): share }));
    let body = json!({ "FunctionVersion": version, "RoutingConfig": { "AdditionalVersionWeights": weights } });
    let set = match api.json(Method::PUT, &path(name, alias), Some(&body)).await {
        Err(problem) if problem.exit == crate::cli::problem::Exit::NotFound => {
            let mut body = body;
            body["Name"] = json!(alias);
            api.json(Method::POST, &format!("{}/aliases", lambda::function_path(name)), Some(&body)).await
        }
        answer => answer,
    };
    let set = set.map_err(|p| lambda::absent_version(p, name, Some(version)))?;
    if ctx.out.json {
        ctx.out.json(&set);
    } else {
        ctx.out.line(format!("{name}:{alias} is {}", shares(&set)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read_and_shown() {
        assert_eq!(split("4=10%"), Ok(("4".into(), 0.1)));
        assert_eq!(split("4=0.25"), Ok(("4".into(), 0.25)));
        for bad in ["4", "4=ten", "4=150%", "4=-1", "4=NaN"] {
            assert!(split(bad).is_err(), "{bad}");
        }
        let alias = json!({ "FunctionVersion": "3", "RoutingConfig": { "AdditionalVersionWeights": { "4": 0.1 } } });
        assert_eq!(shares(&alias), "90% 3, 10% 4");
        assert_eq!(shares(&json!({ "FunctionVersion": "3" })), "100% 3");
    }
}
