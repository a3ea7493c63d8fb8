//! Looking through folders of the state directory.

use crate::Error;
use std::{
    io,
    path::{Path, PathBuf},
};

/// Remove everything in a folder that holds nothing but leftovers.
pub(crate) fn empty(folder: &Path) -> Result<(), Error> {
    for entry in std::fs::read_dir(folder).map_err(Error::io("list", folder))? {
        let path = entry.map_err(Error::io("list", folder))?.path();
        let is_folder = path.symlink_metadata().is_ok_and(|m| m.is_dir());
        let removed = if is_folder { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        removed.map_err(Error::io("remove", path))?;
    }
    Ok(())
}

/// Every folder two levels down: the name of the one it is in, its own, its path.
pub(crate) fn two_levels(folder: &Path) -> Result<Vec<(String, String, PathBuf)>, Error> {
    let list = |path: &Path| -> io::Result<Vec<(String, PathBuf)>> {
        let named =
            |entry: io::Result<std::fs::DirEntry>| entry.map(|e| (e.file_name().to_string_lossy().into_owned(), e.path()));
        let found = std::fs::read_dir(path)?.map(named).collect::<io::Result<Vec<_>>>()?;
        Ok(found.into_iter().filter(|(_, path)| path.symlink_metadata().is_ok_and(|m| m.is_dir())).collect())
    };
    let mut found = Vec::new();
    for (tenant, path) in list(folder).map_err(Error::io("list", folder))? {
        for (digest, place) in list(&path).map_err(Error::io("list", &path))? {
            found.push((tenant.clone(), digest, place));
        }
    }
    Ok(found)
}

/// Bytes of all files below a folder. What vanishes meanwhile counts nothing.
pub(crate) fn folder_bytes(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let bytes = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => folder_bytes(&entry.path()),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    };
    entries.flatten().map(bytes).sum()
}

/// Whether repair has put anything aside. A shelf that can't be read may hold something.
pub(crate) fn shelf_holds(directory: &Path) -> bool {
    match std::fs::read_dir(directory.join(SHELF)) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) => error.kind() != std::io::ErrorKind::NotFound,
    }
}

/// Where repair keeps what it takes out.
pub(crate) const SHELF: &str = "damaged";
