//! The language shims: small clients of the Runtime API that this binary carries and puts where instances can see them.
//!
//! A folder's name is the hash of its content: two builds of the platform on one directory don't disturb each other, and what an
//! instance has mounted never changes under it.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// A shim: the files that one folder holds.
pub struct Shim {
    pub name: &'static str,
    files: &'static [(&'static str, &'static str)],
    /// Empty folders, where something else is mounted.
    folders: &'static [&'static str],
}

pub const PYTHON: Shim = Shim {
    name: "python",
    files: &[
        ("bootstrap.py", include_str!("../shims/python/bootstrap.py")),
        ("_myna/__init__.py", include_str!("../shims/python/_myna/__init__.py")),
        ("_myna/context.py", include_str!("../shims/python/_myna/context.py")),
        ("_myna/handler.py", include_str!("../shims/python/_myna/handler.py")),
        ("_myna/logformat.py", include_str!("../shims/python/_myna/logformat.py")),
        ("_myna/logs.py", include_str!("../shims/python/_myna/logs.py")),
        ("_myna/loop.py", include_str!("../shims/python/_myna/loop.py")),
        ("_myna/marshal.py", include_str!("../shims/python/_myna/marshal.py")),
        ("_myna/rehearsal.py", include_str!("../shims/python/_myna/rehearsal.py")),
        ("_myna/wire.py", include_str!("../shims/python/_myna/wire.py")),
    ],
    folders: &["libraries"],
};

/// One file of the Node.js shim as a part of the joined one.
macro_rules! part {
    ($name:literal) => {
        concat!("own['./", $name, "'] = (module, exports, require) => {", include_str!(concat!("../shims/node/", $name)), "};\n")
    };
}

pub const NODE: Shim = Shim {
    name: "node",
    files: &[
        (
            "bootstrap.cjs",
            concat!(
                include_str!("../shims/node/join.cjs"),
                part!("context.cjs"),
                part!("errors.cjs"),
                part!("load.cjs"),
                part!("logs.cjs"),
                part!("stream.cjs"),
                part!("wire.cjs"),
                part!("bootstrap.cjs"),
                "joined('./bootstrap.cjs');\n"
            ),
        ),
        ("rehearsal.js", include_str!("../shims/node/rehearsal.js")),
    ],
    folders: &["node_modules"],
};

impl Shim {
    fn hash(&self) -> String {
        let mut context = ring::digest::Context::new(&ring::digest::SHA256);
        for (path, text) in self.files {
            for part in [path, text] {
                context.update(&(part.len() as u64).to_le_bytes());
                context.update(part.as_bytes());
            }
        }
        context.finish().as_ref()[..8].iter().map(|b| format!("{b:02x}")).collect()
    }

    /// Put the files below `state_dir`, once; gives their folder.
    pub fn materialise(&self, state_dir: &Path) -> io::Result<PathBuf> {
        let shims = state_dir.join("shims");
        let folder = shims.join(format!("{}-{}", self.name, self.hash()));
        if folder.is_dir() {
            return Ok(folder);
        }
        fs::create_dir_all(&shims)?;
        let new = tempfile::Builder::new().prefix(".new-").tempdir_in(&shims)?;
        for (path, text) in self.files {
            let path = new.path().join(path);
            fs::create_dir_all(path.parent().expect("below the folder"))?;
            fs::write(path, text)?;
        }
        for path in self.folders {
            fs::create_dir_all(new.path().join(path))?;
        }
        readable(new.path())?;
        match fs::rename(new.path(), &folder) {
            Ok(()) => {
                let _ = new.keep();
            }
            // Another process was faster, with the same content.
            Err(_) if folder.is_dir() => {}
            Err(error) => return Err(error),
        }
        Ok(folder)
    }
}

/// Instances run as other users: everything below may be read by all and written by its owner.
pub fn readable(path: &Path) -> io::Result<()> {
    let about = fs::symlink_metadata(path)?;
    if about.is_symlink() {
        return Ok(());
    }
    let executable = about.is_dir() || about.permissions().mode() & 0o100 != 0;
    fs::set_permissions(path, fs::Permissions::from_mode(if executable { 0o755 } else { 0o644 }))?;
    if about.is_dir() {
        for entry in fs::read_dir(path)? {
            readable(&entry?.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shim_is_written_once_and_readable_by_all() {
        let state = tempfile::tempdir().unwrap();
        let folder = PYTHON.materialise(state.path()).unwrap();
        let again = PYTHON.materialise(state.path()).unwrap();
        assert_eq!(folder, again);
        assert_eq!(fs::metadata(folder.join("_myna")).unwrap().permissions().mode() & 0o777, 0o755);
        assert_eq!(fs::metadata(folder.join("_myna/loop.py")).unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(fs::read_dir(state.path().join("shims")).unwrap().count(), 1, "nothing unfinished is left");
    }
}
