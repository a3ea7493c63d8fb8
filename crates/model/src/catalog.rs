//! What can be invoked: units, functions, versions, aliases; and the operations by which a dialect's stored resources become
//! them. The catalogue is derived state: it is rebuilt from the stored resources at every start.

use crate::{FunctionName, Principal, RevisionId, TenantId, sandbox::Tier, secret::SecretUse};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, path::PathBuf, sync::Arc, time::Duration};

/// What is deployed and instantiated: code with its settings. Immutable; a change is another revision.
#[derive(Clone)]
pub struct Unit {
    pub tenant: TenantId,
    pub function: FunctionName,
    /// `$LATEST` or a number.
    pub version: Arc<str>,
    pub revision: RevisionId,
    /// The name of the dialect that owns it.
    pub dialect: &'static str,
    /// How the owning system names it, without a qualifier (an ARN for Lambda).
    pub resource_name: Arc<str>,
    pub package: Package,
    /// What lies over each other at `/opt`, the later above the earlier.
    pub layers: Vec<Package>,
    /// `python3.12`, `nodejs20.x`, `provided.al2023` …
    pub runtime: Arc<str>,
    /// The contract's folder name: `lambda`.
    pub contract: &'static str,
    pub tier: Tier,
    /// The entry point, in the runtime's own notation.
    pub handler: Arc<str>,
    /// User variables, in the owner's order. Values are secrets: never logged.
    pub env: Vec<(String, String)>,
    /// Which of them get their values from secrets.
    pub secrets: Vec<SecretUse>,
    /// The revision as the owner made it; `revision` is another one for every set of values that its secrets have had.
    pub made: RevisionId,
    pub settings: Settings,
    /// The identity it acts as when it calls the platform.
    pub role: Option<Arc<str>>,
}

impl fmt::Debug for Unit {
    /// Which it is; never a variable's value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let variables: Vec<&str> = self.env.iter().map(|v| v.0.as_str()).collect();
        f.debug_struct("Unit")
            .field("tenant", &self.tenant)
            .field("function", &self.function)
            .field("version", &self.version)
            .field("revision", &self.revision)
            .field("runtime", &self.runtime)
            .field("variables", &variables)
            .finish_non_exhaustive()
    }
}

/// Limits and switches of a unit, with the owning system's defaults filled in.
#[derive(Clone, Debug)]
pub struct Settings {
    pub memory_mib: u32,
    pub timeout: Duration,
    pub init_timeout: Duration,
    pub tmp_mib: u32,
    /// Bytes of a buffered request; past it the dialect's own error.
    pub request_bytes_max: usize,
    /// Bytes of an asynchronous request.
    pub event_bytes_max: usize,
    /// Bytes of a buffered answer.
    pub reply_bytes_max: usize,
    /// Bytes of a streamed answer.
    pub stream_bytes_max: u64,
    pub network: crate::sandbox::Network,
    /// Calls at once in one instance, as far as it is known before the start.
    pub slots: crate::ports::Slots,
    pub log: LogSettings,
}

impl Settings {
    /// How long a call waits for a slot: as long as one before it may take to initialise and run, and a minute at least.
    pub fn wait_max(&self) -> Duration {
        crate::limits::WAIT_MAX.max(self.init_timeout + self.timeout)
    }
}

#[derive(Clone, Debug)]
pub struct LogSettings {
    /// `/aws/lambda/NAME` unless the owner chose another.
    pub group: Arc<str>,
    pub json: bool,
    /// The least level that user code's framed lines must have (JSON format only).
    pub level: Option<Arc<str>>,
    pub system_level: Option<Arc<str>>,
}

/// Code at rest. Content is kept per tenant, so that nobody learns what others have stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Package {
    /// An archive that was unpacked into a read-only folder.
    Unpacked {
        /// Hex SHA-256 of the archive.
        digest: Arc<str>,
        /// Bytes of the archive.
        bytes: u64,
        path: PathBuf,
    },
}

impl Package {
    pub fn digest(&self) -> &str {
        match self {
            Package::Unpacked { digest, .. } => digest,
        }
    }
    /// How people are told which code it is: the digest's first twelve digits.
    pub fn code(&self) -> &str {
        let digest = self.digest();
        digest.get(..12).unwrap_or(digest)
    }
    pub fn path(&self) -> &std::path::Path {
        match self {
            Package::Unpacked { path, .. } => path,
        }
    }
}

/// A function with its versions and aliases, as the engine sees it. Replaced whole on every change.
#[derive(Clone, Debug)]
pub struct Function {
    pub tenant: TenantId,
    pub name: FunctionName,
    pub dialect: &'static str,
    pub resource_name: Arc<str>,
    pub versions: BTreeMap<Arc<str>, Arc<Unit>>,
    pub aliases: BTreeMap<Arc<str>, Alias>,
    pub concurrency: Concurrency,
    /// Resource policies by qualifier (empty: the function itself): JSON documents in AWS's policy language.
    pub policies: BTreeMap<Arc<str>, Arc<str>>,
    /// What an HTTP door may reach.
    pub urls: Vec<Url>,
    /// Which entry of its units it is; empty where a unit holds one. Several functions may share a unit.
    pub entry: Arc<str>,
    /// Doors that its owner opened besides its own dialect's.
    pub doors: Vec<Arc<str>>,
    /// What its policies call the ways to run it.
    pub actions: Actions,
    /// How its events are tried, by qualifier; the empty one is for calls without.
    pub events: BTreeMap<Arc<str>, EventRule>,
}

impl Function {
    /// How events that came under this qualifier are tried.
    pub fn rule(&self, qualifier: Option<&str>) -> &EventRule {
        self.events.get(qualifier.unwrap_or_default()).unwrap_or(&EventRule::DEFAULT)
    }
}

/// How asynchronous invocations are tried, and who hears of their end.
#[derive(Clone, Debug, PartialEq)]
pub struct EventRule {
    /// Attempts altogether.
    pub attempts_max: u32,
    pub age_max: Duration,
    /// Between the first two attempts; doubled from one to the next.
    pub retry_base: Duration,
    pub on_success: Option<Destination>,
    pub on_failure: Option<Destination>,
}

impl EventRule {
    /// Three attempts, a minute and two apart, within six hours.
    pub const DEFAULT: EventRule = EventRule {
        attempts_max: 3,
        age_max: Duration::from_secs(6 * 3600),
        retry_base: Duration::from_secs(60),
        on_success: None,
        on_failure: None,
    };
}

/// A function that hears of an event's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    pub function: FunctionName,
    pub qualifier: Option<Arc<str>>,
}

/// The names, in the owning system's policies, of what the engine asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Actions {
    /// For [`crate::event::Trigger::Invoke`]: `lambda:InvokeFunction`.
    pub invoke: &'static str,
    /// For [`crate::event::Trigger::Url`]: `lambda:InvokeFunctionUrl`.
    pub url: &'static str,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Alias {
    pub version: Arc<str>,
    /// A second version and the share (0–1) of calls that it gets.
    pub split: Option<(Arc<str>, f64)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Concurrency {
    /// At most this many at once, and as many kept for it; `Some(0)` stops it.
    pub reserved: Option<u32>,
    /// Instances kept ready, by qualifier.
    pub provisioned: BTreeMap<Arc<str>, u32>,
}

/// An HTTP address of a function.
#[derive(Clone, Debug)]
pub struct Url {
    /// The host label, unique on this platform.
    pub id: Arc<str>,
    pub qualifier: Option<Arc<str>>,
    /// Signature needed.
    pub signed: bool,
    pub streamed: bool,
    pub cors: Option<Arc<Cors>>,
}

/// Cross-origin rules (Fetch standard, "CORS protocol").
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cors {
    pub allow_credentials: bool,
    pub allow_headers: Vec<String>,
    pub allow_methods: Vec<String>,
    pub allow_origins: Vec<String>,
    pub expose_headers: Vec<String>,
    pub max_age_s: Option<u32>,
}

/// Which function is meant, by whom, through which door.
#[derive(Clone, Debug)]
pub struct Target {
    pub tenant: TenantId,
    pub function: FunctionName,
    /// A version, an alias, or nothing for the newest.
    pub qualifier: Option<Arc<str>>,
    /// The dialect whose door this is; a function is open to its own unless its owner opened another.
    pub door: &'static str,
    pub caller: Principal,
    /// Condition keys with their values, in the terms of the function's policies. Usually empty.
    pub context: Vec<(&'static str, Arc<str>)>,
}

/// What a stored resource means to the engine. `reconcile` must be pure: the same rows give the same operations.
#[derive(Clone, Debug)]
pub enum ModelOp {
    /// The function as it now is.
    Put(Arc<Function>),
    Drop {
        tenant: TenantId,
        name: FunctionName,
    },
}
