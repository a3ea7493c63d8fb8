//! A whole directory, sealed: nothing that was put into it can be read in its files, and it is all there again.

use super::{
    queue::of_f,
    zips::{Item, zip},
    *,
};
use crate::seal::Source;
use model::{
    Expect, Key, Write,
    ports::{Packages, Queue, Resources},
    queue::Lane,
};
use std::{fs, io::Read, path::PathBuf};

const MARKER: &[u8] = b"marker-that-nobody-may-find";
const LARGE: usize = 200_000;

struct Home {
    home: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap() }
    }
    fn state(&self) -> PathBuf {
        self.home.path().join("state")
    }
    fn options(&self, sealed: bool) -> Options {
        let seal = if sealed { Source::Folder(self.home.path().join("config")) } else { Source::Off };
        Options { seal, ..Options::default() }
    }
    fn open(&self, sealed: bool) -> Arc<Store> {
        let store = Store::open(&self.state(), self.options(sealed), Hand::new()).unwrap();
        assert_eq!(store.damaged(), [""; 0]);
        store
    }
    /// Files that have the marker; the unpacked code is only private.
    fn found(&self) -> Vec<String> {
        let all = super::directory::snapshot(&self.state());
        let has = |content: &[u8]| content.windows(MARKER.len()).any(|w| w == MARKER);
        all.into_iter().filter(|(name, _, content)| !name.contains("/code/") && has(content)).map(|(name, ..)| name).collect()
    }
}

fn key() -> Key {
    Key { tenant: tenant(), kind: "function", name: "f".into() }
}

fn archive() -> Vec<u8> {
    zip(&[Item::stored("main.py", std::str::from_utf8(MARKER).unwrap())])
}

fn large() -> Vec<u8> {
    MARKER.iter().copied().cycle().take(LARGE).collect()
}

fn fill(store: &Store) {
    let body = bytes::Bytes::from_static(MARKER);
    wait(store.resources().commit(vec![Write::Put { key: key(), body: body.clone(), expect: Expect::Any }])).unwrap();
    wait(store.packages().put_zip(&tenant(), archive().into())).unwrap();
    for body in [body, large().into()] {
        wait(store.queue().put(of_f(body))).unwrap();
    }
    store.directory().secret("small", || MARKER.to_vec()).unwrap();
}

/// All of it, as it was put.
fn whole(store: &Store) {
    assert_eq!(Resources::get(&**store.resources(), &key()).unwrap().body, MARKER);
    assert_eq!(store.directory().secret("small", || b"another".to_vec()).unwrap(), MARKER);
    let digest = crate::hex(ring::digest::digest(&ring::digest::SHA256, &archive()).as_ref());
    let model::Package::Unpacked { bytes, .. } = store.packages().get(&tenant(), &digest).unwrap();
    assert_eq!(bytes, archive().len() as u64);
    let mut read = Vec::new();
    let link = store.packages().link(&tenant(), &digest).unwrap();
    store.packages().open_link(&link).unwrap().reader.read_to_end(&mut read).unwrap();
    assert_eq!(read, archive());
    let lane = Lane { tenant: tenant(), function: "f".into() };
    let mut taken = Vec::new();
    for _ in 0..500 {
        taken.extend(wait(store.queue().take(&lane, 10)).unwrap().0);
        if taken.len() == 2 {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut bodies: Vec<_> = taken.iter().map(|q| (q.event.body.len(), q.event.body.to_vec())).collect();
    bodies.sort();
    assert!(bodies == [(MARKER.len(), MARKER.to_vec()), (LARGE, large())]);
    for queued in taken {
        let view = wait(store.queue().find(&tenant(), queued.id)).unwrap().unwrap();
        assert_eq!(view.bytes, queued.event.body.len() as u64, "as long as what was accepted");
        store.queue().release(queued.seq);
    }
}

#[test]
fn nothing_that_was_put_is_found_in_a_sealed_directory() {
    let home = Home::new();
    let store = home.open(true);
    fill(&store);
    whole(&store);
    assert_eq!(home.found(), [""; 0], "while it runs");
    drop(store);
    assert_eq!(home.found(), [""; 0], "when it was closed");
    whole(&home.open(true));
    // The marker is what would be found: without sealing it is everywhere.
    let plain = Home::new();
    fill(&plain.open(false));
    assert!(plain.found().len() >= 4, "{:?}", plain.found());
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// What a kill leaves: each part of the directory either as it was or as it becomes, and the keys not yet said to be complete.
fn mixtures(home: &Home, before: &Path, judge: impl Fn(&Home)) {
    let after = home.home.path().join("after");
    copy(&home.state(), &after);
    let parts = ["rows.db", "packages", "queue/events.db", "queue/bodies", "secrets"];
    for mix in 0..1 << parts.len() {
        fs::remove_dir_all(home.state()).unwrap();
        copy(before, &home.state());
        let keys = fs::read_to_string(after.join("keys")).unwrap();
        let keys = keys.replace("\"pending\": false", "\"pending\": true");
        fs::write(home.state().join("keys"), keys).unwrap();
        for (at, part) in parts.iter().enumerate() {
            let (from, to) = (after.join(part), home.state().join(part));
            if mix & 1 << at == 0 {
                continue;
            }
            if from.is_dir() {
                fs::remove_dir_all(&to).unwrap();
                copy(&from, &to);
            } else {
                fs::copy(&from, &to).unwrap();
            }
        }
        // Bodies are sealed before the index says so, never after.
        if mix & 0b01100 != 0b00100 {
            judge(home);
        }
    }
}

#[test]
fn an_older_directory_is_sealed_at_its_start_and_a_kill_at_any_step_of_it_is_made_good() {
    let home = Home::new();
    fill(&home.open(false));
    fs::write(home.state().join("FORMAT"), "1\n").unwrap();
    let before = home.home.path().join("before");
    copy(&home.state(), &before);
    drop(home.open(true));
    assert_eq!(fs::read_to_string(home.state().join("FORMAT")).unwrap().trim(), crate::directory::FORMAT.to_string());
    assert_eq!(home.found(), [""; 0]);
    // The keys of the first try are used by the next, and its mark of completeness was not there yet.
    let keys = home.state().join("keys");
    let text = fs::read_to_string(&keys).unwrap();
    assert!(text.contains("\"complete\": true"));
    fs::write(&keys, text.replace("\"complete\": true", "\"complete\": false")).unwrap();
    mixtures(&home, &before, |home| {
        let store = home.open(true);
        whole(&store);
        assert!(!store.seal().pending());
        drop(store);
        assert_eq!(home.found(), [""; 0]);
    });
}

#[test]
fn a_rotation_renews_everything_and_a_kill_at_any_step_of_it_is_made_good() {
    let home = Home::new();
    let store = home.open(true);
    fill(&store);
    store.seal().rotate().unwrap();
    whole(&store);
    drop(store);
    let before = home.home.path().join("before");
    copy(&home.state(), &before);
    let all_keys = fs::read_to_string(home.state().join("keys")).unwrap();
    let store = home.open(true);
    whole(&store);
    let sealing = store.seal().sealing();
    assert_eq!((sealing.generation, sealing.pending, sealing.keys), (2, false, 2), "the tenant's and the platform's");
    drop(store);
    fs::write(home.state().join("keys"), all_keys).unwrap();
    mixtures(&home, &before, |home| {
        whole(&home.open(true));
        assert_eq!(home.open(true).seal().sealing().keys, 2);
    });
}

#[test]
fn a_row_of_another_place_and_one_that_is_plain_are_not_served() {
    let home = Home::new();
    drop(home.open(true));
    let store = home.open(true);
    let named = |name: &str| Key { name: name.into(), ..key() };
    for name in ["a", "b", "c"] {
        let body = bytes::Bytes::copy_from_slice(name.as_bytes());
        wait(store.resources().commit(vec![Write::Put { key: named(name), body, expect: Expect::Any }])).unwrap();
    }
    drop(store);
    // With checksums that fit: only the seal tells.
    let database = rusqlite::Connection::open(home.state().join("rows.db")).unwrap();
    let body =
        |name: &str| -> Vec<u8> { database.query_row("SELECT body FROM rows WHERE name = ?", [name], |r| r.get(0)).unwrap() };
    let (a, b) = (body("a"), body("b"));
    for (name, body) in [("a", &b[..]), ("b", &a[..]), ("c", b"{}")] {
        let mut crc = crc32fast::Hasher::new();
        for part in [tenant().as_str().as_bytes(), b"function", name.as_bytes(), body] {
            crc.update(&(part.len() as u64).to_le_bytes());
            crc.update(part);
        }
        let values = rusqlite::params![body, crc.finalize(), name];
        database.execute("UPDATE rows SET body = ?, crc = ? WHERE name = ?", values).unwrap();
    }
    drop(database);
    let store = Store::open(&home.state(), home.options(true), Hand::new()).unwrap();
    let damaged = store.damaged().join("; ");
    assert_eq!(damaged.matches("it was changed, or belongs somewhere else").count(), 2, "{damaged}");
    assert_eq!(damaged.matches("it is not sealed, though everything here is").count(), 1, "{damaged}");
    assert!(store.resources().is_empty());
}

/// Which keys sealed the rows and archives that lie in a directory: the numbers in their heads.
fn numbers(home: &Home) -> std::collections::BTreeSet<u32> {
    let number = |sealed: &[u8]| u32::from_le_bytes(sealed[4..8].try_into().unwrap());
    let connection = crate::rows::Database::reader(&home.state()).unwrap();
    let mut rows = connection.prepare("SELECT body FROM rows").unwrap();
    let bodies: Vec<Vec<u8>> = rows.query_map([], |r| r.get(0)).unwrap().map(Result::unwrap).collect();
    let archives = super::directory::snapshot(&home.state()).into_iter().filter(|(name, ..)| name.ends_with("archive.sealed"));
    bodies.iter().map(|b| number(b)).chain(archives.map(|(.., content)| number(&content))).collect()
}

#[test]
fn new_keys_seal_again_while_the_store_is_in_use_and_a_kill_loses_nothing() {
    let home = Home::new();
    let store = home.open(true);
    fill(&store);
    let rows = |text: &str| {
        let put = |n: usize| Write::Put {
            key: Key { tenant: tenant(), kind: "function", name: format!("many-{n:04}").into() },
            body: text.to_owned().into(),
            expect: Expect::Any,
        };
        wait(store.resources().commit((0..300).map(put).collect())).unwrap();
    };
    rows("old");
    let before = numbers(&home);
    assert_eq!(before.len(), 1);
    assert_eq!(store.rotate().unwrap(), 2);
    // Changes go on meanwhile, and a second change of keys counts too.
    rows("new");
    assert_eq!(store.rotate().unwrap(), 3);
    let done = |store: &Store| {
        let (done, of) = store.sealed_again();
        done == of && of > 300 && numbers(&home).len() == 1
    };
    for _ in 0..1000 {
        if done(&store) {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(done(&store), "{:?} of {:?}", store.sealed_again(), numbers(&home));
    assert!(numbers(&home).is_disjoint(&before), "they are under older keys");
    whole(&store);
    assert!(store.seal().pending(), "the older keys go at the next start");
    // Broken off after the next change of keys, wherever it is.
    assert_eq!(store.rotate().unwrap(), 4);
    drop(store);
    let store = home.open(true);
    assert!(!store.seal().pending() && numbers(&home).len() == 1);
    whole(&store);
    let many = Key { tenant: tenant(), kind: "function", name: "many-0299".into() };
    assert_eq!(Resources::get(&**store.resources(), &many).unwrap().body, "new");
}
