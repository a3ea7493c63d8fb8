//! F13, F23: the disk is full. A small tmpfs stands for it, which takes a mount and so root.

use super::{
    zips::{Item, zip},
    *,
};
use model::{
    Cause, Expect, Key, Write,
    ports::{Journal, LogQuery, Logs, Packages, Resources},
};
use std::{ffi::CString, fs, path::PathBuf};

struct Small {
    path: PathBuf,
    _home: tempfile::TempDir,
}

impl Small {
    fn mount(options: &str) -> Option<Small> {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("disk");
        fs::create_dir(&path).unwrap();
        let options = CString::new(options).unwrap();
        match rustix::mount::mount("none", &path, "tmpfs", rustix::mount::MountFlags::empty(), Some(options.as_c_str())) {
            Ok(()) => Some(Small { path, _home: home }),
            Err(error) => {
                eprintln!("skipped: a small filesystem can't be mounted here: {error}");
                None
            }
        }
    }
}
impl Drop for Small {
    fn drop(&mut self) {
        rustix::mount::unmount(&self.path, rustix::mount::UnmountFlags::DETACH).unwrap();
    }
}

fn row(n: usize, body: &str) -> Write {
    Write::Put { key: Key::new(&tenant(), "test.row", format!("{n:05}")), body: body.to_owned().into(), expect: Expect::Any }
}
fn commit(store: &Store, write: Write) -> Result<u64, Fault> {
    wait(store.resources().commit(vec![write]))
}

#[test]
fn a_full_disk_refuses_what_is_new_and_recovers_by_itself() {
    let Some(disk) = Small::mount("size=12m") else { return };
    let state = disk.path.join("state");
    assert!(
        Store::open(&state, Options::default(), Hand::new()).err().is_some_and(|e| e.to_string().contains("a reboot empties"))
    );
    let options = Options { allow_volatile: true, ..Options::default() };
    let store = Store::open(&state, options.clone(), Hand::new()).unwrap();
    let kept = wait(store.packages().put_zip(&tenant(), zip(&[Item::stored("a", "x")]).into())).unwrap();
    commit(&store, row(0, "first")).unwrap();

    // Something else fills the disk, but for a little.
    let ballast = disk.path.join("ballast");
    fill(&ballast);
    let body = "x".repeat(20_000);
    let mut stored = 1;
    let fault = loop {
        match commit(&store, row(stored, &body)) {
            Ok(_) => stored += 1,
            Err(fault) => break fault,
        }
    };
    assert_eq!((fault.cause, fault.detail.as_deref()), (Cause::Exhausted, Some("disk")), "{fault}");
    let big = zip(&[Item::stored("big", vec![1; 3 << 20])]);
    assert_eq!(cause(wait(store.packages().put_zip(&tenant(), big.clone().into()))), Cause::Exhausted);
    assert_eq!(fs::read_dir(state.join("staging")).unwrap().count(), 0);
    let stream = stream("/g", "s");
    (0..2000).for_each(|n| store.journal().line(text(&stream, n, "y".repeat(2000))));
    let lost = store.stats().log_lines_lost;
    assert!(lost > 0);

    // Reading goes on, and so does deleting, by the room that was held back.
    assert_eq!(store.resources().len(), stored);
    assert!(kept.path().join("a").exists());
    fill(&ballast);
    let delete = Write::Delete { key: Key::new(&tenant(), "test.row", "00000"), expect: Expect::Any };
    commit(&store, delete).unwrap();

    // Space returns, and nothing has to be started again.
    fs::remove_file(&ballast).unwrap();
    commit(&store, row(70_000, "later")).unwrap();
    wait(store.packages().put_zip(&tenant(), big.into())).unwrap();
    store.journal().line(text(&stream, 1, "later"));
    let page = LogQuery {
        tenant: tenant(),
        group: "/g".into(),
        streams: Vec::new(),
        from_ms: 0,
        until_ms: u64::MAX,
        id: None,
        after: None,
        limit: 2,
        backwards: true,
    };
    let last = wait(store.logs().read(page)).unwrap().records;
    assert!(matches!(&last[0].2.line, Line::Platform { text } if text.contains("disk was full")), "{last:?}");
    drop(store);
    let store = Store::open(&state, options, Hand::new()).unwrap();
    assert_eq!(store.resources().len(), stored);
    assert!(store.damaged().is_empty());
}

fn fill(path: &Path) {
    use std::io::Write as _;
    let mut file = fs::File::options().append(true).create(true).open(path).unwrap();
    for size in [64 << 10, 4096] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}

#[test]
fn no_inodes_left_is_a_full_disk_too() {
    let Some(disk) = Small::mount("size=64m,nr_inodes=60") else { return };
    let options = Options { allow_volatile: true, ..Options::default() };
    let store = Store::open(&disk.path.join("state"), options, Hand::new()).unwrap();
    let many = zip(&(0..100).map(|n| Item::stored(n.to_string(), "x")).collect::<Vec<_>>());
    assert_eq!(cause(wait(store.packages().put_zip(&tenant(), many.into()))), Cause::Exhausted);
    wait(store.packages().put_zip(&tenant(), zip(&[Item::stored("a", "x")]).into())).unwrap();
    commit(&store, row(0, "x")).unwrap();
}
