//! `myna logs`: what a function wrote, with the platform's own lines.

use crate::{
    admin::wire::LogLine,
    cli::{
        Ctx,
        problem::{Done, Exit, Problem},
        units,
    },
    platform::http::{request, segment},
};
use http::Method;
use serde::Deserialize;

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  myna logs hello                    the last ten minutes
  myna logs hello -f                 and what comes, until interrupted
  myna logs hello --since 2h
  myna logs --id 7c9e6679-7425-40de-944b-e07fc1f90ae7     one invocation, whole")]
pub struct Args {
    /// The function.
    #[arg(required_unless_present = "id")]
    name: Option<String>,
    /// Go on showing lines as they come.
    #[arg(short, long)]
    follow: bool,
    /// From when on: 30s, 10m, 2h, 1d, or 2026-01-31T12:00:00Z. [default: 10m; with --id: all]
    #[arg(long, value_name = "TIME", value_parser = units::since)]
    since: Option<u64>,
    /// Only the lines of this invocation.
    #[arg(long, value_name = "INVOCATION")]
    id: Option<String>,
    /// Show the time, the stream and the code of each line.
    #[arg(short, long)]
    long: bool,
}

pub async fn run(ctx: &Ctx, args: &Args) -> Done {
    const DEFAULT_MS: u64 = 10 * 60 * 1000;
    let since = args.since.unwrap_or_else(|| if args.id.is_some() { 0 } else { units::now_ms().saturating_sub(DEFAULT_MS) });
    let api = super::platform(ctx)?;
    let path = path(args.name.as_deref(), args.id.as_deref(), since, args.follow);
    let mut lines = api.lines(request(Method::GET, &path, None)).await.map_err(|p| match &args.name {
        Some(name) => crate::platform::lambda::absent(p, name),
        None => p,
    })?;
    let mut shown = 0u64;
    while let Some(line) = lines.next().await? {
        if ctx.out.json {
            ctx.out.json(&line);
        } else {
            let show = if args.long { show_long } else { show };
            show(ctx, &LogLine::deserialize(&line).unwrap_or_default());
        }
        shown += 1;
    }
    if args.follow {
        let dir = api.dir().display();
        return Err(Problem::new(
            Exit::NotRunning,
            format!("the platform in {dir} ended the log: it stops, or too many follow already"),
        )
        .hint("see: myna status"));
    }
    if shown == 0 {
        let all = if args.since.is_none() && args.id.is_none() { "; further back: --since 1d" } else { "" };
        ctx.out.note(format!("no lines{all}"));
    }
    Ok(())
}

pub fn path(function: Option<&str>, id: Option<&str>, since_ms: u64, follow: bool) -> String {
    let mut path = format!("/admin/v1/logs?since_ms={since_ms}");
    for (name, value) in [("function", function), ("id", id)] {
        if let Some(value) = value {
            path.push_str(&format!("&{name}={}", segment(value)));
        }
    }
    if follow {
        path.push_str("&follow=1");
    }
    path
}

fn show(ctx: &Ctx, line: &LogLine) {
    shown(ctx, line, |text| text.to_string());
}

fn show_long(ctx: &Ctx, line: &LogLine) {
    shown(ctx, line, |text| format!("{}  {}  {}  {text}", units::time(line.at_ms), line.stream, line.code));
}

/// With the code that wrote it: while code changes, an old line may come after a save.
pub fn show_code(ctx: &Ctx, line: &LogLine) {
    shown(ctx, line, |text| format!("{}  {text}", line.code));
}

fn shown(ctx: &Ctx, line: &LogLine, form: impl Fn(&str) -> String) {
    if line.lost > 0 {
        ctx.out.warn(format!("{} lines were not shown: they came faster than they could be written here", line.lost));
    } else {
        ctx.out.line(form(line.text.trim_end_matches('\n')));
    }
}
