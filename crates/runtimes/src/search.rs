//! Where an interpreter is looked for, in this order: where the operator said, what `myna runtime install` brought, the folders
//! of version managers, the search path. Everything that was tried is kept, so that an error can tell it.

use crate::{
    Config,
    names::Named,
    probe::{self, Found},
};
use std::path::PathBuf;

/// Where something was found, and why there.
pub struct Hit {
    pub found: Found,
    pub origin: String,
}

/// A place to look.
struct Place {
    path: PathBuf,
    origin: &'static str,
}

/// Goes through all places until `accept` is content. What was tried and why it didn't do is added to `tried`.
pub fn search<T>(
    config: &Config,
    named: &Named,
    version: &str,
    tried: &mut Vec<String>,
    mut accept: impl FnMut(Hit) -> Result<T, String>,
) -> Option<T> {
    for place in places(config, named, version) {
        let shown = place.path.display().to_string();
        let found = match probe::probe(&place.path) {
            Ok(found) => found,
            // A place that holds nothing is worth a line only where the operator named it.
            Err(probe::Error::Absent(_)) if place.origin != CONFIGURED => continue,
            Err(error) => {
                tried.push(error.to_string());
                continue;
            }
        };
        if !probe::is_version(&found.version, version) {
            tried.push(format!("{shown} is {}", found.version));
            continue;
        }
        match accept(Hit { origin: format!("{} ({})", found.program.display(), place.origin), found }) {
            Ok(accepted) => return Some(accepted),
            Err(why) => tried.push(format!("{shown} was refused: {why}")),
        }
    }
    None
}

const CONFIGURED: &str = "configured";

fn places(config: &Config, named: &Named, version: &str) -> Vec<Place> {
    let programs = named.language.programs(version);
    let mut places = Vec::new();
    if let Some(path) = config.configured.get(named.name) {
        // Whether it names a program or an installation; nothing else is looked at then.
        let candidates =
            if path.is_dir() { programs.iter().map(|p| path.join("bin").join(p)).collect() } else { vec![path.clone()] };
        return candidates.into_iter().map(|path| Place { path, origin: CONFIGURED }).collect();
    }
    let folders = std::iter::once((config.managed_dir.join(named.name).join("current/bin"), "installed by myna"))
        .chain(version_managers(version))
        .chain(path_folders().into_iter().map(|f| (f, "on the search path")));
    for (folder, origin) in folders {
        places.extend(programs.iter().map(|p| Place { path: folder.join(p), origin }));
    }
    places.extend(java_homes(named).into_iter().map(|path| Place { path: path.join("bin/java"), origin: "an installed JDK" }));
    places
}

/// The `bin` folders of every version that a manager holds, newest patch first.
fn version_managers(version: &str) -> Vec<(PathBuf, &'static str)> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let root =
        |variable: &str, folder: &str| std::env::var_os(variable).map(PathBuf::from).or(home.as_ref().map(|h| h.join(folder)));
    let mut all = Vec::new();
    for (root, inner, origin) in [
        (root("PYENV_ROOT", ".pyenv"), "versions", "pyenv"),
        (root("ASDF_DATA_DIR", ".asdf"), "installs/python", "asdf"),
        (root("ASDF_DATA_DIR", ".asdf"), "installs/nodejs", "asdf"),
        (root("NVM_DIR", ".nvm"), "versions/node", "nvm"),
    ] {
        let Some(root) = root else { continue };
        let mut versions: Vec<(Vec<u32>, PathBuf)> = std::fs::read_dir(root.join(inner))
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let name = name.trim_start_matches('v');
                let numbers = name.split('.').map(|part| part.parse().ok()).collect::<Option<Vec<u32>>>()?;
                probe::is_version(name, version).then(|| (numbers, entry.path().join("bin")))
            })
            .collect();
        versions.sort();
        all.extend(versions.into_iter().rev().map(|(_, path)| (path, origin)));
    }
    all
}

fn path_folders() -> Vec<PathBuf> {
    let named = std::env::var_os("PATH").map(|p| std::env::split_paths(&p).collect::<Vec<_>>()).unwrap_or_default();
    let usual = ["/usr/local/bin", "/usr/bin"].map(PathBuf::from);
    let mut folders: Vec<PathBuf> = Vec::new();
    for folder in named.into_iter().chain(usual) {
        // `/bin` is often a link to `/usr/bin`.
        let Ok(folder) = folder.canonicalize() else { continue };
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    folders
}

fn java_homes(named: &Named) -> Vec<PathBuf> {
    if named.language != crate::names::Language::Java {
        return vec![];
    }
    let mut homes: Vec<PathBuf> = std::env::var_os("JAVA_HOME").map(PathBuf::from).into_iter().collect();
    let mut installed: Vec<PathBuf> =
        std::fs::read_dir("/usr/lib/jvm").into_iter().flatten().flatten().map(|e| e.path()).collect();
    installed.sort();
    homes.extend(installed);
    homes
}
