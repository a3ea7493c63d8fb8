//! `myna up`: the platform itself. This file is the command line of it; the composition does the rest.

use crate::cli::{
    Ctx,
    problem::{Done, Problem},
};
use std::{net::SocketAddr, path::PathBuf};

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  myna up                                a platform in ./.myna, AWS APIs on 127.0.0.1:9000")]
pub struct Args {
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
}

pub fn run(_ctx: &Ctx, _args: Args) -> Done {
    Err(Problem::failed("this build has no platform in it: the composition is not linked yet"))
}
