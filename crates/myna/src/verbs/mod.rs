//! One file per verb. A verb reads its arguments, asks the platform, and shows the answer; nothing else happens here.

mod alias;
mod audit;
mod care;
mod completions;
mod concurrency;
mod delete;
mod demo;
mod deploy;
mod describe;
mod dev;
pub mod doctor;
mod drain;
mod env;
mod events;
mod explain;
mod init;
mod invoke;
mod layer;
mod list;
mod logs;
mod open;
mod pause;
mod quarantine;
mod runtime;
mod seal;
mod secret;
mod status;
mod support_bundle;
mod tenant;
mod tls;
pub mod up;
pub mod url;
mod versions;

use crate::{
    cli::{
        Ctx, hidden,
        problem::{Doing, Done, Problem},
    },
    platform::{Api, find},
};

#[derive(clap::Subcommand)]
pub enum Verb {
    /// Run a platform in the foreground, with all its state in one directory.
    Up(up::Args),
    /// Show what the running platform serves, holds and keeps.
    Status(status::Args),
    /// Write a new function to begin with.
    Init(init::Args),
    /// Create or update a function from a folder or a ZIP archive.
    Deploy(deploy::Args),
    /// Deploy a folder on every save and show the function's log.
    Dev(dev::Args),
    /// Call a function and show what it answers.
    Invoke(invoke::Args),
    /// Show asynchronous calls on their way; cancel, pause, resume or purge them.
    Events(events::Args),
    /// Show calls that ended as dead letters, or try them again.
    Dlq(events::DlqArgs),
    /// List the functions.
    List(list::Args),
    /// Show one function: settings, versions, addresses, instances, libraries.
    Describe(describe::Args),
    /// List and publish layers, or say what stands for one of another account.
    Layer(layer::Args),
    /// Show what a function logged.
    Logs(logs::Args),
    /// List a function's versions, or publish one.
    Versions(versions::Args),
    /// Name versions, and divide calls between two of them.
    Alias(alias::Args),
    /// Give a function an HTTP address of its own, show it, or take it away.
    Url(url::Args),
    /// Limit, reserve or keep ready a function's instances.
    Concurrency(concurrency::Args),
    /// Delete a function, or one version of it.
    Delete(delete::Args),
    /// Show every effective value of a function and where it comes from.
    Explain(explain::Args),
    /// List the language runtimes, or install one.
    Runtime(runtime::Args),
    /// List who shares the platform; add, bound or remove tenants; make their keys.
    Tenant(tenant::Args),
    /// Show what the directory is sealed with, renew its keys, or copy the key to a safe place.
    Seal(seal::Args),
    /// Put values that functions get and nobody reads back; list, delete them, see what uses them.
    Secret(secret::Args),
    /// Show who changed what and who was refused, or check that the log of it is whole.
    Audit(audit::Args),
    /// Examine this machine: what works, what is weaker or missing, and what would mend it.
    Doctor(doctor::Args),
    /// Open the console in the browser, logged in.
    Open(open::Args),
    /// Deploy small functions, call them, show what happened, and take them away.
    Demo(demo::Args),
    /// Print what other clients (aws CLI, SDKs) need to reach the platform.
    Env(env::Args),
    /// Refuse a function's calls and let its events wait, or end that.
    Pause(pause::Args),
    /// Stop a function for good, and keep the evidence; or release it.
    Quarantine(quarantine::Args),
    /// Take no new work, finish what is under way, and end the platform.
    Drain(drain::Args),
    /// Copy all that the platform was trusted with into an archive.
    Backup(care::BackupArgs),
    /// Make a new directory out of a backup.
    Restore(care::RestoreArgs),
    /// Read everything that is stored, and say what is broken.
    Verify(care::VerifyArgs),
    /// Mend what can be mended without losing anything that is whole.
    Repair(care::RepairArgs),
    /// Gather what helps to find out what is wrong, without secrets.
    SupportBundle(support_bundle::Args),
    /// Make certificates to try TLS with.
    Tls(tls::Args),
    /// Print a completion script for a shell.
    Completions(completions::Args),
}

pub fn run(ctx: &Ctx, verb: Verb) -> Done {
    match verb {
        // The platform brings its own threads, and must be alone in the process when it starts.
        Verb::Up(args) => up::run(ctx, args),
        Verb::Doctor(args) => doctor::run(ctx, args, crate::compose::machine),
        Verb::Completions(args) => completions::run(ctx, &args),
        Verb::Init(args) => init::run(ctx, &args),
        Verb::Tls(args) => tls::run(ctx, &args),
        Verb::Backup(args) => care::backup(ctx, &args),
        Verb::Restore(args) => care::restore(ctx, &args),
        Verb::Verify(args) => care::verify(ctx, &args),
        Verb::Repair(args) => care::repair(ctx, &args),
        asking => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().doing("the command can't start")?;
            let ended = runtime.block_on(ask(ctx, asking));
            // A reader of standard input may still be blocked; nobody waits for it.
            runtime.shutdown_background();
            ended
        }
    }
}

/// Verbs that talk to a running platform.
async fn ask(ctx: &Ctx, verb: Verb) -> Done {
    match verb {
        Verb::Up(_) | Verb::Doctor(_) | Verb::Completions(_) | Verb::Init(_) | Verb::Tls(_) => {
            unreachable!("run() answers these")
        }
        Verb::Backup(_) | Verb::Restore(_) | Verb::Verify(_) | Verb::Repair(_) => unreachable!("run() answers these"),
        Verb::Pause(args) => pause::run(ctx, &args).await,
        Verb::Quarantine(args) => Box::pin(quarantine::run(ctx, &args)).await,
        Verb::Drain(args) => drain::run(ctx, &args).await,
        Verb::SupportBundle(args) => Box::pin(support_bundle::run(ctx, &args)).await,
        Verb::Status(args) => status::run(ctx, &args).await,
        Verb::Deploy(args) => Box::pin(deploy::run(ctx, args)).await,
        Verb::Dev(args) => Box::pin(dev::run(ctx, args)).await,
        Verb::Invoke(args) => invoke::run(ctx, args).await,
        Verb::Events(args) => events::run(ctx, &args).await,
        Verb::Dlq(args) => events::dlq(ctx, &args).await,
        Verb::List(args) => list::run(ctx, &args).await,
        Verb::Describe(args) => describe::run(ctx, &args).await,
        Verb::Layer(args) => layer::run(ctx, &args).await,
        Verb::Logs(args) => logs::run(ctx, &args).await,
        Verb::Versions(args) => versions::run(ctx, &args).await,
        Verb::Alias(args) => alias::run(ctx, &args).await,
        Verb::Url(args) => url::run(ctx, &args).await,
        Verb::Concurrency(args) => concurrency::run(ctx, &args).await,
        Verb::Delete(args) => delete::run(ctx, &args).await,
        Verb::Explain(args) => explain::run(ctx, &args).await,
        Verb::Audit(args) => audit::run(ctx, &args).await,
        Verb::Runtime(args) => runtime::run(ctx, &args).await,
        Verb::Tenant(args) => Box::pin(tenant::run(ctx, &args)).await,
        Verb::Seal(args) => seal::run(ctx, &args).await,
        Verb::Secret(args) => secret::run(ctx, &args).await,
        Verb::Open(args) => open::run(ctx, &args).await,
        Verb::Demo(args) => Box::pin(demo::run(ctx, args)).await,
        Verb::Env(args) => env::run(ctx, &args).await,
    }
}

/// The platform that is meant, found and reachable.
fn platform(ctx: &Ctx) -> Result<Api, Problem> {
    find::find(ctx).and_then(|place| Api::new(place.dir).acting_for(ctx.tenant.as_deref()))
}

/// The passphrase of a directory, asked for at the terminal; twice where it is a new one, which nothing can tell from a wrong one.
fn passphrase(dir: &std::path::Path, new: bool) -> Result<store::seal::Source, Problem> {
    let ask = |question: &str| {
        hidden::ask(question)
            .map_err(|p| p.hint("where nobody can be asked, a file or a descriptor has it: --passphrase-file FILE, or /dev/fd/3"))
    };
    let words = ask(&format!("passphrase of {}: ", dir.display()))?;
    if new && ask("the same again: ")? != words {
        return Err(Problem::usage("the two passphrases are not the same"));
    }
    Ok(store::seal::Source::Passphrase(store::seal::Words::new(words)))
}
