//! `myna doctor`: what this machine can do. It needs no running platform. The composition says what sandboxes and language
//! runtimes find, and adds what is read off the machine here.

mod machine;

use crate::{
    admin::wire::{Finding, FindingState},
    cli::{
        Ctx,
        problem::{Done, Exit, Problem},
    },
    platform::find,
};

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  myna doctor
  myna doctor --json | jq '.[] | select(.state != \"ok\")'

It ends with 1 when something is missing that `myna up` needs.")]
pub struct Args {}

pub fn run(ctx: &Ctx, _args: Args, findings: impl FnOnce() -> Vec<Finding>) -> Done {
    let mut findings = findings();
    let here = std::path::PathBuf::from(find::DIR);
    findings.extend(sealing(ctx.dir.as_deref().unwrap_or(&here)));
    if ctx.out.json {
        ctx.out.json(&findings);
    } else {
        let rows: Vec<Vec<String>> = findings.iter().map(row).collect();
        ctx.out.table(&["what", "state", "found", "what would mend it"], &rows);
    }
    if findings.iter().any(|f| f.state == FindingState::Missing) { Err(Problem::silent(Exit::Failed)) } else { Ok(()) }
}

/// Whether what lies in a state directory is sealed; nothing where there is none, or it is somebody else's.
pub fn sealing(dir: &std::path::Path) -> Option<Finding> {
    let there = |name: &str| dir.join(name).try_exists().ok();
    if !there("rows.db")? {
        return None;
    }
    let found = |state, detail: &str, mend: Option<&str>| {
        let detail = format!("{}: {detail}", dir.display());
        Some(Finding { what: "sealing".into(), state, detail, mend: mend.map(Into::into) })
    };
    match there(store::seal::KEYS_FILE)? {
        true => found(FindingState::Ok, "what lies in it is encrypted", None),
        false => found(
            FindingState::Weaker,
            "nothing in it is encrypted: whoever reads the disk reads code, variables, secrets, events and keys",
            Some("start it without --no-seal, and without seal.off in the configuration"),
        ),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_not_sealed_is_a_finding() {
        let dir = tempfile::tempdir().unwrap();
        assert!(sealing(dir.path()).is_none(), "it is no state directory");
        std::fs::write(dir.path().join("rows.db"), "").unwrap();
        let found = sealing(dir.path()).unwrap();
        assert!(found.state == FindingState::Weaker && found.mend.is_some_and(|m| m.contains("--no-seal")));
        std::fs::write(dir.path().join(store::seal::KEYS_FILE), "").unwrap();
        assert_eq!(sealing(dir.path()).unwrap().state, FindingState::Ok);
    }
}
