//! `myna env`: what every other client needs to find this platform. Printed for a shell to evaluate, or written as a profile
//! into an AWS configuration file of Myna's own: the user's files are never touched.
//!
//! Botocore puts host prefixes before an endpoint's name (`stream-127.0.0.1` for StartLiveTail), which resolves nowhere; its
//! own setting for that is `disable_host_prefix_injection`, in the environment `AWS_DISABLE_HOST_PREFIX_INJECTION`
//! (botocore/configprovider.py).

use crate::{
    admin::wire::{Access, AwsAccess},
    cli::{
        Ctx,
        problem::{Doing, Done, Problem},
    },
    platform::Api,
};
use serde_json::{Map, Value};
use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  eval \"$(myna env)\"                  for sh, bash and zsh
  myna env --shell fish | source      for fish
  eval \"$(myna env --profile)\"        a profile named myna, in a file of its own
  eval \"$(myna env --unset)\"          take it back
  eval \"$(myna env --tenant acme)\"    with the key of another tenant
  myna env --json")]
pub struct Args {
    /// Write a profile named myna into an AWS configuration file of its own, and point the clients there.
    #[arg(long, conflicts_with = "unset")]
    profile: bool,
    /// Take back what was set.
    #[arg(long)]
    unset: bool,
    /// Whose syntax to print. [default: by $SHELL]
    #[arg(long, value_enum)]
    shell: Option<Shell>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Shell {
    Sh,
    Fish,
}

/// A variable that is set, or one that must not be.
type Change = (&'static str, Option<String>);

const PROFILE: &str = "myna";
/// Everything that either form sets.
const OURS: [&str; 10] = [
    "AWS_ENDPOINT_URL",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_DISABLE_HOST_PREFIX_INJECTION",
    "AWS_CA_BUNDLE",
    "AWS_CONFIG_FILE",
    "AWS_PROFILE",
];

pub async fn run(ctx: &Ctx, args: &Args) -> Done {
    let changes = if args.unset {
        OURS.iter().map(|name| (*name, None)).collect()
    } else {
        let api = super::platform(ctx)?;
        let aws = access(&api).await?;
        for name in overriding(std::env::vars().map(|v| v.0)) {
            ctx.out.warn(format!("{name} is set, and wins over AWS_ENDPOINT_URL for its service: unset it"));
        }
        if args.profile { profile(&api, &aws, ctx.tenant.as_deref())? } else { variables(&aws) }
    };
    if ctx.out.json {
        let map: Map<String, Value> =
            changes.into_iter().map(|(name, value)| (name.to_string(), value.map_or(Value::Null, Value::String))).collect();
        ctx.out.json(&map);
        return Ok(());
    }
    let shell = args.shell.unwrap_or_else(shell_of_user);
    for change in &changes {
        ctx.out.line(statement(shell, change));
    }
    if ctx.out.stdout_is_terminal() {
        ctx.out.note(match shell {
            Shell::Sh => "# this shell is unchanged until it evaluates that: eval \"$(myna env)\"",
            Shell::Fish => "# this shell is unchanged until it evaluates that: myna env | source",
        });
    }
    Ok(())
}

async fn access(api: &Api) -> Result<AwsAccess, Problem> {
    let access: Access = api.read("/admin/v1/access").await?;
    access.aws.ok_or_else(|| Problem::failed("the platform serves no AWS APIs").hint("see its listeners: myna status"))
}

fn variables(aws: &AwsAccess) -> Vec<Change> {
    let mut changes = vec![
        ("AWS_ENDPOINT_URL", Some(aws.endpoint_url.clone())),
        ("AWS_ACCESS_KEY_ID", Some(aws.access_key_id.clone())),
        ("AWS_SECRET_ACCESS_KEY", Some(aws.secret_access_key.clone())),
        // A token of another account would be sent along, and refused.
        ("AWS_SESSION_TOKEN", None),
        ("AWS_REGION", Some(aws.region.clone())),
        ("AWS_DEFAULT_REGION", Some(aws.region.clone())),
        ("AWS_DISABLE_HOST_PREFIX_INJECTION", Some("true".to_string())),
    ];
    // Without one, whatever the user trusts elsewhere stays.
    changes.extend(aws.ca_bundle.clone().map(|bundle| ("AWS_CA_BUNDLE", Some(bundle))));
    changes
}

/// Keys in the environment would win over the profile's (botocore resolves `env` before `config-file`), so they go.
fn profile(api: &Api, aws: &AwsAccess, tenant: Option<&str>) -> Result<Vec<Change>, Problem> {
    let of = |name: &str| tenant.map_or_else(|| name.to_owned(), |tenant| format!("{name}-{tenant}"));
    let file = write_profile(api.dir(), aws, (&of("aws-config"), &of(PROFILE)))?;
    let ours = if aws.ca_bundle.is_some() { 8 } else { 7 };
    let mut changes: Vec<Change> = OURS.iter().take(ours).map(|name| (*name, None)).collect();
    changes.push(("AWS_CONFIG_FILE", Some(file.display().to_string())));
    changes.push(("AWS_PROFILE", Some(of(PROFILE))));
    Ok(changes)
}

fn write_profile(dir: &Path, aws: &AwsAccess, (name, profile): (&str, &str)) -> Result<PathBuf, Problem> {
    let folder = dir.join("clients");
    let file = folder.join(name);
    let bundle = aws.ca_bundle.as_ref().map_or_else(String::new, |file| format!("ca_bundle = {file}\n"));
    let text = format!(
        "# Written by `myna env --profile`; yours to point AWS_CONFIG_FILE at.\n[profile {profile}]\nregion = {}\nendpoint_url = {}\n\
         aws_access_key_id = {}\naws_secret_access_key = {}\ndisable_host_prefix_injection = true\n{bundle}",
        aws.region, aws.endpoint_url, aws.access_key_id, aws.secret_access_key
    );
    let write = || {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        let fresh = folder.join(format!("{name}.{}", std::process::id()));
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?.write_all(text.as_bytes())?;
        fs::rename(&fresh, &file)
    };
    write().doing(format!("the profile can't be written to {}", file.display()))?;
    file.canonicalize().doing(format!("the profile {} can't be found again", file.display()))
}

fn shell_of_user() -> Shell {
    let is_fish = std::env::var("SHELL").is_ok_and(|s| s.ends_with("/fish"));
    if is_fish { Shell::Fish } else { Shell::Sh }
}

fn statement(shell: Shell, (name, value): &Change) -> String {
    match (shell, value) {
        (Shell::Sh, Some(value)) => format!("export {name}={}", quoted_sh(value)),
        (Shell::Sh, None) => format!("unset {name}"),
        (Shell::Fish, Some(value)) => format!("set -gx {name} {};", quoted_fish(value)),
        (Shell::Fish, None) => format!("set -e {name};"),
    }
}

/// Inside single quotes a POSIX shell changes nothing.
fn quoted_sh(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
/// Fish reads `\\` and `\'` inside single quotes.
fn quoted_fish(text: &str) -> String {
    format!("'{}'", text.replace('\\', r"\\").replace('\'', r"\'"))
}

/// Variables of the user's that would lead one service elsewhere.
fn overriding(names: impl Iterator<Item = String>) -> Vec<String> {
    names.filter(|n| n.starts_with("AWS_ENDPOINT_URL_") || n == "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS").collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{os::unix::fs::MetadataExt, process::Command};

    fn aws() -> AwsAccess {
        AwsAccess {
            endpoint_url: "http://127.0.0.1:9000".into(),
            region: "us-east-1".into(),
            access_key_id: "AK".into(),
            secret_access_key: "s'e$c\\r`et".into(),
            ca_bundle: None,
        }
    }

    #[test]
    fn a_shell_that_evaluates_it_has_every_value_and_no_foreign_token() {
        let script: Vec<String> = variables(&aws()).iter().map(|c| statement(Shell::Sh, c)).collect();
        let script = format!(
            "{}; printf '%s|' \"$AWS_ENDPOINT_URL\" \"$AWS_SECRET_ACCESS_KEY\" \"$AWS_REGION$AWS_DEFAULT_REGION\" \"${{AWS_SESSION_TOKEN-none}}\"",
            script.join("; ")
        );
        let run = Command::new("sh").arg("-c").arg(script).env("AWS_SESSION_TOKEN", "foreign").output().unwrap();
        assert_eq!(String::from_utf8(run.stdout).unwrap(), "http://127.0.0.1:9000|s'e$c\\r`et|us-east-1us-east-1|none|");
    }

    #[test]
    fn fish_gets_its_own_words() {
        assert_eq!(statement(Shell::Fish, &("A", Some("it's \\".into()))), r"set -gx A 'it\'s \\';");
        assert_eq!(statement(Shell::Fish, &("A", None)), "set -e A;");
    }

    #[test]
    fn unset_takes_back_all_that_either_form_sets() {
        let temp = tempfile::tempdir().unwrap();
        let by_profile = profile(&Api::new(temp.path().to_path_buf()), &aws(), None).unwrap();
        for (name, _) in variables(&aws()).into_iter().chain(by_profile) {
            assert!(OURS.contains(&name), "{name}");
        }
    }

    #[test]
    fn the_profile_is_private_and_holds_what_botocore_reads() {
        let temp = tempfile::tempdir().unwrap();
        let file = write_profile(temp.path(), &aws(), ("aws-config", PROFILE)).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        let text = fs::read_to_string(file).unwrap();
        for line in [
            "[profile myna]",
            "endpoint_url = http://127.0.0.1:9000",
            "region = us-east-1",
            "disable_host_prefix_injection = true",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in {text}");
        }
    }

    #[test]
    fn settings_that_lead_elsewhere_are_named() {
        let names = ["AWS_ENDPOINT_URL_LAMBDA", "AWS_ENDPOINT_URL", "HOME"].map(String::from);
        assert_eq!(overriding(names.into_iter()), ["AWS_ENDPOINT_URL_LAMBDA"]);
    }
}
