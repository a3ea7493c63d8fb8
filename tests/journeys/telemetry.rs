//! Telemetry: extensions inside an instance subscribe to what happens in it, and get it there and nowhere else.

use crate::journeys::extensions::{layer, logged, program, publish, with};
use myna_tests::{Context, Function, Platform, Result, Test, Value, ensure, json, skip, tests, zip};
use std::{
    collections::BTreeSet,
    fs,
    net::TcpListener,
    process::Command,
    thread,
    time::{Duration, Instant},
};

pub const ALL: &[Test] = tests![
    a_subscriber_in_rust_gets_everything_in_its_own_schema,
    a_subscriber_of_the_logs_api_gets_its_older_forms,
    subscriptions_that_make_no_sense_or_come_late_are_refused,
    telemetry_goes_nowhere_but_into_its_own_instance,
    what_a_subscriber_does_not_take_is_counted_for_it,
];

const PATIENCE: Duration = Duration::from_secs(60);

/// The extension of `tests/programs`, compiled.
fn subscriber(myna: &Platform) -> Result<Vec<u8>> {
    let (source, program) = (concat!(env!("CARGO_MANIFEST_DIR"), "/programs/subscriber.rs"), myna.home().join("subscriber"));
    let mut rustc = Command::new("rustc");
    let done = rustc.args(["--edition=2024", "-O", source, "-o"]).arg(&program).output();
    let Ok(done) = done else { return Err(skip("rustc is not installed")) };
    ensure!(done.status.success(), "rustc: {}", String::from_utf8_lossy(&done.stderr));
    Ok(fs::read(program)?)
}

/// The function answers what its extension has got so far.
const SHOWS: &str = "import json
def handler(event, context):
    print('a line of the function')
    try:
        batches = open('/tmp/telemetry').read().splitlines()
    except FileNotFoundError:
        batches = []
    return [context.aws_request_id, [event for batch in batches for event in json.loads(batch)]]
";

fn kinds(events: &[Value]) -> BTreeSet<String> {
    events.iter().filter_map(|e| e["type"].as_str()).map(str::to_owned).collect()
}

/// Calls until all of these were seen: what belongs to one call is delivered in the next at the latest. All events, and the ids of
/// the calls.
fn seen(myna: &Platform, f: &Function<'_>, wanted: &[&str]) -> Result<(Vec<Value>, Vec<String>)> {
    let (began, mut ids) = (Instant::now(), Vec::new());
    loop {
        let answer = f.invoke(&json!({}))?;
        if answer.status == 429 {
            thread::sleep(Duration::from_millis(20));
            continue;
        }
        ensure!(answer.error.is_none(), "{}\n{}", answer.text(), logged(myna, &f.name)?);
        let got = answer.json()?;
        let events = got[1].as_array().cloned().unwrap_or_default();
        ids.push(got[0].as_str().unwrap_or_default().to_owned());
        let missing: Vec<_> = wanted.iter().filter(|w| !kinds(&events).contains(**w)).collect();
        if missing.is_empty() {
            return Ok((events, ids));
        }
        ensure!(began.elapsed() < PATIENCE, "{missing:?} never came: {events:?}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// One instance only, so that what it got is what it is asked for.
fn single(f: &Function<'_>) -> Result<()> {
    let path = format!("/2017-10-31/functions/{}/concurrency", f.name);
    f.operation("PUT", &path, &json!({ "ReservedConcurrentExecutions": 1 })).map(drop)
}

fn of<'a>(events: &'a [Value], kind: &str) -> Result<&'a Value> {
    events.iter().find(|e| e["type"] == kind).with_context(|| format!("no {kind}"))
}

fn a_subscriber_in_rust_gets_everything_in_its_own_schema() -> Result<()> {
    let myna = Platform::start()?;
    let arn = publish(&myna, &zip(&[("extensions/subscriber", &subscriber(&myna)?)])?)?;
    let f = with(myna.draft("told", SHOWS), &arn).set("MemorySize", 256).create()?;
    single(&f)?;
    let wanted = [
        "platform.initStart",
        "platform.initRuntimeDone",
        "platform.initReport",
        "platform.extension",
        "platform.telemetrySubscription",
        "platform.start",
        "platform.runtimeDone",
        "platform.report",
        "function",
        "extension",
    ];
    let (events, ids) = seen(&myna, &f, &wanted)?;
    ensure!(kinds(&events).iter().all(|k| wanted.contains(&k.as_str())), "{:?}", kinds(&events));
    for event in &events {
        let time = event["time"].as_str().unwrap_or_default();
        ensure!(time.len() == 24 && time.ends_with('Z') && time.as_bytes()[10] == b'T', "{event}");
    }
    let record = |kind: &str| of(&events, kind).map(|e| e["record"].clone());
    let start = record("platform.initStart")?;
    ensure!(start["initializationType"] == "on-demand" && start["phase"] == "init" && start["functionName"] == "told", "{start}");
    ensure!(start["functionVersion"] == "$LATEST" && start["instanceMaxMemory"] == 256u64 << 20, "{start}");
    ensure!(record("platform.initRuntimeDone")?["status"] == "success");
    ensure!(record("platform.initReport")?["metrics"]["durationMs"].as_f64().is_some_and(|d| d > 0.0));
    let extension = record("platform.extension")?;
    ensure!(extension == json!({ "name": "subscriber", "state": "Ready", "events": ["INVOKE", "SHUTDOWN"] }), "{extension}");
    let subscribed = record("platform.telemetrySubscription")?;
    let types = json!(["platform", "function", "extension"]);
    ensure!(subscribed == json!({ "name": "subscriber", "state": "Subscribed", "types": types }), "{subscribed}");
    ensure!(record("function")? == "a line of the function" && record("extension")? == "subscriber: 200 OK", "{events:?}");
    // The first call's own story, in its order.
    let story: Vec<_> = events.iter().filter(|e| e["record"]["requestId"] == ids[0].as_str()).collect();
    let names: Vec<_> = story.iter().map(|e| e["type"].as_str().unwrap_or_default()).collect();
    ensure!(names == ["platform.start", "platform.runtimeDone", "platform.report"], "{names:?}");
    ensure!(
        story[0]["record"]["version"] == "$LATEST" && story[0]["record"]["tracing"]["type"] == "X-Amzn-Trace-Id",
        "{}",
        story[0]
    );
    ensure!(story[1]["record"]["status"] == "success", "{}", story[1]);
    let report = &story[2]["record"];
    ensure!(report["status"] == "success" && report["metrics"]["memorySizeMB"] == 256, "{report}");
    for metric in ["durationMs", "billedDurationMs", "maxMemoryUsedMB", "initDurationMs"] {
        ensure!(report["metrics"][metric].as_f64().is_some_and(|m| m > 0.0), "{metric}: {report}");
    }
    f.update(&format!("{SHOWS}\n"))?;
    myna.until_logged("told", "\"subscriber ends\"", 1)?;
    Ok(())
}

/// Listens, keeps what comes, and subscribes with this document before it asks for its first event.
fn listener(path: &str, wanted: &str) -> String {
    program(&format!(
        r#"
import http.server, threading
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        batch = self.rfile.read(int(self.headers["Content-Length"]))
        open("/tmp/telemetry", "ab").write(batch + b"\n")
        self.send_response(200)
        self.end_headers()
    def log_message(self, *args):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 8080), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
def subscribe(me, wanted, path="{path}"):
    url = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + path
    request = urllib.request.Request(url, json.dumps(wanted).encode(), {{"Lambda-Extension-Identifier": me}}, method="PUT")
    try:
        answer = urllib.request.urlopen(request)
    except urllib.error.HTTPError as e:
        answer = e
    return [answer.status, answer.read().decode()]
{wanted}
while next_event(me)["eventType"] == "INVOKE":
    keep("/tmp/late", json.dumps(subscribe(me, GOOD)))
"#
    ))
}

const GOOD: &str = r#"
GOOD = {"types": ["platform", "function"], "buffering": {"timeoutMs": 25}, "destination": {"protocol": "HTTP", "URI": "http://sandbox:8080/"}}
"#;

fn a_subscriber_of_the_logs_api_gets_its_older_forms() -> Result<()> {
    let myna = Platform::start()?;
    let wanted = format!(
        "{GOOD}GOOD['schemaVersion'] = '2021-03-18'
me = register('INVOKE', 'SHUTDOWN').headers['Lambda-Extension-Identifier']
assert subscribe(me, GOOD) == [200, 'OK']"
    );
    let arn = layer(&myna, &[("older", &listener("/2020-08-15/logs", &wanted))])?;
    let f = with(myna.draft("older", SHOWS), &arn).create()?;
    single(&f)?;
    let wanted =
        ["platform.logsSubscription", "platform.start", "platform.end", "platform.runtimeDone", "platform.report", "function"];
    let (events, _) = seen(&myna, &f, &wanted)?;
    ensure!(!kinds(&events).iter().any(|k| k.starts_with("platform.init") || k == "extension"), "{:?}", kinds(&events));
    Ok(())
}

fn subscriptions_that_make_no_sense_or_come_late_are_refused() -> Result<()> {
    let myna = Platform::start()?;
    let asks = format!(
        r#"{GOOD}
me = register("INVOKE").headers["Lambda-Extension-Identifier"]
def but(**changes):
    return subscribe(me, dict(GOOD, **changes))[0]
uri = lambda text: {{"protocol": "HTTP", "URI": text}}
seen = [
    but(types=[]), but(types=["everything"]), but(schemaVersion="1999-01-01"), but(buffering={{"maxItems": 5}}),
    but(buffering={{"maxBytes": 5}}), but(buffering={{"timeoutMs": 5}}), but(destination=uri("http://169.254.169.254/")),
    but(destination=uri("http://example.com:8080/")), but(destination=uri("https://sandbox.localdomain:8080/")),
    but(destination=uri("http://sandbox.localdomain:9001/")), but(destination={{"protocol": "UDP", "port": 8080}}),
    subscribe("00000000-0000-4000-8000-000000000000", GOOD)[0],
]
keep("/tmp/seen", json.dumps(seen))
"#
    );
    let arn = layer(&myna, &[("asks", &listener("/2022-07-01/telemetry", &asks))])?;
    let source = "import json, os
def handler(event, context):
    late = json.load(open('/tmp/late')) if os.path.exists('/tmp/late') else None
    return [json.load(open('/tmp/seen')), late]
";
    let f = with(myna.draft("asks", source), &arn).create()?;
    single(&f)?;
    let first = f.call(json!({}))?;
    let expected: Vec<u16> = [vec![400; 11], vec![403]].concat();
    ensure!(first[0] == json!(expected), "{first}");
    let began = Instant::now();
    let late = loop {
        let answer = f.invoke(&json!({}))?;
        if answer.status == 200 {
            break answer.json()?[1].clone();
        }
        ensure!(began.elapsed() < PATIENCE, "{}", answer.text());
        thread::sleep(Duration::from_millis(20));
    };
    ensure!(late[0] == 403 && late[1].as_str().is_some_and(|t| t.contains("Telemetry.SubscriptionClosed")), "{late}");
    Ok(())
}

// H74
fn telemetry_goes_nowhere_but_into_its_own_instance() -> Result<()> {
    let myna = Platform::start()?;
    // The host's own loopback, where an address that is taken for the host's would lead.
    let outside = TcpListener::bind("127.0.0.1:0")?;
    outside.set_nonblocking(true)?;
    let port = outside.local_addr()?.port();
    let names = ["sandbox.localdomain", "127.0.0.1", "localhost"];
    let mut functions = Vec::new();
    for (n, name) in names.iter().enumerate() {
        let wanted = format!(
            "{GOOD}me = register('INVOKE').headers['Lambda-Extension-Identifier']
there = dict(GOOD, destination={{'protocol': 'HTTP', 'URI': 'http://{name}:{port}/'}})
tcp = dict(GOOD, destination={{'protocol': 'TCP', 'port': {port}}})
assert [subscribe(me, w) for w in (there, tcp, GOOD)] == [[200, 'OK']] * 3"
        );
        let arn = layer(&myna, &[("reaches", &listener("/2022-07-01/telemetry", &wanted))])?;
        let f = with(myna.draft(&format!("reaches{n}"), SHOWS), &arn).create()?;
        single(&f)?;
        functions.push(f);
    }
    for f in &functions {
        // Whoever subscribed from inside gets it meanwhile: the others were tried.
        seen(&myna, f, &["platform.report", "function"])?;
    }
    ensure!(outside.accept().is_err(), "telemetry came out of an instance");
    Ok(())
}

fn what_a_subscriber_does_not_take_is_counted_for_it() -> Result<()> {
    let myna = Platform::start()?;
    let wanted = format!(
        "{GOOD}me = register('INVOKE').headers['Lambda-Extension-Identifier']
assert subscribe(me, GOOD) == [200, 'OK']"
    );
    let arn = layer(&myna, &[("slow", &listener("/2022-07-01/telemetry", &wanted))])?;
    // More in one call than a batch and another can hold, of what the log keeps.
    let source = SHOWS.replace(
        "    print('a line of the function')\n",
        "    if event.get('flood'):\n        for n in range(3000):\n            print('x' * 1000)\n        return [context.aws_request_id, []]\n",
    );
    let f = with(myna.draft("floods", &source), &arn).create()?;
    single(&f)?;
    ensure!(f.invoke(&json!({ "flood": true }))?.error.is_none());
    let (events, _) = seen(&myna, &f, &["platform.logsDropped", "platform.report"])?;
    let dropped = &of(&events, "platform.logsDropped")?["record"];
    ensure!(dropped["droppedRecords"].as_u64().is_some_and(|n| n > 0), "{dropped}");
    ensure!(dropped["droppedBytes"].as_u64().is_some_and(|n| n > 1000), "{dropped}");
    Ok(())
}
