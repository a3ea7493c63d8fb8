//! Packages that try to be more than a package. Each goes through all doors that take one, and each is refused in the service's
//! words with nothing of it left anywhere; what is merely odd becomes harmless.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use myna_tests::{Context, Entry, Function, Platform, Response, Result, Test, archive, ensure, json, soon, tests};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

pub const ALL: &[Test] = tests![
    entries_that_lead_out_are_refused_and_nothing_is_written,
    links_never_lead_a_later_entry_anywhere,
    special_files_are_refused_and_special_bits_taken_off,
    bombs_stop_at_their_limits_in_little_memory,
    names_that_two_readers_would_take_for_one_are_refused,
    archives_that_lie_or_are_damaged_are_refused_whole,
];

const SOURCE: &str = "def handler(event, context): return 'as before'\n";
/// What a refused archive would write, wherever it got to.
const PLANTED: &str = "myna-was-here";
/// More than this on top of what the request itself takes would be an archive unpacked in memory.
const MEMORY_BYTES_MAX: u64 = 64 << 20;

type Row = (&'static str, Vec<u8>);

/// A platform with a function on it, and what its folders held before the attack.
struct Stage<'a> {
    myna: &'a Platform,
    victim: Function<'a>,
    before: BTreeMap<PathBuf, (u64, u64)>,
}

impl<'a> Stage<'a> {
    fn new(myna: &'a Platform) -> Result<Self> {
        let victim = myna.python("victim", SOURCE)?;
        victim.call(json!(1))?;
        // Marked as flushed by a thread of the store's own.
        let settled = || folder(myna).keys().any(|p| p.ends_with("settled"));
        ensure!(soon(settled), "the package of the one function is not whole: {:?}", folder(myna));
        Ok(Self { myna, victim, before: folder(myna) })
    }

    /// CreateFunction, UpdateFunctionCode of the function that serves, and PublishLayerVersion.
    fn send(&self, bytes: &[u8]) -> Result<[Response; 3]> {
        let code = json!({ "ZipFile": BASE64.encode(bytes) });
        let created = self.myna.draft("planted", SOURCE).set("Code", code.clone()).send()?;
        let path = "/2015-03-31/functions/victim/code";
        let updated =
            self.myna.signed("lambda", "PUT", path, &[("content-type", "application/json")], &serde_json::to_vec(&code)?)?;
        let layer = serde_json::to_vec(&json!({ "Content": code }))?;
        let path = "/2018-10-31/layers/planted/versions";
        let published = self.myna.signed("lambda", "POST", path, &[("content-type", "application/json")], &layer)?;
        Ok([created, updated, published])
    }

    fn refused(&self, rows: &[Row]) -> Result<()> {
        for (what, bytes) in rows {
            for answer in self.send(bytes)? {
                let code = answer.header("x-amzn-errortype").unwrap_or_default();
                ensure!(
                    answer.status == 400 && code == "InvalidParameterValueException",
                    "{what}: answered {} {}",
                    answer.status,
                    answer.text()
                );
                let said = answer.json()?["message"].as_str().unwrap_or_default().to_owned();
                ensure!(!said.chars().any(char::is_control) && said.len() < 1000, "{what}: said {said:?}");
            }
        }
        ensure!(folder(self.myna) == self.before, "something was left: {:?}", folder(self.myna));
        ensure!(planted(self.myna.home()).is_none(), "written outside: {:?}", planted(self.myna.home()));
        let now = self.victim.call(json!(1))?;
        ensure!(now == "as before", "the function that served answers {now}");
        let absent = self.myna.signed("lambda", "GET", "/2015-03-31/functions/planted", &[], b"")?;
        ensure!(absent.status == 404, "a refused function is there: {}", absent.text());
        Ok(())
    }
}

/// Every path where packages are kept and staged, with its length and mode.
fn folder(myna: &Platform) -> BTreeMap<PathBuf, (u64, u64)> {
    let mut found = BTreeMap::new();
    for name in ["packages", "staging"] {
        walk(&myna.dir().join(name), &mut |path, about| {
            found.insert(path.to_owned(), (if about.is_dir() { 0 } else { about.len() }, about.mode().into()));
        });
    }
    found
}

fn walk(folder: &Path, each: &mut impl FnMut(&Path, &fs::Metadata)) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(about) = entry.metadata() else { continue };
        each(&entry.path(), &about);
        if about.is_dir() {
            walk(&entry.path(), each);
        }
    }
}

/// Where an entry that got out would be: beside the packages, above them, or where its name says.
fn planted(home: &Path) -> Option<PathBuf> {
    let mut places: Vec<PathBuf> = ["/", "/etc", "/etc/cron.d", "/tmp", "/var/tmp"].map(PathBuf::from).to_vec();
    let mut found = None;
    walk(home, &mut |path, about| {
        if about.is_dir() {
            places.push(path.to_owned());
        }
        if path.file_name().is_some_and(|n| n.to_string_lossy().contains(PLANTED)) {
            found = Some(path.to_owned());
        }
    });
    found.or_else(|| places.into_iter().map(|p| p.join(PLANTED)).find(|p| p.symlink_metadata().is_ok()))
}

/// What a package has besides the attack.
fn with(mut entries: Vec<Entry>) -> Vec<u8> {
    entries.insert(0, Entry::file("app.py", SOURCE));
    archive(&entries)
}

fn one(name: impl AsRef<[u8]>) -> Vec<u8> {
    with(vec![Entry::file(name, "x")])
}

// H1
fn entries_that_lead_out_are_refused_and_nothing_is_written() -> Result<()> {
    let myna = Platform::start()?;
    let stage = Stage::new(&myna)?;
    let mut rows: Vec<Row> = vec![
        ("a parent", one(format!("../{PLANTED}"))),
        ("many parents", one(format!("{}etc/cron.d/{PLANTED}", "../".repeat(20)))),
        ("a parent on the way", one(format!("a/../../{PLANTED}"))),
        ("a parent at the end", one("a/..")),
        ("absolute", one(format!("/etc/{PLANTED}"))),
        ("twice absolute", one(format!("//tmp/{PLANTED}"))),
        ("a drive", one(format!("C:\\{PLANTED}"))),
        ("a drive, forward", one(format!("c:/{PLANTED}"))),
        ("backslashes", one(format!("..\\{PLANTED}"))),
        ("a backslash on the way", one(format!("a\\..\\..\\{PLANTED}"))),
        ("no name", one("")),
        ("not UTF-8", one(b"a\xff\xfe")),
        ("overlong dots", one(b"\xc0\xae\xc0\xae/x")),
    ];
    for sign in ["\0", "\n", "\r", "\x1b[2J", "\u{7f}", "\u{85}", "\u{9b}2J"] {
        rows.push(("a control character", one(format!("{PLANTED}{sign}x"))));
    }
    stage.refused(&rows)
}

// H2
fn links_never_lead_a_later_entry_anywhere() -> Result<()> {
    let myna = Platform::start()?;
    let stage = Stage::new(&myna)?;
    let beneath = |link: Entry, file: &str| with(vec![link, Entry::file(file, "x")]);
    stage.refused(&[
        ("a file beneath a link to /etc", beneath(Entry::link("a", "/etc"), &format!("a/{PLANTED}"))),
        ("a file beneath a link upwards", beneath(Entry::link("a", "../.."), &format!("a/{PLANTED}"))),
        ("a file beneath a link inside", beneath(Entry::link("a", "."), &format!("a/{PLANTED}"))),
        ("the file first, its link afterwards", with(vec![Entry::file(format!("a/{PLANTED}"), "x"), Entry::link("a", "/etc")])),
        ("a file in a link's place", beneath(Entry::link("a", "b"), "a")),
        ("a link out", with(vec![Entry::link("a", "../x")])),
        ("a link out of a folder", with(vec![Entry::link("d/a", "../../x")])),
        ("an absolute link", with(vec![Entry::link("a", "/proc/self/exe")])),
        ("out by way of a link", with(vec![Entry::link("d", "."), Entry::link("e/a", "../d/../../x")])),
        ("a link with a line feed", with(vec![Entry::link("a", "b\nc")])),
        ("a link without end", with(vec![Entry::link("a", &"x/".repeat(4000))])),
    ])?;
    // A circle leads nowhere, and not outside.
    let code =
        json!({ "ZipFile": BASE64.encode(with(vec![Entry::link("a", "b"), Entry::link("b", "a"), Entry::link("c", "app.py")])) });
    let f = myna.draft("circle", SOURCE).set("Code", code).create()?;
    ensure!(f.call(json!(1))? == "as before");
    Ok(())
}

// H5
fn special_files_are_refused_and_special_bits_taken_off() -> Result<()> {
    let myna = Platform::start()?;
    let stage = Stage::new(&myna)?;
    let special = |mode: u32| with(vec![Entry::file(PLANTED, "").mode(mode)]);
    stage.refused(&[
        ("a character device", special(0o020_666)),
        ("a block device", special(0o060_666)),
        ("a FIFO", special(0o010_666)),
        ("a socket", special(0o140_777)),
        ("a folder with content", with(vec![Entry::file("d/", "x").mode(0o040_755)])),
        ("a type that is none", special(0o170_644)),
    ])?;
    let source = "import os\ndef handler(event, context):\n    \
                  return {n: [oct(s.st_mode), s.st_uid, s.st_gid, os.listxattr('/var/task/' + n)] for n in ['root', 'plain', 'd'] for s in [os.stat('/var/task/' + n)]}\n";
    let files = [
        Entry::file("app.py", source),
        Entry::file("root", "x").mode(0o107_777),
        Entry::file("plain", "x").mode(0o106_000),
        Entry::file("d/", "").mode(0o043_777),
    ];
    let f = myna.draft("bits", SOURCE).set("Code", json!({ "ZipFile": BASE64.encode(archive(&files)) })).create()?;
    let seen = f.call(json!(1))?;
    for (name, mode) in [("root", "0o100755"), ("plain", "0o100644"), ("d", "0o40755")] {
        ensure!(seen[name][0] == mode && seen[name][3] == json!([]), "{name}: {seen}");
    }
    Ok(())
}

// H6, H7
fn bombs_stop_at_their_limits_in_little_memory() -> Result<()> {
    let myna = Platform::start()?;
    let stage = Stage::new(&myna)?;
    let zeroes = Entry::deflated("zeroes", &vec![0; 100 << 20]);
    let mut overlapping: Vec<Entry> = (0..200).map(|n| Entry::deflated(&format!("z{n}"), &vec![0; 1 << 20])).collect();
    overlapping.iter_mut().skip(1).for_each(|e| (e.offset, e.own.name) = (Some(0), b"z0".to_vec()));
    let many = |count: usize| (0..count).map(|n| Entry::file(format!("{n}"), "")).collect::<Vec<_>>();
    // Each entry costs little and implies dozens of folders that no other one shares.
    let implied = |n: usize| Entry::file(format!("{n:x}/{}f", "d/".repeat(60)), "");
    let rows: Vec<Row> = vec![
        ("a thousand times its size", with(vec![zeroes.clone()])),
        ("more than it states", with(vec![zeroes.clone().says(|h| h.size = 10)])),
        ("less than it states", with(vec![Entry::deflated("z", &[0; 1000]).says(|h| h.size = 100 << 20)])),
        (
            "ten gigabytes stated",
            with((0..3).map(|n| Entry::deflated(&format!("z{n}"), b"x").says(|h| h.size = u32::MAX - 1)).collect()),
        ),
        ("entries that share their bytes", archive(&overlapping)),
        ("too many entries", archive(&many(100_001))),
        ("too many implied folders", archive(&(0..20_000).map(implied).collect::<Vec<_>>())),
        ("a huge name", one("n".repeat(65_535))),
        ("a deep path", one(format!("{}{PLANTED}", "d/".repeat(10_000)))),
        ("a path just too deep", one(format!("{}{PLANTED}", "d/".repeat(64)))),
    ];
    stage.refused(&rows[5..])?;

    let grown = peak_of(&myna, || stage.refused(&rows[..5]))?;
    ensure!(grown < MEMORY_BYTES_MAX, "bombs made the platform {} MiB larger", grown >> 20);
    // A bomb within a file is a file.
    let inner = archive(&[zeroes]);
    let code = json!({ "ZipFile": BASE64.encode(with(vec![Entry::file("inner.zip", &inner)])) });
    let source = "import os\ndef handler(event, context): return os.stat('/var/task/inner.zip').st_size\n";
    let f = myna.draft("nested", source).set("Code", code).create()?;
    ensure!(f.call(json!(1))? == "as before");
    Ok(())
}

/// How far the platform's resident memory rose above where it was.
fn peak_of(myna: &Platform, attack: impl FnOnce() -> Result<()>) -> Result<u64> {
    let bytes = |field: &str| -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", myna.pid()))?;
        let line = status.lines().find_map(|l| l.strip_prefix(field)).context("the kernel doesn't say")?;
        Ok(line.trim_matches(|c: char| !c.is_ascii_digit()).parse::<u64>()? << 10)
    };
    fs::write(format!("/proc/{}/clear_refs", myna.pid()), "5")?;
    let before = bytes("VmRSS:")?;
    attack()?;
    Ok(bytes("VmHWM:")?.saturating_sub(before))
}

// H8
fn names_that_two_readers_would_take_for_one_are_refused() -> Result<()> {
    let myna = Platform::start()?;
    let stage = Stage::new(&myna)?;
    let two = |a: &str, b: &str| with(vec![Entry::file(a, "1"), Entry::file(b, "2")]);
    stage.refused(&[
        ("the handler twice", one("app.py")),
        ("twice by dots", two("lib/a", "lib/./a")),
        ("twice by slashes", two("lib/a", "lib//a")),
        ("by case", one("App.py")),
        ("folders by case", two("lib/a", "LIB/b")),
        ("by normal form", two("caf\u{e9}", "cafe\u{301}")),
        ("by compatibility", two("\u{fb01}le", "file")),
        ("by a sign that lowers to two", two("\u{130}", "i\u{307}")),
        ("a file and a folder", two("a", "a/b")),
        ("a folder and a file", two("a/b", "a")),
        ("another name in its own header", with(vec![Entry::file("good", "x").but(|e| e.own.name = PLANTED.into())])),
        ("another length of name in its own header", with(vec![Entry::file("good", "x").but(|e| e.own.name = b"goo".to_vec())])),
    ])
}

// H9
fn archives_that_lie_or_are_damaged_are_refused_whole() -> Result<()> {
    let myna = Platform::start()?;
    let stage = Stage::new(&myna)?;
    let file = || Entry::file("a", "content");
    let packed = || Entry::deflated("a", &[7; 5000]);
    let edit = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = with(vec![file()]);
        change(&mut bytes);
        bytes
    };
    let end = |bytes: &[u8]| bytes.len() - 22;
    stage.refused(&[
        ("nothing", Vec::new()),
        ("a script", b"#!/bin/sh\necho this is a program and not an archive\n".to_vec()),
        ("its last byte cut off", edit(&|z| z.truncate(z.len() - 1))),
        ("its second half cut off", edit(&|z| z.truncate(z.len() / 2))),
        ("its front cut off", edit(&|z| drop(z.drain(..10)))),
        ("a byte before it", edit(&|z| z.insert(0, b'x'))),
        (
            "one part of several",
            edit(&|z| {
                let at = end(z) + 4;
                z[at] = 1;
            }),
        ),
        (
            "fewer entries counted",
            edit(&|z| {
                let at = end(z) + 8;
                (z[at], z[at + 2]) = (1, 1);
            }),
        ),
        (
            "more entries counted",
            edit(&|z| {
                let at = end(z) + 8;
                (z[at], z[at + 2]) = (9, 9);
            }),
        ),
        (
            "two ends",
            edit(&|z| {
                let at = end(z);
                let again = z[at..].to_vec();
                z[at + 20] = 22;
                z.extend(again);
            }),
        ),
        ("a wrong checksum", with(vec![file().says(|h| h.crc ^= 1)])),
        ("another checksum in its own header", with(vec![file().but(|e| e.own.crc ^= 1)])),
        ("another size in its own header", with(vec![file().but(|e| e.own.size += 1)])),
        ("another method in its own header", with(vec![packed().but(|e| e.own.method = 0)])),
        ("encrypted", with(vec![file().says(|h| h.flags = 1)])),
        ("encrypted by its own header", with(vec![file().but(|e| e.own.flags = 1)])),
        ("its directory encrypted", with(vec![file().says(|h| h.flags = 1 << 13)])),
        ("packed by a method of others", with(vec![file().says(|h| h.method = 12)])),
        ("64-bit sizes that are nowhere", with(vec![file().says(|h| h.size = u32::MAX)])),
        ("a flipped bit", with(vec![packed().but(|e| e.data[5] ^= 4)])),
        ("packed bytes cut off", with(vec![packed().but(|e| e.data.truncate(e.data.len() - 1)).says(|h| h.packed -= 1)])),
        ("packed bytes left over", with(vec![packed().but(|e| e.data.push(0)).says(|h| h.packed += 1)])),
        ("data beyond the archive", with(vec![file().says(|h| (h.packed, h.size) = (1 << 20, 1 << 20))])),
        ("an entry beyond the archive", with(vec![file().but(|e| e.offset = Some(1 << 30))])),
        ("an entry in the directory", with(vec![file().but(|e| e.offset = Some(110))])),
    ])?;
    // As a client would that gave up on its own base64.
    let broken = myna.draft("planted", SOURCE).set("Code", json!({ "ZipFile": "not base64!" })).send()?;
    ensure!(broken.status == 400, "{}", broken.text());
    Ok(())
}
