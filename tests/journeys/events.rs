//! Asynchronous calls: accepted, tried, and their ends, as a user of AWS's SDK and of the command line sees them.

use myna_tests::{Function, Options, Platform, Result, Test, Value, bail, ensure, json};
use std::{
    thread,
    time::{Duration, Instant},
};

pub const ALL: &[Test] = myna_tests::tests![
    an_event_runs_under_the_id_that_its_sender_got,
    a_failing_event_is_tried_again_and_becomes_a_dead_letter_to_be_driven_again,
    word_of_an_events_end_reaches_its_destination,
    events_survive_a_stop_and_a_pause,
    a_deleted_functions_events_are_dead_letters_and_its_name_inherits_nothing,
    events_at_their_limits_are_accepted_or_refused_in_the_services_words,
];

/// Until a state is reached that only a hang keeps away.
const PATIENCE: Duration = Duration::from_secs(60);

/// A second between attempts.
fn quick() -> Result<Platform> {
    Platform::start_with(Options { config: Some("[events]\nretry_s = 1\n".into()), ..Options::default() })
}

fn verb(myna: &Platform, words: &[&str]) -> Result<Value> {
    let done = myna.cli(&[words, &["--json"]].concat())?;
    ensure!(done.status.success(), "myna {words:?}: {}", String::from_utf8_lossy(&done.stderr));
    Ok(serde_json::from_slice(&done.stdout)?)
}

fn send(f: &Function<'_>, event: &Value) -> Result<String> {
    let answer = f.invoke_bytes("", &serde_json::to_vec(event)?, &[("x-amz-invocation-type", "Event")])?;
    ensure!(answer.status == 202 && answer.payload.is_empty(), "{} {}", answer.status, answer.text());
    Ok(answer.request_id)
}

fn until(myna: &Platform, id: &str, stage: &str) -> Result<Value> {
    let began = Instant::now();
    loop {
        let shown = verb(myna, &["events", "show", id])?;
        if shown["stage"] == stage {
            return Ok(shown);
        }
        if began.elapsed() > PATIENCE {
            bail!("{id} is not {stage}: {shown}");
        }
        thread::sleep(Duration::from_millis(50));
    }
}

// A1.4, A3.3
fn an_event_runs_under_the_id_that_its_sender_got() -> Result<()> {
    let myna = Platform::start()?;
    let source = "def handler(event, context):\n    print('seen', event['n'], context.aws_request_id)\n    return 1";
    myna.python("f", source)?;
    let said = myna.boto3("return lam.invoke(FunctionName='f', InvocationType='Event', Payload='{\"n\": 7}')")?;
    ensure!(said["StatusCode"] == 202 && said["Payload"] == "" && said["ExecutedVersion"].is_null(), "{said}");
    let id = said["ResponseMetadata"]["RequestId"].as_str().unwrap_or_default().to_owned();
    myna.until_logged("f", &format!("\"seen 7 {id}\""), 1)?;
    let end = until(&myna, &id, "succeeded")?;
    ensure!(end["attempts"] == 1 && end["lane"]["function"] == "f", "{end}");
    let printed = myna.cli(&["invoke", "f", "--async", "-d", "{\"n\": 8}"])?;
    until(&myna, String::from_utf8(printed.stdout)?.trim(), "succeeded")?;
    Ok(())
}

// F41, A1.3, A1.6, A3.3
fn a_failing_event_is_tried_again_and_becomes_a_dead_letter_to_be_driven_again() -> Result<()> {
    let myna = quick()?;
    let f = myna.python("f", "import os\ndef handler(event, context):\n    os._exit(3)")?;
    let good = myna.python("good", "def handler(event, context): return event")?;
    f.operation("PUT", "/2019-09-25/functions/f/event-invoke-config", &json!({"MaximumRetryAttempts": 1}))?;
    let id = send(&f, &json!({"poison": true}))?;
    let others: Vec<String> = (0..5).map(|n| send(&good, &json!(n))).collect::<Result<_>>()?;
    let dead = until(&myna, &id, "dead-lettered")?;
    ensure!(dead["attempts"] == 2 && dead["why"] == "failed" && dead["body"] == "{\"poison\":true}", "{dead}");
    ensure!(dead["reason"].as_str().is_some_and(|r| r.contains("exit")), "{dead}");
    myna.until_logged("f", &format!("\"START RequestId: {id}\""), 2)?;
    for other in &others {
        until(&myna, other, "succeeded")?;
    }
    ensure!(verb(&myna, &["dlq", "list"])?.as_array().map(Vec::len) == Some(1));
    f.update("def handler(event, context): return 'mended'")?;
    ensure!(verb(&myna, &["dlq", "redrive", "f"])?["count"] == 1);
    until(&myna, &id, "succeeded")?;
    Ok(())
}

fn word_of_an_events_end_reaches_its_destination() -> Result<()> {
    let myna = quick()?;
    let f = myna.python(
        "f",
        "def handler(event, context):\n    if event['bad']:\n        raise ValueError('no')\n    return {'ok': 1}",
    )?;
    let heard = myna.python("heard", "import json\ndef handler(event, context):\n    print(json.dumps(event))")?;
    let arn = heard.api("GET", "/configuration", &Value::Null)?["FunctionArn"].clone();
    let to = json!({"OnSuccess": {"Destination": arn}, "OnFailure": {"Destination": arn}});
    let config = json!({"MaximumRetryAttempts": 0, "DestinationConfig": to});
    f.operation("PUT", "/2019-09-25/functions/f/event-invoke-config", &config)?;
    for (bad, condition, stage) in [(false, "Success", "succeeded"), (true, "RetriesExhausted", "failed")] {
        let id = send(&f, &json!({"bad": bad}))?;
        until(&myna, &id, stage)?;
        myna.until_logged("heard", &format!("\"{id}\" \"{condition}\" \"requestPayload\""), 1)?;
    }
    ensure!(verb(&myna, &["dlq", "list"])?.as_array().is_some_and(Vec::is_empty), "its destination has it");
    Ok(())
}

// F4c
fn events_survive_a_stop_and_a_pause() -> Result<()> {
    let mut myna = Platform::start()?;
    let f = myna.python("f", "def handler(event, context): return event")?;
    verb(&myna, &["events", "pause", "f"])?;
    let ids: Vec<String> = (0..20).map(|n| send(&f, &json!(n))).collect::<Result<_>>()?;
    drop(f);
    ensure!(myna.stop()?.success());
    myna.start_again()?;
    let lanes = verb(&myna, &["events"])?;
    ensure!(lanes[0]["queued"] == 20 && lanes[0]["paused"] == true, "{lanes}");
    verb(&myna, &["events", "cancel", &ids[0]])?;
    verb(&myna, &["events", "resume", "f"])?;
    for id in &ids[1..] {
        until(&myna, id, "succeeded")?;
    }
    until(&myna, &ids[0], "cancelled")?;
    Ok(())
}

// F59
fn a_deleted_functions_events_are_dead_letters_and_its_name_inherits_nothing() -> Result<()> {
    let myna = Platform::start()?;
    let f = myna.python("f", "def handler(event, context): return event")?;
    verb(&myna, &["events", "pause", "f"])?;
    let id = send(&f, &json!("of the old one"))?;
    f.api("DELETE", "", &Value::Null)?;
    let dead = until(&myna, &id, "dead-lettered")?;
    ensure!(dead["why"] == "deleted", "{dead}");
    let f = myna.python("f", "def handler(event, context):\n    print('got', event)")?;
    verb(&myna, &["events", "resume", "f"])?;
    until(&myna, &send(&f, &json!("of the new one"))?, "succeeded")?;
    ensure!(myna.logged("f", "\"of the old one\"")? == 0);
    until(&myna, &id, "dead-lettered")?;
    Ok(())
}

// H60, A1.2
fn events_at_their_limits_are_accepted_or_refused_in_the_services_words() -> Result<()> {
    let myna = Platform::start()?;
    let f = myna.python("f", "def handler(event, context): return len(event)")?;
    let payload = |bytes: usize| [&b"\""[..], &vec![b'x'; bytes - 2], b"\""].concat();
    let event = [("x-amz-invocation-type", "Event")];
    let most = f.invoke_bytes("", &payload(1 << 20), &event)?;
    ensure!(most.status == 202, "{}", most.text());
    let shown = until(&myna, &most.request_id, "succeeded")?;
    ensure!(shown["bytes"] == 1 << 20, "{shown}");
    let over = f.invoke_bytes("", &payload((1 << 20) + 1), &event)?;
    ensure!(over.status == 413 && over.text().contains("too large for the Event invocation type"), "{}", over.text());
    for (bytes, status) in [(&b""[..], 202), (b"{", 400), (b"\xff", 400)] {
        let answer = f.invoke_bytes("", bytes, &event)?;
        ensure!(answer.status == status, "{bytes:?}: {} {}", answer.status, answer.text());
    }
    let absent = myna.function("absent").invoke_bytes("", b"{}", &event)?;
    ensure!(absent.status == 404, "{}", absent.text());
    Ok(())
}
