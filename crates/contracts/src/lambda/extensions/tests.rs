//! The Extensions API, asked by raw clients.

use crate::lambda::double::*;
use model::{
    Package, Unit,
    ports::{Contract, Goodbye, Opening, SessionCall, SlotEnd},
    sandbox::Group,
};
use std::time::Duration;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
};

const REGISTER: &str = "/2020-01-01/extension/register";
const NEXT: &str = "/2020-01-01/extension/event/next";

/// A unit with an extension in a layer; the folder lives as long as the test.
fn with_extension(name: &str) -> (Unit, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("extensions")).unwrap();
    std::fs::write(folder.path().join("extensions").join(name), "").unwrap();
    let layer = Package::Unpacked { digest: "01".into(), bytes: 1, path: folder.path().into() };
    (Unit { layers: vec![layer], ..unit() }, folder)
}

async fn register(client: &mut Client, name: &str, events: &str) -> String {
    let body = format!(r#"{{"events":[{events}]}}"#);
    let got = client.ask("POST", REGISTER, &format!("Lambda-Extension-Name: {name}\r\n"), body.as_bytes()).await;
    assert_eq!(got.status, 200, "{}", got.text());
    format!("Lambda-Extension-Identifier: {}\r\n", got.header("Lambda-Extension-Identifier").unwrap())
}

async fn taken(client: &mut Client) -> String {
    client.got().await.header("Lambda-Runtime-Aws-Request-Id").unwrap().to_owned()
}

#[tokio::test]
async fn an_instance_is_ready_and_a_call_over_when_runtime_and_extensions_are() {
    let (unit, _folder) = with_extension("watcher");
    let bench = Bench::new().await;
    let (mut runtime, mut watcher) = (Client::connect(bench.port).await, Client::connect(bench.port).await);
    let mut opening = Box::pin(bench.open(Some(unit)));
    let session = {
        let life = async {
            let me = register(&mut watcher, "watcher", r#""INVOKE","SHUTDOWN""#).await;
            runtime.next().await;
            tokio::time::sleep(Duration::from_millis(30)).await;
            me
        };
        let me = tokio::select! {
            _ = &mut opening => panic!("ready before the extension asked for an event"),
            me = life => me,
        };
        watcher.send("GET", NEXT, &me, b"").await;
        (opening.await.unwrap(), me)
    };
    let (session, me) = session;
    let beside = session.beside();
    assert_eq!((beside.budget, beside.waits), (Duration::from_secs(2), vec![Group::Extension("watcher".into())]));

    let SessionCall { reply, mut free } = session.call(event("{}"));
    let id = taken(&mut runtime).await;
    let told = watcher.got().await;
    assert!(told.text().contains(&id) && told.header("Lambda-Extension-Event-Identifier").is_some(), "{}", told.text());
    runtime.answer(&id, b"1").await;
    assert!(reply.await.is_ok());
    runtime.next().await;
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert!(futures_util::poll!(&mut free).is_pending(), "free while the extension is at work");
    watcher.send("GET", NEXT, &me, b"").await;
    assert_eq!(free.await, SlotEnd::Free);

    session.goodbye(Goodbye::Spindown, 1234);
    let told: serde_json::Value = serde_json::from_slice(&watcher.got().await.body).unwrap();
    assert_eq!(told, serde_json::json!({ "eventType": "SHUTDOWN", "shutdownReason": "spindown", "deadlineMs": 1234 }));
}

#[tokio::test]
async fn an_extension_whose_runtime_fails_to_initialise_can_be_told_of_the_end() {
    let (unit, _folder) = with_extension("watcher");
    let bench = Bench::new().await;
    let (mut runtime, mut watcher) = (Client::connect(bench.port).await, Client::connect(bench.port).await);
    let Opening { session, ready } = bench.opening(Some(unit)).await.unwrap();
    assert!(session.beside().budget.is_zero(), "nobody has registered yet");
    let me = register(&mut watcher, "watcher", r#""SHUTDOWN""#).await;
    let failed = runtime.ask("POST", "/2018-06-01/runtime/init/error", "", br#"{"errorMessage":"no module"}"#).await;
    assert_eq!((failed.status, ready.await.unwrap_err().cause), (202, model::Cause::InitFailed));
    let beside = session.beside();
    assert_eq!((beside.budget, beside.waits), (Duration::from_secs(2), vec![Group::Extension("watcher".into())]));
    session.close(model::Fault::internal("the instance was removed"));
    session.goodbye(Goodbye::Failure, 1234);
    // It was still busy with its own preparations, and asks for its first event only now.
    watcher.send("GET", NEXT, &me, b"").await;
    let told: serde_json::Value = serde_json::from_slice(&watcher.got().await.body).unwrap();
    assert_eq!(told, serde_json::json!({ "eventType": "SHUTDOWN", "shutdownReason": "failure", "deadlineMs": 1234 }));
}

/// One batch as a subscriber over HTTP reads it, answered.
async fn posted(listener: &TcpListener) -> String {
    let (stream, _) = listener.accept().await.unwrap();
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).await.unwrap();
        if let Some(n) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
            length = n.trim().parse().unwrap();
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).await.unwrap();
    reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    String::from_utf8(body).unwrap()
}

#[tokio::test]
async fn subscriptions_are_taken_until_all_are_initialised_and_delivered_by_either_protocol() {
    let (unit, _folder) = with_extension("watcher");
    let bench = Bench::new().await;
    let (mut runtime, mut watcher) = (Client::connect(bench.port).await, Client::connect(bench.port).await);
    let (http, tcp) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
    let subscribe = |to: String| format!(r#"{{"types":["platform"],"buffering":{{"timeoutMs":25}},"destination":{to}}}"#);
    let by_http = subscribe(format!(r#"{{"protocol":"HTTP","URI":"http://sandbox.localdomain:{}/x"}}"#, port(&http)));
    let by_tcp = subscribe(format!(r#"{{"protocol":"TCP","port":{}}}"#, port(&tcp)));
    let life = async {
        let me = register(&mut watcher, "watcher", r#""INVOKE""#).await;
        runtime.next().await;
        // The runtime is ready; the function isn't.
        tokio::time::sleep(Duration::from_millis(30)).await;
        for body in [&by_http, &by_tcp] {
            let got = watcher.ask("PUT", "/2022-07-01/telemetry", &me, body.as_bytes()).await;
            assert_eq!((got.status, got.text()), (200, "OK".to_owned()));
        }
        watcher.send("GET", NEXT, &me, b"").await;
        me
    };
    let (session, me) = tokio::join!(bench.open(Some(unit)), life);
    let session = session.unwrap();
    let mut late = Client::connect(bench.port).await;
    let got = late.ask("PUT", "/2022-07-01/telemetry", &me, by_tcp.as_bytes()).await;
    assert!(got.status == 403 && got.text().contains("Telemetry.SubscriptionClosed"), "{}", got.text());
    let batch: Vec<serde_json::Value> = serde_json::from_str(&posted(&http).await).unwrap();
    assert_eq!(batch[0]["type"], "platform.telemetrySubscription");
    let (mut stream, _) = tcp.accept().await.unwrap();
    let mut lines = String::new();
    stream.read_to_string(&mut lines).await.unwrap();
    assert!(lines.lines().all(|l| serde_json::from_str::<serde_json::Value>(l).is_ok()) && lines.ends_with('\n'), "{lines}");
    drop(session);
}

#[tokio::test]
async fn an_internal_extension_is_no_reason_to_wait_at_the_end_and_registers_in_time_only() {
    let bench = Bench::new().await;
    let mut runtime = Client::connect(bench.port).await;
    let mut inside = Client::connect(bench.port).await;
    let life = async {
        let me = register(&mut inside, "inside", r#""INVOKE""#).await;
        inside.send("GET", NEXT, &me, b"").await;
        runtime.next().await;
    };
    let (session, ()) = tokio::join!(bench.open(Some(unit())), life);
    let session = session.unwrap();
    let beside = session.beside();
    assert_eq!((beside.budget, beside.waits.len()), (Duration::from_millis(500), 0));
    let mut late = Client::connect(bench.port).await;
    let got = late.ask("POST", REGISTER, "Lambda-Extension-Name: late\r\n", br#"{"events":["INVOKE"]}"#).await;
    assert!(got.status == 403 && got.text().contains("Extension.RegistrationClosed"), "{}", got.text());
    let _call = session.call(event("{}"));
    let id = taken(&mut runtime).await;
    assert!(inside.got().await.text().contains(&id));
}

#[tokio::test]
async fn a_function_without_extensions_ends_at_once() {
    let (session, _client) = Bench::ready(unit()).await;
    assert!(session.beside().budget.is_zero());
}

#[test]
fn extensions_start_beside_the_runtime_with_what_is_theirs_to_see() {
    let (mut unit, folder) = with_extension("one");
    unit.env.push(("MINE".into(), "m".into()));
    let plan = |unit: &Unit| super::super::Lambda::default().plan(&runtime(), Some(unit), &facts()).unwrap();
    let planned = plan(&unit);
    let [_, one] = &planned.processes[..] else { panic!("{:?}", planned.processes) };
    assert_eq!((one.argv[0].to_str(), one.cwd.as_str()), (Some("/opt/extensions/one"), "/"));
    let names: Vec<_> = one.env.iter().filter_map(|v| v.0.to_str()).collect();
    assert!(names.contains(&"MINE") && names.contains(&"AWS_LAMBDA_RUNTIME_API") && names.contains(&"AWS_LAMBDA_FUNCTION_NAME"));
    assert!(!names.iter().any(|n| n.starts_with('_') || *n == "AWS_XRAY_CONTEXT_MISSING"), "{names:?}");
    assert!(crate::lambda::can_bind(&unit).is_err(), "they are started before the runtime");
    std::fs::write(folder.path().join(super::DISABLE), "").unwrap();
    assert_eq!(plan(&unit).processes.len(), 1);
}
