//! Myna's own shims beside Amazon's clients: the same package under both, and the same seen by caller and log.
//!
//! Left out is where Amazon's clients end the process over what is only a bad answer, and the frames of a trace that are theirs.

use crate::journeys::amazon::{NODE_WRAPPER, client, python_wrapper};
use myna_tests::{Answer, Draft, Function, Platform, Result, Test, Value, ensure, json, skip, tests};

pub const ALL: &[Test] = tests![the_python_shim_answers_as_amazons_client_does, the_node_shim_answers_as_amazons_client_does];

/// Each `name: expression`, evaluated in the handler.
const PYTHON: &[(&str, &str)] = &[
    ("none", "None"),
    ("text", "'grüß \\u2028'"),
    ("bytes", "b'\\x00raw'"),
    ("bytes inside", "{'b': b'text', b'k': 1}"),
    ("bad bytes inside", "{'b': b'\\xff'}"),
    ("tuple", "(1, 2.5, True, None)"),
    ("named", "{'p': P(1, P(2, 3))}"),
    ("fields", "types.SimpleNamespace(_asdict=lambda: {'a': 1})"),
    ("decimals", "[decimal.Decimal('1.10'), decimal.Decimal('1E+3'), decimal.Decimal('-0')]"),
    ("no number", "[float('nan'), float('-inf'), decimal.Decimal('NaN'), 10**50, 1e16]"),
    ("keys", "{1: 'a', None: 'b', True: 'c', 1.5: 'd'}"),
    ("tuple key", "{(1, 2): 3}"),
    ("decimal key", "{decimal.Decimal(1): 1}"),
    ("set", "{1}"),
    ("date", "datetime.datetime(2020, 1, 1)"),
    ("enum", "[enum.IntEnum('I', 'A').A]"),
    ("generator", "(n for n in [1])"),
    ("circle", "circle()"),
    ("deep", "deep(800)"),
    ("recursion", "recurse()"),
    ("error", "fail(ValueError('no'))"),
    ("error without words", "fail(ValueError())"),
    ("key error", "fail(KeyError('k'))"),
    ("lines", "fail(OSError(2, 'two\\nlines ü'))"),
    ("own error", "fail(type('Own', (Exception,), {})('a', 2))"),
    ("chained", "chained()"),
    ("exit", "sys.exit(3)"),
    ("exit with words", "sys.exit('bye')"),
    ("prints", "prints()"),
    ("logs", "logs()"),
];

const PYTHON_HEAD: &str = r#"
import collections, datetime, decimal, enum, logging, sys, types
P = collections.namedtuple('P', 'x y')
def circle():
    a = []
    a.append(a)
    return a
def deep(n):
    a = 1
    for _ in range(n): a = [a]
    return a
def recurse(): return recurse()
def fail(error): raise error
def chained():
    try: 1/0
    except ZeroDivisionError as e: raise RuntimeError('outer') from e
def prints():
    print('plain'); print('begun', end=''); print(' and ended'); print('a\nb'); print('', file=sys.stderr)
def logs():
    log = logging.getLogger()
    log.debug('d'); log.info('i'); log.warning('w %s', 1); log.error('e\nsecond'); logging.getLogger('child').critical('c')
    log.warning({'a': 1}); log.warning('more', extra={'k': 'v'})
    try: 1/0
    except ZeroDivisionError: log.exception('caught')
"#;

/// Each `name: body of a handler (event, context, callback)`.
const NODE: &[(&str, &str)] = &[
    ("undefined", "async () => undefined"),
    ("text", "async () => 'grüß \\u2028 \\ud800'"),
    ("no number", "async () => [NaN, Infinity, undefined, () => 1]"),
    ("values", "async () => ({ d: new Date(0), b: Buffer.from('ab'), m: new Map([[1, 2]]), e: new Error('x') })"),
    ("bigint", "async () => 10n"),
    ("circle", "async () => { const a = {}; a.a = a; return a; }"),
    ("thenable", "() => ({ then(f) { f('thenned'); } })"),
    ("callback", "(e, c, cb) => cb(null, 'called')"),
    ("callback twice", "(e, c, cb) => { cb(null, 'one'); cb(null, 'two'); }"),
    ("callback and promise", "async (e, c, cb) => { cb(null, 'told'); return 'returned'; }"),
    ("callback error", "(e, c, cb) => cb(new TypeError('given'))"),
    ("callback text", "(e, c, cb) => cb('text')"),
    ("callback object", "(e, c, cb) => cb({ a: 1 })"),
    ("callback zero", "(e, c, cb) => cb(0, 'zero')"),
    ("late", "(e, c, cb) => { setTimeout(() => cb(null, 'late'), 20); }"),
    ("unwatched", "(e, c, cb) => { c.callbackWaitsForEmptyEventLoop = false; setTimeout(() => {}, 1e6).unref(); cb(null, 1); }"),
    ("not awaited", "() => 'value'"),
    ("succeed", "(e, c) => c.succeed('s')"),
    ("done", "(e, c) => c.done(new Error('d'))"),
    ("throw", "async () => { throw new TypeError('bad'); }"),
    ("throw at once", "() => { throw new RangeError('sync'); }"),
    ("throw text", "async () => { throw 'text'; }"),
    ("throw null", "async () => { throw null; }"),
    ("throw object", "async () => { throw { a: 1, message: 'm' }; }"),
    ("members", "async () => { throw Object.assign(new Error('two\\nlines'), { name: 'Own', code: 'E1', extra: { a: 1 } }); }"),
    ("cause", "async () => { throw new Error('outer', { cause: new Error('inner') }); }"),
    ("system", "async () => require('fs').readFileSync('/nope')"),
    ("lost", "() => new Promise(() => { Promise.reject(new Error('lost')); })"),
    ("later", "() => new Promise(() => setTimeout(() => { throw new Error('later'); }, 1))"),
    ("exit", "async () => process.exit(7)"),
    (
        "logs",
        "async () => { console.log('l %s', 'x', { a: { b: { c: { d: 1 } } } }); console.info(); console.debug('d'); console.warn('a\\nb'); \
         console.error(new TypeError('t'), 'rest'); console.trace('t'); console.log({ a: new Map([[1, 2]]) }, 10n); console.log(''); \
         console.error(Object.assign(new Error('alone'), { code: 'E2' })); const c = {}; c.c = c; console.log(c); }",
    ),
];

fn the_python_shim_answers_as_amazons_client_does() -> Result<()> {
    let folder = client("awslambdaric-4.2.2")?;
    let myna = Platform::start()?;
    let cases: String = PYTHON.iter().map(|(name, text)| format!("    {name:?}: lambda: {text},\n")).collect();
    let source = format!("{PYTHON_HEAD}CASES = {{\n{cases}}}\ndef handler(event, context):\n    return CASES[event]()\n");
    let draft = |name: &str| myna.draft(name, &source);
    let names: Vec<&str> = PYTHON.iter().map(|c| c.0).collect();
    compare(&names, "/var/task/app.py", &draft, &|d| Ok(d.folder(&folder)?.file("wrapper", python_wrapper("3.11"))))
}

fn the_node_shim_answers_as_amazons_client_does() -> Result<()> {
    let folder = client("aws-lambda-ric-3.3.0")?;
    let myna = Platform::start()?;
    if myna.runtime("nodejs20.x")?["found"] == "" {
        return Err(skip("no Node.js 20 on this machine"));
    }
    let cases: String = NODE.iter().map(|(name, text)| format!("  {name:?}: {text},\n")).collect();
    let source = format!(
        "const CASES = {{\n{cases}}};\nexports.handler = (event, context, callback) => CASES[event](event, context, callback);\n"
    );
    let draft = |name: &str| {
        myna.draft(name, "").file("index.js", source.clone()).set("Runtime", "nodejs20.x").set("Handler", "index.handler")
    };
    let names: Vec<&str> = NODE.iter().map(|c| c.0).collect();
    compare(&names, "/var/task/index.js", &draft, &|d| Ok(d.folder(&folder)?.file("wrapper", NODE_WRAPPER)))
}

/// Every case in the text format, and those that log in JSON too. All that differs is told at once.
fn compare<'a>(
    names: &[&str],
    user_file: &str,
    draft: &dyn Fn(&str) -> Draft<'a>,
    official: &dyn Fn(Draft<'a>) -> Result<Draft<'a>>,
) -> Result<()> {
    let mut differences = String::new();
    for format in ["Text", "JSON"] {
        let with = |d: Draft<'a>, wrapped: bool| {
            let variables = if wrapped { json!({"AWS_LAMBDA_EXEC_WRAPPER": "/var/task/wrapper"}) } else { json!({}) };
            let logging = if format == "JSON" {
                json!({"LogFormat": format, "ApplicationLogLevel": "DEBUG"})
            } else {
                json!({"LogFormat": format})
            };
            d.set("MemorySize", 512).set("Environment", json!({"Variables": variables})).set("LoggingConfig", logging).create()
        };
        let own = with(draft(&format!("own-{format}")), false)?;
        let amazons = with(official(draft(&format!("amazons-{format}")))?, true)?;
        if format == "JSON" {
            let log = own.invoke(&json!(names[0]))?.log.unwrap_or_default();
            ensure!(log.lines().all(|line| line.starts_with('{') && line.ends_with('}')), "not every line is an object: {log}");
        }
        for case in names {
            let (a, b) = (seen(&own, case, user_file)?, seen(&amazons, case, user_file)?);
            if a != b {
                differences.push_str(&format!("\n{case} in {format}:\n   ours    {a:?}\n   Amazon's {b:?}"));
            }
        }
    }
    ensure!(differences.is_empty(), "{differences}");
    Ok(())
}

/// What the caller and the log's reader see, without what is new each time.
fn seen(f: &Function<'_>, case: &str, user_file: &str) -> Result<(Option<String>, String, Vec<String>)> {
    let answer = f.invoke(&json!(case))?;
    let payload = match answer.json() {
        Ok(mut document) => {
            tidy(&mut document, user_file);
            document.to_string()
        }
        Err(_) => answer.text(),
    };
    let payload = payload.replace(&answer.request_id, "ID");
    Ok((answer.error.clone(), payload, logged(&answer, user_file)))
}

fn logged(answer: &Answer, user_file: &str) -> Vec<String> {
    let log = answer.log.as_deref().unwrap_or_default();
    let mut lines = Vec::new();
    for line in log.lines() {
        let line = line.replace(&answer.request_id, "ID");
        let platform = ["START ", "END ", "REPORT ", "INIT_START "].iter().any(|own| line.starts_with(own))
            || line.contains(r#""type":"platform."#);
        if platform || foreign(&line, user_file) {
            continue;
        }
        let mut fields: Vec<String> = line.split('\t').filter(|f| !is_time(f)).map(str::to_owned).collect();
        for field in &mut fields {
            if let Ok(mut document @ Value::Object(_)) = serde_json_from(field) {
                tidy(&mut document, user_file);
                *field = document.to_string();
            }
        }
        lines.push(fields.join("\t"));
    }
    lines
}

fn serde_json_from(text: &str) -> Result<Value> {
    Ok(text.parse()?)
}

fn is_time(field: &str) -> bool {
    field.len() == 24 && field.starts_with("20") && field.ends_with('Z')
}

/// A frame of a trace that is not the function's, or the source line below one.
fn foreign(line: &str, user_file: &str) -> bool {
    let bare = line.trim_start_matches(['\u{a0}', ' ']);
    let frame = bare.starts_with("at ") || bare.starts_with("File \"") || bare.starts_with('~') || bare.starts_with('^');
    let ours = ["/var/runtime", "/aws-lambda-ric/", "/awslambdaric/", "<frozen"].iter().any(|o| bare.contains(o));
    frame && (!bare.contains(user_file) || ours) || bare.starts_with("[Previous line repeated")
}

/// Takes out times, and the frames that are the clients' own.
fn tidy(value: &mut Value, user_file: &str) {
    match value {
        Value::Object(map) => {
            map.remove("timestamp");
            map.values_mut().for_each(|v| tidy(v, user_file));
        }
        Value::Array(all) => {
            all.retain(|v| !v.as_str().is_some_and(|text| foreign(text, user_file)));
            all.iter_mut().for_each(|v| tidy(v, user_file));
        }
        Value::String(text) if text.contains("\n    at ") => {
            *text = text.lines().filter(|l| !foreign(l, user_file)).collect::<Vec<_>>().join("\n");
        }
        _ => {}
    }
}
