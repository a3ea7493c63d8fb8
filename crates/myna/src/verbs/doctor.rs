//! `myna doctor`: what this machine can do. It needs no running platform. The composition says what sandboxes and language
//! runtimes find, and adds what is read off the machine here.

mod machine;

use crate::{
    admin::wire::{Finding, FindingState},
    cli::{
        Ctx,
        problem::{Done, Exit, Problem},
    },
};

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  myna doctor
  myna doctor --json | jq '.[] | select(.state != \"ok\")'

It ends with 1 when something is missing that `myna up` needs.")]
pub struct Args {}

pub fn run(ctx: &Ctx, _args: Args, findings: impl FnOnce() -> Vec<Finding>) -> Done {
    let findings = findings();
    if ctx.out.json {
        ctx.out.json(&findings);
    } else {
        let rows: Vec<Vec<String>> = findings.iter().map(row).collect();
        ctx.out.table(&["what", "state", "found", "what would mend it"], &rows);
    }
    if findings.iter().any(|f| f.state == FindingState::Missing) { Err(Problem::silent(Exit::Failed)) } else { Ok(()) }
}

fn row(f: &Finding) -> Vec<String> {
    let state = match f.state {
        FindingState::Ok => "ok",
        FindingState::Weaker => "weaker",
        FindingState::Absent => "absent",
        FindingState::Missing => "MISSING",
    };
    vec![
        f.what.clone(),
        state.to_string(),
        shortened(&f.detail),
        f.mend.clone().filter(|_| f.state != FindingState::Ok).unwrap_or_default(),
    ]
}

/// Where something was looked for can fill a screen; the JSON has all of it.
fn shortened(detail: &str) -> String {
    const MOST: usize = 180;
    if detail.chars().count() <= MOST { detail.to_string() } else { detail.chars().take(MOST).chain("…".chars()).collect() }
}

/// What concerns the platform itself.
pub fn machine() -> Vec<Finding> {
    machine::findings()
}
