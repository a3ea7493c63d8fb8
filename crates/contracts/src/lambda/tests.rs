//! The Runtime API, asked by a raw client.

use super::double::*;
use base64::Engine as _;
use bytes::Bytes;
use futures_util::StreamExt;
use model::{
    Body, Cause, Fault, Frame, Reply, ReplyBody,
    event::Attributes,
    ports::{Contract, SessionCall, SlotEnd},
};
use std::time::{Duration, Instant};

const API: &str = "/2018-06-01/runtime/invocation";

async fn whole(call: SessionCall) -> (String, Option<String>, SlotEnd) {
    let SessionCall { reply, free } = call;
    let reply = reply.await.unwrap_or_else(|f| panic!("{}", f.fault));
    let ReplyBody::Bytes(body) = reply.body else { panic!("not whole") };
    (String::from_utf8_lossy(&body).into_owned(), reply.head.error.map(|e| e.kind), free.await)
}

async fn failed(call: SessionCall) -> (Fault, bool, SlotEnd) {
    let SessionCall { reply, free } = call;
    match reply.await {
        Ok(_) => panic!("answered"),
        Err(failed) => (failed.fault, failed.undelivered.is_some(), free.await),
    }
}

/// Takes the event that the client's poll waits for; gives its id.
async fn taken(client: &mut Client) -> String {
    let got = client.got().await;
    assert_eq!(got.status, 200, "{}", got.text());
    got.header("Lambda-Runtime-Aws-Request-Id").unwrap().to_owned()
}

#[tokio::test]
async fn an_event_goes_out_with_its_headers_and_the_answer_comes_back() {
    let (session, mut client) = Bench::ready(unit()).await;
    let mut event = event(r#"{"a":1}"#);
    event.qualifier = Some("live".into());
    event.attributes.set(Attributes::CLIENT_CONTEXT, Bytes::from_static(b"{\n\"custom\":{}}"));
    let id = event.id.to_string();
    let call = session.call(event);
    let got = client.got().await;
    assert_eq!((got.status, got.text()), (200, r#"{"a":1}"#.to_owned()));
    assert_eq!(got.header("Lambda-Runtime-Aws-Request-Id"), Some(&*id));
    assert_eq!(got.header("Lambda-Runtime-Invoked-Function-Arn"), Some("arn:aws:lambda:us-east-1:000000000000:function:f:live"));
    assert_eq!(got.header("Lambda-Runtime-Client-Context"), Some("{ \"custom\":{}}"));
    assert_eq!(got.header("Content-Type"), Some("application/json"));
    assert!(got.header("Lambda-Runtime-Trace-Id").unwrap().starts_with("Root=1-"));
    assert_eq!(got.header("Lambda-Runtime-Deadline-Ms").unwrap().len(), 13);
    let answer = client.answer(&id, b"\"done\"").await;
    assert_eq!((answer.status, answer.text()), (202, "{\"status\":\"OK\"}\n".to_owned()));
    // Answered isn't free: that comes with the next poll.
    let SessionCall { reply, mut free } = call;
    assert!(reply.await.is_ok_and(|r| matches!(r.body, ReplyBody::Bytes(b) if b == "\"done\"")));
    assert!(futures_util::poll!(&mut free).is_pending());
    client.next().await;
    assert_eq!(free.await, SlotEnd::Free);
}

#[tokio::test]
async fn an_error_is_passed_on_verbatim_with_its_checked_type() {
    let (session, mut client) = Bench::ready(unit()).await;
    let call = session.call(event("{}"));
    let id = taken(&mut client).await;
    let body = br#"{"errorMessage":"no","errorType":"E","requestId":""}"#;
    let got =
        client.ask("POST", &format!("{API}/{id}/error"), "Lambda-Runtime-Function-Error-Type: Function.lower\r\n", body).await;
    assert_eq!(got.status, 202);
    client.next().await;
    assert_eq!(
        whole(call).await,
        (
            String::from_utf8_lossy(body).into_owned(),
            Some("Function.Unknown".into()),
            SlotEnd::FreeAfterError("Function.Unknown".into())
        )
    );
}

#[tokio::test]
async fn a_failed_initialisation_ends_the_opening_with_the_report() {
    let bench = Bench::new().await;
    let mut client = Client::connect(bench.port).await;
    let header = "Lambda-Runtime-Function-Error-Type: Runtime.ImportModuleError\r\n";
    client.send("POST", "/2018-06-01/runtime/init/error", header, b"{\"errorMessage\":\"m\"}").await;
    let (opened, got) = tokio::join!(bench.open(Some(unit())), client.got());
    let fault = opened.err().unwrap();
    assert_eq!((fault.cause, fault.detail.as_deref(), got.status), (Cause::InitFailed, Some("Runtime.ImportModuleError"), 202));
    assert_eq!(&fault.report.unwrap()[..], b"{\"errorMessage\":\"m\"}");
}

/// H37, H86, F34: each breach is refused in the reference's words, and the instance gets no further event.
#[tokio::test]
async fn breaches_are_refused_and_spend_the_instance() {
    // Somebody else's id, then the right one: the caller gets its own answer, the instance is over.
    let (session, mut client) = Bench::ready(unit()).await;
    let call = session.call(event("{}"));
    let id = taken(&mut client).await;
    let foreign = client.answer("11111111-1111-4111-8111-111111111111", b"stolen").await;
    assert_eq!(foreign.status, 400);
    assert!(foreign.text().contains("InvalidRequestID"));
    assert_eq!(client.answer(&id, b"mine").await.status, 202);
    client.next().await;
    let (body, _, end) = whole(call).await;
    assert_eq!(body, "mine");
    assert!(matches!(end, SlotEnd::Spent(why) if why.contains("doesn't have")));
    assert_eq!(client.got().await.status, 403);
    let (_, undelivered, end) = failed(session.call(event("{}"))).await;
    assert_eq!((undelivered, end), (true, SlotEnd::Undelivered));

    // Twice: the first answer stands.
    let (session, mut client) = Bench::ready(unit()).await;
    let call = session.call(event("{}"));
    let id = taken(&mut client).await;
    assert_eq!(client.answer(&id, b"first").await.status, 202);
    let second = client.answer(&id, b"second").await;
    assert_eq!(second.status, 403);
    assert!(second.text().contains("InvalidStateTransition"), "{}", second.text());
    client.next().await;
    let (body, _, end) = whole(call).await;
    assert_eq!((body, matches!(end, SlotEnd::Spent(_))), ("first".into(), true));

    // A late answer on an idle connection, while another poll waits: the next caller never sees it.
    let (session, mut client) = Bench::ready(unit()).await;
    let mut other = Client::connect(client.stream.peer_addr().unwrap().port()).await;
    let call = session.call(event("{}"));
    let id = taken(&mut client).await;
    client.answer(&id, b"first").await;
    client.next().await;
    assert_eq!(whole(call).await.2, SlotEnd::Free);
    assert_eq!(other.answer(&id, b"late").await.status, 400);
    let (_, undelivered, _) = failed(session.call(event("{}"))).await;
    assert!(undelivered);

    // Two polls at once.
    let (session, _first) = Bench::ready(unit()).await;
    let mut second = Client::connect(_first.stream.peer_addr().unwrap().port()).await;
    let refused = second.ask("GET", &format!("{API}/next"), "", b"").await;
    assert_eq!(refused.status, 403);
    assert!(failed(session.call(event("{}"))).await.1);

    // Asking for more before answering: the call fails now, not at its deadline.
    let (session, mut client) = Bench::ready(unit()).await;
    let call = session.call(event("{}"));
    taken(&mut client).await;
    assert_eq!(client.ask("GET", &format!("{API}/next"), "", b"").await.status, 403);
    let (fault, undelivered, end) = failed(call).await;
    assert_eq!((fault.cause, undelivered, matches!(end, SlotEnd::Spent(_))), (Cause::Protocol, false, true));

    // Initialised, and then not.
    let (session, client) = Bench::ready(unit()).await;
    let mut other = Client::connect(client.stream.peer_addr().unwrap().port()).await;
    assert_eq!(other.ask("POST", "/2018-06-01/runtime/init/error", "", b"{}").await.status, 403);
    assert!(failed(session.call(event("{}"))).await.1);
}

/// F29: whatever way an answer breaks off, the call fails.
#[tokio::test]
async fn half_an_answer_is_no_answer() {
    for half in [
        "Content-Length: 10\r\n\r\n12345",
        "Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n",
        "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    ] {
        let (session, mut client) = Bench::ready(unit()).await;
        let call = session.call(event("{}"));
        let id = taken(&mut client).await;
        client.raw(format!("POST {API}/{id}/response HTTP/1.1\r\nHost: x\r\n{half}")).await;
        drop(client);
        let (fault, undelivered, end) = failed(call).await;
        assert_eq!((fault.cause, undelivered, matches!(end, SlotEnd::Spent(_))), (Cause::Protocol, false, true), "{half}");
    }
}

/// F30 and the reply limit: at the limit it passes, a byte over it is refused, announced or not.
#[tokio::test]
async fn an_answer_past_the_limit_is_refused_on_both_sides() {
    let (session, mut client) = Bench::ready(unit()).await;
    for (chunked, size) in [(false, 1000), (false, 1001), (true, 1000), (true, 1001), (false, 300_000)] {
        let call = session.call(event("{}"));
        let id = taken(&mut client).await;
        let body = vec![b'x'; size];
        let got = if chunked {
            let head = format!("POST {API}/{id}/response HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{size:x}\r\n");
            client.raw([head.as_bytes(), &body, b"\r\n0\r\n\r\n"].concat()).await;
            client.got().await
        } else {
            client.answer(&id, &body).await
        };
        client.next().await;
        if size == 1000 {
            assert_eq!((got.status, whole(call).await.0.len()), (202, 1000));
            continue;
        }
        assert_eq!(got.status, 413);
        assert!(got.text().contains("Exceeded maximum allowed payload size (1000 bytes)."));
        let (fault, undelivered, end) = failed(call).await;
        assert_eq!(
            (fault.cause, undelivered, end),
            (Cause::ReplyTooLarge, false, SlotEnd::FreeAfterError("Function.ResponseSizeTooLarge".into()))
        );
    }
}

#[tokio::test]
async fn a_streamed_answer_arrives_as_it_is_written() {
    let (session, mut client) = Bench::ready(unit()).await;
    let call = session.call(event("{}"));
    let id = taken(&mut client).await;
    let head = "Lambda-Runtime-Function-Response-Mode: streaming\r\nContent-Type: application/vnd.awslambda.http-integration-response\r\n";
    client
        .raw(format!("POST {API}/{id}/response HTTP/1.1\r\nHost: x\r\n{head}Transfer-Encoding: chunked\r\n\r\n3\r\none\r\n"))
        .await;
    let SessionCall { reply, free } = call;
    let Reply { head, body: ReplyBody::Stream(mut frames) } = reply.await.unwrap_or_else(|f| panic!("{}", f.fault)) else {
        panic!("whole")
    };
    assert!(head.streamed);
    assert_eq!(head.headers["content-type"], "application/vnd.awslambda.http-integration-response");
    assert!(matches!(frames.next().await, Some(Frame::Data(b)) if b == "one"));
    let trailers = "Lambda-Runtime-Function-Error-Type: Runtime.Broken\r\nLambda-Runtime-Function-Error-Body: e30=\r\n";
    client.raw(format!("3\r\ntwo\r\n0\r\n{trailers}\r\n")).await;
    assert!(matches!(frames.next().await, Some(Frame::Data(b)) if b == "two"));
    let Some(Frame::Trailers(map)) = frames.next().await else { panic!("no trailers") };
    assert_eq!(map["lambda-runtime-function-error-type"], "Runtime.Broken");
    assert_eq!(base64::engine::general_purpose::STANDARD.decode(&map["lambda-runtime-function-error-body"]).unwrap(), b"{}");
    assert!(frames.next().await.is_none());
    assert_eq!(client.got().await.status, 202);
    client.next().await;
    assert_eq!(free.await, SlotEnd::FreeAfterError("Runtime.Broken".into()));
}

#[tokio::test]
async fn a_stream_that_breaks_off_or_grows_past_its_limit_says_so() {
    for (rest, cause) in
        [(String::new(), Cause::Protocol), (format!("{:x}\r\n{}\r\n", 100_001, "x".repeat(100_001)), Cause::ReplyTooLarge)]
    {
        let (session, mut client) = Bench::ready(unit()).await;
        let call = session.call(event("{}"));
        let id = taken(&mut client).await;
        let head = "Lambda-Runtime-Function-Response-Mode: streaming\r\nTransfer-Encoding: chunked\r\n";
        client.raw(format!("POST {API}/{id}/response HTTP/1.1\r\nHost: x\r\n{head}\r\n3\r\none\r\n{rest}")).await;
        drop(client);
        let Ok(Reply { body: ReplyBody::Stream(mut frames), .. }) = call.reply.await else { panic!("no stream") };
        let last = loop {
            match frames.next().await {
                Some(Frame::Data(_)) => {}
                Some(Frame::Fault(fault)) => break fault,
                _ => panic!("the stream ended as if it were whole"),
            }
        };
        assert_eq!(last.cause, cause);
        assert!(frames.next().await.is_none());
    }
}

#[tokio::test]
async fn an_unknown_response_mode_fails_the_call() {
    let (session, mut client) = Bench::ready(unit()).await;
    let call = session.call(event("{}"));
    let id = taken(&mut client).await;
    let got = client.ask("POST", &format!("{API}/{id}/response"), "Lambda-Runtime-Function-Response-Mode: fast\r\n", b"x").await;
    assert_eq!(got.status, 400);
    assert!(got.text().contains("InvalidFunctionResponseMode"));
    client.next().await;
    let (fault, _, end) = failed(call).await;
    assert_eq!(
        (fault.detail.as_deref(), end),
        (Some("Runtime.InvalidResponseModeHeader"), SlotEnd::FreeAfterError("Runtime.InvalidResponseModeHeader".into()))
    );
}

/// A2.2: an event that no poll took goes back whole; one that a poll took doesn't.
#[tokio::test]
async fn closing_tells_what_was_delivered_apart() {
    let gone = || Fault::new(Cause::Exited, "exit status 1");
    let (session, mut client) = Bench::ready(unit()).await;
    let call = session.call(event("{}"));
    taken(&mut client).await;
    session.close(gone());
    let (fault, undelivered, end) = failed(call).await;
    assert_eq!((fault.cause, undelivered, end), (Cause::Exited, false, SlotEnd::Spent("exit status 1".into())));
    assert!(failed(session.call(event("{}"))).await.1);

    // The poll's connection is dead: the event waits for another poll, which gets it.
    let (session, client) = Bench::ready(unit()).await;
    let port = client.stream.peer_addr().unwrap().port();
    drop(client);
    tokio::time::sleep(Duration::from_millis(30)).await;
    let call = session.call(event("\"kept\""));
    let mut again = Client::connect(port).await;
    again.next().await;
    let got = again.got().await;
    assert_eq!(got.text(), "\"kept\"");
    drop(call);

    // … and without another poll it goes back.
    let (session, client) = Bench::ready(unit()).await;
    drop(client);
    tokio::time::sleep(Duration::from_millis(30)).await;
    let mut sent = event("");
    sent.body = Body::Bytes(Bytes::from_static(b"\"mine\""));
    let call = session.call(sent);
    session.close(gone());
    let Err(back) = call.reply.await else { panic!("answered") };
    assert_eq!(back.undelivered.unwrap().body.bytes().unwrap(), "\"mine\"");
    assert_eq!(call.free.await, SlotEnd::Undelivered);
}

#[tokio::test]
async fn other_paths_answer_as_the_reference_or_go_to_the_platform() {
    let (_session, client) = Bench::ready(unit()).await;
    let mut client = Client::connect(client.stream.peer_addr().unwrap().port()).await;
    assert_eq!(client.ask("GET", "/2018-06-01/ping", "", b"").await.text(), "pong");
    assert_eq!(client.ask("GET", "/2018-06-01/runtime/restore/next", "", b"").await.status, 404);
    for path in ["/2022-07-01/telemetry", "/2020-08-15/logs"] {
        let refused = client.ask("PUT", path, "", b"{}").await;
        assert_eq!((refused.status, refused.text().contains("Extension.MissingExtensionIdentifier")), (403, true));
    }
    let plane = client.ask("POST", "/2015-03-31/functions/g/invocations?Qualifier=1", "", b"{}").await;
    assert_eq!(plane.text(), "POST /2015-03-31/functions/g/invocations?Qualifier=1 {}");
    let large = vec![b'x'; 8 * 1024 * 1024 + 1];
    assert_eq!(client.ask("POST", "/", "", &large).await.status, 413);
}

#[tokio::test]
async fn a_runtime_without_code_waits_and_is_told_its_unit() {
    let bench = Bench::new().await;
    let mut client = Client::connect(bench.port).await;
    client.send("GET", "/myna/bind", "", b"").await;
    let session = bench.open(None).await.unwrap();
    assert!(failed(session.call(event("{}"))).await.1, "no unit yet");
    let about = facts();
    let (bound, ()) = tokio::join!(session.bind(std::sync::Arc::new(unit()), &about), async {
        let told: serde_json::Value = serde_json::from_slice(&client.got().await.body).unwrap();
        assert_eq!(told["handler"], "index.handler");
        assert_eq!(told["env"]["USER_SAYS"], "hi");
        assert_eq!(told["env"]["AWS_LAMBDA_FUNCTION_NAME"], "f");
        client.next().await;
    });
    bound.unwrap();
    let call = session.call(event("1"));
    let id = taken(&mut client).await;
    client.answer(&id, b"2").await;
    client.next().await;
    assert_eq!(whole(call).await, ("2".into(), None, SlotEnd::Free));
    assert!(session.bind(std::sync::Arc::new(unit()), &about).await.is_err(), "it has its unit");
}

/// H84: the user's variables reach the user's own program, except the names that are the platform's.
#[test]
fn variables_are_those_of_the_service() {
    let mut unit = unit();
    unit.env =
        [("TABLE", "t"), ("AWS_REGION", "mars"), ("LANG", "C"), ("_LAMBDA_TELEMETRY_LOG_FD", "1"), ("LD_LIBRARY_PATH", "/opt/x")]
            .map(|(n, v)| (n.into(), v.into()))
            .into();
    let env = |unit: &model::Unit, runtime: &model::ports::Runtime| -> std::collections::BTreeMap<String, String> {
        let plan = super::Lambda::default().plan(runtime, Some(unit), &facts()).unwrap();
        assert_eq!(plan.mounts.last().unwrap().target, "/var/task");
        let pairs = plan.processes[0].env.iter().map(|(n, v)| (n.to_str().unwrap().to_owned(), v.to_str().unwrap().to_owned()));
        pairs.collect()
    };
    let vars = env(&unit, &runtime());
    for (name, value) in [
        ("TABLE", "t"),
        ("AWS_REGION", "us-east-1"),
        ("LANG", "C"),
        ("LD_LIBRARY_PATH", "/opt/x:/var/lang/lib"),
        ("_HANDLER", "index.handler"),
        ("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9001"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
        ("PYTHONPATH", "/var/runtime"),
    ] {
        assert_eq!(vars.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert!(!vars.contains_key("_LAMBDA_TELEMETRY_LOG_FD") && !vars.contains_key("AWS_LAMBDA_LOG_FORMAT"));
    assert!(!vars.contains_key("AWS_EXECUTION_ENV"), "the unit says provided");
}

#[test]
fn a_wrapper_gets_the_command_and_a_missing_one_ends_with_127() {
    let mut wrapped = unit();
    wrapped.env = vec![("AWS_LAMBDA_EXEC_WRAPPER".into(), "/var/task/no-such-wrapper".into())];
    let plan = super::Lambda::default().plan(&runtime(), Some(&wrapped), &facts()).unwrap();
    let argv = &plan.processes[0].argv;
    assert_eq!(argv[4], "/var/lang/bin/python3.12");
    let run = |argv: &[std::ffi::OsString]| std::process::Command::new(&argv[0]).args(&argv[1..]).output().unwrap();
    let output = run(argv);
    assert_eq!(output.status.code(), Some(127));
    assert_eq!(output.stdout, b"/var/task/no-such-wrapper: does not exist\n");
    let mut found = argv.clone();
    found[3] = "/bin/echo".into();
    assert_eq!(run(&found).stdout, b"/var/lang/bin/python3.12 /var/runtime/bootstrap.py\n");
}

#[test]
fn a_bootstrap_must_be_there_and_executable() {
    let folder = tempfile::tempdir().unwrap();
    let mut unit = unit();
    unit.package = model::Package::Unpacked { digest: "00".into(), bytes: 1, path: folder.path().into() };
    let plan = || {
        let provided = model::ports::Runtime { argv: vec![], ..runtime() };
        super::Lambda::default().plan(&provided, Some(&unit), &facts()).map(|p| p.processes[0].argv.clone())
    };
    assert_eq!(plan().unwrap_err().detail.as_deref(), Some("Runtime.InvalidEntrypoint"));
    let path = folder.path().join("bootstrap");
    std::fs::write(&path, "#!/bin/sh\n").unwrap();
    assert!(plan().unwrap_err().message.contains("not an executable"));
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    assert_eq!(plan().unwrap(), ["/var/task/bootstrap"]);
}

/// Not judged: one call's way through the contract, both sides in this process.
#[tokio::test]
async fn the_warm_loop_is_printed() {
    let (session, mut client) = Bench::ready(unit()).await;
    let runtime = tokio::spawn(async move {
        loop {
            let id = taken(&mut client).await;
            client.answer(&id, b"{}").await;
            client.next().await;
        }
    });
    let mut took = Vec::new();
    for _ in 0..2000 {
        let start = Instant::now();
        let SessionCall { reply, free } = session.call(event("{}"));
        assert!(reply.await.is_ok());
        took.push(start.elapsed());
        assert_eq!(free.await, SlotEnd::Free);
    }
    runtime.abort();
    took.sort_unstable();
    println!("call → reply, one thread: p50 {:?}, min {:?}", took[took.len() / 2], took[0]);
}

/// Whatever way a connection's requests are written, and however they are cut, it answers each call once and in turn.
#[tokio::test]
async fn one_connection_may_change_its_way_of_writing() {
    let (session, mut client) = Bench::ready(unit()).await;
    let large = "x".repeat(900);
    let plain = |id: &str, body: &str| {
        format!("POST {API}/{id}/response HTTP/1.1\r\nHost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    };
    let chunked = |id: &str, body: &str| {
        let head = format!("POST {API}/{id}/response HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
        format!("{head}{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
    };
    for (n, way) in ["plain", "byte by byte", "plain", "then", "chunked", "plain", "then"].into_iter().enumerate() {
        let call = session.call(event(format!("{{\"n\":{n},\"x\":\"{large}\"}}")));
        let got = client.got().await;
        assert!(got.text().starts_with(&format!("{{\"n\":{n},")), "{way}: {}", got.text());
        let id = got.header("Lambda-Runtime-Aws-Request-Id").unwrap().to_owned();
        let body = format!("\"{way} {n} {large}\"");
        match way {
            "byte by byte" => {
                for byte in plain(&id, &body).as_bytes().chunks(7) {
                    client.raw(byte).await;
                    tokio::task::yield_now().await;
                }
            }
            "then" => client.raw(plain(&id, &body).replacen("Host: x", "Host: x\r\nMyna-Then: next", 1)).await,
            "chunked" => client.raw(chunked(&id, &body)).await,
            // The next poll comes before the answer to this was read.
            _ => client.raw(plain(&id, &body) + &format!("GET {API}/next HTTP/1.1\r\nHost: x\r\n\r\n")).await,
        }
        if way != "then" {
            let answered = client.got().await;
            assert_eq!((answered.status, answered.text()), (202, "{\"status\":\"OK\"}\n".to_owned()), "{way}");
        }
        if ["byte by byte", "chunked"].contains(&way) {
            client.next().await;
        }
        assert_eq!(whole(call).await, (body, None, SlotEnd::Free), "{way}");
    }
}
