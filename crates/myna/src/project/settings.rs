//! What a project's owner says about its function in `myna.toml`, table `[function]`. The same file may hold settings of the
//! platform; those are not read here.

use crate::{
    cli::{problem::Problem, units},
    compose,
};
use serde::{Deserialize, Deserializer};
use std::{collections::BTreeMap, path::Path};

pub const FILE: &str = "myna.toml";

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    pub name: Option<String>,
    /// Which system the function was written for.
    #[serde(rename = "as")]
    pub system: Option<String>,
    pub runtime: Option<String>,
    pub handler: Option<String>,
    pub description: Option<String>,
    /// MiB.
    #[serde(deserialize_with = "memory")]
    pub memory: Option<u32>,
    /// Seconds.
    #[serde(deserialize_with = "timeout")]
    pub timeout: Option<u32>,
    pub role: Option<String>,
    /// All of the function's layers, by ARN; without the key they stay as they are.
    pub layers: Option<Vec<String>>,
    /// All of the function's variables; without the table they stay as they are.
    pub env: Option<BTreeMap<String, String>>,
    /// Files and folders to leave out: a name, or a path from the project's root; `*` stands for anything but `/`.
    pub exclude: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct File {
    function: Settings,
    #[serde(flatten)]
    others: BTreeMap<String, serde::de::IgnoredAny>,
}

/// The file's settings; defaults when there is no file.
pub fn read(folder: &Path) -> Result<Settings, Problem> {
    let path = folder.join(FILE);
    match std::fs::read_to_string(&path) {
        Ok(text) => parse(&text)
            .map_err(|e| Problem::usage(format!("{}: {e}", path.display())).hint("the keys of [function]: myna deploy --help")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Settings::default()),
        Err(error) => Err(Problem::usage(format!("{} can't be read: {error}", path.display()))),
    }
}

fn parse(text: &str) -> Result<Settings, String> {
    let file: File = toml::from_str(text).map_err(|e| e.to_string().trim_end().to_string())?;
    match file.others.keys().find(|name| !compose::NAMES.contains(&name.as_str())) {
        Some(name) => Err(format!("{name} is no setting; a function's stand below [function]")),
        None => Ok(file.function),
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Amount {
    Number(u32),
    Text(String),
}

fn amount<'de, D: Deserializer<'de>>(from: D, read: fn(&str) -> Result<u32, String>) -> Result<Option<u32>, D::Error> {
    match Amount::deserialize(from)? {
        Amount::Number(n) => Ok(Some(n)),
        Amount::Text(text) => read(&text).map(Some).map_err(serde::de::Error::custom),
    }
}
fn memory<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    amount(from, units::mebibytes)
}
fn timeout<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    amount(from, units::seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_book_shows_every_key_and_no_other() {
        let book = include_str!("../../../../docs/configuration.md");
        let after = book.split_once("## A function's settings").unwrap().1;
        let text = after.split_once("```toml\n").and_then(|rest| rest.1.split_once("```")).unwrap().0;
        let Settings { name, system, runtime, handler, description, memory, timeout, role, layers, env, exclude } =
            parse(text).unwrap();
        assert!(
            [name, system, runtime, handler, description, role].iter().all(Option::is_some) && env.is_some() && layers.is_some()
        );
        assert_eq!((memory, timeout, exclude.is_empty()), (Some(128), Some(3), false));
    }

    #[test]
    fn a_table_is_read_and_mistakes_are_named() {
        let s = parse(
            "[function]\nname = \"a\"\nmemory = \"1GB\"\ntimeout = 30\n[function.env]\nK = \"v\"\n[engine]\nconcurrency = 3",
        )
        .unwrap();
        assert_eq!(
            (s.name.as_deref(), s.memory, s.timeout, s.env.unwrap()["K"].as_str()),
            (Some("a"), Some(1024), Some(30), "v")
        );
        assert_eq!(parse("").unwrap(), Settings::default());
        for (text, word) in [
            ("timeout = 3", "[function]"),
            ("[function]\nmemroy = 1", "memroy"),
            ("[function]\ntimeout = \"1 week\"", "unit"),
            ("[function", "line 1"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
