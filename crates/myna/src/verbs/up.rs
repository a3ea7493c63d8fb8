//! `myna up`: the platform itself. This file is the command line of it; the composition does the rest.

use crate::{
    admin::AdminHost,
    cli::{
        Ctx,
        log::Lines,
        paced::Paced,
        problem::{Doing, Done, Exit, Problem},
    },
    compose::{Built, Config, Ended, Host, Listen, Read},
    platform::registry,
};
use model::limits::BLOCKING_THREADS_MAX;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::signal::unix::{Signal, SignalKind, signal};

#[derive(clap::Args, Default)]
#[command(after_help = "\
Examples:
  myna up                                a platform in ./.myna, AWS APIs on 127.0.0.1:9000
  myna up --dir /srv/myna                its state somewhere else
  myna up --listen 127.0.0.1:4566        on another port
  myna up --config myna.toml             settings from a file; options here win over it")]
pub struct Args {
    /// Settings: every option here, and what has no option.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where the AWS APIs listen; beyond loopback only with TLS. [default: 127.0.0.1:9000]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<Listen>,
    /// Where the console listens; beyond loopback only with TLS. [default: 127.0.0.1:9080]
    #[arg(long, value_name = "ADDRESS")]
    pub console: Option<Listen>,
    /// Don't ask AWS clients for signatures. Everything else is still checked.
    #[arg(long)]
    pub no_auth: bool,
    /// Allow a directory in memory (tmpfs), which a reboot empties.
    #[arg(long)]
    pub volatile: bool,
    /// What everything is sealed with lies in this file, made when there is none; outside of the directory.
    /// [default: ~/.config/myna/keys/ID.key]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["passphrase_file", "passphrase", "no_seal"])]
    pub key_file: Option<PathBuf>,
    /// Seal everything with a passphrase, which this file holds (or a descriptor: /dev/fd/3).
    #[arg(long, value_name = "FILE", conflicts_with_all = ["passphrase", "no_seal"])]
    pub passphrase_file: Option<PathBuf>,
    /// Seal everything with a passphrase, which is asked for at the terminal.
    #[arg(long, conflicts_with = "no_seal")]
    pub passphrase: bool,
    /// Leave what lies in the directory readable: code, variables, events, keys.
    #[arg(long)]
    pub no_seal: bool,
    /// The region that names carry. [default: us-east-1]
    #[arg(long)]
    pub region: Option<String>,
    /// The account that names carry: twelve digits. [default: 000000000000]
    #[arg(long, value_name = "ID")]
    pub account: Option<String>,
}

/// As good as for ever.
const KEPT: Duration = Duration::from_secs(365 * 86_400);

/// The line that `--json` prints once the platform takes calls.
#[derive(serde::Serialize)]
struct Announcement<'a> {
    ready: bool,
    aws: String,
    console: String,
    dir: &'a Path,
    admin: PathBuf,
    access_key_id: &'a str,
    secret_access_key: &'a str,
    region: &'a str,
    account: &'a str,
    role: String,
    pid: u32,
}

pub fn run(ctx: &Ctx, args: Args) -> Done {
    let began = Instant::now();
    let dir = ctx.dir.clone().unwrap_or_else(|| PathBuf::from(".myna"));
    raise_descriptors();
    let again = dir.clone();
    no_core_dumps();
    let mut config = Config::load(dir, &args).map_err(|e| Problem::usage(e.to_string()))?;
    if config.ask_passphrase {
        // Before anything catches signals: whoever doesn't know it can go.
        config.seal = super::passphrase(&config.dir, !config.dir.join(store::seal::KEYS_FILE).exists())?;
    }
    let lines = Lines::start(std::io::stderr()).doing("the platform can't start")?;
    tracing_subscriber::fmt()
        .with_writer(Paced::new(lines.clone()))
        .with_max_level(tracing::Level::INFO)
        .with_target(false)
        .init();
    // One thread serves: on it a call meets no lock that anybody else holds. The main thread, since sandboxes end with it.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_keep_alive(KEPT)
        .build()
        .doing("the platform can't start")?;
    // One from the start, and none ever goes: on a machine that has no process left, what blocks waits for these.
    drop(runtime.spawn_blocking(|| ()));
    let again: Read = Arc::new(move || Config::load(again.clone(), &args));
    let ended = runtime.block_on(serve(ctx, config, again, began));
    runtime.shutdown_timeout(Duration::from_secs(2));
    lines.flush();
    ended
}

/// As many descriptors as this process may have: each instance and each connection takes some.
fn raise_descriptors() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!("the limit of descriptors stays as it is: {error}");
    }
}

/// What this process has in memory, keys and secrets too, never goes to a file. A limit of 0 still lets the kernel pipe a dump to a
/// program (core(5)); 1 lets it write none and pipe none. The sandboxes' processes inherit it.
fn no_core_dumps() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    if let Err(error) = setrlimit(Resource::Core, Rlimit { current: Some(1), maximum: Some(1) }) {
        tracing::warn!("core dumps are not switched off: {error}");
    }
}

async fn serve(ctx: &Ctx, config: Config, again: Read, began: Instant) -> Done {
    let stop = gateway::Stop::default();
    // Before anybody can be told that it is ready: until then a signal would end the process where it stands.
    let caught = [SignalKind::terminate(), SignalKind::interrupt()].map(signal);
    let [terminate, interrupt] = caught.map(|set| set.doing("the platform can't catch signals"));
    let signals = tokio::spawn(signals(terminate?, interrupt?, stop.clone()));
    let platform = Built::new(config).map_err(|e| refusal(&e))?;
    let dir = platform.host.dir().to_path_buf();
    let ended = platform
        .run(stop, again, |host| {
            if let Err(error) = registry::announce(&dir) {
                tracing::warn!("other folders will not find this platform by themselves: {error}");
            }
            announce(ctx, host, began);
        })
        .await;
    signals.abort();
    let _ = registry::withdraw(&dir);
    let Ended { report, broken } = ended.map_err(|e| refusal(&e))?;
    if let Some(why) = broken {
        return Err(
            Problem::failed(format!("the platform ended itself: {why}")).hint("start it again; the log above says what broke")
        );
    }
    if report.drained_off > 0 || report.cut > 0 {
        ctx.out.warn(format!("stopped; {} requests were answered 503, {} connections were cut", report.drained_off, report.cut));
    } else if !ctx.out.json {
        ctx.out.note("stopped");
    }
    Ok(())
}

/// The first signal drains, the second ends what is left.
async fn signals(mut terminate: Signal, mut interrupt: Signal, stop: gateway::Stop) {
    for token in [&stop.drain, &stop.now] {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        token.cancel();
    }
}

fn announce(ctx: &Ctx, host: &Host, began: Instant) {
    let tenant = host.default_tenant();
    let status = host.status(tenant);
    // Its key is a file, which was read or made at this start.
    let access = host.access(tenant).ok().and_then(|access| access.aws).unwrap_or_default();
    if ctx.out.json {
        ctx.out.json(&Announcement {
            ready: true,
            aws: access.endpoint_url,
            console: host.console_address(),
            dir: &status.dir,
            admin: status.dir.join("admin.sock"),
            access_key_id: &access.access_key_id,
            secret_access_key: &access.secret_access_key,
            region: &status.region,
            account: &status.account,
            role: status.default_role.clone(),
            pid: status.pid,
        });
        return;
    }
    ctx.out.good(format!("myna {} is ready after {} ms", status.version, began.elapsed().as_millis()));
    ctx.out.pairs(&[
        ("AWS APIs", access.endpoint_url.clone()),
        ("console", format!("{}   (myna open prints a link that logs in)", host.console_address())),
        ("directory", status.dir.display().to_string()),
        ("sealed", status.sealed.clone()),
        (
            "account",
            format!("{} in {}{}", status.account, status.region, if status.signatures { "" } else { ", signatures waived" }),
        ),
        ("default role", status.default_role.clone()),
    ]);
    for warning in &status.warnings {
        ctx.out.warn(warning);
    }
    if !status.warnings.is_empty() {
        ctx.out.note("what this machine can do, and what would mend the rest: myna doctor");
    }
    ctx.out.line("");
    ctx.out.line("In another terminal:");
    ctx.out.line(format!(
        "  eval \"$(myna env --dir {})\" && aws --endpoint-url \"$AWS_ENDPOINT_URL\" lambda list-functions",
        status.dir.display()
    ));
    ctx.out.line("  myna init --like lambda-python hello && myna deploy hello && myna invoke hello");
    ctx.out.line("Stop with Ctrl-C; once more stops at once.");
}

fn refusal(error: &anyhow::Error) -> Problem {
    if let Some(store::Error::Damaged { .. }) = error.downcast_ref() {
        let problem = Problem::new(Exit::Damaged, format!("the platform did not start: {error:#}"));
        return problem.hint("what is damaged: myna verify; what can be mended without a backup: myna repair --dry-run");
    }
    let problem = Problem::failed(format!("the platform did not start: {error:#}"));
    if problem.message.contains("door aws") && problem.message.contains("is taken") {
        return problem.hint("choose another port: myna up --listen 127.0.0.1:9001 --console 127.0.0.1:9081 (0 is any free one)");
    }
    if problem.message.contains("door console") && problem.message.contains("is taken") {
        return problem.hint("choose another port: myna up --console 127.0.0.1:9081 (0 is any free one)");
    }
    if problem.message.contains("is not a loopback address") {
        return problem
            .hint("give the listener a certificate, [tls] in docs/configuration.md; one to try with: myna tls self-signed");
    }
    // What goes wrong first may not say why.
    let missing = crate::compose::missing();
    if missing.is_empty() { problem } else { problem.hint(format!("this machine lacks {}", missing.join("\n"))) }
}
