//! More events than fit into memory.

use futures_util::StreamExt;
use model::{
    Clock, InvocationId, Mono,
    ports::Queue,
    queue::{Control, Lane, NewEvent, Settled, Why},
};
use myna_tests::{Platform, Result, Test, ensure, scaled, tests};
use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

pub const ALL: &[Test] = tests![a_long_queue_costs_little_memory_and_is_read_in_pages];

const RESIDENT_MIB_MAX: u64 = 256;
const START_MAX: Duration = Duration::from_secs(10);

struct Wall;

impl Clock for Wall {
    fn mono(&self) -> Mono {
        Mono(self.wall_ms() * 1_000_000)
    }
    fn wall_ms(&self) -> u64 {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
    }
}

fn lane(function: &str) -> Lane {
    Lane { tenant: "000000000000".into(), function: function.into() }
}

fn event(function: &str, n: usize) -> NewEvent {
    NewEvent {
        lane: lane(function),
        qualifier: None,
        key: None,
        due_ms: Wall.wall_ms(),
        expires_ms: Wall.wall_ms() + 24 * 3_600_000,
        hops: 0,
        content_type: None,
        attributes: Vec::new(),
        body: format!("{{\"number\":{n},\"text\":\"an event as small as most are\"}}").into(),
    }
}

/// Through the platform's own store, since a client would need an hour for it.
fn fill(myna: &Platform, dead: usize, queued: usize) -> Result<InvocationId> {
    const AT_ONCE: usize = 2000;
    let seal = store::seal::Source::Folder(myna.home().join(".config/myna"));
    let options = store::Options { allow_volatile: true, seal, ..store::Options::default() };
    let store = store::Store::open(&myna.dir(), options, Arc::new(Wall))?;
    let queue = store.queue().clone();
    tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
        let put = |function: &'static str, count: usize| {
            let queue = queue.clone();
            futures_util::stream::iter(0..count).map(move |n| {
                let (queue, event) = (queue.clone(), event(function, n));
                async move {
                    loop {
                        match queue.put(event.clone()).await {
                            Err(fault) if fault.cause == model::Cause::Exhausted => tokio::task::yield_now().await,
                            other => break other,
                        }
                    }
                }
            })
        };
        let mut ids = put("died", dead).buffer_unordered(AT_ONCE);
        while let Some(id) = ids.next().await {
            id?;
        }
        queue.control(&lane("died"), Control::Pause).await?;
        loop {
            let taken = queue.take(&lane("died"), 1000).await?.0;
            if taken.is_empty() {
                break;
            }
            for t in taken {
                let settled = Settled::Dead { why: Why::Failed, reason: "it raised".into() };
                queue.settle(t.seq, settled, Vec::new()).await?;
            }
        }
        let (mut ids, mut last) = (put("waits", queued).buffer_unordered(AT_ONCE), None);
        while let Some(id) = ids.next().await {
            last = Some(id?);
        }
        queue.control(&lane("waits"), Control::Pause).await?;
        store.close();
        last.ok_or_else(|| myna_tests::anyhow!("nothing was queued"))
    })
}

fn resident_mib(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib = status.lines().find_map(|l| l.strip_prefix("VmRSS:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    Ok(kib.unwrap_or_default() / 1024)
}

// F21
fn a_long_queue_costs_little_memory_and_is_read_in_pages() -> Result<()> {
    let (queued, dead) = (scaled("queued events", 50_000, 10_000_000), scaled("dead letters", 2_000, 100_000));
    let mut myna = Platform::start()?;
    for name in ["waits", "died"] {
        myna.python(name, "def handler(event, context): return event")?;
    }
    ensure!(myna.stop()?.success());
    let began = Instant::now();
    let last = fill(&myna, dead, queued)?;
    let filled = began.elapsed();
    let began = Instant::now();
    myna.start_again()?;
    let started = began.elapsed();
    let lanes = myna.verb(&["events"])?;
    let lane = |name: &str| lanes.as_array().into_iter().flatten().find(|l| l["function"] == name).cloned().unwrap_or_default();
    ensure!(lane("waits")["queued"] == queued && lane("died")["dead"] == dead, "{lanes}");
    let pages = Instant::now();
    for words in [
        &["events", "list", "waits", "--limit", "1000"][..],
        &["events", "list", "--stage", "queued", "--limit", "1000"],
        &["dlq", "list", "--limit", "1000"],
        &["dlq", "list", "died", "--limit", "1000"],
    ] {
        let found = myna.verb(words)?.as_array().map(Vec::len);
        ensure!(found == Some(1000), "{words:?} gave {found:?}");
    }
    for stage in ["running", "succeeded", "failed", "cancelled"] {
        let found = myna.verb(&["events", "list", "--stage", stage])?;
        ensure!(found.as_array().is_some_and(Vec::is_empty), "{stage}: {found}");
    }
    let pages = pages.elapsed();
    // Work begins at the front, and what is asked for in the middle is found.
    ensure!(myna.verb(&["events", "show", &last.to_string()])?["stage"] == "queued");
    myna.verb(&["events", "resume", "waits"])?;
    ensure!(
        myna_tests::soon(|| {
            let done = myna.verb(&["events", "list", "waits", "--stage", "succeeded"]);
            done.is_ok_and(|d| d.as_array().is_some_and(|d| d.len() == 50))
        }),
        "nothing is tried"
    );
    let resident = resident_mib(myna.pid())?;
    println!(
        "{queued} events and {dead} dead letters: written in {filled:?}, up in {started:?}, eight pages in {pages:?}, {resident} MiB"
    );
    ensure!(resident < RESIDENT_MIB_MAX, "{resident} MiB, and {RESIDENT_MIB_MAX} are allowed");
    // A time says something where the queue is long and nothing else runs.
    ensure!(myna_tests::soaking().is_none() || started < START_MAX, "up after {started:?}, and {START_MAX:?} are allowed");
    Ok(())
}
