//! Which files of a folder belong to the function. What surely doesn't is left out, and named: state directories, version
//! control, `.env` files, caches. A link that leads out of the project is refused: it may point at anything of the user's.

use crate::{
    cli::problem::{Doing, Problem},
    platform::find,
    project::pattern::fits,
};
use std::{
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// What a walk found.
#[derive(Debug, Default)]
pub struct Walk {
    /// In order of their names.
    pub files: Vec<File>,
    /// Paths from the root, folders with a slash at the end.
    pub left_out: Vec<String>,
    /// Every folder that was entered, the root first; real paths.
    pub folders: Vec<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// The path from the root, `/` between the parts.
    pub name: String,
    pub path: PathBuf,
    pub bytes: u64,
    pub executable: bool,
    /// When it was last changed, as the file system tells it.
    pub stamp: Stamp,
}

/// Equal stamps: the same content, as far as the file system can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub modified: std::time::SystemTime,
    inode: u64,
    bytes: u64,
}

#[derive(Clone, Debug, Default)]
pub struct Rules {
    pub exclude: Vec<String>,
    /// Folders outside the project that its links may lead to.
    pub allow_outside: Vec<PathBuf>,
    /// Directories of platforms, wherever they are.
    pub state: Vec<PathBuf>,
}

pub const FILES_MAX: usize = 100_000;

/// Names that are never part of a function.
const NEVER: [&str; 18] = [
    find::DIR,
    ".git",
    ".hg",
    ".svn",
    ".jj",
    "__pycache__",
    ".pytest_cache",
    ".mypy_cache",
    ".ruff_cache",
    ".tox",
    ".nox",
    ".aws-sam",
    ".serverless",
    ".idea",
    ".vscode",
    ".DS_Store",
    ".terraform",
    ".direnv",
];

impl Rules {
    /// Whether a path below `root` is left out, by its name and what it is.
    pub fn leaves_out(&self, name: &str, path: &Path) -> bool {
        let own = name.rsplit('/').next().unwrap_or(name);
        NEVER.contains(&own)
            || own.starts_with(".env")
            || is_scratch(own)
            || name.ends_with("node_modules/.cache")
            || self.exclude.iter().any(|pattern| fits(pattern, name))
            || (path.is_dir() && self.leaves_out_folder(own, path))
    }

    fn leaves_out_folder(&self, own: &str, path: &Path) -> bool {
        path.join("pyvenv.cfg").is_file()
            || path.join(find::SOCKET).exists()
            || (own == "target" && path.parent().is_some_and(|p| p.join("Cargo.toml").is_file()))
            || path.canonicalize().is_ok_and(|real| self.state.contains(&real))
    }

    /// Whether anything on the way from the root to `path` is left out; for a watch, which hears of single files.
    pub fn leaves_out_below(&self, root: &Path, path: &Path) -> bool {
        let Ok(below) = path.strip_prefix(root) else { return true };
        let mut name = String::new();
        below.components().any(|part| {
            if !name.is_empty() {
                name.push('/');
            }
            name.push_str(&part.as_os_str().to_string_lossy());
            self.leaves_out(&name, &root.join(&name))
        })
    }
}

/// Collect the files below `root`.
pub fn walk(root: &Path, rules: &Rules) -> Result<Walk, Problem> {
    let root = root.canonicalize().map_err(|e| Problem::usage(format!("{} can't be read: {e}", root.display())))?;
    let mut allowed = vec![root.clone()];
    for folder in &rules.allow_outside {
        allowed.push(folder.canonicalize().map_err(|e| Problem::usage(format!("--allow-outside {}: {e}", folder.display())))?);
    }
    let mut found = Walk::default();
    let mut walker = Walker { rules, allowed, entered: vec![root.clone()], found: &mut found };
    walker.folder(&root, "")?;
    found.files.sort_by(|a, b| a.name.cmp(&b.name));
    found.left_out.sort();
    Ok(found)
}

struct Walker<'a> {
    rules: &'a Rules,
    allowed: Vec<PathBuf>,
    /// Real paths of the folders that are being walked: a link back to one of them would never end.
    entered: Vec<PathBuf>,
    found: &'a mut Walk,
}

impl Walker<'_> {
    fn folder(&mut self, folder: &Path, prefix: &str) -> Result<(), Problem> {
        self.found.folders.push(folder.to_path_buf());
        for entry in fs::read_dir(folder).doing(format!("{} can't be read", folder.display()))? {
            let entry = entry.doing(format!("{} can't be read", folder.display()))?;
            let own = entry
                .file_name()
                .into_string()
                .map_err(|name| Problem::usage(format!("the name {name:?} in {} is not UTF-8", folder.display())))?;
            let name = if prefix.is_empty() { own } else { format!("{prefix}/{own}") };
            self.entry(&entry.path(), name)?;
        }
        Ok(())
    }

    fn entry(&mut self, path: &Path, name: String) -> Result<(), Problem> {
        if self.rules.leaves_out(&name, path) {
            let slash = if path.is_dir() { "/" } else { "" };
            self.found.left_out.push(format!("{name}{slash}"));
            return Ok(());
        }
        let real = path.canonicalize().map_err(|e| Problem::usage(format!("{name} leads nowhere: {e}")))?;
        if !self.allowed.iter().any(|a| real.starts_with(a)) {
            return Err(Problem::usage(format!("{name} leads out of the project, to {}", real.display()))
                .hint(format!("if that is meant: --allow-outside {}", real.parent().unwrap_or(&real).display())));
        }
        let meta = fs::metadata(&real).doing(format!("{name} can't be read"))?;
        let kind = meta.file_type();
        if kind.is_dir() {
            if self.entered.contains(&real) {
                return Err(Problem::usage(format!("{name} links back to {}, which contains it", real.display())));
            }
            self.entered.push(real.clone());
            let walked = self.folder(&real, &name);
            self.entered.pop();
            return walked;
        }
        if kind.is_socket() || kind.is_fifo() || kind.is_block_device() || kind.is_char_device() {
            self.found.left_out.push(name);
            return Ok(());
        }
        if self.found.files.len() == FILES_MAX {
            return Err(Problem::usage(format!("the project has more than {FILES_MAX} files"))
                .hint("leave folders out: exclude = [\"…\"] in myna.toml"));
        }
        self.found.files.push(File::of(name, real, &meta));
        Ok(())
    }
}

/// What editors leave beside a file while it is open.
fn is_scratch(own: &str) -> bool {
    own.ends_with('~') || own.starts_with(".#") || own.ends_with(".swp") || own.ends_with(".swx") || own == "4913"
}

impl File {
    /// The file at `path`, by another name.
    pub fn named(name: &str, path: &Path) -> std::io::Result<Self> {
        Ok(Self::of(name.to_string(), path.to_path_buf(), &fs::metadata(path)?))
    }

    fn of(name: String, path: PathBuf, meta: &fs::Metadata) -> Self {
        let stamp = Stamp { modified: meta.modified().unwrap_or(std::time::UNIX_EPOCH), inode: meta.ino(), bytes: meta.len() };
        Self { name, path, bytes: meta.len(), executable: meta.permissions().mode() & 0o111 != 0, stamp }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::{fs::symlink, net::UnixListener};

    fn project(files: &[&str]) -> tempfile::TempDir {
        let temp = tempfile::tempdir().unwrap();
        for name in files {
            let path = temp.path().join("p").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, name).unwrap();
        }
        temp
    }
    fn names(walk: &Walk) -> Vec<&str> {
        walk.files.iter().map(|f| f.name.as_str()).collect()
    }

    /// H79: the state directory, version control and `.env` files never leave the machine's project folder, and it is said.
    #[test]
    fn what_is_never_part_of_a_function_is_left_out_aloud() {
        let temp = project(&[
            "app.py",
            "lib/x.py",
            ".env",
            ".env.local",
            "lib/.env",
            ".git/HEAD",
            ".myna/key",
            "venv/pyvenv.cfg",
            "venv/bin/python",
            "node_modules/.cache/x",
            "node_modules/a/index.js",
            "__pycache__/app.pyc",
            "Cargo.toml",
            "target/debug/x",
            "docs/target/y",
            "notes.txt",
        ]);
        let root = temp.path().join("p");
        let state = root.join("elsewhere");
        fs::create_dir(&state).unwrap();
        let _socket = UnixListener::bind(state.join("admin.sock")).unwrap();
        let _other = UnixListener::bind(root.join("my.sock")).unwrap();
        let rules = Rules { exclude: vec!["*.txt".into()], ..Rules::default() };
        let walk = walk(&root, &rules).unwrap();
        assert_eq!(names(&walk), ["Cargo.toml", "app.py", "docs/target/y", "lib/x.py", "node_modules/a/index.js"]);
        assert_eq!(
            walk.left_out,
            [
                ".env",
                ".env.local",
                ".git/",
                ".myna/",
                "__pycache__/",
                "elsewhere/",
                "lib/.env",
                "my.sock",
                "node_modules/.cache/",
                "notes.txt",
                "target/",
                "venv/"
            ]
        );
        for (inside, out) in
            [(".myna/key", true), ("app.py", false), ("lib/.env", true), ("target/debug/x", true), ("lib/new.py", false)]
        {
            assert_eq!(rules.leaves_out_below(&root, &root.join(inside)), out, "{inside}");
        }
    }

    /// H78: a link out of the project is refused by name, and followed only where its owner allowed it.
    #[test]
    fn links_stay_inside_unless_allowed() {
        let temp = project(&["app.py", "lib/x.py"]);
        let root = temp.path().join("p");
        symlink("lib", root.join("alias")).unwrap();
        symlink("app.py", root.join("same.py")).unwrap();
        assert_eq!(names(&walk(&root, &Rules::default()).unwrap()), ["alias/x.py", "app.py", "lib/x.py", "same.py"]);

        let outside = temp.path().join("secrets");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("key"), "k").unwrap();
        symlink(outside.join("key"), root.join("lib/key")).unwrap();
        let refused = walk(&root, &Rules::default()).unwrap_err();
        assert!(
            refused.message.contains("/key leads out") && refused.hint.unwrap().contains("--allow-outside"),
            "{}",
            refused.message
        );
        let allowed = Rules { allow_outside: vec![outside], ..Rules::default() };
        assert!(names(&walk(&root, &allowed).unwrap()).contains(&"lib/key"));

        symlink("..", root.join("lib/up")).unwrap();
        assert!(walk(&root, &allowed).unwrap_err().message.contains("links back"));
    }
}
