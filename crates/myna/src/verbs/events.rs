//! `myna events` and `myna dlq`: asynchronous invocations on their way, and those that ended as dead letters.

use crate::{
    admin::wire::{Count, EventShown, LaneRow},
    cli::{
        Ctx,
        problem::{Done, Exit, Problem},
        units::{bytes, now_ms, span},
    },
    platform::{Api, http::segment},
};
use http::Method;
use model::queue::{EventView, Stage, Why};
use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  myna events                                    how many wait, by function
  myna events list hello                         its events, the oldest first
  myna events list hello --stage queued
  myna events show 000000000001-…                one event: where it is, and its payload
  myna events follow 000000000001-…              tell each change until it has ended
  myna events cancel 000000000001-…
  myna events pause hello                        try none until it is resumed
  myna events resume hello
  myna events purge hello                        cancel all that wait")]
pub struct Args {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(clap::Subcommand)]
enum What {
    /// List events.
    List {
        /// Of this function alone.
        name: Option<String>,
        /// queued, running, succeeded, dead-lettered, failed or cancelled.
        #[arg(long)]
        stage: Option<String>,
        /// How many, at most.
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// Show one event and its payload.
    Show {
        /// Its id: the request id that the caller got.
        id: String,
    },
    /// Tell each change of an event's state until it has ended.
    Follow {
        /// Its id.
        id: String,
    },
    /// Cancel an event that waits.
    Cancel {
        /// Its id.
        id: String,
    },
    /// Try none of a function's events until they are resumed.
    Pause {
        /// The function.
        name: String,
    },
    /// Go on with a function's events.
    Resume {
        /// The function.
        name: String,
    },
    /// Cancel all of a function's events that wait.
    Purge {
        /// The function.
        name: String,
    },
}

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  myna dlq list                                  every dead letter, and why it is one
  myna dlq list hello
  myna dlq show 000000000001-…                   with its payload
  myna dlq redrive hello                         try all of them again
  myna dlq redrive hello --id 000000000001-…     this one alone
  myna dlq purge hello                           remove them")]
pub struct DlqArgs {
    #[command(subcommand)]
    what: Dlq,
}

#[derive(clap::Subcommand)]
enum Dlq {
    /// List dead letters.
    List {
        /// Of this function alone.
        name: Option<String>,
        /// How many, at most.
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// Show one and its payload.
    Show {
        /// Its id.
        id: String,
    },
    /// Try dead letters again, as if they had just been accepted.
    Redrive {
        /// The function.
        name: String,
        /// This one alone.
        #[arg(long)]
        id: Option<String>,
    },
    /// Remove a function's dead letters.
    Purge {
        /// The function.
        name: String,
    },
}

pub async fn run(ctx: &Ctx, args: &Args) -> Done {
    let api = super::platform(ctx)?;
    match &args.what {
        None => lanes(ctx, &api).await,
        Some(What::List { name, stage, limit }) => list(ctx, &api, name.as_deref(), stage.as_deref(), *limit).await,
        Some(What::Show { id }) => show(ctx, &api, id).await,
        Some(What::Follow { id }) => follow(ctx, &api, id).await,
        Some(What::Cancel { id }) => {
            let path = format!("/admin/v1/events/{}/cancel", segment(id));
            tell(ctx, &api.json(Method::POST, &path, None).await?, |_| format!("{id} is cancelled"))
        }
        Some(What::Pause { name }) => {
            control(ctx, &api, name, "pause", |n| format!("none of {name}'s events is tried; {n} wait")).await
        }
        Some(What::Resume { name }) => control(ctx, &api, name, "resume", |n| format!("{n} of {name}'s events go on")).await,
        Some(What::Purge { name }) => {
            control(ctx, &api, name, "purge", |n| format!("{n} of {name}'s events are cancelled")).await
        }
    }
}

pub async fn dlq(ctx: &Ctx, args: &DlqArgs) -> Done {
    let api = super::platform(ctx)?;
    match &args.what {
        Dlq::List { name, limit } => list(ctx, &api, name.as_deref(), Some("dead-lettered"), *limit).await,
        Dlq::Show { id } => show(ctx, &api, id).await,
        Dlq::Redrive { name, id } => {
            let what = match id {
                Some(id) => format!("redrive?id={}", segment(id)),
                None => "redrive".to_owned(),
            };
            control(ctx, &api, name, &what, |n| format!("{n} of {name}'s dead letters are tried again")).await
        }
        Dlq::Purge { name } => control(ctx, &api, name, "purge-dead", |n| format!("{n} of {name}'s dead letters are gone")).await,
    }
}

async fn control(ctx: &Ctx, api: &Api, name: &str, what: &str, text: impl Fn(u64) -> String) -> Done {
    let path = format!("/admin/v1/functions/{}/events/{what}", segment(name));
    let said = api.json(Method::POST, &path, None).await?;
    tell(ctx, &said, text)
}

fn tell(ctx: &Ctx, said: &Value, text: impl Fn(u64) -> String) -> Done {
    if ctx.out.json {
        ctx.out.json(said);
    } else {
        ctx.out.good(text(Count::deserialize(said).unwrap_or_default().count));
    }
    Ok(())
}

async fn lanes(ctx: &Ctx, api: &Api) -> Done {
    let rows: Vec<LaneRow> = api.read("/admin/v1/lanes").await?;
    if ctx.out.json {
        ctx.out.json(&rows);
        return Ok(());
    }
    if rows.is_empty() {
        ctx.out.note("no event waits, and there is no dead letter");
        return Ok(());
    }
    let row = |r: &LaneRow| {
        let state = if r.view.paused { "paused" } else { "" };
        vec![
            r.function.clone(),
            r.view.queued.saturating_sub(r.view.taken).to_string(),
            r.view.taken.to_string(),
            r.view.dead.to_string(),
            state.into(),
        ]
    };
    ctx.out.table(&["function", "waiting", "running", "dead letters", ""], &rows.iter().map(row).collect::<Vec<_>>());
    Ok(())
}

async fn list(ctx: &Ctx, api: &Api, name: Option<&str>, stage: Option<&str>, limit: u32) -> Done {
    let mut path = format!("/admin/v1/events?limit={limit}");
    for (parameter, value) in [("function", name), ("stage", stage)] {
        if let Some(value) = value {
            path.push_str(&format!("&{parameter}={}", segment(value)));
        }
    }
    let events: Vec<EventView> = api.read(&path).await?;
    if ctx.out.json {
        ctx.out.json(&events);
        return Ok(());
    }
    if events.is_empty() {
        ctx.out.note("there is none");
        return Ok(());
    }
    ctx.out.table(&["id", "function", "stage", "tries", "accepted", "why"], &events.iter().map(row).collect::<Vec<_>>());
    Ok(())
}

fn row(e: &EventView) -> Vec<String> {
    let ago = Duration::from_millis(now_ms().saturating_sub(e.accepted_ms));
    let accepted = format!("{} ago", span(ago));
    vec![e.id.to_string(), e.lane.function.to_string(), word(e), e.attempts.to_string(), accepted, e.reason.to_string()]
}

fn word(e: &EventView) -> String {
    serde_json::to_value(e.stage).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

/// How often its state is asked for.
const LOOK_EVERY: Duration = Duration::from_millis(100);

async fn follow(ctx: &Ctx, api: &Api, id: &str) -> Done {
    let path = format!("/admin/v1/events/{}", segment(id));
    let mut told = None;
    loop {
        let e = api.read::<EventShown>(&path).await?.event;
        let state = (e.stage, e.attempts, e.due_ms, e.reason.clone());
        if told.as_ref() != Some(&state) {
            told = Some(state);
            if ctx.out.json {
                ctx.out.json(&e);
            } else {
                ctx.out.line(change(&e, now_ms()));
            }
        }
        match (e.stage, e.why) {
            (Stage::Queued | Stage::Running, _) => tokio::time::sleep(LOOK_EVERY).await,
            (Stage::Succeeded, _) => return Ok(()),
            (_, Some(Why::Failed)) => return Err(Problem::silent(Exit::Function)),
            _ => return Err(Problem::silent(Exit::Failed)),
        }
    }
}

/// A state in a line.
fn change(e: &EventView, now_ms: u64) -> String {
    let mut text = match e.stage {
        Stage::Running => format!("running, try {}", e.attempts + 1),
        Stage::Queued if e.due_ms > now_ms => {
            format!("queued, due in {}", span(Duration::from_millis(e.due_ms - now_ms)))
        }
        Stage::Queued => word(e),
        _ => format!("{} after {} tries", word(e), e.attempts),
    };
    if !e.reason.is_empty() {
        text.push_str(": ");
        text.push_str(&e.reason);
    }
    text
}

async fn show(ctx: &Ctx, api: &Api, id: &str) -> Done {
    let shown: EventShown = api.read(&format!("/admin/v1/events/{}", segment(id))).await?;
    if ctx.out.json {
        ctx.out.json(&shown);
        return Ok(());
    }
    let e = &shown.event;
    let mut pairs = vec![
        ("event", e.id.to_string()),
        ("function", e.lane.function.to_string()),
        ("stage", word(e)),
        ("tries", e.attempts.to_string()),
        ("size", bytes(e.bytes)),
    ];
    if !e.reason.is_empty() {
        pairs.push(("why", e.reason.to_string()));
    }
    if let Some(key) = &e.key {
        pairs.push(("order key", key.to_string()));
    }
    ctx.out.pairs(&pairs);
    if let Some(body) = &shown.body {
        ctx.out.line("");
        ctx.out.line(body);
    }
    Ok(())
}
