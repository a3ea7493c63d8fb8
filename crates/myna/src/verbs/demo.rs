//! `myna demo`: the whole story in half a minute, with functions that come with the binary and go again.

use crate::{
    cli::{
        Ctx,
        problem::{Doing, Done, Problem},
        units::{bytes, span},
    },
    platform::{
        Api,
        http::{request, segment},
        lambda::{self, Invoked},
    },
    project::{options::Options, pack::Packer, send},
};
use ::http::Method;
use bytes::Bytes;
use futures_util::future::join_all;
use model::{event::Record, ports::UsageHour};
use serde::Deserialize;
use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  myna demo
  myna demo --keep        leaves the functions there")]
pub struct Args {
    /// Leave the functions deployed.
    #[arg(long)]
    keep: bool,
    /// How many calls at once to show scaling with.
    #[arg(long, value_name = "CALLS", default_value_t = 20)]
    concurrent: usize,
}

struct Example {
    name: &'static str,
    file: &'static str,
    text: &'static str,
}

/// By which the demo knows its own functions.
const DESCRIPTION: &str = "part of myna demo";

const EXAMPLES: [Example; 2] = [
    Example {
        name: "demo-python",
        file: "lambda_function.py",
        text: include_str!("../templates/lambda-python/lambda_function.py"),
    },
    Example { name: "demo-node", file: "index.mjs", text: include_str!("../templates/lambda-node/index.mjs") },
];

pub async fn run(ctx: &Ctx, args: Args) -> Done {
    let api = super::platform(ctx)?;
    let mut shown = 0;
    for example in &EXAMPLES {
        if lambda::find(&api, example.name).await?.is_some_and(|f| f.description != DESCRIPTION) {
            ctx.out.warn(format!("{} is skipped: a function of that name is there, and is not the demo's", example.name));
            continue;
        }
        match Box::pin(show(ctx, &api, example, args.concurrent)).await {
            Ok(()) => shown += 1,
            Err(problem) => {
                ctx.out.warn(format!("{} is skipped: {}", example.name, problem.message));
                if let Some(hint) = problem.hint {
                    ctx.out.note(format!("  {hint}"));
                }
            }
        }
        if !args.keep && lambda::find(&api, example.name).await?.is_some() {
            api.json(Method::DELETE, &lambda::function_path(example.name), None).await?;
        }
        ctx.out.line("");
    }
    if shown == 0 {
        return Err(Problem::failed("no part of the demo could be shown").hint("myna doctor"));
    }
    ctx.out.note(if args.keep {
        "the functions are still there: myna list"
    } else {
        "the functions are gone again; keep them with --keep"
    });
    Ok(())
}

async fn show(ctx: &Ctx, api: &Api, example: &Example, concurrent: usize) -> Done {
    let folder = Folder::new(example)?;
    let options =
        Options { name: Some(example.name.to_string()), description: Some(DESCRIPTION.to_string()), ..Options::default() };
    let sent = send::deploy(ctx, api, &folder.0, &options, &mut Packer::default()).await?;
    ctx.out.line(format!("{}: deployed in {}", example.name, span(sent.took)));
    let first = call(api, example.name).await?;
    ctx.out.line(format!("  answer   {}", String::from_utf8_lossy(&first.payload)));
    let warm = call(api, example.name).await?;
    ctx.out.line(format!("  cold     {}{}", span(first.took), steps(api, &first).await));
    ctx.out.line(format!("  warm     {}", span(warm.took)));
    together(ctx, api, example.name, concurrent).await?;
    show_log(ctx, api, example.name, &warm).await?;
    show_cost(ctx, api, example.name).await
}

async fn call(api: &Api, name: &str) -> Result<Invoked, Problem> {
    let invoked = lambda::invoke(api, name, None, Bytes::from_static(br#"{"name":"Ada"}"#), false).await?;
    match invoked.function_error {
        None => Ok(invoked),
        Some(kind) => Err(Problem::failed(format!(
            "the function reported an error ({kind}): {}",
            String::from_utf8_lossy(&invoked.payload)
        ))),
    }
}

/// Where the time of one call went.
async fn steps(api: &Api, invoked: &Invoked) -> String {
    let Some(id) = &invoked.request_id else { return String::new() };
    let Ok(record) = api.read::<Record>(&format!("/admin/v1/invocations/{}", segment(id))).await else { return String::new() };
    let s = record.steps;
    let parts = [("waiting", s.queued_us), ("sandbox", s.sandbox_us), ("start", s.init_us), ("code", s.run_us)];
    let parts: Vec<String> =
        parts.iter().filter(|p| p.1 > 0).map(|(name, us)| format!("{name} {}", span(Duration::from_micros(*us)))).collect();
    if parts.is_empty() { String::new() } else { format!("  ({})", parts.join(", ")) }
}

async fn together(ctx: &Ctx, api: &Api, name: &str, concurrent: usize) -> Done {
    let began = Instant::now();
    let answers = join_all((0..concurrent).map(|_| call(api, name))).await;
    let took = began.elapsed();
    let good = answers.iter().filter(|a| a.is_ok()).count();
    let observed = api.get(&format!("/admin/v1/functions/{name}/observed")).await?;
    let instances = observed["instances"].as_array().map_or(0, Vec::len);
    ctx.out.line(format!("  at once  {good} of {concurrent} calls answered in {}, by {instances} instances", span(took)));
    Ok(())
}

async fn show_log(ctx: &Ctx, api: &Api, name: &str, of: &Invoked) -> Done {
    let path = super::logs::path(Some(name), of.request_id.as_deref(), 0, false);
    let mut lines = api.lines(request(Method::GET, &path, None)).await?;
    while let Some(line) = lines.next().await? {
        ctx.out.line(format!("  log      {}", line["text"].as_str().unwrap_or_default().trim_end()));
    }
    Ok(())
}

async fn show_cost(ctx: &Ctx, api: &Api, name: &str) -> Done {
    let hours = Vec::<UsageHour>::deserialize(&api.get(&format!("/admin/v1/usage?function={name}")).await?)
        .doing("the platform's usage has another shape")?;
    let (calls, gb): (u64, f64) = hours.iter().fold((0, 0.0), |sum, h| (sum.0 + h.invocations, sum.1 + h.gb_seconds));
    let memory = hours.iter().map(|h| h.memory_max_bytes).max().unwrap_or(0);
    ctx.out.line(format!("  cost     {calls} calls, {gb:.3} GB-seconds, at most {} of memory", bytes(memory)));
    Ok(())
}

/// The example's files, for as long as they are needed.
struct Folder(PathBuf);

impl Folder {
    fn new(example: &Example) -> Result<Self, Problem> {
        let path = std::env::temp_dir().join(format!("myna-demo-{}-{}", std::process::id(), example.name));
        fs::create_dir_all(&path)
            .and_then(|()| fs::write(path.join(example.file), example.text))
            .doing(format!("{} can't be written", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A leftover in the temporary folder harms nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}
