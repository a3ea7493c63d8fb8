//! Extensions: programs beside a function's runtime, and threads in it, that hear of its calls and of its end.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use myna_tests::{Context, Draft, Function, Platform, Result, Test, Value, ensure, json, soon, tests, zip};
use std::{
    thread,
    time::{Duration, Instant},
};

pub const ALL: &[Test] = tests![
    an_external_extension_hears_of_every_call_and_of_the_end,
    a_call_is_over_when_its_extensions_are,
    extensions_hear_of_a_timeout_and_start_again_with_their_runtime,
    extensions_hear_that_the_runtime_failed,
    extensions_hear_that_the_initialisation_failed,
    an_extension_that_ends_ends_its_instance,
    extensions_that_do_not_start_fail_the_function_in_the_services_words,
    what_an_extension_may_not_ask_is_refused_by_name,
    an_internal_extension_hears_of_calls_and_of_nothing_else,
];

/// The protocol of a public extension (its examples are alike in every language), with this between the events.
pub fn program(body: &str) -> String {
    format!(
        r#"#!/usr/bin/python3 -u
import json, os, sys, time, urllib.request, urllib.error
NAME = os.path.basename(__file__)
API = "http://%s/2020-01-01/extension/" % os.environ["AWS_LAMBDA_RUNTIME_API"]
def ask(path, headers, body=None, method=None):
    try:
        return urllib.request.urlopen(urllib.request.Request(API + path, body, headers, method=method))
    except urllib.error.HTTPError as e:
        return e
def keep(path, text):
    # Whole or not at all for who reads it meanwhile.
    open(path + ".new", "w").write(text)
    os.rename(path + ".new", path)
def register(*events, name=NAME):
    body = json.dumps({{"events": events}}).encode()
    return ask("register", {{"Lambda-Extension-Name": name, "Lambda-Extension-Accept-Feature": "accountId"}}, body)
def next_event(me):
    return json.load(ask("event/next", {{"Lambda-Extension-Identifier": me}}))
{body}
"#
    )
}

/// A layer with these extensions.
pub fn layer(myna: &Platform, extensions: &[(&str, &str)]) -> Result<String> {
    let files: Vec<(String, &str)> = extensions.iter().map(|(name, text)| (format!("extensions/{name}"), *text)).collect();
    let files: Vec<(&str, &[u8])> = files.iter().map(|(n, t)| (n.as_str(), t.as_bytes())).collect();
    publish(myna, &zip(&files)?)
}

pub fn publish(myna: &Platform, archive: &[u8]) -> Result<String> {
    let body = serde_json::to_vec(&json!({ "Content": { "ZipFile": BASE64.encode(archive) } }))?;
    let path = "/2018-10-31/layers/extensions/versions";
    let got = myna.signed("lambda", "POST", path, &[("content-type", "application/json")], &body)?;
    ensure!(got.status == 201, "{}", got.text());
    Ok(got.json()?["LayerVersionArn"].as_str().context("no ARN")?.to_owned())
}

pub fn with<'a>(draft: Draft<'a>, layer: &str) -> Draft<'a> {
    draft.set("Layers", json!([layer]))
}

/// A function that runs one call at a time, all of them in one instance as long as that lives.
fn single(f: &Function<'_>) -> Result<()> {
    let path = format!("/2017-10-31/functions/{}/concurrency", f.name);
    f.operation("PUT", &path, &json!({ "ReservedConcurrentExecutions": 1 })).map(drop)
}

/// Calls until there is room: the last call's extensions may still be at work.
fn call(f: &Function<'_>, event: &Value) -> Result<Value> {
    let began = Instant::now();
    loop {
        let answer = f.invoke(event)?;
        if answer.status == 429 && began.elapsed() < Duration::from_secs(60) {
            thread::sleep(Duration::from_millis(20));
            continue;
        }
        ensure!(answer.status == 200 && answer.error.is_none(), "{} {}", answer.status, answer.text());
        return answer.json();
    }
}

/// All that a function logged, in order.
pub fn logged(myna: &Platform, function: &str) -> Result<String> {
    let ask = serde_json::to_vec(&json!({ "logGroupName": format!("/aws/lambda/{function}") }))?;
    let headers = [("x-amz-target", "Logs_20140328.FilterLogEvents"), ("content-type", "application/x-amz-json-1.1")];
    let got = myna.signed("logs", "POST", "/", &headers, &ask)?.json()?;
    let lines = got["events"].as_array().into_iter().flatten().filter_map(|e| e["message"].as_str());
    Ok(lines.map(|l| l.trim_end().to_owned() + "\n").collect())
}

fn until(myna: &Platform, function: &str, text: &str) -> Result<String> {
    ensure!(
        soon(|| logged(myna, function).is_ok_and(|l| l.contains(text))),
        "{function} never logged {text:?}:\n{}",
        logged(myna, function)?
    );
    logged(myna, function)
}

const LISTENS: &str = r#"
open("/tmp/prepared", "w").write("by " + NAME)
time.sleep(0.2)
answer = register("INVOKE", "SHUTDOWN")
me = answer.headers["Lambda-Extension-Identifier"]
print(NAME, "registered", json.dumps(json.load(answer), sort_keys=True), os.getcwd())
print(NAME, "sees", sorted(n for n in os.environ if n.startswith("_") or "XRAY_CONTEXT" in n or n in ("MINE", "AWS_ACCESS_KEY_ID")))
while True:
    event = next_event(me)
    print(NAME, "got", json.dumps(event, sort_keys=True))
    if event["eventType"] == "SHUTDOWN":
        break
    open("/tmp/heard", "a").write(event["requestId"] + "\n")
print(NAME, "ends in time", time.time() * 1000 < event["deadlineMs"])
"#;

fn an_external_extension_hears_of_every_call_and_of_the_end() -> Result<()> {
    let myna = Platform::start()?;
    let arn = layer(&myna, &[("listener", &program(LISTENS)), ("second", &program(LISTENS))])?;
    let source = "prepared = open('/tmp/prepared').read()
def handler(event, context):
    print('function', context.aws_request_id)
    return [prepared, context.aws_request_id, context.invoked_function_arn]
";
    let f = with(myna.draft("heard", source), &arn).set("Environment", json!({ "Variables": { "MINE": "m" } })).create()?;
    single(&f)?;
    let explained = myna.cli(&["explain", "heard"])?;
    ensure!(
        String::from_utf8_lossy(&explained.stdout).contains("/opt/extensions"),
        "{}",
        String::from_utf8_lossy(&explained.stdout)
    );
    let first = call(&f, &json!({}))?;
    // Its runtime began after both had registered.
    ensure!(first[0].as_str().is_some_and(|p| p.starts_with("by ")), "{first}");
    let second = call(&f, &json!({}))?;
    let text = until(&myna, "heard", "second got {\"deadlineMs\"")?;
    for who in ["listener", "second"] {
        let about = r#"registered {"accountId": "000000000000", "functionName": "heard", "functionVersion": "$LATEST", "handler": "app.handler"} /"#;
        ensure!(text.contains(&format!("{who} {about}")), "{text}");
        ensure!(text.contains(&format!("{who} sees ['AWS_ACCESS_KEY_ID', 'MINE']")), "{text}");
    }
    f.update(&format!("{source}\n"))?;
    for who in ["listener", "second"] {
        let text = until(&myna, "heard", &format!("{who} ends in time True"))?;
        let events: Vec<Value> = text
            .lines()
            .filter_map(|l| l.strip_prefix(&format!("{who} got ")))
            .map(serde_json::from_str)
            .collect::<std::result::Result<_, _>>()?;
        ensure!(events.len() == 3 && events[2]["shutdownReason"] == "spindown", "{who} got {events:?}");
        for (event, answer) in events.iter().zip([&first, &second]) {
            ensure!(
                event["eventType"] == "INVOKE" && event["requestId"] == answer[1] && event["invokedFunctionArn"] == answer[2],
                "{event}"
            );
            ensure!(event["deadlineMs"].is_u64() && event["tracing"]["type"] == "X-Amzn-Trace-Id", "{event}");
            ensure!(event["tracing"]["value"].as_str().is_some_and(|t| t.starts_with("Root=1-")), "{event}");
        }
    }
    ensure!(call(&f, &json!({}))?[0] != "", "the new code has its extensions too");
    Ok(())
}

fn a_call_is_over_when_its_extensions_are() -> Result<()> {
    let myna = Platform::start()?;
    let works = "me = register('INVOKE').headers['Lambda-Extension-Identifier']
n = 0
while True:
    next_event(me)
    n += 1
    print('begin', n)
    time.sleep(0.4)
    print('end', n)
";
    let arn = layer(&myna, &[("works", &program(works))])?;
    let source = "n = 0\ndef handler(event, context):\n    global n\n    n += 1\n    print('call', n)\n    return n\n";
    let f = with(myna.draft("busy", source), &arn).create()?;
    single(&f)?;
    for n in 1..=3 {
        let got = call(&f, &json!({}))?;
        ensure!(got == n, "call {n} ran in another instance: {got}");
    }
    let text = until(&myna, "busy", "end 3")?;
    let at = |what: &str| text.find(what).with_context(|| format!("{what:?} is missing:\n{text}"));
    // Frozen too early, an extension would end its work during the next call.
    ensure!(at("end 1")? < at("call 2")? && at("end 2")? < at("call 3")?, "a call began while an extension was at work:\n{text}");
    ensure!(soon(|| logged(&myna, "busy").is_ok_and(|t| t.matches("REPORT").count() == 3)));
    Ok(())
}

fn extensions_hear_of_a_timeout_and_start_again_with_their_runtime() -> Result<()> {
    let myna = Platform::start()?;
    let arn = layer(&myna, &[("listener", &program(LISTENS))])?;
    let source = "import time
def handler(event, context):
    if event.get('hang'):
        time.sleep(60)
    return open('/tmp/heard').read().split()
";
    let f = with(myna.draft("slow", source), &arn).set("Timeout", 2).create()?;
    single(&f)?;
    let hung = f.invoke(&json!({ "hang": true }))?;
    ensure!(hung.error.is_some() && hung.text().contains("Sandbox.Timedout"), "{}", hung.text());
    let text = until(&myna, "slow", "listener ends in time True")?;
    ensure!(text.contains(r#""shutdownReason": "timeout""#), "{text}");
    // What it hears of a call, it may hear when the function has looked already: two calls show one.
    call(&f, &json!({}))?;
    let heard = call(&f, &json!({}))?;
    let heard: Vec<_> = heard.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    ensure!(heard.len() >= 2 && heard[0] == hung.request_id, "after the timeout /tmp or the extension was not there: {heard:?}");
    Ok(())
}

fn extensions_hear_that_the_runtime_failed() -> Result<()> {
    let myna = Platform::start()?;
    let arn = layer(&myna, &[("listener", &program(LISTENS))])?;
    let source = "import os\ndef handler(event, context):\n    os._exit(7) if event.get('die') else None\n    return 1\n";
    let f = with(myna.draft("dies", source), &arn).create()?;
    let died = f.invoke(&json!({ "die": true }))?;
    ensure!(died.text().contains("Runtime.ExitError") && died.text().contains("exit status 7"), "{}", died.text());
    let text = until(&myna, "dies", "listener ends in time True")?;
    ensure!(text.contains(r#""shutdownReason": "failure""#), "{text}");
    ensure!(call(&f, &json!({}))? == 1);
    Ok(())
}

fn extensions_hear_that_the_initialisation_failed() -> Result<()> {
    let myna = Platform::start()?;
    let arn = layer(&myna, &[("listener", &program(LISTENS))])?;
    let cases = [
        ("raises", "raise RuntimeError('no such table')", "failure", 1, "no such table"),
        ("leaves", "import os; os._exit(7)", "failure", 1, "exit status 7"),
        // The first try has the initialisation's own limit, the second the function's: both end, and both are told.
        ("hangs", "import time; time.sleep(600)", "timeout", 2, "Sandbox.Timedout"),
    ];
    for (name, source, ..) in cases {
        with(myna.draft(name, source), &arn).set("Timeout", 1).create()?;
    }
    for (name, _, reason, times, words) in cases {
        let answer = myna.function(name).invoke(&json!({}))?;
        ensure!(answer.error.is_some() && answer.text().contains(words), "{name}: {}", answer.text());
        let ends = |text: &str| text.matches("listener ends in time True").count();
        let all = soon(|| logged(&myna, name).is_ok_and(|text| ends(&text) == times));
        let text = logged(&myna, name)?;
        ensure!(all, "{name}:\n{text}");
        let told: Vec<Value> = text
            .lines()
            .filter_map(|l| l.strip_prefix("listener got "))
            .map(serde_json::from_str)
            .collect::<std::result::Result<_, _>>()?;
        let right = |e: &Value| e["eventType"] == "SHUTDOWN" && e["shutdownReason"] == reason && e["deadlineMs"].is_u64();
        ensure!(told.len() == times && told.iter().all(right), "{name}: {told:?}");
    }
    Ok(())
}

fn an_extension_that_ends_ends_its_instance() -> Result<()> {
    let myna = Platform::start()?;
    let fragile = "me = register('INVOKE').headers['Lambda-Extension-Identifier']
event = next_event(me)
if os.path.exists('/tmp/say'):
    answer = ask('exit/error', {'Lambda-Extension-Identifier': me, 'Lambda-Extension-Function-Error-Type': 'Extension.NoLicence'}, b'{}')
    print('said', answer.status)
time.sleep(0.3)
sys.exit(3)
";
    let arn = layer(&myna, &[("fragile", &program(fragile))])?;
    let source = "import os, time
if os.environ.get('SAY'):
    open('/tmp/say', 'w')
def handler(event, context):
    time.sleep(5)
";
    let f = with(myna.draft("leaned", source), &arn).create()?;
    for _ in 0..2 {
        let crashed = f.invoke(&json!({}))?;
        let body = crashed.json()?;
        ensure!(crashed.error.is_some() && body["errorType"] == "Extension.Crash", "{body}");
        ensure!(body["errorMessage"].as_str().is_some_and(|m| m.ends_with("Error: exit status 3")), "{body}");
        ensure!(crashed.log.as_deref().is_some_and(|l| l.contains("Error Type: Extension.Crash")), "{:?}", crashed.log);
    }
    f.api("PUT", "/configuration", &json!({ "Environment": { "Variables": { "SAY": "so" } } }))?;
    f.settled()?;
    let said = f.invoke(&json!({}))?.json()?;
    ensure!(said["errorType"] == "Extension.NoLicence", "{said}");
    until(&myna, "leaned", "said 202")?;
    Ok(())
}

fn extensions_that_do_not_start_fail_the_function_in_the_services_words() -> Result<()> {
    let myna = Platform::start()?;
    let cases = [
        ("no program", "\u{7f}ELF nonsense".to_owned(), "Extension.LaunchError", "/opt/extensions/x"),
        ("ends at once", program("sys.exit(5)"), "Extension.Crash", "exit status 5"),
        (
            "says why",
            program(
                "me = register('INVOKE').headers['Lambda-Extension-Identifier']
ask('init/error', {'Lambda-Extension-Identifier': me, 'Lambda-Extension-Function-Error-Type': 'Extension.ConfigInvalid'}, b'{}')
sys.exit(1)",
            ),
            "Extension.ConfigInvalid",
            "extension x",
        ),
    ];
    for (n, (what, text, kind, words)) in cases.iter().enumerate() {
        let arn = layer(&myna, &[("x", text)])?;
        let f = with(myna.draft(&format!("f{n}"), "def handler(event, context): return 1"), &arn).create()?;
        let answer = f.invoke(&json!({}))?;
        let body = answer.json()?;
        ensure!(answer.error.is_some() && body["errorType"] == *kind, "{what}: {body}");
        ensure!(body["errorMessage"].as_str().is_some_and(|m| m.contains(words)), "{what}: {body}");
    }
    // A layer can switch all of them off.
    let off = zip(&[("extensions/x", b"nothing"), ("disable-extensions-jwigqn8j", b"")])?;
    let f = with(myna.draft("off", "def handler(event, context): return 1"), &publish(&myna, &off)?).create()?;
    ensure!(f.call(json!({}))? == 1);
    Ok(())
}

fn what_an_extension_may_not_ask_is_refused_by_name() -> Result<()> {
    let myna = Platform::start()?;
    let asks = r#"
def kind(answer):
    return [answer.status, json.load(answer).get("errorType")]
headers = lambda me: {"Lambda-Extension-Identifier": me}
body = json.dumps({"events": ["INVOKE"], "configurationKeys": []}).encode()
seen = {
    "unknown event": kind(register("INVOKE", "RESTART")),
    "no name": kind(ask("register", {}, b"{}")),
    "no json": kind(ask("register", {"Lambda-Extension-Name": NAME}, b"{")),
    "keys": kind(ask("register", {"Lambda-Extension-Name": NAME}, body)),
    "no identifier": kind(ask("event/next", {})),
    "no uuid": kind(ask("event/next", headers("me"))),
    "unknown": kind(ask("event/next", headers("00000000-0000-4000-8000-000000000000"))),
    "internal": kind(register("SHUTDOWN", name="somebody else")),
}
me = register("INVOKE", "SHUTDOWN").headers["Lambda-Extension-Identifier"]
seen["twice"] = kind(register("INVOKE"))
seen["no type"] = kind(ask("init/error", headers(me), b"{}"))
seen["others"] = [kind(register("INVOKE", name="other%d" % n))[0] for n in range(10)]
keep("/tmp/seen", json.dumps(seen))
while next_event(me)["eventType"] == "INVOKE":
    keep("/tmp/late", json.dumps(kind(register("INVOKE", name="late"))))
"#;
    let arn = layer(&myna, &[("asks", &program(asks))])?;
    // The others never ask for an event, and a function waits for all that registered.
    let others = "import json, os, threading, urllib.request
seen = open('/tmp/seen').read()
def handler(event, context):
    late = open('/tmp/late').read() if os.path.exists('/tmp/late') else 'null'
    return [json.loads(seen), json.loads(late)]
";
    let without = asks.replace("seen[\"others\"] = [kind(register(\"INVOKE\", name=\"other%d\" % n))[0] for n in range(10)]", "");
    let second = layer(&myna, &[("asks", &program(&without))])?;
    let f = with(myna.draft("refuses", others), &second).create()?;
    single(&f)?;
    call(&f, &json!({}))?;
    let got = call(&f, &json!({}))?;
    let refused = |kind: &str| json!([403, kind]);
    let expected = json!({
        "unknown event": refused("Extension.InvalidEventType"),
        "no name": refused("Extension.InvalidExtensionName"),
        "no json": refused("InvalidRequestFormat"),
        "keys": refused("InvalidRequestFormat"),
        "no identifier": refused("Extension.MissingExtensionIdentifier"),
        "no uuid": refused("Extension.InvalidExtensionIdentifier"),
        "unknown": refused("Extension.UnknownExtensionIdentifier"),
        "internal": refused("Extension.InvalidEventType"),
        "twice": refused("Extension.InvalidExtensionState"),
        "no type": refused("Extension.MissingHeader"),
    });
    ensure!(got == json!([expected, refused("Extension.RegistrationClosed")]), "{got}");
    let many = with(myna.draft("many", others), &arn).set("Timeout", 1).create()?;
    let answer = many.invoke(&json!({}))?;
    ensure!(answer.error.is_some(), "a function that waits for extensions which never ask answered {}", answer.text());
    Ok(())
}

fn an_internal_extension_hears_of_calls_and_of_nothing_else() -> Result<()> {
    let myna = Platform::start()?;
    let source = r#"
import json, os, threading, urllib.request, urllib.error
API = "http://%s/2020-01-01/extension/" % os.environ["AWS_LAMBDA_RUNTIME_API"]
def register(name, *events):
    body = json.dumps({"events": events}).encode()
    try:
        return urllib.request.urlopen(urllib.request.Request(API + "register", body, {"Lambda-Extension-Name": name}))
    except urllib.error.HTTPError as e:
        return e
refused = json.load(register("inside", "INVOKE", "SHUTDOWN"))["errorType"]
me = register("inside", "INVOKE").headers["Lambda-Extension-Identifier"]
heard = []
def listen():
    while True:
        event = json.load(urllib.request.urlopen(urllib.request.Request(API + "event/next", None, {"Lambda-Extension-Identifier": me})))
        heard.append(event["requestId"])
threading.Thread(target=listen, daemon=True).start()
def handler(event, context):
    return {"refused": refused, "heard": heard[:], "me": context.aws_request_id, "late": json.load(register("late", "INVOKE"))["errorType"]}
"#;
    let f = myna.python("inside", source)?;
    single(&f)?;
    let first = call(&f, &json!({}))?;
    ensure!(first["refused"] == "Extension.InvalidEventType" && first["late"] == "Extension.RegistrationClosed", "{first}");
    let second = call(&f, &json!({}))?;
    // A call is over when it was heard of.
    ensure!(second["heard"].as_array().is_some_and(|h| h.contains(&first["me"])), "{first} {second}");
    Ok(())
}
