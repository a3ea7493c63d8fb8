//! `myna pause`: no call of a function is begun; its events wait.

use crate::{
    admin::hold::Held,
    cli::{
        Ctx,
        problem::{Doing, Done, Problem},
        units::ago,
    },
    platform::{Api, http::segment, lambda},
};
use http::Method;

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  myna pause hello               calls are refused, events wait; also after a restart
  myna pause hello --resume")]
pub struct Args {
    /// The function.
    name: String,
    /// Take calls again, and try the events that waited.
    #[arg(long)]
    resume: bool,
}

pub async fn run(ctx: &Ctx, args: &Args) -> Done {
    let api = super::platform(ctx)?;
    let held = hold(&api, &args.name, if args.resume { "none&from=paused" } else { "paused" }).await?;
    if ctx.out.json {
        ctx.out.json(&held);
    } else if args.resume {
        ctx.out.line(format!("{} takes calls again; events that waited: {}", args.name, held.queued));
    } else {
        let since = held.held.as_ref().map_or(0, |row| row.since_ms);
        ctx.out.line(format!("{} is paused, since {}; events that wait: {}", args.name, ago(since), held.queued));
    }
    Ok(())
}

/// Tell the platform how a function is held.
pub async fn hold(api: &Api, name: &str, state: &str) -> Result<Held, Problem> {
    let path = format!("/admin/v1/functions/{}/hold?state={state}", segment(name));
    let answer = api.json(Method::POST, &path, None).await.map_err(|p| lambda::absent(p, name))?;
    serde_json::from_value(answer).doing("the platform's answer has another shape; is it of another version?")
}
