//! `myna dev`: a save, and the new code answers. The engine and its limits are the same as for any other function; what differs
//! is that the folder is watched. What the user's code does wrong is shown, and ends nothing here.

mod check;
mod watch;

use super::logs;
use crate::{
    admin::wire::LogLine,
    cli::{
        Ctx,
        problem::{Done, Problem},
        units::{now_ms, span},
    },
    platform::{
        Api,
        http::{Lines, request},
    },
    project::{
        options::Options,
        pack::Packer,
        send::{self, Sent, What},
    },
};
use check::Checker;
use http::Method;
use serde::Deserialize;
use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use watch::Watch;

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  myna dev hello                 the function hello, deployed on every save
  myna dev . --url               with an HTTP address to try it at
  myna dev hello --memory 256MB --env DEBUG=1

Interrupt it (Ctrl-C) to stop watching; the function stays deployed.")]
pub struct Args {
    /// The project's folder.
    #[arg(value_name = "DIR", default_value = ".")]
    path: PathBuf,
    #[command(flatten)]
    options: Options,
}

const NO_FOLDER: &str = "name a project's folder; a new one: myna init --like lambda-python NAME";

pub async fn run(ctx: &Ctx, args: Args) -> Done {
    let api = super::platform(ctx)?;
    let root = args
        .path
        .canonicalize()
        .map_err(|e| Problem::usage(format!("{} can't be read: {e}", args.path.display())).hint(NO_FOLDER))?;
    if !root.is_dir() {
        return Err(Problem::usage(format!("{} is not a folder, and only a folder can be watched", root.display()))
            .hint("myna deploy takes archives"));
    }
    Dev::start(ctx, api, root, args.options).await?.watch().await
}

/// All that differs from a function that `myna deploy` brought.
const DIFFERENCES: &str = "engine, sandbox and limits are those of any deployed function. What differs: \
    a save replaces the code (calls under way end with the old), and a line of the log begins with the code that wrote it, \
    which each answer names too (x-myna-code)";

struct Dev<'a> {
    ctx: &'a Ctx,
    api: Api,
    root: PathBuf,
    options: Options,
    packer: Packer,
    watch: Watch,
    checker: Checker,
    name: String,
    log: Option<Lines>,
}

impl<'a> Dev<'a> {
    async fn start(ctx: &'a Ctx, api: Api, root: PathBuf, mut options: Options) -> Result<Self, Problem> {
        let source = send::open(&api, &root, &options)?;
        options.build |= source.findings().unbuilt.is_some_and(|u| u.build.command().is_some());
        // Watching begins before the first deployment: a save in between is noticed.
        let watch = Watch::new(&root, &source)?;
        let mut packer = Packer::default();
        let sent = send::deploy(ctx, &api, &root, &options, &mut packer).await?;
        let checker = Checker::for_runtime(&api, &sent.function.runtime).await;
        let mut dev =
            Self { ctx, name: sent.function.function_name.clone(), api, root, options, packer, watch, checker, log: None };
        dev.report(&sent, if sent.what == What::Unchanged { "as deployed before" } else { "deployed" }, sent.took);
        // Before anybody is told that it can be called: what the first call logs is shown, too.
        dev.log = dev.open_log().await;
        match &sent.url {
            Some(url) => ctx.out.note(format!("it answers at {url}")),
            None => ctx.out.note(format!("call it from another terminal: myna invoke {}", dev.name)),
        }
        ctx.out.note(format!("watching {}; {DIFFERENCES}", dev.root.display()));
        let written = source
            .folder()
            .into_iter()
            .flat_map(|walk| &walk.files)
            .filter(|f| !f.name.contains("node_modules/") && !f.name.contains("site-packages/"));
        dev.show_faults(&dev.checker.check(&written.map(|f| f.path.clone()).collect::<Vec<_>>()).await);
        Ok(dev)
    }

    async fn watch(mut self) -> Done {
        loop {
            tokio::select! {
                changed = self.watch.changed() => {
                    let changed = changed.ok_or_else(|| Problem::failed(format!("{} can't be watched any more", self.root.display())))?;
                    self.redeploy(changed).await;
                }
                line = next_line(&mut self.log) => match line {
                    Ok(Some(line)) => self.show_line(&line),
                    // The platform has gone, or restarted.
                    Ok(None) | Err(_) => self.reconnect().await,
                },
            }
        }
    }

    async fn redeploy(&mut self, changed: Vec<PathBuf>) {
        let began = Instant::now();
        let what = self.shown(&changed);
        let deploying = settle(self.ctx, &self.api, &self.root, &self.options, &mut self.packer);
        let (sent, faults) = tokio::join!(deploying, self.checker.check(&changed));
        match sent {
            Ok(sent) => {
                if sent.what != What::Unchanged {
                    self.report(&sent, &format!("{what} saved"), began.elapsed());
                }
                self.show_faults(&faults);
            }
            Err(problem) => {
                self.ctx.out.problem(&problem);
                self.ctx.out.note("the code before this save goes on answering; waiting for the next one");
            }
        }
        if let Ok(source) = send::open(&self.api, &self.root, &self.options) {
            self.watch.follow(&source);
        }
    }

    fn report(&self, sent: &Sent, what: &str, took: Duration) {
        let hash = sent.function.code_hash();
        if self.ctx.out.json {
            self.ctx.out.json(
                &serde_json::json!({ "at_ms": now_ms(), "event": "deployed", "code": hash, "took_ms": took.as_secs_f64() * 1e3 }),
            );
        } else {
            self.ctx.out.good(format!("{what}: code {hash} answers, {}", span(took)));
        }
    }

    fn show_faults(&self, faults: &[String]) {
        for fault in faults {
            self.ctx.out.warn(format!("{fault}\ncalls are answered with this error until it is mended"));
        }
    }

    /// Editors write beside a file and rename; what is there no more says nothing to the reader.
    fn shown(&self, changed: &[PathBuf]) -> String {
        let there: Vec<&PathBuf> = changed.iter().filter(|p| self.root.join(p).exists()).collect();
        let all = if there.is_empty() { changed.iter().collect() } else { there };
        let first = all.first().map(|p| p.strip_prefix(&self.root).unwrap_or(p).display().to_string()).unwrap_or_default();
        if all.len() > 1 { format!("{first} and {} more", all.len() - 1) } else { first }
    }

    fn show_line(&self, line: &serde_json::Value) {
        if self.ctx.out.json {
            self.ctx.out.json(line);
        } else {
            logs::show_code(self.ctx, &LogLine::deserialize(line).unwrap_or_default());
        }
    }

    async fn open_log(&self) -> Option<Lines> {
        let path = logs::path(Some(&self.name), None, now_ms(), true);
        self.api.lines(request(Method::GET, &path, None)).await.ok()
    }

    /// Wait for the platform to come back; what was saved meanwhile is deployed then.
    async fn reconnect(&mut self) {
        const PAUSE: Duration = Duration::from_millis(300);
        self.log = None;
        let mut told = false;
        loop {
            tokio::time::sleep(PAUSE).await;
            if let Some(log) = self.open_log().await {
                self.log = Some(log);
                if told {
                    self.ctx.out.note("the platform is back");
                }
                return;
            }
            if !told {
                self.ctx.out.warn(format!("the platform in {} doesn't answer; waiting for it", self.api.dir().display()));
                told = true;
            }
        }
    }
}

/// While an editor replaces a file it is missing for a moment; that is no error yet.
async fn settle(ctx: &Ctx, api: &Api, root: &Path, options: &Options, packer: &mut Packer) -> Result<Sent, Problem> {
    const TRIES: u32 = 4;
    const PAUSE: Duration = Duration::from_millis(15);
    for _ in 1..TRIES {
        match send::open(api, root, options) {
            Ok(_) => break,
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
    Box::pin(send::deploy(ctx, api, root, options, packer)).await
}

async fn next_line(log: &mut Option<Lines>) -> Result<Option<serde_json::Value>, Problem> {
    match log {
        Some(lines) => lines.next().await,
        None => Ok(None),
    }
}
