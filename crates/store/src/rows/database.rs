//! The SQLite file: its tables, their migrations, and the two things done with rows: load them all, write some.

use crate::{
    Error, directory,
    seal::{Label, Seal},
};
use bytes::Bytes;
use model::{Key, Resource, TenantId};
use rusqlite::{Connection, params};
use std::{
    collections::HashMap,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// Entry n leads from format n to n + 1. An entry is never changed once it was released.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE rows (
        tenant TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL,
        revision INTEGER NOT NULL, created_ms INTEGER NOT NULL, modified_ms INTEGER NOT NULL,
        body BLOB NOT NULL, crc INTEGER NOT NULL,
        PRIMARY KEY (tenant, kind, name)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE usage (
        tenant TEXT NOT NULL, function TEXT NOT NULL, hour INTEGER NOT NULL,
        invocations INTEGER NOT NULL, errors INTEGER NOT NULL, cold_starts INTEGER NOT NULL,
        billed_ms INTEGER NOT NULL, gb_seconds REAL NOT NULL, memory_max_bytes INTEGER NOT NULL,
        PRIMARY KEY (tenant, hour, function)
    ) STRICT, WITHOUT ROWID;
",
    // Bodies may be sealed from here on, which an older build would take for damage.
    "",
];
const _: () =
    assert!(MIGRATIONS.len() == directory::FORMAT as usize, "a format number is the number of migrations that led to it");

/// Where `user_version` stands in the file's header (SQLite, Database File Format, section 1.3).
const USER_VERSION_AT: usize = 60;

/// How long another process is waited for that has the file locked.
const BUSY: Duration = Duration::from_secs(5);

pub(crate) struct Database {
    pub(crate) connection: Connection,
    path: PathBuf,
    seal: Arc<Seal>,
    /// The file and its -wal, as they were opened.
    files: [Option<(u64, u64)>; 2],
}

/// What makes an empty database of this build's format.
pub(crate) fn schema() -> String {
    format!("{}\nPRAGMA user_version = {};", MIGRATIONS.concat(), MIGRATIONS.len())
}

pub(crate) struct Loaded {
    pub(crate) rows: Vec<Resource>,
    pub(crate) revision: u64,
    /// Rows that were not loaded because they are not what was written, named.
    pub(crate) damaged: Vec<String>,
    /// What lies there otherwise than it should: plain, or sealed by an older key.
    stale: Vec<Key>,
}

impl Database {
    pub(crate) fn open(folder: &Path, seal: Arc<Seal>) -> Result<(Database, Loaded), Error> {
        let path = folder.join("rows.db");
        refuse_newer(&path)?;
        let connection = connect(&path).map_err(|e| damage(&path, e))?;
        let mut database = Database { connection, path, seal, files: [None, None] };
        let loaded = database.sound().and_then(|()| database.migrate()).and_then(|()| database.load());
        let loaded = loaded.map_err(|e| damage(&database.path, e))?;
        let version: u32 =
            database.connection.query_row("PRAGMA user_version", [], |r| r.get(0)).map_err(|e| damage(&database.path, e))?;
        directory::newer(&database.path, version)?;
        database.seal_again(&loaded).map_err(|e| damage(&database.path, e))?;
        database.files = database.identities();
        Ok((database, loaded))
    }

    /// Whether what is written still goes to the files that the next start will read: SQLite writes on to a file that was removed
    /// or replaced, and says that it succeeded.
    pub(crate) fn in_place(&self) -> bool {
        self.files.iter().zip(self.identities()).all(|(was, is)| was.is_none() || *was == is)
    }

    fn identities(&self) -> [Option<(u64, u64)>; 2] {
        use std::os::unix::fs::MetadataExt;
        let of = |path: &Path| std::fs::symlink_metadata(path).ok().map(|m| (m.dev(), m.ino()));
        [of(&self.path), of(&self.path.with_extension("db-wal"))]
    }

    /// A second connection, for reading beside the writer.
    pub(crate) fn reader(folder: &Path) -> Result<Connection, Error> {
        let path = folder.join("rows.db");
        connect(&path).map_err(|e| damage(&path, e))
    }

    /// Rows that a damaged page hides would not be missed: the pages are looked through, which reading them all does anyway.
    fn sound(&self) -> rusqlite::Result<()> {
        let said: String = self.connection.query_row("PRAGMA quick_check(1)", [], |r| r.get(0))?;
        match said.as_str() {
            "ok" => Ok(()),
            _ => Err(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT), Some(said))),
        }
    }

    /// Have the file itself hold everything, so that nothing hangs on the log of changes beside it. `false` where a reader was in the
    /// way; nobody waits for one.
    pub(crate) fn checkpoint(&self) -> rusqlite::Result<bool> {
        self.connection.busy_timeout(Duration::ZERO)?;
        let done = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |r| r.get::<_, i64>(0));
        self.connection.busy_timeout(BUSY)?;
        done.map(|busy| busy == 0)
    }

    fn migrate(&mut self) -> rusqlite::Result<()> {
        let version: u32 = self.connection.query_row("PRAGMA user_version", [], |r| r.get(0))?;
        for (at, step) in MIGRATIONS.iter().enumerate().skip(version as usize) {
            let transaction = self.connection.transaction()?;
            transaction.execute_batch(step)?;
            transaction.pragma_update(None, "user_version", at as u32 + 1)?;
            transaction.commit()?;
        }
        Ok(())
    }

    fn load(&self) -> rusqlite::Result<Loaded> {
        let mut kinds = Kinds::default();
        let (mut rows, mut damaged, mut stale) = (Vec::new(), Vec::new(), Vec::new());
        let mut statement =
            self.connection.prepare("SELECT tenant, kind, name, revision, created_ms, modified_ms, body, crc FROM rows")?;
        let mut found = statement.query([])?;
        while let Some(row) = found.next()? {
            let kind = kinds.get(row.get_ref(1)?.as_str()?);
            let key = Key { tenant: TenantId::new(row.get_ref(0)?.as_str()?), kind, name: Arc::from(row.get_ref(2)?.as_str()?) };
            let body = row.get_ref(6)?.as_blob()?;
            if i64::from(checksum(&key, body)) != row.get::<_, i64>(7)? {
                damaged.push(format!("row {} {:?} of {}: its checksum is wrong", key.kind, key.name, key.tenant));
                continue;
            }
            let label = label(&key);
            if self.seal.stale(label.tenant, body) {
                stale.push(key.clone());
            }
            let body = match self.seal.open_text(label, body) {
                Ok(body) => Bytes::from(body),
                Err(why) => {
                    damaged.push(format!("row {} {:?} of {}: {why}", key.kind, key.name, key.tenant));
                    continue;
                }
            };
            rows.push(Resource {
                key,
                revision: number(row, 3)?,
                body,
                created_ms: number(row, 4)?,
                modified_ms: number(row, 5)?,
            });
        }
        let counted: Option<i64> =
            self.connection.query_row("SELECT max(value) FROM counters WHERE name = 'revision'", [], |r| r.get(0))?;
        let highest = rows.iter().map(|r| r.revision).max().unwrap_or(0);
        Ok(Loaded { rows, revision: highest.max(counted.unwrap_or(0) as u64), damaged, stale })
    }

    /// Seal what lies there otherwise than it should. All of it or nothing, and no copy of what was there stays in the file.
    fn seal_again(&mut self, loaded: &Loaded) -> rusqlite::Result<()> {
        if !self.seal.pending() {
            return Ok(());
        }
        self.connection.pragma_update(None, "secure_delete", true)?;
        let rows: HashMap<&Key, &Resource> = loaded.rows.iter().map(|row| (&row.key, row)).collect();
        let transaction = self.connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        {
            let text = "UPDATE rows SET body = ?, crc = ? WHERE tenant = ? AND kind = ? AND name = ?";
            let mut update = transaction.prepare(text)?;
            for row in loaded.stale.iter().filter_map(|key| rows.get(key)) {
                let key = &row.key;
                let body = sealed(&self.seal, row)?;
                update.execute(params![&body[..], checksum(key, &body), key.tenant.as_str(), key.kind, &*key.name])?;
            }
        }
        transaction.commit()?;
        self.connection.execute_batch("VACUUM")?;
        self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
    }

    /// Make all of the changes, or none; on success they are on stable storage.
    pub(crate) fn write<'a>(
        &mut self,
        changes: impl IntoIterator<Item = (&'a Key, &'a Option<Resource>)>,
        revision: u64,
    ) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        {
            let mut put = transaction.prepare_cached(
                "INSERT INTO rows (tenant, kind, name, revision, created_ms, modified_ms, body, crc) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
                 ON CONFLICT DO UPDATE SET revision = excluded.revision, created_ms = excluded.created_ms,
                 modified_ms = excluded.modified_ms, body = excluded.body, crc = excluded.crc",
            )?;
            let mut delete = transaction.prepare_cached("DELETE FROM rows WHERE tenant = ? AND kind = ? AND name = ?")?;
            for (key, row) in changes {
                let (tenant, name) = (key.tenant.as_str(), &*key.name);
                match row {
                    Some(r) => {
                        let times = (r.created_ms as i64, r.modified_ms as i64);
                        let body = sealed(&self.seal, r)?;
                        let crc = checksum(key, &body);
                        put.execute(params![tenant, key.kind, name, r.revision as i64, times.0, times.1, &body[..], crc])?
                    }
                    None => delete.execute(params![tenant, key.kind, name])?,
                };
            }
            let mut count = transaction.prepare_cached("INSERT OR REPLACE INTO counters (name, value) VALUES ('revision', ?)")?;
            count.execute([revision as i64])?;
        }
        transaction.commit()
    }
}

fn label(key: &Key) -> Label<'_> {
    Label { tenant: key.tenant.as_str(), kind: key.kind, name: &key.name }
}

fn sealed(seal: &Seal, row: &Resource) -> rusqlite::Result<Vec<u8>> {
    seal.seal(label(&row.key), &row.body).map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    use rusqlite::OpenFlags;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "trusted_schema", false)?;
    Ok(connection)
}

/// A number that was stored from a `u64`; every value that we store fits.
pub(crate) fn number(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(column)? as u64)
}

/// Covers the name too, so that a body under another row's name is noticed.
pub(crate) fn checksum(key: &Key, body: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    for part in [key.tenant.as_str().as_bytes(), key.kind.as_bytes(), key.name.as_bytes(), body] {
        crc.update(&(part.len() as u64).to_le_bytes());
        crc.update(part);
    }
    crc.finalize()
}

/// Looks at the header alone, so that a file of a newer version is not even opened by SQLite.
fn refuse_newer(path: &Path) -> Result<(), Error> {
    let mut header = [0; USER_VERSION_AT + 4];
    let read = directory::open_private(path).and_then(|mut file| file.read_exact(&mut header));
    if read.is_err() {
        // Too short to have a header, or not there yet: SQLite says what it makes of it.
        return Ok(());
    }
    directory::newer(path, u32::from_be_bytes(header[USER_VERSION_AT..].try_into().expect("four bytes")))
}

fn damage(path: &Path, error: rusqlite::Error) -> Error {
    Error::damaged(path, error, "restore it from a backup, or let myna repair --dry-run say what can be read of it")
}

/// Kinds are words of the program's own and live as long as it; those found in a file are kept once each.
#[derive(Default)]
struct Kinds(HashMap<String, &'static str>);

impl Kinds {
    fn get(&mut self, kind: &str) -> &'static str {
        if let Some(known) = self.0.get(kind) {
            return known;
        }
        let kept: &'static str = Box::leak(kind.to_owned().into_boxed_str());
        self.0.insert(kind.to_owned(), kept);
        kept
    }
}
