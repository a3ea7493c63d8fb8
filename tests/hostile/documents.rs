//! Text from outside that means more than it says: control characters on their way to a log, and JSON that two readers would
//! read differently.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use myna_tests::{Entry, Function, Platform, Result, Test, Wire, archive, ensure, json, soon, tests};
use std::{
    thread,
    time::{Duration, Instant},
};

pub const ALL: &[Test] = tests![
    control_characters_never_break_or_colour_a_log_line,
    ambiguous_or_broken_json_is_refused_by_the_control_plane,
    a_payload_passes_byte_for_byte,
    a_flood_of_refusals_is_no_flood_of_log_lines,
];

/// What a line would begin with that somebody outside had managed to write.
const FORGED: &str = "2026-01-01T00:00:00Z ERROR forged";

// H25
fn control_characters_never_break_or_colour_a_log_line() -> Result<()> {
    let myna = Platform::start()?;
    let source = format!(
        "import sys\ndef handler(event, context):\n    sys.stdout.write('one\\x1b[2Jtwo\\x9b31m\\rthree\\n')\n    \
         raise Exception('at\\n{FORGED}\\x1b[31m\\r\\n{FORGED}')\n"
    );
    let f = myna.python("talker", &source)?;
    ensure!(f.invoke(&json!(1))?.error.is_some());
    let percent = |text: &str| text.bytes().map(|b| format!("%{b:02X}")).collect::<String>();
    let evil = format!("x\r\n{FORGED}\x1b[31m\u{9b}31m\u{2028}{FORGED}\x07\0");
    // Through paths, bodies and queries: signed, and not.
    for path in [
        format!("/2015-03-31/functions/{}/invocations", percent(&evil)),
        format!("/2015-03-31/functions/talker/invocations?Qualifier={}", percent(&evil)),
        format!("/_url/{}/x", percent(&evil)),
        format!("/_code/{}", percent(&evil)),
        format!("/{}", percent(&evil)),
    ] {
        let got = myna.signed("lambda", "POST", &path, &[], b"{}")?;
        ensure!((400..500).contains(&got.status), "{path} was answered {}", got.status);
    }
    for (field, value) in [("FunctionName", &evil), ("Runtime", &evil), ("Handler", &evil), ("Role", &evil)] {
        let got = myna.draft("named", "").set(field, value.as_str()).send()?;
        ensure!(got.status == 400, "{field}: {}", got.text());
    }
    let answer =
        myna.draft("named", "").set("Code", json!({"ZipFile": BASE64.encode(archive(&[Entry::file(&evil, "x")]))})).send()?;
    ensure!(answer.status == 400, "{}", answer.text());
    // What no head may hold, and what it may hold and no log should show: bytes of C1 in several headers, a scope of nonsense.
    let heads: [&[u8]; 6] = [
        b"User-Agent: a\x1b[31mb\r\n",
        b"User-Agent: a\x9b31m\xc2\x9b31m\r\n",
        b"X-Amz-Target: Logs_20140328.\xc2\x9b31m\xe2\x80\xa8\r\n",
        b"Authorization: AWS4-HMAC-SHA256 Credential=\xc2\x9b31m/20260101/us-east-1/lambda/aws4_request, SignedHeaders=host, Signature=0\r\n",
        b"Authorization: AWS4-HMAC-SHA256 Credential=A/20260101/us-east-1/\\n2026/aws4_request, SignedHeaders=host, Signature=0\r\n",
        b"X-Amzn-Trace-Id: Root=\xc2\x9b31m\r\n",
    ];
    for head in heads {
        let mut wire = Wire::open(&myna.ready().aws)?;
        let request = [
            &b"POST /2015-03-31/functions/x/invocations HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n"[..],
            head,
            b"\r\n",
        ];
        wire.send(&request.concat())?;
        let answer = wire.answer()?;
        ensure!(answer.as_ref().is_none_or(|a| a.status >= 400), "{answer:?}");
    }
    // The log is written aside.
    let until = Instant::now() + Duration::from_secs(10);
    while myna.log().lines().count() <= 5 && Instant::now() < until {
        thread::sleep(Duration::from_millis(20));
    }
    let log = myna.log();
    for line in log.lines() {
        ensure!(!line.starts_with(FORGED), "a line was forged: {line:?}");
        ensure!(!line.chars().any(|c| c.is_control() || c == '\u{2028}'), "a line holds control characters: {line:?}");
    }
    ensure!(log.lines().count() > 5, "nothing was logged, so this proves nothing: {log}");

    // The function's own log has its words as they were, an event each.
    myna.until_logged("talker", "two", 1)?;
    let ask = json!({"logGroupName": "/aws/lambda/talker"}).to_string();
    let headers = [("x-amz-target", "Logs_20140328.FilterLogEvents"), ("content-type", "application/x-amz-json-1.1")];
    let events = myna.signed("logs", "POST", "/", &headers, ask.as_bytes())?.json()?;
    let texts: Vec<&str> = events["events"].as_array().into_iter().flatten().filter_map(|e| e["message"].as_str()).collect();
    ensure!(texts.iter().filter(|t| t.contains("one\u{1b}[2Jtwo")).count() == 1, "{texts:?}");
    ensure!(!texts.iter().any(|t| t.starts_with(FORGED)), "an event began with a function's text: {texts:?}");
    Ok(())
}

// H25: whoever is refused comes again, from inside a function too. Each refusal is a line or is counted in one.
fn a_flood_of_refusals_is_no_flood_of_log_lines() -> Result<()> {
    let myna = Platform::start()?;
    let source = r#"
import http.client, os
def handler(event, context):
    c = http.client.HTTPConnection(os.environ['AWS_ENDPOINT_URL'].split('//')[1], timeout=20)
    for n in range(event):
        c.request('GET', '/2015-03-31/functions/')
        c.getresponse().read()
    return event
"#;
    let f = myna.draft("flooder", source).set("Timeout", 60).set("MemorySize", 1769).create()?;
    let began = Instant::now();
    let mut sent = 3000;
    ensure!(f.call(json!(sent))? == sent);
    let counts = || {
        let log = myna.log();
        let lines = log.lines().filter(|l| l.contains("a request is not taken for signed")).count();
        let left_out: usize = log.lines().filter_map(|l| l.split_once(" lines were left out")?.0.parse::<usize>().ok()).sum();
        (lines, lines + left_out)
    };
    // The count comes with the next line that is written, in a later second.
    let all = soon(|| {
        sent += 1;
        let answered = f.call(json!(1)).is_ok();
        // What was written still has to be read.
        thread::sleep(Duration::from_millis(50));
        answered && counts().1 == sent
    });
    let (lines, told) = counts();
    ensure!(all, "{sent} refusals, and the log tells of {told}");
    let most = 100 * (began.elapsed().as_secs() as usize + 2);
    ensure!(lines <= most, "{lines} lines where at most {most} fit");
    Ok(())
}

/// A body that is JSON but for one thing, as bytes.
fn hostile(member: &str) -> Vec<(&'static str, Vec<u8>)> {
    let with = |value: &str| format!("{{\"{member}\":{value}}}").into_bytes();
    let deep = |open: &str, close: &str| with(&format!("{}1{}", open.repeat(10_000), close.repeat(10_000)));
    vec![
        ("arrays 10,000 deep", deep("[", "]")),
        ("objects 10,000 deep", deep("{\"a\":", "}")),
        ("never closed", "[".repeat(500_000).into_bytes()),
        ("a number of 500,000 digits", with(&"9".repeat(500_000))),
        ("an exponent out of reach", with("1e999999999")),
        ("a number that is none", with("NaN")),
        ("a name twice", with(&format!("1,\"{member}\":2"))),
        ("a name twice, once escaped", with(&format!("1,\"\\u{:04x}{}\":2", member.as_bytes()[0], &member[1..]))),
        ("a name twice, further in", with("{\"a\":1,\"a\":2}")),
        ("half of a pair", with("\"\\ud800\"")),
        ("the other half", with("\"\\udc00\\ud800\"")),
        ("bytes that are no UTF-8", [&with("\"")[..with("\"").len() - 1], b"\xff\xfe\"}"].concat()),
        ("overlong bytes", [&with("\"")[..with("\"").len() - 1], b"\xc0\xaf\"}"].concat()),
        ("bytes of half a pair", [&with("\"")[..with("\"").len() - 1], b"\xed\xa0\x80\"}"].concat()),
        ("a raw line feed in a text", with("\"a\nb\"")),
        ("a mark in front", [b"\xef\xbb\xbf", &with("1")[..]].concat()),
        ("something behind", [&with("1")[..], b"{}"].concat()),
        ("a comment", with("1/* */")),
        ("no object", b"[]".to_vec()),
        ("a text", b"\"x\"".to_vec()),
    ]
}

// H29
fn ambiguous_or_broken_json_is_refused_by_the_control_plane() -> Result<()> {
    let myna = Platform::start()?;
    let f = myna.python("f", "def handler(event, context): return event\n")?;
    let before = f.settled()?;
    let target = |operation: &str| format!("Logs_20140328.{operation}");
    let doors: [(&str, &str, &str, String, &str); 9] = [
        ("lambda", "POST", "/2015-03-31/functions", String::new(), "Timeout"),
        ("lambda", "PUT", "/2015-03-31/functions/f/configuration", String::new(), "Timeout"),
        ("lambda", "PUT", "/2015-03-31/functions/f/code", String::new(), "ZipFile"),
        ("lambda", "POST", "/2015-03-31/functions/f/aliases", String::new(), "Name"),
        ("lambda", "POST", "/2015-03-31/functions/f/policy", String::new(), "StatementId"),
        ("lambda", "PUT", "/2017-10-31/functions/f/concurrency", String::new(), "ReservedConcurrentExecutions"),
        ("lambda", "POST", "/2021-10-31/functions/f/url", String::new(), "Cors"),
        ("logs", "POST", "/", target("FilterLogEvents"), "limit"),
        ("logs", "POST", "/", target("DescribeLogGroups"), "limit"),
    ];
    for (service, method, path, target, member) in &doors {
        for (what, body) in hostile(member) {
            let headers = [("content-type", "application/json"), ("x-amz-target", target)];
            let headers = if target.is_empty() { &headers[..1] } else { &headers[..] };
            let got = myna.signed(service, method, path, headers, &body)?;
            ensure!(got.status == 400, "{method} {path} {target}: {what} was answered {}: {}", got.status, got.text());
            ensure!(got.body.len() < 2000, "{method} {path}: {what} was answered with {} bytes", got.body.len());
        }
    }
    let now = f.settled()?;
    ensure!(now["RevisionId"] == before["RevisionId"] && now["Timeout"] == before["Timeout"], "it changed: {now}");
    // Names that mean something to another language are names, and unknown ones have no effect.
    let odd = br#"{"__proto__":{"Timeout":900},"constructor":{"prototype":{"Timeout":900}},"Timeout":7}"#;
    let got = myna.signed("lambda", "PUT", "/2015-03-31/functions/f/configuration", &[], odd)?;
    ensure!(got.status == 200 && got.json()?["Timeout"] == 7, "{}", got.text());
    f.settled()?;
    let variables = json!({"Variables": {"__proto__": "x"}});
    let got = myna.draft("proto", "").set("Environment", variables).send()?;
    ensure!(got.status == 400, "a variable of that name: {}", got.text());
    Ok(())
}

/// A function without a language in between: what its runtime is given, it gives back.
fn mirror(myna: &Platform) -> Result<Function<'_>> {
    let bootstrap = r#"#!/usr/bin/python3
import http.client, os
while True:
    c = http.client.HTTPConnection(os.environ['AWS_LAMBDA_RUNTIME_API'])
    c.request('GET', '/2018-06-01/runtime/invocation/next')
    event = c.getresponse()
    body = event.read()
    c.request('POST', '/2018-06-01/runtime/invocation/%s/response' % event.headers['Lambda-Runtime-Aws-Request-Id'], body)
    c.getresponse().read()
"#;
    myna.draft("mirror", "").set("Runtime", "provided.al2023").set("Handler", "none").file("bootstrap", bootstrap).create()
}

// H29
fn a_payload_passes_byte_for_byte() -> Result<()> {
    let myna = Platform::start()?;
    let f = mirror(&myna)?;
    let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    let digits = "9".repeat(1_000_000);
    for payload in [
        r#"{"a":1,"a":2}"#,
        r#"{"__proto__":{"x":1},"\u005f_proto__":2}"#,
        " \t\r\n{ \"a\" : 1.0e+2 , \"b\":-0.0,\"c\":10000000000000000000000000000001 }\n ",
        "\"\\ud83d\\ude00 \\u0000 \\/ \u{1f600}\u{2028}\u{feff}\"",
        "1.00000000000000000000000000000000000000000000001",
        &deep,
        &digits,
    ] {
        let got = f.invoke_bytes("", payload.as_bytes(), &[])?;
        let shown = &payload[..payload.len().min(60)];
        ensure!(got.status == 200 && got.error.is_none(), "{shown:?} was answered {}: {:.200}", got.status, got.text());
        ensure!(got.payload == payload.as_bytes(), "{shown:?} came back as {:.200}", got.text());
    }
    for broken in [&b"{"[..], b"\xff", b"\"\xed\xa0\x80\"", b"{} {}", b"nul", b"{'a':1}", b"\xef\xbb\xbf{}"] {
        let got = f.invoke_bytes("", broken, &[])?;
        ensure!(got.status == 400, "{:?} was answered {}", String::from_utf8_lossy(broken), got.status);
    }
    Ok(())
}
