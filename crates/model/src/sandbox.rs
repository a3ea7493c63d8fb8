//! What an instance is made of: the words between the engine and the sandboxes.

use crate::{InstanceId, TenantId};
use serde::{Deserialize, Serialize};
use std::{ffi::OsString, fmt, path::PathBuf};

/// How an instance is isolated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    Process,
    Container,
    Microvm,
    Wasm,
}

impl Tier {
    pub fn name(self) -> &'static str {
        match self {
            Tier::Process => "process",
            Tier::Container => "container",
            Tier::Microvm => "microvm",
            Tier::Wasm => "wasm",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// Nothing but the instance's own loopback, which carries its contract and data plane.
    Loopback,
}

/// What an instance may use at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub memory_bytes: u64,
    /// Thousandths of a CPU.
    pub cpu_millis: u32,
    pub pids: u32,
    pub tmp_bytes: u64,
    pub tmp_inodes: u64,
    pub descriptors: u64,
}

/// A folder or file of the host, seen read-only inside. Folders with one target lie over each other there, the later above the
/// earlier.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mount {
    pub source: PathBuf,
    /// Absolute, below one of the mount points that the tier prepares (`/var/task`, `/var/runtime`, `/var/lang`, `/opt`).
    pub target: String,
}

/// What a sandbox is created with. No code need be known yet: it may be attached later.
#[derive(Clone, Debug)]
pub struct Spec {
    pub id: InstanceId,
    /// `None` for an instance that is not bound to a unit yet.
    pub tenant: Option<TenantId>,
    pub limits: Limits,
    pub mounts: Vec<Mount>,
    pub network: Network,
    /// Listeners that are made inside and passed out.
    pub listens: Vec<Endpoint>,
}

/// An address inside an instance.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// On the instance's own 127.0.0.1.
    Tcp(u16),
    /// Beneath the instance's root.
    Unix(String),
}

/// A process to start inside.
#[derive(Clone)]
pub struct ProcSpec {
    pub argv: Vec<OsString>,
    /// The whole environment; nothing is inherited.
    pub env: Vec<(OsString, OsString)>,
    pub cwd: String,
    pub group: Group,
    /// Also open a pipe for framed log records and put its number into this variable.
    pub log_frames_env: Option<&'static str>,
}

impl fmt::Debug for ProcSpec {
    /// Names of variables, never their values.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let variables: Vec<_> = self.env.iter().map(|v| &v.0).collect();
        let mut shown = f.debug_struct("ProcSpec");
        shown
            .field("argv", &self.argv)
            .field("env", &variables)
            .field("cwd", &self.cwd)
            .field("group", &self.group)
            .finish_non_exhaustive()
    }
}

/// A set of processes of an instance that is signalled as one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Group {
    /// Whatever runs inside.
    All,
    /// The runtime and what it forked, as far as that stayed in its session.
    Runtime,
    /// The same of a program that runs beside it, by name.
    Extension(std::sync::Arc<str>),
}

/// What a group is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// To end by itself.
    Term,
    Kill,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Code(i32),
    Signal(i32),
    /// The kernel's out-of-memory killer, by the cgroup's own count.
    OutOfMemory,
    /// The sandbox ended with it, and how isn't known.
    Gone,
}

/// What a tier can do here, and why not.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Caps {
    pub available: bool,
    pub freeze: bool,
    pub fork: bool,
    pub snapshot: bool,
    /// Code may be attached after the start.
    pub bind: bool,
    /// Each line: what is weaker than it should be, why, and what would mend it.
    pub weaker: Vec<String>,
}

/// Something a crashed platform left behind, which was removed.
#[derive(Clone, Debug)]
pub struct Leftover {
    pub what: String,
}

/// Measured use of an instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    pub memory_bytes: u64,
    pub memory_max_bytes: u64,
    pub cpu_us: u64,
    pub processes: u32,
    /// Kills by the out-of-memory killer so far.
    pub oom_kills: u64,
}
