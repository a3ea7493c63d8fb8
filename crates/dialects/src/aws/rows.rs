//! What this dialect stores, and how. Rows of a function sort behind its name: `NAME` in `lambda.function`, `NAME/00000007`,
//! `NAME/alias` and `NAME/qualifier` in the others, so that a prefix lists what belongs to one function.

use super::fault::WireError;
use bytes::Bytes;
use model::{Expect, Key, Package, Resource, RevisionId, TenantId, Write, catalog::Cors};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

pub const FUNCTION: &str = "lambda.function";
pub const VERSION: &str = "lambda.version";
pub const ALIAS: &str = "lambda.alias";
pub const URL: &str = "lambda.url";
pub const ROLE: &str = "iam.role";
pub const USER: &str = "iam.user";
/// Managed policies, by name.
pub const POLICY: &str = "iam.policy";
/// Users' keys, by their id.
pub const ACCESS_KEY: &str = "iam.access-key";
/// Temporary credentials, by the id of their key.
pub const SESSION: &str = "sts.session";
/// Event source mappings, by their UUID.
pub const SOURCE: &str = "lambda.source";
/// Code signing configurations, by their id.
pub const CODE_SIGNING: &str = "lambda.code-signing";
/// By a layer's name; its versions lie below it in the next.
pub const LAYER: &str = "lambda.layer";
pub const LAYER_VERSION: &str = "lambda.layer-version";
/// By the ARN of somebody else's layer version: what stands for it here.
pub const LAYER_MAP: &str = "lambda.layer-map";
/// By a log group's name: what somebody decided about it.
pub const LOG_GROUP: &str = "logs.group";
pub const KINDS: &[&str] = &[
    FUNCTION,
    VERSION,
    ALIAS,
    URL,
    ROLE,
    USER,
    POLICY,
    ACCESS_KEY,
    SESSION,
    SOURCE,
    CODE_SIGNING,
    LAYER,
    LAYER_VERSION,
    LAYER_MAP,
    LOG_GROUP,
];
/// Those of which functions are made.
pub const OF_FUNCTIONS: &[&str] = &[FUNCTION, VERSION, ALIAS, URL];

/// Where a configuration stands on its way to being runnable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// First made; nothing runs yet.
    Pending,
    /// Runs.
    Active,
    /// A change is being prepared; what ran before runs on.
    Updating,
    /// The first preparation failed.
    Failed { code: String, reason: String },
    /// A change could not be prepared; what ran before runs on.
    UpdateFailed { code: String, reason: String },
}

/// Code and settings of one version.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Config {
    pub runtime: Arc<str>,
    pub role: Arc<str>,
    pub handler: Arc<str>,
    pub description: String,
    pub timeout_s: u32,
    pub memory_mib: u32,
    pub tmp_mib: u32,
    pub package: Package,
    /// Base64 of the archive's SHA-256, as the service shows it.
    pub code_sha256: String,
    pub code_bytes: u64,
    /// From the lowest up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<Layer>,
    /// `None` when never set, which the service shows differently from an empty set.
    pub env: Option<Vec<(String, String)>>,
    pub architecture: String,
    pub tracing: String,
    pub snap_start: String,
    pub log: Log,
    /// Stored and shown; nothing is done with them yet.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inert: BTreeMap<String, Value>,
    pub state: State,
    pub modified_ms: u64,
    /// Shown to clients; changes with every change, the state's included.
    pub revision_id: String,
    /// Names what an instance runs; changes with code and settings only.
    pub unit: RevisionId,
}

/// A layer version as a function has it: its content goes with the function, whatever becomes of the layer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Layer {
    pub arn: String,
    pub package: Package,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct LayerRow {
    /// The number that the last published version got; never used again.
    pub last_version: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LayerVersionRow {
    pub number: u64,
    pub description: String,
    pub package: Package,
    /// Base64 of the archive's SHA-256.
    pub code_sha256: String,
    pub runtimes: Vec<String>,
    pub architectures: Vec<String>,
    pub license: Option<String>,
    pub created_ms: u64,
    /// The statements of its policy, and what guards them.
    #[serde(default)]
    pub policy: Vec<Value>,
    pub revision_id: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LayerMapRow {
    pub package: Package,
    pub created_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Log {
    pub format: String,
    pub group: Option<String>,
    pub application_level: Option<String>,
    pub system_level: Option<String>,
}

impl Config {
    pub fn touch(&mut self, now_ms: u64) {
        self.revision_id = new_id();
        self.modified_ms = now_ms;
    }
    /// Code and settings are those of `other`, whatever their ids and states.
    pub fn same_as(&self, other: &Config) -> bool {
        let bare = |c: &Config| Config {
            state: State::Active,
            modified_ms: 0,
            revision_id: String::new(),
            unit: RevisionId(uuid::Uuid::nil()),
            description: String::new(),
            ..c.clone()
        };
        encode(&bare(self)) == encode(&bare(other))
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FunctionRow {
    pub latest: Config,
    /// What runs while `latest` is being prepared, or after that failed.
    pub before: Option<Box<Config>>,
    /// The number that the last published version got; never used again.
    pub last_version: u64,
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    #[serde(default)]
    pub reserved: Option<u32>,
    #[serde(default)]
    pub provisioned: BTreeMap<String, Provisioned>,
    /// Statements by qualifier; empty for the function itself.
    #[serde(default)]
    pub policies: BTreeMap<String, Vec<Value>>,
    #[serde(default)]
    pub runtime_management: BTreeMap<String, String>,
    #[serde(default)]
    pub recursive_loop: Option<String>,
    /// The id of its code signing configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_signing: Option<String>,
    /// How asynchronous invocations are tried, by qualifier.
    #[serde(default)]
    pub events: BTreeMap<String, EventConfig>,
}

/// An event invoke configuration, as far as it was given.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct EventConfig {
    pub retries: Option<u32>,
    pub age_s: Option<u32>,
    /// ARNs of functions.
    pub on_success: Option<String>,
    pub on_failure: Option<String>,
    pub modified_ms: u64,
}

impl FunctionRow {
    /// What `$LATEST` runs now.
    pub fn serving(&self) -> Option<&Config> {
        match self.latest.state {
            State::Active => Some(&self.latest),
            State::Updating | State::UpdateFailed { .. } => self.before.as_deref(),
            State::Pending | State::Failed { .. } => None,
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Provisioned {
    pub requested: u32,
    pub modified_ms: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VersionRow {
    pub number: u64,
    pub config: Config,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AliasRow {
    pub name: String,
    pub version: String,
    pub description: String,
    pub split: Option<(String, f64)>,
    pub revision_id: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UrlRow {
    pub id: Arc<str>,
    pub qualifier: Option<String>,
    pub auth: String,
    pub mode: Option<String>,
    pub cors: Option<Cors>,
    pub created_ms: u64,
    pub modified_ms: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SourceRow {
    pub uuid: String,
    pub function: String,
    pub qualifier: Option<String>,
    pub enabled: bool,
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    pub modified_ms: u64,
    /// What describes the source, as it was given.
    pub members: Map<String, Value>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CodeSigningRow {
    pub description: String,
    /// ARNs of signing profiles' versions.
    pub publishers: Vec<String>,
    /// `Warn` or `Enforce`; neither is done.
    pub untrusted: String,
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    pub modified_ms: u64,
}

/// What a role and a user have in common: the policies that say what they may.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Rights {
    /// Inline policies by name: the documents as they came.
    #[serde(default)]
    pub policies: BTreeMap<String, String>,
    /// ARNs of managed policies.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub attached: BTreeSet<String>,
    /// The ARN of the managed policy that bounds all others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boundary: Option<String>,
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RoleRow {
    pub id: String,
    pub path: String,
    pub trust: String,
    pub description: Option<String>,
    pub max_session_s: u32,
    pub created_ms: u64,
    #[serde(flatten)]
    pub rights: Rights,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UserRow {
    pub id: String,
    pub path: String,
    pub created_ms: u64,
    #[serde(flatten)]
    pub rights: Rights,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PolicyRow {
    pub id: String,
    pub path: String,
    pub description: String,
    pub created_ms: u64,
    pub updated_ms: u64,
    /// The version in force.
    pub default: u32,
    /// The number that the last version got; never used again.
    pub last: u32,
    pub versions: BTreeMap<u32, PolicyVersion>,
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PolicyVersion {
    pub document: String,
    pub created_ms: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AccessKeyRow {
    pub user: String,
    pub secret: String,
    pub active: bool,
    pub created_ms: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SessionRow {
    pub secret: String,
    pub token: String,
    pub holder: SessionHolder,
    /// Session policies.
    pub policies: Vec<String>,
    pub issued_ms: u64,
    pub expires_ms: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum SessionHolder {
    Root,
    /// By name and id: a user of the same name that was made anew is another one.
    User {
        name: String,
        id: String,
    },
    Role {
        name: String,
        id: String,
        session: String,
    },
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct LogGroupRow {
    pub created_ms: u64,
    /// How long it keeps its events; without it as long as the platform keeps logs.
    #[serde(default)]
    pub retention_days: Option<u32>,
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

pub fn new_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

pub fn version_name(function: &str, number: u64) -> String {
    format!("{function}/{number:08}")
}

pub fn below(function: &str) -> String {
    format!("{function}/")
}

pub fn encode(row: &impl Serialize) -> Bytes {
    Bytes::from(serde_json::to_vec(row).expect("rows are maps with text keys"))
}

/// A row that can't be read is a defect or a damaged store; it is named, never skipped over.
pub fn decode<T: DeserializeOwned>(row: &Resource) -> Result<T, WireError> {
    serde_json::from_slice(&row.body)
        .map_err(|e| WireError::internal(format!("the stored {} {:?} can't be read: {e}", row.key.kind, row.key.name)))
}

pub fn put(tenant: &TenantId, kind: &'static str, name: impl AsRef<str>, row: &impl Serialize, expect: Expect) -> Write {
    Write::Put { key: Key::new(tenant, kind, name), body: encode(row), expect }
}

pub fn delete(tenant: &TenantId, kind: &'static str, name: impl AsRef<str>) -> Write {
    Write::Delete { key: Key::new(tenant, kind, name), expect: Expect::Any }
}
