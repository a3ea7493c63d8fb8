//! `myna delete`.

use crate::{
    cli::{
        Ctx,
        problem::{Done, Problem},
    },
    platform::{http::segment, lambda},
    project::plan,
};
use http::Method;
use serde_json::json;

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  myna delete hello                     asks first
  myna delete hello --yes               doesn't
  myna delete hello --qualifier 3       one version only

The function's log stays until its retention ends: myna logs hello")]
pub struct Args {
    /// The function.
    name: String,
    /// Only this version.
    #[arg(long, value_name = "VERSION")]
    qualifier: Option<String>,
    /// Don't ask.
    #[arg(short, long)]
    yes: bool,
}

pub async fn run(ctx: &Ctx, args: &Args) -> Done {
    let api = super::platform(ctx)?;
    let what = match &args.qualifier {
        Some(version) => format!("version {version} of {}", args.name),
        None => args.name.clone(),
    };
    let function = lambda::configuration(&api, &args.name).await?;
    if !args.yes {
        if !ctx.out.interactive() {
            return Err(Problem::usage(format!("{what} is not deleted without being asked for"))
                .hint(format!("myna delete {} --yes", args.name)));
        }
        let question = format!("delete {what} from {}? [y/N]", api.dir().display());
        let sure = plan::answer(&ctx.out, &question).is_some_and(|a| matches!(a.to_ascii_lowercase().as_str(), "y" | "yes"));
        if !sure {
            return Err(Problem::failed(format!("{what} was not deleted")));
        }
    }
    let query = args.qualifier.as_ref().map(|q| format!("?Qualifier={}", segment(q))).unwrap_or_default();
    api.json(Method::DELETE, &format!("{}{query}", lambda::function_path(&args.name)), None).await?;
    if ctx.out.json {
        ctx.out.json(&json!({ "deleted": function["FunctionArn"], "qualifier": args.qualifier }));
    } else {
        ctx.out.line(format!("{what} deleted"));
    }
    Ok(())
}
