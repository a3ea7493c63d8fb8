//! Groups that somebody keeps by hand: written with an answer, removed, kept for as long as their owners chose.

use super::*;
use crate::options::LogLimits;
use model::ports::{LogQuery, Logs};
use std::collections::HashSet;

fn query(group: &str) -> LogQuery {
    LogQuery {
        tenant: tenant(),
        group: group.into(),
        streams: Vec::new(),
        from_ms: 0,
        until_ms: u64::MAX,
        id: None,
        after: None,
        limit: 1000,
        backwards: false,
    }
}

/// Texts with the streams that they are in.
fn read(store: &Store, group: &str) -> Vec<(String, String)> {
    let Ok(page) = wait(store.logs().read(query(group))) else { return Vec::new() };
    let text = |(_, stream, record): &(u64, Arc<Stream>, LogRecord)| match &record.line {
        Line::Text { text, .. } => (stream.name.to_string(), String::from_utf8(text.to_vec()).unwrap()),
        other => (stream.name.to_string(), format!("{other:?}")),
    };
    page.records.iter().map(text).collect()
}

fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

fn write(store: &Store, lines: Vec<LogLine>) {
    wait(store.logs().write(lines)).unwrap();
}

fn remove(store: &Store, group: &str, stream: Option<&str>) -> bool {
    wait(store.logs().remove(&tenant(), group, stream)).unwrap()
}

#[test]
fn what_was_written_by_hand_is_there_and_what_was_removed_is_not_also_after_a_restart() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("state");
    let store = open(&path);
    let (a, b, empty) = (stream("/g", "a"), stream("/g", "b"), stream("/g", "empty"));
    write(&store, vec![text(&a, 1, "a1"), text(&b, 2, "b1"), text(&a, 3, "a2")]);
    let opened = LogLine { stream: empty.clone(), record: LogRecord { at_ms: 9, id: None, line: Line::Opened } };
    write(&store, vec![opened]);
    write(&store, vec![text(&stream("/other", "a"), 1, "kept")]);
    let shown = store.logs().streams(&tenant(), "/g");
    let shown: Vec<_> = shown.iter().map(|s| (&*s.stream.name, s.created_ms, s.first_ms, s.last_ms)).collect();
    assert_eq!(shown, [("a", 1, 1, 3), ("b", 2, 2, 2), ("empty", 9, u64::MAX, 0)]);
    assert!(remove(&store, "/g", Some("a")) && !remove(&store, "/g", Some("a")));
    assert_eq!(read(&store, "/g"), pairs(&[("b", "b1"), ("empty", "Opened")]));
    // What goes on being written to it begins afresh.
    write(&store, vec![text(&a, 4, "a3"), text(&b, 5, "b2")]);
    let all = pairs(&[("b", "b1"), ("empty", "Opened"), ("a", "a3"), ("b", "b2")]);
    assert_eq!(read(&store, "/g"), all);
    drop(store);
    let store = open(&path);
    assert_eq!(read(&store, "/g"), all);
    let names: Vec<_> = store.logs().streams(&tenant(), "/g").iter().map(|s| s.stream.name.to_string()).collect();
    assert_eq!(names, ["a", "b", "empty"]);
    assert!(remove(&store, "/g", None) && !remove(&store, "/g", None));
    assert_eq!((read(&store, "/g"), read(&store, "/other")), (Vec::new(), pairs(&[("a", "kept")])));
    assert_eq!(store.logs().groups(&tenant(), "", "", 10).len(), 1);
    write(&store, vec![text(&a, 6, "again")]);
    drop(store);
    assert_eq!(read(&open(&path), "/g"), pairs(&[("a", "again")]));
}

#[test]
fn a_group_keeps_its_lines_for_as_long_as_its_owner_chose_and_the_others_as_long_as_all() {
    let home = tempfile::tempdir().unwrap();
    let clock = Hand::new();
    let day = Duration::from_secs(86_400);
    let options = Options { logs: LogLimits { age_max: 7 * day, ..LogLimits::default() }, ..Options::default() };
    let store = Store::open(&home.path().join("state"), options, clock.clone()).unwrap();
    let (short, plain, long) = (stream("/short", "s"), stream("/plain", "s"), stream("/long", "s"));
    // Chosen before there is a group, and after.
    store.logs().keep(&tenant(), "/short", Some(day));
    let all = |at_ms: u64, what: &str| vec![text(&short, at_ms, what), text(&plain, at_ms, what), text(&long, at_ms, what)];
    write(&store, all(clock.wall_ms(), "old"));
    store.logs().keep(&tenant(), "/long", Some(30 * day));
    // Too old is not shown, whenever its file goes.
    clock.forward(day + Duration::from_secs(1));
    write(&store, all(clock.wall_ms(), "new"));
    assert_eq!(read(&store, "/short"), pairs(&[("s", "new")]));
    assert_eq!(read(&store, "/plain"), pairs(&[("s", "old"), ("s", "new")]));
    clock.forward(8 * day);
    store.maintain(&HashSet::new(), &|| ()).unwrap();
    let names: Vec<_> = store.logs().groups(&tenant(), "", "", 10).iter().map(|g| g.name.to_string()).collect();
    assert_eq!(names, ["/long"]);
    assert_eq!(read(&store, "/long"), pairs(&[("s", "old"), ("s", "new")]));
    // Withdrawn: as all.
    store.logs().keep(&tenant(), "/long", None);
    store.maintain(&HashSet::new(), &|| ()).unwrap();
    assert_eq!(store.stats().log_groups, 0);
}

#[test]
fn a_log_that_is_written_all_the_time_begins_a_file_now_and_then_so_that_what_is_old_can_go() {
    let home = tempfile::tempdir().unwrap();
    let clock = Hand::new();
    let store = Store::open(&home.path().join("state"), Options::default(), clock.clone()).unwrap();
    let (own, day) = (stream("/busy", "s"), Duration::from_secs(86_400));
    store.logs().keep(&tenant(), "/busy", Some(3 * day));
    write(&store, vec![text(&own, clock.wall_ms(), "first")]);
    clock.forward(day + Duration::from_secs(3600));
    store.maintain(&HashSet::new(), &|| ()).unwrap();
    // In a file of its own, though there was room in the first.
    write(&store, vec![text(&own, clock.wall_ms(), "second")]);
    let group = home.path().join("state/logs/000000000000");
    let folder = std::fs::read_dir(group).unwrap().next().unwrap().unwrap().path();
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2);
    assert_eq!(read(&store, "/busy").len(), 2);
}

#[test]
fn a_flood_of_one_tenant_in_many_groups_takes_nothing_of_another_tenants_log() {
    let home = tempfile::tempdir().unwrap();
    let limits = LogLimits { segment_bytes: 4_000, total_bytes_max: 60_000, ..LogLimits::default() };
    let options = Options { logs: limits, ..Options::default() };
    let store = Store::open(&home.path().join("state"), options, Hand::new()).unwrap();
    // The largest group of all is the quiet tenant's; the most bytes are the other's.
    let quiet = stream("/quiet", "s");
    (0..20).for_each(|n| write(&store, vec![text(&quiet, n, "q".repeat(1000))]));
    for group in 0..12 {
        let loud =
            Arc::new(Stream { tenant: "other".into(), ..Arc::into_inner(stream(&format!("/loud-{group}"), "s")).unwrap() });
        (0..10).for_each(|n| write(&store, vec![text(&loud, n, "l".repeat(1000))]));
    }
    store.maintain(&HashSet::new(), &|| ()).unwrap();
    assert!(store.stats().logs_bytes <= 60_000, "{:?}", store.stats());
    assert_eq!(read(&store, "/quiet").len(), 20);
}
