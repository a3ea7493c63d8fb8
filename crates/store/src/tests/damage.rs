//! Files that are not what was written: parsers that meet anything, code that was changed where it lies, files that are missing.

use super::{
    zips::{Item, zip},
    *,
};
use crate::{Error, care, segments};
use model::{
    Expect, Key, Write,
    ports::{Packages, Resources, Sources},
    sandbox::Mount,
};
use std::fs;

const KIND: &str = "things";
const ROUNDS: usize = 3000;

/// The same numbers in every run (xorshift64, Marsaglia 2003).
struct Seeded(u64);

impl Seeded {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below.max(1) as u64) as usize
    }
}

fn bent(seed: &mut Seeded, whole: &[u8]) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    for _ in 0..=seed.next(4) {
        let at = seed.next(bytes.len());
        match seed.next(4) {
            0 => bytes.truncate(at),
            1 if !bytes.is_empty() => bytes[at] ^= 1 << seed.next(8),
            2 => bytes.iter_mut().skip(at).take(40).for_each(|b| *b = 0),
            _ => bytes.insert(at.min(bytes.len()), seed.next(256) as u8),
        }
    }
    bytes
}

// F18
#[test]
fn segments_bent_in_any_way_give_whole_records_or_none() {
    let (salt, mut whole) = segments::preamble();
    let records: Vec<Vec<u8>> = (0..40_u8).map(|n| vec![n; 3 + usize::from(n)]).collect();
    for record in &records {
        segments::frame(&mut whole, salt, |out| out.extend_from_slice(record));
    }
    let mut seed = Seeded(0x6d79_6e61);
    for _ in 0..ROUNDS {
        let bytes = bent(&mut seed, &whole);
        for found in segments::scan(&bytes) {
            if let segments::Found::Record { bytes, .. } = found {
                assert!(records.iter().any(|record| record == bytes), "{bytes:?} was never written");
            }
        }
        drop(segments::flaws(&bytes));
    }
}

fn open_sealed(path: &std::path::Path) -> Result<Arc<Store>, Error> {
    let key = path.with_extension("key");
    let options = Options { seal: crate::seal::Source::File(key), ..Options::default() };
    Store::open(path, options, Hand::new())
}

// F17
#[test]
fn code_that_was_changed_where_it_lies_is_made_again_before_it_is_mounted() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("state");
    let store = open(&path);
    let archive = zip(&[Item::stored("lib/a.py", "right"), Item::stored("b.py", "right")]);
    let package = wait(store.packages().put_zip(&tenant(), archive.into())).unwrap();
    let mounts = [Mount { source: package.path().to_owned(), target: "/var/task".into() }];
    assert!(store.packages().check(&mounts).is_none(), "what this process unpacked is known");
    drop(store);
    fs::write(package.path().join("b.py"), "wrong").unwrap();
    let store = open(&path);
    assert_eq!(store.damaged(), Vec::<String>::new());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(store.packages().check(&mounts).expect("not looked at in this life")).unwrap();
    assert_eq!(fs::read(package.path().join("b.py")).unwrap(), b"right");
    let damaged = store.damaged();
    assert!(damaged.len() == 1 && damaged[0].contains(package.digest()) && damaged[0].contains("made again"), "{damaged:?}");
    assert!(store.packages().check(&mounts).is_none(), "looked at once");
    // Where the archive is damaged as well, nothing of it runs.
    drop(store);
    fs::write(package.path().join("b.py"), "wrong").unwrap();
    fs::write(package.path().parent().unwrap().join("archive.zip"), "bent").unwrap();
    let store = open(&path);
    let refused = runtime.block_on(store.packages().check(&mounts).expect("not looked at in this life"));
    assert!(refused.is_err_and(|fault| fault.message.contains(package.digest())));
}

// F17, F18
#[test]
fn what_is_missing_beside_the_rest_is_refused_by_name_and_repaired() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("state");
    let store = open_sealed(&path).unwrap();
    let archive = zip(&[Item::stored("a", "x")]);
    wait(store.packages().put_zip(&tenant(), archive.into())).unwrap();
    let row = |name: &str| Key::new(&tenant(), KIND, name);
    let put = |name: &str| Write::Put { key: row(name), body: "{}".into(), expect: Expect::Any };
    wait(store.resources().commit(vec![put("a"), put("b")])).unwrap();
    drop(store);
    let away = home.path().join("away");
    for name in ["FORMAT", "rows.db", "keys"] {
        fs::rename(path.join(name), &away).unwrap();
        let refused = open_sealed(&path).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(refused.contains(&format!("{name} is damaged")) && refused.contains("missing"), "{name}: {refused}");
        assert!(!path.join(name).exists(), "{name}: nothing was changed");
        fs::rename(&away, path.join(name)).unwrap();
    }
    for name in ["rows.db", "queue/events.db"] {
        let whole = fs::read(path.join(name)).unwrap();
        fs::write(path.join(name), vec![0; whole.len()]).unwrap();
        let refused = open_sealed(&path).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(refused.contains(&format!("{name} is damaged")) && refused.contains("no database"), "{name}: {refused}");
        fs::write(path.join(name), whole).unwrap();
    }
    let key = crate::seal::Source::File(path.with_extension("key"));
    fs::remove_file(path.join("FORMAT")).unwrap();
    let repaired = care::repair(&path, &key, false, true).unwrap();
    assert!(repaired.left.is_empty() && repaired.steps.len() == 1, "{repaired:?}");
    let store = open_sealed(&path).unwrap();
    assert!(Resources::get(&**store.resources(), &row("b")).is_some());
}

/// Every file below a folder, with its bytes, but for what opening a directory makes anew.
fn held(folder: &std::path::Path) -> std::collections::BTreeMap<std::path::PathBuf, Vec<u8>> {
    let mut found = std::collections::BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(held(&entry.path())),
            false => drop(found.insert(entry.path(), fs::read(entry.path()).unwrap())),
        }
    }
    found
}

// F17
#[test]
fn without_its_keys_a_sealed_directory_is_not_judged_and_nothing_of_it_is_moved() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("state");
    let store = open_sealed(&path).unwrap();
    let package = wait(store.packages().put_zip(&tenant(), zip(&[Item::stored("a", "x")]).into())).unwrap();
    store.directory().secret("access-key", || b"{}".to_vec()).unwrap();
    let put = Write::Put { key: Key::new(&tenant(), KIND, "a"), body: "{}".into(), expect: Expect::Any };
    wait(store.resources().commit(vec![put])).unwrap();
    drop(store);
    let key = crate::seal::Source::File(path.with_extension("key"));
    let away = home.path().join("away");
    fs::rename(path.join("keys"), &away).unwrap();
    // A secret whose damage would be mended otherwise stays too; so does everything where only an archive shows the seal.
    fs::write(path.join("secrets/empty"), "").unwrap();
    let secret = path.join("secrets/access-key");
    for archive_only in [false, true] {
        if archive_only {
            fs::rename(&secret, home.path().join("secret")).unwrap();
        }
        let report = care::verify(&path, &key).unwrap();
        let keys: Vec<_> = report.flaws.iter().filter(|flaw| flaw.what == "keys").map(|flaw| &*flaw.detail).collect();
        assert_eq!(keys, ["it is missing, and things here are sealed by a key in it; restore it from a backup"]);
        assert!(report.flaws.iter().all(|flaw| flaw.what == "keys" || flaw.what == "secrets/empty"), "{:?}", report.flaws);
        let before = held(&path);
        let repaired = care::repair(&path, &key, false, true).unwrap();
        assert!(repaired.steps.is_empty() && repaired.left.len() == report.flaws.len(), "{repaired:?}");
        assert!(repaired.left[0].starts_with("keys: it is missing") && !path.join("damaged").exists(), "{repaired:?}");
        assert_eq!(held(&path), before);
        if archive_only {
            fs::rename(home.path().join("secret"), &secret).unwrap();
        }
    }
    // With the keys back there is one flaw, and all else is whole; what is taken out keeps its owner's name.
    fs::rename(&away, path.join("keys")).unwrap();
    let sealed = package.path().parent().unwrap().join("archive.sealed");
    let mut bytes = fs::read(&sealed).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&sealed, bytes).unwrap();
    let repaired = care::repair(&path, &key, false, true).unwrap();
    assert!(repaired.steps.len() == 2 && repaired.left.is_empty(), "{repaired:?}");
    let own = format!("{}/{}", tenant(), package.digest());
    let shelves = fs::read_dir(path.join("damaged")).unwrap().map(|e| e.unwrap().path());
    assert_eq!(shelves.filter(|shelf| shelf.join(&own).join("archive.sealed").exists()).count(), 1);
}

// F18
#[test]
fn code_of_a_row_that_a_repair_took_out_stays_while_the_shelf_holds_the_row() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("state");
    let store = open(&path);
    let package = wait(store.packages().put_zip(&tenant(), zip(&[Item::stored("a", "x")]).into())).unwrap();
    let body = format!("{{\"digest\":\"{}\"}}", package.digest());
    let put = Write::Put { key: Key::new(&tenant(), KIND, "a"), body: body.into(), expect: Expect::Any };
    wait(store.resources().commit(vec![put])).unwrap();
    drop(store);
    let rows = rusqlite::Connection::open(path.join("rows.db")).unwrap();
    rows.execute("UPDATE rows SET crc = crc + 1 WHERE kind = ?", [KIND]).unwrap();
    drop(rows);
    let key = crate::seal::Source::File(path.with_extension("key"));
    assert_eq!(care::repair(&path, &key, false, true).unwrap().steps.len(), 1);
    let cleaned = || {
        let options = Options {
            packages: crate::options::PackageLimits { unreferenced_for: Duration::ZERO, ..Default::default() },
            ..Options::default()
        };
        let store = Store::open(&path, options, Hand::new()).unwrap();
        store.maintain(&std::collections::HashSet::new(), &|| ()).unwrap().packages.packages
    };
    assert_eq!(cleaned(), 0);
    let notes = care::verify(&path, &key).unwrap().notes;
    assert!(notes.iter().any(|note| note.starts_with("damaged: ") && note.contains("no code is collected")), "{notes:?}");
    fs::rename(path.join("damaged"), home.path().join("away")).unwrap();
    assert_eq!(cleaned(), 1);
    assert!(care::verify(&path, &key).unwrap().notes.is_empty());
}
