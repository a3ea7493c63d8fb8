//! What hostile code in a function can reach. Each function reports what it got; the host judges.

use myna_tests::{Platform, Result, Test, Value, bail, ensure, json, tests};

pub const ALL: &[Test] = tests![
    a_function_sees_nothing_of_the_platform_or_of_others,
    a_function_cannot_write_outside_of_tmp,
    a_function_reaches_no_network_but_its_own_door,
    an_answer_for_somebody_else_is_refused_and_ends_the_instance,
    printed_lines_cannot_pass_for_the_platforms_own,
    a_loaders_variables_reach_the_users_process_only,
];

// H36, H47
fn a_function_sees_nothing_of_the_platform_or_of_others() -> Result<()> {
    let myna = Platform::start()?;
    let secret = "whispered-in-another-room";
    let other = myna.draft("other", "import time\ndef handler(e, c):\n    return 1\n");
    other.set("Environment", json!({"Variables": {"SECRET": secret}})).create()?.call(json!({}))?;
    let source = r#"
import glob, os, socket
def read(path):
    try:
        return open(path, 'rb').read().decode('utf-8', 'replace')
    except OSError as e:
        return ''
def handler(event, context):
    mounts = read('/proc/self/mountinfo')
    return {
        'environments': [read(p) for p in glob.glob('/proc/[0-9]*/environ')],
        'processes': [read(p + '/cmdline') for p in glob.glob('/proc/[0-9]*')],
        'descriptors': sorted(os.readlink(p) for p in glob.glob('/proc/self/fd/*') if os.path.islink(p)),
        'keys': [k for k in os.environ],
        'root': sorted(os.listdir('/')),
        'abstract': [l.split()[-1] for l in read('/proc/net/unix').splitlines()[1:] if '@' in l],
    }
"#;
    let seen = myna.python("spy", source)?.call(json!({}))?;
    let text = seen.to_string();
    let dir = myna.dir().display().to_string();
    for (what, forbidden) in
        [("another's secret", secret), ("the state directory", &dir), ("the user's key", &myna.keys().secret)]
    {
        ensure!(!text.contains(forbidden), "a function sees {what}: {text}");
    }
    ensure!(seen["abstract"] == json!([]), "sockets of others: {}", seen["abstract"]);
    let processes =
        seen["processes"].as_array().map_or(0, |p| p.iter().filter(|l| l.as_str().is_some_and(|l| !l.is_empty())).count());
    ensure!((1..=3).contains(&processes), "it sees {processes} processes: {}", seen["processes"]);
    for name in seen["descriptors"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let known = ["pipe:", "socket:", "/dev/null", "/proc/", "anon_inode:", "/var/", "/dev/urandom"];
        ensure!(known.iter().any(|k| name.starts_with(k)), "a descriptor that is not its own: {name}");
    }
    Ok(())
}

fn a_function_cannot_write_outside_of_tmp() -> Result<()> {
    let myna = Platform::start()?;
    let source = r#"
import os
def handler(event, context):
    written = []
    for folder in ['/', '/var/task', '/opt', '/var/runtime', '/etc', '/usr', '/proc/sys/kernel', '/dev', '/sys', '/root', '/home', '/var', '/tmp']:
        try:
            open(os.path.join(folder, 'planted'), 'w').close()
            written.append(folder)
        except OSError:
            pass
    return written
"#;
    let written = myna.python("writer", source)?.call(json!({}))?;
    ensure!(written == json!(["/tmp"]), "it wrote to {written}");
    Ok(())
}

fn a_function_reaches_no_network_but_its_own_door() -> Result<()> {
    let myna = Platform::start()?;
    let source = r#"
import os, socket
def handler(event, context):
    reached = []
    for host, port in event:
        try:
            socket.create_connection((host, port), timeout=2).close()
            reached.append([host, port])
        except OSError:
            pass
    return {'reached': reached, 'door': os.environ['AWS_LAMBDA_RUNTIME_API']}
"#;
    let f = myna.python("dialler", source)?;
    let port = |url: &str| url.rsplit(':').next().and_then(|p| p.trim_end_matches('/').parse::<u16>().ok()).unwrap_or(0);
    let aws = port(&myna.ready().aws);
    let targets = json!([["127.0.0.1", aws], ["169.254.169.254", 80], ["10.0.0.1", 80], ["::1", aws], ["8.8.8.8", 53]]);
    let said = f.call(targets)?;
    ensure!(said["reached"] == json!([]), "{said}");
    Ok(())
}

// H37, F34: a second client inside the function speaks to the Runtime API.
fn an_answer_for_somebody_else_is_refused_and_ends_the_instance() -> Result<()> {
    let myna = Platform::start()?;
    let source = r#"
import http.client, os
born = os.urandom(4).hex()
def post(path, body='1'):
    c = http.client.HTTPConnection(os.environ['AWS_LAMBDA_RUNTIME_API'], timeout=5)
    c.request('POST', '/2018-06-01/runtime/' + path, body)
    return c.getresponse().status
def handler(event, context):
    if event == 'other':
        return {'status': post('invocation/00000000-0000-0000-0000-000000000000/response'), 'born': born}
    if event == 'twice':
        post('invocation/' + context.aws_request_id + '/response', '"the first"')
        return 'the second'
    return {'born': born}
"#;
    let f = myna.python("forger", source)?;
    let before = f.call(json!(""))?["born"].clone();
    let other = f.call(json!("other"))?;
    ensure!(other["status"] == 400, "an answer for another id was answered {other}");
    let after = f.call(json!(""))?["born"].clone();
    ensure!(before != after, "an instance that broke the protocol was used again");
    let twice = f.invoke(&json!("twice"))?;
    ensure!(twice.text() == "\"the first\"", "two answers: {}", twice.text());
    ensure!(f.call(json!(""))?["born"] != after, "an instance that answered twice was used again");
    Ok(())
}

// H85
fn printed_lines_cannot_pass_for_the_platforms_own() -> Result<()> {
    let myna = Platform::start()?;
    let source = "def handler(event, context):\n    print('REPORT RequestId: ' + context.aws_request_id + '\\tDuration: 0.01 ms\\tBilled Duration: 1 ms\\tMemory Size: 1 MB\\tMax Memory Used: 1 MB\\t')\n    \
                  block = bytearray(40 << 20)\n    return len(block)\n";
    let f = myna.draft("forger", source).set("MemorySize", 256).create()?;
    let answer = f.invoke(&json!({}))?;
    let log = answer.log.clone().unwrap_or_default();
    let reports: Vec<&str> = log.lines().filter(|l| l.starts_with("REPORT RequestId: ")).collect();
    let Some(own) = reports.last() else { bail!("no report: {log}") };
    ensure!(own.contains("Memory Size: 256 MB"), "the platform's own line comes last: {log}");
    let records = myna.cli(&["describe", "forger", "--json"])?;
    ensure!(records.status.success(), "{}", String::from_utf8_lossy(&records.stderr));
    Ok(())
}

// H84
fn a_loaders_variables_reach_the_users_process_only() -> Result<()> {
    let myna = Platform::start()?;
    let source = "import os\ndef handler(event, context):\n    return os.environ.get('LD_PRELOAD')\n";
    let hostile = json!({"Variables": {"LD_PRELOAD": "/var/task/none.so", "PYTHONSTARTUP": "/var/task/x.py", "BASH_ENV": "/var/task/x.sh"}});
    let f = myna.draft("preload", source).set("Environment", hostile).create()?;
    ensure!(f.call(json!({}))? == "/var/task/none.so");
    for pid in myna_tests::processes::children_of(myna.pid()) {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        ensure!(
            !String::from_utf8_lossy(&environ).contains("LD_PRELOAD"),
            "a helper of the platform has the user's variables: {name}"
        );
    }
    Ok(())
}
