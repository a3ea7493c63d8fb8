//! Secrets from where an attacker would stand: bad names and values, reading them back, and what the platform itself lets slip.

use myna_tests::{Http, Options, Platform, Result, Test, Value, ensure, json, processes, soon, tests};
use std::{collections::BTreeSet, fs, os::unix::net::UnixStream, process::Command};

pub const ALL: &[Test] = tests![
    names_and_values_follow_rules_and_refusals_repeat_no_value,
    no_request_reads_a_value_back,
    nothing_of_the_platform_prints_a_secret,
    processes_show_their_secrets_to_nobody_else,
    a_user_names_only_the_secrets_that_its_policies_allow,
];

const MARKER: &str = "marker-of-a-hidden-value";

fn put(myna: &Platform, name: &str, value: &[u8]) -> Result<()> {
    let done = myna.cli_with(&["secret", "put", name], value)?;
    ensure!(done.status.success(), "secret put {name}: {}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}

/// A request on the admin socket as it is, past all that the command line checks: its status and its answer.
fn admin(myna: &Platform, method: &str, path: &str, body: &[u8]) -> Result<(u16, String)> {
    use std::io::{Read, Write};
    let mut socket = UnixStream::connect(&myna.ready().admin)?;
    let head =
        format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    socket.write_all(head.as_bytes())?;
    // What is refused for its length may be refused before it was read.
    let _ = socket.write_all(body);
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
    Ok((status, answer))
}

// H56
fn names_and_values_follow_rules_and_refusals_repeat_no_value() -> Result<()> {
    let myna = Platform::start()?;
    let long = "n".repeat(257);
    for name in ["../x", "a/../../b", "/etc/x", "a b", "a\nb", "", "..", "é", "a//b", &long] {
        let done = myna.cli_with(&["secret", "put", name], MARKER.as_bytes())?;
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        ensure!(done.status.code() == Some(2) && !said.contains(MARKER), "{name:?}: {said}");
    }
    for name in ["..%2Fx", "a%2F..%2Fb", "%2Fetc", "a%20b", "a%0Ab", "a%00b", "..", "%252e%252e%2Fx%20", &long] {
        let (status, said) = admin(&myna, "PUT", &format!("/admin/v1/secrets/{name}"), MARKER.as_bytes())?;
        ensure!((400..500).contains(&status) && !said.contains(MARKER), "{name:?}: {status} {said}");
    }
    let values: [(&str, Vec<u8>); 4] = [
        ("1 MB", MARKER.repeat(50_000).into_bytes()),
        ("NUL", format!("{MARKER}\0{MARKER}").into_bytes()),
        ("not UTF-8", [MARKER.as_bytes(), b"\xff"].concat()),
        ("empty", Vec::new()),
    ];
    for (what, value) in &values {
        let done = myna.cli_with(&["secret", "put", "v"], value)?;
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        ensure!(done.status.code() == Some(2) && !said.contains(MARKER), "{what}: {said}");
        let (status, said) = admin(&myna, "PUT", "/admin/v1/secrets/v", value)?;
        ensure!(status == 400 && !said.contains(MARKER), "{what}: {status} {said}");
    }
    for words in
        [&["secret", "put", "v", MARKER][..], &["secret", "put", "v", "-d", MARKER], &["secret", "put", "v", "--value", MARKER]]
    {
        let done = myna.cli_with(words, b"")?;
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        ensure!(done.status.code() == Some(2) && said.contains("command line") && !said.contains(MARKER), "{words:?}: {said}");
    }
    ensure!(myna.verb(&["secret", "list"])? == json!([]), "nothing of it is stored");
    // The largest, and with line ends of both kinds, comes out as it went in.
    let largest = "0123456789abcde\n".repeat(4096);
    for value in [largest.as_str(), "a\r\nb\n\n", " \t", "ünï ✓"] {
        put(&myna, "v", value.as_bytes())?;
        if myna.verb(&["list"])? == json!([]) {
            let source = "import os, hashlib\ndef handler(e, c): return [len(os.environ['VAL'].encode()), hashlib.sha256(os.environ['VAL'].encode()).hexdigest()]\n";
            myna.draft("f", source).set("Environment", json!({"Variables": {"VAL": "myna:secret:v"}})).create()?;
            let early = json!({"Variables": {"LC_VAL": "myna:secret:v"}});
            myna.draft("early", &source.replace("['VAL']", "['LC_VAL']")).set("Environment", early).create()?;
        }
        let digest = ring::digest::digest(&ring::digest::SHA256, value.as_bytes());
        let hex: String = digest.as_ref().iter().map(|b| format!("{b:02x}")).collect();
        for f in ["f", "early"] {
            let got = myna.function(f).call(json!({}))?;
            ensure!(got == json!([value.len(), hex]), "{f}: {} bytes came as {got}", value.len());
        }
    }
    // More than a process can be given together: refused where it is put, and what runs goes on.
    let variables = json!({"AA": "myna:secret:v", "BB": "myna:secret:w", "CC": "myna:secret:x"});
    for name in ["w", "x"] {
        put(&myna, name, b"small")?;
    }
    let source = "import os\ndef handler(e, c): return [len(os.environ[n]) for n in ('AA', 'BB', 'CC')]\n";
    let many = myna.draft("many", source).set("Environment", json!({ "Variables": variables })).create()?;
    put(&myna, "w", largest.as_bytes())?;
    put(&myna, "x", &largest.as_bytes()[..65_000])?;
    let done = myna.cli_with(&["secret", "put", "v"], largest.as_bytes())?;
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    ensure!(!done.status.success() && said.contains("many") && said.contains("131072"), "{said}");
    ensure!(many.call(json!({}))? == json!([5, 65_536, 65_000]));
    Ok(())
}

// H56
fn no_request_reads_a_value_back() -> Result<()> {
    let myna = Platform::start()?;
    put(&myna, "db/password", MARKER.as_bytes())?;
    let at = "/admin/v1/secrets/db%2Fpassword";
    for (method, path) in [
        ("GET", at.to_owned()),
        ("GET", "/admin/v1/secrets".to_owned()),
        ("GET", format!("{at}/value")),
        ("GET", format!("{at}?value=1&raw=1&version=1")),
        ("POST", at.to_owned()),
        ("PATCH", at.to_owned()),
        ("PUT", at.to_owned()),
        ("GET", "/admin/v1/secrets/db".to_owned()),
        ("DELETE", "/admin/v1/secrets".to_owned()),
    ] {
        let (status, said) = admin(&myna, method, &path, b"")?;
        ensure!(status != 0 && !said.contains(MARKER), "{method} {path}: {said}");
    }
    ensure!(myna.verb(&["secret", "describe", "db/password"])?["version"] == 1, "none of it changed it");
    // Nor is it there for anybody at the other doors, with a signature or without.
    for path in [at, "/admin/v1/secrets"] {
        let got = Http::default().send("GET", &format!("{}{path}", myna.ready().aws), &[], b"")?;
        ensure!(got.status >= 400 && !got.text().contains(MARKER), "{path}: {}", got.status);
        let got = myna.signed("lambda", "GET", path, &[], b"")?;
        ensure!(got.status >= 400 && !got.text().contains(MARKER), "{path}: {}", got.status);
    }
    Ok(())
}

/// A function for each way to fail, and what must not be seen of it.
const FAILING: [(&str, &str); 5] = [
    ("exits", "import sys\nsys.exit(3)\n"),
    ("raises", "raise RuntimeError('no connection')\n"),
    ("hangs", "def handler(e, c):\n    while True: pass\n"),
    ("large", "def handler(e, c): return len(bytearray(1 << 30))\n"),
    ("absent", "import nothing_of_this_name\n"),
];

// H49
fn nothing_of_the_platform_prints_a_secret() -> Result<()> {
    let myna = Platform::start()?;
    put(&myna, "s", MARKER.as_bytes())?;
    for (name, source) in FAILING {
        let variables = json!({"Variables": {"TOKEN": "myna:secret:s", "LC_TOKEN": "myna:secret:s"}});
        let f = myna.draft(name, source).set("Timeout", 1).set("Environment", variables).create()?;
        let answer = f.invoke(&json!({}))?;
        ensure!(answer.error.is_some(), "{name} did not fail: {}", answer.text());
        let said = format!("{} {}", answer.text(), answer.log.unwrap_or_default());
        ensure!(!said.contains(MARKER), "{name}: {said}");
        f.invoke_bytes("", b"{}", &[("x-amz-invocation-type", "Event")])?;
        let quarantine = myna.cli(&["quarantine", name, "--out", &myna.home().display().to_string()])?;
        ensure!(quarantine.status.success(), "{}", String::from_utf8_lossy(&quarantine.stderr));
    }
    let file = |name: &str| myna.home().join(name).display().to_string();
    for words in [&["support-bundle", "-o", &file("bundle.tar")][..], &["backup", &file("backup.tar")]] {
        let done = myna.cli(words)?;
        ensure!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
    }
    for path in [
        "/metrics",
        "/admin/v1/status",
        "/admin/v1/audit",
        "/admin/v1/platform-log",
        "/admin/v1/invocations",
        "/admin/v1/events",
        "/admin/v1/lanes",
    ] {
        let (status, said) = admin(&myna, "GET", path, b"")?;
        ensure!(status == 200 && !said.contains(MARKER), "{path}: {status} {said}");
    }
    for (name, _) in FAILING {
        for words in [&["describe", name][..], &["explain", name], &["logs", name], &["events", "list", name]] {
            let done = myna.cli(&[words, &["--json"]].concat())?;
            let said = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
            ensure!(!said.contains(MARKER), "{words:?}: {said}");
        }
    }
    ensure!(!myna.log().contains(MARKER), "{}", myna.log());
    // Bundles, evidence, backups, logs, records: all that lies below its home.
    let found = crate::journeys::secrets::holding(myna.home(), MARKER)?;
    ensure!(found.is_empty(), "{found:?}");
    Ok(())
}

// H49
fn processes_show_their_secrets_to_nobody_else() -> Result<()> {
    // No other test's: those run at the same time.
    const SEEN: &str = "marker-of-what-processes-show";
    let myna = Platform::start()?;
    put(&myna, "s", SEEN.as_bytes())?;
    let spy = "import os, glob\ndef handler(e, c):\n    found = []\n    for f in glob.glob('/proc/*/environ') + glob.glob('/proc/*/task/*/environ'):\n        try: found.append(open(f, 'rb').read().decode('utf-8', 'replace'))\n        except OSError: pass\n    return ''.join(found) + str(dict(os.environ))\n";
    let spy = myna.python("spy", spy)?;
    spy.call(json!({}))?;
    // One that is given its variables when it starts, and one that ran before it had a function.
    let source = "import os, time\ndef handler(e, c):\n    time.sleep(e.get('s', 0))\n    return len(os.environ['%'])\n";
    for variable in ["LC_SEC", "SEC"] {
        let name = variable.to_lowercase().replace('_', "-");
        let variables = json!({"Variables": {variable: "myna:secret:s"}});
        let f = myna.draft(&name, &source.replace('%', variable)).set("Environment", variables).create()?;
        ensure!(f.call(json!({}))? == json!(SEEN.len()));
    }
    let own: BTreeSet<u32> = processes::with_environment(SEEN).into_iter().collect();
    ensure!(!own.is_empty(), "the one that starts with its variables isn't seen by root");
    let below: BTreeSet<u32> = processes::below(myna.pid()).into_iter().collect();
    ensure!(own.is_subset(&below) && !own.contains(&myna.pid()), "{own:?} are not all instances: {below:?}");
    for pid in &own {
        for file in ["environ", "mem", "maps"] {
            let path = format!("/proc/{pid}/{file}");
            let read = Command::new("setpriv")
                .args(["--reuid=65534", "--regid=65534", "--clear-groups", "head", "-c1", &path])
                .output()?;
            ensure!(!read.status.success(), "another user reads {path}");
        }
    }
    let seen = spy.call(json!({}))?;
    ensure!(seen.as_str().is_some_and(|s| s.contains("spy") && !s.contains(SEEN)), "another function sees it: {seen}");
    // Neither the platform nor an instance leaves a core dump, nor pipes one to a program.
    for pid in below.iter().chain([&myna.pid()]) {
        let Ok(limits) = fs::read_to_string(format!("/proc/{pid}/limits")) else { continue };
        let core = limits.lines().find_map(|l| l.strip_prefix("Max core file size")).unwrap_or_default();
        let values: Vec<&str> = core.split_whitespace().take(2).collect();
        ensure!(values.iter().all(|v| ["0", "1"].contains(v)) && values.len() == 2, "process {pid}: {core}");
    }
    // No process has it among its arguments.
    ensure!(soon(|| processes::with(SEEN).is_empty()));
    Ok(())
}

fn a_user_names_only_the_secrets_that_its_policies_allow() -> Result<()> {
    let myna = Platform::start_with(Options::default())?;
    put(&myna, "team/mine", b"mine")?;
    put(&myna, "team/theirs", MARKER.as_bytes())?;
    let said = myna.boto3(&format!(
        "iam = boto3.client('iam')\n\
         iam.create_user(UserName='dev')\n\
         allow = [{{'Effect': 'Allow', 'Action': ['lambda:*', 'iam:PassRole'], 'Resource': '*'}}, {{'Effect': 'Allow', 'Action': 'secretsmanager:GetSecretValue', 'Resource': 'arn:aws:secretsmanager:*:*:secret:team/mine'}}]\n\
         iam.put_user_policy(UserName='dev', PolicyName='p', PolicyDocument=json.dumps({{'Version': '2012-10-17', 'Statement': allow}}))\n\
         key = iam.create_access_key(UserName='dev')['AccessKey']\n\
         dev = boto3.client('lambda', aws_access_key_id=key['AccessKeyId'], aws_secret_access_key=key['SecretAccessKey'])\n\
         make = dict(Runtime='python3.11', Role='{}', Handler='app.handler', Code={{'ZipFile': package(app__py='import os\\ndef handler(e, c): return os.environ[\"TOK\"]')}})\n\
         of = lambda name: {{'Variables': {{'TOK': 'myna:secret:team/' + name}}}}\n\
         no = refused(dev.create_function, FunctionName='f', Environment=of('theirs'), **make)\n\
         none = refused(dev.create_function, FunctionName='f', Environment=of('absent'), **make)\n\
         dev.create_function(FunctionName='f', Environment=of('mine'), **make)\n\
         dev.get_waiter('function_active_v2').wait(FunctionName='f')\n\
         again = refused(dev.update_function_configuration, FunctionName='f', Environment=of('theirs'))\n\
         lam.create_function(FunctionName='g', Environment=of('theirs'), **make)\n\
         lam.get_waiter('function_active_v2').wait(FunctionName='g')\n\
         code = refused(dev.update_function_code, FunctionName='g', ZipFile=package(app__py='def handler(e, c): return 1'))\n\
         handler = refused(dev.update_function_configuration, FunctionName='g', Handler='app.other')\n\
         dev.update_function_configuration(FunctionName='g', Timeout=9)\n\
         return [no['Error'], none['Error'], again['Error'], code['Error'], handler['Error'], json.loads(dev.invoke(FunctionName='f')['Payload'].read())]",
        myna.ready().role
    ))?;
    let errors: Vec<&Value> = said.as_array().into_iter().flatten().take(5).collect();
    for error in errors {
        let text = error["Message"].as_str().unwrap_or_default();
        ensure!(error["Code"] == "AccessDeniedException" && text.contains("secretsmanager:GetSecretValue"), "{said}");
    }
    ensure!(said[5] == "mine" && !said.to_string().contains(MARKER), "{said}");
    Ok(())
}
