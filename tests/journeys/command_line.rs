//! Myna's own command line, from a folder to an answer.

use myna_tests::{Context, Platform, Result, Test, Value, binary, ensure, json, tests};
use std::{
    fs,
    process::{Command, Stdio},
};

pub const ALL: &[Test] = tests![
    the_first_minute_works_as_the_readme_says,
    exit_codes_are_as_documented,
    what_is_private_stays_out_of_a_package,
    terminal_escapes_in_a_log_are_shown_as_text,
    explain_says_where_each_value_comes_from,
    status_and_doctor_speak_json,
];

/// Runs a verb and expects success; what it printed.
pub fn verb(myna: &Platform, words: &[&str]) -> Result<String> {
    let out = myna.cli(words)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    ensure!(out.status.success(), "myna {}: {}\n{}{}", words.join(" "), out.status, text(&out.stdout), text(&out.stderr));
    Ok(text(&out.stdout))
}

pub fn folder(myna: &Platform, name: &str, files: &[(&str, &str)]) -> Result<()> {
    for (file, text) in files {
        let path = myna.home().join(name).join(file);
        fs::create_dir_all(path.parent().context("a file lies in a folder")?)?;
        fs::write(path, text)?;
    }
    Ok(())
}

fn the_first_minute_works_as_the_readme_says() -> Result<()> {
    let myna = Platform::start()?;
    verb(&myna, &["init", "--like", "lambda-python", "hello"])?;
    verb(&myna, &["deploy", "hello"])?;
    let said: Value = serde_json_from(&verb(&myna, &["invoke", "hello", "-d", r#"{"name": "Ada"}"#])?)?;
    ensure!(said["greeting"] == "Hello, Ada!", "{said}");
    ensure!(verb(&myna, &["list"])?.contains("hello"));
    ensure!(verb(&myna, &["logs", "hello"])?.contains("called with"));
    ensure!(verb(&myna, &["describe", "hello"])?.contains("python3"));
    verb(&myna, &["delete", "hello", "--yes"])?;
    ensure!(!verb(&myna, &["list"])?.contains("hello"));
    Ok(())
}

pub fn serde_json_from(text: &str) -> Result<Value> {
    text.parse().with_context(|| format!("no JSON: {text}"))
}

fn exit_codes_are_as_documented() -> Result<()> {
    let myna = Platform::start()?;
    myna.python("fails", "def handler(e, c): raise ValueError('no')")?;
    let code = |words: &[&str]| -> Result<Option<i32>> { Ok(myna.cli(words)?.status.code()) };
    ensure!(code(&["invoke", "fails"])? == Some(3), "a function's own error");
    ensure!(code(&["invoke", "nobody"])? == Some(5), "a function that doesn't exist");
    ensure!(code(&["invoke", "fails", "-d", "{"])? == Some(2), "an event that is no JSON");
    ensure!(code(&["--dir", "/nonexistent", "list"])? == Some(4), "no platform");
    Ok(())
}

// H79
fn what_is_private_stays_out_of_a_package() -> Result<()> {
    let myna = Platform::start()?;
    let code = "import os\ndef lambda_handler(event, context):\n    return sorted(os.listdir('/var/task'))\n";
    let files = [
        ("lambda_function.py", code),
        (".env", "KEY=1"),
        (".env.local", "KEY=2"),
        (".git/config", "[core]"),
        (".myna/keys", "secret"),
        ("data.txt", "x"),
    ];
    folder(&myna, "mine", &files)?;
    verb(&myna, &["deploy", "mine"])?;
    let packed = serde_json_from(&verb(&myna, &["invoke", "mine"])?)?;
    ensure!(packed == json!(["data.txt", "lambda_function.py"]), "the package holds {packed}");
    Ok(())
}

// H89: a terminal is what `script` gives it.
fn terminal_escapes_in_a_log_are_shown_as_text() -> Result<()> {
    let myna = Platform::start()?;
    let f = myna.python("rude", "def handler(e, c):\n    print('before\\x1b]52;c;ZXZpbA==\\x07\\x1b[2J\\x9b31mafter')\n")?;
    f.call(json!({}))?;
    let command = format!("{} logs rude", binary()?.display());
    let mut script = Command::new("script");
    let out = script
        .args(["-qec", &command, "/dev/null"])
        .env("MYNA_DIR", myna.dir())
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .output()?;
    let shown = String::from_utf8_lossy(&out.stdout);
    ensure!(shown.contains("before") && shown.contains("after"), "{shown:?}");
    ensure!(
        !shown.contains('\x1b') && !shown.contains('\x07') && !shown.contains('\u{9b}'),
        "escapes reach the terminal: {shown:?}"
    );
    Ok(())
}

// D7
fn explain_says_where_each_value_comes_from() -> Result<()> {
    let myna = Platform::start()?;
    myna.draft("explained", "def handler(e, c): return 1").set("Timeout", 7).create()?;
    let text = verb(&myna, &["explain", "explained"])?;
    let timeout = text.lines().find(|l| l.to_lowercase().contains("timeout")).with_context(|| format!("no timeout: {text}"))?;
    ensure!(timeout.contains('7'), "{timeout}");
    Ok(())
}

fn status_and_doctor_speak_json() -> Result<()> {
    let myna = Platform::start()?;
    let status = serde_json_from(&verb(&myna, &["status", "--json"])?)?;
    ensure!(status["pid"] == myna.pid() && status["dir"].is_string(), "{status}");
    let doctor = myna.cli(&["doctor", "--json"])?;
    let findings = serde_json_from(&String::from_utf8_lossy(&doctor.stdout))?;
    ensure!(findings.as_array().is_some_and(|f| f.len() > 3), "{findings}");
    Ok(())
}
