//! Asynchronous events: how many a second are accepted and on stable storage, by the queue alone beside a bare log and through the
//! API beside NATS JetStream; and how long one takes from its acceptance to its end.

use super::ROUNDS;
use crate::{
    deploy::{self, Code},
    load::{self, Measured},
    nats::{self, Nats},
    reference,
    server::{Bench, Myna},
    table::{Goal, Row},
};
use anyhow::{Context, ensure};
use model::{
    Clock, Mono,
    ports::Queue,
    queue::{Lane, NewEvent},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use store::QueueStore;

/// Bytes of a body, producers that each wait for their answer, and events in a round.
const CASES: [(usize, usize, usize); 4] = [(256, 1, 1000), (256, 64, 20_000), (64 << 10, 1, 500), (64 << 10, 64, 2000)];
const LATENCY_EVENTS: usize = 300;

pub fn rows(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let myna = Myna::up(bench, "[engine]\nprestarted = 0\n")?;
    let nats = nats::start(bench)?;
    for name in ["held", "runs"] {
        deploy::create(&myna, name, &Code::bare(bench)?)?;
    }
    myna.admin("POST", "/admin/v1/functions/held/events/pause", b"")?;
    let mut rows = Vec::new();
    for case in CASES {
        rows.push(alone(bench, case)?);
    }
    for case in CASES {
        rows.push(through(&myna, &nats, case)?);
    }
    rows.push(latency(&myna)?);
    Ok(rows)
}

fn named(what: &str, (bytes, producers, _): (usize, usize, usize)) -> String {
    let size = if bytes < 1024 { format!("{bytes} B") } else { format!("{} KiB", bytes >> 10) };
    format!("{what}: events of {size}, {producers} at once")
}

fn per_second(events: usize, took: Duration) -> f64 {
    events as f64 / took.as_secs_f64()
}

fn alone(bench: &Bench, case: (usize, usize, usize)) -> anyhow::Result<Row> {
    let (bytes, producers, events) = case;
    let (mut ours, mut theirs) = (0f64, 0f64);
    for _ in 0..ROUNDS {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("log").display().to_string();
        let numbers = [bytes, producers, events].map(|n| n.to_string());
        let args = [file.as_str(), &numbers[0], &numbers[1], &numbers[2]];
        theirs = theirs.max(per_second(events, reference::durations(bench, "ref-log", &args)?[0]));
        ours = ours.max(per_second(events, queue(bytes, producers, events)?));
    }
    let rate = |n: f64| format!("{n:.0}/s");
    Ok(Row::ratio(named("the queue alone", case), rate(ours), rate(theirs), ours / theirs, Goal::AtLeast(0.7)))
}

/// As the reference does it: producers are tasks of this thread.
fn queue(bytes: usize, producers: usize, events: usize) -> anyhow::Result<Duration> {
    let folder = tempfile::tempdir()?;
    let options = store::Options { allow_volatile: true, ..store::Options::default() };
    let store = store::Store::open(&folder.path().join("state"), options, Arc::new(Wall))?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let body = vec![b'x'; bytes];
    let round = |events: usize| {
        let each = events.div_ceil(producers);
        let all = (0..producers).map(|_| produce(store.queue().clone(), &body, each));
        let began = Instant::now();
        runtime.block_on(futures_util::future::try_join_all(all)).map(|_| began.elapsed())
    };
    round(events / 10)?;
    let took = round(events)?;
    store.close();
    Ok(took)
}

async fn produce(queue: Arc<QueueStore>, body: &[u8], count: usize) -> anyhow::Result<()> {
    for _ in 0..count {
        let now = Wall.wall_ms();
        let event = NewEvent {
            lane: Lane { tenant: "000000000000".into(), function: "held".into() },
            qualifier: None,
            key: None,
            due_ms: now,
            expires_ms: now + 3_600_000,
            hops: 0,
            content_type: None,
            attributes: Vec::new(),
            body: bytes::Bytes::copy_from_slice(body),
        };
        queue.put(event).await?;
    }
    Ok(())
}

struct Wall;

impl Clock for Wall {
    fn mono(&self) -> Mono {
        Mono(self.wall_ms() * 1_000_000)
    }
    fn wall_ms(&self) -> u64 {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
    }
}

fn through(myna: &Myna, nats: &Nats, case: (usize, usize, usize)) -> anyhow::Result<Row> {
    let (bytes, producers, events) = case;
    // A JSON text of as many bytes.
    let body = [&b"\""[..], &vec![b'x'; bytes - 2], b"\""].concat();
    let request = super::signed::event(myna, "held", body);
    let mut best: Option<(Measured, Measured)> = None;
    for _ in 0..ROUNDS {
        let theirs = nats.run(bytes, producers, events)?;
        let ours = load::run(myna.address(), &*request, producers, events)?;
        best = Some(best.map_or((ours, theirs), |(o, t)| (o.best(ours), t.best(theirs))));
        myna.admin("POST", "/admin/v1/functions/held/events/purge", b"")?;
    }
    let (ours, theirs) = best.context("there was a round")?;
    let ratio = ours.per_second / theirs.per_second;
    let note = format!("answered after {} and {}; signed HTTP requests beside NATS's own protocol", ours.p50(), theirs.p50());
    Ok(Row::ratio(named("through the API", case), ours.rate(), theirs.rate(), ratio, Goal::AtLeast(5.0)).note(note))
}

/// One at a time, by the platform's own times, which are whole milliseconds.
fn latency(myna: &Myna) -> anyhow::Result<Row> {
    let request = super::signed::event(myna, "runs", b"{}".to_vec());
    load::run(myna.address(), &*request, 1, LATENCY_EVENTS)?;
    let until = Instant::now() + Duration::from_secs(20);
    let ended = loop {
        let path = "/admin/v1/events?function=runs&stage=succeeded&limit=1000";
        let found = myna.admin("GET", path, b"")?;
        let found = found.as_array().context("a list of events")?.clone();
        if found.len() >= LATENCY_EVENTS {
            break found;
        }
        ensure!(Instant::now() < until, "only {} events have ended", found.len());
        std::thread::sleep(Duration::from_millis(50));
    };
    let at = |event: &serde_json::Value, name: &str| event[name].as_u64().unwrap_or_default();
    let mut times: Vec<u64> = ended.iter().map(|e| at(e, "ended_ms").saturating_sub(at(e, "accepted_ms"))).collect();
    times.sort_unstable();
    let quantile = |q: f64| times[((times.len() - 1) as f64 * q) as usize];
    let text = format!("p50 {} ms, p99 {} ms", quantile(0.5), quantile(0.99));
    Ok(Row::plain("from an event's acceptance to its end, an empty function, one caller", text))
}
