//! What Invoke answers: the function's words, or the platform's when the function could not speak.

use myna_tests::{Answer, Platform, Result, Test, ensure, json, processes, tests};

pub const ALL: &[Test] = tests![
    an_exception_is_answered_with_its_type_message_and_trace,
    an_error_before_the_handler_is_explained,
    a_process_that_exits_is_reported_at_once_and_replaced,
    a_function_past_its_timeout_is_dead_before_its_caller_hears,
    the_log_tail_frames_what_the_function_printed,
    payloads_pass_byte_for_byte_up_to_their_limit,
    a_response_over_the_limit_is_an_error_and_the_next_call_works,
    an_instance_is_used_again_and_keeps_what_it_has,
];

/// A payload may have this many bytes. AWS Lambda quotas: 6 MB for a synchronous invocation.
const REQUEST_MAX: usize = 6_291_456;

fn error_type(answer: &Answer) -> Result<String> {
    ensure!(answer.status == 200 && answer.error.as_deref() == Some("Unhandled"), "{answer:?}: {}", answer.text());
    Ok(answer.json()?["errorType"].as_str().unwrap_or_default().to_owned())
}

fn an_exception_is_answered_with_its_type_message_and_trace() -> Result<()> {
    let myna = Platform::start()?;
    let f =
        myna.python("breaks", "def handler(event, context):\n    raise ValueError('no such colour: ' + event['colour'])\n")?;
    let answer = f.invoke(&json!({"colour": "grün"}))?;
    ensure!(error_type(&answer)? == "ValueError");
    let body = answer.json()?;
    ensure!(body["errorMessage"] == "no such colour: grün" && body["requestId"] == answer.request_id.as_str(), "{body}");
    ensure!(body["stackTrace"][0].as_str().is_some_and(|l| l.contains("app.py")), "{body}");
    ensure!(answer.log.as_deref().is_some_and(|l| l.contains("ValueError")), "{:?}", answer.log);
    Ok(())
}

fn an_error_before_the_handler_is_explained() -> Result<()> {
    let myna = Platform::start()?;
    let syntax = myna.python("syntax", "def handler(event, context)\n    return 1\n")?;
    ensure!(error_type(&syntax.invoke(&json!({}))?)? == "Runtime.UserCodeSyntaxError");
    let missing = myna.draft("missing", "x = 1\n").set("Handler", "app.nothing").create()?;
    ensure!(error_type(&missing.invoke(&json!({}))?)? == "Runtime.HandlerNotFound");
    let module = myna.draft("module", "x = 1\n").set("Handler", "nowhere.handler").create()?;
    ensure!(error_type(&module.invoke(&json!({}))?)? == "Runtime.ImportModuleError");
    let exits = myna.python("exits", "import os\nos._exit(3)\n")?;
    let answer = exits.invoke(&json!({}))?;
    ensure!(error_type(&answer)? == "Runtime.ExitError");
    ensure!(answer.text().contains("exit status 3"), "{}", answer.text());
    Ok(())
}

// F35, A2.4
fn a_process_that_exits_is_reported_at_once_and_replaced() -> Result<()> {
    let myna = Platform::start()?;
    let source = "import os, signal\ncalls = 0\ndef handler(event, context):\n    global calls\n    calls += 1\n    \
                  if event == 'exit': os._exit(0)\n    if event == 'crash': os.kill(os.getpid(), signal.SIGSEGV)\n    return calls\n";
    let f = myna.draft("leaves", source).set("Timeout", 60).create()?;
    ensure!(f.call(json!(0))? == 1 && f.call(json!(0))? == 2, "one instance counts its calls");
    for way in ["exit", "crash"] {
        let answer = f.invoke(&json!(way))?;
        ensure!(error_type(&answer)? == "Runtime.ExitError", "{way}: {}", answer.text());
        ensure!(f.call(json!(0))? == 1, "after {way} the next call gets a fresh process");
    }
    Ok(())
}

// F28, A3.2: the function's own child ignores every polite signal, and is looked for the moment the answer is there.
fn a_function_past_its_timeout_is_dead_before_its_caller_hears() -> Result<()> {
    let myna = Platform::start()?;
    let source = "import subprocess, sys, time, os\ndef handler(event, context):\n    if event == 'quick':\n        return os.listdir('/tmp')\n    \
                  open('/tmp/kept', 'w').close()\n    code = 'import signal,time; signal.signal(15, signal.SIG_IGN); time.sleep(600)'\n    \
                  subprocess.Popen([sys.executable, '-c', code, context.function_name + '-marker'], start_new_session=True)\n    time.sleep(600)\n";
    let name = format!("late-{}", std::process::id());
    let f = myna.draft(&name, source).set("Timeout", 1).create()?;
    let answer = f.invoke(&json!({}))?;
    let alive = processes::with(&format!("{name}-marker"));
    ensure!(error_type(&answer)? == "Sandbox.Timedout");
    let expected = format!("RequestId: {} Error: Task timed out after 1.00 seconds", answer.request_id);
    ensure!(answer.json()?["errorMessage"] == expected.as_str(), "{}", answer.text());
    ensure!(alive.is_empty(), "alive after the answer: {alive:?}");
    ensure!(f.call(json!("quick"))? == json!(["kept"]), "/tmp outlives a timeout, as it does on Lambda");
    Ok(())
}

fn the_log_tail_frames_what_the_function_printed() -> Result<()> {
    let myna = Platform::start()?;
    let f = myna.draft("talks", "def handler(e, c):\n    print('hello from inside')\n").set("MemorySize", 256).create()?;
    let answer = f.invoke(&json!({}))?;
    let log = answer.log.clone().unwrap_or_default();
    let id = &answer.request_id;
    let at = |text: String| log.find(&text).ok_or_else(|| myna_tests::anyhow!("the log lacks {text:?}:\n{log}"));
    let start = at(format!("START RequestId: {id} Version: $LATEST\n"))?;
    let printed = at("hello from inside\n".into())?;
    let end = at(format!("END RequestId: {id}\n"))?;
    let report = at(format!("REPORT RequestId: {id}\tDuration: "))?;
    ensure!(start < printed && printed < end && end < report, "{log}");
    for part in [" ms\tBilled Duration: ", "\tMemory Size: 256 MB\t", "\tMax Memory Used: ", "\tInit Duration: "] {
        ensure!(log[report..].contains(part), "the report lacks {part:?}: {log}");
    }
    let warm = f.invoke(&json!({}))?.log.unwrap_or_default();
    ensure!(!warm.contains("Init Duration"), "a warm call has no init: {warm}");
    Ok(())
}

fn payloads_pass_byte_for_byte_up_to_their_limit() -> Result<()> {
    let myna = Platform::start()?;
    let source = "import hashlib, json\ndef handler(event, context):\n    return len(event)\n";
    let f = myna.python("measures", source)?;
    let text = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2)).into_bytes();
    let full = f.invoke_bytes("", &text(REQUEST_MAX), &[])?;
    ensure!(full.status == 200 && full.json()? == REQUEST_MAX - 2, "{}", full.text());
    let over = f.invoke_bytes("", &text(REQUEST_MAX + 1), &[])?;
    ensure!(over.status == 413, "one byte over the limit was answered {}: {}", over.status, over.text());
    let broken = f.invoke_bytes("", b"{\"a\": ", &[])?;
    ensure!(broken.status == 400 && broken.text().contains("Could not parse request body into json"), "{}", broken.text());
    Ok(())
}

// F30a
fn a_response_over_the_limit_is_an_error_and_the_next_call_works() -> Result<()> {
    let myna = Platform::start()?;
    let f = myna.draft("shouts", "def handler(n, context):\n    return 'x' * n\n").set("MemorySize", 512).create()?;
    let answer = f.invoke(&json!(7_000_000))?;
    ensure!(error_type(&answer)? == "Function.ResponseSizeTooLarge");
    ensure!(answer.text().contains("6291556"), "the limit is named: {}", answer.text());
    ensure!(f.call(json!(3))? == "xxx");
    Ok(())
}

fn an_instance_is_used_again_and_keeps_what_it_has() -> Result<()> {
    let myna = Platform::start()?;
    let source = "import os\nseen = []\ndef handler(event, context):\n    seen.append(event)\n    open('/tmp/f', 'a').write(event)\n    \
                  return {'seen': seen, 'file': open('/tmp/f').read(), 'cwd': os.getcwd(), 'uid': os.getuid() != 0}\n";
    let f = myna.python("keeps", source)?;
    f.call(json!("a"))?;
    let second = f.call(json!("b"))?;
    ensure!(second == json!({"seen": ["a", "b"], "file": "ab", "cwd": "/var/task", "uid": true}), "{second}");
    Ok(())
}
