//! `myna backup`, `restore`, `verify` and `repair`: the directory as a whole. They work on its files, so they need no platform to
//! answer; all but `repair` may also run beside one.

use crate::{
    cli::{
        Ctx,
        problem::{Done, Exit, Problem},
        units::bytes,
    },
    compose::usual_key,
    platform::find,
};
use std::path::PathBuf;
use store::{care, seal::Source};

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  myna backup /backups/myna-monday.tar           while it runs, or when it doesn't
  myna backup --logs /backups/with-logs.tar      with logs and records of calls")]
pub struct BackupArgs {
    /// The archive to write; nothing may be there yet. Keep it private: it holds code and access keys, not the master key.
    file: PathBuf,
    /// Logs of functions and records of calls too.
    #[arg(long)]
    logs: bool,
}

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  myna restore /backups/myna-monday.tar --to /srv/myna
  myna up --dir /srv/myna")]
pub struct RestoreArgs {
    /// What myna backup wrote.
    file: PathBuf,
    /// The new directory; an empty folder will do. The same as --dir.
    #[arg(long, value_name = "NEW")]
    to: Option<PathBuf>,
    #[command(flatten)]
    key: KeyArgs,
}

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  myna verify                    reads everything, changes nothing
  myna verify --dir /srv/myna
  myna verify --json | jq .flaws")]
pub struct VerifyArgs {
    #[command(flatten)]
    key: KeyArgs,
}

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  myna repair --dry-run          what it would do
  myna repair                    the platform must be stopped")]
pub struct RepairArgs {
    /// Only say what would be done.
    #[arg(long)]
    dry_run: bool,
    /// Allow a directory in memory (tmpfs), as with up.
    #[arg(long)]
    volatile: bool,
    #[command(flatten)]
    key: KeyArgs,
}

/// What opens a sealed directory.
#[derive(clap::Args)]
struct KeyArgs {
    /// The file with the master key of a sealed directory. [default: ~/.config/myna/keys/ID.key]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["passphrase_file", "passphrase"])]
    key_file: Option<PathBuf>,
    /// The file with its passphrase.
    #[arg(long, value_name = "FILE", conflicts_with = "passphrase")]
    passphrase_file: Option<PathBuf>,
    /// Ask for its passphrase at the terminal.
    #[arg(long)]
    passphrase: bool,
}

impl KeyArgs {
    /// Of the directory `dir`.
    fn source(&self, dir: &std::path::Path) -> Result<Source, Problem> {
        if self.passphrase {
            return super::passphrase(dir, false);
        }
        let file = self.key_file.clone().map(Source::File);
        Ok(file.or_else(|| self.passphrase_file.clone().map(Source::PassphraseFile)).unwrap_or_else(usual_key))
    }
}

/// The directory that is meant, whether a platform uses it or not.
fn dir(ctx: &Ctx) -> Result<PathBuf, Problem> {
    if let Some(dir) = &ctx.dir {
        return Ok(dir.clone());
    }
    let here = PathBuf::from(find::DIR);
    if here.is_dir() { Ok(here) } else { find::find(ctx).map(|place| place.dir) }
}

fn failed(error: &store::Error) -> Problem {
    Problem::failed(error.to_string())
}

pub fn backup(ctx: &Ctx, args: &BackupArgs) -> Done {
    let made = care::backup(&dir(ctx)?, &args.file, args.logs).map_err(|e| failed(&e))?;
    if ctx.out.json {
        ctx.out.json(&made);
        return Ok(());
    }
    ctx.out.good(format!("{}: {} in {} entries", made.file.display(), bytes(made.bytes), made.entries));
    ctx.out.pairs(&[
        ("rows", made.rows.to_string()),
        ("packages", made.packages.to_string()),
        (
            "events that wait",
            format!("{}, and what the log has behind segment {} byte {}", made.queued, made.position.0, made.position.1),
        ),
    ]);
    ctx.out
        .note("put it back with: myna restore FILE --to NEW; a sealed directory also needs its master key, which is not in it");
    Ok(())
}

pub fn restore(ctx: &Ctx, args: &RestoreArgs) -> Done {
    let Some(dir) = args.to.as_ref().or(ctx.dir.as_ref()) else {
        return Err(Problem::usage("where to is not said").hint("name a new folder: myna restore FILE --to NEW"));
    };
    let made = care::restore(&args.file, dir, &args.key.source(dir)?).map_err(|e| failed(&e))?;
    if ctx.out.json {
        ctx.out.json(&made);
        return Ok(());
    }
    ctx.out.good(format!("{}: {} entries, {}, all of them whole", made.dir.display(), made.entries, bytes(made.bytes)));
    ctx.out.note(format!("start it with: myna up --dir {}", made.dir.display()));
    Ok(())
}

pub fn verify(ctx: &Ctx, args: &VerifyArgs) -> Done {
    let dir = dir(ctx)?;
    let report = care::verify(&dir, &args.key.source(&dir)?).map_err(|e| failed(&e))?;
    if ctx.out.json {
        ctx.out.json(&report);
    } else {
        let rows = report.flaws.iter().map(|f| vec![f.kind.to_owned(), f.what.clone(), f.detail.clone()]).collect::<Vec<_>>();
        if !rows.is_empty() {
            ctx.out.table(&["kind", "what", "is wrong"], &rows);
        }
        report.notes.iter().for_each(|note| ctx.out.note(note));
        ctx.out.line(format!(
            "{} rows, {} packages, {} events, {} records of the queue's log were read",
            report.rows, report.packages, report.events, report.records
        ));
    }
    match report.flaws.len() {
        0 if ctx.out.json => Ok(()),
        0 => {
            ctx.out.good("nothing is wrong");
            Ok(())
        }
        _ if ctx.out.json => Err(Problem::silent(Exit::Failed)),
        n => Err(Problem::failed(format!("{n} flaws were found")).hint("what can be mended, and how: myna repair --dry-run")),
    }
}

pub fn repair(ctx: &Ctx, args: &RepairArgs) -> Done {
    let dir = dir(ctx)?;
    let repair = care::repair(&dir, &args.key.source(&dir)?, args.dry_run, args.volatile).map_err(|e| failed(&e))?;
    if ctx.out.json {
        ctx.out.json(&repair);
    } else {
        for step in &repair.steps {
            ctx.out.line(format!("{}\n  {}: {}", step.what, if step.done { "done" } else { "would be done" }, step.does));
        }
        repair.left.iter().for_each(|left| ctx.out.warn(left));
        if repair.steps.is_empty() && repair.left.is_empty() {
            ctx.out.good("nothing is to be mended");
        }
    }
    match repair.left.len() {
        0 => Ok(()),
        _ if ctx.out.json => Err(Problem::silent(Exit::Failed)),
        n => Err(Problem::failed(format!("{n} flaws are left that no step mends"))
            .hint("restore a backup: myna restore FILE --to NEW")),
    }
}
