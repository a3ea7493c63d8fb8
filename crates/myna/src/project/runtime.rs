//! Which runtime a function gets when nobody names one: what the project asks for by the files of version managers, else the
//! newest that this platform has. The choice is shown with its reason.

use super::{detect::Language, tree::Tree};
use crate::{admin::wire::RuntimeRow, cli::problem::Problem};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    pub name: String,
    pub why: String,
}

pub fn choose(language: Language, tree: &dyn Tree, rows: &[RuntimeRow]) -> Result<Choice, Problem> {
    if language == Language::Native {
        return Ok(Choice {
            name: "provided.al2023".into(),
            why: "for programs that speak Lambda's runtime API themselves".into(),
        });
    }
    if let Some((name, file)) = asked(language, tree) {
        return Ok(Choice { why: format!("{file} asks for it"), name });
    }
    let family = family(language);
    let here = |row: &&RuntimeRow| row.name.starts_with(family) && !row.found.is_empty();
    let newest = rows.iter().filter(here).max_by_key(|row| version(&row.name));
    match newest {
        Some(row) => Ok(Choice { name: row.name.clone(), why: format!("the newest {family} that this platform has") }),
        None => {
            let known = rows.iter().filter(|r| r.name.starts_with(family) && r.installable).max_by_key(|r| version(&r.name));
            let problem = Problem::failed(format!("this platform has no {family} runtime"));
            Err(problem.hint(match known {
                Some(row) => format!("myna runtime install {}", row.name),
                None => "what was looked for, and where: myna runtime list".to_string(),
            }))
        }
    }
}

pub fn family(language: Language) -> &'static str {
    match language {
        Language::Python => "python",
        Language::Node => "nodejs",
        Language::Java => "java",
        Language::Native => "provided",
    }
}

/// `python3.12` → (3, 12); `nodejs20.x` → (20, 0).
fn version(name: &str) -> (u32, u32) {
    let digits = name.trim_start_matches(|c: char| c.is_ascii_alphabetic());
    let mut parts = digits.split('.').map(|p| p.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

/// What the project's own files ask for: a Lambda runtime's name, and the file.
fn asked(language: Language, tree: &dyn Tree) -> Option<(String, &'static str)> {
    match language {
        Language::Python => {
            let text = tree.text(".python-version")?;
            let mut parts = text.trim().split('.');
            let (major, minor) = (parts.next()?.parse::<u32>().ok()?, parts.next()?.parse::<u32>().ok()?);
            Some((format!("python{major}.{minor}"), ".python-version"))
        }
        Language::Node => {
            let text = tree
                .text(".nvmrc")
                .map(|t| (t, ".nvmrc"))
                .or_else(|| tree.text(".node-version").map(|t| (t, ".node-version")))?;
            let major = text.0.trim().trim_start_matches('v').split('.').next()?.parse::<u32>().ok()?;
            Some((format!("nodejs{major}.x"), text.1))
        }
        Language::Java | Language::Native => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    struct Fake(&'static [(&'static str, &'static str)]);
    impl Tree for Fake {
        fn names(&self) -> Vec<&str> {
            self.0.iter().map(|f| f.0).collect()
        }
        fn text(&self, name: &str) -> Option<String> {
            self.0.iter().find(|f| f.0 == name).map(|f| f.1.to_string())
        }
        fn folder(&self) -> Option<&Path> {
            None
        }
    }

    #[test]
    fn the_project_decides_then_the_newest_that_is_here() {
        let row = |name: &str, found: &str| RuntimeRow {
            name: name.into(),
            found: found.into(),
            installable: true,
            ..Default::default()
        };
        let rows = [row("python3.9", "x"), row("python3.12", "x"), row("python3.14", ""), row("nodejs22.x", "")];
        let name = |language, files, rows: &[RuntimeRow]| choose(language, &Fake(files), rows).map(|c| c.name);
        assert_eq!(name(Language::Python, &[], &rows).unwrap(), "python3.12");
        assert_eq!(name(Language::Python, &[(".python-version", "3.9.18\n")], &rows).unwrap(), "python3.9");
        assert_eq!(name(Language::Node, &[(".nvmrc", "v20\n")], &rows).unwrap(), "nodejs20.x");
        assert_eq!(name(Language::Native, &[], &[]).unwrap(), "provided.al2023");
        assert!(name(Language::Node, &[], &rows).unwrap_err().hint.unwrap().contains("install nodejs22.x"));
        assert!(name(Language::Java, &[], &rows).unwrap_err().hint.unwrap().contains("runtime list"));
    }
}
