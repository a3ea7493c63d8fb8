//! The processes that are measured: Myna itself and the references, each started for a row and ended by its pid.

use anyhow::{Context, bail};
use serde::Deserialize;
use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// The longest that an answer over the admin socket may take; no row calls anything that takes longer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

/// Where the built programs are.
pub struct Bench {
    pub programs: PathBuf,
    pub deps: Option<PathBuf>,
}

impl Bench {
    /// The programs lie beside this one.
    pub fn from_env() -> anyhow::Result<Self> {
        let own = std::env::current_exe()?;
        let programs = own.parent().context("a program lies in a folder")?.to_owned();
        Ok(Self { programs, deps: std::env::var_os("MYNA_BENCH_DEPS").map(Into::into) })
    }
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }
    /// A frozen file beside the references' sources.
    pub fn frozen(&self, name: &str) -> String {
        concat!(env!("CARGO_MANIFEST_DIR"), "/ref/").to_owned() + name
    }
}

/// A process that ends with this value.
pub struct Running {
    child: Child,
    /// It leads a process group, which ends with it.
    group: bool,
}

impl Running {
    pub fn start(command: &mut Command) -> anyhow::Result<Self> {
        let child = command.stdin(Stdio::null()).spawn().with_context(|| format!("start {command:?}"))?;
        Ok(Self { child, group: false })
    }
    pub fn with_group(mut self) -> Self {
        self.group = true;
        self
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.group {
            // By its number, before it is waited for: until then nobody else can have it.
            let _ = Command::new("kill").args(["-KILL", "--", &format!("-{}", self.child.id())]).status();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

pub fn wait_for(port: u16) -> anyhow::Result<()> {
    let until = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if Instant::now() > until {
            bail!("nothing listens on port {port}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// What `myna up --json` says when it is ready.
#[derive(Clone, Debug, Deserialize)]
pub struct Ready {
    pub aws: String,
    pub admin: PathBuf,
    pub access_key_id: String,
    pub secret_access_key: String,
    pub region: String,
    pub role: String,
}

pub struct Myna {
    child: Child,
    pub ready: Ready,
    pub startup: Duration,
    folder: tempfile::TempDir,
}

impl Myna {
    pub fn up(bench: &Bench, config: &str) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("myna.toml");
        std::fs::write(&file, config)?;
        let began = Instant::now();
        let mut child = Command::new(bench.program("myna"))
            .args(["up", "--json", "--volatile", "--listen", "127.0.0.1:0", "--console", "127.0.0.1:0", "--config"])
            .arg(&file)
            .arg("--dir")
            .arg(folder.path().join("state"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("stdout was asked for")?).read_line(&mut line)?;
        let ready = serde_json::from_str(&line).with_context(|| format!("myna up said {line:?}"))?;
        Ok(Self { child, ready, startup: began.elapsed(), folder })
    }

    /// Stop without waiting for what is in flight.
    pub fn stop_now(self) {
        for _ in 0..2 {
            let _ = Command::new("kill").arg(self.child.id().to_string()).status();
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
    pub fn address(&self) -> &str {
        self.ready.aws.trim_start_matches("http://")
    }
    /// The platform's own folder.
    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// One request over the admin socket.
    pub fn admin(&self, method: &str, path: &str, body: &[u8]) -> anyhow::Result<serde_json::Value> {
        let body = ask(&self.ready.admin, method, path, body)?;
        Ok(if body.is_empty() { serde_json::Value::Null } else { serde_json::from_str(&body)? })
    }
}

/// One call of a function over the admin socket; its answer.
pub fn invoke(admin: &Path, name: &str, payload: &[u8]) -> anyhow::Result<String> {
    ask(admin, "POST", &format!("/2015-03-31/functions/{name}/invocations"), payload)
}

fn ask(admin: &Path, method: &str, path: &str, body: &[u8]) -> anyhow::Result<String> {
    let mut socket = UnixStream::connect(admin)?;
    socket.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    let head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n");
    write!(socket, "{head}content-length: {}\r\n\r\n", body.len())?;
    socket.write_all(body)?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer)?;
    let text = String::from_utf8_lossy(&answer);
    let (head, body) = text.split_once("\r\n\r\n").context("an answer without an end of its head")?;
    if !head.starts_with("HTTP/1.1 2") {
        bail!("{method} {path}: {text}");
    }
    Ok(body.to_owned())
}

impl Drop for Myna {
    fn drop(&mut self) {
        // SIGTERM, so that nothing of its instances is left.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let until = Instant::now() + Duration::from_secs(20);
        while Instant::now() < until && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Resident bytes of a process.
pub fn rss(pid: u32) -> anyhow::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib = text.lines().find_map(|l| l.strip_prefix("VmRSS:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    Ok(kib.context("no VmRSS")? * 1024)
}

/// Bytes of all processes below one, pages that several share counted in part. What ends meanwhile counts nothing.
pub fn pss_below(pid: u32) -> u64 {
    let pids =
        std::fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok());
    let parent = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse::<u32>().ok()
    };
    let parents: HashMap<u32, u32> = pids.filter_map(|pid| Some((pid, parent(pid)?))).collect();
    let below = |of: &u32| std::iter::successors(parents.get(of), |p| parents.get(*p)).any(|p| *p == pid);
    let pss = |pid: &u32| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        text.lines().find_map(|l| l.strip_prefix("Pss:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok())
    };
    parents.keys().filter(|of| below(of)).filter_map(pss).sum::<u64>() * 1024
}

/// Processor time of a process so far.
pub fn cpu(pid: u32) -> anyhow::Result<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = text.rsplit(')').next().context("stat has a name in brackets")?.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    Ok(Duration::from_millis(ticks * 10))
}
