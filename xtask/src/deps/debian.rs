//! Debian's packages: programs of other people that no language's registry has.

use super::quiet;
use anyhow::{Context, Result, bail};
use std::{
    path::Path,
    process::{Command, Stdio},
};

/// How a package's being there is seen.
enum Seen {
    /// A file. Full paths where a test starts the program by one: a PATH entry may be a version manager's shim.
    At(&'static str),
    /// This command succeeds.
    Runs(&'static [&'static str]),
}
use Seen::{At, Runs};

const PACKAGES: &[(Seen, &str)] = &[
    (Runs(&["python3", "--version"]), "python3"),
    (Runs(&["python3", "-c", "import ensurepip, venv"]), "python3-venv"),
    (Runs(&["node", "--version"]), "nodejs"),
    (Runs(&["npm", "--version"]), "npm"),
    (At("/usr/bin/aws"), "awscli"),
    (At("/usr/bin/curl"), "curl"),
    (At("/usr/bin/chromium"), "chromium"),
    (At("/usr/bin/chromedriver"), "chromium-driver"),
    (At("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"), "libfaketime"),
    // What npm aws-lambda-ric is built with.
    (At("/usr/bin/autoconf"), "autoconf"),
    (At("/usr/bin/automake"), "automake"),
    (At("/usr/bin/libtoolize"), "libtool"),
    (At("/usr/bin/cmake"), "cmake"),
    (At("/usr/bin/g++"), "g++"),
    (At("/usr/bin/make"), "make"),
];

impl Seen {
    fn there(&self) -> bool {
        match self {
            At(path) => Path::new(path).exists(),
            Runs(words) => {
                let mut c = Command::new(words[0]);
                c.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
                c.status().is_ok_and(|s| s.success())
            }
        }
    }
}

pub fn install() -> Result<()> {
    let missing: Vec<&str> = PACKAGES.iter().filter(|(seen, _)| !seen.there()).map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if !Path::new("/usr/bin/apt-get").exists() || !is_root()? {
        bail!("{list}; install with: sudo apt-get install {list}");
    }
    quiet(Command::new("apt-get").args(["update", "-qq"])).with_context(|| list.clone())?;
    // One by one, so that one that can't be had takes no other along.
    let failed: Vec<String> =
        missing.iter().filter_map(|package| quiet(&mut installing(package)).err().map(|e| format!("{package}: {e:#}"))).collect();
    if failed.is_empty() { Ok(()) } else { bail!("{}", failed.join("\n")) }
}

/// A package's files below a folder, without installing anything.
pub fn unpacked(into: &Path, package: &str) -> Result<()> {
    quiet(Command::new("apt-get").args(["download", "-qq", package]).current_dir(into))?;
    let mut files = std::fs::read_dir(into).with_context(|| format!("can't list {}", into.display()))?;
    let archive = files.find_map(|f| f.ok().map(|f| f.path()).filter(|p| p.extension().is_some_and(|e| e == "deb")));
    let archive = archive.with_context(|| format!("apt-get downloaded no {package}"))?;
    quiet(Command::new("dpkg").arg("-x").arg(&archive).arg(into))?;
    std::fs::remove_file(&archive).with_context(|| format!("can't remove {}", archive.display()))
}

fn installing(package: &str) -> Command {
    let mut c = Command::new("apt-get");
    c.args(["install", "-y", "-qq", "--no-install-recommends", package]).env("DEBIAN_FRONTEND", "noninteractive");
    c
}

fn is_root() -> Result<bool> {
    let id = Command::new("id").arg("-u").output().context("can't run id")?;
    Ok(id.stdout.trim_ascii() == b"0")
}
