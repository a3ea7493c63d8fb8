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
    a_destination_that_the_role_may_not_invoke_hears_nothing_and_the_event_says_so,
    an_event_is_followed_to_its_end,
    events_of_a_key_keep_their_order_and_a_delay_holds_one_back,
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

fn send(f: &Function<'_>, event: &Value) -> Result<String> {
    let answer = f.invoke_bytes("", &serde_json::to_vec(event)?, &[("x-amz-invocation-type", "Event")])?;
    ensure!(answer.status == 202 && answer.payload.is_empty(), "{} {}", answer.status, answer.text());
    Ok(answer.request_id)
}

fn until(myna: &Platform, id: &str, stage: &str) -> Result<Value> {
    let began = Instant::now();
    loop {
        let shown = myna.verb(&["events", "show", id])?;
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
    ensure!(myna.verb(&["dlq", "list"])?.as_array().map(Vec::len) == Some(1));
    f.update("def handler(event, context): return 'mended'")?;
    ensure!(myna.verb(&["dlq", "redrive", "f"])?["count"] == 1);
    until(&myna, &id, "succeeded")?;
    Ok(())
}

const FAILS_WHEN_BAD: &str =
    "def handler(event, context):\n    if event['bad']:\n        raise ValueError('no')\n    return {'ok': 1}";

/// A role that may invoke any function.
fn sender(myna: &Platform) -> Result<Value> {
    myna.boto3(
        r#"
iam = boto3.client("iam")
trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}]}
may = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": "*"}]}
role = iam.create_role(RoleName="sender", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
iam.put_role_policy(RoleName="sender", PolicyName="may", PolicyDocument=json.dumps(may))
return role
"#,
    )
}

// The failures go to an alias, which runs what was published and not what is there now.
fn word_of_an_events_end_reaches_its_destination() -> Result<()> {
    let myna = quick()?;
    let f = myna.draft("f", FAILS_WHEN_BAD).set("Role", sender(&myna)?).create()?;
    let heard = myna.python("heard", "import json\ndef handler(event, context):\n    print('published', json.dumps(event))")?;
    heard.operation("POST", "/2015-03-31/functions/heard/versions", &json!({}))?;
    heard.operation("POST", "/2015-03-31/functions/heard/aliases", &json!({"Name": "live", "FunctionVersion": "1"}))?;
    heard.update("import json\ndef handler(event, context):\n    print('latest', json.dumps(event))")?;
    let arn = heard.api("GET", "/configuration", &Value::Null)?["FunctionArn"].as_str().unwrap_or_default().to_owned();
    let to = json!({"OnSuccess": {"Destination": arn}, "OnFailure": {"Destination": format!("{arn}:live")}});
    let config = json!({"MaximumRetryAttempts": 0, "DestinationConfig": to});
    f.operation("PUT", "/2019-09-25/functions/f/event-invoke-config", &config)?;
    for (bad, condition, stage, by) in
        [(false, "Success", "succeeded", "latest"), (true, "RetriesExhausted", "failed", "published")]
    {
        let id = send(&f, &json!({"bad": bad}))?;
        until(&myna, &id, stage)?;
        myna.until_logged("heard", &format!("{by} \"{id}\" \"{condition}\" \"requestPayload\""), 1)?;
    }
    ensure!(myna.verb(&["dlq", "list"])?.as_array().is_some_and(Vec::is_empty), "its destination has it");
    Ok(())
}

fn a_destination_that_the_role_may_not_invoke_hears_nothing_and_the_event_says_so() -> Result<()> {
    let myna = quick()?;
    let f = myna.python("f", FAILS_WHEN_BAD)?;
    let heard = myna.python("heard", "def handler(event, context):\n    print('heard', event)")?;
    let arn = heard.api("GET", "/configuration", &Value::Null)?["FunctionArn"].clone();
    let to = json!({"OnSuccess": {"Destination": arn}, "OnFailure": {"Destination": arn}});
    let config = json!({"MaximumRetryAttempts": 0, "DestinationConfig": to});
    f.operation("PUT", "/2019-09-25/functions/f/event-invoke-config", &config)?;
    for (bad, stage) in [(false, "succeeded"), (true, "dead-lettered")] {
        let end = until(&myna, &send(&f, &json!({"bad": bad}))?, stage)?;
        let reason = end["reason"].as_str().unwrap_or_default();
        ensure!(reason.contains("heard was not told") && reason.contains("lambda:InvokeFunction"), "{end}");
    }
    let dead = myna.verb(&["dlq", "list"])?;
    ensure!(dead[0]["reason"].as_str().is_some_and(|r| r.contains("ValueError")), "why it failed is kept too: {dead}");
    ensure!(myna.verb(&["events", "list", "heard"])?.as_array().is_some_and(Vec::is_empty), "nothing was sent");
    Ok(())
}

fn an_event_is_followed_to_its_end() -> Result<()> {
    let myna = quick()?;
    let f = myna.python("f", FAILS_WHEN_BAD)?;
    f.operation("PUT", "/2019-09-25/functions/f/event-invoke-config", &json!({"MaximumRetryAttempts": 1}))?;
    myna.verb(&["events", "pause", "f"])?;
    let (good, bad) = (send(&f, &json!({"bad": false}))?, send(&f, &json!({"bad": true}))?);
    let follow = |id: &str| -> Result<(Option<i32>, Vec<String>)> {
        let done = myna.cli(&["events", "follow", id])?;
        Ok((done.status.code(), String::from_utf8(done.stdout)?.lines().map(str::to_owned).collect()))
    };
    let (first, second) = thread::scope(|s| -> Result<_> {
        let (first, second) = (s.spawn(|| follow(&good)), s.spawn(|| follow(&bad)));
        // They look before anything goes on.
        thread::sleep(Duration::from_millis(500));
        myna.verb(&["events", "resume", "f"])?;
        let ended = |t: thread::ScopedJoinHandle<'_, Result<_>>| t.join().map_err(|_| anyhow::anyhow!("it panicked"))?;
        Ok((ended(first)?, ended(second)?))
    })?;
    let (begins, ends) = (|lines: &[String]| lines.first().cloned(), |lines: &[String]| lines.last().cloned());
    ensure!(first.0 == Some(0) && begins(&first.1).as_deref() == Some("queued"), "{first:?}");
    ensure!(ends(&first.1).as_deref() == Some("succeeded after 1 tries"), "{first:?}");
    // The function reported the error.
    ensure!(
        second.0 == Some(3) && second.1.iter().any(|l| l.starts_with("queued, due in ") && l.contains("ValueError")),
        "{second:?}"
    );
    ensure!(ends(&second.1).is_some_and(|l| l.starts_with("dead-lettered after 2 tries: ")), "{second:?}");
    let absent = myna.cli(&["events", "follow", "00000000-0000-8000-8000-000000000000"])?;
    ensure!(absent.status.code() == Some(5), "{absent:?}");
    Ok(())
}

fn events_of_a_key_keep_their_order_and_a_delay_holds_one_back() -> Result<()> {
    let myna = Platform::start()?;
    let source =
        "import time\ndef handler(event, context):\n    print('begun', event)\n    time.sleep(0.05)\n    print('done', event)";
    myna.python("f", source)?;
    let mut sent = Vec::new();
    for n in 0..6 {
        let (data, key) = (n.to_string(), if n % 2 == 0 { "even" } else { "odd" });
        let said = myna.verb(&["invoke", "f", "--async", "--key", key, "-d", &data])?;
        sent.push(said["request_id"].as_str().unwrap_or_default().to_owned());
    }
    let late = myna.verb(&["invoke", "f", "--async", "--delay", "2", "-d", "6"])?["request_id"].clone();
    let late = late.as_str().unwrap_or_default();
    for id in sent.iter().map(String::as_str).chain([late]) {
        until(&myna, id, "succeeded")?;
    }
    let shown = myna.verb(&["events", "show", late])?;
    let at = |name: &str| shown[name].as_u64().unwrap_or_default();
    ensure!(at("due_ms") == at("accepted_ms") + 2000 && at("ended_ms") >= at("due_ms"), "{shown}");
    let said = |n: usize, what: &str| myna.until_logged("f", &format!("\"{what} {n}\""), 1);
    (0..6).try_for_each(|n| said(n, "done"))?;
    let log = myna.cli(&["logs", "f", "--json"])?;
    let log = String::from_utf8_lossy(&log.stdout).into_owned();
    let place = |n: usize, what: &str| log.find(&format!("{what} {n}")).unwrap_or(usize::MAX);
    for n in 0..4 {
        ensure!(place(n, "done") < place(n + 2, "begun"), "{n} and {} overlapped or ran in another order:\n{log}", n + 2);
    }
    Ok(())
}

// F4c
fn events_survive_a_stop_and_a_pause() -> Result<()> {
    let mut myna = Platform::start()?;
    let f = myna.python("f", "def handler(event, context): return event")?;
    myna.verb(&["events", "pause", "f"])?;
    let ids: Vec<String> = (0..20).map(|n| send(&f, &json!(n))).collect::<Result<_>>()?;
    drop(f);
    ensure!(myna.stop()?.success());
    myna.start_again()?;
    let lanes = myna.verb(&["events"])?;
    ensure!(lanes[0]["queued"] == 20 && lanes[0]["paused"] == true, "{lanes}");
    myna.verb(&["events", "cancel", &ids[0]])?;
    myna.verb(&["events", "resume", "f"])?;
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
    myna.verb(&["events", "pause", "f"])?;
    let id = send(&f, &json!("of the old one"))?;
    f.api("DELETE", "", &Value::Null)?;
    let dead = until(&myna, &id, "dead-lettered")?;
    ensure!(dead["why"] == "deleted", "{dead}");
    let f = myna.python("f", "def handler(event, context):\n    print('got', event)")?;
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
