//! Node.js functions, as AWS Lambda's would behave.

use super::rig::{Setup, finished, runtime};
use futures_util::StreamExt;
use model::{
    Frame, Reply, ReplyBody,
    ports::{SessionCall, SlotEnd},
};

const VERSIONS: [&str; 4] = ["nodejs20.x", "nodejs22.x", "nodejs24.x", "nodejs18.x"];

fn code(file: &'static str, text: &str) -> Setup {
    let here = VERSIONS.into_iter().find(|n| runtime(n).is_some()).unwrap_or("nodejs20.x");
    Setup::new(here, file, text)
}

#[tokio::test]
async fn every_node_serves_events_bound_late_or_early() {
    let mut served = 0;
    for name in VERSIONS {
        for unbound in [false, true] {
            let text = "
            let calls = 0;
            exports.handler = async (event, context) => ({ n: ++calls, event, says: process.env.USER_SAYS, name: context.functionName, argv: process.argv.length });
            ";
            let mut setup = Setup::new(name, "index.js", text);
            setup.unbound = unbound;
            let Some(function) = setup.start().await else { continue };
            println!("{name}: {} ready after {:?}", runtime(name).unwrap().found, function.started);
            for n in 1..=3 {
                let answer = function.call(r#"{"grüße":"🙂"}"#).await.json();
                let expected = serde_json::json!({"n": n, "event": {"grüße": "🙂"}, "says": "hi", "name": "f", "argv": 2});
                assert_eq!(answer, expected);
            }
            served += 1;
        }
    }
    assert!(served > 0, "no Node.js on this machine");
}

/// An answer, or an error's type and message.
type Expected = Result<&'static str, (&'static str, &'static str)>;

/// Each source with what comes of it.
#[tokio::test]
async fn handlers_of_every_style_answer() {
    let cases: &[(&str, &str, Expected)] = &[
        ("index.js", "exports.handler = async () => undefined", Ok("null")),
        ("index.js", "exports.handler = (e, c, cb) => cb(null, 'called')", Ok("\"called\"")),
        ("index.js", "exports.handler = (e, c, cb) => { setTimeout(() => cb(null, 'late'), 20) }", Ok("\"late\"")),
        (
            "index.js",
            "let n = 0; exports.handler = (e, c, cb) => { setTimeout(() => n++, 30); cb(null, 'waits'); }",
            Ok("\"waits\""),
        ),
        (
            "index.js",
            "exports.handler = (e, c, cb) => { c.callbackWaitsForEmptyEventLoop = false; setInterval(() => {}, 1000); cb(null, 'now') }",
            Ok("\"now\""),
        ),
        ("index.js", "exports.handler = (e, c) => c.succeed({ok: 1})", Ok(r#"{"ok":1}"#)),
        ("index.js", "exports.handler = () => {}", Ok("null")),
        ("index.js", "exports.handler = (e, c, cb) => { cb(null, 'first'); cb(null, 'second') }", Ok("\"first\"")),
        ("index.js", "exports.handler = async (e, c, cb) => { cb(null, 'told'); return 'returned' }", Ok("\"told\"")),
        ("index.js", "exports.handler = () => 'not awaited'", Ok("null")),
        // As TypeScript and esbuild write modules.
        (
            "index.js",
            "'use strict'; Object.defineProperty(exports, '__esModule', { value: true }); exports.handler = handler; async function handler() { return 'ts' }",
            Ok("\"ts\""),
        ),
        (
            "index.js",
            "const all = {}; Object.defineProperty(all, 'handler', { get: () => handler, enumerable: true }); module.exports = all; var handler = async () => 'es'; 0 && (module.exports = { handler })",
            Ok("\"es\""),
        ),
        ("index.mjs", "await 0; export const handler = async (e) => import.meta.url.slice(0, 5)", Ok("\"file:\"")),
        ("index.cjs", "module.exports.handler = async () => typeof require", Ok("\"function\"")),
        ("index.js", "exports.handler = async () => { throw new TypeError('bad') }", Err(("TypeError", "bad"))),
        ("index.js", "exports.handler = () => { throw new RangeError('sync') }", Err(("RangeError", "sync"))),
        ("index.js", "exports.handler = (e, c, cb) => cb(new Error('given'))", Err(("Error", "given"))),
        ("index.js", "exports.handler = (e, c, cb) => cb('text')", Err(("string", "text"))),
        ("index.js", "exports.handler = (e, c) => c.fail('why')", Err(("string", "why"))),
        ("index.js", "exports.handler = async () => { throw null }", Err(("string", "handled"))),
        ("index.js", "exports.handler = async () => () => 1", Err(("TypeError", "A function is no JSON"))),
        (
            "index.js",
            "exports.handler = async () => { const a = {}; a.a = a; return a }",
            Err(("Error", "Unable to stringify response body")),
        ),
    ];
    for (file, text, expected) in cases {
        let Some(function) = code(file, text).start().await else { return };
        for _ in 0..2 {
            let answer = function.call("{}").await;
            match expected {
                Ok(expected) => assert_eq!((answer.text.as_str(), answer.error.as_deref()), (*expected, None), "{text}"),
                Err((kind, message)) => {
                    let said = answer.json();
                    assert_eq!(
                        (said["errorType"].as_str(), said["errorMessage"].as_str()),
                        (Some(*kind), Some(*message)),
                        "{text}"
                    );
                    assert!(said["trace"].is_array() && answer.error.is_some());
                }
            }
        }
    }
}

#[tokio::test]
async fn what_fails_at_start_is_reported_in_amazons_words() {
    let ok = "exports.handler = async () => 1";
    let cases: &[(&str, &str, &str, &str)] = &[
        ("index.handler", "exports.handler = async () => {", "Runtime.UserCodeSyntaxError", "SyntaxError: "),
        ("index.handler", "require('no-such-thing')", "Runtime.ImportModuleError", "Error: Cannot find module 'no-such-thing'"),
        ("nothing.handler", ok, "Runtime.ImportModuleError", "Error: Cannot find module 'nothing'"),
        ("index.missing", ok, "Runtime.HandlerNotFound", "index.missing is undefined or not exported"),
        ("index", ok, "Runtime.MalformedHandlerName", "Bad handler"),
        ("../x.handler", ok, "Runtime.MalformedHandlerName", "'../x.handler' is not a valid handler name."),
        ("index.handler", "throw new Error('at load')", "Error", "at load"),
        (
            "index.handler",
            "exports.handler = async () => 1; Promise.reject(new Error('beside'))",
            "Runtime.UnhandledPromiseRejection",
            "Error: beside",
        ),
    ];
    for (handler, text, kind, message) in cases {
        let Some(mut function) = code("index.js", text).handler(handler).start().await else { return };
        let (_, report) = function.init_error();
        assert_eq!(report["errorType"], *kind, "{report}");
        assert!(report["errorMessage"].as_str().unwrap().starts_with(message), "{report}");
        let (code, what) =
            if *kind == "Runtime.UnhandledPromiseRejection" { (128, "Unhandled Promise") } else { (129, "Uncaught") };
        assert_eq!(function.exit().await.code(), Some(code));
        function.logged(&format!("\tERROR\t{what}")).await;
    }
}

/// Between two calls nobody waits for a report: the process ends, and takes no event with it.
#[tokio::test]
async fn what_nobody_caught_between_calls_ends_the_process() {
    let text = "exports.handler = async () => { setTimeout(() => { throw new Error('afterwards') }, 100) }";
    let Some(mut function) = code("index.js", text).start().await else { return };
    assert_eq!(function.call("{}").await.text, "null");
    assert_eq!(function.exit().await.code(), Some(129));
    function.logged("afterwards").await;
}

/// AWS Lambda calls handlers with a callback no longer from Node.js 24 on.
#[tokio::test]
async fn callbacks_end_with_node_24() {
    for (text, expected) in [
        ("exports.handler = (event, context) => context.done === undefined ? 'at once' : 'old'", Ok("\"at once\"")),
        ("exports.handler = (event, context, callback) => callback(null, 1)", Err("Runtime.CallbackHandlerDeprecated")),
        ("exports.handler = awslambda.streamifyResponse(async (event, out, context) => out.end('x'))", Ok("")),
    ] {
        let Some(function) = Setup::new("nodejs24.x", "index.js", text).start().await else { return };
        match expected {
            Ok("") => assert_eq!(streamed(function.call_raw("{}")).await.1, "x"),
            Ok(answer) => assert_eq!(function.call("{}").await.text, answer),
            Err(kind) => assert_eq!(function.init_error().1["errorType"], kind),
        }
    }
}

#[tokio::test]
async fn what_nobody_caught_fails_the_call_and_ends_the_process() {
    for (text, kind, status) in [
        (
            "exports.handler = () => new Promise(() => Promise.reject(new Error('lost')))",
            "Runtime.UnhandledPromiseRejection",
            128,
        ),
        ("exports.handler = () => new Promise(() => setTimeout(() => { throw new Error('later') }, 1))", "Error", 129),
    ] {
        let Some(mut function) = code("index.js", text).start().await else { return };
        let SessionCall { reply, .. } = function.call_raw("{}");
        let Ok(Reply { body: ReplyBody::Bytes(body), .. }) = reply.await else { panic!("no report") };
        let said: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(said["errorType"], kind);
        assert_eq!(function.exit().await.code(), Some(status));
    }
}

#[tokio::test]
async fn console_becomes_records_with_level_and_request() {
    let text = "
            console.log('at load');
            exports.handler = async () => { console.log('a\\nb %d', 1); console.error(new Error('oh')); console.debug('quiet'); process.stdout.write('raw\\n') };
            ";
    let Some(function) = code("index.js", text).start().await else { return };
    let event = contracts::lambda::double::event("{}");
    let id = event.id.to_string();
    finished(function.session.as_ref().unwrap_or_else(|f| panic!("{f}")).call(event)).await.unwrap();
    let line = function.logged("a\nb 1").await;
    assert_eq!(line.level.as_deref(), Some("INFO"));
    assert!(String::from_utf8_lossy(&line.text).ends_with(&format!("Z\t{id}\tINFO\ta\nb 1")));
    assert_eq!(function.logged("Error: oh\n    at").await.level.as_deref(), Some("ERROR"));
    assert!(String::from_utf8_lossy(&function.logged("at load").await.text).contains("\tundefined\tINFO\t"));
    assert_eq!(function.logged("raw").await.level, None);

    let change = |unit: &mut model::Unit| {
        unit.settings.log.json = true;
        unit.settings.log.level = Some("WARN".into());
    };
    let Some(function) = code("index.js", text).change(change).start().await else { return };
    function.call("{}").await;
    let object: serde_json::Value = serde_json::from_slice(&function.logged("\"ERROR\"").await.text).unwrap();
    assert_eq!((&object["message"]["errorMessage"], object["requestId"].as_str().map(str::len)), (&"oh".into(), Some(36)));
    assert!(!function.log().iter().any(|l| String::from_utf8_lossy(&l.text).contains("quiet")));
}

async fn streamed(call: SessionCall) -> (String, String, Option<(String, String)>) {
    let SessionCall { reply, free } = call;
    let Ok(Reply { head, body: ReplyBody::Stream(mut frames) }) = reply.await else { panic!("not streamed") };
    let (mut text, mut failed) = (Vec::new(), None);
    while let Some(frame) = frames.next().await {
        match frame {
            Frame::Data(bytes) => text.extend_from_slice(&bytes),
            Frame::Trailers(map) => {
                let header = |name: &str| map[name].to_str().unwrap().to_owned();
                failed = Some((header("lambda-runtime-function-error-type"), header("lambda-runtime-function-error-body")));
            }
            Frame::Fault(fault) => panic!("{fault}"),
        }
    }
    match &failed {
        None => assert_eq!(free.await, SlotEnd::Free),
        Some((kind, _)) => assert_eq!(free.await, SlotEnd::FreeAfterError(kind.clone())),
    }
    (head.headers["content-type"].to_str().unwrap().to_owned(), String::from_utf8(text).unwrap(), failed)
}

#[tokio::test]
async fn answers_in_pieces_carry_a_head_and_may_fail_midway() {
    let text = "
            const { pipeline } = require('stream/promises');
            exports.handler = awslambda.streamifyResponse(async (event, out, context) => {
                if (event.fail === 'before') throw new Error('before');
                if (event.http) out = awslambda.HttpResponseStream.from(out, { statusCode: 201, headers: { a: 'b' } });
                else out.setContentType('text/plain');
                if (event.fail === 'at once') { out.write('a'); throw new Error('at once'); }
                if (event.pipe) return pipeline(require('stream').Readable.from(['pi', 'ped']), out);
                out.write('one');
                await new Promise((r) => setTimeout(r, 20));
                if (event.fail === 'midway') throw new Error('midway');
                for (let i = 0; i < (event.large ?? 0); i++) if (!out.write('x'.repeat(100000))) await new Promise((r) => out.once('drain', r));
                out.write({ two: 2 });
                out.end();
            });
            ";
    let Some(function) = code("index.js", text).start().await else { return };
    let (kind, text, failed) = streamed(function.call_raw("{}")).await;
    assert_eq!((&*kind, &*text, failed), ("text/plain", "one{\"two\":2}", None));
    let (kind, text, _) = streamed(function.call_raw(r#"{"http":1}"#)).await;
    assert_eq!(kind, "application/vnd.awslambda.http-integration-response");
    assert_eq!(text, "{\"statusCode\":201,\"headers\":{\"a\":\"b\"}}\0\0\0\0\0\0\0\0one{\"two\":2}");
    assert_eq!(streamed(function.call_raw(r#"{"pipe":1}"#)).await.1, "piped");
    assert_eq!(streamed(function.call_raw(r#"{"large":50}"#)).await.1.len(), 5_000_000 + 12);
    let (_, text, failed) = streamed(function.call_raw(r#"{"fail":"midway"}"#)).await;
    assert_eq!((&*text, failed.unwrap().0.as_str()), ("one", "Runtime.Unknown"));
    let (_, text, failed) = streamed(function.call_raw(r#"{"fail":"at once"}"#)).await;
    assert_eq!((&*text, failed.is_some()), ("a", true), "what was written before it failed is through");
    let before = function.call(r#"{"fail":"before"}"#).await;
    assert_eq!(before.json()["errorMessage"], "before");
    assert_eq!(streamed(function.call_raw("{}")).await.1, "one{\"two\":2}", "it serves on");
    for fault in ["midway", "at once", "before"] {
        assert_eq!(function.logged(&format!("\"errorMessage\":\"{fault}\"")).await.level.as_deref(), Some("ERROR"));
    }
}

/// What AWS Lambda supplies beside the package: in both kinds of modules, and never before the package's own copy.
#[tokio::test]
async fn the_sdk_is_there_unless_the_package_brings_its_own() {
    let Some(name) = VERSIONS.into_iter().find(|n| runtime(n).is_some_and(|r| !r.libraries.is_empty())) else {
        return println!("skipped: the SDK for Node.js: not installed below MYNA_TEST_DEPS");
    };
    println!("{name} is supplied with {:?}", runtime(name).unwrap().libraries);
    let common = "const { LambdaClient } = require('@aws-sdk/client-lambda'); exports.handler = async () => typeof LambdaClient";
    let module = "import { LambdaClient } from '@aws-sdk/client-lambda'; export const handler = async () => typeof LambdaClient";
    let both = "exports.handler = async () => typeof (await import('@aws-sdk/client-lambda')).LambdaClient";
    for (file, text) in [("index.js", common), ("index.mjs", module), ("index.js", both)] {
        let Some(function) = Setup::new(name, file, text).start().await else { return };
        println!("{file} with the SDK: ready after {:?}", function.started);
        assert_eq!(function.call("{}").await.text, "\"function\"");
        let setup =
            Setup::new(name, file, text).file("node_modules/@aws-sdk/client-lambda/index.js", "exports.LambdaClient = 'own'");
        assert_eq!(setup.start().await.unwrap().call("{}").await.text, "\"string\"");
    }
}
