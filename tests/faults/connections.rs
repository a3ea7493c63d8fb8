//! Clients that are slow, many, or gone.

use myna_tests::{Http, Options, Platform, Result, Test, Wire, ensure, json, processes::resident, scaled, tests};
use std::{net::Ipv4Addr, thread, time::Duration};

pub const ALL: &[Test] = tests![
    slow_clients_are_ended_and_others_are_served,
    idle_connections_cost_little,
    clients_that_go_away_give_their_slots_back,
    out_of_descriptors_it_waits_and_recovers,
];

// F42, H21, A2.7: silent, within a head, within a body; from 250 addresses.
fn slow_clients_are_ended_and_others_are_served() -> Result<()> {
    let myna = Platform::start()?;
    let each = scaled("slow clients of each kind", 200, 2600);
    let f = myna.python("served", "def handler(e, c): return e")?;
    let half_a_body = signed_call_without_its_end(&myna)?;
    let beginnings: [&[u8]; 3] = [b"", b"POST /2015-03-31/functions HTTP/1.1\r\nHost: local", half_a_body.as_bytes()];
    let mut slow = Vec::new();
    for beginning in beginnings {
        for n in 0..each {
            let from = Ipv4Addr::new(127, 0, 1, (n % 250) as u8 + 1);
            let mut wire = Wire::open_from(&myna.ready().aws, from)?;
            wire.send(beginning)?;
            slow.push(wire);
        }
    }
    for n in 0..10 {
        ensure!(f.call(json!(n))? == n, "a client beside {} slow ones", slow.len());
    }
    // One of each kind is waited for; all of them run out at the same time.
    for (wire, limit) in [(0, None), (each, Some("head did not arrive in time")), (2 * each, Some("the body stopped coming"))] {
        let said = slow[wire].answer()?.map(|a| (a.status, String::from_utf8_lossy(&a.body).into_owned()));
        let named = said.as_ref().zip(limit).is_none_or(|((status, text), limit)| *status == 408 && text.contains(limit));
        ensure!(named && (said.is_some() || limit.is_none()), "slow client {wire} was told {said:?}, and not {limit:?}");
        ensure!(slow[wire].hung_up()?, "slow client {wire} is still connected");
    }
    Ok(())
}

/// Who sends no signature is refused before the body is read.
fn signed_call_without_its_end(myna: &Platform) -> Result<String> {
    let (path, body) = ("/2015-03-31/functions/served/invocations", vec![b' '; 100_000]);
    let host = myna.ready().aws.trim_start_matches("http://").to_owned();
    let headers = myna.keys().sign("lambda", "POST", &host, (path, ""), &[], &body);
    let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let host_line = if lines.to_ascii_lowercase().contains("host: ") { String::new() } else { format!("host: {host}\r\n") };
    Ok(format!("POST {path} HTTP/1.1\r\n{host_line}{lines}content-length: {}\r\n\r\n ", body.len()))
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
    let calls = scaled("calls beside them, by each of four clients", 25, 5000);
    let one = |n| {
        ensure!(f.call(json!(n))? == n, "a call beside idle connections");
        Ok(())
    };
    thread::scope(|s| {
        let callers: Vec<_> = (0..4).map(|_| s.spawn(|| (0..calls).try_for_each(one))).collect();
        callers.into_iter().try_for_each(|c| c.join().expect("a caller does not panic"))
    })?;
    let cost = resident(myna.pid())?.saturating_sub(before) / idle.len() as u64;
    ensure!(cost <= 20 * 1024, "an idle connection costs {cost} bytes");
    Ok(())
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
