//! What stands between a function and the machine, looked at from both sides.

use myna_tests::{Platform, Result, Test, ensure, json, processes, tests};
use rustix::fs::{SealFlags, fcntl_get_seals};
use std::fs;

pub const ALL: &[Test] =
    tests![what_makes_sandboxes_runs_from_memory_that_nobody_can_change, no_path_of_the_host_shows_in_a_list_of_mounts];

/// The spawner and the instances' inits, which are forks of it.
fn helpers(myna: &Platform) -> Vec<u32> {
    let named = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|c| c.starts_with("myna-spawner"));
    processes::below(myna.pid()).into_iter().filter(named).collect()
}

// H71
fn what_makes_sandboxes_runs_from_memory_that_nobody_can_change() -> Result<()> {
    let myna = Platform::start()?;
    let source = r#"
import glob, os
def handler(event, context):
    written = []
    for path in glob.glob('/proc/[0-9]*/exe') + ['/proc/self/exe', '/proc/thread-self/exe', '/proc/1/exe', '/proc/self/fd/../exe']:
        for flags in (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC, os.O_WRONLY | os.O_APPEND):
            try:
                os.close(os.open(path, flags))
                written.append(path)
            except OSError:
                pass
    return written
"#;
    let f = myna.python("overwriter", source)?;
    ensure!(f.call(json!(1))? == json!([]), "it opened an executable for writing: {}", f.call(json!(1))?);

    // The same from where nothing is forbidden: the host's root.
    let helpers = helpers(&myna);
    ensure!(helpers.len() >= 2, "a spawner and an init were expected: {helpers:?}");
    let all = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    for pid in helpers {
        let path = format!("/proc/{pid}/exe");
        let at = fs::read_link(&path)?;
        ensure!(at.to_string_lossy().starts_with("/memfd:"), "process {pid} runs {}", at.display());
        let seals = fcntl_get_seals(fs::File::open(&path)?)?;
        ensure!(seals.contains(all), "process {pid} runs from memory sealed by {seals:?} only");
        let opened = fs::OpenOptions::new().write(true).open(&path);
        ensure!(opened.is_err(), "the executable of {pid} can be opened for writing");
        let executables = [fs::read_link(format!("/proc/{}/exe", myna.pid()))?, myna_tests::binary()?];
        ensure!(!executables.contains(&at), "process {pid} runs the file itself");
    }

    // A package whose program is "whatever starts me": the helper's own image, with the function's words as arguments.
    for (name, first) in [("itself", "#!/proc/self/exe\n"), ("itself-as-helper", "#!/proc/self/exe myna-spawner\n")] {
        let f =
            myna.draft(name, "").set("Runtime", "provided.al2023").set("Handler", "x").set("Timeout", 5).file("bootstrap", first);
        let answer = f.create()?.invoke(&json!(1))?;
        ensure!(answer.error.is_some(), "{name} answered {}", answer.text());
    }
    ensure!(f.call(json!(1))? == json!([]));
    Ok(())
}

// H73
fn no_path_of_the_host_shows_in_a_list_of_mounts() -> Result<()> {
    let myna = Platform::start()?;
    let source = r#"
import glob
def read(path):
    try:
        return open(path).read()
    except OSError:
        return ''
def handler(event, context):
    lists = {name: read('/proc/self/' + name) for name in ('mountinfo', 'mounts', 'mountstats', 'maps', 'cgroup')}
    lists['fdinfo'] = ''.join(read(p) for p in glob.glob('/proc/self/fdinfo/*'))
    return lists
"#;
    let script = "const fs = require('fs');\nexports.handler = async () => Object.fromEntries(['mountinfo', 'mounts', 'mountstats', 'maps', 'cgroup'].map(n => [n, fs.readFileSync('/proc/self/' + n, 'utf8')]));\n";
    let (dir, home) = (myna.dir().display().to_string(), std::env::var("HOME").unwrap_or_else(|_| "/root".into()));
    let node = myna.draft("node", "").file("index.js", script).set("Runtime", "nodejs20.x").set("Handler", "index.handler");
    for f in [myna.python("python", source)?, node.create()?] {
        let seen = f.call(json!(1))?;
        let info = seen["mountinfo"].as_str().unwrap_or_default();
        ensure!(info.lines().any(|l| l.split(' ').nth(4) == Some("/var/task")), "the package is not mounted: {info}");
        for line in info.lines() {
            let fields: Vec<&str> = line.split(' ').collect();
            // What a mount shows: a whole file system, a folder of the system's that is called the same here, a bare file.
            let (root, at) = (fields[3], fields[4]);
            let system = root == at && at.starts_with("/usr/");
            let bare = root.rfind('/') == Some(0) && at.ends_with(root);
            let own = root == "/" || system || bare || root == "/mask";
            ensure!(own, "{}: {at} shows where it comes from: {line}", f.name);
        }
        for what in [dir.as_str(), home.as_str(), "/myna", "/var/tmp/", "/home/", "packages/", ".pyenv"] {
            ensure!(!seen.to_string().contains(what), "{}: it sees {what}: {seen}", f.name);
        }
    }
    Ok(())
}
