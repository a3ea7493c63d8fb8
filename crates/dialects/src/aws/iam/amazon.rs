//! The managed policies that every account has, under `arn:aws:iam::aws:policy/…`: those in common use. Their documents are
//! written here from what AWS's reference says of each, for the services that a function may meet; they are not AWS's texts.

use serde::Deserialize;
use std::sync::LazyLock;

const PREFIX: &str = "arn:aws:iam::aws:policy";

#[derive(Deserialize)]
struct Written {
    name: String,
    path: String,
    description: String,
    document: Box<serde_json::value::RawValue>,
}

/// A policy of AWS's.
pub struct Managed {
    pub name: String,
    pub path: String,
    pub description: String,
    /// JSON.
    pub document: String,
}

impl Managed {
    pub fn arn(&self) -> String {
        format!("{PREFIX}{}{}", self.path, self.name)
    }
}

/// All of them, by name.
pub fn all() -> &'static [Managed] {
    static ALL: LazyLock<Vec<Managed>> = LazyLock::new(|| {
        let written: Vec<Written> = serde_json::from_str(include_str!("amazon.json")).expect("this crate's own file (tested)");
        let managed = |w: Written| Managed {
            name: w.name,
            path: w.path,
            description: w.description,
            document: w.document.get().to_owned(),
        };
        written.into_iter().map(managed).collect()
    });
    &ALL
}

/// By ARN.
pub fn find(arn: &str) -> Option<&'static Managed> {
    let rest = arn.strip_prefix(PREFIX)?;
    let (path, name) = rest.split_at(rest.rfind('/')? + 1);
    all().iter().find(|m| m.name == name && m.path == path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_policy_is_found_by_its_arn_and_lies_within_the_quota() {
        assert!(all().is_sorted_by(|a, b| a.name < b.name), "lists are paged by name");
        for managed in all() {
            assert!(find(&managed.arn()).is_some_and(|found| found.document == managed.document));
            assert!(managed.document.len() < 6144, "{}", managed.name);
        }
        for not in ["arn:aws:iam::aws:policy/AWSLambdaRole", "arn:aws:iam::aws:policy/", "AWSLambdaRole", ""] {
            assert!(find(not).is_none(), "{not}");
        }
    }
}
