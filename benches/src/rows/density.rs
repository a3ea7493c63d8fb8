//! What an idle instance costs, by runtime.

use crate::{
    deploy::{self, Code, NODE, PYTHON},
    server::{self, Bench, Myna},
    table::Row,
};
use std::time::{Duration, Instant};

const WITHIN: Duration = Duration::from_secs(120);

pub fn rows(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    // Node's are dear; two hundred say what one costs.
    for (name, count, code) in
        [("Python", 1000, Code::python(PYTHON)?), ("Node", 200, Code::node(NODE)?), ("provided", 1000, Code::bare(bench)?)]
    {
        let idle = idle(bench, count, code)?;
        let what = format!("{count} idle {name} instances");
        let row = match count {
            1000 => Row::absolute(what, format!("{:.1} MiB each", idle.machine_mib), "fit", true),
            _ => Row::plain(what, format!("{:.1} MiB each", idle.machine_mib)),
        };
        let (own, seconds) = (idle.processes_mib, idle.took.as_secs_f64());
        rows.push(row.note(format!("{own:.1} MiB of it in its processes (PSS); all there after {seconds:.1} s")));
    }
    Ok(rows)
}

struct Idle {
    /// What the machine has less, for each: the platform's share and the kernel's included.
    machine_mib: f64,
    /// What the processes below the platform have, shared pages counted in part, for each.
    processes_mib: f64,
    /// To have them all.
    took: Duration,
}

fn idle(bench: &Bench, count: u32, code: Code) -> anyhow::Result<Idle> {
    // Half of the instances may be kept ready.
    let config =
        "[engine]\nmemory_overcommit = 100.0\ninstances_max = 2400\nconcurrency = 2000\nprestarted = 0\nkeep_alive = 600\n";
    let myna = Myna::up(bench, config)?;
    deploy::create(&myna, "many", &code.memory(128))?;
    myna.admin("POST", "/2015-03-31/functions/many/versions", b"{}")?;
    let (before, began) = (available()?, Instant::now());
    let path = "/2019-09-30/functions/many/provisioned-concurrency?Qualifier=1";
    myna.admin("PUT", path, format!(r#"{{"ProvisionedConcurrentExecutions":{count}}}"#).as_bytes())?;
    loop {
        let state = myna.admin("GET", path, b"")?;
        if state["AvailableProvisionedConcurrentExecutions"] == count {
            break;
        }
        anyhow::ensure!(began.elapsed() < WITHIN, "not all came up in {WITHIN:?}: {state}");
        std::thread::sleep(Duration::from_millis(200));
    }
    let took = began.elapsed();
    std::thread::sleep(Duration::from_secs(1));
    let mib = |bytes: u64| bytes as f64 / 1_048_576.0 / f64::from(count);
    let machine_mib = mib(before.saturating_sub(available()?));
    Ok(Idle { machine_mib, processes_mib: mib(server::pss_below(myna.pid())), took })
}

/// What the machine could still give, in bytes.
fn available() -> anyhow::Result<u64> {
    let text = std::fs::read_to_string("/proc/meminfo")?;
    let kib = text.lines().find_map(|l| l.strip_prefix("MemAvailable:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    Ok(kib.unwrap_or(0) * 1024)
}
