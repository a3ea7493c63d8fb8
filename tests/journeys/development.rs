//! `myna dev`: the loop of saving and calling.

use super::command_line::{folder, serde_json_from, verb};
use myna_tests::{
    Context, Http, Platform, Response, Result, Signal, Test, Value, binary, ensure, json, processes, scaled, soon, tests,
};
use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
};

pub const ALL: &[Test] = tests![
    a_saved_file_answers_and_a_broken_one_is_survived,
    the_log_and_each_answer_name_the_code_that_gave_them,
    development_has_the_engine_and_the_limits_of_production,
    many_local_calls_at_once_work_and_a_crash_ends_nothing,
    memory_stays_where_it_was_after_calls_and_reloads,
    a_stopping_platform_waits_for_no_watcher_and_dev_finds_the_next_one,
];

const FILE: &str = "live/lambda_function.py";

/// A function `live` whose handler has this body.
fn live(body: &str) -> String {
    let body: String = body.lines().map(|l| format!("    {l}\n")).collect();
    format!("import os, time\ndef lambda_handler(event, context):\n{body}")
}

/// `myna dev` as a child of the test; the kernel ends it with the test.
struct Dev {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    file: PathBuf,
}

impl Dev {
    fn start(myna: &Platform, body: &str, options: &[&str]) -> Result<Self> {
        folder(myna, "live", &[("lambda_function.py", &live(body))])?;
        let mut dev = Command::new("setpriv");
        dev.args(["--pdeathsig", "KILL", "--"]).arg(binary()?).args(["dev", "live"]).args(options);
        // Found from the folder, so that nothing of this process names the directory.
        dev.env_remove("MYNA_DIR");
        let mut child =
            dev.current_dir(myna.home()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let lines = Arc::default();
        keep(&lines, child.stdout.take().context("stdout is piped")?);
        keep(&lines, child.stderr.take().context("stderr is piped")?);
        let dev = Self { child, lines, file: myna.home().join(FILE) };
        dev.until("watching")?;
        Ok(dev)
    }

    fn shown(&self) -> String {
        self.lines.lock().expect("no one panics while holding it").join("\n")
    }

    fn until(&self, text: &str) -> Result<()> {
        ensure!(soon(|| self.shown().contains(text)), "dev never showed {text:?}:\n{}", self.shown());
        Ok(())
    }

    /// Each code that it said to answer, in order.
    fn codes(&self) -> Vec<String> {
        let shown = self.shown();
        let code = |l: &str| Some(l.split_once("code ")?.1.split_once(" answers")?.0.to_owned());
        shown.lines().filter_map(code).collect()
    }

    /// Saves and waits until the new code answers.
    fn save(&self, body: &str) -> Result<String> {
        let before = self.codes().len();
        fs::write(&self.file, live(body))?;
        ensure!(soon(|| self.codes().len() > before), "the save is not answered:\n{}", self.shown());
        self.codes().pop().context("there is one more than before")
    }

    fn runs(&mut self) -> Result<()> {
        ensure!(self.child.try_wait()?.is_none(), "dev has ended:\n{}", self.shown());
        Ok(())
    }

    fn stop(mut self) -> Result<ExitStatus> {
        processes::kill(self.child.id(), Signal::TERM)?;
        Ok(self.child.wait()?)
    }
}

fn keep(lines: &Arc<Mutex<Vec<String>>>, pipe: impl Read + Send + 'static) {
    let lines = Arc::clone(lines);
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            lines.lock().expect("no one panics while holding it").push(line);
        }
    });
}

/// Calls it and keeps the answer's head.
fn call(myna: &Platform, event: &Value) -> Result<Response> {
    myna.signed("lambda", "POST", "/2015-03-31/functions/live/invocations", &[], &serde_json::to_vec(event)?)
}

// C1, C4
fn a_saved_file_answers_and_a_broken_one_is_survived() -> Result<()> {
    let myna = Platform::start()?;
    let mut dev = Dev::start(&myna, "return 'one'", &[])?;
    let says = |text: &str| {
        let wanted = json!(text);
        soon(|| myna.function("live").call(json!({})).is_ok_and(|said| said == wanted))
    };
    ensure!(says("one"), "the first code: {}", dev.shown());
    dev.save("return 'two'")?;
    ensure!(says("two"), "after a save: {}", dev.shown());
    fs::write(&dev.file, "def lambda_handler(event, context)\n    return 3\n")?;
    ensure!(
        soon(|| dev.shown().contains("SyntaxError") || dev.shown().contains("expected ':'")),
        "a broken file is not shown: {}",
        dev.shown()
    );
    save_by_renaming(&dev.file, &live("return 'four'"))?;
    ensure!(says("four"), "after mending it: {}", dev.shown());
    dev.runs()?;
    dev.stop()?;
    Ok(())
}

/// As many editors do.
fn save_by_renaming(path: &Path, text: &str) -> Result<()> {
    let fresh = path.with_extension("py.fresh");
    fs::write(&fresh, text)?;
    Ok(fs::rename(fresh, path)?)
}

// C2: a call under way at a save ends with the code that it began with, and says so.
fn the_log_and_each_answer_name_the_code_that_gave_them() -> Result<()> {
    let myna = Platform::start()?;
    let body =
        |name: &str| format!("print('{name} begins')\ntime.sleep(event.get('wait', 0))\nprint('{name} ends')\nreturn '{name}'");
    let dev = Dev::start(&myna, &body("old"), &["--url", "--timeout", "20s"])?;
    let old = dev.codes().pop().context("dev names the first code")?;
    let named = |answer: &Response| (answer.text(), answer.header("x-myna-code").unwrap_or("none").to_owned());
    let first = call(&myna, &json!({}))?;
    ensure!(named(&first) == ("\"old\"".into(), old.clone()), "{first:?}");
    dev.until(&format!("{old}  old ends"))?;

    let (slow, new) = thread::scope(|threads| {
        let slow = threads.spawn(|| call(&myna, &json!({"wait": 3})));
        let begun = soon(|| dev.shown().matches("old begins").count() == 2);
        let new = dev.save(&body("new"));
        (slow.join().expect("a call that fails is an error"), begun.then_some(new))
    });
    let new = new.context("the slow call never began")??;
    let slow = slow?;
    ensure!(named(&slow) == ("\"old\"".into(), old.clone()), "a call under way answered otherwise: {slow:?}");
    let after = call(&myna, &json!({}))?;
    ensure!(new != old && named(&after) == ("\"new\"".into(), new.clone()), "after a save {new}: {after:?}");
    dev.until(&format!("{new}  new ends"))?;
    ensure!(soon(|| dev.shown().matches(&format!("{old}  old ends")).count() == 2), "{}", dev.shown());

    let shown = dev.shown();
    let url = shown.lines().find_map(|l| l.strip_prefix("it answers at ")).context("dev names the address")?;
    let (id, _) = url.trim_start_matches("http://").split_once('.').context("an address begins with its id")?;
    let through = Http::default().get(&format!("{}/_url/{id}/", myna.ready().aws))?;
    ensure!(through.header("x-myna-code") == Some(new.as_str()), "through its address: {through:?}");
    let logged = verb(&myna, &["logs", "live", "--json"])?;
    for line in logged.lines().map(serde_json_from) {
        let line = line?;
        let wrote = [("old", &old), ("new", &new)]
            .into_iter()
            .find(|(name, _)| line["text"].as_str().is_some_and(|t| t.starts_with(name)));
        ensure!(wrote.is_none_or(|(_, code)| line["code"] == *code), "{line}");
    }
    dev.stop()?;
    Ok(())
}

// C3
fn development_has_the_engine_and_the_limits_of_production() -> Result<()> {
    let myna = Platform::start()?;
    let body = "if event == 'spin':\n    while True: pass\nif event == 'eat':\n    return len(bytearray(400 << 20))\n\
                if event == 'write':\n    open('/var/task/x', 'w')\nreturn os.statvfs('/tmp').f_blocks * os.statvfs('/tmp').f_frsize";
    let dev = Dev::start(&myna, body, &["--timeout", "6s", "--memory", "128MB"])?;
    let shown = dev.shown();
    ensure!(shown.contains("What differs:"), "dev doesn't say what differs:\n{shown}");

    // The same folder, deployed as for production: every effective value is the same but its name.
    verb(&myna, &["deploy", "live", "--name", "kept", "--timeout", "6s", "--memory", "128MB"])?;
    let values =
        |name: &str| -> Result<Value> { serde_json_from(&verb(&myna, &["explain", name, "--json"])?.replace(name, "NAME")) };
    let (kept, developed) = (values("kept")?, values("live")?);
    ensure!(kept.as_array().is_some_and(|rows| rows.len() > 10), "{kept}");
    ensure!(kept == developed, "dev:\n{developed:#}\nproduction:\n{kept:#}");

    for event in ["spin", "eat", "write", "tmp"] {
        let outcome = |name: &str| -> Result<Value> {
            let answer = myna.function(name).invoke(&json!(event))?;
            let said = answer.json()?;
            Ok(if answer.error.is_some() { said["errorType"].clone() } else { said })
        };
        let (developed, kept) = (outcome("live")?, outcome("kept")?);
        ensure!(developed == kept, "{event}: {developed} in dev, {kept} in production");
        ensure!(event == "tmp" || developed.is_string(), "{event} is within the limits: {developed}");
    }
    dev.stop()?;
    Ok(())
}

// C4
fn many_local_calls_at_once_work_and_a_crash_ends_nothing() -> Result<()> {
    const CALLS: usize = 40;
    let myna = Platform::start()?;
    let mut dev = Dev::start(&myna, "if event % 10 == 3:\n    os._exit(1)\ntime.sleep(0.2)\nreturn event * 2", &[])?;
    let answers: Vec<_> = thread::scope(|threads| {
        let ask = |n: usize| call(&myna, &json!(n));
        let calls: Vec<_> = (0..CALLS).map(|n| (n, threads.spawn(move || ask(n)))).collect();
        calls.into_iter().map(|(n, c)| (n, c.join().expect("a call that fails is an error"))).collect()
    });
    for (n, answer) in answers {
        let answer = answer?;
        if n % 10 == 3 {
            ensure!(answer.json()?["errorType"] == "Runtime.ExitError", "{n}: {}", answer.text());
        } else {
            ensure!(answer.status == 200 && answer.json()? == n * 2, "{n}: {} {}", answer.status, answer.text());
        }
    }
    dev.runs()?;
    let new = dev.save("return 'still here'")?;
    let after = call(&myna, &json!(3))?;
    ensure!(after.text() == "\"still here\"" && after.header("x-myna-code") == Some(&new), "{after:?}");
    dev.stop()?;
    Ok(())
}

fn a_stopping_platform_waits_for_no_watcher_and_dev_finds_the_next_one() -> Result<()> {
    let mut myna = Platform::start()?;
    let mut dev = Dev::start(&myna, "return 'before'", &[])?;
    ensure!(myna.stop()?.success());
    ensure!(!myna.log().contains("were cut"), "somebody who merely watched was waited for: {}", myna.log());
    dev.until("waiting for it")?;
    myna.start_again()?;
    dev.until("the platform is back")?;
    dev.save("return 'after'")?;
    ensure!(call(&myna, &json!({}))?.text() == "\"after\"");
    dev.runs()?;
    dev.stop()?;
    Ok(())
}

// C7
fn memory_stays_where_it_was_after_calls_and_reloads() -> Result<()> {
    const CALLS_PER_RELOAD: usize = 10;
    const WARM: usize = 8;
    // Of all that it has in memory. What dev holds for itself alone is little more than a megabyte, where one buffer is a fifth.
    const GROWTH_MAX: f64 = 0.2;
    let myna = Platform::start()?;
    let dev = Dev::start(&myna, "return 0", &[])?;
    let round = |n: usize| -> Result<()> {
        dev.save(&format!("print('round {n}')\nreturn {n}"))?;
        for _ in 0..CALLS_PER_RELOAD {
            let said = call(&myna, &json!({}))?;
            ensure!(said.text() == n.to_string(), "round {n} was answered {}", said.text());
        }
        Ok(())
    };
    let of = || -> Result<[Memory; 2]> { Ok([memory(dev.child.id())?, memory(myna.pid())?]) };
    (1..=WARM).try_for_each(round)?;
    let before = of()?;
    let reloads = scaled("reloads while developing, ten calls each", 16, 1000);
    (WARM + 1..=WARM + reloads).try_for_each(round)?;
    let after = of()?;
    for (what, before, after) in [("dev", &before[0], &after[0]), ("the platform", &before[1], &after[1])] {
        ensure!(
            after.own_kib as f64 <= before.own_kib as f64 + before.all_kib as f64 * GROWTH_MAX,
            "{what} grew from {before:?} to {after:?} in {reloads} reloads with {CALLS_PER_RELOAD} calls each"
        );
    }
    dev.stop()?;
    Ok(())
}

#[derive(Debug)]
struct Memory {
    /// What the process holds for itself; pages of files come and go with the kernel's needs.
    own_kib: u64,
    all_kib: u64,
}

fn memory(pid: u32) -> Result<Memory> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name: &str| -> Result<u64> {
        let line = status.lines().find_map(|l| l.strip_prefix(name)).with_context(|| format!("the kernel counts {name}"))?;
        Ok(line.trim().trim_end_matches("kB").trim().parse()?)
    };
    Ok(Memory { own_kib: field("RssAnon:")?, all_kib: field("VmRSS:")? })
}
