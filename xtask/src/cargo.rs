//! Asking cargo to build, and learning what it built.

use anyhow::{Result, bail};
use serde::Deserialize;
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// An executable that cargo made: a binary, or a test program.
#[derive(Debug, Clone)]
pub struct Built {
    /// The package's name.
    pub package: String,
    /// The target's name within the package.
    pub target: String,
    pub is_test: bool,
    pub path: PathBuf,
    /// The package's folder, where cargo runs its tests.
    pub folder: PathBuf,
}

#[derive(Deserialize)]
struct Message {
    reason: String,
    target: Option<Target>,
    profile: Option<Profile>,
    executable: Option<PathBuf>,
    manifest_path: Option<PathBuf>,
    package_id: Option<String>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

pub fn cargo() -> Command {
    let mut c = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    c.current_dir(crate::root());
    c
}

/// Builds with `args` and returns every executable, fresh or not. Warnings and errors go to the terminal as they come.
pub fn build(args: &[&str]) -> Result<Vec<Built>> {
    let mut c = cargo();
    c.arg("build").args(args).arg("--message-format=json-render-diagnostics").stderr(Stdio::inherit());
    let out = c.output()?;
    if !out.status.success() {
        bail!("the build failed");
    }
    let text = String::from_utf8_lossy(&out.stdout);
    Ok(text.lines().filter_map(|l| serde_json::from_str::<Message>(l).ok()).filter_map(executable).collect())
}

fn executable(m: Message) -> Option<Built> {
    if m.reason != "compiler-artifact" {
        return None;
    }
    let folder = m.manifest_path?.parent()?.to_path_buf();
    Some(Built {
        package: package_name(&m.package_id?, &folder),
        target: m.target?.name,
        is_test: m.profile?.test,
        path: m.executable?,
        folder,
    })
}

/// `path+file:///x/crates/model#myna-model@0.1.0`, or without the name when the folder is called like the package.
fn package_name(id: &str, folder: &Path) -> String {
    let fragment = id.rsplit_once('#').map_or("", |(_, f)| f);
    match fragment.split_once('@') {
        Some((name, _)) => name.to_owned(),
        None => folder.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default(),
    }
}

/// Runs a cargo command on the terminal. True when it succeeded.
pub fn shown(args: &[&str]) -> Result<bool> {
    Ok(cargo().args(args).status()?.success())
}

/// Where cargo puts what it builds.
pub fn target_dir() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(d) => crate::root().join(d),
        None => crate::root().join("target"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_named_by_its_id_or_its_folder() {
        assert_eq!(package_name("path+file:///x/crates/model#myna-model@0.1.0", Path::new("/x/crates/model")), "myna-model");
        assert_eq!(package_name("path+file:///x/xtask#0.1.0", Path::new("/x/xtask")), "xtask");
    }
}
