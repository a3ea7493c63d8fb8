//! Answers that arrive as they are written, and logs that can be followed.

use myna_tests::{Options, Platform, Result, Test, Value, Wire, ensure, json, processes::resident, skip, soon, tests};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

pub const ALL: &[Test] = tests![
    a_streamed_answer_arrives_while_the_function_still_runs,
    invoke_with_response_stream_gives_boto3_its_chunks,
    an_endless_stream_is_forwarded_in_constant_memory_up_to_its_limit,
    logs_are_read_by_cloudwatchs_own_calls,
    a_live_tail_shows_lines_as_they_come,
];

const NODE: &str = "nodejs20.x";

/// Writes a piece, waits for three seconds, writes another.
const STREAMER: &str = r#"
export const handler = awslambda.streamifyResponse(async (event, out, context) => {
  out = awslambda.HttpResponseStream.from(out, { statusCode: 201, headers: { "content-type": "text/plain", "x-kind": "stream" } });
  out.write("first ");
  await new Promise((done) => setTimeout(done, 3000));
  out.write("second");
  out.end();
});
"#;

fn needs_node(myna: &Platform) -> Result<()> {
    let out = myna.cli(&["runtime", "list", "--json"])?;
    let rows: Value = String::from_utf8_lossy(&out.stdout).parse()?;
    let found = |row: &Value| row["name"] == NODE && row["found"].as_str().is_some_and(|f| !f.is_empty());
    if rows.as_array().is_some_and(|rows| rows.iter().any(found)) {
        Ok(())
    } else {
        Err(skip(format!("no {NODE} on this machine")))
    }
}

// Fa
fn a_streamed_answer_arrives_while_the_function_still_runs() -> Result<()> {
    let myna = Platform::start()?;
    needs_node(&myna)?;
    let f = myna.draft("stream", "").file("index.mjs", STREAMER).set("Runtime", NODE).set("Handler", "index.handler").create()?;
    let made =
        f.operation("POST", "/2021-10-31/functions/stream/url", &json!({"AuthType": "NONE", "InvokeMode": "RESPONSE_STREAM"}))?;
    let everybody =
        json!({"StatementId": "all", "Action": "lambda:InvokeFunctionUrl", "Principal": "*", "FunctionUrlAuthType": "NONE"});
    f.api("POST", "/policy", &everybody)?;
    let url = made["FunctionUrl"].as_str().unwrap_or_default();
    let host = url.trim_start_matches("http://").trim_end_matches('/');
    let mut wire = Wire::open(&myna.ready().aws)?;
    wire.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes())?;
    let head = wire.head()?;
    ensure!(head.status == 201 && head.header("x-kind") == Some("stream"), "{head:?}");
    ensure!(wire.chunk()? == b"first ", "the first piece");
    ensure!(myna.logged("stream", "REPORT")? == 0, "the first piece came after the end");
    let mut rest = Vec::new();
    loop {
        match wire.chunk()? {
            chunk if chunk.is_empty() => break,
            chunk => rest.extend(chunk),
        }
    }
    ensure!(rest == b"second", "{}", String::from_utf8_lossy(&rest));
    Ok(())
}

fn invoke_with_response_stream_gives_boto3_its_chunks() -> Result<()> {
    let myna = Platform::start()?;
    needs_node(&myna)?;
    let plain = "export const handler = awslambda.streamifyResponse(async (event, out) => { out.write('a'.repeat(event.n)); out.end('z'); });";
    myna.draft("chunks", "").file("index.mjs", plain).set("Runtime", NODE).set("Handler", "index.handler").create()?;
    let said = myna.boto3(
        r#"
answer = lam.invoke_with_response_stream(FunctionName="chunks", Payload=json.dumps({"n": 300000}), LogType="Tail")
text, ends = b"", []
for event in answer["EventStream"]:
    if "PayloadChunk" in event: text += event["PayloadChunk"]["Payload"]
    if "InvokeComplete" in event: ends.append(event["InvokeComplete"])
return {"length": len(text), "last": text[-1:], "ends": ends}
"#,
    )?;
    ensure!(said["length"] == 300_001 && said["last"] == "z", "{said}");
    ensure!(said["ends"].as_array().is_some_and(|e| e.len() == 1 && e[0].get("ErrorCode").is_none()), "{said}");
    Ok(())
}

/// Writes for ever, as fast as it is read.
const ENDLESS: &str = r#"
export const handler = awslambda.streamifyResponse(async (event, out) => {
  const piece = Buffer.alloc(1 << 20, "a");
  for (;;) if (!out.write(piece)) await new Promise((ready) => out.once("drain", ready));
});
"#;
const STREAM_MAX: u64 = 200 << 20;
/// What the platform may grow by while a stream of that length goes through it.
const GROWTH_MAX: u64 = 24 << 20;

// F30b: to a client that stops reading for a while, by either way.
fn an_endless_stream_is_forwarded_in_constant_memory_up_to_its_limit() -> Result<()> {
    let myna = Platform::start_with(Options { args: vec!["--no-auth".into()], ..Options::default() })?;
    needs_node(&myna)?;
    let draft = myna.draft("endless", "").file("index.mjs", ENDLESS).set("Runtime", NODE).set("Handler", "index.handler");
    let f = draft.set("MemorySize", 1769).set("Timeout", 60).create()?;
    let settings = json!({"AuthType": "NONE", "InvokeMode": "RESPONSE_STREAM"});
    let made = f.operation("POST", "/2021-10-31/functions/endless/url", &settings)?;
    let everybody =
        json!({"StatementId": "all", "Action": "lambda:InvokeFunctionUrl", "Principal": "*", "FunctionUrlAuthType": "NONE"});
    f.api("POST", "/policy", &everybody)?;
    let host = made["FunctionUrl"].as_str().unwrap_or_default().trim_start_matches("http://").trim_end_matches('/').to_owned();

    let invoke = "POST /2021-11-15/functions/endless/response-streaming-invocations HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}";
    let (bytes, whole, tail) = slowly(&myna, invoke)?;
    ensure!(whole && (STREAM_MAX - (1 << 20)..=STREAM_MAX + (8 << 20)).contains(&bytes), "{bytes} bytes, whole: {whole}");
    let tail = String::from_utf8_lossy(&tail);
    ensure!(tail.contains("InvokeComplete") && tail.contains("Function.ResponseSizeTooLarge"), "the limit is named: {tail}");

    // Plain HTTP has no way to name it: the answer breaks off, and is never a shorter whole one.
    let (bytes, whole, _) = slowly(&myna, &format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"))?;
    ensure!(!whole && (STREAM_MAX - (1 << 20)..=STREAM_MAX).contains(&bytes), "{bytes} bytes, whole: {whole}");
    Ok(())
}

/// Reads a chunked answer to its end, with a pause in it, and watches the platform's memory. How many bytes came, whether their end
/// did, and the last of them.
fn slowly(myna: &Platform, request: &str) -> Result<(u64, bool, Vec<u8>)> {
    let mut wire = Wire::open(&myna.ready().aws)?;
    wire.send(request.as_bytes())?;
    let head = wire.head()?;
    ensure!(head.status == 200, "{head:?}");
    let before = resident(myna.pid())?;
    let (mut bytes, mut most, mut tail) = (0, before, Vec::new());
    loop {
        let Ok(chunk) = wire.chunk() else { return Ok((bytes, false, tail)) };
        if chunk.is_empty() {
            return Ok((bytes, true, tail));
        }
        let now = bytes + chunk.len() as u64;
        if now >> 20 != bytes >> 20 {
            most = most.max(resident(myna.pid())?);
            ensure!(most - before <= GROWTH_MAX, "after {now} bytes the platform has grown by {}", most - before);
        }
        if bytes < 32 << 20 && now >= 32 << 20 {
            thread::sleep(Duration::from_secs(1));
        }
        bytes = now;
        tail.extend(chunk);
        tail.drain(..tail.len().saturating_sub(1024));
    }
}

// C6
fn logs_are_read_by_cloudwatchs_own_calls() -> Result<()> {
    let myna = Platform::start()?;
    let f = myna.python("talker", "def handler(e, c):\n    print('said', e)\n    return c.log_stream_name\n")?;
    let stream = f.call(json!("one"))?;
    let second = f.invoke(&json!("two"))?;
    myna.until_logged("talker", "said", 2)?;
    let said = myna.boto3(
        r#"
logs = boto3.client("logs")
group = "/aws/lambda/talker"
streams = logs.describe_log_streams(logGroupName=group)["logStreams"]
events = [e for s in streams for e in logs.get_log_events(logGroupName=group, logStreamName=s["logStreamName"], startFromHead=True)["events"]]
found = logs.filter_log_events(logGroupName=group, filterPattern="two")["events"]
return {"groups": [g["logGroupName"] for g in logs.describe_log_groups(logGroupNamePrefix="/aws/lambda/")["logGroups"]],
        "streams": [s["logStreamName"] for s in streams], "lines": [e["message"] for e in events], "found": [e["message"] for e in found],
        "ordered": [e["timestamp"] for e in events] == sorted(e["timestamp"] for e in events),
        "missing": refused(logs.get_log_events, logGroupName="/aws/lambda/none", logStreamName="x")["Error"]["Code"]}
"#,
    )?;
    ensure!(said["groups"] == json!(["/aws/lambda/talker"]), "{said}");
    ensure!(
        said["streams"].as_array().is_some_and(|s| s.contains(&stream)),
        "the stream that the function was told: {stream}, {said}"
    );
    let lines = said["lines"].to_string();
    for text in [
        "said one",
        "said two",
        &format!("START RequestId: {}", second.request_id),
        &format!("END RequestId: {}", second.request_id),
    ] {
        ensure!(lines.contains(text), "{text:?} is missing: {lines}");
    }
    ensure!(said["ordered"] == true && said["missing"] == "ResourceNotFoundException", "{said}");
    let whole = myna.cli(&["logs", "--id", &second.request_id])?;
    let whole = String::from_utf8_lossy(&whole.stdout).into_owned();
    ensure!(
        whole.contains("said two") && whole.contains("REPORT") && !whole.contains("said one"),
        "one execution, whole: {whole}"
    );
    Ok(())
}

fn a_live_tail_shows_lines_as_they_come() -> Result<()> {
    let myna = Platform::start()?;
    let f = myna.python("tailed", "def handler(e, c):\n    print('line', e)\n")?;
    f.call(json!(0))?;
    let over = AtomicBool::new(false);
    let tail = thread::scope(|s| -> Result<Value> {
        let caller = s.spawn(|| {
            let mut n = 1;
            soon(|| {
                n += 1;
                f.call(json!(n)).is_err() || over.load(Ordering::SeqCst)
            })
        });
        let said = myna.boto3(
            r#"
logs = boto3.client("logs")
group = logs.describe_log_groups()["logGroups"][0]
arn = group.get("logGroupArn", group["arn"].removesuffix(":*"))
stream, seen, started = logs.start_live_tail(logGroupIdentifiers=[arn])["responseStream"], [], False
for event in stream:
    started = started or "sessionStart" in event
    seen += [r["message"] for r in event.get("sessionUpdate", {}).get("sessionResults", [])]
    if sum("line" in m for m in seen) >= 3: break
stream.close()
return {"started": started, "seen": seen}
"#,
        );
        over.store(true, Ordering::SeqCst);
        caller.join().expect("the caller does not panic");
        said
    })?;
    ensure!(tail["started"] == true, "{tail}");
    Ok(())
}
