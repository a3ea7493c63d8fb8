//! What there is after the first start, and what there need not be: one binary, one directory, nothing beside them, and nothing open.

use super::command_line::{folder, serde_json_from, verb};
use myna_tests::{Context, Http, Options, Platform, Result, Test, binary, ensure, json, processes, skip, tests};
use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

pub const ALL: &[Test] =
    tests![one_binary_and_one_directory_are_all_there_is, nothing_else_has_to_be_kept_alive, it_is_secure_from_the_first_start,];

/// A runtime of nothing but the machine's shell: what it is sent is what it answers.
const BOOTSTRAP: &str = r#"#!/bin/sh
api="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation"
while curl -sf -D /tmp/head -o /tmp/event "$api/next"; do
    id=$(sed -n 's/^lambda-runtime-aws-request-id: *\([^[:space:]]*\).*/\1/Ip' /tmp/head)
    curl -sf -o /dev/null --data-binary @/tmp/event "$api/$id/response"
done
"#;

fn shell_function(myna: &Platform) -> Result<()> {
    if !Path::new("/usr/bin/curl").exists() {
        return Err(skip("/usr/bin/curl is missing: apt-get install curl"));
    }
    folder(myna, "echo", &[("bootstrap", BOOTSTRAP)])?;
    fs::set_permissions(myna.home().join("echo/bootstrap"), fs::Permissions::from_mode(0o755))?;
    verb(myna, &["deploy", "echo"])?;
    let said = serde_json_from(&verb(myna, &["invoke", "echo", "-d", r#"{"a": 1}"#])?)?;
    ensure!(said == json!({"a": 1}), "{said}");
    Ok(())
}

/// Every file that a process has mapped.
fn mapped(pid: u32) -> Result<BTreeSet<PathBuf>> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let path = |l: &str| l.find('/').map(|at| PathBuf::from(&l[at..]));
    Ok(maps.lines().filter_map(path).collect())
}

/// Every file of this machine that a process holds open: neither the kernel's own, nor those of an instance's own `/tmp`.
fn open(pid: u32) -> Result<BTreeSet<PathBuf>> {
    let kernels = ["/proc", "/sys", "/dev"];
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))?.flatten() {
        let (Ok(path), Ok(is)) = (fs::read_link(entry.path()), fs::metadata(entry.path())) else { continue };
        let here = fs::metadata(&path).is_ok_and(|there| (there.dev(), there.ino()) == (is.dev(), is.ino()));
        if here && !kernels.iter().any(|k| path.starts_with(k)) {
            found.insert(path);
        }
    }
    Ok(found)
}

// D1
fn one_binary_and_one_directory_are_all_there_is() -> Result<()> {
    const LIBRARIES: [&str; 4] = ["libc.so.", "libm.so.", "libgcc_s.so.", "ld-linux"];
    // With nothing of this machine's programs to find.
    let through = ["/usr/bin/env", "PATH=/nonexistent"].map(str::to_owned).to_vec();
    let myna = Platform::start_with(Options { through, ..Options::default() })?;
    shell_function(&myna)?;
    let own = binary()?.canonicalize()?;
    for path in mapped(myna.pid())? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let known = path == own || path.starts_with(myna.dir()) || LIBRARIES.iter().any(|l| name.starts_with(l));
        ensure!(known || name.starts_with("memfd:"), "it needs {}", path.display());
    }
    for path in open(myna.pid())? {
        ensure!(path.starts_with(myna.dir()), "it holds {} open", path.display());
    }
    let beside: BTreeSet<_> =
        fs::read_dir(myna.home())?.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    // `.local/state` is where the command line looks for platforms of this user: a hint and no state. The key that the directory is
    // sealed with may not lie in it, and is the one file of `.config`.
    let expected = [".config", ".local", ".myna", "echo"].map(str::to_owned).into();
    ensure!(beside == expected, "it wrote beside its directory: {beside:?}");
    let mut config = myna.home().join(".config");
    for only in ["myna", "keys"] {
        let found: Vec<_> = fs::read_dir(&config)?.flatten().map(|e| e.path()).collect();
        config.push(only);
        ensure!(found == [config.clone()], "it wrote beside its directory: {found:?}");
    }
    let keys: Vec<_> = fs::read_dir(&config)?.flatten().map(|e| e.path()).collect();
    ensure!(keys.len() == 1 && keys[0].extension().is_some_and(|e| e == "key"), "{keys:?}");
    Ok(())
}

// D3: its network has no other side, so whatever it needed from there would be missing.
fn nothing_else_has_to_be_kept_alive() -> Result<()> {
    if fs::metadata("/proc/self")?.uid() != 0 || !Path::new("/sbin/ip").exists() {
        return Err(skip("only root can give it a network of its own, with /sbin/ip of iproute2"));
    }
    let script = "/sbin/ip link set lo up && exec \"$@\"";
    let through = ["unshare", "--net", "sh", "-c", script, "sh"].map(str::to_owned).to_vec();
    let mut myna = Platform::start_with(Options { through, ..Options::default() })?;
    let helpers = processes::children_of(myna.pid());
    ensure!(helpers.len() == 1, "it keeps {} processes beside itself", helpers.len());
    ensure!(is_spawner(helpers[0]), "a helper that is none of its own");
    let tcp = fs::read_to_string(format!("/proc/{}/net/tcp", myna.pid()))?
        + &fs::read_to_string(format!("/proc/{}/net/tcp6", myna.pid()))?;
    let listening = tcp.lines().filter(|l| l.split_whitespace().nth(3) == Some("0A")).count();
    ensure!(listening == 2, "the AWS door and the console listen, and {} more: {tcp}", listening.saturating_sub(2));
    shell_function(&myna)?;
    myna.stop()?;
    myna.start_again()?;
    let said = verb(&myna, &["invoke", "echo", "-d", "2"])?;
    ensure!(said.trim() == "2", "after a restart: {said}");
    Ok(())
}

// E
fn it_is_secure_from_the_first_start() -> Result<()> {
    let (myna, other) = (Platform::start()?, Platform::start()?);
    let (mine, theirs) = (myna.keys(), other.keys());
    ensure!(mine.id != theirs.id && mine.secret != theirs.secret && mine.secret.len() >= 40, "credentials are not random");
    ensure!(fs::metadata(myna.dir())?.mode() & 0o777 == 0o700);
    for entry in walk(&myna.dir())? {
        let meta = fs::symlink_metadata(&entry)?;
        ensure!(meta.mode() & 0o022 == 0 || meta.file_type().is_symlink(), "others may write {}", entry.display());
        let holds = meta.is_file() && fs::read(&entry)?.windows(mine.secret.len()).any(|w| w == mine.secret.as_bytes());
        ensure!(!holds || meta.mode() & 0o777 == 0o600, "{} has a secret and mode {:o}", entry.display(), meta.mode());
    }

    // The control plane is a socket of its own; neither door answers for it, and the doors not for each other.
    ensure!(fs::metadata(&myna.ready().admin)?.file_type().is_socket());
    let console = myna.ready().console.clone().context("there is a console")?.replace("console.localhost", "127.0.0.1");
    for path in ["/admin/v1/status", "/admin/v1/access", "/admin/v1/console-link", "/2015-03-31/functions"] {
        for door in [&myna.ready().aws, console.trim_end_matches('/')] {
            let answer = Http::default().get(&format!("{door}{path}"))?;
            ensure!(answer.status >= 400, "{door}{path} answered {}: {}", answer.status, answer.text());
        }
        let signed = myna.signed("lambda", "GET", path, &[], b"")?;
        ensure!(path.contains("functions") || signed.status >= 400, "signed, {path} answered {}", signed.status);
    }

    // A function is its owner's until it is opened: neither an address nor its openness alone does that.
    let source = "import os, socket\ndef handler(event, context):\n    \
                  return [p for p in ('/var/run/docker.sock', '/run/docker.sock', '/.dockerenv') if os.path.exists(p)]\n";
    let f = myna.python("private", source)?;
    ensure!(f.call(json!({}))? == json!([]));
    let made = f.operation("POST", "/2021-10-31/functions/private/url", &json!({"AuthType": "NONE"}))?;
    let url = made["FunctionUrl"].as_str().context("an address")?.trim_start_matches("http://").to_owned();
    let at = format!("{}/_url/{}/", myna.ready().aws, url.split('.').next().unwrap_or_default());
    ensure!(Http::default().get(&at)?.status == 403, "an address alone opened the function");
    f.api(
        "POST",
        "/policy",
        &json!({"StatementId": "all", "Action": "lambda:InvokeFunctionUrl", "Principal": "*", "FunctionUrlAuthType": "NONE"}),
    )?;
    ensure!(Http::default().get(&at)?.status == 200, "its owner opened it");

    // Beside user code nobody is root.
    let root = fs::metadata("/proc/self")?.uid() == 0;
    let mut seen = 0;
    for pid in processes::below(myna.pid()) {
        let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else { continue };
        let field = |name: &str| status.lines().find_map(|l| l.strip_prefix(name)).unwrap_or_default().trim().to_owned();
        if is_spawner(pid) {
            continue;
        }
        seen += 1;
        let ids: Vec<_> = field("Uid:").split_whitespace().map(str::to_owned).collect();
        ensure!(!root || ids.iter().all(|id| id != "0"), "{} is root on this machine: {ids:?}", field("Name:"));
    }
    ensure!(seen > 0, "no process of the function was seen");
    Ok(())
}

/// The one helper that a platform has; it makes sandboxes, and runs none of the user's code.
fn is_spawner(pid: u32) -> bool {
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|c| c.starts_with(b"myna-spawner"))
}

fn walk(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.extend(walk(&entry.path())?);
        }
        found.push(entry.path());
    }
    Ok(found)
}
