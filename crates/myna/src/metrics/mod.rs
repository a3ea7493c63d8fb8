//! `/metrics`: the platform in numbers, for Prometheus. Nothing is counted for it where a call passes: what became of calls is
//! counted by the thread that writes their records, everything else is looked up when somebody asks.
//!
//! What a scrape can cost is bounded: functions beyond [`store::tally::FUNCTIONS_MAX`] are one, and no label has a value that a
//! client chooses.

mod door;
mod process;
mod text;

#[cfg(test)]
pub use door::ROUTES;
pub use door::{MetricsDoor, answer, asked};
pub use text::Exposition;

use engine::{Engine, events::Events};
use gateway::Counters;
use model::Loops;
use std::sync::Arc;
use store::{Store, queue, tally};
use text::Page;

/// What the numbers are read from.
pub struct Sources {
    pub store: Arc<Store>,
    pub engine: Arc<Engine>,
    pub events: Arc<Events>,
    pub counters: Arc<Counters>,
    pub loops: Arc<Loops>,
    /// What instances may be promised, and what they may use, in bytes.
    pub memory_promised: u64,
    pub memory_usable: u64,
    pub started_ms: u64,
}

/// The page. Reads files and the queue's index, beside the thread that serves.
pub async fn page(from: Arc<Sources>, ready: bool, format: Exposition) -> String {
    let queue = from.store.queue().figures().await;
    let work = move || {
        let mut page = Page::new(format);
        platform(&mut page, &from, ready);
        still(&mut page, &from);
        calls(&mut page, &from);
        instances(&mut page, &from);
        match queue {
            Ok(figures) => events(&mut page, &from, &figures),
            Err(fault) => tracing::debug!("the queue's numbers are missing from a scrape: {}", fault.message),
        }
        kept(&mut page, &from);
        doors(&mut page, &from);
        process::write(&mut page, from.started_ms);
        page.finish()
    };
    tokio::task::spawn_blocking(work).await.unwrap_or_default()
}

fn platform(page: &mut Page, from: &Sources, ready: bool) {
    page.gauge("myna_build_info", "The version that runs; always 1.").add(&[("version", env!("CARGO_PKG_VERSION"))], 1_u64);
    page.gauge("myna_ready", "1 while requests are taken, 0 while the platform starts or stops.").add(&[], ready);
    let mut panics =
        page.counter("myna_loop_panics_total", "Panics of the platform's own loops, after each of which it was run again.");
    let all = from.loops.panics();
    // A series that is there from the start: an increase from nothing is none.
    panics.add(&[("loop", "any")], all.iter().map(|p| p.times).sum::<u64>());
    for p in &all {
        panics.add(&[("loop", &p.name)], p.times);
    }
}

/// Loops that stand still, now and since the start.
fn still(page: &mut Page, from: &Sources) {
    let (now, times) = (from.loops.still(), from.loops.stood_still());
    let mut family =
        page.gauge("myna_loops_still", "Loops of the platform that have been in the middle of one piece of work for too long.");
    family.add(&[("loop", "any")], now.len());
    for one in &now {
        family.add(&[("loop", &one.name)], 1_u64);
    }
    let mut family = page.counter("myna_loop_stalls_total", "Times when a loop of the platform stood still.");
    family.add(&[("loop", "any")], times.iter().map(|(_, times)| times).sum::<u64>());
    for (name, times) in &times {
        family.add(&[("loop", name)], *times);
    }
}

fn calls(page: &mut Page, from: &Sources) {
    let tally = from.store.records().tally();
    let rows = tally.rows();
    let mut family = page.counter(
        "myna_invocations_total",
        "Calls that are over, by what became of them: ok, error (the function reported one), or what failed.",
    );
    for (tenant, function, t) in &rows {
        for (outcome, count) in &t.outcomes {
            family.add(&[("tenant", tenant), ("function", function), ("outcome", outcome)], *count);
        }
    }
    type Pick = fn(&tally::FunctionTally) -> &tally::Histogram;
    let spreads: [(&str, &str, Pick); 3] = [
        ("myna_invocation_duration_seconds", "How long calls took, as they are charged.", |t| &t.duration),
        ("myna_invocation_queued_seconds", "How long calls waited for an instance.", |t| &t.queued),
        (
            "myna_init_duration_seconds",
            "How long initialising took, of calls that paid for a cold start; its count is the cold starts.",
            |t| &t.init,
        ),
    ];
    for (name, help, pick) in spreads {
        let mut family = page.histogram(name, help);
        for (tenant, function, t) in &rows {
            let spread = pick(t);
            if spread.count() > 0 {
                family.spread(&[("tenant", tenant), ("function", function)], &tally::BOUNDS_US, &spread.counts, spread.sum_us);
            }
        }
    }
    let mut family = page.counter("myna_cold_starts_total", "Calls that paid for a cold start.");
    for (tenant, function, t) in &rows {
        family.add(&[("tenant", tenant), ("function", function)], t.init.count());
    }
    let mut family = page.counter("myna_billed_gigabyte_seconds_total", "Memory size times billed time.");
    for (tenant, function, t) in &rows {
        family.add(&[("tenant", tenant), ("function", function)], t.mib_ms as f64 / 1_024_000.0);
    }
    let mut family = page.counter("myna_refused_calls_total", "Calls and events that were refused before anything ran, by cause; throttled is a function's or the account's limit, exhausted the machine's.");
    for (cause, count) in from.engine.refusals() {
        family.add(&[("cause", cause)], count);
    }
}

fn instances(page: &mut Page, from: &Sources) {
    let figures = from.engine.figures();
    let mut family = page.gauge("myna_instances", "Instances of functions, by state.");
    for state in ["starting", "busy", "idle", "frozen", "draining", "leaving"] {
        family.add(&[("state", state)], figures.instances.get(state).copied().unwrap_or(0));
    }
    page.gauge("myna_instances_provisioned", "Of them, kept by provisioned concurrency.").add(&[], figures.provisioned);
    page.gauge("myna_instances_unbound", "Language runtimes that were started before anybody asked, without code.")
        .add(&[], figures.unbound);
    page.gauge("myna_functions", "Functions that there are.").add(&[], figures.functions);
    page.gauge("myna_calls_running", "Calls that have an instance.").add(&[], figures.running);
    page.gauge("myna_calls_waiting", "Calls that wait for an instance.").add(&[], figures.waiting);
    page.gauge("myna_memory_reserved_bytes", "Memory promised to instances.").add(&[], figures.memory_reserved_bytes);
    page.gauge("myna_memory_promised_max_bytes", "Memory that may be promised to instances.").add(&[], from.memory_promised);
    page.gauge("myna_memory_used_bytes", "Memory that instances use together.").add(&[], figures.memory_used_bytes);
    page.gauge("myna_memory_usable_bytes", "Memory that instances may use together.").add(&[], from.memory_usable);
}

fn events(page: &mut Page, from: &Sources, figures: &queue::Figures) {
    let view = from.events.view();
    page.gauge("myna_queue_events", "Accepted events that have not ended.").add(&[], figures.queued);
    page.gauge("myna_queue_in_flight", "Attempts at events under way.").add(&[], view.in_flight);
    page.gauge(
        "myna_queue_due_age_seconds",
        "How long the event that is due longest has been due; functions whose events are paused left out.",
    )
    .add(&[], figures.due_for.as_secs_f64());
    page.gauge("myna_queue_dead_letters", "Dead letters that are kept.").add(&[], figures.dead);
    page.gauge("myna_queue_functions", "Functions with events or dead letters.").add(&[], figures.lanes);
    page.gauge("myna_queue_functions_paused", "Of them, with events that their owner paused.").add(&[], figures.paused);
    page.gauge("myna_queue_broken", "1 when the disk failed the queue and no event is accepted until the next start.")
        .add(&[], figures.broken);
    page.counter("myna_queue_accepted_total", "Events that were accepted.").add(&[], figures.accepted);
    page.counter("myna_queue_retries_total", "Attempts after which another one follows.").add(&[], figures.retried);
    page.counter(
        "myna_queue_ended_total",
        "Events that ended, by how: succeeded, failed (its destination has it), dead-lettered, cancelled.",
    )
    .add(&[("outcome", "succeeded")], figures.succeeded)
    .add(&[("outcome", "failed")], figures.failed)
    .add(&[("outcome", "dead-lettered")], figures.dead_lettered)
    .add(&[("outcome", "cancelled")], figures.cancelled);
    page.counter(
        "myna_event_loop_restarts_total",
        "Times when the loop that tries events stood still before work and was started again.",
    )
    .add(&[], view.restarts);
}

fn kept(page: &mut Page, from: &Sources) {
    let stats = from.store.stats();
    page.gauge("myna_store_bytes", "Bytes on the disk, by what they are.")
        .add(&[("area", "rows")], stats.rows_bytes)
        .add(&[("area", "packages")], stats.packages_bytes)
        .add(&[("area", "logs")], stats.logs_bytes)
        .add(&[("area", "records")], stats.records_bytes)
        .add(&[("area", "queue")], from.store.queue().bytes());
    page.gauge("myna_store_damaged", "Things in the state directory that were found broken.").add(&[], stats.damaged.len());
    page.gauge("myna_log_groups", "Log groups that hold something.").add(&[], stats.log_groups);
    page.counter(
        "myna_log_lines_lost_total",
        "Log lines that were dropped because more came than could be kept, or refused by the disk.",
    )
    .add(&[], stats.log_lines_lost);
    page.counter(
        "myna_records_lost_total",
        "Records of calls that were dropped or refused by the disk; those dropped are in no count here.",
    )
    .add(&[], stats.records_lost);
    if let Some((free, all)) = process::disk(from.store.directory().path()) {
        page.gauge("myna_disk_free_bytes", "Free bytes of the disk that the state directory is on.").add(&[], free);
        page.gauge("myna_disk_size_bytes", "All bytes of that disk.").add(&[], all);
    }
}

fn doors(page: &mut Page, from: &Sources) {
    use std::sync::atomic::Ordering::Relaxed;
    let counters = &from.counters;
    let answers = counters.answers();
    let mut family = page.counter("myna_http_requests_total", "Requests that were answered, by door and status.");
    for (door, status, count) in &answers {
        family.add(&[("door", door), ("status", &status.to_string())], *count);
    }
    let mut family = page.counter("myna_denied_requests_total", "Requests that were answered 401 or 403, by door.");
    let mut doors: Vec<&str> = counters.doors().collect();
    doors.sort_unstable();
    for door in doors {
        let denied = answers.iter().filter(|(d, status, _)| *d == door && matches!(status, 401 | 403));
        family.add(&[("door", door)], denied.map(|(.., count)| count).sum::<u64>());
    }
    page.gauge("myna_http_connections", "Connections that are open.").add(&[], counters.open.load(Relaxed));
    page.counter("myna_http_connections_total", "Connections that were accepted.").add(&[], counters.accepted.load(Relaxed));
    page.counter("myna_http_malformed_total", "Requests that were refused before anything looked at what they ask.")
        .add(&[], counters.malformed.load(Relaxed));
    page.counter("myna_http_panics_total", "Requests that met a defect of the platform.").add(&[], counters.panics.load(Relaxed));
    page.counter("myna_http_out_of_descriptors_total", "Times when no descriptor was left for a connection.")
        .add(&[], counters.out_of_descriptors.load(Relaxed));
    page.gauge("myna_http_bodies_bytes", "Bytes of request bodies that are held.").add(&[], counters.bodies_held.load(Relaxed));
}
