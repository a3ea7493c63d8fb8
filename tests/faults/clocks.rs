//! Time that does not go as it should: a wall clock that jumps, a platform that stood still while it tried events, a machine that
//! was started again.

use myna_tests::{Options, Platform, Result, Signal, Test, Value, bail, ensure, json, skip};
use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

pub const ALL: &[Test] = myna_tests::tests![
    a_wall_clock_that_jumps_moves_no_deadline_and_signatures_are_judged_anew,
    a_platform_that_stood_still_tries_each_event_once,
    after_the_machine_was_started_again_everything_is_back_by_itself,
];

const PATIENCE: Duration = Duration::from_secs(60);
/// Debian's libfaketime: reads from a file how far off the clock is.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

fn until<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let began = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if began.elapsed() > PATIENCE {
            bail!("not within {} s: {what}", PATIENCE.as_secs());
        }
        thread::sleep(Duration::from_millis(50));
    }
}

fn send(myna: &Platform, function: &str, event: &Value) -> Result<String> {
    let sent = myna.function(function).invoke_bytes("", &serde_json::to_vec(event)?, &[("x-amz-invocation-type", "Event")])?;
    ensure!(sent.status == 202, "{} {}", sent.status, sent.text());
    Ok(sent.request_id)
}

fn succeeded(myna: &Platform, id: &str) -> Result<Option<Value>> {
    let shown = myna.verb(&["events", "show", id])?;
    Ok((shown["stage"] == "succeeded").then_some(shown))
}

// F51, H65: only the platform's clock is moved; the monotonic one goes on as it does on a machine whose administrator sets the time.
fn a_wall_clock_that_jumps_moves_no_deadline_and_signatures_are_judged_anew() -> Result<()> {
    if !Path::new(FAKETIME).exists() {
        return Err(skip(format!("{FAKETIME} is missing: apt-get install libfaketime")));
    }
    let mut myna = Platform::prepare(Options::default())?;
    let file = myna.home().join("clock");
    let jump = |by: &str| fs::write(&file, by);
    jump("+0")?;
    let said = [
        format!("LD_PRELOAD={FAKETIME}"),
        format!("FAKETIME_TIMESTAMP_FILE={}", file.display()),
        "FAKETIME_DONT_FAKE_MONOTONIC=1".into(),
        "FAKETIME_NO_CACHE=1".into(),
    ];
    myna.set_through(&[&["env".to_owned()], &said[..]].concat());
    myna.start_again()?;
    let source = "import time\ndef handler(event, context):\n    print('begun', event, flush=True)\n    time.sleep(event)\n    \
                  return context.aws_request_id\n";
    let slow = myna.draft("slow", source).set("Timeout", 4).create()?;
    let first = slow.call(json!(0))?;

    // What runs while the clock jumps a day ahead, and two back, has the time that it was given: one ends well, one does not.
    let (within, beyond) = thread::scope(|s| -> Result<_> {
        let within = s.spawn(|| slow.call(json!(2)));
        let beyond = s.spawn(|| slow.invoke(&json!(30)));
        myna.until_logged("slow", "begun 2", 1)?;
        myna.until_logged("slow", "begun 30", 1)?;
        jump("+1d")?;
        thread::sleep(Duration::from_millis(300));
        jump("-1d")?;
        let ended = |t: thread::ScopedJoinHandle<'_, Result<_>>| t.join().expect("a call does not panic");
        Ok((ended(within), beyond.join().expect("a call does not panic")))
    })?;
    // Both were signed while the clock was right.
    let second = within?;
    let beyond = beyond?;
    ensure!(beyond.text().contains("Task timed out after 4.00 seconds"), "{}", beyond.text());

    // A signature is as old as the clock says now; it is refused for that and nothing else, and accepted again afterwards.
    for by in ["-1d", "+1d"] {
        jump(by)?;
        let refused = slow.invoke(&json!(0))?;
        ensure!(refused.status == 403, "{by}: {} {}", refused.status, refused.text());
        ensure!(refused.text().contains("Signature"), "{by}: {}", refused.text());
        ensure!(myna.verb(&["list"])?.as_array().is_some_and(|all| all.len() == 1), "the owner's own door asks no clock");
    }
    jump("+0")?;
    let third = slow.call(json!(0))?;
    ensure!(first != second && second != third && first != third, "an id came twice: {first} {second} {third}");

    // An event that waits for its time is tried once, however the clock gets there.
    let delayed = myna.verb(&["invoke", "slow", "--async", "--delay", "600", "-d", "0"])?["request_id"].clone();
    let delayed = delayed.as_str().unwrap_or_default().to_owned();
    ensure!(succeeded(&myna, &delayed)?.is_none());
    jump("+20m")?;
    let ended = until("an event whose time has come is tried", || succeeded(&myna, &delayed))?;
    ensure!(ended["attempts"] == 1, "{ended}");
    jump("+0")?;
    let now = send(&myna, "slow", &json!(0))?;
    let ended = until("the queue goes on when the clock is set back", || succeeded(&myna, &now))?;
    ensure!(ended["attempts"] == 1, "{ended}");
    ensure!(myna.function("slow").call(json!(0)).is_ok());
    Ok(())
}

// F5b: it stands still longer than its functions need, so that all that it timed is over when it goes on.
fn a_platform_that_stood_still_tries_each_event_once() -> Result<()> {
    let myna = Platform::start()?;
    let source = "import time\ndef handler(event, context):\n    print('tried', event, flush=True)\n    time.sleep(0.5)\n    return event\n";
    myna.draft("f", source).set("Timeout", 2).create()?;
    let sent: Vec<_> = (0..8).map(|n| send(&myna, "f", &json!(n))).collect::<Result<_>>()?;
    myna.until_logged("f", "tried", 1)?;
    myna.signal(Signal::STOP)?;
    thread::sleep(Duration::from_secs(4));
    myna.signal(Signal::CONT)?;
    for (n, id) in sent.iter().enumerate() {
        let ended = until(&format!("event {n} has succeeded"), || succeeded(&myna, id))?;
        ensure!(ended["attempts"] == 1, "{ended}");
        let tried = myna.logged("f", &format!("\"tried {n}\""))?;
        ensure!(tried == 1, "event {n} was tried {tried} times");
    }
    Ok(())
}

// F62a: the machine takes every process, mount and control group along; what is in the directory is all that is left.
fn after_the_machine_was_started_again_everything_is_back_by_itself() -> Result<()> {
    let mut myna = Platform::start()?;
    let f = myna.python("f", "def handler(event, context):\n    print('had', event, flush=True)\n    return event\n")?;
    f.api("POST", "/versions", &json!({}))?;
    f.operation(
        "PUT",
        "/2019-09-30/functions/f/provisioned-concurrency?Qualifier=1",
        &json!({"ProvisionedConcurrentExecutions": 1}),
    )?;
    ensure!(f.call(json!("before"))? == "before");
    myna.until_logged("f", "had before", 1)?;
    myna.verb(&["events", "pause", "f"])?;
    let waiting = send(&myna, "f", &json!("queued"))?;
    myna.kill()?;
    // A socket that nobody listens at stays in the directory, and the process that has the old number is somebody else.
    ensure!(myna.dir().join("admin.sock").exists(), "the socket of a killed platform stays");
    myna.start_again()?;
    let ready = until("the provisioned instance is there before anybody calls", || {
        let path = "/2019-09-30/functions/f/provisioned-concurrency?Qualifier=1";
        let shown = myna.function("f").operation("GET", path, &Value::Null)?;
        Ok((shown["Status"] == "READY").then_some(shown))
    })?;
    ensure!(ready["AvailableProvisionedConcurrentExecutions"] == 1, "{ready}");
    ensure!(myna.logged("f", "had before")? == 1, "the log is as it was");
    let shown = myna.verb(&["events", "show", &waiting])?;
    ensure!(shown["stage"] == "queued", "its owner's pause holds: {shown}");
    myna.verb(&["events", "resume", "f"])?;
    until("the event that waited is run", || succeeded(&myna, &waiting))?;
    myna.until_logged("f", "had queued", 1)?;
    Ok(())
}
