//! A warm call of an empty function: through its URL and through the signed API, beside a bare relay that runs the same program.

use super::ROUNDS;
use crate::{
    load::{self, Measured},
    peers,
    server::{Bench, Myna, Running, free_port, wait_for},
    table::{Goal, Row},
};
use anyhow::Context;
use std::process::Command;

const CALLS: usize = 6000;

pub fn rows(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let myna = Myna::up(bench, "")?;
    let (url, api) = (url(&myna, bench)?, signed(&myna));
    let (relay, _relay_processes) = relay(bench, 64)?;
    let (proxy, _proxy_processes) = proxy(bench)?;
    let plain = plain_request();
    let mut best = [Option::<Measured>::None; 7];
    for _ in 0..ROUNDS {
        let round = [
            load::run(&relay, &*plain, 1, CALLS)?,
            load::run(myna.address(), &*url, 1, CALLS)?,
            load::run(myna.address(), &*api, 1, CALLS)?,
            load::run(&proxy, &*plain, 1, CALLS)?,
            load::run(&relay, &*plain, 64, CALLS * 3)?,
            load::run(myna.address(), &*url, 64, CALLS * 3)?,
            load::run(&proxy, &*plain, 64, CALLS * 3)?,
        ];
        for (best, new) in best.iter_mut().zip(round) {
            let old = best.get_or_insert(new);
            old.p50_us = old.p50_us.min(new.p50_us);
            old.p99_us = old.p99_us.min(new.p99_us);
            old.per_second = old.per_second.max(new.per_second);
        }
    }
    let all: Vec<Measured> = best.into_iter().map(|m| m.context("every row was measured")).collect::<Result<_, _>>()?;
    let [relay1, url1, api1, proxy1, relay64, url64, proxy64] = all[..] else { anyhow::bail!("seven figures were expected") };
    let p50 = |m: Measured| format!("p50 {:.0} µs", m.p50_us);
    let rate = |m: Measured| format!("{:.0}/s", m.per_second);
    Ok(vec![
        Row::ratio("warm call through the URL, 1 caller", p50(url1), p50(relay1), url1.p50_us / relay1.p50_us, Goal::AtMost(1.3))
            .note(format!("bare proxy {}", p50(proxy1))),
        Row::ratio("the same through Invoke with SigV4", p50(api1), p50(relay1), api1.p50_us / relay1.p50_us, Goal::AtMost(1.5)),
        Row::ratio(
            "warm calls through the URL, 64 callers",
            rate(url64),
            rate(relay64),
            url64.per_second / relay64.per_second,
            Goal::AtLeast(0.75),
        )
        .note(format!("bare proxy {}", rate(proxy64))),
        peer(bench, url64)?,
    ])
}

fn peer(bench: &Bench, ours: Measured) -> anyhow::Result<Row> {
    let folder = tempfile::tempdir()?;
    let name = "against functions-framework (Python), 64 callers";
    let (_running, port) = match peers::functions_framework_python(bench, folder.path()) {
        Ok(peer) => peer,
        Err(error) => return Ok(Row::failed(name, &error)),
    };
    let theirs = load::run(&format!("127.0.0.1:{port}"), &*plain_request(), 64, 2000)?;
    let (us, them) = (format!("{:.0}/s", ours.per_second), format!("{:.0}/s", theirs.per_second));
    Ok(Row::ratio(name, us, them, ours.per_second / theirs.per_second, Goal::AtLeast(2.0)).note(
        "ours runs a compiled function in a sandbox per call; theirs an in-process Python handler, no sandbox, no metering",
    ))
}

fn plain_request() -> Box<load::Request> {
    Box::new(|| b"POST / HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}".to_vec())
}

/// Deploy the bare function and give it an address; what is sent to it.
fn url(myna: &Myna, bench: &Bench) -> anyhow::Result<Box<load::Request>> {
    let folder = myna.folder().join("bare");
    std::fs::create_dir_all(&folder)?;
    std::fs::copy(bench.program("bench-function"), folder.join("bootstrap"))?;
    let text = folder.to_str().context("a temporary folder has a plain name")?;
    myna.cli(&["deploy", text, "--name", "bare", "--runtime", "provided.al2023", "--handler", "bootstrap", "--memory", "256"])?;
    let made = myna.admin("POST", "/2021-10-31/functions/bare/url", br#"{"AuthType":"NONE"}"#)?;
    let permission = br#"{"StatementId":"url","Action":"lambda:InvokeFunctionUrl","Principal":"*","FunctionUrlAuthType":"NONE"}"#;
    myna.admin("POST", "/2015-03-31/functions/bare/policy", permission)?;
    let url = made["FunctionUrl"].as_str().context("a URL was made")?.to_owned();
    let host = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
    Ok(Box::new(move || {
        format!("POST / HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}").into_bytes()
    }))
}

/// The same call through the API, signed anew each time as a client would.
fn signed(myna: &Myna) -> Box<load::Request> {
    let ready = myna.ready.clone();
    let host = myna.address().to_owned();
    let credential = gateway_credential(&ready);
    Box::new(move || {
        let request = http::Request::post("/2015-03-31/functions/bare/invocations")
            .header("host", &host)
            .body(())
            .expect("a plain request");
        let (mut parts, ()) = request.into_parts();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64);
        gateway::sigv4::sign(&mut parts, b"{}", &credential, &ready.region, "lambda", now);
        let mut text = String::from("POST /2015-03-31/functions/bare/invocations HTTP/1.1\r\ncontent-length: 2\r\n");
        for (name, value) in &parts.headers {
            text.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap_or_default()));
        }
        text.push_str("\r\n{}");
        text.into_bytes()
    })
}

fn gateway_credential(ready: &crate::server::Ready) -> model::Credential {
    model::Credential {
        access_key_id: ready.access_key_id.as_str().into(),
        secret: ready.secret_access_key.as_str().into(),
        session_token: None,
        principal: model::Principal::Anonymous,
    }
}

/// The relay with this many bare runtimes, no sandbox around them.
fn relay(bench: &Bench, runtimes: usize) -> anyhow::Result<(String, Vec<Running>)> {
    let (front, back) = (free_port()?, free_port()?);
    let mut all = vec![Running::start(Command::new(bench.program("ref-relay")).args([front.to_string(), back.to_string()]))?];
    wait_for(back)?;
    for _ in 0..runtimes {
        let mut command = Command::new(bench.program("bench-function"));
        all.push(Running::start(command.env("AWS_LAMBDA_RUNTIME_API", format!("127.0.0.1:{back}")))?);
    }
    Ok((format!("127.0.0.1:{front}"), all))
}

fn proxy(bench: &Bench) -> anyhow::Result<(String, Vec<Running>)> {
    let (front, back) = (free_port()?, free_port()?);
    let backend = Running::start(Command::new(bench.program("ref-proxy")).args(["backend", &back.to_string()]))?;
    wait_for(back)?;
    let proxy = Running::start(Command::new(bench.program("ref-proxy")).args([front.to_string(), back.to_string()]))?;
    wait_for(front)?;
    Ok((format!("127.0.0.1:{front}"), vec![backend, proxy]))
}
