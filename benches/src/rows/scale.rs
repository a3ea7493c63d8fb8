//! Two hundred calls at once at a function without an instance, beside a bare loop that starts as many with the same parallelism.

use super::{
    ROUNDS,
    cold::{Bare, LANGUAGES},
};
use crate::{
    deploy::{self, Code},
    server::{Bench, Myna, invoke},
    table::{Goal, Row, ms},
};
use std::time::{Duration, Instant};

const INSTANCES: usize = 200;
/// Starts under way at once, here and in the bare loop: what a platform on two cores has by default.
const AT_ONCE: usize = 6;
const WITHIN: Duration = Duration::from_secs(60);
/// Each call holds its instance until all are there.
const CODE: &str = "import time\n\n\ndef handler(event, context):\n    time.sleep(120)\n";

pub fn rows(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let (mut ours, mut bare) = (Duration::MAX, Duration::MAX);
    for _ in 0..ROUNDS {
        let config = format!("[engine]\nmemory_overcommit = 100.0\nprestarted = 0\nstarts_max = {AT_ONCE}\n");
        let myna = Myna::up(bench, &config)?;
        let reference = Bare::new(bench, &LANGUAGES[0], &myna)?;
        ours = ours.min(all_up(&myna)?);
        myna.stop_now();
        bare = bare.min(reference.spawn(INSTANCES, AT_ONCE)?[0]);
    }
    let rate = |d: Duration| INSTANCES as f64 / d.as_secs_f64();
    let text = |d: Duration| format!("{:.0}/s, all after {}", rate(d), ms(d));
    let row = Row::ratio(
        format!("{INSTANCES} Python instances from zero"),
        text(ours),
        text(bare),
        rate(ours) / rate(bare),
        Goal::AtLeast(0.7),
    );
    let hundred = Row::absolute("the same: instances per second", format!("{:.0}/s", rate(ours)), "100/s", rate(ours) >= 100.0);
    Ok(vec![row.note(format!("{AT_ONCE} starts at once on both sides; ours: each has a call in its handler")), hundred])
}

fn all_up(myna: &Myna) -> anyhow::Result<Duration> {
    deploy::create(myna, "wide", &Code::python(CODE)?.timeout(300))?;
    let began = Instant::now();
    for _ in 0..INSTANCES {
        let admin = myna.ready.admin.clone();
        // Never answered: the platform is stopped first.
        std::thread::Builder::new().stack_size(128 << 10).spawn(move || drop(invoke(&admin, "wide", b"{}")))?;
    }
    loop {
        let observed = myna.admin("GET", "/admin/v1/functions/wide/observed", b"")?;
        let busy = observed["instances"].as_array().map_or(0, |i| i.iter().filter(|i| i["state"] == "busy").count());
        let took = began.elapsed();
        if busy >= INSTANCES {
            return Ok(took);
        }
        anyhow::ensure!(took < WITHIN, "only {busy} of {INSTANCES} came up in {WITHIN:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
