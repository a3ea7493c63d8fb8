//! Finding what is broken: every row, package and record is read and held against its checksum. Nothing is changed.

use super::{ARCHIVE, BODIES, EVENTS, KEYS, PACKAGES, QUEUE, ROWS, SEALED, backup::files, files, known, look_into};
use crate::{
    Error, directory, hex, packages, queue, rows,
    seal::{Label, Opened, Seal, Source},
    segments,
};
use model::{InvocationId, Key, TenantId};
use ring::digest::{Context, SHA256};
use serde::Serialize;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// Flaws that are listed; a directory with more is beyond a list.
const FLAWS_MAX: usize = 1000;
/// A log that is being written may be seen half written; it is looked at once more after this.
const SETTLES_WITHIN: Duration = Duration::from_millis(300);

const SHELF_HELD: &str = "a repair has put things aside there, and no code is collected while it holds any; deploy or restore what is \
                          still needed, then move them out of the directory";
const KEYS_MISSING: &str = "it is missing, and things here are sealed by a key in it; restore it from a backup";

#[derive(Clone, Debug, Serialize)]
pub struct Flaw {
    /// `row`, `package`, `code`, `reference`, `queue`, `event`, `log`, `audit`, `file`.
    pub kind: &'static str,
    pub what: String,
    pub detail: String,
    #[serde(skip)]
    pub(super) place: Option<Place>,
}

/// Where a flaw is, for who mends it.
#[derive(Clone, Debug)]
pub(super) enum Place {
    Row {
        tenant: String,
        kind: String,
        name: String,
    },
    Package(PathBuf),
    /// Of a package, where the archive is whole.
    Code(PathBuf),
    /// Files that a new one takes the place of.
    File(PathBuf),
    /// A database of which what can be read can be saved.
    Rows,
    Events,
    Format(u32),
    /// The file of keys, without which nobody can tell what is whole.
    Keys,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    pub rows: u64,
    pub packages: u64,
    pub events: u64,
    /// Records of the queue's log.
    pub records: u64,
    pub flaws: Vec<Flaw>,
    /// What is not wrong and worth knowing.
    pub notes: Vec<String>,
}

impl Report {
    pub(super) fn flaw(&mut self, kind: &'static str, what: impl Into<String>, detail: impl Into<String>) {
        self.found(Flaw { kind, what: what.into(), detail: detail.into(), place: None });
    }
    pub(super) fn found(&mut self, flaw: Flaw) {
        if self.flaws.len() < FLAWS_MAX {
            self.flaws.push(flaw);
        }
    }
    fn note(&mut self, text: String) {
        if self.notes.len() < FLAWS_MAX {
            self.notes.push(text);
        }
    }
}

/// What opens a sealed directory; `None` where its key isn't at hand, so that of what is sealed only the outside is seen.
type Content = Option<Arc<Seal>>;

/// Read everything that a platform would need at its next start. May run beside the platform. `key` is where a sealed directory's
/// master key comes from; without it what is sealed is not opened, and a note says so.
pub fn verify(dir: &Path, key: &Source) -> Result<Report, Error> {
    let (dir, format) = known(dir)?;
    let mut report = Report::default();
    if let Some((format, detail)) = format {
        report.found(Flaw { kind: "file", what: "FORMAT".into(), detail, place: Some(Place::Format(format)) });
    }
    let content = content(&dir, key, &mut report);
    let wanted = all_rows(&dir, &content, &mut report);
    all_packages(&dir, &content, &wanted, &mut report)?;
    let followed = index(&dir, &content, &mut report);
    log(&dir, followed, &mut report)?;
    secrets(&dir, &content, &mut report)?;
    files::segments_of(&dir, &mut report);
    files::audit(&dir, &mut report);
    if directory::shelf_holds(&dir) {
        report.note(format!("{}: {SHELF_HELD}", directory::SHELF));
    }
    Ok(report)
}

fn content(dir: &Path, key: &Source, report: &mut Report) -> Content {
    if directory::sealed_without_keys(dir).is_some() {
        let place = Some(Place::Keys);
        report.found(Flaw { kind: "file", what: KEYS.into(), detail: KEYS_MISSING.into(), place });
        return None;
    }
    match dir.join(KEYS).exists() {
        false => Some(Seal::off()),
        true => Seal::open(dir, key).inspect_err(|error| report.note(format!("what is sealed was not opened: {error}"))).ok(),
    }
}

/// Where packages are wanted: by tenant's folder and digest, the rows that do.
type Wanted = BTreeMap<(String, String), BTreeSet<String>>;

fn all_rows(dir: &Path, content: &Content, report: &mut Report) -> Wanted {
    let (path, mut wanted) = (dir.join(ROWS), Wanted::new());
    if !path.exists() {
        let detail = "it is missing: there are no rows at all".to_owned();
        report.found(Flaw { kind: "file", what: ROWS.into(), detail, place: Some(Place::Rows) });
        return wanted;
    }
    let mut read = || -> rusqlite::Result<()> {
        let connection = look_into(&path)?;
        for detail in pragma(&connection)? {
            report.found(Flaw { kind: "file", what: ROWS.into(), detail, place: Some(Place::Rows) });
        }
        let mut statement = connection.prepare("SELECT tenant, kind, name, body, crc FROM rows")?;
        let mut found = statement.query([])?;
        while let Some(row) = found.next()? {
            let (tenant, kind, name): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let (body, crc): (Vec<u8>, i64) = (row.get(3)?, row.get(4)?);
            report.rows += 1;
            let what = format!("{kind} {name:?} of {tenant}");
            if sum(&tenant, &kind, &name, &body) != crc {
                let place = Some(Place::Row { tenant, kind, name });
                report.found(Flaw { kind: "row", what, detail: "its checksum is wrong".into(), place });
                continue;
            }
            let Some(seal) = content else { continue };
            let label = Label { tenant: &tenant, kind: &kind, name: &name };
            let body = match seal.open_text(label, &body) {
                Ok(body) => body,
                Err(why) => {
                    report.flaw("row", what, format!("it can't be opened: {why}"));
                    continue;
                }
            };
            if !matches!(body.first(), Some(b'{' | b'[')) {
                continue;
            }
            match serde_json::from_slice::<Value>(&body) {
                Ok(value) => digests(&value, &mut |digest| {
                    let folder = crate::folder_name(&tenant);
                    wanted.entry((folder, digest.to_owned())).or_default().insert(what.clone());
                }),
                Err(error) => report.flaw("row", what.as_str(), format!("it can't be read: {error}")),
            }
        }
        Ok(())
    };
    if let Err(error) = read() {
        let detail = format!("it can't be read: {error}");
        report.found(Flaw { kind: "file", what: ROWS.into(), detail, place: Some(Place::Rows) });
    }
    wanted
}

fn sum(tenant: &str, kind: &str, name: &str, body: &[u8]) -> i64 {
    // A kind is a word of the program's; the few that a directory has may stay in memory.
    thread_local! { static KINDS: std::cell::RefCell<BTreeSet<&'static str>> = const { std::cell::RefCell::new(BTreeSet::new()) }; }
    let kind = KINDS.with_borrow_mut(|kinds| match kinds.get(kind) {
        Some(known) => *known,
        None => {
            let kept: &'static str = Box::leak(kind.to_owned().into_boxed_str());
            kinds.insert(kept);
            kept
        }
    });
    i64::from(rows::checksum(&Key { tenant: TenantId::new(tenant), kind, name: name.into() }, body))
}

/// The digests of packages in a row: the member `digest` of an object that says what was unpacked.
fn digests(value: &Value, found: &mut impl FnMut(&str)) {
    match value {
        Value::Object(map) => {
            if let Some(digest) = map.get("Unpacked").and_then(|p| p["digest"].as_str()) {
                found(digest);
            }
            map.values().for_each(|v| digests(v, found));
        }
        Value::Array(all) => all.iter().for_each(|v| digests(v, found)),
        _ => {}
    }
}

fn pragma(connection: &rusqlite::Connection) -> rusqlite::Result<Vec<String>> {
    let mut check = connection.prepare("PRAGMA integrity_check(20)")?;
    let lines = check.query_map([], |r| r.get::<_, String>(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(lines.into_iter().filter(|l| l != "ok").collect())
}

fn all_packages(dir: &Path, content: &Content, wanted: &Wanted, report: &mut Report) -> Result<(), Error> {
    let folder = dir.join(PACKAGES);
    let there = if folder.exists() { directory::two_levels(&folder)? } else { Vec::new() };
    let mut have = BTreeSet::new();
    for (tenant, digest, place) in there {
        report.packages += 1;
        let what = format!("{tenant}/{digest}");
        let found = content.as_ref().map(|seal| digest_of(seal, &tenant, &digest, &place));
        have.insert((tenant, digest.clone()));
        let Some(found) = found else { continue };
        match found {
            Ok(found) if found == digest => {
                if let Some(detail) = packages::code_flaw(&place).filter(|_| place.exists()) {
                    report.found(Flaw { kind: "code", what, detail, place: Some(Place::Code(place)) });
                }
            }
            Ok(found) => {
                let detail = format!("its archive is not what was deployed: its SHA-256 is {found}");
                report.found(Flaw { kind: "package", what, detail, place: Some(Place::Package(place)) });
            }
            // Collected between the look and the hand.
            Err(_) if !place.exists() => {}
            Err(error) => {
                let detail = format!("its archive can't be read: {error}");
                report.found(Flaw { kind: "package", what, detail, place: Some(Place::Package(place)) });
            }
        }
    }
    for ((tenant, digest), by) in wanted.iter().filter(|(at, _)| !have.contains(*at)) {
        let by = by.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
        report.flaw("reference", format!("{tenant}/{digest}"), format!("there is no such package, and it is needed by {by}"));
    }
    Ok(())
}

/// The digest of a package's archive as it came.
fn digest_of(seal: &Arc<Seal>, tenant: &str, digest: &str, place: &Path) -> io::Result<String> {
    let mut archive: Box<dyn Read> = match directory::open_private(&place.join(SEALED)) {
        Ok(file) => Box::new(Opened::new(seal.clone(), file, tenant, &format!("{tenant}/{digest}"))?),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Box::new(directory::open_private(&place.join(ARCHIVE))?),
        Err(e) => return Err(e),
    };
    let (mut sum, mut piece) = (Context::new(&SHA256), vec![0; 1 << 16]);
    loop {
        match archive.read(&mut piece)? {
            0 => return Ok(hex(sum.finish().as_ref())),
            n => sum.update(&piece[..n]),
        }
    }
}

/// How far the index has followed the log, when it can be read.
fn index(dir: &Path, content: &Content, report: &mut Report) -> Option<(u32, u64)> {
    let path = dir.join(QUEUE).join(EVENTS);
    if !path.exists() {
        return None;
    }
    let mut read = || -> rusqlite::Result<(u32, u64)> {
        let connection = look_into(&path)?;
        for detail in pragma(&connection)? {
            report.found(Flaw { kind: "file", what: format!("{QUEUE}/{EVENTS}"), detail, place: Some(Place::Events) });
        }
        let followed =
            connection.query_row("SELECT segment, offset FROM followed", [], |r| Ok((r.get(0)?, rows::number(r, 1)?)))?;
        // Those that can still be run: of the others nothing but their end is kept.
        let mut statement = connection.prepare(
            "SELECT id, bytes, crc, body, tenant FROM events JOIN lanes ON lanes.lane = events.lane WHERE state IN (0, 2)",
        )?;
        let mut found = statement.query([])?;
        while let Some(row) = found.next()? {
            let Ok(id) = uuid::Uuid::from_slice(row.get_ref(0)?.as_blob()?) else {
                report.flaw("event", "an event", "its id is none");
                continue;
            };
            report.events += 1;
            let (bytes, crc): (u64, i64) = (rows::number(row, 1)?, row.get(2)?);
            let here: Option<Vec<u8>> = row.get(3)?;
            let body = match here {
                Some(body) => Ok(body),
                None => queue::read_body(&dir.join(QUEUE).join(BODIES).join(id.to_string()), bytes).map(|b| b.to_vec()),
            };
            // The checksum is over what lies there, the length is that of what was accepted.
            let stored = body.map(|body| (i64::from(queue::body_sum(InvocationId(id), &body)) == crc).then_some(body));
            match stored {
                Ok(Some(stored)) => {
                    let Some(seal) = content else { continue };
                    let (tenant, name): (String, String) = (row.get(4)?, id.to_string());
                    match seal.open_text(Label { tenant: &tenant, kind: "event", name: &name }, &stored) {
                        Ok(body) if body.len() as u64 == bytes => {}
                        Ok(_) => report.flaw("event", name, "its body is not what was accepted"),
                        Err(why) => report.flaw("event", name, format!("its body can't be opened: {why}")),
                    }
                }
                Ok(None) => report.flaw("event", id.to_string(), "its body is not what was accepted"),
                // It ended between the look and the hand, and its body went with it.
                Err(error) if error.kind() == io::ErrorKind::NotFound && has_ended(&path, id)? => {}
                Err(error) => report.flaw("event", id.to_string(), format!("its body can't be read: {error}")),
            }
        }
        Ok(followed)
    };
    match read() {
        Ok(followed) => Some(followed),
        Err(error) => {
            let detail = format!("it can't be read: {error}");
            report.found(Flaw { kind: "file", what: format!("{QUEUE}/{EVENTS}"), detail, place: Some(Place::Events) });
            None
        }
    }
}

/// As the index says now, whatever it said when the reading began.
fn has_ended(index: &Path, id: uuid::Uuid) -> rusqlite::Result<bool> {
    let waits = "SELECT EXISTS (SELECT 1 FROM events WHERE id = ? AND state IN (0, 2))";
    look_into(index)?.query_row(waits, [&id.as_bytes()[..]], |r| r.get::<_, bool>(0)).map(|waits| !waits)
}

fn log(dir: &Path, followed: Option<(u32, u64)>, report: &mut Report) -> Result<(), Error> {
    for (name, path) in files(&dir.join(QUEUE))? {
        let Some(number) = name.strip_suffix(".seg").and_then(|n| n.parse::<u32>().ok()) else { continue };
        let mut read = segment(&path, number, followed);
        if read.as_ref().is_ok_and(|(flaws, _)| !flaws.is_empty()) {
            std::thread::sleep(SETTLES_WITHIN);
            read = segment(&path, number, followed);
        }
        match read {
            Ok((flaws, records)) => {
                report.records += records;
                flaws.into_iter().for_each(|detail| report.flaw("queue", format!("{QUEUE}/{name}"), detail));
            }
            // Followed to its end, and gone.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => report.flaw("queue", format!("{QUEUE}/{name}"), format!("it can't be read: {error}")),
        }
    }
    Ok(())
}

/// What is wrong with a segment, and how many records it has.
fn segment(path: &Path, number: u32, followed: Option<(u32, u64)>) -> std::io::Result<(Vec<String>, u64)> {
    let bytes = segments::read(path)?;
    let (mut flaws, mut records) = (Vec::new(), 0);
    for found in segments::scan(&bytes) {
        match found {
            segments::Found::Record { offset, bytes } => {
                records += 1;
                if !queue::legible(bytes) {
                    flaws.push(format!("at {offset}: an entry that this version can't read"));
                }
            }
            segments::Found::Damage { offset, length } => flaws.push(format!("at {offset}: {length} bytes are damaged")),
            segments::Found::Torn { offset: 0 } => flaws.push("it is no segment of a log".into()),
            segments::Found::Torn { offset } => {
                // What was never written is zeroes; what was being written when the power went was never acknowledged.
                let rest = bytes.get(offset as usize..).unwrap_or_default();
                let was_read = followed.is_some_and(|(s, o)| s == number && u64::from(offset) < o && o < bytes.len() as u64);
                if was_read && rest.iter().any(|b| *b != 0) {
                    flaws.push(format!("at {offset}: what was read from it before is damaged"));
                }
            }
        }
    }
    Ok((flaws, records))
}

/// A secret that others can read is none; one that is empty, or can't be opened, keeps the platform from starting.
fn secrets(dir: &Path, content: &Content, report: &mut Report) -> Result<(), Error> {
    use std::os::unix::fs::MetadataExt;
    for (name, path) in files(&dir.join("secrets"))?.into_iter().filter(|(name, _)| !name.starts_with('.')) {
        let what = format!("secrets/{name}");
        let place = Some(Place::File(path.clone()));
        match path.symlink_metadata() {
            Ok(meta) if meta.len() == 0 => report.found(Flaw { kind: "file", what, detail: "it is empty".into(), place }),
            Ok(meta) if meta.mode() & 0o077 != 0 => {
                report.flaw("file", what, format!("others may read it (mode {:04o})", meta.mode() & 0o7777));
            }
            Ok(_) => {
                let Some(seal) = content else { continue };
                if let Err(detail) = directory::secret_flaw(&path, &name, seal) {
                    report.found(Flaw { kind: "file", what, detail, place });
                }
            }
            Err(error) => report.flaw("file", what, error.to_string()),
        }
    }
    Ok(())
}
