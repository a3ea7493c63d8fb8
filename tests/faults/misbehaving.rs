//! Functions that take more than they may. Each costs itself a failed call; a neighbour is called meanwhile and answers.

use myna_tests::{Answer, Platform, Result, Test, Value, ensure, json, processes, tests};
use std::{fs, thread};

pub const ALL: &[Test] = tests![
    a_fork_bomb_stays_within_its_instance,
    a_function_that_eats_memory_is_ended_and_replaced,
    a_full_tmp_is_the_functions_own_error_and_gone_with_its_instance,
    a_flood_of_output_is_cut_and_the_answer_arrives,
    an_init_that_hangs_ends_at_the_functions_timeout,
    an_init_that_fails_now_and_then_is_explained_each_time,
    children_left_behind_do_not_outlive_their_instance,
    descriptors_and_threads_without_end_are_the_functions_own_error,
];

/// Calls a function that misbehaves while its neighbour is called; returns the former's answer.
fn beside_a_neighbour(myna: &Platform, name: &str, event: &Value) -> Result<Answer> {
    let neighbour = myna.python("neighbour", "def handler(e, c): return e")?;
    neighbour.call(json!(0))?;
    thread::scope(|s| {
        let bad = s.spawn(|| myna.function(name).invoke(event));
        let mut asked = 1;
        while !bad.is_finished() || asked < 5 {
            ensure!(neighbour.call(json!(asked))? == asked, "the neighbour suffers");
            asked += 1;
        }
        bad.join().expect("the call does not panic")
    })
}

// F24, H40
fn a_fork_bomb_stays_within_its_instance() -> Result<()> {
    let myna = Platform::start()?;
    let name = format!("bomb-{}", std::process::id());
    let source = r#"
import os, time
def handler(event, context):
    if event == 'quick':
        return 'fresh'
    made = 0
    while True:
        try:
            if os.fork() == 0:
                while True:
                    try:
                        os.fork()
                    except OSError:
                        time.sleep(0.01)
            made += 1
        except OSError:
            if event == 'count':
                return made
            time.sleep(0.01)
"#;
    myna.draft(&name, source)
        .set("Timeout", 2)
        .set("Environment", json!({"Variables": {"MARK": format!("{name}-marker")}}))
        .create()?;
    let answer = beside_a_neighbour(&myna, &name, &json!({}))?;
    ensure!(answer.error.is_some(), "{}", answer.text());
    let left = processes::with_environment(&format!("{name}-marker"));
    ensure!(left.is_empty(), "{} processes of the bomb are alive", left.len());
    ensure!(myna.function(&name).call(json!("quick"))? == "fresh");
    Ok(())
}

// F25, H41a
fn a_function_that_eats_memory_is_ended_and_replaced() -> Result<()> {
    let myna = Platform::start()?;
    let source = r#"
import mmap, os
def handler(event, context):
    if event == 'quick':
        return 'fresh'
    if event == 'shared':
        m = mmap.mmap(-1, 1 << 30)
        for at in range(0, 1 << 30, 4096):
            m[at] = 1
    held = []
    while True:
        held.append(os.urandom(1 << 20))
"#;
    myna.draft("eater", source).set("Timeout", 30).create()?;
    for event in ["private", "shared"] {
        let answer = beside_a_neighbour(&myna, "eater", &json!(event));
        let answer = answer?;
        ensure!(answer.error.is_some() && answer.text().contains("Runtime."), "{event}: {}", answer.text());
        ensure!(myna.function("eater").call(json!("quick"))? == "fresh", "after {event}");
        myna.function("neighbour").api("DELETE", "", &Value::Null)?;
    }
    Ok(())
}

// F26, H42a
fn a_full_tmp_is_the_functions_own_error_and_gone_with_its_instance() -> Result<()> {
    let myna = Platform::start()?;
    let source = r#"
import errno, os
def handler(event, context):
    if event == 'look':
        return os.listdir('/tmp')
    written = 0
    try:
        if event == 'one':
            with open('/tmp/large', 'wb') as f:
                while True:
                    f.write(b'x' * (1 << 20)); f.flush(); written += 1
        for n in range(10_000_000):
            open('/tmp/%d' % n, 'w').close(); written += 1
    except OSError as e:
        return [errno.errorcode[e.errno], written]
"#;
    let f = myna.draft("filler", source).set("Timeout", 60).set("MemorySize", 1024).create()?;
    let one = f.call(json!("one"))?;
    ensure!(one[0] == "ENOSPC" && one[1].as_u64().is_some_and(|mib| (400..=520).contains(&mib)), "512 MB fit in /tmp: {one}");
    f.update(&format!("{source}\n# another version\n"))?;
    ensure!(f.call(json!("look"))? == json!([]), "a new version begins with an empty /tmp");
    let many = f.call(json!("many"))?;
    ensure!(["ENOSPC", "ENOMEM"].iter().any(|e| many[0] == *e), "files without end: {many}");
    Ok(())
}

// F37
fn a_flood_of_output_is_cut_and_the_answer_arrives() -> Result<()> {
    let myna = Platform::start()?;
    let source = r#"
import os, sys
def handler(event, context):
    if event == 'lines':
        for n in range(200_000):
            print('line', n, 'x' * 200)
    if event == 'endless':
        for n in range(64):
            sys.stdout.write('y' * (1 << 20))
    if event == 'binary':
        os.write(1, bytes(range(256)) * 4096)
    return event
"#;
    myna.draft("loud", source).set("Timeout", 60).set("MemorySize", 512).create()?;
    for (n, event) in ["lines", "endless", "binary"].into_iter().enumerate() {
        if n > 0 {
            myna.function("neighbour").api("DELETE", "", &Value::Null)?;
        }
        let answer = beside_a_neighbour(&myna, "loud", &json!(event))?;
        ensure!(answer.error.is_none() && answer.json()? == event, "{event}: {}", answer.text());
        let log = answer.log.unwrap_or_default();
        ensure!(log.contains("REPORT RequestId: ") && log.len() <= 8 * 1024, "the platform's own lines are there: {event}");
    }
    let kept: u64 = sizes(&myna.dir());
    ensure!(kept < 256 << 20, "the state directory grew to {kept} bytes");
    Ok(())
}

/// Bytes in all files below a folder.
fn sizes(folder: &std::path::Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|e| if e.file_type().is_ok_and(|t| t.is_dir()) { sizes(&e.path()) } else { e.metadata().map_or(0, |m| m.len()) })
        .sum()
}

// F36
fn an_init_that_hangs_ends_at_the_functions_timeout() -> Result<()> {
    let myna = Platform::start()?;
    let name = format!("stuck-{}", std::process::id());
    let f = myna.draft(&name, "import time\ntime.sleep(600)\ndef handler(e, c): return 1\n").set("Timeout", 3).create()?;
    let answer = f.invoke(&json!({}))?;
    ensure!(answer.error.is_some() && answer.text().contains("timed out"), "{}", answer.text());
    Ok(())
}

fn an_init_that_fails_now_and_then_is_explained_each_time() -> Result<()> {
    let myna = Platform::start()?;
    let source =
        "import os\nif os.urandom(1)[0] < 128:\n    raise RuntimeError('not today')\ndef handler(e, c):\n    return 'today'\n";
    let f = myna.python("moody", source)?;
    let mut worked = 0;
    for _ in 0..30 {
        let answer = f.invoke(&json!({}))?;
        match &answer.error {
            None => worked += u32::from(answer.json()? == "today"),
            Some(_) => ensure!(answer.text().contains("not today"), "a failure without its reason: {}", answer.text()),
        }
    }
    ensure!(worked > 0, "thirty even chances and not one start");
    Ok(())
}

// F38, F27: the child ignores every signal that can be ignored.
fn children_left_behind_do_not_outlive_their_instance() -> Result<()> {
    let myna = Platform::start()?;
    let name = format!("parent-{}", std::process::id());
    let source = r#"
import subprocess, sys
def handler(event, context):
    code = 'import signal, time\nfor s in range(1, 32):\n    try: signal.signal(s, signal.SIG_IGN)\n    except OSError: pass\ntime.sleep(600)'
    subprocess.Popen([sys.executable, '-c', code, context.function_name + '-marker'], start_new_session=True)
    return 1
"#;
    let f = myna.draft(&name, source).set("Timeout", 5).create()?;
    f.call(json!({}))?;
    ensure!(processes::with(&format!("{name}-marker")).len() == 1, "the child was started");
    f.api("DELETE", "", &Value::Null)?;
    let gone = || processes::with(&format!("{name}-marker")).is_empty();
    ensure!(myna_tests::soon(gone), "the child outlives its function");
    Ok(())
}

// H40
fn descriptors_and_threads_without_end_are_the_functions_own_error() -> Result<()> {
    let myna = Platform::start()?;
    let source = r#"
import os, threading
def handler(event, context):
    made = 0
    try:
        if event == 'descriptors':
            while True:
                os.open('/dev/null', os.O_RDONLY); made += 1
        wait = threading.Event()
        while made < 100_000:
            threading.Thread(target=wait.wait, daemon=True).start(); made += 1
    except (OSError, RuntimeError) as e:
        return made
"#;
    for event in ["descriptors", "threads"] {
        let f = myna.draft(event, source).set("Timeout", 30).set("MemorySize", 512).create()?;
        let made = f.call(json!(event))?;
        ensure!(made.as_u64().is_some_and(|n| (50..=1100).contains(&n)), "{made} {event} before it was stopped");
    }
    Ok(())
}
