//! `myna open`: a one-time link into the console, handed to the browser.

use crate::{
    admin::wire::ConsoleLink,
    cli::{Ctx, problem::Done},
};
use http::Method;
use serde::Deserialize;
use std::process::{Command, Stdio};

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  myna open
  myna open --print        only the link; it logs in once")]
pub struct Args {
    /// Print the link and open nothing.
    #[arg(long)]
    print: bool,
}

pub async fn run(ctx: &Ctx, args: &Args) -> Done {
    let link = super::platform(ctx)?.json(Method::POST, "/admin/v1/console-link", None).await?;
    if ctx.out.json {
        ctx.out.json(&link);
        return Ok(());
    }
    let link = ConsoleLink::deserialize(&link).unwrap_or_default().url;
    ctx.out.line(&link);
    let has_screen = std::env::var_os("DISPLAY").is_some() || std::env::var_os("WAYLAND_DISPLAY").is_some();
    if args.print || !has_screen {
        return Ok(());
    }
    let opened = Command::new("xdg-open").arg(&link).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !opened.is_ok_and(|status| status.success()) {
        ctx.out.note("no browser could be started; open the link yourself. It logs in once, and not for long");
    }
    Ok(())
}
