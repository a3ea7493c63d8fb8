//! Python functions, as AWS Lambda's would behave.

use super::rig::{Setup, finished, runtime};

const VERSIONS: [&str; 6] = ["python3.9", "python3.10", "python3.11", "python3.12", "python3.13", "python3.14"];

fn code(text: &str) -> Setup {
    Setup::new("python3.12", "index.py", text)
}

#[tokio::test]
async fn every_python_serves_events_one_after_another() {
    let mut served = 0;
    for name in VERSIONS {
        let text = "
            import sys
            calls = []
            def handler(event, context):
                calls.append(event)
                return {'n': len(calls), 'event': event, 'version': '%d.%d' % sys.version_info[:2]}
            ";
        let Some(function) = Setup::new(name, "index.py", text).start().await else { continue };
        println!("{name}: {} ready after {:?}", runtime(name).unwrap().found, function.started);
        for n in 1..=3 {
            let answer = function.call(r#"{"grüße": "🙂"}"#).await.json();
            assert_eq!(answer["n"], n);
            assert_eq!(answer["event"]["grüße"], "🙂");
            assert_eq!(format!("python{}", answer["version"].as_str().unwrap()), name);
        }
        served += 1;
    }
    assert!(served > 0, "no Python on this machine");
}

#[tokio::test]
async fn an_unbound_process_becomes_the_function() {
    for name in VERSIONS {
        let text = "
            import os, sys, logging
            logging.getLogger().warning('at import')
            def handler(event, context):
                return [os.environ['USER_SAYS'], context.function_name, sys.path[0] == os.environ['LAMBDA_TASK_ROOT'], 'MYNA_PYTHONPATH' in os.environ]
            ";
        let Some(function) = Setup::new(name, "index.py", text).unbound().start().await else { continue };
        assert_eq!(function.call("{}").await.text, r#"["hi", "f", true, false]"#);
        let line = function.logged("at import").await;
        assert!(String::from_utf8_lossy(&line.text).starts_with("[WARNING]\t20"));
    }
}

#[tokio::test]
async fn the_context_is_the_services() {
    let text = "
            import builtins, os, sys
            def handler(event, context):
                return {
                    'id': context.aws_request_id, 'memory': context.memory_limit_in_mb, 'version': context.function_version,
                    'arn': context.invoked_function_arn, 'group': context.log_group_name, 'stream': context.log_stream_name,
                    'client': context.client_context.custom['k'], 'installed': context.client_context.client.app_title,
                    'identity': context.identity.cognito_identity_id, 'left': 0 < context.get_remaining_time_in_millis() <= 3000,
                    'trace': os.environ['_X_AMZN_TRACE_ID'][:7], 'exit': callable(builtins.exit), 'argv': len(sys.argv),
                }
            ";
    let Some(function) = code(text).start().await else { return };
    let mut event = contracts::lambda::double::event("{}");
    let id = event.id.to_string();
    event.attributes.set(model::event::Attributes::CLIENT_CONTEXT, r#"{"custom":{"k":"ü"},"client":{"app_title":"t"},"w3c":{}}"#);
    event
        .attributes
        .set(model::event::Attributes::COGNITO_IDENTITY, br#"{"cognitoIdentityId":"c","cognitoIdentityPoolId":"p"}"#.to_vec());
    let call = function.session.as_ref().unwrap_or_else(|f| panic!("{f}")).call(event);
    let got = finished(call).await.unwrap().json();
    let expected = serde_json::json!({
        "id": id, "memory": "128", "version": "$LATEST", "arn": "arn:aws:lambda:us-east-1:000000000000:function:f",
        "group": "/aws/lambda/f", "stream": "2026/01/01/[$LATEST]00", "client": "ü", "installed": "t", "identity": "c",
        "left": true, "trace": "Root=1-", "exit": true, "argv": 1,
    });
    assert_eq!(got, expected);
}

const SPLIT: &str = r#"["s", "h", {"scheme": "s", "netloc": "h", "path": "x", "query": "", "fragment": ""}]"#;

/// An answer, or an error's type and the end of its message.
type Expected = Result<&'static str, (&'static str, &'static str)>;

/// Each handler's source with what comes of it.
#[tokio::test]
async fn answers_are_encoded_as_amazons_client_does() {
    let cases: &[(&str, Expected)] = &[
        ("return None", Ok("null")),
        ("return 'grüß'", Ok("\"grüß\"")),
        ("return b'\\x00raw'", Ok("\u{0}raw")),
        ("return {'a': (1, 2.5, True)}", Ok(r#"{"a": [1, 2.5, true]}"#)),
        (
            "import decimal; return {'d': decimal.Decimal('1.10'), 'n': decimal.Decimal('NaN'), 's': 'x'}",
            Ok(r#"{"d": 1.10, "n": NaN, "s": "x"}"#),
        ),
        ("return float('inf')", Ok("Infinity")),
        ("return {'b': b'text'}", Ok(r#"{"b": "text"}"#)),
        ("import collections; return [collections.namedtuple('P', 'x y')(1, 2)]", Ok(r#"[{"x": 1, "y": 2}]"#)),
        ("import urllib.parse as u; return u.urlsplit('s://h/p')[:2] + (u.urlsplit('s://h')._replace(path='x'),)", Ok(SPLIT)),
        ("return {b'k': 1, None: 2, 3: 4}", Ok(r#"{"k": 1, "null": 2, "3": 4}"#)),
        ("import types; return types.SimpleNamespace(_asdict=lambda: {'own': (1,)})", Ok(r#"{"own": [1]}"#)),
        ("a = []\n    a.append(a)\n    return a", Err(("Runtime.MarshalError", "Circular reference detected"))),
        (
            "import collections; a = [collections.namedtuple('P', 'x')(1)]\n    a.append({'a': a})\n    return a",
            Err(("Runtime.MarshalError", "Circular reference detected")),
        ),
        (
            "import decimal; return {decimal.Decimal(1): 1}",
            Err(("Runtime.MarshalError", "keys must be str, int, float, bool or None, not Decimal")),
        ),
        (
            "return object()",
            Err(("Runtime.MarshalError", "Unable to marshal response: Object of type object is not JSON serializable")),
        ),
        (
            "return {1, 2}",
            Err(("Runtime.MarshalError", "Unable to marshal response: Object of type set is not JSON serializable")),
        ),
        ("raise ValueError('no')", Err(("ValueError", "no"))),
        ("raise KeyError('k')", Err(("KeyError", "'k'"))),
        ("class Own(Exception): pass\n    raise Own('mine')", Err(("Own", "mine"))),
        ("1/0", Err(("ZeroDivisionError", "division by zero"))),
        ("exec('def')", Err(("SyntaxError", "(<string>, line 1)"))),
    ];
    for name in ["python3.9", "python3.12"] {
        for (body, expected) in cases {
            let text = format!("def handler(event, context):\n    {body}\n");
            let Some(function) = Setup::new(name, "index.py", &text).start().await else { return };
            let answer = function.call("{}").await;
            match expected {
                Ok(text) => {
                    let ascii = name == "python3.9" && text.contains('ü');
                    let expected = if ascii { "\"gr\\u00fc\\u00df\"" } else { text };
                    assert_eq!((answer.text.as_str(), answer.error.as_deref()), (expected, None), "{name}: {body}");
                }
                Err((kind, message)) => {
                    let said = answer.json();
                    assert_eq!(said["errorType"], *kind, "{body}");
                    assert!(said["errorMessage"].as_str().unwrap().ends_with(message), "{body}: {said}");
                    assert_eq!(
                        answer.error.as_deref(),
                        Some(if kind.starts_with("Runtime.") { *kind } else { "Runtime.Unknown" })
                    );
                    let trace = said["stackTrace"].as_array().unwrap();
                    assert!(kind.starts_with("Runtime.") || trace[0].as_str().unwrap().contains("index.py\", line"), "{said}");
                    assert!(!said.to_string().contains("_myna"), "our own frames: {said}");
                }
            }
            assert_eq!(function.call("{}").await.text.is_empty(), answer.text.is_empty(), "it serves on");
        }
    }
}

/// As deep as the language's own encoder goes, with and without a type that needs a second look.
#[tokio::test]
async fn deep_answers_are_whole() {
    let text = "
            import collections
            P = collections.namedtuple('P', 'x')
            def handler(event, context):
                a = P(1) if event else 1
                for _ in range(900): a = [a]
                return a
            ";
    let Some(function) = code(text).start().await else { return };
    let nested = |inner: &str| format!("{}{inner}{}", "[".repeat(900), "]".repeat(900));
    assert_eq!(function.call("false").await.text, nested("1"));
    assert_eq!(function.call("true").await.text, nested("{\"x\": 1}"));
}

#[tokio::test]
async fn what_fails_at_start_is_reported_in_amazons_words() {
    let ok = "def handler(event, context): pass\n";
    let cases: &[(&str, &str, &str, &str)] = &[
        ("index.handler", "def handler(\n", "Runtime.UserCodeSyntaxError", "Syntax error in module 'index': "),
        (
            "index.handler",
            "import no_such_thing\n",
            "Runtime.ImportModuleError",
            "Unable to import module 'index': No module named 'no_such_thing'",
        ),
        ("nothing.handler", ok, "Runtime.ImportModuleError", "Unable to import module 'nothing': No module named 'nothing'"),
        ("index.missing", ok, "Runtime.HandlerNotFound", "Handler 'missing' missing on module 'index'"),
        ("index", ok, "Runtime.MalformedHandlerName", "Bad handler 'index': not enough values to unpack (expected 2, got 1)"),
        ("sys.exit", ok, "Runtime.BuiltInModuleConflict", "Cannot use built-in module sys as a handler module"),
        ("index.handler", "raise RuntimeError('at import')\n", "RuntimeError", "at import"),
    ];
    for unbound in [false, true] {
        for (handler, text, kind, message) in cases {
            let mut setup = Setup::new("python3.12", "index.py", text).handler(handler);
            setup.unbound = unbound;
            let Some(mut function) = setup.start().await else { return };
            let (detail, report) = function.init_error();
            assert_eq!(detail, if kind.starts_with("Runtime.") { *kind } else { "Runtime.Unknown" });
            assert_eq!(report["errorType"], *kind);
            assert!(report["errorMessage"].as_str().unwrap().starts_with(message), "{report}");
            assert_eq!(function.exit().await.code(), Some(1));
            function.logged(&format!("[ERROR] {kind}: ")).await;
        }
    }
}

#[tokio::test]
async fn leaving_early_ends_the_process_with_its_status() {
    let Some(mut function) = code("import sys\ndef handler(event, context): sys.exit(event)\n").start().await else { return };
    let _call = function.call_raw("3");
    assert_eq!(function.exit().await.code(), Some(3));
    // At import: no report, only an end.
    let runtime = Setup::new("python3.12", "index.py", "import os\nos._exit(4)\n");
    let ended = tokio::time::timeout(std::time::Duration::from_millis(500), runtime.start()).await;
    assert!(ended.is_err(), "it never asked for an event");
}

#[tokio::test]
async fn packages_and_folders_name_handlers_too() {
    let setup = code("").file("pkg/__init__.py", "").file("pkg/mod.py", "def run(event, context): return __name__\n");
    let Some(function) = setup.handler("pkg/mod.run").start().await else { return };
    assert_eq!(function.call("{}").await.text, "\"pkg.mod\"");
}

/// C6: plain output keeps its lines, a logged record stays one, in the order written.
#[tokio::test]
async fn output_becomes_records_in_order() {
    let text = "
            import logging, sys
            log = logging.getLogger()
            log.setLevel(logging.INFO)
            def handler(event, context):
                print('one\\ntwo')
                log.info('a\\nb')
                print('three', file=sys.stderr)
                sys.stdout.write('no end')
                try:
                    1/0
                except ZeroDivisionError:
                    log.exception('oh')
                return None
            ";
    let Some(function) = code(text).start().await else { return };
    let event = contracts::lambda::double::event("{}");
    let id = event.id.to_string();
    finished(function.session.as_ref().unwrap_or_else(|f| panic!("{f}")).call(event)).await.unwrap();
    function.logged("no end").await;
    let texts: Vec<String> = function.log().iter().map(|l| String::from_utf8_lossy(&l.text).into_owned()).collect();
    assert_eq!((&*texts[0], &*texts[1], &*texts[3]), ("one", "two", "three"));
    assert!(texts[2].starts_with("[INFO]\t20") && texts[2].ends_with(&format!("Z\t{id}\ta\nb")), "{texts:?}");
    assert!(texts[4].starts_with("[ERROR]\t") && texts[4].contains("oh\nTraceback (most recent call last):\n"), "{texts:?}");
    assert!(function.log()[0].at_ms.is_some());
}

#[tokio::test]
async fn json_logs_are_objects_with_levels() {
    let text = "
            import logging
            log = logging.getLogger('mine')
            def handler(event, context):
                log.info('hidden')
                log.warning('shown %s', 1, extra={'key': 'v', 'odd': object})
                print('plain')
                raise ValueError('bad')
            ";
    let change = |unit: &mut model::Unit| {
        unit.settings.log.json = true;
        unit.settings.log.level = Some("WARN".into());
    };
    let Some(function) = code(text).change(change).start().await else { return };
    assert_eq!(function.call("{}").await.json()["errorType"], "ValueError");
    let line = function.logged("shown").await;
    let object: serde_json::Value = serde_json::from_slice(&line.text).unwrap();
    assert_eq!(
        (line.level.as_deref(), &object["message"], &object["level"]),
        (Some("WARN"), &"shown 1".into(), &"WARNING".into())
    );
    assert_eq!((&object["logger"], &object["key"]), (&"mine".into(), &"v".into()));
    assert!(object["requestId"].as_str().unwrap().len() == 36 && object["odd"].is_string());
    let error: serde_json::Value = serde_json::from_slice(&function.logged("\"bad\"").await.text).unwrap();
    assert_eq!((&error["level"], &error["errorType"]), (&"ERROR".into(), &"ValueError".into()));
    assert!(function.log().iter().any(|l| l.text == "plain" && l.level.is_none()));
    assert!(!function.log().iter().any(|l| String::from_utf8_lossy(&l.text).contains("hidden")));
}

/// Bodies near the limit, in both directions, and what is past it.
#[tokio::test]
async fn large_bodies_pass_whole() {
    let Some(function) =
        code("def handler(event, context): return event if isinstance(event, str) else 'x' * event\n").start().await
    else {
        return;
    };
    let event = format!("\"{}\"", "y".repeat(6_000_000));
    assert_eq!(function.call(event.clone()).await.text, event);
    assert_eq!(function.call("6291554").await.text.len(), 6_291_556);
    let call = function.call_raw("6291555");
    assert_eq!(call.reply.await.err().unwrap().fault.cause, model::Cause::ReplyTooLarge);
}

#[tokio::test]
async fn boto3_is_there_unless_the_package_brings_its_own() {
    let text = "import boto3, botocore\ndef handler(event, context): return [getattr(boto3, 'OWN', False), boto3.client('lambda').meta.endpoint_url[:17]]\n";
    for name in VERSIONS {
        let Some(found) = runtime(name) else { continue };
        if found.libraries.is_empty() {
            println!("skipped: boto3 for {name}: not installed below MYNA_TEST_DEPS");
            continue;
        }
        println!("supplied: {:?}", found.libraries);
        let Some(function) = Setup::new(name, "index.py", text).start().await else { return };
        println!("{name} with boto3: ready after {:?}", function.started);
        assert_eq!(function.call("{}").await.text, r#"[false, "http://127.0.0.1:"]"#);
        let own = "OWN = True\ndef client(name):\n    class C: pass\n    C.meta = C; C.endpoint_url = ''\n    return C\n";
        let function = Setup::new(name, "index.py", text).file("boto3/__init__.py", own).start().await.unwrap();
        assert_eq!(function.call("{}").await.text, "[true, \"\"]");
    }
}
