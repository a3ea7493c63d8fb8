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
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  myna demo
  myna demo --keep                  leaves the functions there
  myna demo --concurrent 50         more calls at once
  myna demo --also ./hello          a project of your own besides")]
pub struct Args {
    /// Leave the functions deployed.
    #[arg(long)]
    keep: bool,
    /// How many calls at once to show scaling with.
    #[arg(long, value_name = "CALLS", default_value_t = 20)]
    concurrent: usize,
    /// Show this project too, built where it must be; may be given again.
    #[arg(long, value_name = "DIR")]
    also: Vec<PathBuf>,
    /// Wait until the instances are gone again. When that is, the platform's keep-alive decides.
    #[arg(long)]
    to_zero: bool,
}

struct Example {
    name: String,
    project: Project,
}

enum Project {
    Own { file: &'static str, text: &'static str },
    There(PathBuf),
}

/// By which the demo knows its own functions.
const DESCRIPTION: &str = "part of myna demo";

/// What comes with the binary, then what was asked for.
fn examples(also: Vec<PathBuf>) -> Vec<Example> {
    let own = |name: &str, file, text| Example { name: name.into(), project: Project::Own { file, text } };
    let mut all = vec![
        own("demo-python", "lambda_function.py", include_str!("demo/lambda_function.py")),
        own("demo-node", "index.mjs", include_str!("demo/index.mjs")),
    ];
    all.extend(also.into_iter().map(|folder| {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Example { name, project: Project::There(folder) }
    }));
    all
}

pub async fn run(ctx: &Ctx, args: Args) -> Done {
    let api = super::platform(ctx)?;
    let mut shown = 0;
    let mut skipped = Vec::new();
    for example in examples(args.also) {
        let name = &example.name;
        if lambda::find(&api, name).await?.is_some_and(|f| f.description != DESCRIPTION) {
            ctx.out.warn(format!("{name} is skipped: a function of that name is there, and is not the demo's"));
            skipped.push(name.clone());
            continue;
        }
        match Box::pin(show(ctx, &api, &example, args.concurrent, args.to_zero)).await {
            Ok(()) => shown += 1,
            Err(problem) => {
                skipped.push(name.clone());
                ctx.out.warn(format!("{name} is skipped: {}", problem.message));
                if let Some(hint) = problem.hint {
                    ctx.out.note(format!("  {hint}"));
                }
            }
        }
        if !args.keep && lambda::find(&api, name).await?.is_some() {
            api.json(Method::DELETE, &lambda::function_path(name), None).await?;
        }
        ctx.out.line("");
    }
    if shown == 0 {
        return Err(Problem::failed("no part of the demo could be shown").hint("myna doctor"));
    }
    if !skipped.is_empty() {
        let all = shown + skipped.len();
        ctx.out.warn(format!("{shown} of {all} functions were shown; skipped, for the reasons above: {}", skipped.join(", ")));
    }
    ctx.out.note(if args.keep {
        "the functions are still there: myna list"
    } else {
        "the functions are gone again; keep them with --keep"
    });
    Ok(())
}

async fn show(ctx: &Ctx, api: &Api, example: &Example, concurrent: usize, to_zero: bool) -> Done {
    let name = &example.name;
    let folder = Folder::of(example)?;
    let options = Options { name: Some(name.clone()), description: Some(DESCRIPTION.into()), build: true, ..Options::default() };
    let sent = send::deploy(ctx, api, folder.path(), &options, &mut Packer::default()).await?;
    ctx.out.line(format!(
        "{name}: {}, {} of code, deployed in {}",
        sent.function.runtime,
        bytes(sent.function.code_size),
        span(sent.took)
    ));
    let first = call(api, name, QUICK).await?;
    ctx.out.line(format!("  answer   {}", String::from_utf8_lossy(&first.payload)));
    let warm = call(api, name, QUICK).await?;
    ctx.out.line(format!("  cold     {}{}", span(first.took), steps(api, &first).await));
    ctx.out.line(format!("  warm     {}", span(warm.took)));
    let slow = matches!(example.project, Project::Own { .. });
    together(ctx, api, name, concurrent, slow).await?;
    show_log(ctx, api, name, &warm).await?;
    show_cost(ctx, api, name, concurrent + 2).await?;
    if to_zero { gone(ctx, api, name).await } else { Ok(()) }
}

const QUICK: &str = r#"{"name":"Ada"}"#;
/// The demo's own functions take so long then that instances can't take turns; others may not know the word.
const SLOW: &str = r#"{"name":"Ada","seconds":1}"#;

async fn call(api: &Api, name: &str, event: &'static str) -> Result<Invoked, Problem> {
    let invoked = lambda::invoke(api, name, None, Bytes::from_static(event.as_bytes()), false).await?;
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

async fn together(ctx: &Ctx, api: &Api, name: &str, concurrent: usize, slow: bool) -> Done {
    let began = Instant::now();
    let answers = join_all((0..concurrent).map(|_| call(api, name, if slow { SLOW } else { QUICK }))).await;
    let took = began.elapsed();
    let good = answers.iter().filter(|a| a.is_ok()).count();
    let instances = instances(api, name).await?;
    ctx.out.line(format!(
        "  at once  {good} of {concurrent} calls{} answered in {}, by {instances} instances",
        if slow { " of a second each" } else { "" },
        span(took)
    ));
    Ok(())
}

async fn instances(api: &Api, name: &str) -> Result<usize, Problem> {
    let observed = api.get(&format!("/admin/v1/functions/{}/observed", segment(name))).await?;
    Ok(observed["instances"].as_array().map_or(0, Vec::len))
}

/// Nothing is called any more, so nothing need be there.
async fn gone(ctx: &Ctx, api: &Api, name: &str) -> Done {
    const PATIENCE: Duration = Duration::from_secs(30);
    let began = Instant::now();
    loop {
        let left = instances(api, name).await?;
        let waited = span(began.elapsed());
        if left == 0 {
            ctx.out.line(format!("  to zero  no instances any more after {waited} without a call"));
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            ctx.out
                .line(format!("  to zero  {left} instances are still kept after {waited}: the platform's keep_alive is longer"));
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn show_log(ctx: &Ctx, api: &Api, name: &str, of: &Invoked) -> Done {
    let path = super::logs::path(Some(name), of.request_id.as_deref(), 0, false);
    let mut lines = api.lines(request(Method::GET, &path, None)).await?;
    while let Some(line) = lines.next().await? {
        ctx.out.line(format!("  log      {}", line["text"].as_str().unwrap_or_default().trim_end()));
    }
    Ok(())
}

async fn show_cost(ctx: &Ctx, api: &Api, name: &str, expected: usize) -> Done {
    let hours = usage(api, name, expected as u64).await?;
    let (mut calls, mut cold, mut billed, mut gb, mut memory) = (0, 0, 0, 0.0, 0);
    for hour in hours {
        calls += hour.invocations;
        cold += hour.cold_starts;
        billed += hour.billed_ms;
        gb += hour.gb_seconds;
        memory = memory.max(hour.memory_max_bytes);
    }
    ctx.out.line(format!(
        "  cost     {calls} calls ({cold} cold), {billed} ms billed, {gb:.3} GB-seconds, at most {} of memory each",
        bytes(memory)
    ));
    Ok(())
}

/// What was recorded. The last calls' records are written a moment after their answers; they are waited for, not for ever.
async fn usage(api: &Api, name: &str, expected: u64) -> Result<Vec<UsageHour>, Problem> {
    let began = Instant::now();
    loop {
        let hours = Vec::<UsageHour>::deserialize(&api.get(&format!("/admin/v1/usage?function={}", segment(name))).await?)
            .doing("the platform's usage has another shape")?;
        if hours.iter().map(|h| h.invocations).sum::<u64>() >= expected || began.elapsed() > Duration::from_secs(3) {
            return Ok(hours);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The example's files, for as long as they are needed.
enum Folder {
    Temporary(PathBuf),
    There(PathBuf),
}

impl Folder {
    fn of(example: &Example) -> Result<Self, Problem> {
        let (file, text) = match &example.project {
            Project::There(folder) => return Ok(Self::There(folder.clone())),
            Project::Own { file, text } => (file, text),
        };
        let path = std::env::temp_dir().join(format!("myna-demo-{}-{}", std::process::id(), example.name));
        fs::create_dir_all(&path)
            .and_then(|()| fs::write(path.join(file), text))
            .doing(format!("{} can't be written", path.display()))?;
        Ok(Self::Temporary(path))
    }
    fn path(&self) -> &Path {
        let (Self::Temporary(path) | Self::There(path)) = self;
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Self::Temporary(path) = self {
            // A leftover in the temporary folder harms nobody.
            let _ = fs::remove_dir_all(path);
        }
    }
}
