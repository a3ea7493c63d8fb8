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
