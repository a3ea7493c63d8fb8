//! The state directory: one platform at a time, nobody else's, and everything is there again after a crash.

use myna_tests::{Options, Platform, Result, Signal, Test, binary, ensure, json, tests};
use std::{fs, os::unix::fs::PermissionsExt, process::Command, thread};

pub const ALL: &[Test] = tests![
    killed_and_started_again_it_has_everything,
    a_second_platform_on_the_same_directory_is_refused,
    the_directory_is_private_and_ignored_by_git,
    sigterm_answers_what_is_in_flight_and_ends_with_success,
    it_refuses_to_listen_beyond_loopback,
];

// A4.1
fn killed_and_started_again_it_has_everything() -> Result<()> {
    let mut myna = Platform::start()?;
    let before = myna.keys();
    {
        let f = myna.draft("survivor", "import os\ndef handler(e, c):\n    return os.environ['COLOUR']\n");
        let f = f.set("Environment", json!({"Variables": {"COLOUR": "green"}})).create()?;
        f.api("POST", "/versions", &json!({}))?;
        f.api("POST", "/aliases", &json!({"Name": "live", "FunctionVersion": "1"}))?;
        ensure!(f.call(json!({}))? == "green");
    }
    myna.kill()?;
    myna.start_again()?;
    ensure!((before.id, before.secret) == (myna.keys().id, myna.keys().secret), "the credentials are the same");
    let f = myna.function("survivor");
    ensure!(f.invoke_bytes("live", b"{}", &[])?.json()? == "green");
    let aliases = f.api("GET", "/aliases", &json!(null))?;
    ensure!(aliases["Aliases"][0]["Name"] == "live", "{aliases}");
    Ok(())
}

// F20a
fn a_second_platform_on_the_same_directory_is_refused() -> Result<()> {
    let myna = Platform::start()?;
    let mut second = Command::new(binary()?);
    second.args(["up", "--listen", "127.0.0.1:0", "--console", "127.0.0.1:0", "--dir"]).arg(myna.dir());
    let out = second.env("HOME", myna.home()).output()?;
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    ensure!(out.status.code().is_some_and(|c| c != 0), "{:?}: {said}", out.status);
    ensure!(said.contains(&myna.pid().to_string()) || said.contains("already"), "it says who has it: {said}");
    let f = myna.python("unharmed", "def handler(e, c): return 1")?;
    ensure!(f.call(json!({}))? == 1, "the first one goes on");
    Ok(())
}

fn the_directory_is_private_and_ignored_by_git() -> Result<()> {
    let myna = Platform::start()?;
    ensure!(fs::metadata(myna.dir())?.permissions().mode() & 0o777 == 0o700);
    ensure!(fs::read_to_string(myna.dir().join(".gitignore"))?.trim() == "*");
    Ok(())
}

// F4a
fn sigterm_answers_what_is_in_flight_and_ends_with_success() -> Result<()> {
    let mut myna = Platform::start()?;
    let source = "import time\ndef handler(e, c):\n    print('begun', flush=True)\n    time.sleep(e)\n    return 'finished'\n";
    myna.python("slow", source)?.call(json!(0))?;
    let answer = thread::scope(|s| -> Result<_> {
        let call = s.spawn(|| myna.function("slow").call(json!(2)));
        myna.until_logged("slow", "begun", 2)?;
        myna.signal(Signal::TERM)?;
        call.join().expect("the call does not panic")
    })?;
    ensure!(answer == "finished", "{answer}");
    let status = myna.ended()?;
    ensure!(status.success(), "it ended with {status}");
    Ok(())
}

fn it_refuses_to_listen_beyond_loopback() -> Result<()> {
    let mut myna = Platform::prepare(Options { args: vec!["--listen".into(), "0.0.0.0:0".into()], ..Options::default() })?;
    let status = myna.refused()?;
    ensure!(!status.success() && myna.log().contains("loopback"), "{status}: {}", myna.log());
    Ok(())
}
