//! `cargo xtask demo`: builds the binary, starts a platform of its own and lets the binary tell its story on it: functions in
//! two interpreted languages and a compiled one. The platform and its directory go away at the end.

use crate::cargo;
use anyhow::{Context, Result, anyhow, bail};
use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Instant,
};

/// On a disk: the platform refuses to keep its state in memory.
const HOMES: &str = "/var/tmp";

const CONCURRENT: &str = "50";

/// Instances go soon after their last call, so that the way down is seen too.
const SETTINGS: &str = "[engine]\nkeep_alive = 2\n";

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
    let settings = home.join("platform.toml");
    fs::write(&settings, SETTINGS).with_context(|| format!("can't write {}", settings.display()))?;
    let mut up = Command::new(myna);
    up.args(["up", "--listen", "127.0.0.1:0", "--console", "127.0.0.1:0", "--json", "--dir"]).arg(home.join(".myna"));
    up.arg("--config").arg(&settings);
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
    let compiled = compiled();
    println!(
        "\na function in Python, one in Node.js, one compiled ({compiled}), as far as this machine has the languages; each is called \
         cold, warm, and {CONCURRENT} times at once\n"
    );
    let made = Command::new(myna)
        .args(["init", "--like", compiled, "demo-compiled"])
        .current_dir(home)
        .output()
        .context("can't run myna init")?;
    if !made.status.success() {
        bail!("no project could be made for {compiled}: {}", String::from_utf8_lossy(&made.stderr));
    }
    let mut words = vec!["demo", "--also", "demo-compiled", "--to-zero"];
    if !args.iter().any(|a| a.starts_with("--concurrent")) {
        words.extend(["--concurrent", CONCURRENT]);
    }
    words.extend(args.iter().map(String::as_str));
    let began = Instant::now();
    let told = verb(&words)?;
    println!("all of it took {:.0} s", began.elapsed().as_secs_f64());
    Ok(told)
}

/// Go builds in seconds; Rust is taken where there is no Go, since who runs this has it.
fn compiled() -> &'static str {
    let go = Command::new("go").arg("version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if go.is_ok_and(|s| s.success()) { "lambda-go" } else { "lambda-rust" }
}
