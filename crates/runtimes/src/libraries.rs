//! Libraries that AWS Lambda supplies with its runtimes, as far as they were installed. Each kind has a folder of versions
//! below the managed directory, and a link `current` to the one in use; what an instance has mounted stays as it is when a newer
//! one arrives.

use crate::Config;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// One kind of libraries.
pub struct Kind {
    pub folder: &'static str,
}

pub const PYTHON: Kind = Kind { folder: "libraries-python" };
pub const JAVA: Kind = Kind { folder: "libraries-java" };

/// The SDK's newest releases don't run on Node 18.
pub fn node(major: &str) -> Kind {
    Kind { folder: if major.parse::<u32>().is_ok_and(|m| m < 20) { "libraries-node18" } else { "libraries-node" } }
}

impl Kind {
    pub fn root(&self, config: &Config) -> PathBuf {
        config.managed_dir.join(self.folder)
    }
    /// The folder in use, by its own name.
    pub fn current(&self, config: &Config) -> Option<PathBuf> {
        self.root(config).join("current").canonicalize().ok()
    }
}

fn entries(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).into_iter().flatten().flatten().filter_map(|e| e.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// By the folders that every Python installer leaves: `boto3-1.40.0.dist-info`.
pub fn python_versions(folder: &Path) -> Vec<(String, String)> {
    let all = entries(folder);
    all.iter().filter_map(|n| n.strip_suffix(".dist-info")?.rsplit_once('-')).map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
}

/// The SDK's clients; what they depend on is theirs.
pub fn node_versions(modules: &Path) -> Vec<(String, String)> {
    let scope = modules.join("@aws-sdk");
    let clients = entries(&scope).into_iter().filter(|n| n.starts_with("client-") || n.starts_with("lib-"));
    clients
        .filter_map(|name| {
            let text = fs::read(scope.join(&name).join("package.json")).ok()?;
            let about: serde_json::Value = serde_json::from_slice(&text).ok()?;
            Some((format!("@aws-sdk/{name}"), about["version"].as_str()?.to_owned()))
        })
        .collect()
}

/// By file name: `aws-lambda-java-core-1.3.0.jar`.
pub fn java_versions(folder: &Path) -> Vec<(String, String)> {
    let split = |name: &str| {
        let at = name.match_indices('-').find(|(i, _)| name[i + 1..].starts_with(|c: char| c.is_ascii_digit()))?.0;
        Some((name[..at].to_owned(), name[at + 1..].to_owned()))
    };
    entries(folder).iter().filter_map(|n| split(n.strip_suffix(".jar")?)).collect()
}
