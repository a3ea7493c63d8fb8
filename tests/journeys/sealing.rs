//! What lies on the disk is sealed: a copied directory gives nothing away, and nothing is lost with the right key.

use myna_tests::{Options, Platform, Result, Test, Value, binary, ensure, json, soon, tests};
use std::{fs, os::unix::fs::PermissionsExt, path::Path};

pub const ALL: &[Test] = tests![
    nothing_of_a_function_is_found_on_the_disk,
    without_its_key_a_directory_is_refused_and_with_the_exported_one_opened,
    an_unsealed_directory_says_so_and_is_sealed_at_a_later_start,
    a_passphrase_is_asked_for_at_a_terminal_and_nowhere_else,
];

const CODE: &str = "marker-in-the-code";
const VARIABLE: &str = "marker-in-a-variable";
const BODY: &str = "marker-in-an-event";

/// Files below a folder that hold a text, but for code that is unpacked for instances to mount: that is only private.
fn holding(folder: &Path, text: &str) -> Result<Vec<String>> {
    let (mut found, mut left) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(path) = left.pop() {
        // What is written beside its place and renamed may be gone by now.
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        let unpacked = path.file_name().is_some_and(|n| n == "code") && path.starts_with(folder.join("packages"));
        if meta.is_dir() && !unpacked {
            left.extend(fs::read_dir(&path)?.map(|e| e.map(|e| e.path())).collect::<std::io::Result<Vec<_>>>()?);
        } else if meta.is_file() && fs::read(&path).unwrap_or_default().windows(text.len()).any(|w| w == text.as_bytes()) {
            found.push(path.display().to_string());
        }
    }
    Ok(found)
}

/// A function with a marker in its code and in a variable, and two events that wait, with one in each.
fn fill(myna: &Platform) -> Result<()> {
    // Stored, so that the archive has it byte by byte.
    let source = format!("import os\n# {CODE}\ndef handler(e, c):\n    return [os.environ['VAR'], len(e.get('x', ''))]\n");
    let f = myna.draft("f", &source).set("Environment", json!({"Variables": {"VAR": VARIABLE}})).create()?;
    ensure!(f.call(json!({}))? == json!([VARIABLE, 0]));
    myna.verb(&["events", "pause", "f"])?;
    let large = format!("{{\"x\": \"{}\"}}", BODY.repeat(8000));
    for body in [format!("{{\"x\": \"{BODY}\"}}"), large] {
        let headers = [("x-amz-invocation-type", "Event")];
        let answer = f.invoke_bytes("$LATEST", body.as_bytes(), &headers)?;
        ensure!(answer.status == 202, "{}", answer.status);
    }
    Ok(())
}

fn nothing_is_found(myna: &Platform, secret: &str) -> Result<()> {
    for text in [CODE, VARIABLE, BODY, secret] {
        let found = holding(&myna.dir(), text)?;
        ensure!(found.is_empty(), "{text} is in {found:?}");
    }
    Ok(())
}

fn nothing_of_a_function_is_found_on_the_disk() -> Result<()> {
    let mut myna = Platform::start()?;
    fill(&myna)?;
    let secret = myna.keys().secret;
    nothing_is_found(&myna, &secret)?;
    ensure!(myna.verb(&["seal", "status"])?["generation"] == 1);
    ensure!(myna.cli(&["seal", "rotate"])?.status.success());
    ensure!(myna.verb(&["seal", "status"])?["generation"] == 2);
    // Sealed again beside everything else.
    let again = || myna.verb(&["seal", "status"]).is_ok_and(|s| s["again_of"].as_u64() > Some(0) && s["again"] == s["again_of"]);
    ensure!(soon(again), "{}", myna.verb(&["seal", "status"])?);
    myna.kill()?;
    nothing_is_found(&myna, &secret)?;
    myna.start_again()?;
    nothing_is_found(&myna, &secret)?;
    ensure!(myna.verb(&["seal", "status"])?["pending"] == false, "older keys went");
    ensure!(myna.keys().secret == secret, "the credentials are the same");
    let f = myna.function("f");
    ensure!(f.call(json!({}))? == json!([VARIABLE, 0]));
    let waiting = myna.verb(&["events", "list", "f"])?.to_string();
    ensure!(waiting.matches("\"queued\"").count() == 2, "{waiting}");
    ensure!(!myna.log().contains("marker"), "{}", myna.log());
    myna.stop()?;
    nothing_is_found(&myna, &secret)
}

fn without_its_key_a_directory_is_refused_and_with_the_exported_one_opened() -> Result<()> {
    let mut myna = Platform::start()?;
    fill(&myna)?;
    let exported = myna.home().join("exported.key");
    let done = myna.cli(&["seal", "export-key", "--out", &exported.to_string_lossy()])?;
    ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    ensure!(fs::metadata(&exported)?.permissions().mode() & 0o777 == 0o600);
    myna.stop()?;
    let keys = myna.home().join(".config/myna/keys");
    let key = fs::read_dir(&keys)?.next().expect("the key was made at the first start")?.path();
    ensure!(fs::read(&key)? == fs::read(&exported)?);
    fs::remove_file(&key)?;
    let before = fs::read(myna.dir().join("rows.db"))?;
    ensure!(!myna.refused()?.success());
    ensure!(myna.log().contains("its key is missing"), "{}", myna.log());
    ensure!(!key.exists() && fs::read(myna.dir().join("rows.db"))? == before, "nothing changed");
    myna.set_args(&["--no-seal"]);
    ensure!(!myna.refused()?.success());
    ensure!(myna.log().contains("can't be read with sealing switched off"), "{}", myna.log());
    myna.set_args(&["--key-file", &exported.to_string_lossy()]);
    myna.start_again()?;
    ensure!(myna.function("f").call(json!({}))? == json!([VARIABLE, 0]));

    // Another master key, while it runs.
    let new = myna.home().join("new.key");
    let done = myna.cli(&["seal", "rewrap", "--key-file", &new.to_string_lossy()])?;
    ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    myna.stop()?;
    ensure!(!myna.refused()?.success());
    ensure!(myna.log().contains("is not the key that it is sealed with"), "{}", myna.log());
    myna.set_args(&["--key-file", &new.to_string_lossy()]);
    myna.start_again()?;
    ensure!(myna.function("f").call(json!({}))? == json!([VARIABLE, 0]));
    Ok(())
}

fn an_unsealed_directory_says_so_and_is_sealed_at_a_later_start() -> Result<()> {
    let mut myna = Platform::start_with(Options { args: vec!["--no-seal".into()], ..Options::default() })?;
    fill(&myna)?;
    let secret = myna.keys().secret;
    let status = myna.verb(&["status"])?;
    ensure!(
        status["sealed"] == "no (--no-seal)" && status["warnings"].to_string().contains("nothing in the directory is sealed")
    );
    let doctor = |myna: &Platform| -> Result<Value> {
        let found: Value = serde_json::from_slice(&myna.cli(&["doctor", "--json"])?.stdout)?;
        Ok(found.as_array().into_iter().flatten().find(|f| f["what"] == "sealing").cloned().unwrap_or_default())
    };
    let found = doctor(&myna)?;
    ensure!(found["state"] == "weaker" && found["mend"].to_string().contains("--no-seal"), "{found}");
    ensure!(!holding(&myna.dir(), VARIABLE)?.is_empty() && !holding(&myna.dir(), BODY)?.is_empty());
    myna.kill()?;
    myna.set_args(&[]);
    myna.start_again()?;
    nothing_is_found(&myna, &secret)?;
    ensure!(myna.keys().secret == secret, "the credentials are the same");
    ensure!(myna.function("f").call(json!({}))? == json!([VARIABLE, 0]));
    ensure!(doctor(&myna)?["state"] == "ok");
    Ok(())
}

/// Starts a platform at a terminal of its own, answers what it asks, and gives what the terminal showed and how it ended. One that
/// serves is stopped.
const AT_A_TERMINAL: &str = r#"
import os, pty, select, signal, sys, time
answers, command = sys.argv[1].split('|'), sys.argv[2:]
pid, terminal = pty.fork()
if pid == 0:
    os.execv(command[0], command)
shown, until = b'', time.time() + 60
def read(text):
    global shown
    while text not in shown and time.time() < until:
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                more = os.read(terminal, 4096)
            except OSError:
                return False
            if not more:
                return False
            shown += more
    return text in shown
for question, answer in zip((b'passphrase of', b'the same again'), answers):
    if not read(question):
        break
    os.write(terminal, answer.encode() + b'\n')
if read(b'"ready"'):
    os.kill(pid, signal.SIGTERM)
while read(b'\0never\0'):
    pass
if time.time() >= until:
    # Nobody is left behind, whatever it waits for.
    os.kill(pid, signal.SIGKILL)
status = os.waitpid(pid, 0)[1]
print(os.waitstatus_to_exitcode(status))
sys.stdout.write(shown.decode('utf-8', 'replace'))
"#;

fn a_passphrase_is_asked_for_at_a_terminal_and_nowhere_else() -> Result<()> {
    const WORDS: &str = "correct horse battery";
    let mut myna = Platform::prepare(Options { args: vec!["--passphrase".into()], ..Options::default() })?;
    let start = |answers: &[&str]| -> Result<(String, String)> {
        let mut c = std::process::Command::new("setsid");
        c.args(["python3", "-c", AT_A_TERMINAL, &answers.join("|")]).arg(binary()?).arg("up").arg("--dir").arg(myna.dir());
        c.args(["--listen", "127.0.0.1:0", "--console", "127.0.0.1:0", "--json", "--passphrase"]).env("HOME", myna.home());
        let out = c.current_dir(myna.home()).output()?;
        ensure!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let said = String::from_utf8(out.stdout)?;
        let (ended, shown) = said.split_once('\n').unwrap_or_default();
        ensure!(!shown.contains(WORDS), "the terminal shows it: {shown}");
        Ok((ended.to_owned(), shown.to_owned()))
    };
    let (ended, shown) = start(&[WORDS, "another one, by mistake"])?;
    ensure!(ended == "2" && shown.contains("not the same"), "{ended}: {shown}");
    let (ended, shown) = start(&["short", "short"])?;
    ensure!(ended != "0" && shown.contains("12 bytes or more"), "{ended}: {shown}");
    let (ended, shown) = start(&[WORDS, WORDS])?;
    ensure!(ended == "0" && shown.contains("\"ready\""), "{ended}: {shown}");
    // The directory has its keys, so that it is asked once; a wrong one opens nothing.
    let (ended, shown) = start(&["not what it was sealed with"])?;
    ensure!(ended != "0" && shown.contains("is not the key that it is sealed with"), "{ended}: {shown}");
    let (ended, shown) = start(&[WORDS])?;
    ensure!(ended == "0" && !shown.contains("the same again"), "{ended}: {shown}");
    let found = holding(&myna.dir(), WORDS)?;
    ensure!(found.is_empty(), "{found:?}");
    // Without a terminal it says what else there is.
    myna.set_through(&["setsid".into(), "--wait".into()]);
    ensure!(!myna.refused()?.success());
    ensure!(myna.log().contains("no terminal to ask at") && myna.log().contains("--passphrase-file"), "{}", myna.log());
    Ok(())
}
