use super::*;
use crate::{Directory, Error};
use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, symlink},
};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn refusal(path: &Path) -> String {
    match Directory::open(path, false) {
        Err(error @ (Error::Refused { .. } | Error::Damaged { .. })) => error.to_string(),
        other => panic!("{} should be refused, but: {other:?}", path.display()),
    }
}

#[test]
fn it_is_private_and_never_packed() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("state");
    let store = open(&path);
    assert_eq!(mode(&path), 0o700);
    assert_eq!(fs::read(path.join(".gitignore")).unwrap(), b"*\n");
    let key = store.directory().secret("key", || b"first".to_vec()).unwrap();
    assert_eq!(mode(&path.join("secrets/key")), 0o600);
    drop(store);
    assert_eq!(open(&path).directory().secret("key", || b"second".to_vec()).unwrap(), key);
}

#[test]
fn two_platforms_never_share_one() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("state");
    let first = open(&path);
    let refused = refusal(&path);
    assert!(refused.contains(&format!("pid {}", std::process::id())), "{refused}");
    drop(first);
    open(&path);
}

/// H55, F20: each row spoils a good directory in one way, and leaves it spoilt but otherwise as it was.
#[test]
fn what_is_unsafe_is_refused_with_the_reason() {
    type Spoil = fn(&Path);
    let fifo = |at: &Path| rustix::fs::mknodat(rustix::fs::CWD, at, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let _: fn(&Path) = fifo;
    let rows: &[(&str, Spoil, &str)] = &[
        ("group may write", |p| fs::set_permissions(p, Permissions::from_mode(0o770)).unwrap(), "others may write"),
        ("read-only", |p| fs::set_permissions(p, Permissions::from_mode(0o500)).unwrap(), "read-only"),
        ("newer", |p| fs::write(p.join("FORMAT"), "999\n").unwrap(), "a newer Myna wrote it (format 999"),
        ("no number", |p| fs::write(p.join("FORMAT"), "\u{0}one").unwrap(), "damaged"),
        (
            "link for a file",
            |p| {
                fs::rename(p.join("rows.db"), p.join("../elsewhere")).unwrap();
                symlink("../elsewhere", p.join("rows.db")).unwrap();
            },
            "a link stands where a file belongs",
        ),
        (
            "link for a folder",
            |p| {
                fs::rename(p.join("logs"), p.join("../elsewhere")).unwrap();
                symlink("../elsewhere", p.join("logs")).unwrap();
            },
            "a link stands where a folder belongs",
        ),
        (
            "FIFO for a file",
            |p| {
                fs::remove_file(p.join("lock")).unwrap();
                rustix::fs::mknodat(rustix::fs::CWD, p.join("lock"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
            },
            "a FIFO stands where a file belongs",
        ),
        (
            "file for a folder",
            |p| {
                fs::remove_dir_all(p.join("staging")).unwrap();
                fs::write(p.join("staging"), "").unwrap();
            },
            "a file stands where a folder belongs",
        ),
    ];
    for (name, spoil, reason) in rows {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("state");
        drop(open(&path));
        spoil(&path);
        let before = snapshot(&path);
        let refused = refusal(&path);
        assert!(refused.contains(reason), "{name}: {refused}");
        assert_eq!(snapshot(&path), before, "{name}: something was changed");
    }
}

#[test]
fn what_is_no_state_directory_is_left_alone() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("project");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("handler.py"), "").unwrap();
    assert!(refusal(&path).contains("handler.py"));
    let link = home.path().join("link");
    fs::create_dir(home.path().join("real")).unwrap();
    symlink("real", &link).unwrap();
    assert!(refusal(&link).contains("not a folder"));
    assert!(refusal(&home.path().join("no/such")).contains("folder above it"));
    assert_eq!(fs::read_dir(&path).unwrap().count(), 1);
}

#[test]
fn another_users_is_refused() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can give a folder away");
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("state");
    drop(open(&path));
    std::os::unix::fs::chown(&path, Some(12345), None).unwrap();
    assert!(refusal(&path).contains("belongs to user 12345"));
}

#[test]
fn a_database_of_a_newer_version_is_not_touched() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("state");
    drop(open(&path));
    let connection = rusqlite::Connection::open(path.join("rows.db")).unwrap();
    connection.pragma_update(None, "user_version", 999).unwrap();
    drop(connection);
    let before = fs::read(path.join("rows.db")).unwrap();
    let error = Store::open(&path, Options::default(), Hand::new()).err().expect("refused").to_string();
    assert!(error.contains("format 999"), "{error}");
    assert_eq!(fs::read(path.join("rows.db")).unwrap(), before);
}

/// F18: any file of garbage is refused by name, or opened with the damage named.
#[test]
fn garbage_is_named() {
    for name in ["rows.db", "FORMAT", "secrets/link-key"] {
        for garbage in [
            &b""[..],
            &[0; 5000],
            b"garbage that is longer than a hundred bytes garbage garbage garbage garbage garbage garbage garbage",
        ] {
            let home = tempfile::tempdir().unwrap();
            let path = home.path().join("state");
            drop(open(&path));
            fs::write(path.join(name), garbage).unwrap();
            if let Err(error) = Store::open(&path, Options::default(), Hand::new()) {
                assert!(error.to_string().contains(name), "{name}: {error}");
            } else {
                // An empty database is a new one, and any bytes are a key.
                assert!(
                    name == "rows.db" && garbage.is_empty() || name.starts_with("secrets") && !garbage.is_empty(),
                    "{name} was taken"
                );
            }
        }
    }
}

/// Everything below a folder: name, mode, and content or target.
pub(super) fn snapshot(folder: &Path) -> Vec<(String, u32, Vec<u8>)> {
    let mut found = Vec::new();
    let mut left = vec![folder.to_owned()];
    while let Some(path) = left.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let content = if meta.is_symlink() {
            fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()
        } else if meta.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
            Vec::new()
        } else if meta.is_file() {
            fs::read(&path).unwrap()
        } else {
            Vec::new()
        };
        found.push((path.display().to_string(), meta.permissions().mode(), content));
    }
    found.sort();
    found
}
