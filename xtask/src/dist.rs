//! `cargo xtask dist`: the release binary, the licences of what is inside it, and a checksum, below `target/dist`.

use crate::{cargo, depends};
use anyhow::{Context, Result, bail};
use std::{collections::BTreeSet, fmt::Write as _, fs, process::Command};

pub fn run(args: &[String]) -> Result<bool> {
    anyhow::ensure!(args.is_empty(), "dist takes no argument");
    let wrong = depends::wrong()?;
    anyhow::ensure!(wrong.is_empty(), "the dependencies break deny.toml:\n{}", wrong.join("\n"));
    let built = cargo::build(&["--release", "--locked", "--package", "myna", "--bins"])?;
    let Some(myna) = built.iter().find(|b| !b.is_test && b.target == "myna") else { bail!("the binary 'myna' was not built") };
    let dist = cargo::target_dir().join("dist");
    fs::create_dir_all(&dist).with_context(|| format!("can't make {}", dist.display()))?;
    fs::copy(&myna.path, dist.join("myna")).context("can't copy the binary")?;
    fs::copy(crate::root().join("LICENSE"), dist.join("LICENSE")).context("can't copy the licence")?;
    fs::write(dist.join("LICENSES.txt"), licences()?).context("can't write the licence list")?;
    let sum =
        Command::new("sha256sum").args(["myna", "LICENSES.txt"]).current_dir(&dist).output().context("can't run sha256sum")?;
    if !sum.status.success() {
        bail!("sha256sum failed: {}", String::from_utf8_lossy(&sum.stderr));
    }
    fs::write(dist.join("SHA256SUMS"), &sum.stdout).context("can't write the checksums")?;
    println!("{}", dist.display());
    print!("{}", String::from_utf8_lossy(&sum.stdout));
    Ok(true)
}

/// Every crate that is linked into the binary, with its version, licence and home.
fn licences() -> Result<String> {
    let tree = cargo::cargo()
        .args(["tree", "--package", "myna", "--edges", "normal,no-proc-macro", "--prefix", "none", "--format", "{p}"])
        .output()
        .context("can't run cargo tree")?;
    let linked: BTreeSet<(String, String)> = String::from_utf8_lossy(&tree.stdout)
        .lines()
        .filter_map(|l| l.split_once(" v"))
        .map(|(name, rest)| (name.to_owned(), rest.split(' ').next().unwrap_or_default().to_owned()))
        .collect();
    let mut rows = BTreeSet::new();
    for p in depends::metadata()?.packages {
        if linked.contains(&(p.name.clone(), p.version.clone())) {
            let stated = |text: Option<String>| text.unwrap_or_else(|| "none stated".to_owned());
            rows.insert(format!("{} {}\n    {}\n    {}\n", p.name, p.version, stated(p.license), stated(p.repository)));
        }
    }
    let mut list = String::from("Crates that are part of the binary, each with its licence and where its text is found.\n\n");
    rows.iter().for_each(|r| write!(list, "{r}").expect("writing to a String can't fail"));
    Ok(list)
}
