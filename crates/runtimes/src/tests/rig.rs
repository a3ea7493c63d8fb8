//! One function's process with the contract beside it.

use crate::{Catalogue, Config};
use bytes::Bytes;
use contracts::lambda::{Lambda, double, log_frames};
use model::{
    Fault, Reply, ReplyBody, Unit,
    ports::{Contract, FramedLine, Session, SessionCall, SlotEnd},
};
use std::{
    io::Read,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// A runtime of this machine, or a line that says what is skipped.
pub fn runtime(name: &str) -> Option<Arc<model::ports::Runtime>> {
    static STATE: std::sync::OnceLock<Catalogue> = std::sync::OnceLock::new();
    let catalogue = STATE.get_or_init(|| {
        let state = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/test-runtimes");
        std::fs::create_dir_all(&state).unwrap();
        let state = state.canonicalize().unwrap();
        let catalogue = Catalogue::new(Config { managed_dir: managed(&state), state_dir: state, ..Config::default() });
        for name in std::env::var("MYNA_TEST_INSTALL").unwrap_or_default().split_whitespace() {
            println!("installed for {name}: {:?}", catalogue.install(name, &mut |step| println!("{step}")));
        }
        catalogue
    });
    catalogue.resolve(name).map_err(|why| say_once(name, &why)).ok()
}

fn say_once(name: &str, why: &Fault) {
    static SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let mut said = SAID.lock().unwrap();
    if !said.iter().any(|n| n == name) {
        said.push(name.to_owned());
        println!("skipped: {name}: {why}");
    }
}

/// Libraries that were installed beforehand, if any.
fn managed(state: &Path) -> PathBuf {
    std::env::var_os("MYNA_TEST_DEPS").map_or_else(|| state.join("managed"), |deps| PathBuf::from(deps).join("managed"))
}

pub struct Function {
    pub session: Result<Arc<dyn Session>, Fault>,
    pub started: Duration,
    child: Child,
    lines: Arc<Mutex<Vec<FramedLine>>>,
    _package: TempDir,
}

pub struct Setup {
    pub runtime: &'static str,
    pub handler: &'static str,
    pub files: Vec<(&'static str, String)>,
    pub change: fn(&mut Unit),
    pub unbound: bool,
}

impl Setup {
    pub fn new(runtime: &'static str, file: &'static str, code: &str) -> Self {
        let text = code.replace("\n            ", "\n");
        Self { runtime, handler: "index.handler", files: vec![(file, text)], change: |_| {}, unbound: false }
    }
    pub fn change(self, change: fn(&mut Unit)) -> Self {
        Self { change, ..self }
    }
    pub fn file(mut self, name: &'static str, text: &str) -> Self {
        self.files.push((name, text.replace("\n            ", "\n")));
        self
    }
    pub fn handler(self, handler: &'static str) -> Self {
        Self { handler, ..self }
    }
    pub fn unbound(self) -> Self {
        Self { unbound: true, ..self }
    }

    /// Starts it, if this machine can.
    pub async fn start(self) -> Option<Function> {
        let runtime = runtime(self.runtime)?;
        let package = tempfile::tempdir().unwrap();
        for (name, text) in &self.files {
            let path = package.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        if self.runtime.starts_with("java") {
            let sources = self.files.iter().map(|f| package.path().join(f.0));
            let status = Command::new("javac").arg("--release=17").arg("-d").arg(package.path()).args(sources).status();
            if !status.is_ok_and(|s| s.success()) {
                println!("skipped: {}: no javac", self.runtime);
                return None;
            }
        }
        let mut unit = double::unit();
        unit.runtime = self.runtime.into();
        unit.handler = self.handler.into();
        unit.settings.reply_bytes_max = 6_291_556;
        unit.settings.stream_bytes_max = 200_000_000;
        unit.package = model::Package::Unpacked { digest: "00".into(), bytes: 1, path: package.path().into() };
        unit.env.push(("LAMBDA_TASK".into(), package.path().to_str().unwrap().into()));
        (self.change)(&mut unit);
        let bench = double::Bench::new().await;
        let given = (!self.unbound).then_some(&unit);
        let plan = Lambda::at(bench.port).plan(&runtime, given, &double::facts()).unwrap();
        let begun = Instant::now();
        let (child, lines) = spawn(&plan, package.path());
        let opened = bench.open(given.cloned());
        let mut session =
            tokio::time::timeout(Duration::from_secs(20), opened).await.expect("the runtime never asked for an event");
        if self.unbound
            && let Ok(unbound) = &session
        {
            let begun = Instant::now();
            let bound = unbound.bind(Arc::new(unit), &double::facts()).await;
            println!("{} bound in {:?}", self.runtime, begun.elapsed());
            if let Err(fault) = bound {
                session = Err(fault);
            }
        }
        Some(Function { session, started: begun.elapsed(), child, lines, _package: package })
    }
}

/// As the sandbox would, without one: paths inside are the host's, wherever the plan mounts something.
fn spawn(plan: &model::ports::StartPlan, package: &Path) -> (Child, Arc<Mutex<Vec<FramedLine>>>) {
    let process = &plan.processes[0];
    let outside = |text: &str| -> String {
        let mut mounts: Vec<_> = plan.mounts.iter().collect();
        mounts.sort_by_key(|m| std::cmp::Reverse(m.target.len()));
        text.split(':')
            .map(|path| {
                mounts
                    .iter()
                    .find_map(|m| {
                        Some(format!(
                            "{}{}",
                            m.source.display(),
                            path.strip_prefix(&m.target).filter(|r| r.is_empty() || r.starts_with('/'))?
                        ))
                    })
                    .unwrap_or_else(|| path.to_owned())
            })
            .collect::<Vec<_>>()
            .join(":")
    };
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    let mut command = Command::new(outside(process.argv[0].to_str().unwrap()));
    command.args(process.argv[1..].iter().map(|a| outside(a.to_str().unwrap()))).env_clear().current_dir(package);
    for (name, value) in &process.env {
        let (name, value) = (name.to_str().unwrap(), value.to_str().unwrap());
        let value =
            if name == "AWS_LAMBDA_RUNTIME_API" || name.starts_with("AWS_ENDPOINT") { value.to_owned() } else { outside(value) };
        command.env(name, value);
    }
    use std::os::fd::AsRawFd;
    command.env(process.log_frames_env.unwrap(), writer.as_raw_fd().to_string());
    command.env("LAMBDA_TASK_ROOT", package).env("PWD", package);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(writer);
    let lines = Arc::new(Mutex::new(Vec::new()));
    pump(reader, true, lines.clone());
    pump(child.stdout.take().unwrap().into(), false, lines.clone());
    pump(child.stderr.take().unwrap().into(), false, lines.clone());
    (child, lines)
}

fn pump(from: OwnedFd, framed: bool, lines: Arc<Mutex<Vec<FramedLine>>>) {
    std::thread::spawn(move || {
        let mut framer = log_frames::framer(framed);
        let mut file = std::fs::File::from(from);
        let mut buffer = [0; 65536];
        while let Ok(read @ 1..) = file.read(&mut buffer) {
            framer.push(&buffer[..read], &mut |line| lines.lock().unwrap().push(line));
        }
        framer.flush(&mut |line| lines.lock().unwrap().push(line));
    });
}

/// What a call came to.
#[derive(Debug)]
pub struct Answer {
    pub text: String,
    /// The error's type, where the function reported one.
    pub error: Option<String>,
}

impl Answer {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }
}

impl Function {
    pub fn call_raw(&self, event: impl Into<Bytes>) -> SessionCall {
        self.session.as_ref().unwrap_or_else(|fault| panic!("{fault}: {:?}", fault.report)).call(double::event(event))
    }
    pub async fn call(&self, event: impl Into<Bytes>) -> Answer {
        finished(self.call_raw(event)).await.unwrap_or_else(|fault| panic!("{fault}; {:?}", self.log()))
    }
    /// The report of an initialisation that failed.
    pub fn init_error(&self) -> (String, serde_json::Value) {
        let fault = self.session.as_ref().err().expect("the initialisation fails");
        (fault.detail.clone().unwrap(), serde_json::from_slice(fault.report.as_ref().unwrap()).unwrap())
    }
    /// Waits for the process's end.
    pub async fn exit(&mut self) -> std::process::ExitStatus {
        for _ in 0..2000 {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("it lives on");
    }
    pub fn log(&self) -> Vec<FramedLine> {
        self.lines.lock().unwrap().clone()
    }
    /// Waits until the log holds a line with this text; gives it.
    pub async fn logged(&self, part: &str) -> FramedLine {
        for _ in 0..1000 {
            if let Some(line) = self.log().into_iter().find(|l| String::from_utf8_lossy(&l.text).contains(part)) {
                return line;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("never logged {part:?}: {:?}", self.log());
    }
}

pub async fn finished(call: SessionCall) -> Result<Answer, Fault> {
    let SessionCall { reply, free } = call;
    let Reply { head, body } =
        tokio::time::timeout(Duration::from_secs(20), reply).await.expect("no answer").map_err(|f| f.fault)?;
    let ReplyBody::Bytes(body) = body else { panic!("streamed") };
    let end = tokio::time::timeout(Duration::from_secs(20), free).await.expect("never free");
    match &head.error {
        None => assert_eq!(end, SlotEnd::Free),
        Some(error) => assert_eq!(end, SlotEnd::FreeAfterError(error.kind.clone())),
    }
    Ok(Answer { text: String::from_utf8_lossy(&body).into_owned(), error: head.error.map(|e| e.kind) })
}

impl Drop for Function {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
