use super::*;
use crate::options::RowLimits;
use model::{
    Cause, Expect, Key, Write,
    ports::{Resources, Rows},
};
use std::{sync::Mutex, time::Instant};

const KIND: &str = "test.row";

fn key(name: &str) -> Key {
    Key::new(&tenant(), KIND, name)
}
fn put(name: &str, body: &str, expect: Expect) -> Write {
    Write::Put { key: key(name), body: bytes::Bytes::copy_from_slice(body.as_bytes()), expect }
}
fn delete(name: &str, expect: Expect) -> Write {
    Write::Delete { key: key(name), expect }
}
fn body(store: &Store, name: &str) -> Option<String> {
    let row = Resources::get(&**store.resources(), &key(name))?;
    Some(String::from_utf8(row.body.to_vec()).unwrap())
}
fn commit(store: &Store, writes: Vec<Write>) -> Result<u64, Fault> {
    wait(store.resources().commit(writes))
}

#[test]
fn a_commit_is_all_or_nothing_and_outlives_the_platform() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("state");
    let store = open(&path);
    let first = commit(&store, vec![put("a", "1", Expect::Absent), put("b", "1", Expect::Absent)]).unwrap();
    let fault = commit(&store, vec![put("a", "2", Expect::Revision(first)), put("b", "2", Expect::Absent)]).unwrap_err();
    assert_eq!((fault.cause, fault.detail.as_deref()), (Cause::Stale, Some("b")));
    assert_eq!((body(&store, "a"), body(&store, "b")), (Some("1".into()), Some("1".into())));
    let second = commit(&store, vec![put("a", "2", Expect::Revision(first)), delete("b", Expect::Revision(first))]).unwrap();
    assert!(second > first);
    // The highest revision's row is deleted: its number must not come back.
    let third = commit(&store, vec![delete("a", Expect::Revision(second))]).unwrap();
    drop(store);
    let store = open(&path);
    assert_eq!((body(&store, "a"), body(&store, "b")), (None, None));
    assert!(commit(&store, vec![put("a", "3", Expect::Absent)]).unwrap() > third);
}

#[test]
fn rows_are_listed_in_order_by_prefix_and_page() {
    let home = tempfile::tempdir().unwrap();
    let store = open(&home.path().join("state"));
    let names = ["a", "a/1", "a/2", "a/3", "b", "é"];
    commit(&store, names.iter().map(|n| put(n, n, Expect::Any)).collect()).unwrap();
    let other = Write::Put { key: Key::new(&"other".into(), KIND, "a/2x"), body: "x".into(), expect: Expect::Any };
    commit(&store, vec![other]).unwrap();
    let list = |prefix: &str, after: &str, limit| {
        let rows = Resources::list(&**store.resources(), &tenant(), KIND, prefix, after, limit);
        rows.iter().map(|r| r.key.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(list("", "", 100), names);
    assert_eq!(list("a/", "", 100), ["a/1", "a/2", "a/3"]);
    assert_eq!(list("a/", "a/1", 1), ["a/2"]);
    assert_eq!(list("", "a/3", 100), ["b", "é"]);
    assert_eq!(list("a/", "b", 100), Vec::<String>::new());
    assert_eq!(list("a", "a", 100), ["a/1", "a/2", "a/3"]);
}

#[test]
fn observers_see_rows_before_the_commit_is_answered() {
    let home = tempfile::tempdir().unwrap();
    let store = open(&home.path().join("state"));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (log, rows) = (seen.clone(), Arc::downgrade(store.resources()));
    store.resources().on_commit(move |keys| {
        let rows = rows.upgrade().unwrap();
        log.lock().unwrap().extend(keys.iter().map(|k| (k.name.to_string(), Rows::get(&*rows, k).is_some())));
    });
    store.resources().on_commit(|keys| assert!(&*keys[0].name != "bad", "an observer's own defect"));
    commit(&store, vec![put("x", "1", Expect::Any), put("bad", "1", Expect::Any)]).unwrap();
    commit(&store, vec![delete("x", Expect::Any)]).unwrap();
    assert_eq!(*seen.lock().unwrap(), [("bad".to_owned(), true), ("x".into(), true), ("x".into(), false)]);
}

/// Many at once on one counter: as many succeed as the counter says, and no two at the same revision.
#[test]
fn commits_that_race_are_one_after_the_other() {
    let home = tempfile::tempdir().unwrap();
    let store = open(&home.path().join("state"));
    commit(&store, vec![put("n", "0", Expect::Absent)]).unwrap();
    let won: u64 = std::thread::scope(|scope| {
        let race = || {
            scope.spawn(|| {
                let one = || {
                    let row = Resources::get(&**store.resources(), &key("n"))?;
                    let next = std::str::from_utf8(&row.body).unwrap().parse::<u64>().unwrap() + 1;
                    commit(&store, vec![put("n", &next.to_string(), Expect::Revision(row.revision))]).ok()
                };
                (0..50).filter(|_| one().is_some()).count() as u64
            })
        };
        let racers: Vec<_> = (0..8).map(|_| race()).collect();
        racers.into_iter().map(|r| r.join().unwrap()).sum()
    });
    assert_eq!(body(&store, "n"), Some(won.to_string()));
    assert!(won >= 50);
}

#[test]
fn a_tenant_has_a_quota() {
    let home = tempfile::tempdir().unwrap();
    let options =
        Options { rows: RowLimits { per_tenant_max: 3, body_bytes_max: 10, ..RowLimits::default() }, ..Options::default() };
    let store = Store::open(&home.path().join("state"), options, Hand::new()).unwrap();
    commit(&store, (0..3).map(|n| put(&n.to_string(), "x", Expect::Any)).collect()).unwrap();
    assert_eq!(cause(commit(&store, vec![put("3", "x", Expect::Any)])), Cause::Exhausted);
    assert_eq!(cause(commit(&store, vec![put("1", "0123456789+", Expect::Any)])), Cause::TooLarge);
    commit(&store, vec![put("1", "changed", Expect::Any)]).unwrap();
    commit(&store, vec![delete("2", Expect::Any), put("3", "x", Expect::Any)]).unwrap();
    let other = Write::Put { key: Key::new(&"other".into(), KIND, "a"), body: "x".into(), expect: Expect::Any };
    commit(&store, vec![other]).unwrap();
}

/// F17: a bit that fell over in a row's body costs that row, named, and no other.
#[test]
fn a_damaged_row_is_named_and_not_served() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("state");
    let store = open(&path);
    commit(&store, vec![put("good", "1", Expect::Any), put("bad", "1", Expect::Any)]).unwrap();
    drop(store);
    let connection = rusqlite::Connection::open(path.join("rows.db")).unwrap();
    connection.execute("UPDATE rows SET body = x'33' WHERE name = 'bad'", []).unwrap();
    drop(connection);
    let store = open(&path);
    assert_eq!((body(&store, "good"), body(&store, "bad")), (Some("1".into()), None));
    assert!(store.damaged().iter().any(|d| d.contains("\"bad\"")), "{:?}", store.damaged());
}

#[test]
fn ten_thousand_rows_open_at_once() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("state");
    let store = open(&path);
    let document = "x".repeat(2000);
    let began = Instant::now();
    for chunk in 0..100 {
        commit(&store, (0..100).map(|n| put(&format!("{chunk}-{n}"), &document, Expect::Absent)).collect()).unwrap();
    }
    let written = began.elapsed();
    drop(store);
    let began = Instant::now();
    let store = open(&path);
    eprintln!("10,000 rows of 2 kB: written in {written:?} (100 commits), opened in {:?}", began.elapsed());
    assert_eq!(store.resources().len(), 10_000);
}

// Written on to a removed file, a change would be acknowledged and gone at the next start.
#[test]
fn nothing_is_acknowledged_once_the_database_was_removed_or_replaced() {
    for file in ["rows.db", "rows.db-wal"] {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("state");
        let store = open(&path);
        commit(&store, vec![put("a", "1", Expect::Any)]).unwrap();
        std::fs::rename(path.join(file), home.path().join("away")).unwrap();
        std::fs::copy(home.path().join("away"), path.join(file)).unwrap();
        let fault = commit(&store, vec![put("b", "2", Expect::Any)]).unwrap_err();
        assert!(fault.cause == Cause::Internal && fault.message.contains("was removed or replaced"), "{file}: {fault}");
        assert_eq!((body(&store, "a").as_deref(), body(&store, "b")), (Some("1"), None));
    }
}
