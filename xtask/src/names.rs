//! The names of all tests, read from the sources: so that a proof can be checked without building anything.
//!
//! Four kinds of tests count: a function below an attribute that ends in `test` (libtest's, tokio's); a name in a `tests![…]` list of the
//! integration program; a pair of name and function in the list of a runner of its own; the folder of a conformance case. A commented-out or unlisted function does not.
//! Beside them, the rows of the benchmark, as `bench: ROW`.

use anyhow::{Context, Result};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

const SOURCES: &[&str] = &["crates", "tests", "xtask", "benches", "examples"];

/// What a proof begins with that names a row of the benchmark.
pub const BENCH: &str = "bench: ";
const BENCH_ROWS: &str = "benches/src/rows/mod.rs";

pub fn tests(root: &Path) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for folder in SOURCES {
        walk(&root.join(folder), &mut |path| {
            if path.extension().is_some_and(|e| e == "rs") {
                let text = fs::read_to_string(path).with_context(|| format!("can't read {}", path.display()))?;
                attributed(&text, &mut found);
                listed(&text, &mut found);
                paired(&text, &mut found);
            }
            Ok(())
        })?;
    }
    for dialect in folders(&root.join("tests/conformance")) {
        found.extend(folders(&dialect).iter().filter_map(|case| Some(case.file_name()?.to_str()?.to_owned())));
    }
    let rows = fs::read_to_string(root.join(BENCH_ROWS)).with_context(|| format!("can't read {BENCH_ROWS}"))?;
    found.extend(bench_rows(&rows).map(|row| format!("{BENCH}{row}")));
    Ok(found)
}

/// The name of each `("name", seconds, function),` in the benchmark's list.
fn bench_rows(text: &str) -> impl Iterator<Item = &str> {
    let list = text.split_once("pub const ALL").map_or("", |(_, rest)| rest).split("];").next().unwrap_or_default();
    list.lines().map(str::trim).filter_map(|l| l.strip_prefix("(\"")?.split_once("\", ").map(|(name, _)| name))
}

fn folders(at: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(at) else { return Vec::new() };
    entries.flatten().map(|e| e.path()).filter(|p| p.is_dir()).collect()
}

fn walk(folder: &Path, each: &mut impl FnMut(&Path) -> Result<()>) -> Result<()> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    for entry in entries {
        let (entry, path) = entry.map(|e| (e.file_type(), e.path()))?;
        if entry?.is_dir() {
            if path.file_name().is_some_and(|n| n != "target" && n != "node_modules") {
                walk(&path, each)?;
            }
        } else {
            each(&path)?;
        }
    }
    Ok(())
}

/// `#[test]`, `#[tokio::test(…)]`, and `#[test]` within proptest!, each followed by other attributes and then `fn name`.
fn attributed(text: &str, found: &mut BTreeSet<String>) {
    let mut pending = false;
    for line in text.lines().map(str::trim) {
        if let Some(attribute) = line.strip_prefix("#[") {
            let name = attribute.split(['(', ']']).next().unwrap_or_default();
            pending |= name.rsplit("::").next() == Some("test");
        } else if let Some(name) = function(line) {
            if pending {
                found.insert(name.to_owned());
            }
            pending = false;
        }
    }
}

fn function(line: &str) -> Option<&str> {
    let after = line.strip_prefix("fn ").or_else(|| line.split_once(" fn ").map(|(_, rest)| rest))?;
    let name = after.split(|c: char| !(c.is_alphanumeric() || c == '_')).next()?;
    (!name.is_empty() && !line.starts_with("//")).then_some(name)
}

/// The names between the brackets of `tests![a, b]`, comments left out.
fn listed(text: &str, found: &mut BTreeSet<String>) {
    for piece in text.split("tests![").skip(1) {
        let Some((inside, _)) = piece.split_once(']') else { continue };
        let code = inside.lines().map(|l| l.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join(" ");
        let names = code.split(',').map(str::trim);
        found.extend(names.filter(|n| !n.is_empty() && n.chars().all(|c| c.is_alphanumeric() || c == '_')).map(str::to_owned));
    }
}

/// `("name", function),` alone on a line, in the list of a runner of its own.
fn paired(text: &str, found: &mut BTreeSet<String>) {
    for line in text.lines().map(str::trim) {
        let inside = line.strip_prefix("(\"").and_then(|l| l.strip_suffix("),")).and_then(|l| l.split_once("\", "));
        if let Some((name, function)) = inside
            && [name, function]
                .iter()
                .all(|n| !n.is_empty() && n.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'))
        {
            found.insert(name.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_the_benchmark_are_found_by_their_list() {
        let text = "use x;\n(\"outside\", 1, f),\npub const ALL: &[Row] = &[\n    (\"warm\", 60, warm::rows),\n    // (\"gone\", 1, f),\n    (\"scale-up\", 9, scale::rows),\n];\n";
        assert_eq!(bench_rows(text).collect::<Vec<_>>(), ["warm", "scale-up"]);
        let found = tests(&crate::root()).expect("the clone can be read");
        assert!(found.contains("bench: warm") && !found.contains("warm"));
    }

    #[test]
    fn tests_are_found_by_attribute_and_by_list() {
        let text = "#[test]\nfn plain() {}\n#[tokio::test(start_paused = true)]\n#[allow(x)]\nasync fn with_more() {}\nfn helper() {}\n\
                    // #[test]\n// fn gone() {}\npub const ALL: &[Test] = tests![first, // note\n second\n];\n#[cfg(test)]\nmod tests { fn inner() {} }";
        let mut found = BTreeSet::new();
        attributed(text, &mut found);
        listed(text, &mut found);
        paired("    (\"by_pair\", run),\n    (\"mount\", \"PERM\"), (\"umount\", \"PERM\"),\n", &mut found);
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["by_pair", "first", "plain", "second", "with_more"]);
    }
}
