//! `cargo xtask demo`: builds the binary, starts a platform of its own and lets the binary tell its story on it; then a compiled
//! function, since building needs the project around it. The platform and its directory go away at the end.

use crate::cargo;
use anyhow::{Context, Result, anyhow, bail};
use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// On a disk: the platform refuses to keep its state in memory.
const HOMES: &str = "/var/tmp";

pub fn run(args: &[String]) -> Result<bool> {
    let built = cargo::build(&["--package", "myna", "--bins"])?;
    let Some(myna) = built.iter().find(|b| !b.is_test && b.target == "myna") else { bail!("the binary 'myna' was not built") };
    let home = PathBuf::from(HOMES).join(format!("myna-demo-{}", std::process::id()));
    fs::create_dir_all(&home).with_context(|| format!("can't make {}", home.display()))?;
    let shown = show(&myna.path, &home, args);
    fs::remove_dir_all(&home).with_context(|| format!("can't remove {}", home.display()))?;
    shown
}

fn show(myna: &Path, home: &Path, args: &[String]) -> Result<bool> {
    let mut platform = start(myna, home)?;
    let told = story(myna, home, args);
    let asked = Command::new("kill").args(["-TERM", &platform.id().to_string()]).status().context("can't run kill")?;
    if !asked.success() {
        platform.kill().context("can't stop the platform")?;
    }
    let ended = platform.wait()?;
    Ok(told? && ended.success())
}

fn start(myna: &Path, home: &Path) -> Result<Child> {
    let mut up = Command::new(myna);
    up.args(["up", "--listen", "127.0.0.1:0", "--console", "127.0.0.1:0", "--json", "--dir"]).arg(home.join(".myna"));
    let mut child = up.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("can't start myna")?;
    let mut line = String::new();
    let stdout = child.stdout.take().ok_or_else(|| anyhow!("the platform has no output"))?;
    BufReader::new(stdout).read_line(&mut line)?;
    if !line.contains("\"ready\":true") {
        let ended = child.wait()?;
        bail!("the platform was not ready ({ended}): {line}");
    }
    Ok(child)
}

fn story(myna: &Path, home: &Path, args: &[String]) -> Result<bool> {
    let verb = |words: &[&str]| -> Result<bool> {
        let mut c = Command::new(myna);
        c.args(words).env("MYNA_DIR", home.join(".myna")).current_dir(home);
        Ok(c.status().with_context(|| format!("can't run myna {}", words.join(" ")))?.success())
    };
    let extra: Vec<&str> = args.iter().map(String::as_str).collect();
    let concurrent: &[&str] = if args.iter().any(|a| a == "--concurrent") { &[] } else { &["--concurrent", "50"] };
    let told = verb(&[&["demo"][..], concurrent, &extra].concat())?;
    Ok(told & compiled(&verb)?)
}

/// Go builds in seconds; Rust is taken where there is no Go.
fn compiled(verb: &impl Fn(&[&str]) -> Result<bool>) -> Result<bool> {
    let exists =
        |program: &str| Command::new(program).arg("version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    let like = if exists("go") { "lambda-go" } else { "lambda-rust" };
    println!("a compiled function ({like})");
    Ok(verb(&["init", "--like", like, "demo-compiled"])?
        && verb(&["deploy", "demo-compiled", "--build"])?
        && verb(&["invoke", "demo-compiled", "-d", r#"{"name": "Myna"}"#, "--tail"])?
        && verb(&["invoke", "demo-compiled", "-d", r#"{"name": "again, warm"}"#, "--tail"])?)
}
