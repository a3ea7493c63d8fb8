//! `myna invoke`: one call. What the function answered goes to standard output and nothing else does, so that it
//! can be piped on; what happened goes to standard error.

use crate::{
    cli::{
        Ctx,
        problem::{Doing, Done, Exit, Problem},
        units::span,
    },
    platform::lambda::{self, Invoked},
};
use bytes::Bytes;
use serde_json::{Value, json};
use std::io::Read;

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  myna invoke hello
  myna invoke hello -d '{\"name\": \"Ada\"}'
  myna invoke hello -d @event.json --tail
  generate-event | myna invoke hello -d - | jq .body
  myna invoke hello --qualifier live
  myna invoke hello --async -d @event.json     accepted and tried until it succeeds or is a dead letter")]
pub struct Args {
    /// The function: a name, name:qualifier, or ARN.
    name: String,
    /// The event: JSON, @FILE, or - for standard input. [default: {}]
    #[arg(short, long, value_name = "JSON", allow_hyphen_values = true)]
    data: Option<String>,
    /// Show the end of the log, too.
    #[arg(long)]
    tail: bool,
    /// A version or an alias.
    #[arg(long, value_name = "VERSION")]
    qualifier: Option<String>,
    /// Accept the event and don't wait for an answer; prints its id.
    #[arg(long = "async", conflicts_with = "tail")]
    later: bool,
    /// With --async: events with the same key run one after the other.
    #[arg(long, value_name = "KEY", requires = "later")]
    key: Option<String>,
    /// With --async: not before so many seconds have passed.
    #[arg(long, value_name = "SECONDS", requires = "later")]
    delay: Option<u32>,
}

pub async fn run(ctx: &Ctx, args: Args) -> Done {
    let payload = payload(args.data.as_deref())?;
    let api = super::platform(ctx)?;
    let no_json = |p: Problem| {
        if p.is("InvalidRequestContentException") { p.hint("-d takes JSON; a string needs its quotes: -d '\"text\"'") } else { p }
    };
    if args.later {
        let how = lambda::Later { key: args.key.as_deref(), delay: args.delay };
        let id = lambda::invoke_later(&api, &args.name, args.qualifier.as_deref(), payload, &how).await.map_err(no_json)?;
        if ctx.out.json {
            ctx.out.json(&json!({ "request_id": id }));
        } else {
            ctx.out.line(&id);
            ctx.out.note(format!("accepted; what becomes of it: myna events follow {id}"));
        }
        return Ok(());
    }
    let invoked = lambda::invoke(&api, &args.name, args.qualifier.as_deref(), payload, args.tail).await.map_err(no_json)?;
    if ctx.out.json {
        ctx.out.json(&document(&invoked));
    } else {
        show(ctx, &args, &invoked);
    }
    if invoked.function_error.is_some() { Err(Problem::silent(Exit::Function)) } else { Ok(()) }
}

/// What `-d` says.
pub fn payload(data: Option<&str>) -> Result<Bytes, Problem> {
    match data {
        None => Ok(Bytes::from_static(b"{}")),
        Some("-") => {
            let mut all = Vec::new();
            std::io::stdin().lock().read_to_end(&mut all).doing("standard input can't be read")?;
            Ok(Bytes::from(all))
        }
        Some(text) => match text.strip_prefix('@') {
            Some(file) => {
                let unread = |e| Problem::usage(format!("the event {file} can't be read: {e}"));
                std::fs::read(file)
                    .map(Bytes::from)
                    .map_err(|e| unread(e).hint("-d @FILE is a path from this folder; - reads standard input"))
            }
            None => Ok(Bytes::copy_from_slice(text.as_bytes())),
        },
    }
}

fn show(ctx: &Ctx, args: &Args, invoked: &Invoked) {
    if let Some(log) = &invoked.log {
        for line in String::from_utf8_lossy(log).lines() {
            ctx.out.note(line);
        }
    }
    let text = std::str::from_utf8(&invoked.payload).ok().filter(|_| ctx.out.stdout_is_terminal() && !ctx.out.raw());
    match text.and_then(|t| serde_json::from_str::<Value>(t).ok()) {
        Some(value) => ctx.out.line(format!("{value:#}")),
        None => ctx.out.bytes(&invoked.payload),
    }
    let version = invoked.executed_version.as_deref().unwrap_or("?");
    let id = invoked.request_id.as_deref().unwrap_or("unknown");
    let what = format!("{} {version} in {}, request {id}", args.name, span(invoked.took));
    match &invoked.function_error {
        None => ctx.out.note(what),
        Some(kind) => {
            ctx.out.warn(format!("the function reported an error ({kind}): {what}"));
            ctx.out.note(format!("its log: myna logs {} --id {id}", args.name));
        }
    }
}

fn document(invoked: &Invoked) -> Value {
    let payload = serde_json::from_slice(&invoked.payload)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&invoked.payload).into_owned()));
    json!({
        "status_code": invoked.status,
        "function_error": invoked.function_error,
        "executed_version": invoked.executed_version,
        "request_id": invoked.request_id,
        "took_ms": invoked.took.as_secs_f64() * 1e3,
        "log": invoked.log.as_ref().map(|l| String::from_utf8_lossy(l).into_owned()),
        "payload": payload,
    })
}
