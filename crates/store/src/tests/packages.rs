use super::{
    zips::{Item, zip},
    *,
};
use crate::options::PackageLimits;
use model::{
    Cause, Expect, Key, Package, Write,
    ports::{Packages, Resources},
};
use proptest::prelude::*;
use std::{collections::HashSet, fs, io::Read, os::unix::fs::MetadataExt, os::unix::fs::PermissionsExt, time::Instant};

fn put(store: &Store, archive: &[u8]) -> Package {
    wait(store.packages().put_zip(&tenant(), bytes::Bytes::copy_from_slice(archive))).unwrap()
}
fn mode(package: &Package, name: &str) -> u32 {
    fs::metadata(package.path().join(name)).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_package_is_unpacked_with_plain_modes_and_times() {
    let home = tempfile::tempdir().unwrap();
    let store = open(&home.path().join("state"));
    let archive = zip(&[
        Item::deflated("lib/deep/module.py", "print(1)").with(|i| i.mode = 0o100_600),
        Item::stored("run.sh", "#!").with(|i| i.mode = 0o104_711),
        Item::folder("empty/"),
        Item::link("node_modules/.bin/tool", "../tool/cli.js"),
        Item::stored("node_modules/tool/cli.js", "js"),
        Item::link("gone", "no/such/file"),
    ]);
    let package = put(&store, &archive);
    assert_eq!(fs::read(package.path().join("lib/deep/module.py")).unwrap(), b"print(1)");
    assert_eq!(fs::read(package.path().join("node_modules/.bin/tool")).unwrap(), b"js");
    let modes = ["lib/deep/module.py", "run.sh", "empty", "lib", ""].map(|name| mode(&package, name));
    assert_eq!(modes, [0o644, 0o755, 0o755, 0o755, 0o755]);
    for name in ["lib/deep/module.py", "lib/deep", "lib", "empty", ""] {
        assert_eq!(fs::metadata(package.path().join(name)).unwrap().mtime(), 315_532_800, "{name}");
    }
    let windows =
        zip(&[Item::stored("bootstrap", "x").with(|i| i.made_by = 0), Item::stored("data", "x").with(|i| i.made_by = 0)]);
    let package = put(&store, &windows);
    assert_eq!((mode(&package, "bootstrap"), mode(&package, "data")), (0o755, 0o644));
}

/// H87: nobody learns what another tenant has; H88: a link reads one archive of one tenant until it expires.
#[test]
fn packages_and_links_belong_to_a_tenant() {
    let home = tempfile::tempdir().unwrap();
    let clock = Hand::new();
    let store = Store::open(&home.path().join("state"), Options::default(), clock.clone()).unwrap();
    let archive = zip(&[Item::stored("a", "x")]);
    let (mine, again) = (put(&store, &archive), put(&store, &archive));
    assert_eq!(mine, again);
    let other = TenantId::new("../other");
    assert_eq!(cause(store.packages().link(&other, mine.digest())), Cause::NotFound);
    assert_eq!(cause(store.packages().link(&tenant(), "../../secrets/link-key")), Cause::NotFound);
    let theirs = wait(store.packages().put_zip(&other, archive.clone().into())).unwrap();
    assert_ne!(mine.path(), theirs.path());
    assert!(theirs.path().starts_with(home.path().join("state/packages")));

    let token = store.packages().link(&tenant(), mine.digest()).unwrap();
    let mut read = Vec::new();
    store.packages().open_link(&token).unwrap().reader.read_to_end(&mut read).unwrap();
    assert_eq!(read, archive);
    assert_eq!(cause(store.packages().open_link(&token[1..])), Cause::NotFound);
    clock.forward(Duration::from_secs(601));
    assert_eq!(cause(store.packages().open_link(&token)), Cause::NotFound);
}

#[test]
fn the_same_package_at_once_is_one_package() {
    let home = tempfile::tempdir().unwrap();
    let store = open(&home.path().join("state"));
    let archive = zip(&(0..200).map(|n| Item::deflated(format!("d{}/f{n}", n % 7), vec![7; 5000])).collect::<Vec<_>>());
    let paths: HashSet<_> = std::thread::scope(|scope| {
        let puts: Vec<_> = (0..6).map(|_| scope.spawn(|| put(&store, &archive).path().to_owned())).collect();
        puts.into_iter().map(|p| p.join().unwrap()).collect()
    });
    assert_eq!(paths.len(), 1);
    assert_eq!(fs::read_dir(home.path().join("state/staging")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(paths.iter().next().unwrap()).unwrap().count(), 7);
}

/// F3, F17: what a kill or a power cut left half is made again from the archive; a broken archive is named.
#[test]
fn what_was_not_settled_is_made_again() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("state");
    let store = open(&path);
    let (torn, broken) = (put(&store, &zip(&[Item::stored("a", "content")])), put(&store, &zip(&[Item::stored("b", "content")])));
    drop(store);
    let place = |p: &Package| p.path().parent().unwrap().to_owned();
    for package in [&torn, &broken] {
        fs::remove_file(place(package).join("settled")).unwrap();
    }
    fs::write(torn.path().join("a"), "").unwrap();
    fs::write(place(&broken).join("archive.zip"), "bent").unwrap();
    fs::create_dir_all(path.join("staging/left/over")).unwrap();
    let store = open(&path);
    assert_eq!(fs::read(torn.path().join("a")).unwrap(), b"content");
    let damaged = store.damaged();
    assert!(damaged.len() == 1 && damaged[0].contains(broken.digest()), "{damaged:?}");
    assert_eq!(fs::read_dir(path.join("staging")).unwrap().count(), 0);
}

#[test]
fn ten_megabytes_in_two_thousand_files() {
    let home = tempfile::tempdir().unwrap();
    let store = open(&home.path().join("state"));
    let mut noise = 1u32;
    let mut content = || {
        let mut next = || {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            b"abcdefghijklmnopqrstuvwxyz \n(){}"[(noise >> 27) as usize]
        };
        (0..8000).map(|_| next()).collect::<Vec<u8>>()
    };
    let items: Vec<Item> =
        (0..2000).map(|n| Item::deflated(format!("node_modules/p{}/lib/f{n}.js", n % 150), content())).collect();
    let archive = zip(&items);
    let began = Instant::now();
    let package = put(&store, &archive);
    eprintln!("put_zip of {:.1} MB, 2,000 files, {:.1} MB unpacked: {:?}", archive.len() as f64 / 1e6, 16.0, began.elapsed());
    assert_eq!(fs::read_dir(package.path().join("node_modules")).unwrap().count(), 150);
    assert_eq!(store.stats().packages_bytes, archive.len() as u64 + 16_000_000);
}

#[derive(Clone, Debug)]
enum Step {
    Put(u8),
    Refer(u8, u8),
    Forget(u8),
    Collect,
    Wait,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0u8..6).prop_map(Step::Put),
        3 => (0u8..4, 0u8..6).prop_map(|(r, p)| Step::Refer(r, p)),
        2 => (0u8..4).prop_map(Step::Forget),
        2 => Just(Step::Collect),
        1 => Just(Step::Wait),
    ];
    prop::collection::vec(step, 1..30)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    /// D8: whatever happens in whatever order, a package that a row names is there, and what nobody names goes in the end.
    #[test]
    fn collection_never_takes_what_a_row_names(steps in steps()) {
        let home = tempfile::tempdir().unwrap();
        let clock = Hand::new();
        let options = Options { packages: PackageLimits { unreferenced_for: Duration::from_secs(60), ..Default::default() }, ..Options::default() };
        let store = Store::open(&home.path().join("state"), options, clock.clone()).unwrap();
        let archives: Vec<_> = (0u8..6).map(|n| zip(&[Item::stored("n", [n])])).collect();
        let mut rows: std::collections::BTreeMap<u8, Package> = Default::default();
        for step in steps {
            match step {
                Step::Put(n) => drop(put(&store, &archives[n as usize])),
                Step::Refer(row, n) => {
                    let package = put(&store, &archives[n as usize]);
                    let body = serde_json::to_vec(&package).unwrap().into();
                    let write = Write::Put { key: Key::new(&tenant(), "test.version", row.to_string()), body, expect: Expect::Any };
                    wait(store.resources().commit(vec![write])).unwrap();
                    rows.insert(row, package);
                }
                Step::Forget(row) => {
                    let write = Write::Delete { key: Key::new(&tenant(), "test.version", row.to_string()), expect: Expect::Any };
                    wait(store.resources().commit(vec![write])).unwrap();
                    rows.remove(&row);
                }
                Step::Collect => drop(store.maintain(&HashSet::new(), &|| ()).unwrap()),
                Step::Wait => clock.forward(Duration::from_secs(61)),
            }
            for package in rows.values() {
                prop_assert!(package.path().join("n").exists(), "{} is gone", package.digest());
            }
        }
        clock.forward(Duration::from_secs(61));
        store.maintain(&HashSet::new(), &|| ()).unwrap();
        let live: HashSet<_> = rows.values().map(|p| p.digest().to_owned()).collect();
        prop_assert_eq!(store.stats().packages, live.len());
    }
}
