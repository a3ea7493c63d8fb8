//! What the tests need and a new machine may lack: real clients of the systems that Myna speaks.
//!
//! Installed while the build runs, into `.deps/` of the clone or MYNA_DEPS_DIR. Nothing is installed twice: a stamp beside each
//! set holds the text that asked for it. MYNA_DEPS_SKIP names sets that are left out. Debian's packages are installed only when
//! a program is missing and only as root; a developer without root is told the command instead, and the tests that need the
//! program skip themselves aloud.

mod debian;
mod peers;

pub use peers::{nats, peers};

use anyhow::{Context, Result, bail};
use std::{
    env::consts::ARCH,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The variable that names sets to leave out, with commas between them.
const SKIP: &str = "MYNA_DEPS_SKIP";
const ALL: &str = "all";

/// The Python packages of the test clients, with their versions.
const REQUIREMENTS: &str = "tests/requirements.txt";

/// Amazon's own runtime client for Python: each release with the Python that it is run on.
const RUNTIME_CLIENTS: &[(&str, &str)] = &[("4.2.2", "3.11"), ("4.0.4", "3.9"), ("2.2.1", "3.8")];
/// The same for Node.js. Its native part is compiled when it is installed: a minute of processor time.
const NODE_CLIENT: &str = "aws-lambda-ric-3.3.0";
/// What people build functions with, for the Python and the Node.js that the tests' functions run on.
const PYTHON_FRAMEWORKS: &[&str] = &["aws-lambda-powertools==3.37.0", "mangum==0.22.0", "fastapi==0.165.0"];
const NODE_FRAMEWORKS: &[&str] = &["@middy/core@6", "serverless-http@4", "express@5"];

/// Debian's, unpacked and not installed: its package would start a server.
const PROMETHEUS: &str = "prometheus";

pub fn dir() -> PathBuf {
    match std::env::var_os("MYNA_DEPS_DIR") {
        Some(d) => crate::root().join(d),
        None => crate::root().join(".deps"),
    }
}

/// What is had at once, or not at all: its name and what it does.
type Set = (String, Box<dyn FnOnce() -> Result<()>>);

/// In this order: what a set needs stands before it.
fn sets() -> Vec<Set> {
    let mut all: Vec<Set> = vec![("debian".into(), Box::new(debian::install)), ("clients".into(), Box::new(clients))];
    all.push((PROMETHEUS.into(), Box::new(|| once(PROMETHEUS, |new| debian::unpacked(new, PROMETHEUS)))));
    for (release, version) in RUNTIME_CLIENTS {
        let name = format!("awslambdaric-{release}");
        let wanted = format!("awslambdaric=={release}");
        all.push((name.clone(), Box::new(move || once(&name, |new| wheels(new, version, &[&wanted])))));
    }
    let python = || once("frameworks-python", |new| wheels(new, "3.11", PYTHON_FRAMEWORKS));
    all.push(("frameworks-python".into(), Box::new(python)));
    all.push(("frameworks-node".into(), Box::new(|| once("frameworks-node", |new| npm(new, NODE_FRAMEWORKS)))));
    all.push((NODE_CLIENT.into(), Box::new(|| once(NODE_CLIENT, node_client))));
    all
}

/// Returns what could not be had, one line each. A set that fails takes no other along: what needs it skips itself aloud, or fails.
pub fn install() -> Result<Vec<String>> {
    fs::create_dir_all(dir()).with_context(|| format!("can't make {}", dir().display()))?;
    let asked = std::env::var(SKIP).unwrap_or_default();
    had(sets(), &asked)
}

fn had(sets: Vec<Set>, skip: &str) -> Result<Vec<String>> {
    let words: Vec<&str> = skip.split([',', ' ']).filter(|w| !w.is_empty()).collect();
    let names: Vec<&str> = sets.iter().map(|(name, _)| name.as_str()).collect();
    if let Some(word) = words.iter().find(|w| **w != ALL && !names.contains(w)) {
        bail!("{SKIP} names {word:?}; there are: {ALL}, {}", names.join(", "));
    }
    let mut lacking = Vec::new();
    for (name, get) in sets {
        if words.iter().any(|w| *w == ALL || *w == name) {
            lacking.push(format!("left out: {name}, as {SKIP} asks"));
        } else if let Err(e) = get() {
            lacking.push(format!("missing: {name}: {e:#}"));
        }
    }
    Ok(lacking)
}

/// The venv of the tests' own clients.
fn clients() -> Result<()> {
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
    // pip calls the processors by the names that Rust has for them.
    pip.arg(format!("--platform=manylinux2014_{ARCH}"));
    pip.args(["--python-version", version, "--target"]).arg(into).args(packages);
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::{cell::RefCell, rc::Rc};

    fn told(skip: &str) -> (Result<Vec<String>>, Vec<&'static str>) {
        let ran = Rc::new(RefCell::new(Vec::new()));
        let set = |name: &'static str, works: bool| -> Set {
            let ran = ran.clone();
            let get = move || {
                ran.borrow_mut().push(name);
                if works { Ok(()) } else { bail!("no network") }
            };
            (name.into(), Box::new(get))
        };
        let lacking = had(vec![set("debian", false), set("clients", true), set("frameworks", false)], skip);
        (lacking, ran.take())
    }

    #[test]
    fn a_set_that_fails_abandons_no_other_and_any_may_be_left_out() {
        let (lacking, ran) = told("");
        assert_eq!(ran, ["debian", "clients", "frameworks"]);
        assert_eq!(lacking.unwrap(), ["missing: debian: no network", "missing: frameworks: no network"]);
        let (lacking, ran) = told("debian,frameworks");
        assert_eq!((ran, lacking.unwrap().len()), (vec!["clients"], 2));
        assert!(told("all").1.is_empty());
        let (lacking, ran) = told("debain");
        assert!(ran.is_empty() && lacking.unwrap_err().to_string().contains("clients"));
    }
}
