//! H1, H2, H6–H9: archives that must be refused, each leaving the state directory byte-identical.

use super::{
    directory::snapshot,
    zips::{Item, end, zip, zip64},
    *,
};
use model::{Cause, ports::Packages};

fn bad() -> Vec<(&'static str, Vec<u8>, Cause, &'static str)> {
    let one = |item: Item| zip(&[item]);
    let file = |name: &str| zip(&[Item::stored(name, "x")]);
    let invalid = Cause::Invalid;
    let mut rows = names(&file);
    rows.extend(links());
    rows.extend(clashes());
    rows.extend(lies());
    let text = Item::stored("a", "content");
    rows.extend([
        (
            "truncated",
            {
                let mut z = file("a");
                z.truncate(z.len() - 1);
                z
            },
            invalid,
            "its end is missing",
        ),
        ("front cut off", file("a")[10..].to_vec(), invalid, "not where its end says"),
        ("empty", Vec::new(), invalid, "too short"),
        ("text", b"#!/bin/sh\necho this is not a zip archive at all\n".to_vec(), invalid, "no ZIP archive"),
        ("wrong checksum", one(text.clone().with(|i| (i.crc, i.local_crc) = (1, 1))), invalid, "wrong checksum"),
        ("encrypted", one(text.clone().with(|i| i.flags = 1)), invalid, "encrypted"),
        ("strongly encrypted", one(text.clone().with(|i| i.flags = 0x41)), invalid, "encrypted"),
        ("method", one(text.clone().with(|i| i.method = 12)), invalid, "method 12"),
        (
            "part of several",
            {
                let mut z = file("a");
                let at = z.len() - 18;
                z[at] = 1;
                z
            },
            invalid,
            "one part of several",
        ),
        ("device", one(text.clone().with(|i| i.mode = 0o020_644)), invalid, "a device"),
        ("FIFO", one(text.clone().with(|i| i.mode = 0o010_644)), invalid, "a device, a FIFO"),
        ("socket", one(text.with(|i| i.mode = 0o140_644)), invalid, "socket"),
        ("folder with content", one(Item { mode: 0o040_755, ..Item::stored("d/", "x") }), invalid, "folder with content"),
        ("64-bit entries", zip64(&[Item::stored("a", "x")], 1 << 40, None), Cause::TooLarge, "entries"),
        ("64-bit entries, a few", zip64(&[Item::stored("a", "x")], 3, None), invalid, "too short for the entries"),
        ("64-bit size", zip64(&[Item::stored("a", "x")], 1, Some(u64::MAX - 3)), invalid, "not where"),
        (
            "two ends",
            {
                let mut z = file("a");
                let n = z.len();
                z[n - 2] = 22;
                end(&mut z, 0, 0, n as u32);
                z
            },
            invalid,
            "two ends",
        ),
    ]);
    rows
}

type Row = (&'static str, Vec<u8>, Cause, &'static str);

fn names(file: &dyn Fn(&str) -> Vec<u8>) -> Vec<Row> {
    let invalid = Cause::Invalid;
    vec![
        ("parent", file("../../etc/cron.d/x"), invalid, "leads out"),
        ("parent inside", file("a/../../x"), invalid, "leads out"),
        ("absolute", file("/etc/x"), invalid, "absolute"),
        ("drive", file("C:\\x"), invalid, "backslash"),
        ("drive, forward", file("C:/x"), invalid, "drive letter"),
        ("backslash", file("..\\x"), invalid, "backslash"),
        ("NUL", file("a\0b"), invalid, "control character"),
        ("newline", file("a\nb"), invalid, "control character"),
        ("escape", file("a\x1b[2Jb"), invalid, "control character"),
        ("C1", file("a\u{9b}b"), invalid, "control character"),
        ("no name", file(""), invalid, "no name"),
        ("dots only", file("./."), invalid, "no name"),
        ("not UTF-8", zip(&[Item::stored(b"a\xff", "x")]), invalid, "not UTF-8"),
        ("64 KB name", file(&"n".repeat(65_535)), Cause::TooLarge, "65535 bytes"),
        ("long part", file(&"n".repeat(256)), Cause::TooLarge, "255 bytes"),
        ("deep", file(&format!("{}f", "d/".repeat(100))), Cause::TooLarge, "folders deep"),
        ("10,000 deep", file(&format!("{}f", "d/".repeat(10_000))), Cause::TooLarge, "bytes"),
    ]
}

fn links() -> Vec<Row> {
    let invalid = Cause::Invalid;
    let through = [Item::link("a", "/etc"), Item::stored("a/passwd", "x")];
    let inside_first = [Item::folder("d/"), Item::link("a", "d"), Item::stored("a/passwd", "x")];
    let detour = [Item::link("d", "."), Item::link("p/e", "../d/../etc")];
    vec![
        ("absolute link", zip(&[Item::link("a", "/etc/passwd")]), invalid, "relative paths inside"),
        ("link out", zip(&[Item::link("a", "../x")]), invalid, "leads out"),
        ("link out, further in", zip(&[Item::link("a/b/c", "../../../x")]), invalid, "leads out"),
        ("file beneath a link", zip(&through), invalid, "beneath the link"),
        ("file beneath a good link", zip(&inside_first), invalid, "beneath the link"),
        ("link for a folder", zip(&[Item::stored("a/x", "x"), Item::link("a", "b")]), invalid, "both a file and a folder"),
        ("link through a link", zip(&detour), invalid, "through another link"),
        ("long link", zip(&[Item::link("a", &"x/".repeat(1000))]), invalid, "link of 2000 bytes"),
        ("empty link", zip(&[Item::link("a", "")]), invalid, "link of 0 bytes"),
    ]
}

fn clashes() -> Vec<Row> {
    let two = |a: &str, b: &str| zip(&[Item::stored(a, "1"), Item::stored(b, "2")]);
    let invalid = Cause::Invalid;
    vec![
        ("twice", two("a", "a"), invalid, "twice"),
        ("twice by dots", two("a", "./a"), invalid, "twice"),
        ("case", two("handler.py", "Handler.py"), invalid, "only by case"),
        ("case of a folder", two("lib/a", "Lib/b"), invalid, "only by case"),
        ("composition", two("\u{e9}", "e\u{301}"), invalid, "composed"),
        ("compatibility", two("\u{fb01}", "fi"), invalid, "composed"),
        ("file and folder", two("a", "a/b"), invalid, "both a file and a folder"),
        ("folder and file", two("a/b", "a"), invalid, "both a file and a folder"),
    ]
}

fn lies() -> Vec<Row> {
    let invalid = Cause::Invalid;
    let zeroes = |n: usize| Item::deflated("z", vec![0; n]);
    let overlap = [Item::stored("a", "x"), Item { offset: Some(0), ..Item::stored("a", "x") }];
    let bomb = Item::deflated("z", vec![0; 40 << 20]);
    vec![
        ("other name inside", zip(&[Item::stored("a", "x").with(|i| i.local_name = b"b".to_vec())]), invalid, "another name"),
        ("other checksum inside", zip(&[Item::stored("a", "x").with(|i| i.local_crc = 1)]), invalid, "another size or checksum"),
        ("other size inside", zip(&[Item::stored("a", "x").with(|i| i.local_size = 2)]), invalid, "another size"),
        (
            "longer than stated",
            zip(&[zeroes(1000).with(|i| (i.size, i.local_size) = (10, 10))]),
            invalid,
            "longer than it states",
        ),
        (
            "shorter than stated",
            zip(&[zeroes(1000).with(|i| (i.size, i.local_size) = (2000, 2000))]),
            invalid,
            "shorter than it states",
        ),
        ("stored, two sizes", zip(&[Item::stored("a", "x").with(|i| (i.size, i.local_size) = (9, 9))]), invalid, "two sizes"),
        (
            "bytes behind the end",
            zip(&[zeroes(10).with(|i| {
                i.data.push(7);
                i.packed += 1
            })]),
            invalid,
            "behind its end",
        ),
        (
            "stream cut off",
            zip(&[zeroes(1000).with(|i| {
                i.data.pop();
                i.packed -= 1
            })]),
            invalid,
            "cut off",
        ),
        ("garbage stream", zip(&[zeroes(1000).with(|i| i.data.fill(0xff))]), invalid, "damaged"),
        ("beyond the archive", zip(&[Item::stored("a", "x").with(|i| i.offset = Some(1 << 30))]), invalid, "outside"),
        ("data beyond", zip(&[Item { data: b"x".to_vec(), ..Item::stored("a", "x".repeat(1000)) }]), invalid, "outside"),
        ("overlap", zip(&overlap), invalid, "share bytes"),
        (
            "two names",
            zip(&[Item::stored("a", "x").with(|i| i.extra = b"\x75\x70\x06\x00\x01\0\0\0\0b".to_vec())]),
            invalid,
            "two names",
        ),
        (
            "extra field cut off",
            zip(&[Item::stored("a", "x").with(|i| i.extra = b"\x01\x00\xff\x00".to_vec())]),
            invalid,
            "extra field",
        ),
        ("64-bit size missing", zip(&[Item::stored("a", "x").with(|i| i.size = u32::MAX)]), invalid, "lacks the 64-bit"),
        ("too large", zip(&[zeroes(1).with(|i| (i.size, i.local_size) = (1 << 30, 1 << 30))]), Cause::TooLarge, "262144000"),
        ("ratio", zip(&[bomb]), Cause::TooLarge, "times as many"),
    ]
}

#[test]
fn what_is_refused_leaves_no_trace() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("state");
    let store = open(&path);
    let good = zip(&[Item::stored("a", "good")]);
    wait(store.packages().put_zip(&tenant(), good.into())).unwrap();
    store.packages().settle();
    let before = snapshot(home.path());
    for (name, archive, expected, word) in bad() {
        let fault = wait(store.packages().put_zip(&tenant(), archive.into())).expect_err(name);
        assert_eq!(fault.cause, expected, "{name}: {fault}");
        assert!(fault.message.contains(word), "{name}: {fault}");
        assert!(fault.message.len() < 600 && !fault.message.contains('\n'), "{name}: {fault}");
    }
    assert_eq!(snapshot(home.path()), before);
}

/// H7: refused by its count, before anything is made of it.
#[test]
fn more_entries_than_are_allowed() {
    let home = tempfile::tempdir().unwrap();
    let options =
        Options { packages: crate::options::PackageLimits { entries_max: 10, ..Default::default() }, ..Options::default() };
    let store = Store::open(&home.path().join("state"), options, Hand::new()).unwrap();
    let items: Vec<Item> = (0..11).map(|n| Item::stored(n.to_string(), "")).collect();
    assert_eq!(cause(wait(store.packages().put_zip(&tenant(), zip(&items).into()))), Cause::TooLarge);
    wait(store.packages().put_zip(&tenant(), zip(&items[..10]).into())).unwrap();
    // Two entries, and the folders that they imply.
    let implied = |deep: usize| [Item::stored(format!("{}f", "d/".repeat(deep)), ""), Item::stored("g", "")];
    assert_eq!(cause(wait(store.packages().put_zip(&tenant(), zip(&implied(9)).into()))), Cause::TooLarge);
    wait(store.packages().put_zip(&tenant(), zip(&implied(8)).into())).unwrap();
}

/// Whatever bytes come, the answer is a fault or a package, never a panic; and one flipped byte never makes other content.
#[test]
fn any_flipped_byte_is_refused_or_harmless() {
    let home = tempfile::tempdir().unwrap();
    let store = open(&home.path().join("state"));
    let good =
        zip(&[Item::deflated("dir/file", "some content that is packed"), Item::link("link", "dir/file"), Item::folder("e/")]);
    for at in 0..good.len() {
        for bit in [0x01, 0x80] {
            let mut bent = good.clone();
            bent[at] ^= bit;
            if let Ok(package) = wait(store.packages().put_zip(&tenant(), bent.into())) {
                let names: Vec<_> =
                    snapshot(package.path()).into_iter().filter(|(_, _, c)| !c.is_empty()).map(|(_, _, c)| c).collect();
                assert!(names.iter().all(|c| c == b"some content that is packed" || c == b"dir/file"), "byte {at}: {names:?}");
            }
        }
    }
}
