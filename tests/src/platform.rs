//! A platform of one's own: the real binary in a fresh directory, on ports of its own, as a child of the test.
//!
//! What it prints is kept and shown when its test fails. When it goes, whatever it left behind fails the test too.

use crate::{Http, Keys, Response, leaks, processes, runner};
use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Resource, Signal, getrlimit};
use serde::Deserialize;
use serde_json::json;
use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// On a disk, since the platform refuses to keep its state in memory; short, since socket paths are.
const HOMES: &str = "/var/tmp";
const LOGGED_WITHIN: Duration = Duration::from_secs(20);
const READY_WITHIN: Duration = Duration::from_secs(20);
const COPY: &str = "myna-of-this-user";
/// What a login shell's programs get.
const SHELL_NOFILE: u32 = 1024;
const STOPPED_WITHIN: Duration = Duration::from_secs(40);

/// What `myna up --json` says when it serves.
#[derive(Debug, Clone, Deserialize)]
pub struct Ready {
    pub ready: bool,
    pub aws: String,
    pub console: Option<String>,
    pub admin: PathBuf,
    pub access_key_id: String,
    pub secret_access_key: String,
    pub region: String,
    pub account: String,
    pub role: String,
}

/// How a platform is started, where it differs from the usual.
#[derive(Default, Clone)]
pub struct Options {
    pub args: Vec<String>,
    /// The text of a configuration file.
    pub config: Option<String>,
    pub env: Vec<(String, String)>,
    /// A hard limit of descriptors below the machine's.
    pub descriptors_max: Option<u32>,
    /// Runs as this user and group, with a home of theirs; only root can ask for it.
    pub user: Option<u32>,
    /// A program and its arguments that start the platform, in front of its own.
    pub through: Vec<String>,
    /// A folder of its home that its state directory lies in; it must be there before the start.
    pub within: Option<&'static str>,
    /// Control groups that it starts in.
    pub groups: Vec<PathBuf>,
}

pub struct Platform {
    home: TempDir,
    options: Options,
    running: Option<Running>,
    log: Arc<Mutex<Vec<String>>>,
}

struct Running {
    child: Child,
    ready: Ready,
    /// What its instances' cgroups were seen to be below.
    groups: BTreeSet<String>,
}

/// The binary under test: MYNA_BIN, or the one beside this test program.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("MYNA_BIN") {
        return Ok(path.into());
    }
    let beside = std::env::current_exe()?.parent().and_then(Path::parent).map(|d| d.join("myna"));
    beside.filter(|p| p.exists()).context("the binary is not built: cargo build, or cargo xtask test")
}

impl Platform {
    pub fn start() -> Result<Self> {
        Self::start_with(Options::default())
    }

    pub fn start_with(options: Options) -> Result<Self> {
        let mut platform = Self::prepare(options)?;
        platform.start_again()?;
        Ok(platform)
    }

    /// A home and a log, and nothing started yet.
    pub fn prepare(options: Options) -> Result<Self> {
        let home = tempfile::Builder::new().prefix("myna-test-").tempdir_in(HOMES)?;
        if let Some(config) = &options.config {
            fs::write(home.path().join("myna.toml"), config)?;
        }
        if let Some(user) = options.user {
            // Where the binary was built, others may not look. Not copied by this process: a child that another test forks just
            // then would hold the copy open for writing, and nobody could start it.
            let copied = Command::new("cp").arg(binary()?).arg(home.path().join(COPY)).status()?;
            ensure!(copied.success(), "the binary can't be copied: {copied}");
            chown(home.path(), Some(user), Some(user))?;
        }
        Ok(Self { home, options, running: None, log: Arc::default() })
    }

    /// Other arguments from the next start on.
    pub fn set_args(&mut self, args: &[&str]) {
        self.options.args = args.iter().map(|a| (*a).to_owned()).collect();
    }

    /// What starts it from the next start on: a program and its arguments, in front of its own.
    pub fn set_through(&mut self, words: &[String]) {
        self.options.through = words.to_vec();
    }

    /// Starts it on its directory, for the first time or once more.
    pub fn start_again(&mut self) -> Result<()> {
        match self.launch()? {
            Ok(running) => self.running = Some(running),
            Err(status) => bail!("myna was never ready ({status}):\n{}", self.log()),
        }
        Ok(())
    }

    /// Starts it and expects that it refuses; returns how it ended. What it said is in the log.
    pub fn refused(&mut self) -> Result<ExitStatus> {
        match self.launch()? {
            Err(status) => Ok(status),
            Ok(running) => {
                self.running = Some(running);
                bail!("myna started, and should have refused")
            }
        }
    }

    /// Ready, or ended before it was.
    fn launch(&self) -> Result<Result<Running, ExitStatus>> {
        ensure!(self.running.is_none(), "the platform is running");
        let mut child = self.command()?.spawn().context("can't start myna")?;
        let (tx, rx) = mpsc::channel();
        self.keep(child.stdout.take().expect("stdout is piped"), Some(tx));
        let said = self.keep(child.stderr.take().expect("stderr is piped"), None);
        match rx.recv_timeout(READY_WITHIN) {
            Ok(ready) => Ok(Ok(Running { child, ready, groups: BTreeSet::new() })),
            Err(RecvTimeoutError::Disconnected) => {
                let status = child.wait()?;
                // Its last words are still on their way here.
                processes::soon(|| said.is_finished());
                Ok(Err(status))
            }
            Err(RecvTimeoutError::Timeout) => {
                child.kill()?;
                child.wait()?;
                bail!("myna was neither ready nor ended after {} s:\n{}", READY_WITHIN.as_secs(), self.log())
            }
        }
    }

    /// `prlimit` gives it the soft limit of a user's shell, which the tests have raised for themselves; `setpriv` has the kernel end
    /// it with the test's thread, however that ends.
    fn command(&self) -> Result<Command> {
        let hard = getrlimit(Resource::Nofile).maximum.map_or("unlimited".to_owned(), |n| n.to_string());
        let (soft, hard) = self.options.descriptors_max.map_or((SHELL_NOFILE, hard), |n| (n, n.to_string()));
        let mut c = Command::new("sh");
        let join = r#"for group in $GROUPS_TO_JOIN; do echo $$ > "$group/cgroup.procs" || exit 1; done; unset GROUPS_TO_JOIN; exec "$@""#;
        let groups: Vec<_> = self.options.groups.iter().map(|g| g.to_string_lossy()).collect();
        c.args(["-c", join, "sh", "prlimit"]).env("GROUPS_TO_JOIN", groups.join(" "));
        c.arg(format!("--nofile={soft}:{hard}"));
        c.args(["setpriv", "--pdeathsig", "KILL"]).args(self.identity()).arg("--");
        c.args(&self.options.through).arg(self.program()?).arg("up").arg("--dir").arg(self.dir());
        c.arg("--json");
        for listener in ["--listen", "--console"] {
            if !self.options.args.iter().any(|a| a == listener) {
                c.args([listener, "127.0.0.1:0"]);
            }
        }
        if self.options.config.is_some() {
            c.arg("--config").arg(self.home.path().join("myna.toml"));
        }
        c.args(&self.options.args).envs(self.options.env.iter().cloned());
        c.env("HOME", self.home()).current_dir(self.home()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(c)
    }

    /// The binary as its user can start it.
    pub(crate) fn program(&self) -> Result<PathBuf> {
        if self.options.user.is_some() { Ok(self.home().join(COPY)) } else { binary() }
    }

    /// What tells `setpriv` to become the user.
    pub(crate) fn identity(&self) -> Vec<String> {
        let become_user = |user| vec![format!("--reuid={user}"), format!("--regid={user}"), "--clear-groups".to_owned()];
        self.options.user.map(become_user).unwrap_or_default()
    }

    fn keep(&self, pipe: impl std::io::Read + Send + 'static, ready: Option<mpsc::Sender<Ready>>) -> thread::JoinHandle<()> {
        let log = Arc::clone(&self.log);
        thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                if let (Some(tx), Ok(said)) = (&ready, serde_json::from_str::<Ready>(&line)) {
                    // Nobody waits any more when it was given up on; its end is reported there.
                    tx.send(said).ok();
                }
                log.lock().expect("no one panics while holding the log").push(line);
            }
        })
    }

    pub fn ready(&self) -> &Ready {
        &self.running.as_ref().expect("the platform is running").ready
    }

    pub fn pid(&self) -> u32 {
        self.running.as_ref().expect("the platform is running").child.id()
    }

    /// The state directory.
    pub fn dir(&self) -> PathBuf {
        self.home().join(self.options.within.unwrap_or_default()).join(".myna")
    }

    /// The folder of the user who started it.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// What it has printed so far.
    pub fn log(&self) -> String {
        self.log.lock().expect("no one panics while holding the log").join("\n")
    }

    pub fn keys(&self) -> Keys {
        let ready = self.ready();
        Keys {
            id: ready.access_key_id.clone(),
            secret: ready.secret_access_key.clone(),
            token: None,
            region: ready.region.clone(),
        }
    }

    /// A signed request to a service; `path` as it is sent, its query behind `?`.
    pub fn signed(&self, service: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Response> {
        let host = self.ready().aws.trim_start_matches("http://").to_owned();
        let headers: Vec<_> = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let split = path.split_once('?').unwrap_or((path, ""));
        let signed = self.keys().sign(service, method, &host, split, &headers, body);
        Http::default().send(method, &format!("http://{host}{path}"), &signed, body)
    }

    /// How many lines with this text a function has logged; a call need not have ended for it.
    pub fn logged(&self, function: &str, text: &str) -> Result<usize> {
        let ask = serde_json::to_vec(&json!({"logGroupName": format!("/aws/lambda/{function}"), "filterPattern": text}))?;
        let headers = [("x-amz-target", "Logs_20140328.FilterLogEvents"), ("content-type", "application/x-amz-json-1.1")];
        let got = self.signed("logs", "POST", "/", &headers, &ask)?;
        // The group may not exist before the first line.
        Ok(if got.status == 200 { got.json()?["events"].as_array().map_or(0, Vec::len) } else { 0 })
    }

    /// Waits until it has logged that many.
    pub fn until_logged(&self, function: &str, text: &str, times: usize) -> Result<()> {
        let until = Instant::now() + LOGGED_WITHIN;
        loop {
            let seen = self.logged(function, text)?;
            if seen >= times {
                return Ok(());
            }
            ensure!(Instant::now() < until, "{function} logged {text:?} {seen} times, not {times}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends a signal and goes on.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        processes::kill(self.pid(), signal)
    }

    /// kill -9: what power loss leaves of a process. The directory stays.
    pub fn kill(&mut self) -> Result<()> {
        let mut running = self.running.take().context("the platform is not running")?;
        running.child.kill()?;
        running.child.wait()?;
        Ok(())
    }

    /// SIGTERM, and the wait for its end.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        let groups = leaks::groups_of(self.pid());
        if let Some(running) = &mut self.running {
            running.groups = groups;
        }
        self.signal(Signal::TERM)?;
        self.ended()
    }

    /// Stopped at the end of a test, with what that must show.
    pub fn stop_if_running(&mut self) -> Result<()> {
        if self.running.is_some() {
            let status = self.stop()?;
            ensure!(status.success(), "after SIGTERM the platform ended with {status}");
        }
        Ok(())
    }

    /// Waits for its end and looks for what it left behind.
    pub fn ended(&mut self) -> Result<ExitStatus> {
        let mut running = self.running.take().context("the platform is not running")?;
        let until = Instant::now() + STOPPED_WITHIN;
        let status = loop {
            if let Some(status) = running.child.try_wait()? {
                break status;
            }
            if Instant::now() > until {
                running.child.kill()?;
                running.child.wait()?;
                bail!("myna still ran {} s after it was asked to stop", STOPPED_WITHIN.as_secs());
            }
            thread::sleep(Duration::from_millis(10));
        };
        // What was killed at the end may take a moment to be gone.
        let dir = self.dir();
        processes::soon(|| leaks::of(&dir, &running.groups).is_empty());
        leaks::of(&dir, &running.groups).into_iter().for_each(runner::complain);
        for line in self.log().lines().filter(|l| l.contains("panicked at")) {
            runner::complain(format!("the platform panicked: {line}"));
        }
        Ok(status)
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        if self.running.is_some() {
            match self.stop() {
                Ok(status) if status.success() => {}
                Ok(status) => runner::complain(format!("after SIGTERM the platform ended with {status}")),
                Err(e) => runner::complain(format!("{e:#}")),
            }
        }
        runner::keep_log(self.log());
        if std::env::var_os("MYNA_TEST_KEEP").is_some() {
            let kept = self.home().with_extension("kept");
            let saved = File::create(&kept).and_then(|mut f| f.write_all(self.log().as_bytes()));
            saved.unwrap_or_else(|e| runner::complain(format!("can't keep the log at {}: {e}", kept.display())));
        }
    }
}
