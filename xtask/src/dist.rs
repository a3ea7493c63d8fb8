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
    match glibc(&fs::read(&myna.path).context("can't read the binary")?) {
        Some((major, minor)) => println!("runs on Linux with glibc {major}.{minor} or newer"),
        None => println!("runs on any Linux: it is linked statically"),
    }
    Ok(true)
}

/// The newest version of glibc's symbols that a binary asks for: what it was built on decides it. Their names, `GLIBC_2.34`,
/// stand in it as text.
fn glibc(binary: &[u8]) -> Option<(u32, u32)> {
    const NAME: &[u8] = b"GLIBC_";
    let number = |bytes: &[u8]| std::str::from_utf8(bytes).ok()?.parse::<u32>().ok();
    let version = |at: usize| {
        let rest = &binary[at + NAME.len()..];
        let end = rest.iter().position(|b| !b.is_ascii_digit() && *b != b'.')?;
        let mut parts = rest[..end].split(|b| *b == b'.');
        Some((number(parts.next()?)?, number(parts.next()?)?))
    };
    binary.windows(NAME.len()).enumerate().filter(|(_, w)| *w == NAME).filter_map(|(at, _)| version(at)).max()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_glibc_that_will_do_is_read_from_the_binary() {
        assert_eq!(glibc(b"\0GLIBC_2.9\0GLIBC_2.34\0GLIBC_2.2.5\0GLIBC_PRIVATE\0GLIBC_2.4"), Some((2, 34)));
        assert_eq!(glibc(b"\0static\0"), None);
    }
}
