//! What the operator chose: defaults, then the file of `--config`, then the command line. Every number has a range, which
//! [`within`] checks: outside of it the platform would stand still, or count wrongly.

use super::{listen::Listen, upstream::Setting};
use crate::verbs::up::Args;
use engine::KeepAlive;
use gateway::tls::Files;
use model::Quota;
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fmt::Display,
    fs, io,
    net::SocketAddr,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};
use store::seal::Source;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("can't read {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} is not what was expected: {message}")]
    Parse { path: PathBuf, message: String },
    #[error("{field} is {found:?}; {expected}")]
    Value { field: &'static str, found: String, expected: String },
    #[error("{path} line {line}: {field} is {found:?}; {expected}")]
    Line { path: PathBuf, line: usize, field: &'static str, found: String, expected: String },
    #[error("can't tell how much memory this machine has: {0}")]
    Memory(io::Error),
}

/// The names below, for the readers of the same file that read other tables of it.
pub const NAMES: [&str; 14] = [
    "listen",
    "console",
    "region",
    "account",
    "tls",
    "engine",
    "events",
    "quotas",
    "metrics",
    "retention",
    "runtimes",
    "upstream",
    "seal",
    "function",
];

/// `myna.toml`, as an operator writes it. Everything may be left out; an unknown name is an error.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    listen: Option<Listen>,
    console: Option<Listen>,
    region: Option<String>,
    account: Option<String>,
    tls: TlsFile,
    engine: EngineFile,
    events: EventsFile,
    quotas: QuotasFile,
    metrics: MetricsFile,
    retention: RetentionFile,
    /// Where a language runtime lives: `"python3.12" = "/opt/python/bin/python3.12"`.
    runtimes: BTreeMap<String, PathBuf>,
    /// Where services are that the platform lacks.
    upstream: BTreeMap<String, Setting>,
    seal: SealFile,
    /// What `myna deploy` reads; one file may serve both.
    #[serde(rename = "function")]
    _function: serde::de::IgnoredAny,
}

/// `[tls]`: for every TCP listener, but for those that have a table of their own.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TlsFile {
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    /// What clients need to trust the certificates, when no public authority signed them.
    ca: Option<PathBuf>,
    /// For other names; clients say which they mean.
    more: Vec<PairFile>,
    aws: Option<PairFile>,
    console: Option<PairFile>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PairFile {
    cert: PathBuf,
    key: PathBuf,
}

/// The certificates of each TCP listener; one that has none speaks plain HTTP.
#[derive(Clone, Debug, Default)]
pub struct TlsFiles {
    pub aws: Vec<Files>,
    pub console: Vec<Files>,
    pub ca: Option<PathBuf>,
}

impl TlsFile {
    fn files(self) -> Result<TlsFiles, Error> {
        let all = match (self.cert, self.key) {
            (Some(cert), Some(key)) => Some(PairFile { cert, key }),
            (None, None) => None,
            (cert, _) => {
                let (there, missing) = if cert.is_some() { ("tls.cert", "key") } else { ("tls.key", "cert") };
                return Err(Error::Value {
                    field: there,
                    found: "set alone".into(),
                    expected: format!("[tls] needs {missing} too"),
                });
            }
        };
        let more = self.more;
        let of = |own: Option<PairFile>| match own.or_else(|| all.clone()) {
            None => Ok(Vec::new()),
            Some(first) => std::iter::once(&first).chain(&more).map(whole).collect::<Result<Vec<_>, _>>(),
        };
        let files = TlsFiles { aws: of(self.aws)?, console: of(self.console)?, ca: self.ca.map(|ca| absolute(&ca)).transpose()? };
        if files.aws.is_empty() && files.console.is_empty() && (files.ca.is_some() || !more.is_empty()) {
            let expected = "it needs cert and key, or [tls.aws] or [tls.console] with both".into();
            return Err(Error::Value { field: "tls", found: "without a certificate".into(), expected });
        }
        Ok(files)
    }
}

fn whole(pair: &PairFile) -> Result<Files, Error> {
    Ok(Files { cert: absolute(&pair.cert)?, key: absolute(&pair.key)? })
}

/// From the folder where the platform is started.
fn absolute(path: &Path) -> Result<PathBuf, Error> {
    std::path::absolute(path).map_err(|source| Error::Read { path: path.into(), source })
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct EngineFile {
    /// What instances may use together, in MiB.
    memory_mib: Option<u64>,
    /// How many times over that memory is promised.
    memory_overcommit: Option<f64>,
    instances_max: Option<usize>,
    starts_max: Option<usize>,
    concurrency: Option<u32>,
    /// `"auto"` or seconds.
    keep_alive: Option<toml::Value>,
    /// Instances of each used language runtime that wait without code.
    prestarted: Option<usize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct EventsFile {
    /// Attempts at asynchronous invocations under way at the same time.
    in_flight: Option<usize>,
    /// Seconds between the first two attempts.
    retry_s: Option<u64>,
    /// Of so many ended events is kept what became of them.
    ended_max: Option<usize>,
}

/// What each tenant may have, unless `myna tenant quota` said otherwise. Requests per second that are 0 are not limited.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct QuotasFile {
    functions: Option<u64>,
    versions: Option<u64>,
    /// Without it `engine.concurrency`.
    concurrency: Option<u32>,
    storage_mib: Option<u64>,
    rows: Option<u64>,
    requests: Option<u32>,
    calls: Option<u32>,
    events: Option<u64>,
}

impl QuotasFile {
    fn quota(self, concurrency: u32) -> Result<Quota, Error> {
        let usual = Quota::default();
        let count = |field, found, usual| within(field, found, 0..=1_000_000_000, usual);
        let rate = |field, found| within(field, found, 0..=1_000_000, 0);
        Ok(Quota {
            functions: count("quotas.functions", self.functions, usual.functions)?,
            versions: count("quotas.versions", self.versions, usual.versions)?,
            concurrency: within("quotas.concurrency", self.concurrency, 0..=1_000_000, concurrency)?,
            storage_bytes: within("quotas.storage_mib", self.storage_mib, 0..=MEMORY_MIB_MAX, usual.storage_bytes >> 20)? << 20,
            rows: count("quotas.rows", self.rows, usual.rows)?,
            requests: rate("quotas.requests", self.requests)?,
            calls: rate("quotas.calls", self.calls)?,
            events: count("quotas.events", self.events, usual.events)?,
        })
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct MetricsFile {
    /// Where `/metrics` is shown beside the admin socket.
    listen: Option<SocketAddr>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RetentionFile {
    log_days: Option<u64>,
    log_mib_per_function: Option<u64>,
    record_days: Option<u64>,
    package_days: Option<u64>,
    audit_days: Option<u64>,
    audit_mib: Option<u64>,
}

/// What the directory is sealed with.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct SealFile {
    /// Leave everything readable.
    off: Option<bool>,
    key: Option<KeyFrom>,
}

/// Where the master key comes from: one of these.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct KeyFrom {
    file: Option<PathBuf>,
    passphrase_file: Option<PathBuf>,
    /// A program and its arguments, which prints the key.
    command: Option<Vec<String>>,
    /// A passphrase is asked for at the terminal of each start.
    ask: bool,
}

#[derive(Clone, Debug)]
pub struct Config {
    pub dir: PathBuf,
    pub listen: Listen,
    pub console: Listen,
    pub tls: TlsFiles,
    /// Where metrics are shown beside the admin socket, if anywhere.
    pub metrics: Option<SocketAddr>,
    pub no_auth: bool,
    /// A directory that a reboot empties will do.
    pub volatile: bool,
    /// Where the key is that everything is sealed with.
    pub seal: Source,
    /// It is a passphrase that has to be asked for: `seal` is nothing yet.
    pub ask_passphrase: bool,
    pub region: String,
    pub account: String,
    /// What instances may really use together, in bytes.
    pub memory_bytes: u64,
    /// How many times over it is promised.
    pub memory_overcommit: f64,
    pub instances_max: usize,
    pub starts_max: usize,
    pub concurrency: u32,
    /// What each tenant may have, unless its own says otherwise.
    pub quota: Quota,
    pub keep_alive: KeepAlive,
    pub prestarted: usize,
    pub events_in_flight: usize,
    pub event_retry_base: Duration,
    pub events_ended_max: usize,
    pub log_age: Duration,
    pub log_bytes: u64,
    pub record_age: Duration,
    pub package_age: Duration,
    pub audit_age: Duration,
    pub audit_bytes: u64,
    pub runtimes: Vec<(String, PathBuf)>,
    pub upstreams: BTreeMap<String, Setting>,
    pub cpus: u32,
}

const DAY: u64 = 86_400;
const DAYS_MAX: u64 = 36_500;
/// 16 TiB.
const MEMORY_MIB_MAX: u64 = 16 << 20;
const KEEP_ALIVE_S_MAX: u64 = 30 * DAY;

/// A number that the file has, within its range, or else the default.
fn within<T>(field: &'static str, found: Option<T>, range: RangeInclusive<T>, default: T) -> Result<T, Error>
where
    T: PartialOrd + Display,
{
    match found {
        None => Ok(default),
        Some(number) if range.contains(&number) => Ok(number),
        Some(number) => {
            let expected = format!("it must be from {} to {}", range.start(), range.end());
            Err(Error::Value { field, found: number.to_string(), expected })
        }
    }
}

impl Config {
    pub fn load(dir: PathBuf, args: &Args) -> Result<Self, Error> {
        let (file, text) = args.config.as_deref().map(read).transpose()?.unwrap_or_default();
        Self::of(dir, args, file).map_err(|error| error.in_file(args.config.as_deref(), &text))
    }

    fn of(dir: PathBuf, args: &Args, file: File) -> Result<Self, Error> {
        let listen = args.listen.clone().or(file.listen).unwrap_or_else(|| Listen::loopback(9000));
        if args.no_auth && !listen.is_loopback() {
            let expected = "beyond loopback signatures are always checked: leave out --no-auth, or listen on 127.0.0.1".into();
            return Err(Error::Value { field: "listen", found: listen.to_string(), expected });
        }
        let account = args.account.clone().or(file.account).unwrap_or_else(|| "000000000000".into());
        if account.len() != 12 || !account.bytes().all(|b| b.is_ascii_digit()) {
            return Err(Error::Value { field: "account", found: account, expected: "it must be twelve digits".into() });
        }
        let region = args.region.clone().or(file.region).unwrap_or_else(|| "us-east-1".into());
        if region.is_empty()
            || region.len() > 32
            || !region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        {
            return Err(Error::Value { field: "region", found: region, expected: "it must be like us-east-1".into() });
        }
        let (memory, cpus) = (machine_memory()?, cpus());
        let (engine, events, retention) = (file.engine, file.events, file.retention);
        let memory_mib = within("engine.memory_mib", engine.memory_mib, 128..=MEMORY_MIB_MAX, (memory / 10 * 8) >> 20)?;
        let days =
            |field, found, default| within(field, found, 0..=DAYS_MAX, default).map(|days: u64| Duration::from_secs(days * DAY));
        let concurrency = within("engine.concurrency", engine.concurrency, 1..=1_000_000, 1000)?;
        let log_mib = within("retention.log_mib_per_function", retention.log_mib_per_function, 1..=MEMORY_MIB_MAX, 64)?;
        let (seal, ask_passphrase) = seal(args, file.seal)?;
        Ok(Self {
            dir,
            listen,
            console: args.console.clone().or(file.console).unwrap_or_else(|| Listen::loopback(9080)),
            tls: file.tls.files()?,
            metrics: file.metrics.listen,
            no_auth: args.no_auth,
            volatile: args.volatile,
            seal,
            ask_passphrase,
            region,
            account,
            memory_bytes: memory_mib << 20,
            memory_overcommit: within("engine.memory_overcommit", engine.memory_overcommit, 1.0..=100.0, 4.0)?,
            instances_max: within("engine.instances_max", engine.instances_max, 1..=1_000_000, descriptors_allow())?,
            starts_max: within("engine.starts_max", engine.starts_max, 1..=10_000, 2 * cpus as usize + 2)?,
            concurrency,
            quota: file.quotas.quota(concurrency)?,
            keep_alive: keep_alive(engine.keep_alive)?,
            prestarted: within("engine.prestarted", engine.prestarted, 0..=1000, 2)?,
            events_in_flight: within("events.in_flight", events.in_flight, 1..=10_000, 100)?,
            event_retry_base: Duration::from_secs(within("events.retry_s", events.retry_s, 1..=86_400, 60)?),
            events_ended_max: within(
                "events.ended_max",
                events.ended_max,
                0..=1_000_000_000,
                store::Options::default().queue.ended_max,
            )?,
            log_age: days("retention.log_days", retention.log_days, 14)?,
            log_bytes: log_mib << 20,
            record_age: days("retention.record_days", retention.record_days, 14)?,
            package_age: days("retention.package_days", retention.package_days, 1)?,
            audit_age: days("retention.audit_days", retention.audit_days, 365)?,
            audit_bytes: within("retention.audit_mib", retention.audit_mib, 2..=MEMORY_MIB_MAX, 256)? << 20,
            runtimes: file.runtimes.into_iter().collect(),
            upstreams: file.upstream,
            cpus,
        })
    }

    /// What the pools may promise.
    pub fn promised_bytes(&self) -> u64 {
        (self.memory_bytes as f64 * self.memory_overcommit) as u64
    }
}

/// The command line wins over the file; without either the key is the user's own.
///
/// Also whether it is a passphrase that has to be asked for.
fn seal(args: &Args, file: SealFile) -> Result<(Source, bool), Error> {
    const FIELD: &str = "seal.key";
    if args.no_seal {
        return Ok((Source::Off, false));
    }
    if args.passphrase {
        return Ok((Source::Nowhere, true));
    }
    if let Some(path) = &args.key_file {
        return Ok((Source::File(path.clone()), false));
    }
    if let Some(path) = &args.passphrase_file {
        return Ok((Source::PassphraseFile(path.clone()), false));
    }
    let wrong = |found: &str, expected: &str| Error::Value { field: FIELD, found: found.into(), expected: expected.into() };
    let key = match (file.off.unwrap_or(false), file.key) {
        (true, Some(_)) => return Err(wrong("given, and seal.off = true", "leave one of them out")),
        (true, None) => return Ok((Source::Off, false)),
        (false, None) => return Ok((usual_key(), false)),
        (false, Some(key)) => key,
    };
    match key {
        KeyFrom { file: Some(path), passphrase_file: None, command: None, ask: false } => Ok((Source::File(path), false)),
        KeyFrom { file: None, passphrase_file: Some(path), command: None, ask: false } => {
            Ok((Source::PassphraseFile(path), false))
        }
        KeyFrom { file: None, passphrase_file: None, command: Some(words), ask: false } if !words.is_empty() => {
            Ok((Source::Command(words), false))
        }
        KeyFrom { file: None, passphrase_file: None, command: None, ask: true } => Ok((Source::Nowhere, true)),
        key => Err(wrong(
            &format!("{key:?}"),
            "it must have one of file, passphrase_file and command, which is a list of words, or ask = true",
        )),
    }
}

/// Where the master key lies when nobody says.
pub fn usual_key() -> Source {
    user_folder().map_or(Source::Nowhere, Source::Folder)
}

/// Where this user's programs keep their settings (XDG Base Directory Specification).
fn user_folder() -> Option<PathBuf> {
    let from = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    from("XDG_CONFIG_HOME").or_else(|| Some(from("HOME")?.join(".config"))).map(|folder| folder.join("myna"))
}

/// A configuration is a page or two.
const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// The text of a file, when it has no more than a configuration can have.
fn text_of(path: &Path) -> std::io::Result<String> {
    use std::io::Read;
    let (mut text, file) = (String::new(), fs::File::open(path)?);
    if file.take(CONFIG_BYTES_MAX + 1).read_to_string(&mut text)? as u64 > CONFIG_BYTES_MAX {
        return Err(std::io::Error::other(format!("it has more than {CONFIG_BYTES_MAX} bytes, and is no configuration")));
    }
    Ok(text)
}

/// The file, and its text.
fn read(path: &Path) -> Result<(File, String), Error> {
    let text = text_of(path).map_err(|source| Error::Read { path: path.into(), source })?;
    match toml::from_str(&text) {
        Ok(file) => Ok((file, text)),
        Err(e) => Err(Error::Parse { path: path.into(), message: e.to_string() }),
    }
}

/// The line, counted from 1, on which a key of a table stands in the usual way of writing it.
fn line_of(text: &str, field: &str) -> Option<usize> {
    let (table, key) = field.rsplit_once('.').unwrap_or(("", field));
    let mut inside = table.is_empty();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(head) = line.strip_prefix('[') {
            inside = head.split(']').next().is_some_and(|name| name.trim() == table);
        } else if line.split_once('=').is_some_and(|(name, _)| (inside && name.trim() == key) || name.trim() == field) {
            return Some(at + 1);
        }
    }
    None
}

impl Error {
    /// With the line of the file that holds the value, where it came from there.
    fn in_file(self, path: Option<&Path>, text: &str) -> Self {
        match (self, path) {
            (Error::Value { field, found, expected }, Some(path)) => match line_of(text, field) {
                Some(line) => Error::Line { path: path.into(), line, field, found, expected },
                None => Error::Value { field, found, expected },
            },
            (other, _) => other,
        }
    }
}

fn keep_alive(value: Option<toml::Value>) -> Result<KeepAlive, Error> {
    const FIELD: &str = "engine.keep_alive";
    let wrong = |found: String| {
        let expected = format!("it must be \"auto\" or from 0 to {KEEP_ALIVE_S_MAX} seconds");
        Error::Value { field: FIELD, found, expected }
    };
    match value {
        None => Ok(KeepAlive::default()),
        Some(toml::Value::String(s)) if s == "auto" => Ok(KeepAlive::default()),
        Some(toml::Value::Integer(s)) => match u64::try_from(s) {
            Ok(s) if s <= KEEP_ALIVE_S_MAX => Ok(KeepAlive::Fixed(Duration::from_secs(s))),
            _ => Err(wrong(s.to_string())),
        },
        Some(other) => Err(wrong(other.to_string())),
    }
}

fn machine_memory() -> Result<u64, Error> {
    let text = fs::read_to_string("/proc/meminfo").map_err(Error::Memory)?;
    let kib = text.lines().find_map(|l| l.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.map(|k| k * 1024)
        .ok_or_else(|| Error::Memory(io::Error::new(io::ErrorKind::InvalidData, "/proc/meminfo has no MemTotal")))
}

pub fn cpus() -> u32 {
    std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(1))
}

/// As many instances as the descriptors of this process are good for, with a quarter kept for clients.
fn descriptors_allow() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(1 << 20);
    usize::try_from(limit / 4 * 3 / model::limits::DESCRIPTORS_PER_INSTANCE).unwrap_or(usize::MAX).max(8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The code block below a heading of the book.
    fn block<'a>(book: &'a str, heading: &str) -> &'a str {
        let after = book.split_once(heading).expect("the heading is there").1;
        after.split_once("```toml\n").and_then(|rest| rest.1.split_once("```")).expect("a block follows it").0
    }

    #[test]
    fn the_book_shows_every_key_and_no_other() {
        let book = include_str!("../../../../docs/configuration.md");
        let text = block(book, "## The platform's settings");
        let File {
            listen,
            console,
            region,
            account,
            tls,
            engine,
            events,
            quotas,
            metrics,
            retention,
            runtimes,
            upstream,
            seal,
            _function: _,
        } = toml::from_str(text).unwrap();
        let TlsFile { cert, key, ca, more, aws, console: of_console } = tls;
        assert!(cert.is_some() && key.is_some() && ca.is_some() && !more.is_empty() && aws.is_some() && of_console.is_some());
        assert!(listen.is_some() && console.is_some() && region.is_some() && account.is_some());
        assert!(!runtimes.is_empty() && !upstream.is_empty());
        assert!(seal.off == Some(false) && seal.key.is_some_and(|key| key.file.is_some()));
        let unknown = toml::from_str::<File>("x = 1").unwrap_err().to_string();
        assert_eq!(unknown.matches('`').count(), 2 * (1 + NAMES.len()), "{unknown}");
        assert!(NAMES.iter().all(|name| unknown.contains(&format!("`{name}`"))), "{unknown}");
        let EngineFile { memory_mib, memory_overcommit, instances_max, starts_max, concurrency, keep_alive, prestarted } = engine;
        assert!(memory_mib.is_some() && instances_max.is_some() && starts_max.is_some());
        // What doesn't depend on the machine is shown with its default.
        let made = Config::load("x".into(), &Args::default()).unwrap();
        assert_eq!((listen, console), (Some(made.listen), Some(made.console)));
        assert_eq!((region, account), (Some(made.region), Some(made.account)));
        assert_eq!((memory_overcommit, concurrency), (Some(made.memory_overcommit), Some(made.concurrency)));
        assert_eq!((keep_alive, prestarted), (Some("auto".into()), Some(made.prestarted)));
        let EventsFile { in_flight, retry_s, ended_max } = events;
        assert_eq!((in_flight, retry_s), (Some(made.events_in_flight), Some(made.event_retry_base.as_secs())));
        assert_eq!(ended_max, Some(made.events_ended_max));
        let QuotasFile { functions, versions, concurrency: calls_at_once, storage_mib, rows, requests, calls, events } = quotas;
        let all = functions.is_some() && versions.is_some() && storage_mib.is_some() && rows.is_some() && calls_at_once.is_some();
        assert!(all && requests.is_some() && calls.is_some() && events.is_some());
        assert_eq!(quotas.quota(1).unwrap(), made.quota);
        assert!(metrics.listen.is_some() && made.metrics.is_none());
        let RetentionFile { log_days, log_mib_per_function, record_days, package_days, audit_days, audit_mib } = retention;
        let days = |n: Option<u64>| Some(Duration::from_secs(n? * DAY));
        assert_eq!((days(log_days), days(record_days)), (Some(made.log_age), Some(made.record_age)));
        assert_eq!((days(audit_days), audit_mib), (Some(made.audit_age), Some(made.audit_bytes >> 20)));
        assert_eq!((log_mib_per_function, days(package_days)), (Some(made.log_bytes >> 20), Some(made.package_age)));
    }

    fn load(text: &str) -> Result<Config, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        let args = Args { config: Some(file.path().into()), ..Args::default() };
        Config::load("x".into(), &args).map_err(|e| e.to_string())
    }

    #[test]
    fn the_key_comes_from_one_place() {
        let key = |text: &str| load(&format!("[seal]\n{text}\n")).map(|c| c.seal);
        assert_eq!(key("off = true").unwrap(), Source::Off);
        assert_eq!(key("key = { file = \"/k\" }").unwrap(), Source::File("/k".into()));
        assert_eq!(key("key = { passphrase_file = \"/p\" }").unwrap(), Source::PassphraseFile("/p".into()));
        assert_eq!(key("key = { command = [\"get\", \"key\"] }").unwrap(), Source::Command(vec!["get".into(), "key".into()]));
        for bad in ["key = {}", "key = { file = \"/k\", command = [\"get\"] }", "key = { command = [] }"] {
            assert!(key(bad).unwrap_err().contains("it must have one of file, passphrase_file and command"), "{bad}");
        }
        let asked = load("[seal]\nkey = { ask = true }").unwrap();
        assert_eq!((asked.seal, asked.ask_passphrase), (Source::Nowhere, true));
        assert!(key("key = { ask = true, file = \"/k\" }").unwrap_err().contains("it must have one of"));
        assert!(key("off = true\nkey = { file = \"/k\" }").unwrap_err().contains("leave one of them out"));
        let args = Args { key_file: Some("/k".into()), ..Args::default() };
        assert_eq!(Config::load("x".into(), &args).unwrap().seal, Source::File("/k".into()));
    }

    /// Every number of the file, with what it may be at least and at most.
    const RANGES: &[(&str, &str, &str, &str)] = &[
        ("engine", "memory_mib", "128", "16777216"),
        ("engine", "memory_overcommit", "1.0", "100.0"),
        ("engine", "instances_max", "1", "1000000"),
        ("engine", "starts_max", "1", "10000"),
        ("engine", "concurrency", "1", "1000000"),
        ("engine", "keep_alive", "0", "2592000"),
        ("engine", "prestarted", "0", "1000"),
        ("events", "in_flight", "1", "10000"),
        ("events", "retry_s", "1", "86400"),
        ("quotas", "functions", "0", "1000000000"),
        ("quotas", "versions", "0", "1000000000"),
        ("quotas", "concurrency", "0", "1000000"),
        ("quotas", "storage_mib", "0", "16777216"),
        ("quotas", "rows", "0", "1000000000"),
        ("quotas", "requests", "0", "1000000"),
        ("quotas", "calls", "0", "1000000"),
        ("quotas", "events", "0", "1000000000"),
        ("retention", "log_days", "0", "36500"),
        ("retention", "log_mib_per_function", "1", "16777216"),
        ("retention", "record_days", "0", "36500"),
        ("retention", "package_days", "0", "36500"),
        ("retention", "audit_days", "0", "36500"),
        ("retention", "audit_mib", "2", "16777216"),
    ];

    #[test]
    fn a_number_outside_of_its_range_is_refused_with_the_range() {
        for (table, key, least, most) in RANGES {
            let with = |value: &str| load(&format!("[{table}]\n{key} = {value}\n"));
            for good in [least, most] {
                with(good).unwrap_or_else(|e| panic!("{table}.{key} = {good}: {e}"));
            }
            let huge = if *key == "memory_overcommit" { "1e300" } else { "9223372036854775807" };
            let next = if *key == "memory_overcommit" { "100.5".into() } else { (most.parse::<u64>().unwrap() + 1).to_string() };
            let less = match *least {
                "1" => "0",
                "1.0" => "0.5",
                "2" => "1",
                "128" => "127",
                _ => "-1",
            };
            for bad in [huge, &next, less] {
                let said = with(bad).unwrap_err();
                assert!(said.contains(key), "{table}.{key} = {bad}: {said}");
                if bad == next {
                    let (least, most) = (least.trim_end_matches(".0"), most.trim_end_matches(".0"));
                    assert!(said.contains(&format!("{table}.{key} is \"{bad}\"")), "{said}");
                    assert!(said.contains(&format!("from {least} to {most}")), "{said}");
                }
            }
        }
        // What the ranges allow is counted without wrapping.
        let most = load("[engine]\nmemory_mib = 16777216\nmemory_overcommit = 100.0\n").unwrap();
        assert_eq!(most.promised_bytes(), 1600 << 40);
    }

    #[test]
    fn a_value_that_is_wrong_is_named_with_its_line() {
        let said = load("# mine\nregion = \"us-east-1\"\n\n[engine]\n# few\nstarts_max = 0\n").unwrap_err();
        assert!(said.contains(" line 6: engine.starts_max is \"0\""), "{said}");
        assert!(load("region = \"\"\n").unwrap_err().contains(" line 1: region is"));
        assert!(load("engine.starts_max = 0\n").unwrap_err().contains(" line 1: engine.starts_max is"));
        assert_eq!(line_of("[other]\nstarts_max = 1\n", "engine.starts_max"), None);
    }

    #[test]
    fn one_file_serves_the_platform_and_its_function() {
        let text = block(include_str!("../../../../docs/configuration.md"), "## A function's settings");
        toml::from_str::<File>(text).unwrap();
        assert!(toml::from_str::<File>("listn = 1").is_err());
    }
}
