//! Every folder of `examples/`, deployed as its reader would and called with its own event.

use myna_tests::{Context, Platform, Result, Test, Value, ensure, json, skip, tests};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

pub const ALL: &[&[Test]] = &[EACH];

const EACH: &[Test] = tests![python_sales_report, node_webhook, python_guestbook, go_csv_to_json, no_example_is_left_out];

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

fn python_sales_report() -> Result<()> {
    answers_as_written("python-sales-report", "python3")
}

fn node_webhook() -> Result<()> {
    answers_as_written("node-webhook", "nodejs")
}

fn python_guestbook() -> Result<()> {
    answers_as_written("python-guestbook", "python3")
}

/// Compiled in a copy: the folder itself stays as it is in the clone.
fn go_csv_to_json() -> Result<()> {
    let exists = Command::new("go").arg("version").output().is_ok_and(|o| o.status.success());
    if !exists {
        return Err(skip("no Go on this machine"));
    }
    let myna = Platform::start()?;
    let (folder, copy) = (examples().join("go-csv-to-json"), tempfile::tempdir()?);
    for entry in fs::read_dir(&folder)?.flatten() {
        fs::copy(entry.path(), copy.path().join(entry.file_name()))?;
    }
    let out = myna.developer(&["deploy", &copy.path().to_string_lossy(), "--build", "--name", "go-csv-to-json"])?;
    ensure!(out.status.success(), "myna deploy --build: {}", String::from_utf8_lossy(&out.stderr));
    answers(&myna, "go-csv-to-json")
}

/// `language` begins the names of the runtimes that it could run on.
fn answers_as_written(example: &str, language: &str) -> Result<()> {
    let myna = Platform::start()?;
    let listed: Value = verb(&myna, &["runtime", "list", "--json"])?.parse()?;
    let found = |row: &Value| {
        let is = |key: &str| row[key].as_str().unwrap_or_default();
        is("name").starts_with(language) && !is("found").is_empty()
    };
    if !listed.as_array().is_some_and(|rows| rows.iter().any(found)) {
        return Err(skip(format!("no runtime of {language} is on this machine")));
    }
    let folder = examples().join(example);
    verb(&myna, &["deploy", &folder.to_string_lossy(), "--name", example])?;
    answers(&myna, example)
}

fn answers(myna: &Platform, example: &str) -> Result<()> {
    let folder = examples().join(example);
    let read = |file: &str| fs::read_to_string(folder.join(file)).with_context(|| format!("can't read {example}/{file}"));
    let event: Value = read("event.json")?.parse()?;
    let expected: Value = read("answer.json")?.parse()?;
    let said = myna.function(example).call(event)?;
    ensure!(said == expected, "{example} answered {said}");
    Ok(())
}

fn verb(myna: &Platform, words: &[&str]) -> Result<String> {
    let out = myna.cli(words)?;
    ensure!(out.status.success(), "myna {}: {}", words.join(" "), String::from_utf8_lossy(&out.stderr));
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

fn no_example_is_left_out() -> Result<()> {
    let entries = fs::read_dir(examples())?.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir()));
    let folders: BTreeSet<String> = entries.map(|e| e.file_name().to_string_lossy().replace('-', "_")).collect();
    let run = |name: &String| EACH.iter().any(|t| t.name.rsplit("::").next() == Some(name));
    let left: Vec<&String> = folders.iter().filter(|f| !run(f)).collect();
    ensure!(left.is_empty() && !folders.is_empty(), "no test runs {left:?} ({})", json!(folders));
    Ok(())
}
