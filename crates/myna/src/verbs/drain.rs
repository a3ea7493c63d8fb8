//! `myna drain`: the platform takes no new work, finishes what it has, and ends.

use crate::{
    admin::wire::Status,
    cli::{
        Ctx,
        problem::{Done, Problem},
    },
};
use http::Method;
use serde_json::json;
use std::time::Duration;

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  myna drain                    waits until the platform has ended
  myna drain --no-wait          only tells it to")]
pub struct Args {
    /// Don't wait for its end.
    #[arg(long)]
    no_wait: bool,
}

const LOOK_EVERY: Duration = Duration::from_millis(100);
/// What a platform may take for its end, and a little more.
const PATIENCE: Duration = Duration::from_secs(60);

pub async fn run(ctx: &Ctx, args: &Args) -> Done {
    let api = super::platform(ctx)?;
    let status: Status = api.read("/admin/v1/status").await?;
    api.json(Method::POST, "/admin/v1/drain", None).await?;
    let mut said = None;
    if !args.no_wait {
        let began = std::time::Instant::now();
        // Its process, and not its socket, which closes before the work ends.
        while alive(status.pid) {
            if began.elapsed() > PATIENCE {
                return Err(Problem::failed(format!("process {} has not ended after {} s", status.pid, PATIENCE.as_secs()))
                    .hint(format!("end it at once with: kill {0} && kill {0}", status.pid)));
            }
            if let Ok(now) = api.read::<Status>("/admin/v1/status").await
                && said != Some(now.load.running)
            {
                ctx.out.note(format!("calls that are not over: {}", now.load.running));
                said = Some(now.load.running);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
    if ctx.out.json {
        ctx.out.json(&json!({ "pid": status.pid, "ended": !args.no_wait }));
    } else if args.no_wait {
        ctx.out.line(format!("process {} was told to drain", status.pid));
    } else {
        ctx.out.good("the platform has ended, with all its work done");
    }
    Ok(())
}

fn alive(pid: u32) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // A process that has ended and that nobody has waited for is one no more.
    state.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}
