//! The audit log on a real disk: what was done to it afterwards is found and named, and a kill breaks nothing.

use super::*;
use crate::{
    audit::{AuditQuery, AuditStore, Verified},
    options::AuditLimits,
    segments::{HEAD_BYTES, PREAMBLE_BYTES},
};
use model::{
    Loops,
    audit::{Audit, Entry},
};
use std::{fs, path::PathBuf};

/// Entries of one name, since many are written in a test.
fn entry(n: u64) -> Entry {
    Entry {
        at_ms: 1_000 + n,
        tenant: "000000000000".into(),
        principal: "root".into(),
        source: "aws 127.0.0.1".into(),
        action: format!("lambda:Action{n}"),
        resource: "f".into(),
        outcome: "ok".into(),
        request_id: "id".into(),
        count: 1,
    }
}

fn opened(folder: &Path, limits: &AuditLimits) -> AuditStore {
    fs::create_dir_all(folder).unwrap();
    AuditStore::open(folder, limits, Hand::new(), &Loops::alone()).unwrap()
}
fn write(log: &AuditStore, numbers: std::ops::Range<u64>) {
    for n in numbers {
        wait(log.change(entry(n))).unwrap();
    }
}
/// Segments of four entries.
fn small() -> AuditLimits {
    AuditLimits { segment_bytes: 800, ..AuditLimits::default() }
}
/// A log of ten entries that was closed.
fn ten(folder: &Path) -> Verified {
    let log = opened(folder, &small());
    write(&log, 1..11);
    let whole = log.verify(None).unwrap();
    assert_eq!((whole.entries, whole.first, whole.last, whole.findings.len()), (10, 1, 10, 0));
    log.close();
    whole
}
fn segments(folder: &Path) -> Vec<PathBuf> {
    let mut all: Vec<_> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).filter(|p| p.extension().is_some_and(|e| e == "seg")).collect();
    all.sort();
    all
}
fn findings(folder: &Path) -> Vec<String> {
    let log = opened(folder, &small());
    let found = log.verify(None).unwrap();
    found.findings.into_iter().map(|f| f.what).collect()
}
/// Where each record of a segment lies.
fn records(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut at = PREAMBLE_BYTES;
    let mut all = Vec::new();
    while at + HEAD_BYTES <= bytes.len() {
        let length = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        all.push(at..at + HEAD_BYTES + length);
        at += HEAD_BYTES + length;
    }
    all
}
/// Give a record the checksum that its bytes have now, as somebody would who knows the form.
fn forge(bytes: &mut [u8], record: std::ops::Range<usize>) {
    let salt = u32::from_le_bytes(bytes[8..12].try_into().unwrap());
    let mut crc = crc32fast::Hasher::new_with_initial(salt);
    crc.update(&bytes[record.start + HEAD_BYTES..record.end]);
    let crc = crc.finalize().to_le_bytes();
    bytes[record.start + 4..record.start + HEAD_BYTES].copy_from_slice(&crc);
}
fn replace(bytes: &mut [u8], from: &str, to: &str) {
    let at = bytes.windows(from.len()).position(|w| w == from.as_bytes()).expect("the text is there");
    bytes[at..at + from.len()].copy_from_slice(to.as_bytes());
}

#[test]
fn entries_are_read_back_by_time_tenant_and_action_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let whole = ten(dir.path());
    let log = opened(dir.path(), &small());
    write(&log, 11..13);
    let again = log.verify(Some(&whole.head)).unwrap();
    assert_eq!((again.entries, again.last, again.found_head), (12, 12, Some(10)));
    assert!(again.findings.is_empty(), "{again:?}");
    let read = |q: AuditQuery| log.read(&q).unwrap().into_iter().map(|n| n.seq).collect::<Vec<_>>();
    assert_eq!(read(AuditQuery { limit: 3, ..AuditQuery::default() }), [10, 11, 12]);
    assert_eq!(read(AuditQuery { limit: 9, since_ms: 1_011, ..AuditQuery::default() }), [11, 12]);
    assert_eq!(read(AuditQuery { limit: 9, action: "lambda:Action7".into(), ..AuditQuery::default() }), [7]);
    assert!(read(AuditQuery { limit: 9, tenant: "1".into(), ..AuditQuery::default() }).is_empty());
    let view = log.view();
    assert_eq!((view.entries, view.last, view.head), (12, 12, again.head));
}

/// Each byte of each segment, one at a time.
#[test]
fn any_flipped_byte_is_found() {
    let dir = tempfile::tempdir().unwrap();
    ten(dir.path());
    for path in segments(dir.path()) {
        let whole = fs::read(&path).unwrap();
        for at in (0..whole.len()).step_by(3) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x20;
            let copy = tempfile::tempdir().unwrap();
            for entry in fs::read_dir(dir.path()).unwrap() {
                let entry = entry.unwrap();
                fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
            }
            fs::write(copy.path().join(path.file_name().unwrap()), &bytes).unwrap();
            assert!(!findings(copy.path()).is_empty(), "byte {at} of {}", path.display());
        }
    }
}

#[test]
fn a_changed_entry_is_named_though_its_checksum_was_forged() {
    let dir = tempfile::tempdir().unwrap();
    ten(dir.path());
    let path = &segments(dir.path())[0];
    let mut bytes = fs::read(path).unwrap();
    let second = records(&bytes)[1].clone();
    replace(&mut bytes[second.clone()], "lambda:Action2", "lambda:Harmles");
    forge(&mut bytes, second.clone());
    fs::write(path, &bytes).unwrap();
    assert_eq!(findings(dir.path()), ["entry 2 was changed: it doesn't carry the hash of what it says"]);
    // With its own hash made anew as well, the next one tells.
    let body = second.start + HEAD_BYTES;
    let digest = ring::digest::digest(&ring::digest::SHA256, &[&bytes[body..body + 32], &bytes[body + 64..second.end]].concat());
    bytes[body + 32..body + 64].copy_from_slice(digest.as_ref());
    forge(&mut bytes, second);
    fs::write(path, &bytes).unwrap();
    assert_eq!(findings(dir.path()), ["entry 2 was changed: entry 3 carries another hash of it"]);
}

#[test]
fn removed_moved_and_cut_entries_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let whole = ten(dir.path());
    let copy = |change: &dyn Fn(&Path)| {
        let copy = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(dir.path()).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
        change(copy.path());
        let found = findings(copy.path());
        // What came after it does not hide it.
        let log = opened(copy.path(), &small());
        write(&log, 20..22);
        assert!(!log.verify(None).unwrap().findings.is_empty());
        found
    };
    type Edit = dyn Fn(&mut Vec<u8>, Vec<std::ops::Range<usize>>);
    let edit = |path: &Path, with: &Edit| {
        let first = &segments(path)[0];
        let mut bytes = fs::read(first).unwrap();
        let all = records(&bytes);
        with(&mut bytes, all);
        fs::write(first, bytes).unwrap();
    };
    assert_eq!(copy(&|p| edit(p, &|b, r| drop(b.drain(r[1].clone())))), ["entry 2 is missing"]);
    assert_eq!(copy(&|p| edit(p, &|b, r| b.truncate(r[0].end)))[0], "entries 2 to 4 are missing");
    let moved = copy(&|p| {
        edit(p, &|b, r| {
            let moved = [&b[r[1].clone()], &b[r[0].clone()]].concat();
            b.splice(r[0].start..r[1].end, moved);
        });
    });
    assert!(moved.contains(&"entry 1 stands behind entry 2: it was moved or repeated".to_owned()), "{moved:?}");
    let last = || segments(dir.path()).len() - 1;
    let cut = copy(&|p| fs::remove_file(&segments(p)[last()]).unwrap());
    assert!(cut.len() == 1 && cut[0].ends_with("cut off at the end") && cut[0].contains("10"), "{cut:?}");
    assert_eq!(copy(&|p| fs::remove_file(&segments(p)[0]).unwrap()), ["entries 1 to 4 are missing"]);
    assert!(!copy(&|p| fs::remove_file(p.join("anchor")).unwrap()).is_empty());
    // Who removes the head with the end has to reckon with a hash that was noted elsewhere.
    let bare = tempfile::tempdir().unwrap();
    let log = opened(bare.path(), &small());
    write(&log, 1..4);
    let found = log.verify(Some(&whole.head)).unwrap().findings;
    assert!(found.len() == 1 && found[0].what.contains(&whole.head), "{found:?}");
    assert_eq!(cause(log.verify(Some("short"))), model::Cause::Invalid);
}

#[test]
fn what_is_too_much_or_too_old_goes_and_the_chain_is_carried_over_the_cut() {
    let dir = tempfile::tempdir().unwrap();
    let whole = ten(dir.path());
    let limits = AuditLimits { total_bytes_max: 1_500, ..small() };
    let log = opened(dir.path(), &limits);
    assert!(log.retain().unwrap() > 0);
    let kept = log.verify(Some(&whole.head)).unwrap();
    assert!(kept.findings.is_empty() && kept.first > 1 && kept.last == 10, "{kept:?}");
    write(&log, 11..13);
    assert!(log.verify(None).unwrap().findings.is_empty());
    log.close();
    // Killed between moving the anchor and removing the segment: the segment goes at the next start.
    let other = tempfile::tempdir().unwrap();
    ten(other.path());
    fs::copy(dir.path().join("anchor"), other.path().join("anchor")).unwrap();
    let before = segments(other.path()).len();
    let log = opened(other.path(), &small());
    let again = log.verify(None).unwrap();
    assert!(again.findings.is_empty() && again.first == kept.first, "{again:?}");
    assert!(segments(other.path()).len() < before);
    drop(log);
    // By age: all but the one that is written.
    let log = opened(other.path(), &AuditLimits { age_max: Duration::ZERO, ..small() });
    std::thread::sleep(Duration::from_millis(20));
    let inner = log.retain();
    assert!(inner.is_ok());
    assert!(log.verify(None).unwrap().findings.is_empty());
}

#[test]
fn a_torn_end_is_mended_at_any_byte() {
    let dir = tempfile::tempdir().unwrap();
    let log = opened(dir.path(), &AuditLimits::default());
    write(&log, 1..4);
    let head = fs::read(dir.path().join("head")).unwrap();
    write(&log, 4..5);
    log.close();
    let path = &segments(dir.path())[0];
    let whole = fs::read(path).unwrap();
    let last = records(&whole).pop().unwrap();
    for cut in last.clone() {
        // Not confirmed: the head had not moved yet.
        fs::write(dir.path().join("head"), &head).unwrap();
        fs::write(path, &whole[..cut]).unwrap();
        let log = opened(dir.path(), &AuditLimits::default());
        assert!(log.verify(None).unwrap().findings.is_empty(), "cut at {cut}");
        write(&log, 4..6);
        let mended = log.verify(None).unwrap();
        assert!(mended.findings.is_empty() && mended.last == 5, "cut at {cut}: {mended:?}");
        log.close();
    }
}

const CHILD: &str = "MYNA_STORE_TEST_AUDIT";

/// Killed in the middle of many changes: what was confirmed is there, and the chain is whole.
#[test]
fn a_kill_loses_no_confirmed_change() {
    use std::io::{BufRead, BufReader};
    if let Some(folder) = std::env::var_os(CHILD) {
        let log = Arc::new(opened(Path::new(&folder), &small()));
        let begin = log.view().last + 1;
        for n in begin..u64::MAX {
            wait(log.change(entry(n))).unwrap();
            println!("confirmed {n}");
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let mut confirmed = 0;
    for round in 0..5 {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["tests::audit::a_kill_loses_no_confirmed_change", "--exact", "--nocapture", "--test-threads", "1"])
            .env(CHILD, dir.path())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = 0;
        let mut hear = |line: String| {
            if let Some(n) = line.split("confirmed ").nth(1) {
                confirmed = n.trim().parse().unwrap();
                seen += 1;
            }
            seen
        };
        while hear(lines.next().expect("the child goes on").unwrap()) < 10 + round * 7 {}
        child.kill().unwrap();
        child.wait().unwrap();
        lines.map_while(Result::ok).for_each(|line| {
            hear(line);
        });
        let log = opened(dir.path(), &small());
        let verified = log.verify(None).unwrap();
        assert!(verified.findings.is_empty(), "{verified:?}");
        assert!(verified.last >= confirmed, "{} < {confirmed}", verified.last);
        log.close();
    }
}

#[test]
fn a_flood_of_refusals_is_a_few_entries_and_slows_nobody_down() {
    let dir = tempfile::tempdir().unwrap();
    let log = opened(dir.path(), &AuditLimits::default());
    for n in 0..100_000 {
        log.denied(Entry { action: format!("guess {n}"), outcome: "denied: SignatureDoesNotMatch".into(), ..entry(n) });
    }
    write(&log, 1..2);
    log.close();
    let log = opened(dir.path(), &AuditLimits::default());
    let all = log.read(&AuditQuery { limit: 1000, ..AuditQuery::default() }).unwrap();
    assert!(all.len() <= 7, "{}", all.len());
    assert_eq!(all.iter().map(|n| n.entry.count).sum::<u64>(), 100_001);
    assert!(log.verify(None).unwrap().findings.is_empty());
}

#[test]
fn without_a_folder_to_write_to_a_change_is_refused_and_said_so() {
    let dir = tempfile::tempdir().unwrap();
    let log = opened(dir.path(), &small());
    write(&log, 1..5);
    // The next segment can't be made.
    fs::create_dir(dir.path().join("00000002.seg")).unwrap();
    let fault = wait(log.change(entry(5))).unwrap_err();
    assert!(fault.to_string().contains("audit log"), "{fault}");
    fs::remove_dir(dir.path().join("00000002.seg")).unwrap();
    write(&log, 5..6);
    assert!(log.verify(None).unwrap().findings.is_empty());
}
