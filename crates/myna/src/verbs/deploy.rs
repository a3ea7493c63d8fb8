//! `myna deploy`: a folder or an archive becomes a function that answers. What was found, and why, is said before it is sent.

use crate::{
    cli::{Ctx, problem::Done, units::span},
    platform::lambda,
    project::{
        options::Options,
        pack::Packer,
        send::{self, What},
    },
};
use std::path::PathBuf;

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  myna deploy hello                        the folder ./hello, as the function hello
  myna deploy . --name api --memory 512MB --timeout 30s
  myna deploy . --env STAGE=test --env DEBUG=1
  myna deploy build.zip --runtime python3.12 --handler app.handler
  myna deploy . --build                    compiles a Rust or Go project first
  myna deploy . --url                      and anybody on this machine may call it by HTTP

Settings that stay belong into DIR/myna.toml:
  [function]
  name = \"api\"                 # also: as, runtime, handler, description, role
  memory = \"512MB\"
  timeout = \"30s\"
  exclude = [\"docs\", \"*.md\"]
  [function.env]
  STAGE = \"test\"

Left out of every package: .myna and any other state directory, .git, .env*, caches, virtual environments.")]
pub struct Args {
    /// A folder, a ZIP archive, or a JAR.
    #[arg(value_name = "DIR|ZIP", default_value = ".")]
    path: PathBuf,
    #[command(flatten)]
    options: Options,
}

pub async fn run(ctx: &Ctx, args: Args) -> Done {
    let api = super::platform(ctx)?;
    let sent = send::deploy(ctx, &api, &args.path, &args.options, &mut Packer::default()).await?;
    let f = &sent.function;
    if ctx.out.json {
        ctx.out.json(&lambda::configuration(&api, &f.function_name).await?);
        return Ok(());
    }
    let took = span(sent.took);
    let what = match sent.what {
        What::Created => format!("created in {took}"),
        What::Updated => format!("updated in {took}"),
        What::Unchanged => "is as it was".to_string(),
    };
    ctx.out.line(format!("{} {what}: {}, code {}", f.function_name, f.runtime, f.code_hash()));
    match &sent.url {
        Some(url) => ctx.out.note(format!("call it: curl {url}")),
        None => ctx.out.note(format!("call it: myna invoke {}", f.function_name)),
    }
    Ok(())
}
