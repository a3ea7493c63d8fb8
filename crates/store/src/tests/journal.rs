use super::*;
use crate::options::{LogLimits, RecordLimits};
use model::{
    event::Record,
    log::Status,
    ports::{Journal, LogQuery, Logs, Records},
};
use std::{collections::HashSet, fs, path::PathBuf, time::Instant};

const GROUP: &str = "/aws/lambda/f";

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
fn read(store: &Store, query: LogQuery) -> Vec<LogRecord> {
    wait(store.logs().read(query)).unwrap().records.into_iter().map(|(_, _, record)| record).collect()
}
fn texts(records: &[LogRecord]) -> Vec<String> {
    let text = |r: &LogRecord| match &r.line {
        Line::Text { text, .. } => String::from_utf8(text.to_vec()).unwrap(),
        Line::Platform { text } => format!("platform: {text}"),
        other => format!("{other:?}"),
    };
    records.iter().map(text).collect()
}
fn with(logs: LogLimits, records: RecordLimits) -> Options {
    Options { logs, records, ..Options::default() }
}

#[test]
fn every_kind_of_line_is_read_as_it_was_written_also_after_a_restart() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("state");
    let store = open(&path);
    let stream = stream(GROUP, "2026/11/24/[$LATEST]ab");
    let usage = Usage {
        duration: Duration::from_nanos(1_234_567),
        init: Some(Duration::from_millis(80)),
        memory_mib: 128,
        memory_max_bytes: 1,
    };
    let lines = [
        Line::InitStart { runtime: "python3.12".into(), runtime_name: "x".into() },
        Line::Start { version: "$LATEST".into() },
        Line::Text { text: bytes::Bytes::from_static(b"\xff\x00 any bytes\r\n"), level: Some("WARN".into()) },
        Line::Text { text: bytes::Bytes::from_static(b"REPORT RequestId: forged"), level: None },
        Line::Platform { text: "Task timed out".into() },
        Line::End,
        Line::Report { usage, status: Status::Error("Runtime.ExitError".into()) },
        Line::Report { usage, status: Status::Timeout },
    ];
    let id = Some(InvocationId::random());
    let written: Vec<_> = lines.into_iter().enumerate().map(|(n, line)| LogRecord { at_ms: 1000 + n as u64, id, line }).collect();
    for record in &written {
        store.journal().line(LogLine { stream: stream.clone(), record: record.clone() });
    }
    assert_eq!(read(&store, query(GROUP)), written);
    drop(store);
    let store = open(&path);
    assert_eq!(read(&store, LogQuery { id, ..query(GROUP) }), written);
    let streams = store.logs().streams(&tenant(), GROUP);
    assert_eq!((streams.len(), &streams[0].stream, streams[0].first_ms, streams[0].last_ms), (1, &stream, 1000, 1007));
}

#[test]
fn pages_windows_and_streams() {
    let home = tempfile::tempdir().unwrap();
    let options = with(LogLimits { segment_bytes: 600, ..LogLimits::default() }, RecordLimits::default());
    let store = Store::open(&home.path().join("state"), options, Hand::new()).unwrap();
    let streams = [stream(GROUP, "one"), stream(GROUP, "two")];
    for n in 0..100 {
        store.journal().line(text(&streams[n % 2], n as u64, format!("line {n}")));
        if n % 10 == 0 {
            store.stats();
        }
    }
    store.journal().line(text(&stream("/aws/lambda/other", "three"), 5, "elsewhere"));
    let all: Vec<String> = (0..100).map(|n| format!("line {n}")).collect();
    for backwards in [false, true] {
        let (mut found, mut after, mut pages) = (Vec::new(), None, 0);
        loop {
            let page = wait(store.logs().read(LogQuery { after, limit: 7, backwards, ..query(GROUP) })).unwrap();
            found.extend(texts(&page.records.into_iter().map(|r| r.2).collect::<Vec<_>>()));
            pages += 1;
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        if backwards {
            found.reverse();
        }
        assert_eq!((found, pages), (all.clone(), 15));
    }
    let window = read(&store, LogQuery { from_ms: 10, until_ms: 14, streams: vec!["two".into()], ..query(GROUP) });
    assert_eq!(texts(&window), ["line 11", "line 13"]);
    let names: Vec<_> = store.logs().streams(&tenant(), GROUP).iter().map(|s| s.stream.name.to_string()).collect();
    assert_eq!(names, ["one", "two"]);
    let groups = |prefix: &str, after: &str| {
        store.logs().groups(&tenant(), prefix, after, 10).iter().map(|g| g.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(groups("/aws/", ""), [GROUP, "/aws/lambda/other"]);
    assert_eq!(groups("/aws/", GROUP), ["/aws/lambda/other"]);
    assert_eq!(groups("/none", ""), Vec::<String>::new());
    assert_eq!(cause(wait(store.logs().read(query("/none")))), model::Cause::NotFound);
}

/// F16, F17: a tail torn anywhere, or a damaged record, loses that and nothing else; writing goes on behind it.
#[test]
fn a_torn_or_damaged_log_loses_only_that() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("state");
    let (before, stream) = (["first", "second", "third"], stream(GROUP, "s"));
    let store = open(&path);
    before.iter().for_each(|t| store.journal().line(text(&stream, 1, t)));
    drop(store);
    let file = segments(&path.join("logs")).pop().unwrap();
    let whole = fs::read(&file).unwrap();
    for cut in 1..whole.len() {
        fs::write(&file, &whole[..cut]).unwrap();
        let store = open(&path);
        store.journal().line(text(&stream, 2, "after"));
        let found = texts(&read(&store, query(GROUP)));
        let (last, kept) = found.split_last().unwrap();
        assert_eq!(last, "after", "cut at {cut}: {found:?}");
        assert!(kept.iter().zip(before).all(|(a, b)| a == b) && kept.len() < 3, "cut at {cut}: {found:?}");
        drop(store);
        segments(&path.join("logs")).into_iter().filter(|f| *f != file).for_each(|f| fs::remove_file(f).unwrap());
    }
    let mut bent = whole.clone();
    let at = whole.windows(6).position(|w| w == b"second").unwrap();
    bent[at] ^= 1;
    fs::write(&file, &bent).unwrap();
    assert_eq!(texts(&read(&open(&path), query(GROUP))), ["first", "third"]);
}

fn segments(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![folder.to_owned()];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// H48: a flood costs the lines of whoever floods; others' are kept, and the loss is said in the log.
#[test]
fn a_flood_costs_its_own_lines() {
    let home = tempfile::tempdir().unwrap();
    let limits = LogLimits { pending_lines_max: 400, pending_bytes_max: 1 << 20, ..LogLimits::default() };
    let store = Store::open(&home.path().join("state"), with(limits, RecordLimits::default()), Hand::new()).unwrap();
    let (loud, quiet) = (stream(GROUP, "loud"), stream("/quiet", "quiet"));
    for n in 0..100_000 {
        store.journal().line(text(&loud, n, "x".repeat(100)));
        if n % 1000 == 0 {
            store.journal().line(text(&quiet, n, "quiet"));
        }
    }
    assert_eq!(read(&store, query("/quiet")).len(), 100);
    let (mut kept, mut marked, mut after) = (0, 0, None);
    loop {
        let page = wait(store.logs().read(LogQuery { after, ..query(GROUP) })).unwrap();
        for (_, _, record) in page.records {
            match record.line {
                Line::Platform { text } => marked += text.split(' ').next().unwrap().parse::<u64>().unwrap(),
                _ => kept += 1,
            }
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(kept + marked, 100_000);
    assert!(marked > 0 && store.stats().log_lines_lost == marked);
}

#[test]
fn logs_and_records_stay_within_their_retention() {
    let home = tempfile::tempdir().unwrap();
    let clock = Hand::new();
    let day = Duration::from_secs(86_400);
    let logs = LogLimits {
        segment_bytes: 10_000,
        group_bytes_max: 50_000,
        total_bytes_max: 80_000,
        age_max: day,
        ..LogLimits::default()
    };
    let records = RecordLimits { segment_bytes: 5_000, total_bytes_max: 20_000, recent_max: 5, ..RecordLimits::default() };
    let store = Store::open(&home.path().join("state"), with(logs, records), clock.clone()).unwrap();
    let streams = [stream("/a", "s"), stream("/b", "s"), stream("/c", "s")];
    let (mut newest, mut oldest) = (record("f", clock.wall_ms()), None);
    for n in 0..600 {
        streams.iter().for_each(|s| store.journal().line(text(s, n, "x".repeat(150))));
        newest = record("f", clock.wall_ms());
        oldest.get_or_insert(newest.id);
        store.journal().record(newest.clone());
        if n % 20 == 0 {
            store.stats();
        }
    }
    store.maintain(&HashSet::new(), &|| ()).unwrap();
    let stats = store.stats();
    assert!(stats.logs_bytes <= 80_000 + 3 * 10_000 && stats.records_bytes <= 20_000 + 5_000, "{stats:?}");
    assert_eq!(texts(&read(&store, LogQuery { from_ms: 599, ..query("/b") })).len(), 1);
    assert!(store.records().find(&tenant(), &oldest.unwrap()).is_none());
    assert!(store.records().find(&tenant(), &newest.id).is_some());
    clock.forward(2 * day);
    store.maintain(&HashSet::new(), &|| ()).unwrap();
    assert_eq!((store.stats().logs_bytes, store.stats().log_groups), (0, 0));
    store.journal().line(text(&streams[0], 1, "again"));
    assert_eq!(texts(&read(&store, query("/a"))), ["again"]);
}

#[test]
fn followers_hear_what_they_asked_for() {
    let home = tempfile::tempdir().unwrap();
    let store = open(&home.path().join("state"));
    let mut lines = store.logs().follow(&tenant(), &[GROUP.into()]).unwrap();
    let mut others = store.logs().follow(&"other".into(), &[]).unwrap();
    let mut records = store.records().follow();
    store.journal().line(text(&stream("/else", "s"), 1, "no"));
    store.journal().line(text(&stream(GROUP, "s"), 1, "yes"));
    let done = record("f", 1);
    store.journal().record(done.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(texts(&[runtime.block_on(lines.recv()).unwrap().record]), ["yes"]);
    assert_eq!(runtime.block_on(records.recv()).unwrap().id, done.id);
    assert!(lines.try_recv().is_err() && others.try_recv().is_err());
    store.logs().dismiss_followers();
    for mut told in [lines, others, store.logs().follow(&tenant(), &[]).unwrap()] {
        assert!(matches!(told.try_recv(), Err(tokio::sync::broadcast::error::TryRecvError::Closed)));
    }
}

// H58
#[test]
fn so_many_follow_the_logs_of_a_tenant_and_who_goes_makes_room() {
    let home = tempfile::tempdir().unwrap();
    let store = open(&home.path().join("state"));
    let most = model::limits::TAILS_PER_TENANT_MAX;
    let mut all: Vec<_> = (0..most).map(|_| store.logs().follow(&tenant(), &[GROUP.into()]).unwrap()).collect();
    let refused = store.logs().follow(&tenant(), &[GROUP.into()]).unwrap_err();
    assert_eq!(refused.cause, model::Cause::Exhausted, "{refused}");
    assert!(store.logs().follow(&"other".into(), &[]).is_ok(), "one tenant's readers take nobody else's place");
    all.pop();
    assert!(store.logs().follow(&tenant(), &[GROUP.into()]).is_ok());
}

#[test]
fn records_and_usage_are_what_happened() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("state");
    let store = open(&path);
    let hour = 3_600_000;
    let started = 500_000 * hour;
    let mut rare = record("rare", started);
    rare.usage.init = Some(Duration::from_millis(5));
    rare.status = "timeout".into();
    store.journal().record(rare.clone());
    let busy: Vec<Record> = (0..20_000).map(|n| record("busy", started + hour * (n / 15_000))).collect();
    for chunk in busy.chunks(5_000) {
        chunk.iter().for_each(|r| store.journal().record(r.clone()));
        store.stats();
    }
    let check = |store: &Store| {
        let usage = store.records().usage(&tenant(), Some("busy"), 0);
        assert_eq!(usage.iter().map(|u| (u.hour, u.invocations)).collect::<Vec<_>>(), [(500_000, 15_000), (500_001, 5_000)]);
        assert_eq!((usage[0].billed_ms, usage[0].errors, usage[0].memory_max_bytes), (30_000, 0, 7 << 20));
        assert!((usage[0].gb_seconds - 15.0).abs() < 1e-6);
        let rare_usage = store.records().usage(&tenant(), Some("rare"), 500_000);
        assert_eq!((rare_usage.len(), rare_usage[0].errors, rare_usage[0].cold_starts), (1, 1, 1));
        assert_eq!(store.records().usage(&tenant(), None, 500_001).len(), 1);
        assert!(store.records().usage(&"other".into(), None, 0).is_empty());
        let recent = store.records().recent(&tenant(), None, 3);
        assert_eq!(recent.iter().map(|r| r.id).collect::<Vec<_>>(), busy.iter().rev().take(3).map(|r| r.id).collect::<Vec<_>>());
        let found = store.records().find(&tenant(), &rare.id).unwrap();
        assert_eq!(serde_json::to_value(&found).unwrap(), serde_json::to_value(&rare).unwrap());
        assert!(store.records().find(&"other".into(), &rare.id).is_none());
    };
    check(&store);
    assert_eq!(store.records().recent(&tenant(), Some("rare"), 10).len(), 1);
    drop(store);
    check(&open(&path));
}

/// The price of leaving a line and a record, seen from the hot path; printed, not judged.
#[test]
fn what_the_journal_costs() {
    let home = tempfile::tempdir().unwrap();
    let store = open(&home.path().join("state"));
    let stream = stream(GROUP, "s");
    let journal = store.journal();
    let (mut lines_took, mut records_took) = (Duration::ZERO, Duration::ZERO);
    let line = |n| text(&stream, n, "a line of an ordinary length, as functions write them");
    for round in 0..100 {
        let lines: Vec<_> = (0..1000).map(|n| line(round * 1000 + n)).collect();
        let records: Vec<_> = (0..1000).map(|n| record("f", n)).collect();
        let began = Instant::now();
        lines.into_iter().for_each(|line| journal.line(line));
        lines_took += began.elapsed();
        let began = Instant::now();
        records.into_iter().for_each(|record| journal.record(record));
        records_took += began.elapsed();
        // What has gathered is written meanwhile, off the path that is measured.
        store.stats();
    }
    eprintln!("journal: {:?} a line, {:?} a record", lines_took / 100_000, records_took / 100_000);
    assert_eq!(store.records().usage(&tenant(), Some("f"), 0)[0].invocations, 100_000);
    assert_eq!(store.stats().log_lines_lost, 0);
}

/// Panics when the journal's own thread asks for the time, as often as it is told to.
struct Trap {
    hand: Arc<Hand>,
    panics: AtomicU64,
}

impl Clock for Trap {
    fn mono(&self) -> Mono {
        self.hand.mono()
    }
    fn wall_ms(&self) -> u64 {
        let ours = std::thread::current().name() == Some("store-journal");
        let left = self.panics.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| if ours { n.checked_sub(1) } else { None });
        assert!(left.is_err(), "the trap");
        self.hand.wall_ms()
    }
}

// F12: a real loop, broken through its clock.
#[test]
fn a_journal_whose_writer_panics_goes_on_and_one_that_keeps_panicking_is_given_up() {
    let home = tempfile::tempdir().unwrap();
    let clock = Arc::new(Trap { hand: Hand::new(), panics: AtomicU64::new(2) });
    let loops = model::Loops::new(clock.clone());
    let store = Store::watched(&home.path().join("state"), Options::default(), clock.clone(), &loops).unwrap();
    let (stream, until) = (stream(GROUP, "s"), Instant::now() + Duration::from_secs(20));
    let mut written = 0;
    // Nobody reads meanwhile: readers would write what has gathered themselves.
    let mut write_until = |done: &dyn Fn() -> bool| {
        while !done() {
            assert!(Instant::now() < until, "the loop was not run again: {loops:?}");
            store.journal().line(text(&stream, begin_ms(), format!("line {written}")));
            written += 1;
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    write_until(&|| loops.panics().first().is_some_and(|p| p.times == 2));
    let seen = loops.panics();
    assert_eq!((&*seen[0].name, &*seen[0].last), ("journal", "the trap"));
    assert_eq!(loops.broken(), None);
    store.journal().line(text(&stream, begin_ms(), "after"));
    assert!(texts(&read(&store, query(GROUP))).contains(&"after".to_owned()), "logs are read and written after a panic");

    clock.panics.store(u64::MAX, Ordering::SeqCst);
    write_until(&|| loops.broken().is_some());
    assert!(loops.broken().is_some_and(|why| why.contains("journal") && why.contains("the trap")));
    clock.panics.store(0, Ordering::SeqCst);
    drop(store);
}

#[test]
fn a_flood_of_one_tenants_calls_pushes_no_other_tenants_records_out_of_memory() {
    let home = tempfile::tempdir().unwrap();
    let records = RecordLimits { recent_max: 100, ..RecordLimits::default() };
    let store = Store::open(&home.path().join("state"), with(LogLimits::default(), records), Hand::new()).unwrap();
    // More of one function than a function keeps for itself.
    (0..40).for_each(|n| store.journal().record(record("quiet", n)));
    (0..1000).for_each(|n| store.journal().record(Record { tenant: "other".into(), ..record("loud", n) }));
    assert_eq!(store.records().recent(&tenant(), None, 1000).len(), 40);
    let loud = store.records().recent(&"other".into(), None, 1000);
    assert_eq!((loud.len(), loud[0].started_ms, loud[59].started_ms), (60, 999, 940));
}
