//! The options by which `deploy` and `dev` are told what the files don't tell. They win over `myna.toml`.

use crate::cli::units;
use std::path::PathBuf;

#[derive(Clone, Debug, Default, clap::Args)]
pub struct Options {
    /// The function's name. [default: the folder's or archive's]
    #[arg(long)]
    pub name: Option<String>,
    /// Which system the function was written for, where more than one fits.
    #[arg(long = "as", value_enum, value_name = "SYSTEM")]
    pub system: Option<System>,
    /// python3.12, nodejs22.x, java21, provided.al2023 …
    #[arg(long)]
    pub runtime: Option<String>,
    /// The entry point in the runtime's own notation: module.function, or pkg.Class::method.
    #[arg(long)]
    pub handler: Option<String>,
    /// 128MB to 10240MB; the share of the CPU grows with it.
    #[arg(long, value_name = "SIZE", value_parser = units::mebibytes)]
    pub memory: Option<u32>,
    /// How long one call may take: 3s, 15m.
    #[arg(long, value_name = "TIME", value_parser = units::seconds)]
    pub timeout: Option<u32>,
    /// A variable of the function's environment; may be given again.
    #[arg(long = "env", value_name = "KEY=VALUE", value_parser = key_value)]
    pub env: Vec<(String, String)>,
    /// The role that it acts as: a name or an ARN. [default: the platform's default role]
    #[arg(long)]
    pub role: Option<String>,
    /// The ARN of a layer version that it has at /opt; may be given again, the later over the earlier.
    #[arg(long = "layer", value_name = "ARN")]
    pub layers: Vec<String>,
    #[arg(long, help = "A sentence about it")]
    pub description: Option<String>,
    /// Also give it an HTTP address that anybody on this machine may call.
    #[arg(long)]
    pub url: bool,
    /// Run the compiler first, where the project needs one: cargo build --release, or go build.
    #[arg(long)]
    pub build: bool,
    /// A folder outside the project that its links may lead to; may be given again.
    #[arg(long, value_name = "DIR")]
    pub allow_outside: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum System {
    Lambda,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_string(), value.to_string())),
        _ => Err(format!("{text:?} is not KEY=VALUE")),
    }
}
