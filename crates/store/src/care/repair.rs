//! Mending what can be mended without losing anything that is whole. What is taken out is kept in the folder `damaged` of the
//! directory. An event that was acknowledged stays where it is, unless nobody can tell any more whose it is: then it is kept there too,
//! and named.

use super::{
    BODIES, EVENTS, PACKAGES, QUEUE, ROWS,
    examine::{Flaw, Place, verify},
    known, salvage,
};
use crate::{Directory, Error, directory, packages, queue, rows, seal::Source};
use base64::{Engine, prelude::BASE64_STANDARD};
use rusqlite::{Connection, params};
use serde::Serialize;
use serde_json::json;
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, Serialize)]
pub struct Step {
    pub what: String,
    /// What is done, or was.
    pub does: String,
    pub done: bool,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct Repair {
    pub steps: Vec<Step>,
    /// What no step mends, and what its owner can do.
    pub left: Vec<String>,
}

const DAMAGED: &str = directory::SHELF;

/// Say what would mend the directory, and do it unless `dry`. Refused while a platform uses it. `key` as for [`verify`].
pub fn repair(dir: &Path, key: &Source, dry: bool, volatile: bool) -> Result<Repair, Error> {
    let (dir, format) = known(dir)?;
    let mut repair = Repair::default();
    if let (Some((format, detail)), false) = (&format, dry) {
        // Before anything else: a directory without its format is not opened.
        directory::in_use(&dir)?;
        directory::write_whole(&dir.join("FORMAT"), format!("{format}\n").as_bytes())?;
        let what = format!("file FORMAT: {detail}");
        repair.steps.push(Step { what, does: format!("write {format} into it, as {ROWS} says"), done: true });
    }
    // A directory that is looked at is not taken: taking it writes.
    let _held = match dry {
        true => {
            directory::in_use(&dir)?;
            None
        }
        false => Some(Directory::open_damaged(&dir, volatile)?),
    };
    let mut databases = Vec::new();
    let flaws = verify(&dir, key)?.flaws;
    // What can't be opened can't be judged: with the keys back, less may be damaged than it seems.
    let keyless = flaws.iter().any(|flaw| matches!(flaw.place, Some(Place::Keys)));
    for flaw in flaws {
        match &flaw.place {
            Some(Place::Keys) => repair.left.push(format!("{}: {}", flaw.what, flaw.detail)),
            Some(place) if keyless && !matches!(place, Place::Format(_)) => {
                let first = "nothing is taken out while keys is missing; restore that first";
                repair.left.push(format!("{} {}: {}; {first}", flaw.kind, flaw.what, flaw.detail));
            }
            Some(Place::Row { tenant, kind, name }) => {
                let does = format!("take it out of {ROWS}, and keep it in {DAMAGED}");
                repair.step(&flaw, does, dry, || take_row(&dir, tenant, kind, name))?;
            }
            Some(Place::Package(place)) => {
                let does = format!("move it to {DAMAGED}; deploying the same code again puts it back");
                repair.step(&flaw, does, dry, || take_package(&dir, place))?;
            }
            Some(Place::Code(place)) => {
                let does = "have it made again from its archive at the next start".to_owned();
                repair.step(&flaw, does, dry, || packages::forget_code(place).map_err(Error::io("remove the mark of", place)))?;
            }
            Some(Place::File(path)) => {
                let does = format!("move it to {DAMAGED}; {}", replaced(&flaw));
                repair.step(&flaw, does, dry, || take_file(&dir, path))?;
            }
            Some(place @ (Place::Rows | Place::Events)) => {
                let (name, tables, make) = match place {
                    Place::Rows => (ROWS.to_owned(), salvage::ROWS, rows::schema()),
                    _ => (format!("{QUEUE}/{EVENTS}"), salvage::EVENTS, queue::schema()),
                };
                // A page that is damaged is told in many lines.
                if !databases.contains(&name) {
                    let does = format!("put what can be read of it into a new one, and keep it in {DAMAGED}");
                    let mut left = Vec::new();
                    repair.step(&flaw, does, dry, || {
                        left = save(&dir, &name, tables, &make)?;
                        Ok(())
                    })?;
                    repair.left.extend(left);
                    databases.push(name);
                }
            }
            Some(Place::Format(format)) => {
                repair.step(&flaw, format!("write {format} into it, as {ROWS} says"), dry, || Ok(()))?;
            }
            None if flaw.kind == "file" && flaw.detail.starts_with("others may read it") => {
                let does = "make it private; change the secret if somebody read it".to_owned();
                repair.step(&flaw, does, dry, || private(&dir.join(&flaw.what)))?;
            }
            None => repair.left.push(format!("{}: {}; {}", flaw.what, flaw.detail, advice(&flaw))),
        }
    }
    Ok(repair)
}

fn advice(flaw: &Flaw) -> &'static str {
    match flaw.kind {
        "reference" => "deploy the function again, or restore a backup",
        "event" => "it becomes a dead letter when it is tried; a backup may have it whole",
        "log" => "the rest of it is read; retention removes it in time",
        "audit" => "nothing is changed in it: it is there to be believed",
        "queue" => "the next start reads all that is whole in it; a backup may have the rest",
        "row" => "deploy or set it again, or restore a backup",
        _ => "restore a backup",
    }
}

impl Repair {
    fn step(&mut self, flaw: &Flaw, does: String, dry: bool, work: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
        if !dry {
            work()?;
        }
        self.steps.push(Step { what: format!("{} {}: {}", flaw.kind, flaw.what, flaw.detail), does, done: !dry });
        Ok(())
    }
}

fn shelf(dir: &Path) -> Result<PathBuf, Error> {
    let shelf = dir.join(DAMAGED);
    make(&shelf)?;
    Ok(shelf.join(uuid::Uuid::new_v4().to_string()))
}

pub(super) fn make(folder: &Path) -> Result<(), Error> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().mode(0o700).recursive(true).create(folder).map_err(Error::io("create", folder))
}

/// Kept before it goes.
fn take_row(dir: &Path, tenant: &str, kind: &str, name: &str) -> Result<(), Error> {
    let path = dir.join(ROWS);
    let broken = |e: rusqlite::Error| Error::damaged(&path, e, "restore it from a backup");
    let connection = Connection::open(&path).map_err(broken)?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(broken)?;
    let of = params![tenant, kind, name];
    let body: Vec<u8> = connection
        .query_row("SELECT body FROM rows WHERE tenant = ? AND kind = ? AND name = ?", of, |r| r.get(0))
        .map_err(broken)?;
    let kept = json!({ "tenant": tenant, "kind": kind, "name": name, "body_base64": BASE64_STANDARD.encode(body) });
    directory::write_whole(&shelf(dir)?.with_extension("json"), kept.to_string().as_bytes())?;
    connection.execute("DELETE FROM rows WHERE tenant = ? AND kind = ? AND name = ?", of).map_err(broken)?;
    Ok(())
}

fn take_file(dir: &Path, path: &Path) -> Result<(), Error> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let shelf = shelf(dir)?.with_extension(name);
    std::fs::rename(path, &shelf).map_err(Error::io("move", path))?;
    directory::sync_folder(path.parent().unwrap_or(dir)).map_err(Error::io("sync the folder of", path))
}

/// What comes of a file's going.
fn replaced(flaw: &Flaw) -> &'static str {
    match flaw.what.as_str() {
        "secrets/access-key" => "the next start makes another access key: clients need it (myna env)",
        what if what.starts_with("secrets/") => "the next start makes another",
        _ => "what it held is lost",
    }
}

/// A database in a damaged one's place, with all that can be read of that; gives what had to be left out.
fn save(dir: &Path, name: &str, tables: &[salvage::Table], make: &str) -> Result<Vec<String>, Error> {
    let (old, new) = (dir.join(name), dir.join("staging").join(uuid::Uuid::new_v4().to_string()));
    let saved = salvage::salvage(&old, &new, tables, make)?;
    for (table, count) in saved {
        tracing::info!("{count} rows of the table {table} of {name} were saved");
    }
    let left = match name.ends_with(EVENTS) {
        true => salvage::put_aside(&new, &dir.join(QUEUE).join(BODIES), &shelf(dir)?)?,
        false => Vec::new(),
    };
    salvage::exchange(&shelf(dir)?, &old, &new)?;
    Ok(left)
}

fn take_package(dir: &Path, place: &Path) -> Result<(), Error> {
    // Below the same two names, so that whose it was stays known.
    let own = place.strip_prefix(dir.join(PACKAGES)).map_err(|_| Error::refused(place, "it is no package", "leave it there"))?;
    let shelf = shelf(dir)?.join(own);
    if let Some(folder) = shelf.parent() {
        make(folder)?;
    }
    std::fs::rename(place, &shelf).map_err(Error::io("move", place))?;
    directory::sync_folder(place.parent().unwrap_or(dir)).map_err(Error::io("sync the folder of", place))
}

fn private(path: &Path) -> Result<(), Error> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(Error::io("make private", path))
}
