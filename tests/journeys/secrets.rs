//! Secrets: put once, named by functions, and shown to nobody.

use myna_tests::{Function, Platform, Result, Test, Value, anyhow, ensure, json, soon, tests};
use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

pub const ALL: &[Test] = tests![
    a_function_gets_a_secret_and_everybody_else_its_name,
    a_reference_is_checked_at_create_and_at_update,
    a_secret_in_use_stays_and_a_function_without_one_says_so,
    a_secret_is_rotated_under_load_and_no_call_sees_two_moments,
    instances_that_are_kept_ready_are_replaced,
    secrets_outlive_a_kill_and_a_rotation_of_keys,
];

const SOURCE: &str =
    "import os\nAT_INIT = os.environ.get('TOKEN')\ndef handler(e, c): return [AT_INIT, os.environ.get('TOKEN')]\n";

pub fn put(myna: &Platform, name: &str, value: &str) -> Result<Value> {
    let done = myna.cli_with(&["secret", "put", name, "--json"], value.as_bytes())?;
    ensure!(done.status.success(), "secret put {name}: {}", String::from_utf8_lossy(&done.stderr));
    Ok(serde_json::from_slice(&done.stdout)?)
}

fn with<'a>(myna: &'a Platform, name: &str, variables: Value) -> Result<Function<'a>> {
    myna.draft(name, SOURCE).set("Environment", json!({ "Variables": variables })).create()
}

/// Every file below a folder that holds a text.
pub fn holding(folder: &Path, text: &str) -> Result<Vec<String>> {
    let (mut found, mut left) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(path) = left.pop() {
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        if meta.is_dir() {
            left.extend(fs::read_dir(&path)?.map(|e| e.map(|e| e.path())).collect::<std::io::Result<Vec<_>>>()?);
        } else if meta.is_file() && fs::read(&path).unwrap_or_default().windows(text.len()).any(|w| w == text.as_bytes()) {
            found.push(path.display().to_string());
        }
    }
    Ok(found)
}

// H56
fn a_function_gets_a_secret_and_everybody_else_its_name() -> Result<()> {
    let myna = Platform::start()?;
    let value = "marker-of-a-secret\nwith two lines\n";
    ensure!(put(&myna, "db/password", value)?["version"] == 1);
    // From AWS's SDK and its command line, from our own, and through a file.
    let made = myna.boto3(&format!(
        "lam.create_function(FunctionName='sdk', Runtime='python3.11', Role='{}', Handler='app.handler', Code={{'ZipFile': package(app__py={SOURCE:?})}}, Environment={{'Variables': {{'TOKEN': 'myna:secret:db/password', 'OTHER': 'myna:secret::db/password'}}}})\n\
         lam.get_waiter('function_active_v2').wait(FunctionName='sdk')\n\
         return [json.loads(lam.invoke(FunctionName='sdk')['Payload'].read()), lam.get_function_configuration(FunctionName='sdk')['Environment'], lam.get_function(FunctionName='sdk')['Configuration']['Environment']]",
        myna.ready().role
    ))?;
    let shown = json!({"Variables": {"TOKEN": "myna:secret:db/password", "OTHER": "myna:secret::db/password"}});
    ensure!(made == json!([[value, value], shown, shown]), "{made}");
    let aws: Value = serde_json::from_str(&myna.aws(&["lambda", "get-function-configuration", "--function-name", "sdk"])?)?;
    ensure!(aws["Environment"] == shown, "{aws}");

    let folder = myna.home().join("own");
    fs::create_dir(&folder)?;
    fs::write(folder.join("app.py"), "import os\ndef handler(e, c): return os.environ['LITERAL'] + os.environ['TOKEN']\n")?;
    let key = myna.home().join("key.pem");
    fs::write(&key, "marker-of-a-secret in a file\r\n")?;
    let done = myna.cli(&["secret", "put", "file", &format!("@{}", key.display()), "--strip"])?;
    ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let text = folder.to_string_lossy().into_owned();
    let words = ["deploy", &text, "--name", "own", "--env", "TOKEN=myna:secret:file", "--env", "LITERAL=myna:secret::file"];
    let done = myna.cli(&words)?;
    ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let own = myna.function("own");
    ensure!(own.call(json!({}))? == json!("myna:secret:filemarker-of-a-secret in a file"), "{}", own.call(json!({}))?);

    // Another version of the secret, and nothing of either is shown by anything.
    ensure!(put(&myna, "db/password", "marker-of-a-secret 2")?["version"] == 2);
    ensure!(myna.function("sdk").call(json!({}))? == json!(["marker-of-a-secret 2", "marker-of-a-secret 2"]));
    for words in [
        &["secret", "list"][..],
        &["secret", "describe", "db/password"],
        &["secret", "uses", "db/password"],
        &["describe", "sdk"],
        &["explain", "sdk"],
        &["list"],
        &["versions", "sdk"],
        &["status"],
        &["audit"],
        &["logs", "sdk"],
        &["seal", "status"],
    ] {
        for form in [&[][..], &["--json"]] {
            let done = myna.cli(&[words, form].concat())?;
            ensure!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
            let said = [done.stdout, done.stderr].concat();
            ensure!(
                !String::from_utf8_lossy(&said).contains("marker-of-a-secret"),
                "{words:?}: {}",
                String::from_utf8_lossy(&said)
            );
        }
    }
    let listed = myna.verb(&["secret", "list"])?;
    ensure!(listed[0]["name"] == "db/password" && listed[0]["version"] == 2 && listed[1]["name"] == "file", "{listed}");
    ensure!(listed[0]["created_ms"].as_u64() < listed[0]["changed_ms"].as_u64(), "{listed}");
    let used = myna.verb(&["secret", "uses", "db/password"])?;
    ensure!(used == json!([{"function": "sdk", "version": "$LATEST", "variable": "TOKEN"}]), "{used}");
    let audit = myna.verb(&["audit"])?.to_string();
    ensure!(audit.matches("admin:PUT /admin/v1/secrets/db%2Fpassword").count() == 2, "{audit}");

    let found = holding(&myna.dir(), "marker-of-a-secret")?;
    ensure!(found.is_empty(), "{found:?}");
    // Nor in base64, at whatever offset it begins.
    for text in ["bWFya2VyLW9mLWEtc2VjcmV0", "1hcmtlci1vZi1hLXNlY3JldC", "tYXJrZXItb2YtYS1zZWNyZX"] {
        let found = holding(&myna.dir(), text)?;
        ensure!(found.is_empty(), "{text}: {found:?}");
    }
    ensure!(fs::metadata(myna.dir())?.permissions().mode() & 0o077 == 0);
    ensure!(!myna.log().contains("marker-of-a-secret"), "{}", myna.log());
    Ok(())
}

// H56
fn a_reference_is_checked_at_create_and_at_update() -> Result<()> {
    let myna = Platform::start()?;
    let answer = myna.draft("f", SOURCE).set("Environment", json!({"Variables": {"TOKEN": "myna:secret:none"}})).send()?;
    let said = answer.text();
    ensure!(
        answer.status == 400 && said.contains("Environment.Variables.TOKEN") && said.contains("myna secret put none"),
        "{said}"
    );
    put(&myna, "there", "x")?;
    let f = with(&myna, "f", json!({"TOKEN": "myna:secret:there"}))?;
    let config = json!({"Environment": {"Variables": {"TOKEN": "myna:secret:none"}}});
    let refused = f.api("PUT", "/configuration", &config).expect_err("a secret that isn't there was accepted").to_string();
    ensure!(refused.contains("answered 400") && refused.contains("myna secret put none"), "{refused}");
    for bad in ["myna:secret:", "myna:secret:../x", "myna:secret:a b", "myna:secret:/etc"] {
        let config = json!({"Environment": {"Variables": {"TOKEN": bad}}});
        let refused = f.api("PUT", "/configuration", &config).expect_err("a malformed reference was accepted").to_string();
        ensure!(refused.contains("answered 400") && refused.contains("Environment.Variables.TOKEN"), "{refused}");
    }
    ensure!(f.call(json!({}))? == json!(["x", "x"]), "what was refused changed nothing");
    Ok(())
}

fn a_secret_in_use_stays_and_a_function_without_one_says_so() -> Result<()> {
    let myna = Platform::start()?;
    put(&myna, "token", "first")?;
    let f = with(&myna, "f", json!({"TOKEN": "myna:secret:token"}))?;
    f.api("POST", "/versions", &json!({}))?;
    ensure!(f.call(json!({}))? == json!(["first", "first"]));
    let kept = myna.cli(&["secret", "delete", "token"])?;
    let said = String::from_utf8_lossy(&kept.stderr).into_owned();
    ensure!(
        kept.status.code() == Some(1) && said.contains("in use") && said.contains("TOKEN") && said.contains("--force"),
        "{said}"
    );
    ensure!(f.call(json!({}))? == json!(["first", "first"]));
    let gone = myna.cli(&["secret", "delete", "token", "--force"])?;
    ensure!(gone.status.success(), "{}", String::from_utf8_lossy(&gone.stderr));
    ensure!(myna.cli(&["secret", "describe", "token"])?.status.code() == Some(5));
    for version in ["$LATEST", "1"] {
        let answer = f.invoke_bytes(version, b"{}", &[])?;
        let said = answer.text();
        ensure!(answer.error.is_some() && said.contains("TOKEN") && said.contains("the secret token"), "{version}: {said}");
        ensure!(said.contains("myna secret put token"), "{said}");
    }
    // Put again, it starts again, and counts from one.
    ensure!(put(&myna, "token", "again")?["version"] == 1);
    ensure!(f.call(json!({}))? == json!(["again", "again"]));
    ensure!(f.invoke_bytes("1", b"{}", &[])?.json()? == json!(["again", "again"]));
    f.api("DELETE", "", &Value::Null)?;
    ensure!(myna.cli(&["secret", "delete", "token"])?.status.success());
    Ok(())
}

/// Two secrets, read when the code is loaded and when it runs; one variable makes the process start with them.
const TWO: &str = "\
import os, time
AT_INIT = [os.environ['ONE'], os.environ['LC_TWO']]
def handler(e, c):
    before = [os.environ['ONE'], os.environ['LC_TWO']]
    print(e['say'], flush=True)
    time.sleep(e['s'])
    return [AT_INIT, before, [os.environ['ONE'], os.environ['LC_TWO']]]
";

// F60
fn a_secret_is_rotated_under_load_and_no_call_sees_two_moments() -> Result<()> {
    const CALLERS: usize = 4;
    let myna = Platform::start()?;
    put(&myna, "one", "rotated-0")?;
    put(&myna, "two", "turned-0")?;
    let variables = json!({"ONE": "myna:secret:one", "LC_TWO": "myna:secret:two"});
    let spawned = myna.draft("spawned", TWO).set("Environment", json!({"Variables": variables})).create()?;
    // The same with names that a language runtime which runs already can be given.
    let variables = json!({"ONE": "myna:secret:one", "TWO": "myna:secret:two"});
    let bound =
        myna.draft("bound", &TWO.replace("LC_TWO", "TWO")).set("Environment", json!({"Variables": variables})).create()?;
    let functions = [&spawned, &bound];
    for f in functions {
        f.call(json!({"s": 0, "say": ""}))?;
    }
    let stop = AtomicBool::new(false);
    let seen: BTreeSet<String> = thread::scope(|scope| -> Result<_> {
        let call = |f: &Function<'_>, s: f64, say: &str| -> Result<String> {
            let answer = f.call(json!({ "s": s, "say": say }))?;
            let (init, before, after) = (&answer[0], &answer[1], &answer[2]);
            ensure!(init == before && before == after, "a call saw two moments: {answer}");
            Ok(format!("{} {}", init[0].as_str().unwrap_or("?"), init[1].as_str().unwrap_or("?")))
        };
        let callers: Vec<_> = (0..CALLERS)
            .map(|n| {
                let stop = &stop;
                scope.spawn(move || -> Result<BTreeSet<String>> {
                    let mut seen = BTreeSet::new();
                    while !stop.load(Ordering::Relaxed) {
                        seen.insert(call(functions[n % 2], 0.02, "")?);
                    }
                    Ok(seen)
                })
            })
            .collect();
        let turned = (|| -> Result<()> {
            for round in 1..=3 {
                // A call that is under way is finished with what it began with.
                let (f, say) = (functions[round % 2], format!("under-way-{round}"));
                let said = say.clone();
                let long = scope.spawn(move || call(f, 3.0, &said));
                myna.until_logged(&f.name, &say, 1)?;
                put(&myna, "one", &format!("rotated-{round}"))?;
                put(&myna, "two", &format!("turned-{round}"))?;
                for f in functions {
                    let new = call(f, 0.0, "")?;
                    ensure!(new == format!("rotated-{round} turned-{round}"), "a call that came after the new values got {new}");
                }
                let old = long.join().map_err(|_| anyhow!("a caller panicked"))??;
                ensure!(old == format!("rotated-{0} turned-{0}", round - 1), "a call that was under way got {old}");
            }
            Ok(())
        })();
        stop.store(true, Ordering::Relaxed);
        let mut seen = BTreeSet::new();
        for caller in callers {
            seen.extend(caller.join().map_err(|_| anyhow!("a caller panicked"))??);
        }
        turned.map(|()| seen)
    })?;
    // Either secret as it was at one moment: the first was put before the second.
    for pair in &seen {
        let numbers: Vec<&str> = pair.split([' ', '-']).collect();
        let (one, two): (u32, u32) = (numbers[1].parse()?, numbers[3].parse()?);
        ensure!(one == two || one == two + 1, "{pair} was never so");
    }
    // Nothing with an older value is left.
    for old in ["rotated-0", "rotated-1", "rotated-2"] {
        ensure!(soon(|| myna_tests::processes::with_environment(old).is_empty()), "an instance with {old} is left");
    }
    Ok(())
}

fn instances_that_are_kept_ready_are_replaced() -> Result<()> {
    let myna = Platform::start()?;
    put(&myna, "token", "provisioned-0")?;
    // A variable of the C library's: its process starts with it, so that it can be seen from outside.
    let source = "import os\ndef handler(e, c): return os.environ['LC_TOKEN']\n";
    let f = myna.draft("f", source).set("Environment", json!({"Variables": {"LC_TOKEN": "myna:secret:token"}})).create()?;
    f.api("POST", "/versions", &json!({}))?;
    let path = "/2019-09-30/functions/f/provisioned-concurrency?Qualifier=1";
    f.operation("PUT", path, &json!({"ProvisionedConcurrentExecutions": 1}))?;
    let with = |value: &str| myna_tests::processes::with_environment(value).len();
    ensure!(soon(|| with("provisioned-0") > 0), "none was kept ready");
    put(&myna, "token", "provisioned-1")?;
    ensure!(
        soon(|| with("provisioned-1") > 0 && with("provisioned-0") == 0),
        "the one that was kept ready is there, or no other"
    );
    ensure!(f.invoke_bytes("1", b"{}", &[])?.json()? == json!("provisioned-1"));
    Ok(())
}

fn secrets_outlive_a_kill_and_a_rotation_of_keys() -> Result<()> {
    let mut myna = Platform::start()?;
    put(&myna, "token", "marker-that-stays")?;
    with(&myna, "f", json!({"TOKEN": "myna:secret:token"}))?;
    ensure!(myna.cli(&["seal", "rotate"])?.status.success());
    myna.kill()?;
    myna.start_again()?;
    ensure!(myna.function("f").call(json!({}))? == json!(["marker-that-stays", "marker-that-stays"]));
    ensure!(myna.verb(&["secret", "list"])?[0]["version"] == 1);
    let found = holding(&myna.dir(), "marker-that-stays")?;
    ensure!(found.is_empty(), "{found:?}");
    Ok(())
}
