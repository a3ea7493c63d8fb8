//! `myna url`: a function's own HTTP address. Open ones get the permission that lets everybody call them, as Lambda's own
//! console sets both; without it an address without signatures would refuse everybody.

use crate::{
    cli::{
        Ctx,
        problem::{Done, Exit, Problem},
    },
    platform::{Api, http::segment, lambda},
};
use http::Method;
use serde_json::{Value, json};

/// As the console names it, so that either can take away what the other gave.
const STATEMENT: &str = "FunctionURLAllowPublicAccess";

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  myna url hello                    shows the address; made when there is none yet, for signed requests only
  myna url hello --open             anybody on this machine may call it: curl \"$(myna url hello)\"
  myna url hello --signed           signed requests only, again
  myna url hello --qualifier live   the address of an alias
  myna url hello --delete")]
pub struct Args {
    /// The function.
    name: String,
    /// An alias; without it the newest code.
    #[arg(long, value_name = "ALIAS")]
    qualifier: Option<String>,
    /// Let anybody on this machine call it, without a signature.
    #[arg(long)]
    open: bool,
    /// Let only signed requests call it.
    #[arg(long, conflicts_with = "open")]
    signed: bool,
    /// Take the address away.
    #[arg(long, conflicts_with_all = ["open", "signed"])]
    delete: bool,
}

pub async fn run(ctx: &Ctx, args: &Args) -> Done {
    let api = super::platform(ctx)?;
    let qualifier = args.qualifier.as_deref();
    if args.delete {
        delete(&api, &args.name, qualifier).await?;
        if ctx.out.json {
            ctx.out.json(&json!({ "deleted": args.name }));
        } else {
            ctx.out.line(format!("{} has no address any more", args.name));
        }
        return Ok(());
    }
    let auth = match (args.open, args.signed) {
        (true, _) => Some("NONE"),
        (_, true) => Some("AWS_IAM"),
        _ => None,
    };
    let address = set(&api, &args.name, qualifier, auth).await?;
    if ctx.out.json {
        ctx.out.json(&address);
        return Ok(());
    }
    ctx.out.line(address["FunctionUrl"].as_str().unwrap_or_default());
    if address["AuthType"] == "NONE" {
        ctx.out.note("anybody on this machine may call it");
    } else {
        ctx.out.note(format!("signed requests only; open it: myna url {} --open", args.name));
    }
    Ok(())
}

/// The address as it is then; made when there is none. Without `auth` an address stays as it is, and a new one wants signatures.
pub async fn set(api: &Api, name: &str, qualifier: Option<&str>, auth: Option<&str>) -> Result<Value, Problem> {
    let path = path(name, qualifier);
    let now = match api.get(&path).await {
        Ok(now) => Some(now),
        Err(problem) if problem.exit == Exit::NotFound => None,
        Err(problem) => return Err(problem),
    };
    let address = match (now, auth) {
        (None, auth) => {
            let body = json!({ "AuthType": auth.unwrap_or("AWS_IAM") });
            api.json(Method::POST, &path, Some(&body)).await.map_err(|p| lambda::absent(p, name))?
        }
        (Some(now), Some(auth)) if now["AuthType"] != auth => {
            api.json(Method::PUT, &path, Some(&json!({ "AuthType": auth }))).await?
        }
        (Some(now), _) => now,
    };
    match auth {
        Some("NONE") => permit(api, name, qualifier).await?,
        Some(_) => forbid(api, name, qualifier).await?,
        None => {}
    }
    Ok(address)
}

async fn delete(api: &Api, name: &str, qualifier: Option<&str>) -> Done {
    let deleted = api.json(Method::DELETE, &path(name, qualifier), None).await;
    if deleted.as_ref().is_err_and(|p| p.exit == Exit::NotFound) && lambda::find(api, name).await?.is_some() {
        return Err(Problem::new(Exit::NotFound, format!("{name} has no address")));
    }
    deleted.map_err(|p| lambda::absent(p, name))?;
    forbid(api, name, qualifier).await
}

async fn permit(api: &Api, name: &str, qualifier: Option<&str>) -> Done {
    let allow = json!({ "StatementId": STATEMENT, "Action": "lambda:InvokeFunctionUrl", "Principal": "*", "FunctionUrlAuthType": "NONE" });
    let path = format!("{}/policy{}", lambda::function_path(name), query(qualifier));
    match api.json(Method::POST, &path, Some(&allow)).await {
        Err(problem) if !problem.is("ResourceConflictException") => Err(problem),
        _ => Ok(()),
    }
}

/// A permission that nobody gave is no problem.
async fn forbid(api: &Api, name: &str, qualifier: Option<&str>) -> Done {
    let path = format!("{}/policy/{STATEMENT}{}", lambda::function_path(name), query(qualifier));
    match api.json(Method::DELETE, &path, None).await {
        Err(problem) if problem.exit != Exit::NotFound => Err(problem),
        _ => Ok(()),
    }
}

fn path(name: &str, qualifier: Option<&str>) -> String {
    format!("/2021-10-31/functions/{}/url{}", segment(name), query(qualifier))
}
fn query(qualifier: Option<&str>) -> String {
    qualifier.map(|q| format!("?Qualifier={}", segment(q))).unwrap_or_default()
}
