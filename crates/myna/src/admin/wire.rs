//! The documents of `/admin/v1`. Both ends are this binary, of the same or a neighbouring version: fields are only ever added,
//! and every one of them may be missing when read.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// `GET /admin/v1/status`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    pub version: String,
    pub pid: u32,
    pub dir: PathBuf,
    pub started_ms: u64,
    /// `starting`, `ready`, `draining`.
    pub phase: String,
    pub region: String,
    pub account: String,
    /// The name of the tenant that this was asked for; region, account and role are its.
    #[serde(default)]
    pub tenant: String,
    /// The role that `deploy` gives a function that names none.
    pub default_role: String,
    /// False with `--no-auth`: signatures are waived.
    pub signatures: bool,
    /// What the directory is sealed with, or that it is not.
    #[serde(default)]
    pub sealed: String,
    /// The sandbox tier of new functions.
    pub tier: String,
    /// What of it this machine or this user can't have.
    pub weaker: Vec<String>,
    pub listeners: Vec<Listener>,
    /// Of the listeners that speak TLS.
    pub certificates: Vec<Certificate>,
    pub load: Load,
    pub retention: Vec<Retention>,
    pub audit: Audit,
    /// Loops of the platform that panicked since the start and were run again.
    pub loops: Vec<Panicked>,
    /// How often the loop that tries queued events stood still before work and was started again.
    pub event_loop_restarts: u64,
    /// Loops of the platform that stand still now.
    pub still: Vec<Still>,
    /// False while a loop stands still: `GET /readyz` says so, too.
    pub healthy: bool,
    /// What was found broken in the state directory, each named.
    pub damaged: Vec<String>,
    /// What the operator should know: a weaker sandbox, a task that keeps failing, a nearly full disk.
    pub warnings: Vec<String>,
}

/// A loop in the middle of one piece of work.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Still {
    pub name: String,
    /// For so long, at least.
    pub seconds: u64,
}

/// The audit log in numbers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Audit {
    /// Entries that are kept.
    pub entries: u64,
    /// Number of the last one.
    pub last: u64,
    /// Its hash.
    pub head: String,
    /// Refusals without an entry, since the start: the disk took none.
    pub lost: u64,
}

/// `GET /admin/v1/events/ID`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EventShown {
    #[serde(flatten)]
    pub event: model::queue::EventView,
    /// While it has not ended well.
    pub body: Option<String>,
}

/// `GET /admin/v1/lanes`, a row for each function that has events.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LaneRow {
    pub function: String,
    #[serde(flatten)]
    pub view: model::queue::LaneView,
}

/// How many events something concerned.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Count {
    pub count: u64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Listener {
    /// `aws`, `admin`, `console`, `metrics`.
    pub name: String,
    /// A URL, or the path of a socket.
    pub address: String,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Certificate {
    pub listener: String,
    pub file: PathBuf,
    /// Host names and addresses that it is for.
    pub names: Vec<String>,
    /// `2031-02-28T00:00:00Z`.
    pub until: String,
    /// Why the files that are there now are not in use, when that is so.
    pub refused: Option<String>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Load {
    pub functions: u64,
    pub instances: u64,
    pub running: u64,
    pub waiting: u64,
    pub idle: u64,
    pub frozen: u64,
    /// Pre-started runtimes without a function.
    pub unbound: u64,
    pub memory_reserved_bytes: u64,
    pub memory_budget_bytes: u64,
    /// What instances may really use together; the budget is this, promised several times over.
    pub memory_usable_bytes: u64,
    /// The platform's own process.
    pub rss_bytes: u64,
    /// Log lines and records that were dropped because the journal was full, since the start.
    pub journal_dropped: u64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Retention {
    /// `logs`, `records`, `packages`.
    pub what: String,
    /// `7 days or 1 GiB`.
    pub keep: String,
    pub held_bytes: u64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Panicked {
    /// `journal`, `housekeeper`, `door aws`.
    pub name: String,
    pub times: u64,
    pub last: String,
}

/// `GET /admin/v1/access`: a member per outside system.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Access {
    pub aws: Option<AwsAccess>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct AwsAccess {
    pub endpoint_url: String,
    pub region: String,
    pub access_key_id: String,
    pub secret_access_key: String,
    /// What clients must trust, when the listener's certificate is of an authority of one's own.
    pub ca_bundle: Option<String>,
}

/// `GET /admin/v1/runtimes`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RuntimeRow {
    /// `python3.12`.
    pub name: String,
    /// `CPython 3.12.1`; empty when there is none here.
    pub found: String,
    /// Where it was found and why there; or where it was looked for.
    pub origin: String,
    /// The interpreter on this machine, where there is one.
    pub program: Option<PathBuf>,
    /// `myna runtime install` can get it.
    pub installable: bool,
    /// What to do when it is missing.
    pub mend: Option<String>,
    pub libraries: Vec<(String, String)>,
    pub notes: Vec<String>,
}

/// `POST /admin/v1/runtimes/NAME/install`, a line each.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InstallLine {
    Step(String),
    Done(RuntimeRow),
    Failed { message: String, hint: Option<String> },
}

/// Something that the machine can or can't do.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Finding {
    /// `kernel`, `cgroups`, `sandbox process`, `runtime python3.12`.
    pub what: String,
    pub state: FindingState,
    /// What was found.
    pub detail: String,
    /// The command or setting that would mend it.
    pub mend: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FindingState {
    #[default]
    Ok,
    /// Works, and is less than it should be.
    Weaker,
    /// Not there, and not needed for what Myna does now.
    Absent,
    /// Without it `up` can't work.
    Missing,
}

/// One effective value of a function.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Explained {
    pub name: String,
    pub value: String,
    /// Where the value comes from.
    pub from: String,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ConsoleLink {
    pub url: String,
}

/// `GET /admin/v1/logs`, a line each.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogLine {
    pub at_ms: u64,
    pub id: Option<String>,
    pub stream: String,
    /// Which code wrote it.
    pub code: String,
    pub text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
    /// Instead of a line: so many were lost, because this reader was too slow.
    #[serde(skip_serializing_if = "is_zero")]
    pub lost: u64,
}

/// `GET /admin/v1/seal`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sealing {
    pub on: bool,
    /// Where the master key comes from.
    pub source: String,
    /// By which keys are told apart; it says nothing of the key.
    pub key_id: String,
    pub tenants: usize,
    /// Data keys of all generations.
    pub keys: usize,
    /// The newest.
    pub generation: u32,
    /// Older keys are in use until the next start.
    pub pending: bool,
    /// Rows and archives that were looked at since the keys were changed, and sealed again where older keys had sealed them.
    pub again: u64,
    /// How many there are.
    pub again_of: u64,
}

/// `POST /admin/v1/seal/rewrap`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewKey {
    /// As the platform sees it; made when there is none.
    pub file: PathBuf,
}

/// `POST /admin/v1/seal/export`.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct KeyText {
    pub id: String,
    /// The master key, as a key file has it.
    pub key: String,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// `GET /admin/v1/tenants` has these in a list, `GET /admin/v1/tenants/NAME` is one.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Tenant {
    pub name: String,
    /// Twelve digits.
    pub account: String,
    pub is_default: bool,
    /// 0 for the default one, which was always there.
    pub created_ms: u64,
    /// It is being removed.
    pub leaving: bool,
    pub functions: u64,
    pub instances: u64,
    pub queued: u64,
    pub dead: u64,
    pub rows: u64,
    /// Of archives and unpacked files, on the disk.
    pub package_bytes: u64,
    /// Ids of its administrator's access keys.
    pub keys: Vec<String>,
    /// What it may have.
    pub quota: model::Quota,
    /// What of that differs from the configuration.
    pub changed: QuotaChange,
}

/// `POST /admin/v1/tenants/NAME`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewTenant {
    /// Twelve digits; made when it is missing.
    pub account: Option<String>,
    pub quota: QuotaChange,
}

/// Its answer. The secret is in no other one but `access`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TenantMade {
    #[serde(flatten)]
    pub tenant: Tenant,
    pub key: MadeKey,
}

/// `POST /admin/v1/tenants/NAME/keys`.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MadeKey {
    pub access_key_id: String,
    pub secret_access_key: String,
}

impl std::fmt::Debug for MadeKey {
    /// Never the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MadeKey({})", self.access_key_id)
    }
}

/// `PUT /admin/v1/tenants/NAME/quota`: what is given of a [`model::Quota`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QuotaChange {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub functions: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub versions: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<u64>,
}

impl QuotaChange {
    /// The most that any number may be.
    pub const MOST: u64 = 1 << 50;

    /// Whether every number can be meant.
    pub fn check(&self) -> Result<(), model::Fault> {
        let large = [
            ("functions", self.functions),
            ("versions", self.versions),
            ("storage_bytes", self.storage_bytes),
            ("rows", self.rows),
            ("events", self.events),
            ("concurrency", self.concurrency.map(u64::from).filter(|n| *n > 1_000_000).map(|n| n + Self::MOST)),
        ];
        match large.into_iter().find(|(_, found)| found.is_some_and(|n| n > Self::MOST)) {
            Some(("concurrency", _)) => Err(model::Fault::invalid("concurrency: it must be from 0 to 1000000")),
            Some((field, _)) => Err(model::Fault::invalid(format!("{field}: it must be from 0 to {}", Self::MOST))),
            None => Ok(()),
        }
    }

    /// A quota with what is given.
    pub fn over(&self, usual: model::Quota) -> model::Quota {
        model::Quota {
            functions: self.functions.unwrap_or(usual.functions),
            versions: self.versions.unwrap_or(usual.versions),
            concurrency: self.concurrency.unwrap_or(usual.concurrency),
            storage_bytes: self.storage_bytes.unwrap_or(usual.storage_bytes),
            rows: self.rows.unwrap_or(usual.rows),
            requests: self.requests.unwrap_or(usual.requests),
            calls: self.calls.unwrap_or(usual.calls),
            events: self.events.unwrap_or(usual.events),
        }
    }

    /// What is given here, and else what was given before.
    pub fn or(self, before: QuotaChange) -> QuotaChange {
        QuotaChange {
            functions: self.functions.or(before.functions),
            versions: self.versions.or(before.versions),
            concurrency: self.concurrency.or(before.concurrency),
            storage_bytes: self.storage_bytes.or(before.storage_bytes),
            rows: self.rows.or(before.rows),
            requests: self.requests.or(before.requests),
            calls: self.calls.or(before.calls),
            events: self.events.or(before.events),
        }
    }
}
