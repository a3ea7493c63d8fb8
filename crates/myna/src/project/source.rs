//! A folder or an archive as it lies on the disk now.

use super::{
    compiled::Build,
    detect::{Contents, Findings, detect},
    pack::{Packer, ZIP_BYTES_MAX},
    settings::{self, Settings},
    tree::{Archive, Folder, Tree},
    walk::{File, Rules, Walk, walk},
};
use crate::cli::problem::{Doing, Problem};
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

pub struct Source {
    /// The folder, or the archive's file.
    pub path: PathBuf,
    pub settings: Settings,
    pub rules: Rules,
    content: Content,
}

enum Content {
    Folder(Walk),
    Archive { bytes: Vec<u8>, tree: Archive },
}

impl Source {
    /// Read what is there. `state` are directories of platforms.
    pub fn open(path: &Path, allow_outside: &[PathBuf], state: Vec<PathBuf>) -> Result<Self, Problem> {
        let path = path.canonicalize().map_err(|e| {
            Problem::usage(format!("{} can't be read: {e}", path.display()))
                .hint("name a folder or a ZIP archive; a new one: myna init --like lambda-python NAME")
        })?;
        if path.is_dir() {
            let settings = settings::read(&path)?;
            let rules = Rules { exclude: settings.exclude.clone(), allow_outside: allow_outside.to_vec(), state };
            let content = Content::Folder(walk(&path, &rules)?);
            return Ok(Self { path, settings, rules, content });
        }
        let size = path.metadata().doing(format!("{} can't be read", path.display()))?.len();
        if size > ZIP_BYTES_MAX {
            return Err(Problem::usage(format!("{} has {size} bytes, and an archive may have {ZIP_BYTES_MAX}", path.display())));
        }
        let bytes = std::fs::read(&path).doing(format!("{} can't be read", path.display()))?;
        let tree =
            Archive::open(bytes.clone()).map_err(|e| Problem::usage(format!("{} is no ZIP archive: {e}", path.display())))?;
        Ok(Self { path, settings: Settings::default(), rules: Rules::default(), content: Content::Archive { bytes, tree } })
    }

    pub fn tree(&self) -> Box<dyn Tree + '_> {
        match &self.content {
            Content::Folder(walk) => Box::new(Folder { root: &self.path, walk }),
            Content::Archive { tree, .. } => Box::new(Borrowed(tree)),
        }
    }
    pub fn findings(&self) -> Findings {
        detect(&*self.tree())
    }
    pub fn folder(&self) -> Option<&Walk> {
        match &self.content {
            Content::Folder(walk) => Some(walk),
            Content::Archive { .. } => None,
        }
    }
    pub fn left_out(&self) -> &[String] {
        self.folder().map_or(&[], |walk| &walk.left_out)
    }

    /// A function's name made of the folder's or archive's: letters, digits, `-` and `_` are possible.
    pub fn default_name(&self) -> String {
        let name = match &self.content {
            Content::Folder(_) => self.path.file_name(),
            Content::Archive { .. } => self.path.file_stem(),
        };
        let name = name.map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).collect();
        let name = name.trim_matches('-');
        if name.is_empty() { "function".to_string() } else { name.chars().take(64).collect() }
    }

    /// The archive to send, and how many files are in it.
    pub fn pack(&self, contents: &Contents, packer: &mut Packer) -> Result<(Vec<u8>, usize), Problem> {
        let walk = match &self.content {
            Content::Archive { bytes, tree } => return Ok((bytes.clone(), tree.names().len())),
            Content::Folder(walk) => walk,
        };
        // What its owner tells Myna is no business of the function's; it may hold values of its variables.
        let own = walk.files.iter().filter(|f| f.name != settings::FILE);
        let files: Vec<File> = match contents {
            Contents::All => own.map(runnable_bootstrap).collect(),
            Contents::Program(path) => vec![program(path)?],
            Contents::Without(patterns) => {
                let rules = Rules { exclude: patterns.iter().map(ToString::to_string).collect(), ..Rules::default() };
                own.filter(|f| !rules.leaves_out(&f.name, &f.path)).map(runnable_bootstrap).collect()
            }
        };
        Ok((packer.pack(&files)?, files.len()))
    }

    /// Run the project's compiler; what it prints is shown.
    pub fn build(&self, build: Build) -> Result<(), Problem> {
        let Some((program, args, env)) = build.command() else {
            return Err(Problem::usage("this project is built by hand").hint(build.shown()));
        };
        let status = Command::new(program)
            .args(args)
            .envs(env.iter().copied())
            .current_dir(&self.path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status();
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(Problem::failed(format!("{program} in {} ended with {status}", self.path.display()))),
            Err(error) => Err(Problem::failed(format!("{program} can't be started: {error}"))
                .hint(format!("install {program}, or build elsewhere: {}", build.shown()))),
        }
    }
}

struct Borrowed<'a>(&'a Archive);

impl Tree for Borrowed<'_> {
    fn names(&self) -> Vec<&str> {
        self.0.names()
    }
    fn text(&self, name: &str) -> Option<String> {
        self.0.text(name)
    }
    fn folder(&self) -> Option<&Path> {
        None
    }
}

/// Lambda starts `bootstrap`, so it must be one that may be started.
fn runnable_bootstrap(file: &File) -> File {
    File { executable: file.executable || file.name == "bootstrap", ..file.clone() }
}

fn program(path: &Path) -> Result<File, Problem> {
    let file = File::named("bootstrap", path).doing(format!("{} can't be read", path.display()))?;
    Ok(File { executable: true, ..file })
}
