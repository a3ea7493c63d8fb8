//! What an operator does: certificates, holding a function, draining, backups, and finding what is broken.

use myna_tests::{Context, Options, Platform, Result, Test, binary, ensure, json, tests};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    thread,
    time::Duration,
};
use tempfile::TempDir;

pub const ALL: &[Test] = tests![
    tls_serves_the_sdk_and_curl_and_a_new_certificate_breaks_no_connection,
    certificates_that_can_not_be_used_and_open_doors_are_refused_at_the_start,
    a_backup_under_load_is_restored_elsewhere_and_its_queued_events_run,
    flipped_bytes_are_found_and_a_dry_repair_changes_nothing,
    a_paused_function_refuses_calls_and_keeps_its_events_over_a_restart,
    quarantine_ends_every_instance_and_keeps_the_evidence,
    drain_finishes_what_is_under_way_and_ends_with_success,
    a_support_bundle_holds_no_secret,
];

const NAMES: &str = "import json\ndef handler(e, c):\n    print('ran', e['n'])\n    return e\n";

/// The binary without a platform.
fn alone(arguments: &[&str], dir: &Path) -> Result<Output> {
    Command::new(binary()?)
        .args(arguments)
        .current_dir(dir)
        .env("HOME", dir)
        .env_remove("XDG_CONFIG_HOME")
        .env_remove("MYNA_DIR")
        .output()
        .context("can't start myna")
}

fn said(out: &Output) -> String {
    String::from_utf8_lossy(&[&out.stdout[..], &out.stderr[..]].concat()).into_owned()
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// Certificates in a folder of their own, and the configuration that names them.
fn certified(home: &Path) -> Result<(PathBuf, String)> {
    let tls = home.join("tls");
    let made = alone(&["tls", "self-signed", "--out", &text(&tls), "--name", "myna.test"], home)?;
    ensure!(made.status.success(), "{}", said(&made));
    let config = format!("[tls]\ncert = \"{0}/cert.pem\"\nkey = \"{0}/key.pem\"\nca = \"{0}/ca.pem\"\n", tls.display());
    Ok((tls, config))
}

// F50
fn tls_serves_the_sdk_and_curl_and_a_new_certificate_breaks_no_connection() -> Result<()> {
    let home = TempDir::new_in("/var/tmp")?;
    let (tls, config) = certified(home.path())?;
    let myna = Platform::start_with(Options { config: Some(config), ..Options::default() })?;
    let url = myna.ready().aws.clone();
    ensure!(url.starts_with("https://127.0.0.1:"), "{url}");
    ensure!(myna.ready().console.as_ref().is_some_and(|c| c.starts_with("https://console.localhost:")));
    let env = myna.verb(&["env"])?;
    ensure!(env["AWS_ENDPOINT_URL"] == url.as_str() && env["AWS_CA_BUNDLE"] == text(&tls.join("ca.pem")), "{env}");
    let status = myna.verb(&["status"])?;
    ensure!(status["certificates"][0]["names"][0] == "myna.test", "{status}");

    // Of other authorities it is not taken, and plain HTTP is told so.
    let curl = |arguments: &[&str]| Command::new("curl").args(["-s", "-S"]).args(arguments).output().context("curl is missing");
    let ca = text(&tls.join("ca.pem"));
    ensure!(curl(&["--cacert", &ca, &format!("{url}/livez")])?.status.success());
    ensure!(!curl(&[&format!("{url}/livez")])?.status.success());
    let plain = said(&curl(&[&format!("{}/livez", url.replace("https", "http"))])?);
    ensure!(plain.contains("this port speaks TLS"), "{plain}");

    // Calls go on, on connections from before and on new ones, while the certificate is replaced.
    let fresh = home.path().join("fresh");
    ensure!(alone(&["tls", "self-signed", "--out", &text(&fresh), "--name", "new.test"], home.path())?.status.success());
    let both = home.path().join("both.pem");
    fs::write(&both, [fs::read(tls.join("ca.pem"))?, fs::read(fresh.join("ca.pem"))?].concat())?;
    let snippet = format!(
        r#"
lam = boto3.client("lambda", verify={ca:?})
lam.create_function(FunctionName="f", Runtime="python3.12", Role=os.environ["ROLE"], Handler="app.handler",
                    Code={{"ZipFile": package(app__py="def handler(e, c): return e")}})
lam.get_waiter("function_active_v2").wait(FunctionName="f")
lam.add_permission(FunctionName="f", StatementId="a", Action="lambda:InvokeFunctionUrl", Principal="*", FunctionUrlAuthType="NONE")
made = lam.create_function_url_config(FunctionName="f", AuthType="NONE")["FunctionUrl"]
def swap():
    import shutil
    # Half of it first: the old one stays in use.
    whole = open({fresh_cert:?}).read()
    open({cert:?}, "w").write(whole[:len(whole) // 2])
    time.sleep(3)
    shutil.copy({fresh_cert:?}, {cert:?})
    shutil.copy({fresh_key:?}, {key:?})
import threading, ssl, socket
port = int(os.environ["AWS_ENDPOINT_URL"].rsplit(":", 1)[1])
def names():
    c = ssl.create_default_context(cafile={both:?})
    with c.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="localhost") as s:
        return [n[1] for n in s.getpeercert()["subjectAltName"]]
before = names()
t = threading.Thread(target=swap); t.start()
calls, until = 0, time.time() + 60
while time.time() < until:
    new = boto3.session.Session().client("lambda", verify={both:?})
    for client in (lam, new):
        assert json.load(client.invoke(FunctionName="f", Payload=b'"x"')["Payload"]) == "x"
        calls += 1
    if "new.test" in names():
        break
t.join()
return {{"before": before, "after": names(), "calls": calls, "url": made}}
"#,
        fresh_cert = text(&fresh.join("cert.pem")),
        fresh_key = text(&fresh.join("key.pem")),
        cert = text(&tls.join("cert.pem")),
        key = text(&tls.join("key.pem")),
        both = text(&both),
    );
    let seen = myna.boto3(&snippet)?;
    ensure!(seen["before"][0] == "myna.test" && seen["after"][0] == "new.test", "{seen}");
    ensure!(seen["calls"].as_u64() > Some(1), "{seen}");
    ensure!(seen["url"].as_str().is_some_and(|u| u.starts_with("https://")), "{seen}");
    ensure!(myna.log().contains("the new certificate is refused, and the one before stays in use"), "{}", myna.log());
    Ok(())
}

// F50, H37
fn certificates_that_can_not_be_used_and_open_doors_are_refused_at_the_start() -> Result<()> {
    let home = TempDir::new_in("/var/tmp")?;
    let (tls, config) = certified(home.path())?;
    let other = home.path().join("other");
    ensure!(alone(&["tls", "self-signed", "--out", &text(&other)], home.path())?.status.success());
    let again = alone(&["tls", "self-signed", "--out", &text(&other)], home.path())?;
    ensure!(!again.status.success() && said(&again).contains("is there already"), "{}", said(&again));
    let refused = |config: &str, args: &[&str], wanted: &str| -> Result<()> {
        let options = Options {
            config: Some(config.to_owned()),
            args: args.iter().map(|a| (*a).to_owned()).collect(),
            ..Options::default()
        };
        let mut myna = Platform::prepare(options)?;
        let status = myna.refused()?;
        ensure!(!status.success() && myna.log().contains(wanted), "{wanted}: {}", myna.log());
        ensure!(!myna.dir().exists(), "nothing is left behind by what was refused");
        Ok(())
    };
    let mixed = config.replace("tls/key.pem", "other/key.pem");
    refused(&mixed, &[], "does not belong to the certificate")?;
    refused(&config.replace("cert.pem", "none.pem"), &[], "No such file")?;
    refused("[tls]\ncert = \"a\"\n", &[], "[tls] needs key too")?;
    refused("[tls]\nca = \"a\"\n", &[], "it needs cert and key")?;
    fs::write(tls.join("half.pem"), &fs::read(tls.join("cert.pem"))?[..100])?;
    refused(&config.replace("cert.pem", "half.pem"), &[], "half.pem")?;
    for open in ["0.0.0.0:0", "[::]:0"] {
        refused(&config, &["--listen", open, "--no-auth"], "beyond loopback signatures are always checked")?;
    }
    // With both it is allowed; clients are told a name that the certificate is for.
    let options = Options { config: Some(config), args: vec!["--listen".into(), "0.0.0.0:0".into()], ..Options::default() };
    let myna = Platform::start_with(options)?;
    ensure!(myna.ready().aws.starts_with("https://myna.test:"), "{}", myna.ready().aws);
    Ok(())
}

// F22
fn a_backup_under_load_is_restored_elsewhere_and_its_queued_events_run() -> Result<()> {
    let myna = Platform::start()?;
    let f = myna.python("work", NAMES)?;
    ensure!(f.call(json!({"n": 0}))? == json!({"n": 0}));
    ensure!(myna.cli(&["events", "pause", "work"])?.status.success());
    let send = |text: &str, from: usize, to: usize| {
        myna.boto3(&format!(
            "for n in range({from}, {to}): lam.invoke(FunctionName='work', InvocationType='Event', Payload=json.dumps({{'n': '{text}', 'pad': 'x' * (n % 3 * 100000)}}))\nreturn 1"
        ))
    };
    send("first", 0, 20)?;
    let file = myna.home().join("backup.tar");
    thread::scope(|scope| -> Result<()> {
        let load = scope.spawn(|| send("later", 0, 60));
        let made = myna.cli(&["backup", &text(&file)])?;
        ensure!(made.status.success(), "{}", said(&made));
        load.join().expect("the load ends")?;
        Ok(())
    })?;
    let again = myna.cli(&["backup", &text(&file)])?;
    ensure!(!again.status.success() && said(&again).contains("is there already"), "{}", said(&again));

    let mut copy = Platform::prepare(Options::default())?;
    let restored = alone(&["restore", &text(&file), "--to", &text(&copy.dir())], copy.home())?;
    ensure!(restored.status.success(), "{}", said(&restored));
    let twice = alone(&["restore", &text(&file), "--to", &text(&copy.dir())], copy.home())?;
    ensure!(!twice.status.success() && said(&twice).contains("it is not empty"), "{}", said(&twice));
    // An archive that was cut or changed is not put anywhere.
    let bytes = fs::read(&file)?;
    let half = bytes[..bytes.len() / 2].to_vec();
    for (name, bent) in [("cut", half), ("bent", bend(&bytes, bytes.len() / 3)), ("stained", bend(&bytes, bytes.len() - 1))] {
        let (bad, to) = (copy.home().join(name), copy.home().join(format!("{name}-dir")));
        fs::write(&bad, bent)?;
        let refused = alone(&["restore", &text(&bad), "--to", &text(&to)], copy.home())?;
        ensure!(!refused.status.success() && !to.exists(), "{name}: {}", said(&refused));
    }
    // The key is not in it; without it nothing can be read.
    copy.refused()?;
    ensure!(copy.log().contains("its key is missing"), "{}", copy.log());
    let keys = |home: &Path| home.join(".config/myna/keys");
    fs::create_dir_all(keys(copy.home()))?;
    for key in fs::read_dir(keys(myna.home()))? {
        let key = key?;
        fs::copy(key.path(), keys(copy.home()).join(key.file_name()))?;
    }
    let whole = alone(&["verify", "--dir", &text(&copy.dir())], copy.home())?;
    ensure!(whole.status.success() && !said(&whole).contains("not opened"), "{}", said(&whole));
    // It stands on its own feet: what it was copied from is gone.
    drop(f);
    drop(myna);
    copy.start_again()?;
    ensure!(copy.function("work").call(json!({"n": 1}))? == json!({"n": 1}));
    ensure!(copy.cli(&["events", "resume", "work"])?.status.success());
    copy.until_logged("work", "\"ran first\"", 20)?;
    Ok(())
}

/// With another bit at a place.
fn bend(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bent = bytes.to_vec();
    bent[at] ^= 1;
    bent
}

/// Every file below a folder with its bytes.
fn contents(folder: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.extend(contents(&entry.path())?);
        } else if entry.file_type()?.is_file() {
            found.insert(entry.path(), fs::read(entry.path())?);
        }
    }
    Ok(found)
}

// F17
fn flipped_bytes_are_found_and_a_dry_repair_changes_nothing() -> Result<()> {
    let mut myna = Platform::start()?;
    let before = myna.python("kept", NAMES)?.call(json!({"n": 1}))?;
    ensure!(before == json!({"n": 1}));
    let running = myna.verb(&["verify"])?;
    ensure!(running["flaws"] == json!([]) && running["packages"] == 1, "beside the running platform: {running}");
    let busy = myna.cli(&["repair", "--dry-run"])?;
    ensure!(!busy.status.success() && said(&busy).contains("a running platform uses it"), "{}", said(&busy));
    ensure!(myna.stop()?.success());
    let (dir, home) = (myna.dir(), myna.home().to_owned());
    let run = |words: &[&str]| alone(&[words, &["--dir", &text(&dir)]].concat(), &home);
    ensure!(run(&["verify"])?.status.success(), "{}", said(&run(&["verify"])?));

    let files = contents(&dir)?;
    let (archive, bytes) = files.iter().find(|(p, _)| p.ends_with("archive.sealed")).context("a package is there")?;
    let mut bent = bytes.clone();
    let middle = bent.len() / 2;
    bent[middle] ^= 1;
    fs::write(archive, bent)?;
    let found = run(&["verify"])?;
    let digest = archive.parent().and_then(Path::file_name).context("a digest")?.to_string_lossy().into_owned();
    ensure!(found.status.code() == Some(1) && said(&found).contains(&digest), "{}", said(&found));

    let before = contents(&dir)?;
    let dry = run(&["repair", "--dry-run"])?;
    ensure!(dry.status.success() && said(&dry).contains("would be done") && said(&dry).contains(&digest), "{}", said(&dry));
    ensure!(contents(&dir)? == before, "a dry run changes nothing");
    let wet = run(&["repair"])?;
    ensure!(wet.status.success() && said(&wet).contains("done: move it to damaged"), "{}", said(&wet));
    ensure!(!archive.exists() && contents(&dir.join("damaged"))?.keys().any(|p| p.ends_with("archive.sealed")));
    let left = run(&["verify"])?;
    ensure!(said(&left).contains("there is no such package") && said(&left).contains("kept"), "{}", said(&left));

    // Deployed again it is whole again.
    myna.start_again()?;
    myna.function("kept").update(NAMES)?;
    ensure!(myna.function("kept").call(json!({"n": 2}))? == json!({"n": 2}));
    ensure!(myna.verb(&["verify"])?["flaws"] == json!([]));
    Ok(())
}

fn a_paused_function_refuses_calls_and_keeps_its_events_over_a_restart() -> Result<()> {
    let mut myna = Platform::start()?;
    ensure!(myna.python("f", NAMES)?.call(json!({"n": 1}))? == json!({"n": 1}));
    ensure!(myna.python("other", NAMES)?.call(json!({"n": 1}))? == json!({"n": 1}));
    ensure!(myna.verb(&["pause", "f"])?["held"]["state"] == "paused");
    let refused = "return refused(lam.invoke, FunctionName='f', Payload=b'{\"n\": 2}')";
    for _ in 0..2 {
        let answer = myna.boto3(refused)?;
        ensure!(answer["Error"]["Code"] == "TooManyRequestsException", "{answer}");
        ensure!(answer["Error"]["Message"].as_str().is_some_and(|m| m.contains("paused by the operator")), "{answer}");
        let sent = myna
            .boto3("return lam.invoke(FunctionName='f', InvocationType='Event', Payload=b'{\"n\": \"event\"}')['StatusCode']")?;
        ensure!(sent == 202, "{sent}");
        ensure!(myna.function("other").call(json!({"n": 3}))? == json!({"n": 3}), "others are called as before");
        myna.kill()?;
        myna.start_again()?;
    }
    ensure!(myna.logged("f", "\"ran event\"")? == 0);
    let wrong = myna.cli(&["quarantine", "f", "--release"])?;
    ensure!(!wrong.status.success() && said(&wrong).contains("not in quarantine"), "{}", said(&wrong));
    ensure!(myna.cli(&["pause", "f", "--resume"])?.status.success());
    myna.until_logged("f", "\"ran event\"", 2)?;
    ensure!(myna.function("f").call(json!({"n": 4}))? == json!({"n": 4}));
    let twice = myna.cli(&["pause", "f", "--resume"])?;
    ensure!(!twice.status.success() && said(&twice).contains("neither paused nor in quarantine"), "{}", said(&twice));
    let none = myna.cli(&["pause", "nobody"])?;
    ensure!(none.status.code() == Some(5), "{}", said(&none));
    Ok(())
}

fn quarantine_ends_every_instance_and_keeps_the_evidence() -> Result<()> {
    let mut myna = Platform::start()?;
    let source = "import time\ndef handler(e, c):\n    print('evidence', e['n'])\n    time.sleep(e.get('s', 0))\n    return e\n";
    let f = myna.draft("bad", source).set("Timeout", 60).create()?;
    ensure!(f.call(json!({"n": 1}))? == json!({"n": 1}));
    let out = myna.home().join("evidence");
    fs::create_dir(&out)?;
    thread::scope(|scope| -> Result<()> {
        let held = scope.spawn(|| myna.function("bad").invoke(&json!({"n": 2, "s": 50})));
        myna.until_logged("bad", "\"evidence 2\"", 1)?;
        let done = myna.cli(&["quarantine", "bad", "--out", &text(&out)])?;
        ensure!(done.status.success(), "{}", said(&done));
        // The call that ran was ended, and its caller was told something else than an answer.
        let answer = held.join().expect("the call ends");
        ensure!(!answer.is_ok_and(|a| a.json().is_ok_and(|j| j == json!({"n": 2, "s": 50}))), "it did not run to its end");
        Ok(())
    })?;
    let observed = myna.verb(&["describe", "bad"])?.to_string();
    ensure!(!observed.contains("\"state\":\"busy\""), "{observed}");
    let answer = myna.boto3("return [refused(lam.invoke, FunctionName='bad', Payload=b'{}', InvocationType=t)['Error'] for t in ('RequestResponse', 'Event')]")?;
    for error in answer.as_array().context("two answers")? {
        ensure!(error["Code"] == "ResourceConflictException" && error["Message"].to_string().contains("quarantine"), "{answer}");
    }
    let file = fs::read_dir(&out)?.next().context("there is evidence")??.path();
    let bytes = fs::read(&file)?;
    let holds = |text: &str| bytes.windows(text.len()).any(|w| w == text.as_bytes());
    for part in
        ["function.json", "versions.json", "records.json", "log.jsonl", "hold.json", "code/", "MANIFEST.json", "evidence 2"]
    {
        ensure!(holds(part), "{part} is in the evidence");
    }
    ensure!(!fs::read_dir(&out)?.any(|e| e.is_ok_and(|e| e.path() != file)), "nothing half written is left");

    // Deleted or not, its code stays until it is released; so does the refusal, over a restart.
    myna.kill()?;
    myna.start_again()?;
    let answer = myna.boto3("return refused(lam.invoke, FunctionName='bad', Payload=b'{}')['Error']['Code']")?;
    ensure!(answer == "ResourceConflictException", "{answer}");
    ensure!(myna.cli(&["quarantine", "bad", "--release"])?.status.success());
    ensure!(myna.function("bad").call(json!({"n": 3}))? == json!({"n": 3}));
    Ok(())
}

fn drain_finishes_what_is_under_way_and_ends_with_success() -> Result<()> {
    let mut myna = Platform::start()?;
    let f = myna.python("slow", "import time\ndef handler(e, c):\n    print('begun')\n    time.sleep(2)\n    return 'done'\n")?;
    drop(f);
    thread::scope(|scope| -> Result<()> {
        let call = scope.spawn(|| myna.function("slow").call(json!({})));
        myna.until_logged("slow", "begun", 1)?;
        let told = myna.cli(&["drain", "--no-wait"])?;
        ensure!(told.status.success(), "{}", said(&told));
        ensure!(call.join().expect("the call ends")? == "done", "what was under way is finished");
        Ok(())
    })?;
    ensure!(myna.ended()?.success());
    myna.start_again()?;
    ensure!(myna.function("slow").call(json!({}))? == "done");
    let patient = thread::scope(|scope| {
        let drained = scope.spawn(|| myna.cli(&["drain"]));
        // It has ended when the verb has: this process waits for its child only afterwards.
        thread::sleep(Duration::from_millis(10));
        drained.join().expect("drain ends")
    })?;
    ensure!(patient.status.success() && said(&patient).contains("the platform has ended"), "{}", said(&patient));
    ensure!(myna.ended()?.success());
    Ok(())
}

fn a_support_bundle_holds_no_secret() -> Result<()> {
    let myna = Platform::start()?;
    let source = "import os\ndef handler(e, c):\n    print('MARKER-LOG')\n    return 'MARKER-ANSWER'\n# MARKER-CODE\n";
    let f = myna.draft("f", source).set("Environment", json!({"Variables": {"MARKER_NAME": "MARKER-VALUE"}}));
    let f = f.set("Description", "MARKER-DESCRIPTION").create()?;
    ensure!(f.call(json!({"body": "MARKER-BODY"}))? == "MARKER-ANSWER");
    let file = myna.home().join("bundle.tar");
    let made = myna.cli(&["support-bundle", "-o", &text(&file)])?;
    ensure!(made.status.success(), "{}", said(&made));
    let bytes = fs::read(&file)?;
    let holds = |text: &str| bytes.windows(text.len()).any(|w| w == text.as_bytes());
    for part in ["version.json", "status.json", "doctor.json", "functions.json", "platform.log", "\"python3"] {
        ensure!(holds(part), "{part} is in it");
    }
    let keys = myna.keys();
    for secret in ["MARKER", keys.secret.as_str(), keys.id.as_str()] {
        ensure!(!holds(secret), "{secret} is in the bundle");
    }
    Ok(())
}
