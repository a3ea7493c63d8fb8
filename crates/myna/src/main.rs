//! The binary: it parses the command line, and names every crate so that no other has to. Each verb is one file in `verbs`.

mod admin;
mod cli;
mod compose;
mod metrics;
#[cfg(test)]
mod permissions;
mod platform;
mod project;
mod verbs;

use std::process::ExitCode;

fn main() -> ExitCode {
    compose::run_if_helper();
    let (ctx, verb) = cli::parse();
    match verbs::run(&ctx, verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            ctx.out.problem(&problem);
            ExitCode::from(problem.exit as u8)
        }
    }
}
