//! `myna secret`: values that functions get and nobody reads back.

use crate::{
    admin::secrets::Shown,
    cli::{
        Ctx, hidden,
        problem::{Doing, Done, Problem},
        units::ago,
    },
    platform::{
        Api,
        http::{request, segment},
    },
};
use bytes::Bytes;
use http::Method;
use model::limits::SECRET_BYTES_MAX;
use std::io::{IsTerminal, Read};

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  myna secret put db/password                  asks for the value, and doesn't show it
  generate | myna secret put db/password       all of standard input, line ends included
  myna secret put tls/key @key.pem             all of a file
  myna secret list
  myna secret uses db/password
  myna deploy . --env PASSWORD=myna:secret:db/password

A function names a secret by the whole value of a variable: myna:secret:NAME. Its instances get the
secret's value; nothing else ever shows it.")]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Store a value, the first or another. Instances with the old one finish their calls and are replaced.
    Put {
        /// Its name: letters, digits, _ . - and / between parts.
        name: String,
        /// Where the value is: @FILE, or - for standard input. [default: standard input, or a question at a terminal]
        #[arg(value_name = "@FILE")]
        from: Vec<String>,
        /// What other programs call so is refused here, with what to do instead.
        #[arg(short = 'd', long = "value", alias = "data", hide = true, allow_hyphen_values = true)]
        given: Option<String>,
        /// Leave out one line end at the end of the value.
        #[arg(long)]
        strip: bool,
    },
    /// List the secrets: names, times, and how many variables use them.
    List,
    /// Show when a secret was made and changed, and what uses it.
    Describe {
        /// The secret.
        name: String,
    },
    /// List the variables whose value a secret is.
    Uses {
        /// The secret.
        name: String,
    },
    /// Delete a secret that nothing uses.
    Delete {
        /// The secret.
        name: String,
        /// Also when functions use it: they don't start any more, until it is put again.
        #[arg(long)]
        force: bool,
    },
}

pub async fn run(ctx: &Ctx, args: &Args) -> Done {
    match &args.what {
        What::Put { given: Some(_), name, .. } => Err(on_the_command_line(name)),
        What::Put { name, from, strip, given: None } => put(ctx, name, from, *strip).await,
        What::List => list(ctx).await,
        What::Describe { name } => describe(ctx, name).await,
        What::Uses { name } => uses(ctx, name).await,
        What::Delete { name, force } => delete(ctx, name, *force).await,
    }
}

fn variables(count: usize, one: &str, more: &str) -> String {
    if count == 1 { format!("1 variable {one}") } else { format!("{count} variables {more}") }
}

fn path(name: &str) -> String {
    format!("/admin/v1/secrets/{}", segment(name))
}

async fn put(ctx: &Ctx, name: &str, from: &[String], strip: bool) -> Done {
    model::secret::check_name(name).map_err(Problem::usage)?;
    let api = super::platform(ctx)?;
    let mut value = value(name, from)?;
    if strip && value.ends_with(b"\n") {
        value.truncate(value.len() - if value.ends_with(b"\r\n") { 2 } else { 1 });
    }
    let ends = value.ends_with(b"\n");
    model::secret::check_value(&value).map_err(Problem::usage)?;
    let asked = request(Method::PUT, &path(name), None).map(|_| Bytes::from(value));
    let shown: Shown = serde_json::from_value(api.send(asked).await?.json()?).doing("the platform's answer can't be read")?;
    if ctx.out.json {
        ctx.out.json(&shown);
        return Ok(());
    }
    ctx.out.good(format!("{name} has version {}", shown.version));
    if ends {
        ctx.out.note("its value ends in a line end, which is part of it; --strip leaves it out");
    }
    match shown.uses.len() {
        0 => ctx.out.note(format!("a function gets it by a variable: --env PASSWORD=myna:secret:{name}")),
        n => ctx.out.note(format!(
            "{} it from now on; instances with an older value finish their calls and go",
            variables(n, "has", "have")
        )),
    }
    Ok(())
}

/// The value, from where it is said to be; never from the command line itself.
fn value(name: &str, from: &[String]) -> Result<Vec<u8>, Problem> {
    // One byte more than it may have, so that what is too long is told so.
    let most = SECRET_BYTES_MAX as u64 + 1;
    let read = |source: &mut dyn Read| {
        let mut value = Vec::new();
        source.take(most).read_to_end(&mut value).map(|_| value)
    };
    match from {
        [] if std::io::stdin().is_terminal() => return hidden::ask(&format!("value of {name}: ")).map(String::into_bytes),
        [] => return read(&mut std::io::stdin().lock()).doing("standard input can't be read"),
        [dash] if dash == "-" => return read(&mut std::io::stdin().lock()).doing("standard input can't be read"),
        [file] if file.starts_with('@') => {
            let opened = std::fs::File::open(&file[1..]).and_then(|mut file| read(&mut file));
            return opened.map_err(|e| Problem::usage(format!("the value's file {} can't be read: {e}", &file[1..])));
        }
        _ => {}
    }
    Err(on_the_command_line(name))
}

/// What was given is not repeated: it may be the value.
fn on_the_command_line(name: &str) -> Problem {
    Problem::usage("a value is not taken from the command line, where others see it and shells keep it")
        .hint(format!("myna secret put {name} @FILE, or through standard input, or without anything to be asked for it"))
}

async fn list(ctx: &Ctx) -> Done {
    let shown: Vec<Shown> = super::platform(ctx)?.read("/admin/v1/secrets").await?;
    if ctx.out.json {
        ctx.out.json(&shown);
        return Ok(());
    }
    if shown.is_empty() {
        ctx.out.note("there is none; make one with: myna secret put NAME");
        return Ok(());
    }
    let row =
        |s: &Shown| vec![s.name.clone(), s.version.to_string(), ago(s.created_ms), ago(s.changed_ms), s.uses.len().to_string()];
    ctx.out.table(&["name", "version", "made", "changed", "uses"], &shown.iter().map(row).collect::<Vec<_>>());
    Ok(())
}

async fn read(api: &Api, name: &str) -> Result<Shown, Problem> {
    model::secret::check_name(name).map_err(Problem::usage)?;
    api.read(&path(name)).await
}

async fn describe(ctx: &Ctx, name: &str) -> Done {
    let shown = read(&super::platform(ctx)?, name).await?;
    if ctx.out.json {
        ctx.out.json(&shown);
        return Ok(());
    }
    ctx.out.pairs(&[
        ("name", shown.name.clone()),
        ("version", shown.version.to_string()),
        ("made", ago(shown.created_ms)),
        ("changed", ago(shown.changed_ms)),
        ("uses", shown.uses.len().to_string()),
        ("value", "not shown to anybody".into()),
    ]);
    Ok(())
}

async fn uses(ctx: &Ctx, name: &str) -> Done {
    let shown = read(&super::platform(ctx)?, name).await?;
    if ctx.out.json {
        ctx.out.json(&shown.uses);
        return Ok(());
    }
    if shown.uses.is_empty() {
        ctx.out.note(format!("nothing uses {name}"));
        return Ok(());
    }
    let rows: Vec<_> = shown.uses.into_iter().map(|u| vec![u.function, u.version, u.variable]).collect();
    ctx.out.table(&["function", "version", "variable"], &rows);
    Ok(())
}

async fn delete(ctx: &Ctx, name: &str, force: bool) -> Done {
    model::secret::check_name(name).map_err(Problem::usage)?;
    let force = if force { "?force=1" } else { "" };
    let answer = super::platform(ctx)?.json(Method::DELETE, &format!("{}{force}", path(name)), None).await?;
    let shown: Shown = serde_json::from_value(answer).doing("the platform's answer can't be read")?;
    if ctx.out.json {
        ctx.out.json(&shown);
        return Ok(());
    }
    ctx.out.good(format!("{name} is deleted"));
    if !shown.uses.is_empty() {
        let name = variables(shown.uses.len(), "names", "name");
        ctx.out.warn(format!("{name} it: what has them starts again once it is put again"));
    }
    Ok(())
}
