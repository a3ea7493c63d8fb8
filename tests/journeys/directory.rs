//! The state directory: one platform at a time, nobody else's, and everything is there again after a crash.

use myna_tests::{Options, Platform, Result, Signal, Test, binary, ensure, json, skip, tests};
use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::{PermissionsExt, chown, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

pub const ALL: &[Test] = tests![
    killed_and_started_again_it_has_everything,
    a_second_platform_on_the_same_directory_is_refused,
    the_directory_is_private_and_ignored_by_git,
    sigterm_answers_what_is_in_flight_and_ends_with_success,
    it_refuses_to_listen_beyond_loopback,
    a_directory_of_a_newer_version_is_refused_untouched,
    directories_that_are_not_safe_are_refused,
    a_directory_in_memory_is_refused_unless_it_is_asked_for,
    a_signal_right_after_ready_is_a_drain_too,
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

/// Starts on a directory that must be refused, and returns what was said.
fn refusal(myna: &mut Platform) -> Result<String> {
    let status = myna.refused()?;
    ensure!(status.code().is_some_and(|c| c != 0), "{status}");
    Ok(myna.log())
}

// F57a
fn a_directory_of_a_newer_version_is_refused_untouched() -> Result<()> {
    let mut myna = Platform::start()?;
    myna.python("kept", "def handler(e, c): return 1")?;
    myna.stop()?;
    let format = myna.dir().join("FORMAT");
    fs::write(&format, "4711\n")?;
    let before = contents(&myna.dir())?;
    let said = refusal(&mut myna)?;
    ensure!(said.contains("4711") && said.contains("newer"), "{said}");
    ensure!(contents(&myna.dir())? == before, "the refusal changed something");
    fs::write(&format, "1\n")?;
    myna.start_again()?;
    ensure!(myna.function("kept").call(json!({}))? == 1);
    Ok(())
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

// H55, F20c
fn directories_that_are_not_safe_are_refused() -> Result<()> {
    type Spoil = fn(&Path) -> std::io::Result<()>;
    let spoilt: [(&str, Spoil); 5] = [
        ("writable by others", |dir| fs::set_permissions(dir, fs::Permissions::from_mode(0o777))),
        ("a link where a folder belongs", |dir| {
            fs::remove_dir_all(dir.join("packages"))?;
            symlink("/etc", dir.join("packages"))
        }),
        ("a link where a file belongs", |dir| {
            fs::remove_file(dir.join("FORMAT"))?;
            symlink("/etc/hostname", dir.join("FORMAT"))
        }),
        ("secrets that others may read", |dir| {
            for file in fs::read_dir(dir.join("secrets"))?.flatten() {
                fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644))?;
            }
            Ok(())
        }),
        ("another's", |dir| chown(dir, Some(65534), None)),
    ];
    for (what, spoil) in spoilt {
        let mut myna = Platform::start()?;
        myna.stop()?;
        spoil(&myna.dir())?;
        let said = refusal(&mut myna)?;
        ensure!(said.contains(&*myna.dir().to_string_lossy()), "{what}: the refusal names no path: {said}");
    }
    let mut myna = Platform::prepare(Options::default())?;
    fs::create_dir(myna.dir())?;
    fs::write(myna.dir().join("thesis.txt"), "of somebody else")?;
    ensure!(refusal(&mut myna)?.contains("thesis.txt"), "a folder of other things is taken over");
    Ok(())
}

// F20d
fn a_directory_in_memory_is_refused_unless_it_is_asked_for() -> Result<()> {
    let memory =
        tempfile::Builder::new().prefix("myna-test-").tempdir_in("/dev/shm").map_err(|e| skip(format!("/dev/shm: {e}")))?;
    if rustix::fs::statfs(memory.path())?.f_type as u32 != 0x0102_1994 {
        return Err(skip("/dev/shm is no tmpfs here"));
    }
    let mut up = Command::new(binary()?);
    up.args(["up", "--json", "--listen", "127.0.0.1:0", "--console", "127.0.0.1:0", "--dir"]).arg(memory.path().join("state"));
    up.env("HOME", memory.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let refused = up.output()?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(!refused.status.success() && said.contains("a reboot empties") && said.contains("--volatile"), "{said}");
    let mut running = up.arg("--volatile").spawn()?;
    let mut first = String::new();
    BufReader::new(running.stdout.take().expect("stdout is piped")).read_line(&mut first)?;
    let ended = myna_tests::kill(running.id(), Signal::TERM).and_then(|()| Ok(running.wait()?));
    ensure!(first.contains("\"ready\":true") && ended?.success(), "{first}");
    Ok(())
}

// F4a: whoever reads "ready" may be a supervisor that stops it at once.
fn a_signal_right_after_ready_is_a_drain_too() -> Result<()> {
    let mut myna = Platform::prepare(Options::default())?;
    for _ in 0..12 {
        myna.start_again()?;
        let status = myna.stop()?;
        ensure!(status.success(), "a SIGTERM right after its start ended it with {status}");
    }
    Ok(())
}
