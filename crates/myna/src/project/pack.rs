//! The archive that is sent. The same files give the same bytes: entries in order, no times, modes reduced to "may be run". A
//! packer remembers its last archive and copies what has not changed from there, so that a save of one file costs one file.

use super::walk::{File, Stamp};
use crate::cli::{
    problem::{Doing, Problem},
    units,
};
use std::{
    collections::HashMap,
    io::{Cursor, Write},
    time::{Duration, SystemTime},
};
use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter, write::SimpleFileOptions};

/// Lambda's limits of a directly sent archive and of what is in it (AWS Lambda Developer Guide, "Lambda quotas").
pub const ZIP_BYTES_MAX: u64 = 52_428_800;
pub const UNPACKED_BYTES_MAX: u64 = 262_144_000;

#[derive(Default)]
pub struct Packer {
    last: Option<Last>,
}

struct Last {
    archive: Vec<u8>,
    stamps: HashMap<String, Stamp>,
    packed: SystemTime,
}

impl Last {
    /// Two changes within one tick of the file system's clock look alike, so a file that was fresh when it was packed is read
    /// again.
    fn knows(&self, file: &File) -> bool {
        const TICK: Duration = Duration::from_millis(50);
        self.stamps.get(&file.name) == Some(&file.stamp) && file.stamp.modified + TICK < self.packed
    }
}

impl Packer {
    /// Nothing was packed yet.
    pub fn is_fresh(&self) -> bool {
        self.last.is_none()
    }

    /// Pack the files under their names.
    pub fn pack(&mut self, files: &[File]) -> Result<Vec<u8>, Problem> {
        let unpacked: u64 = files.iter().map(|f| f.bytes).sum();
        within("the files together are", unpacked, UNPACKED_BYTES_MAX)?;
        let packed = SystemTime::now();
        let last = self.last.take();
        let mut old = last.as_ref().and_then(|l| ZipArchive::new(Cursor::new(l.archive.as_slice())).ok());
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for file in files {
            let same = last.as_ref().is_some_and(|l| l.knows(file));
            let kept = same.then_some(old.as_mut()).flatten().and_then(|old| old.by_name(&file.name).ok());
            match kept {
                Some(entry) if (entry.unix_mode().unwrap_or(0) & 0o111 != 0) == file.executable => {
                    zip.raw_copy_file(entry).doing(format!("{} can't be packed", file.name))?;
                }
                _ => add(&mut zip, file)?,
            }
        }
        let archive = zip.finish().doing("the archive can't be completed")?.into_inner();
        within("the archive is", archive.len() as u64, ZIP_BYTES_MAX)?;
        let stamps = files.iter().map(|f| (f.name.clone(), f.stamp)).collect();
        self.last = Some(Last { archive: archive.clone(), stamps, packed });
        Ok(archive)
    }
}

fn add(zip: &mut ZipWriter<Cursor<Vec<u8>>>, file: &File) -> Result<(), Problem> {
    let content = std::fs::read(&file.path).doing(format!("{} can't be read", file.path.display()))?;
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .last_modified_time(DateTime::default())
        .unix_permissions(if file.executable { 0o755 } else { 0o644 });
    zip.start_file(file.name.as_str(), options)
        .and_then(|()| Ok(zip.write_all(&content)?))
        .doing(format!("{} can't be packed", file.name))
}

fn within(what: &str, bytes: u64, max: u64) -> Result<(), Problem> {
    if bytes <= max {
        return Ok(());
    }
    Err(Problem::usage(format!("{what} {}, and at most {} are possible", units::bytes(bytes), units::bytes(max)))
        .hint("leave out what the function doesn't need: exclude = [\"…\"] in myna.toml"))
}

#[cfg(test)]
mod tests {
    use super::super::walk::{Rules, walk};
    use super::*;
    use std::{fs, io::Read, os::unix::fs::PermissionsExt, path::Path};

    fn content(archive: &[u8], name: &str) -> (String, u32) {
        let mut zip = ZipArchive::new(Cursor::new(archive)).unwrap();
        let mut file = zip.by_name(name).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        let mode = file.unix_mode().unwrap() & 0o777;
        (text, mode)
    }
    fn files(root: &Path) -> Vec<File> {
        walk(root, &Rules::default()).unwrap().files
    }

    #[test]
    fn the_same_files_give_the_same_bytes_and_a_change_is_seen() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path();
        fs::write(root.join("a.py"), "one").unwrap();
        fs::write(root.join("run"), "#!/bin/sh").unwrap();
        fs::set_permissions(root.join("run"), fs::Permissions::from_mode(0o700)).unwrap();
        let mut packer = Packer::default();
        let first = packer.pack(&files(root)).unwrap();
        assert_eq!(first, packer.pack(&files(root)).unwrap(), "copied from the last archive");
        assert_eq!(first, Packer::default().pack(&files(root)).unwrap(), "packed anew");
        assert_eq!(content(&first, "run"), ("#!/bin/sh".to_string(), 0o755));

        fs::write(root.join("a.py"), "two!").unwrap();
        fs::set_permissions(root.join("run"), fs::Permissions::from_mode(0o600)).unwrap();
        let second = packer.pack(&files(root)).unwrap();
        assert_eq!(content(&second, "a.py"), ("two!".to_string(), 0o644));
        assert_eq!(content(&second, "run").1, 0o644);
        fs::remove_file(root.join("run")).unwrap();
        let third = packer.pack(&files(root)).unwrap();
        assert_eq!(ZipArchive::new(Cursor::new(third)).unwrap().len(), 1);
    }

    #[test]
    fn what_lambda_would_refuse_is_refused_before_it_is_sent() {
        let temp = tempfile::tempdir().unwrap();
        fs::File::create(temp.path().join("big")).unwrap().set_len(UNPACKED_BYTES_MAX + 1).unwrap();
        let refused = Packer::default().pack(&files(temp.path())).unwrap_err();
        assert!(refused.message.contains("250 MiB"), "{}", refused.message);
    }
}
