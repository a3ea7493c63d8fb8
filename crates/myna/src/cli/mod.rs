//! The command line: what every verb shares, and the list of verbs. Help is part of the product: each verb shows examples, and
//! every one of them ends with the exit codes.

pub mod hidden;
pub mod log;
pub mod out;
pub mod paced;
pub mod problem;
pub mod progress;
pub mod safe;
pub mod units;

use crate::verbs::Verb;
use clap::{CommandFactory, FromArgMatches, Parser, builder::OsStringValueParser};
use out::Out;
use std::{ffi::OsString, path::PathBuf};

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed; what and why is on standard error
  2  the command line, or a file that it names, is wrong
  3  the function ran and reported an error
  4  no platform answers
  5  the thing named doesn't exist
  6  the state directory is damaged: the message names the file";

const ABOUT: &str = "Everybody's functions on one machine: start a platform, deploy a folder, call it.";

#[derive(Parser)]
#[command(name = "myna", version, about = ABOUT, max_term_width = 100, disable_help_subcommand = true)]
#[command(after_help = "\
Start here:
  myna up                                   a platform in this folder, in the foreground
  myna init --like lambda-python hello      a function to begin with
  myna deploy hello && myna invoke hello    deployed and called
  eval \"$(myna env)\"                        now the aws CLI and every SDK reach it too")]
struct Cli {
    #[command(flatten)]
    shared: Shared,
    #[command(subcommand)]
    verb: Verb,
}

/// What every verb takes.
#[derive(clap::Args)]
struct Shared {
    /// The platform's directory. Without it: the nearest .myna above this folder, else the one platform that runs.
    // An empty MYNA_DIR is as good as none, so no parser may refuse it.
    #[arg(long, global = true, env = "MYNA_DIR", value_name = "DIR", help_heading = "Everywhere", value_parser = OsStringValueParser::new(), value_hint = clap::ValueHint::DirPath)]
    dir: Option<OsString>,
    /// Whom it is done for, by name or account. Without it the default tenant.
    #[arg(long, global = true, env = "MYNA_TENANT", value_name = "NAME", help_heading = "Everywhere", value_parser = OsStringValueParser::new())]
    tenant: Option<OsString>,
    /// Answer in JSON, for programs.
    #[arg(long, global = true, help_heading = "Everywhere")]
    json: bool,
    /// Show what functions and users wrote as it is, terminal escapes included.
    #[arg(long, global = true, help_heading = "Everywhere")]
    raw: bool,
}

/// What a verb works with.
pub struct Ctx {
    pub dir: Option<PathBuf>,
    /// By name or account.
    pub tenant: Option<String>,
    pub out: Out,
}

/// Parse this process's arguments; a wrong command line ends the process with code 2, `--help` with 0.
pub fn parse() -> (Ctx, Verb) {
    let matches = command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let dir = cli.shared.dir.filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let tenant = cli.shared.tenant.filter(|tenant| !tenant.is_empty()).map(|t| t.to_string_lossy().into_owned());
    (Ctx { dir, tenant, out: Out::new(cli.shared.json, cli.shared.raw) }, cli.verb)
}

/// The whole command tree, with the exit codes under each verb.
pub fn command() -> clap::Command {
    let with_codes = |command: clap::Command| {
        let text = match command.get_after_help() {
            Some(examples) => format!("{examples}\n\n{EXIT_CODES}"),
            None => EXIT_CODES.to_string(),
        };
        command.after_help(text)
    };
    with_codes(Cli::command().mut_subcommands(with_codes))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_tree_is_sound_and_every_verb_has_examples() {
        let command = super::command();
        command.clone().debug_assert();
        for verb in command.get_subcommands().filter(|v| !v.is_hide_set()) {
            let help = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.starts_with("Examples:\n") && help.contains("Exit codes:"), "help of {}: {help}", verb.get_name());
            assert!(help.contains(&format!("myna {}", verb.get_name())), "an example of {} uses it", verb.get_name());
        }
    }
}
