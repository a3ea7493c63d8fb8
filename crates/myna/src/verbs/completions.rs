//! `myna completions`.

use crate::cli::{self, Ctx, problem::Done};

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  myna completions bash > ~/.local/share/bash-completion/completions/myna
  myna completions zsh > ~/.zfunc/_myna
  myna completions fish > ~/.config/fish/completions/myna.fish")]
pub struct Args {
    /// Whose script.
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

pub fn run(ctx: &Ctx, args: &Args) -> Done {
    let shell = match args.shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut cli::command(), "myna", &mut script);
    ctx.out.line(String::from_utf8_lossy(&script).trim_end());
    Ok(())
}
