//! Dependencies as deny.toml wants them: no banned crate, permissive licences, nothing from outside the registry.
//!
//! `cargo deny` reads the same file and knows more (advisories, say), but takes minutes to build; this reads the part of it that
//! every run of the tests should hold to.

use crate::cargo;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::{fs, path::Path};

#[derive(Deserialize)]
struct Rules {
    licenses: Licenses,
    bans: Bans,
}

#[derive(Deserialize)]
struct Licenses {
    allow: Vec<String>,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Ban>,
}

#[derive(Deserialize)]
struct Ban {
    /// `name`, or `name@<1.2.3`.
    #[serde(rename = "crate")]
    krate: String,
    reason: String,
}

#[derive(Deserialize)]
pub struct Metadata {
    pub packages: Vec<Package>,
}

#[derive(Deserialize)]
pub struct Package {
    pub name: String,
    pub version: String,
    pub license: Option<String>,
    pub repository: Option<String>,
    /// None for our own.
    pub source: Option<String>,
}

const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Every package of the locked tree, on Linux.
pub fn metadata() -> Result<Metadata> {
    let args = ["metadata", "--format-version=1", "--locked", "--all-features", "--filter-platform=x86_64-unknown-linux-gnu"];
    let out = cargo::cargo().args(args).output().context("can't run cargo metadata")?;
    if !out.status.success() {
        bail!("cargo metadata failed: {}", String::from_utf8_lossy(&out.stderr));
    }
    serde_json::from_slice(&out.stdout).context("cargo metadata printed something else")
}

fn rules(root: &Path) -> Result<Rules> {
    let text = fs::read_to_string(root.join("deny.toml")).context("can't read deny.toml")?;
    toml::from_str(&text).context("deny.toml is not as expected")
}

/// What is wrong with the tree as it is locked now.
pub fn wrong() -> Result<Vec<String>> {
    Ok(forbidden(&rules(&crate::root())?, &metadata()?))
}

/// Everything in the tree that the rules forbid, a line each.
fn forbidden(rules: &Rules, tree: &Metadata) -> Vec<String> {
    let mut found = Vec::new();
    for p in tree.packages.iter().filter(|p| p.source.is_some()) {
        let name = format!("{} {}", p.name, p.version);
        if p.source.as_deref() != Some(REGISTRY) {
            found.push(format!("{name} comes from {}", p.source.as_deref().unwrap_or_default()));
        }
        match &p.license {
            None => found.push(format!("{name} states no licence")),
            Some(l) if !allows(&rules.licenses.allow, l) => found.push(format!("{name} has the licence {l}")),
            Some(_) => {}
        }
        found.extend(rules.bans.deny.iter().filter(|b| banned(&b.krate, p)).map(|b| format!("{name} is banned: {}", b.reason)));
    }
    found
}

fn banned(ban: &str, p: &Package) -> bool {
    match ban.split_once("@<") {
        None => ban == p.name,
        Some((name, bound)) => name == p.name && numbers(&p.version) < numbers(bound),
    }
}

fn numbers(version: &str) -> Vec<u64> {
    let release = version.split(['-', '+']).next().unwrap_or_default();
    release.split('.').map(|n| n.parse().unwrap_or(0)).collect()
}

/// Reads a licence expression: one alternative of each OR must do, and all of an AND. A slash is an old way to write OR.
fn allows(allowed: &[String], expression: &str) -> bool {
    let text = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut at = 0;
    either(allowed, &words, &mut at) && at == words.len()
}

fn either(allowed: &[String], words: &[&str], at: &mut usize) -> bool {
    let mut good = both(allowed, words, at);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        good |= both(allowed, words, at);
    }
    good
}

fn both(allowed: &[String], words: &[&str], at: &mut usize) -> bool {
    let mut good = one(allowed, words, at);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        good &= one(allowed, words, at);
    }
    good
}

fn one(allowed: &[String], words: &[&str], at: &mut usize) -> bool {
    let Some(word) = words.get(*at) else { return false };
    *at += 1;
    if *word == "(" {
        let good = either(allowed, words, at);
        *at += 1;
        return good;
    }
    if words.get(*at) == Some(&"WITH") {
        let whole = format!("{word} WITH {}", words.get(*at + 1).unwrap_or(&""));
        *at += 2;
        // An exception only ever permits more.
        return allowed.contains(&whole) || allowed.iter().any(|a| a == word);
    }
    allowed.iter().any(|a| a == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_keep_to_the_rules() {
        let found = wrong().expect("deny.toml and the locked tree can be read");
        assert!(found.is_empty(), "{}", found.join("\n"));
    }

    #[test]
    fn what_the_rules_forbid_is_found() {
        let package = |name: &str, version: &str, license: Option<&str>, source: &str| Package {
            name: name.into(),
            version: version.into(),
            license: license.map(Into::into),
            repository: None,
            source: Some(source.into()),
        };
        let tree = Metadata {
            packages: vec![
                package("good", "1.0.0", Some("(MIT OR GPL-3.0) AND Zlib"), REGISTRY),
                package("zip", "2.4.1", Some("MIT"), REGISTRY),
                package("zip", "9.0.0", Some("MIT/Apache-2.0"), REGISTRY),
                package("openssl", "0.10.0", Some("Apache-2.0"), REGISTRY),
                package("copyleft", "1.0.0", Some("MIT AND GPL-3.0"), REGISTRY),
                package("silent", "1.0.0", None, REGISTRY),
                package("elsewhere", "1.0.0", Some("MIT"), "git+https://example.com/x"),
            ],
        };
        let found = forbidden(&rules(&crate::root()).expect("deny.toml is readable"), &tree);
        let names: Vec<&str> = found.iter().map(|f| f.split(' ').next().unwrap_or_default()).collect();
        assert_eq!(names, ["zip", "openssl", "copyleft", "silent", "elsewhere"], "{found:?}");
        assert!(found[0].starts_with("zip 2.4.1 "), "{}", found[0]);
    }
}
