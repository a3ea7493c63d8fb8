//! What every test stands on: a running sandbox tier, and this binary as the function.

use model::{
    InstanceId,
    ports::{Instance, Proc, Sandbox},
    sandbox::{Exit, Group, Limits, Mount, Network, ProcSpec, Spec},
};
use myna_sandbox_process::{Config, Process};
use std::{
    future::Future,
    io::Read,
    os::{fd::OwnedFd, unix::fs::PermissionsExt},
    path::Path,
    sync::Arc,
};

pub enum Verdict {
    Passed,
    Skipped(String),
}

pub struct Rig {
    pub process: Arc<Process>,
    pub runtime: tokio::runtime::Runtime,
    pub folder: tempfile::TempDir,
}

pub const PROBE: &str = "/var/task/probe";
pub const MIB: u64 = 1 << 20;

impl Rig {
    /// On the main thread.
    pub fn new(name: &str) -> Rig {
        // Tests count processes and groups: none but those that they ask for.
        Rig::with_blanks(name, 0)
    }

    /// With so many instances kept ready.
    pub fn with_blanks(name: &str, blanks: usize) -> Rig {
        let folder = tempfile::Builder::new().prefix(&format!("myna-{name}-")).tempdir().expect("a temporary folder");
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).expect("its mode");
        let code = folder.path().join("code");
        std::fs::create_dir(&code).expect("a folder for the code");
        std::fs::copy("/proc/self/exe", code.join("probe")).expect("a copy of this binary");
        std::fs::set_permissions(code.join("probe"), std::fs::Permissions::from_mode(0o755)).expect("its mode");
        let process =
            Process::start(Config { blanks, ..Config::new(folder.path().join("state")) }).expect("the process tier starts");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        Rig { process, runtime, folder }
    }

    pub fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    pub fn code(&self) -> Mount {
        Mount { source: self.folder.path().join("code"), target: "/var/task".into() }
    }

    pub fn spec(&self) -> Spec {
        Spec {
            id: InstanceId::random(),
            tenant: None,
            limits: limits(),
            mounts: vec![self.code()],
            network: Network::Loopback,
            listens: Vec::new(),
        }
    }

    pub async fn instance(&self, change: impl FnOnce(&mut Spec)) -> Box<dyn Instance> {
        let mut spec = self.spec();
        change(&mut spec);
        self.process.create(&spec).await.expect("an instance")
    }

    /// Runs the probe in a fresh instance.
    pub fn run(&self, arguments: &[&str]) -> (Exit, String) {
        self.wait(async {
            let instance = self.instance(|_| ()).await;
            let ran = run(&*instance, arguments).await;
            instance.kill().await;
            ran
        })
    }

    pub fn group_name(&self) -> String {
        group_name(&self.folder.path().join("state"))
    }
}

/// What the tier calls its control groups, for a platform's folder.
pub fn group_name(state: &Path) -> String {
    let folder = state.join("sandboxes").canonicalize().expect("it exists");
    let hash = folder
        .as_os_str()
        .as_encoded_bytes()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3));
    format!("myna-{hash:016x}")
}

pub fn limits() -> Limits {
    Limits { memory_bytes: 256 * MIB, cpu_millis: 2000, pids: 64, tmp_bytes: 16 * MIB, tmp_inodes: 1000, descriptors: 1024 }
}

pub fn probe(arguments: &[&str]) -> ProcSpec {
    let argv = [PROBE, "inside"].iter().chain(arguments).map(|a| a.into()).collect();
    let env = vec![("SECRET".into(), "mine".into())];
    ProcSpec { argv, env, cwd: "/var/task".into(), group: Group::Runtime, log_frames_env: None }
}

pub async fn run(instance: &dyn Instance, arguments: &[&str]) -> (Exit, String) {
    finish(instance.spawn(probe(arguments)).await.expect("the probe starts")).await
}

pub async fn finish(started: Proc) -> (Exit, String) {
    let text = tokio::task::spawn_blocking(|| read_all(started.output));
    let exit = started.exited.await;
    (exit, text.await.expect("the reader ends"))
}

pub fn read_all(pipe: OwnedFd) -> String {
    let mut pipe = std::fs::File::from(pipe);
    rustix::io::ioctl_fionbio(&pipe, false).expect("a pipe");
    let mut text = String::new();
    pipe.read_to_string(&mut text).expect("text");
    text
}
