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
];

/// The Python packages of the test clients, with their versions.
const REQUIREMENTS: &str = "tests/requirements.txt";

const RUNTIME_CLIENT: &str = "awslambdaric==4.2.2";

pub fn dir() -> PathBuf {
    match std::env::var_os("MYNA_DEPS_DIR") {
        Some(d) => crate::root().join(d),
        None => crate::root().join(".deps"),
    }
}

/// Returns what could not be had, one line each; the error is for what must not fail.
pub fn install() -> Result<Vec<String>> {
    fs::create_dir_all(dir()).with_context(|| format!("can't make {}", dir().display()))?;
    let lacking = debian()?;
    python()?;
    runtime_client()?;
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

/// Amazon's own runtime client for Python, for the Python that the tests' functions run on, whatever runs pip.
fn runtime_client() -> Result<()> {
    let folder = dir().join(RUNTIME_CLIENT.replace("==", "-"));
    if folder.is_dir() {
        return Ok(());
    }
    let fresh = dir().join("awslambdaric.new");
    if fresh.exists() {
        fs::remove_dir_all(&fresh).with_context(|| format!("can't remove {}", fresh.display()))?;
    }
    let mut pip = Command::new(dir().join("venv/bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:", "--python-version=3.11"]);
    pip.args(["--implementation=cp", "--platform=manylinux2014_x86_64", "--target"]).arg(&fresh).arg(RUNTIME_CLIENT);
    quiet(&mut pip)?;
    fs::rename(&fresh, &folder).with_context(|| format!("can't make {}", folder.display()))
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
