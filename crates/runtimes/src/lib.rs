//! What a function's runtime name (`python3.12`, `nodejs20.x`, `provided.al2023`) means on this machine: which interpreter
//! serves it, where it was found, what has to be mounted, and what starts the loop that asks for events.
//!
//! Decided: an interpreter is seen at `/var/lang`, our shims at `/var/runtime`, wherever they lie on the host, as code written
//! for AWS Lambda expects. A whole installation of one language is mounted as it is; of a shared prefix (`/usr`) only the parts
//! that belong to the interpreter are.

mod install;
mod java;
mod libraries;
pub mod names;
mod node;
mod probe;
mod python;
mod search;
pub mod shims;
#[cfg(test)]
mod tests;

use model::{Cause, Fault, ports::Runtime};
use names::{Language, Named};
use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

/// For so long what was not found is not looked for again: looking asks every candidate its version.
const ABSENT_FOR: Duration = Duration::from_secs(5);

#[derive(Clone, Default)]
pub struct Config {
    /// What `install` brings goes here.
    pub managed_dir: PathBuf,
    /// The shims are written below this.
    pub state_dir: PathBuf,
    /// Paths that the operator gave, by runtime name: a program, or an installation that holds `bin/`.
    pub configured: BTreeMap<String, PathBuf>,
}

/// Finds runtimes, and remembers them.
pub struct Catalogue {
    config: Config,
    known: Mutex<HashMap<String, Arc<Runtime>>>,
    absent: Mutex<HashMap<&'static str, (Instant, Fault)>>,
}

impl Catalogue {
    pub fn new(config: Config) -> Self {
        Self { config, known: Mutex::default(), absent: Mutex::default() }
    }

    /// The runtime of this name. The first time may run interpreters to ask their version (tens of milliseconds), later times
    /// look whether it is still there. Errors say what was looked for, where, and how to get it; they hold for some seconds.
    pub fn resolve(&self, name: &str) -> Result<Arc<Runtime>, Fault> {
        if let Some(known) = self.known().get(name).filter(|r| still_there(r)) {
            return Ok(known.clone());
        }
        let named = names::find(name).ok_or_else(|| unknown(name))?;
        if let Some((_, fault)) = self.absent().get(named.name).filter(|(since, _)| since.elapsed() < ABSENT_FOR) {
            return Err(fault.clone());
        }
        let runtime = self.find(named).inspect_err(|fault| {
            self.absent().insert(named.name, (Instant::now(), fault.clone()));
        })?;
        let runtime = Arc::new(runtime);
        self.known().insert(name.to_owned(), runtime.clone());
        Ok(runtime)
    }

    /// Every name with what serves it here, or why nothing does.
    pub fn list(&self) -> Vec<(&'static Named, Result<Arc<Runtime>, Fault>)> {
        self.list_of("")
    }

    /// The same for the names that begin so: fewer interpreters are asked.
    pub fn list_of(&self, beginning: &str) -> Vec<(&'static Named, Result<Arc<Runtime>, Fault>)> {
        names::ALL
            .iter()
            .filter(|n| n.name.starts_with(beginning))
            .filter(|n| !n.retired || self.config.configured.contains_key(n.name))
            .map(|n| (n, self.resolve(n.name)))
            .collect()
    }

    /// Bring what the registries of this runtime's language have: an interpreter where there is one to be had, and the libraries
    /// that AWS Lambda supplies. Takes minutes; needs the network. Gives what was installed, a line each.
    pub fn install(&self, name: &str, progress: &mut dyn FnMut(&str)) -> Result<Vec<String>, Fault> {
        let named = names::find(name).ok_or_else(|| unknown(name))?;
        if named.retired {
            return Err(retired(named));
        }
        let done = install::install(&self.config, named, progress);
        self.known().clear();
        self.absent().clear();
        done
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Runtime>>> {
        self.known.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn absent(&self) -> std::sync::MutexGuard<'_, HashMap<&'static str, (Instant, Fault)>> {
        self.absent.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn find(&self, named: &'static Named) -> Result<Runtime, Fault> {
        if named.retired && !self.config.configured.contains_key(named.name) {
            return Err(retired(named));
        }
        let mut runtime = match named.language {
            Language::Provided => provided(named),
            Language::Other => self.mapped(named)?,
            Language::Python | Language::Node | Language::Java => self.interpreter(named)?,
        };
        if named.retired {
            runtime.notes.push(format!("{} is retired; it runs by the operator's explicit mapping", named.name));
        }
        Ok(runtime)
    }

    fn interpreter(&self, named: &'static Named) -> Result<Runtime, Fault> {
        let mut tried = Vec::new();
        for version in named.versions {
            let found = search::search(&self.config, named, version, &mut tried, |hit| match named.language {
                Language::Python => python::runtime(&self.config, named, &hit),
                Language::Node => node::runtime(&self.config, named, &hit),
                _ => java::runtime(&self.config, named, version, &hit),
            });
            if let Some(runtime) = found {
                return Ok(runtime);
            }
        }
        Err(self.missing(named, &tried))
    }

    /// A retired name without a language here: its program stands for the package's own.
    fn mapped(&self, named: &'static Named) -> Result<Runtime, Fault> {
        let path = self.config.configured.get(named.name).ok_or_else(|| unknown(named.name))?;
        if path.as_os_str() == "provided" {
            return Ok(provided(named));
        }
        Err(Fault::new(Cause::Unsupported, format!("runtime {} can't be mapped to {}", named.name, path.display()))
            .hint(format!("runtimes.\"{}\" = \"provided\" runs the package's own bootstrap", named.name)))
    }

    fn missing(&self, named: &Named, tried: &[String]) -> Fault {
        let wanted = named.language.programs(named.versions[0]).join(" or ");
        let looked = match self.config.configured.get(named.name) {
            Some(path) => format!("in the configured {}", path.display()),
            None => {
                format!("in {}, in the folders of pyenv, asdf and nvm, and on the search path", self.config.managed_dir.display())
            }
        };
        let mut message = format!("no {} for runtime {}: looked for {wanted} {looked}", versions(named), named.name);
        if !tried.is_empty() {
            message.push_str("; ");
            message.push_str(&tried.join("; "));
        }
        // A JDK that lacks only Amazon's client needs no other JDK.
        let fetch = format!("`myna runtime install {}`", named.name);
        let hint = if message.contains(&fetch) { format!("{fetch} fetches what is missing") } else { how_to_get(named) };
        Fault::new(Cause::Unsupported, message).hint(hint).detail(named.name)
    }
}

fn versions(named: &Named) -> String {
    let language = match named.language {
        Language::Python => "Python",
        Language::Node => "Node.js",
        Language::Java => "Java",
        Language::Provided | Language::Other => "program",
    };
    format!("{language} {}", named.versions.join(" or "))
}

fn how_to_get(named: &Named) -> String {
    let version = named.versions.first().copied().unwrap_or_default();
    match named.language {
        Language::Node => format!("`myna runtime install {}` fetches it", named.name),
        Language::Python => {
            format!("install Python {version} with pyenv (`pyenv install {version}`) or your system's package manager")
        }
        _ => format!(
            "install it with your system's package manager (a JDK {version}), or map {} to a path in the configuration",
            named.name
        ),
    }
}

fn retired(named: &Named) -> Fault {
    Fault::new(Cause::Unsupported, format!("runtime {} is retired", named.name))
        .hint(format!("map it to a program in the configuration to run it all the same: runtimes.\"{}\" = \"/path\"", named.name))
}

fn unknown(name: &str) -> Fault {
    let known: Vec<_> = names::ALL.iter().filter(|n| !n.retired).map(|n| n.name).collect();
    Fault::invalid(format!("there is no runtime {name:?}")).hint(format!("the names are {}", known.join(", "))).detail("runtime")
}

fn provided(named: &Named) -> Runtime {
    Runtime {
        name: named.name.into(),
        found: "the package's own bootstrap".into(),
        origin: "the package".into(),
        mounts: vec![],
        argv: vec![],
        env: vec![],
        bindable: false,
        libraries: vec![],
        notes: vec![],
    }
}

fn still_there(runtime: &Runtime) -> bool {
    runtime.mounts.iter().all(|m| m.source.exists())
}
