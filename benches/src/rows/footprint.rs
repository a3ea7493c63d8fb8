//! What it costs to have functions and instances that do nothing.

use crate::{
    server::{self, Bench, Myna},
    table::Row,
};
use std::time::Duration;

/// A thousand deployed functions, no traffic.
pub fn idle_functions(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let myna = Myna::up(bench, "[engine]\nprestarted = 0\n")?;
    super::cold::deploy(&myna, "f0", "python3.11", "app.py", "def handler(event, context):\n    return 1\n")?;
    let code = myna.admin("GET", "/2015-03-31/functions/f0", b"")?;
    let zip = download(&myna, &code)?;
    for i in 1..1000 {
        let body = format!(
            r#"{{"FunctionName":"f{i}","Runtime":"python3.11","Handler":"app.handler","Role":"{}","Code":{{"ZipFile":"{zip}"}}}}"#,
            myna.ready.role
        );
        myna.admin("POST", "/2015-03-31/functions", body.as_bytes())?;
    }
    std::thread::sleep(Duration::from_secs(3));
    let before = server::cpu(myna.pid())?;
    std::thread::sleep(Duration::from_secs(10));
    let share = (server::cpu(myna.pid())? - before).as_secs_f64() / 10.0;
    let rss = server::rss(myna.pid())? as f64 / 1048576.0;
    Ok(vec![
        Row::absolute(
            "1,000 deployed functions, no traffic: memory",
            format!("{rss:.0} MiB"),
            "≤ 50 MB",
            rss * 1.048_576 <= 50.0,
        ),
        Row::absolute("the same: processor", format!("{share:.3} cores"), "≤ 0.1 cores", share <= 0.1),
        Row::plain("start of the platform until it is ready", format!("{:.0} ms", myna.startup.as_secs_f64() * 1000.0)),
    ])
}

/// The archive of a function, in base64.
fn download(myna: &Myna, code: &serde_json::Value) -> anyhow::Result<String> {
    use base64::Engine;
    use std::io::{Read, Write};
    let location = code["Code"]["Location"].as_str().unwrap_or_default();
    let path = location.trim_start_matches("http://");
    let path = &path[path.find('/').unwrap_or(0)..];
    let mut socket = std::net::TcpStream::connect(myna.address())?;
    write!(socket, "GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", myna.address())?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer)?;
    let at = answer.windows(4).position(|w| w == b"\r\n\r\n").map_or(0, |at| at + 4);
    anyhow::ensure!(answer.starts_with(b"HTTP/1.1 200"), "{location}: {}", String::from_utf8_lossy(&answer[..at]));
    Ok(base64::engine::general_purpose::STANDARD.encode(&answer[at..]))
}

/// A thousand idle Python instances.
pub fn idle_instances(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let myna = Myna::up(
        bench,
        "[engine]\nmemory_overcommit = 50.0\ninstances_max = 1200\nconcurrency = 2000\nprestarted = 0\nkeep_alive = 600\n",
    )?;
    super::cold::deploy(&myna, "many", "python3.11", "app.py", "def handler(event, context):\n    return 1\n")?;
    myna.admin("POST", "/2015-03-31/functions/many/versions", b"{}")?;
    let before = available()?;
    myna.admin(
        "PUT",
        "/2019-09-30/functions/many/provisioned-concurrency?Qualifier=1",
        br#"{"ProvisionedConcurrentExecutions":1000}"#,
    )?;
    let until = std::time::Instant::now() + Duration::from_secs(180);
    loop {
        let state = myna.admin("GET", "/2019-09-30/functions/many/provisioned-concurrency?Qualifier=1", b"")?;
        if state["AvailableProvisionedConcurrentExecutions"] == 1000 {
            break;
        }
        anyhow::ensure!(std::time::Instant::now() < until, "not all came up: {state}");
        std::thread::sleep(Duration::from_millis(500));
    }
    std::thread::sleep(Duration::from_secs(2));
    let each = before.saturating_sub(available()?) as f64 / 1000.0 / 1048576.0;
    Ok(vec![Row::absolute("1,000 idle Python instances", format!("{each:.1} MiB each"), "fit", true)])
}

/// What the machine could still give, in bytes.
fn available() -> anyhow::Result<u64> {
    let text = std::fs::read_to_string("/proc/meminfo")?;
    let kib = text.lines().find_map(|l| l.strip_prefix("MemAvailable:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    Ok(kib.unwrap_or(0) * 1024)
}
