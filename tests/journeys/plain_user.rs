//! The platform of a user who is not root. What that makes weaker is told by every verb that is asked, and what isn't told holds.

use super::command_line::{folder, serde_json_from, verb};
use myna_tests::{Function, Options, Platform, Result, Test, binary, ensure, json, processes, skip, soon, tests};
use std::{fs, os::unix::fs::MetadataExt, path::Path, thread, time::Duration};

pub const ALL: &[Test] = tests![
    what_is_weaker_for_a_plain_user_is_told_everywhere,
    what_is_not_told_to_be_weaker_holds_for_a_plain_user,
    layers_lie_over_each_other_for_a_plain_user_too,
    a_platform_whose_sandbox_cannot_work_does_not_start,
];

/// Nobody's on any machine that we know.
const USER: u32 = 54_321;
/// As long as the platform lets an instance rest before it would be frozen, and more.
const REST: Duration = Duration::from_millis(300);

fn start() -> Result<Platform> {
    if fs::metadata("/proc/self")?.uid() != 0 {
        return Err(skip("only root can become another user; as a plain user every other test runs as one"));
    }
    if !Path::new("/usr/bin/python3.11").exists() {
        return Err(skip("no Python 3.11 that every user can start"));
    }
    Platform::start_with(Options { user: Some(USER), ..Options::default() })
}

fn layers_lie_over_each_other_for_a_plain_user_too() -> Result<()> {
    let myna = start()?;
    let mut arns = Vec::new();
    for who in ["a", "b"] {
        folder(&myna, who, &[("both.txt", who), (&format!("{who}.txt"), who)])?;
        let made = serde_json_from(&verb(&myna, &["layer", "publish", who, who, "--json"])?)?;
        arns.push(made["LayerVersionArn"].as_str().unwrap_or_default().to_owned());
    }
    let code =
        "import os\ndef lambda_handler(event, context):\n    return open('/opt/both.txt').read(), sorted(os.listdir('/opt'))\n";
    folder(&myna, "looks", &[("lambda_function.py", code)])?;
    verb(&myna, &["deploy", "looks", "--runtime", "python3.11", "--layer", &arns[0], "--layer", &arns[1]])?;
    let seen = serde_json_from(&verb(&myna, &["invoke", "looks", "-d", "1"])?)?;
    ensure!(seen == json!(["b", ["a.txt", "b.txt", "both.txt"]]), "{seen}");
    Ok(())
}

/// What the platform says to be weaker.
fn weaker(myna: &Platform) -> Result<Vec<String>> {
    let status = serde_json_from(&verb(myna, &["status", "--json"])?)?;
    Ok(status["weaker"].as_array().into_iter().flatten().filter_map(|w| w.as_str().map(str::to_owned)).collect())
}

// D1
fn what_is_weaker_for_a_plain_user_is_told_everywhere() -> Result<()> {
    let myna = start()?;
    let code = "def lambda_handler(event, context):\n    return event\n";
    folder(&myna, "first", &[("lambda_function.py", code)])?;
    verb(&myna, &["deploy", "first", "--runtime", "python3.11"])?;
    ensure!(serde_json_from(&verb(&myna, &["invoke", "first", "-d", "1"])?)? == 1);

    let told = weaker(&myna)?;
    ensure!(told.iter().any(|w| w.contains("this user's own id")), "{told:?}");
    let described = serde_json_from(&verb(&myna, &["describe", "first", "--json"])?)?;
    ensure!(described["sandbox"] == json!({"tier": "process", "weaker": told}), "{described}");
    let page = verb(&myna, &["describe", "first"])?;
    ensure!(told.iter().all(|w| page.contains(&w[..20])), "{page}");

    let doctor = myna.cli(&["doctor", "--json"])?;
    let findings = serde_json_from(&String::from_utf8_lossy(&doctor.stdout))?;
    let finding = |what: &str| findings.as_array().into_iter().flatten().find(|f| f["what"] == what).cloned().unwrap_or_default();
    ensure!(finding("isolation")["state"] == "weaker" && finding("user ids")["state"] == "weaker", "{findings}");
    // Each limit that the platform does without is a finding of the doctor's, and the other way round.
    let needs = [
        ("memory limit", "cgroup memory"),
        ("cpu limit", "cgroup cpu"),
        ("process limit", "cgroup pids"),
        ("freezing", "cgroup freezer"),
    ];
    for (limit, group) in needs {
        let without = told.iter().any(|w| w.starts_with(&format!("{limit}:")));
        let state = finding(group)["state"].clone();
        ensure!(without == (state == "weaker"), "{limit}: told {without}, and the doctor says {state}");
        ensure!(!without || finding(group)["mend"].is_string(), "{limit}: no next step: {}", finding(group));
    }

    // What a machine of the user's announced itself is not anybody else's.
    let others = std::process::Command::new(binary()?).args(["--dir", &myna.dir().display().to_string(), "list"]).output()?;
    ensure!(others.status.success(), "root may ask: {others:?}");
    Ok(())
}

const SPY: &str = r#"
import glob, os, socket, subprocess, sys, time
def read(path):
    try:
        return open(path, 'rb').read(4000).decode('utf-8', 'replace')
    except OSError as e:
        return None
def tries(what):
    try:
        what()
        return True
    except OSError:
        return False
def handler(event, context):
    if event.get('hang'):
        subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)', event['hang']])
        time.sleep(600)
    if event.get('eat'):
        return len(bytearray(event['eat']))
    if event.get('mark'):
        open('/tmp/' + event['mark'], 'w').close()
    folders = ['/', '/var/task', '/opt', '/etc', '/usr', '/dev', '/proc/sys/kernel', '/home', '/tmp']
    return {
        'read': [p for p in event['files'] if read(p) is not None],
        'processes': sorted(read(p + '/cmdline') or '' for p in glob.glob('/proc/[0-9]*')),
        'reached': [a for a in event['addresses'] if tries(lambda: socket.create_connection(tuple(a), timeout=2).close())],
        'signalled': [p for p in event['pids'] if p != os.getpid() and tries(lambda: os.kill(p, 0))],
        'written': [f for f in folders if tries(lambda: open(f + '/planted', 'w').close())],
        'capabilities': [l.split()[1] for l in open('/proc/self/status') if l.startswith(('CapEff', 'CapBnd'))],
        'bound': [l.split()[1] for l in open('/proc/self/status') if l.startswith(('NoNewPrivs', 'Seccomp:'))],
        'tmp': os.statvfs('/tmp').f_blocks * os.statvfs('/tmp').f_frsize,
        'in_tmp': sorted(os.listdir('/tmp')),
    }
"#;

fn spy<'a>(myna: &'a Platform, name: &str) -> Result<Function<'a>> {
    myna.draft(name, SPY).set("Timeout", 4).set("EphemeralStorage", json!({"Size": 600})).create()
}

fn what_is_not_told_to_be_weaker_holds_for_a_plain_user() -> Result<()> {
    let myna = start()?;
    let told = weaker(&myna)?;
    let secret = myna.home().join("secret.txt");
    fs::write(&secret, "of this user")?;
    std::os::unix::fs::chown(&secret, Some(USER), Some(USER))?;
    let port: u16 = myna.ready().aws.rsplit(':').next().unwrap_or_default().trim_end_matches('/').parse()?;
    let event = |mark: &str| {
        let files = [secret.display().to_string(), myna.dir().join("secrets").display().to_string(), "/etc/shadow".into()];
        json!({"files": files, "pids": [myna.pid()], "mark": mark, "addresses": [["127.0.0.1", port], ["169.254.169.254", 80]]})
    };
    let (one, two) = (spy(&myna, "one")?, spy(&myna, "two")?);
    // The unbound instances that wait for a function have rested by now, whether they could be frozen or not.
    thread::sleep(REST);
    let (seen, other) = (one.call(event("mine"))?, two.call(event("other"))?);
    for field in ["read", "reached", "signalled"] {
        ensure!(seen[field] == json!([]), "{field}: {seen}");
    }
    ensure!(seen["written"] == json!(["/tmp"]), "{seen}");
    ensure!(
        seen["capabilities"] == json!(["0000000000000000", "0000000000000000"]) && seen["bound"] == json!(["1", "2"]),
        "{seen}"
    );
    ensure!(seen["tmp"] == 600 << 20, "{seen}");
    ensure!(seen["in_tmp"] == json!(["mine", "planted"]) && other["in_tmp"] == json!(["other", "planted"]), "{seen} {other}");
    ensure!(seen["processes"].as_array().is_some_and(|p| p.len() <= 3), "{seen}");
    thread::sleep(REST);
    ensure!(one.call(event("again"))?["in_tmp"] == json!(["again", "mine", "planted"]), "a rested instance goes on");

    let marker = format!("hang-of-{}", myna.pid());
    let timed_out = one.invoke(&json!({"hang": marker}))?;
    ensure!(timed_out.text().contains("Sandbox.Timedout"), "{}", timed_out.text());
    ensure!(processes::with(&marker).is_empty(), "a child outlived its time-out");

    let eaten = one.invoke(&json!({"eat": 300 << 20}))?;
    let limited = !told.iter().any(|w| w.starts_with("memory limit:"));
    ensure!(
        eaten.error.is_some() == limited,
        "the memory limit is {}: {}",
        if limited { "not told to be weaker" } else { "told to be" },
        eaten.text()
    );
    Ok(())
}

/// A user's own user namespace that has no room for another: what the kernel forbids is said by name, before anything is served.
fn a_platform_whose_sandbox_cannot_work_does_not_start() -> Result<()> {
    let script = "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$@\"";
    let through = ["unshare", "--user", "--map-root-user", "sh", "-c", script, "sh"].map(str::to_owned).to_vec();
    let mut myna = Platform::prepare(Options { through, ..Options::default() })?;
    ensure!(!myna.refused()?.success());
    let said = myna.log();
    ensure!(said.contains("user namespaces") && said.contains("max_user_namespaces"), "it doesn't say what is missing: {said}");
    ensure!(soon(|| processes::with(&myna.dir().display().to_string()).is_empty()), "something of it is left");
    Ok(())
}
