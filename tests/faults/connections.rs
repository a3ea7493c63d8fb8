//! Clients that are slow, many, or gone.

use myna_tests::{Http, Options, Platform, Result, Test, Wire, ensure, json, scaled, tests};
use std::{thread, time::Duration};

pub const ALL: &[Test] = tests![
    slow_clients_are_ended_and_others_are_served,
    idle_connections_cost_little,
    clients_that_go_away_give_their_slots_back,
    out_of_descriptors_it_waits_and_recovers,
];

// F42, H21: silent, within a head, within a body.
fn slow_clients_are_ended_and_others_are_served() -> Result<()> {
    let myna = Platform::start()?;
    let each = scaled("slow clients of each kind", 200, 2600);
    let f = myna.python("served", "def handler(e, c): return e")?;
    let beginnings: [&[u8]; 3] = [
        b"",
        b"POST /2015-03-31/functions HTTP/1.1\r\nHost: local",
        b"POST /2015-03-31/functions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n{",
    ];
    let mut slow = Vec::new();
    for beginning in beginnings {
        for _ in 0..each {
            let mut wire = Wire::open(&myna.ready().aws)?;
            wire.send(beginning)?;
            slow.push(wire);
        }
    }
    for n in 0..10 {
        ensure!(f.call(json!(n))? == n, "a client beside {} slow ones", slow.len());
    }
    // One of each kind is waited for; all of them run out at the same time.
    for wire in [0, each, 2 * each] {
        if let Some(answer) = slow[wire].answer()? {
            ensure!((400..500).contains(&answer.status), "a slow client was answered {}", answer.status);
        }
        ensure!(slow[wire].hung_up()?, "slow client {wire} is still connected");
    }
    Ok(())
}

// F43
fn idle_connections_cost_little() -> Result<()> {
    let myna = Platform::start()?;
    let f = myna.python("busy", "def handler(e, c): return e")?;
    f.call(json!(0))?;
    let before = resident(myna.pid())?;
    let request = b"GET /none HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut idle = Vec::new();
    for _ in 0..scaled("idle connections", 500, 8000) {
        let mut wire = Wire::open(&myna.ready().aws)?;
        wire.send(request)?;
        ensure!(wire.answer()?.is_some(), "an idle client is answered first");
        idle.push(wire);
    }
    for n in 0..100 {
        ensure!(f.call(json!(n))? == n);
    }
    let cost = resident(myna.pid())?.saturating_sub(before) / idle.len() as u64;
    ensure!(cost <= 20 * 1024, "an idle connection costs {cost} bytes");
    Ok(())
}

fn resident(pid: u32) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib = text.lines().find_map(|l| l.strip_prefix("VmRSS:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.map(|k| k * 1024).ok_or_else(|| myna_tests::anyhow!("no VmRSS for {pid}"))
}

// F44: the function may run one at a time, so that a slot that is not given back shows at once.
fn clients_that_go_away_give_their_slots_back() -> Result<()> {
    let myna = Platform::start_with(Options { args: vec!["--no-auth".into()], ..Options::default() })?;
    let f = myna
        .draft("left", "import time\ndef handler(e, c):\n    time.sleep(e)\n    return 'here'\n")
        .set("Timeout", 5)
        .create()?;
    f.operation("PUT", "/2017-10-31/functions/left/concurrency", &json!({"ReservedConcurrentExecutions": 1}))?;
    f.call(json!(0))?;
    for _ in 0..50 {
        let mut wire = Wire::open(&myna.ready().aws)?;
        wire.send(b"POST /2015-03-31/functions/left/invocations HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\n0.2")?;
        thread::sleep(Duration::from_millis(5));
    }
    let served = || f.call(json!(0)).is_ok_and(|said| said == "here");
    ensure!(myna_tests::soon(served), "the slot did not come back");
    Ok(())
}

// F23a
fn out_of_descriptors_it_waits_and_recovers() -> Result<()> {
    let myna = Platform::start_with(Options { descriptors_max: Some(160), ..Options::default() })?;
    let f = myna.python("after", "def handler(e, c): return e")?;
    f.call(json!(1))?;
    let mut held: Vec<Wire> = (0..400).filter_map(|_| Wire::open(&myna.ready().aws).ok()).collect();
    ensure!(held.len() > 200, "only {} connections could be tried", held.len());
    let spent = cpu_ticks(myna.pid())?;
    thread::sleep(Duration::from_secs(1));
    let spinning = cpu_ticks(myna.pid())? - spent;
    ensure!(spinning < 80, "it used {spinning} of 100 ticks while it could accept nothing");
    held.clear();
    let served = || Http::default().get(&format!("{}/none", myna.ready().aws)).is_ok() && f.call(json!(2)).is_ok();
    ensure!(myna_tests::soon(served), "it did not recover");
    Ok(())
}

fn cpu_ticks(pid: u32) -> Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    Ok(fields[11].parse::<u64>()? + fields[12].parse::<u64>()?)
}
