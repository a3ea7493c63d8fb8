//! Projects that a compiler comes before: which program it has made of them, and how to make it.

use super::{
    detect::{Candidate, Contents, Findings, Language},
    tree::{Tree, regular},
};
use std::path::{Path, PathBuf};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unbuilt {
    pub what: &'static str,
    pub build: Build,
}

/// How a compiled project is built. Fixed commands: a project's own files never say what is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Build {
    Cargo,
    Go,
    /// Said, never run.
    ByHand(&'static str),
}

/// Program, arguments, environment.
type Command = (&'static str, &'static [&'static str], &'static [(&'static str, &'static str)]);

impl Build {
    /// What is run, where anything is.
    pub fn command(self) -> Option<Command> {
        match self {
            Build::Cargo => Some(("cargo", &["build", "--release"], &[])),
            Build::Go => Some((
                "go",
                &["build", "-tags", "lambda.norpc", "-o", "bootstrap", "."],
                &[("CGO_ENABLED", "0"), ("GOOS", "linux")],
            )),
            Build::ByHand(_) => None,
        }
    }
    pub fn shown(self) -> String {
        match (self, self.command()) {
            (Build::ByHand(text), _) => text.to_string(),
            (_, Some((program, args, env))) => {
                let env: Vec<String> = env.iter().map(|(k, v)| format!("{k}={v} ")).collect();
                format!("{}{program} {}", env.concat(), args.join(" "))
            }
            (_, None) => String::new(),
        }
    }
}

/// True when the project is compiled to a program of its own.
pub fn native(tree: &dyn Tree, found: &mut Findings) -> bool {
    let rust = tree.text("Cargo.toml").filter(|t| t.contains("lambda_runtime") || t.contains("lambda_http"));
    let go = tree.text("go.mod").filter(|t| t.contains("github.com/aws/aws-lambda-go"));
    if tree.has("bootstrap") {
        let contents = if go.is_some() { Contents::Without(&["*.go", "go.mod", "go.sum"]) } else { Contents::All };
        found.candidates.push(program("bootstrap is the program that Lambda starts".into(), contents));
        if go.is_some() {
            found.unbuilt = Some(Unbuilt { what: "a Go program", build: Build::Go });
        }
        return true;
    }
    if let Some(manifest) = rust {
        found.unbuilt = Some(Unbuilt { what: "a Rust program", build: Build::Cargo });
        let target = |folder: &Path| std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| folder.join("target"), PathBuf::from);
        if let Some(built) = tree.folder().and_then(|folder| built_by_cargo(&target(folder), &manifest)) {
            let why = format!("Cargo.toml uses Lambda's Rust runtime, and {} is built", built.display());
            found.candidates.push(program(why, Contents::Program(built)));
        }
        return true;
    }
    if go.is_some() {
        found.unbuilt = Some(Unbuilt { what: "a Go program", build: Build::Go });
        return true;
    }
    false
}

fn program(why: String, contents: Contents) -> Candidate {
    Candidate { language: Language::Native, handler: "bootstrap".into(), why, contents, notes: Vec::new() }
}

/// The newest program that cargo, or cargo-lambda, has made of this package.
pub(super) fn built_by_cargo(target: &Path, manifest: &str) -> Option<PathBuf> {
    let manifest: toml::Table = manifest.parse().ok()?;
    let bin = manifest.get("bin").and_then(|b| b.as_array()).and_then(|b| b.first()).and_then(|b| b.get("name"));
    let name = bin.or_else(|| manifest.get("package")?.get("name"))?.as_str()?;
    let mut places = vec![target.join("lambda").join(name).join("bootstrap"), target.join("release").join(name)];
    places
        .extend(std::fs::read_dir(target).into_iter().flatten().flatten().map(|triple| triple.path().join("release").join(name)));
    places.into_iter().filter_map(regular).max_by_key(|p| p.metadata().and_then(|m| m.modified()).ok())
}

pub fn java(tree: &dyn Tree, unbuilt: &mut Option<Unbuilt>) -> Vec<Candidate> {
    let compiled = tree.names().iter().any(|n| n.ends_with(".class") || (n.ends_with(".jar") && n.starts_with("lib/")));
    if compiled {
        let why = "the archive has Java classes".to_string();
        return vec![Candidate {
            language: Language::Java,
            handler: String::new(),
            why,
            contents: Contents::All,
            notes: Vec::new(),
        }];
    }
    if tree.has("pom.xml") {
        *unbuilt = Some(Unbuilt {
            what: "a Java project",
            build: Build::ByHand("mvn -q package, then: myna deploy target/NAME.jar --handler pkg.Class::method"),
        });
    } else if tree.has("build.gradle") || tree.has("build.gradle.kts") {
        *unbuilt = Some(Unbuilt {
            what: "a Java project",
            build: Build::ByHand("gradle build, then: myna deploy build/libs/NAME.jar --handler pkg.Class::method"),
        });
    }
    Vec::new()
}
