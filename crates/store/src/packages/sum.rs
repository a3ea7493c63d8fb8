//! Whether an unpacked folder still is what was unpacked: one checksum over the names, kinds, modes and bytes of all that is in it,
//! kept in the package's mark. Looked at before a folder becomes an instance's for the first time in a life of the platform, and
//! from time to time.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::{Path, PathBuf},
};

const PIECE_BYTES: usize = 256 * 1024;
/// Folders within folders; archives hold no more ([`crate::options::PackageLimits::depth_max`] is less).
const DEPTH_MAX: usize = 4096;

/// The checksum of a folder, the same whatever order the file system lists it in.
pub(super) fn of(folder: &Path) -> io::Result<u64> {
    let mut sum = Sum { crc: crc32fast::Hasher::new(), bytes: 0, piece: vec![0; PIECE_BYTES] };
    sum.folder(folder, 0)?;
    // How much there is stands beside the checksum, which is short.
    Ok(u64::from(sum.crc.finalize()) | (sum.bytes & 0xffff_ffff) << 32)
}

struct Sum {
    crc: crc32fast::Hasher,
    bytes: u64,
    piece: Vec<u8>,
}

impl Sum {
    fn say(&mut self, kind: u8, mode: u32, name: &[u8]) {
        self.crc.update(&[kind]);
        self.crc.update(&mode.to_le_bytes());
        self.crc.update(&(name.len() as u64).to_le_bytes());
        self.crc.update(name);
    }

    fn folder(&mut self, path: &Path, depth: usize) -> io::Result<()> {
        if depth > DEPTH_MAX {
            return Err(io::Error::other("its folders lie too deep"));
        }
        let mut entries: Vec<PathBuf> =
            std::fs::read_dir(path)?.map(|entry| entry.map(|e| e.path())).collect::<io::Result<_>>()?;
        entries.sort_unstable();
        for entry in entries {
            let meta = entry.symlink_metadata()?;
            let (mode, name) = (meta.permissions().mode() & 0o7777, entry.file_name().unwrap_or_default().as_bytes());
            if meta.is_dir() {
                self.say(b'd', mode, name);
                self.folder(&entry, depth + 1)?;
                self.say(b'e', 0, b"");
            } else if meta.is_symlink() {
                // A link's own mode means nothing.
                self.say(b'l', 0, name);
                let target = std::fs::read_link(&entry)?;
                self.say(b't', 0, target.as_os_str().as_bytes());
            } else if meta.is_file() {
                self.say(b'f', mode, name);
                self.file(&entry)?;
            } else {
                return Err(io::Error::other(format!("{} is neither a file, a folder nor a link", entry.display())));
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path) -> io::Result<()> {
        let mut file: File = crate::directory::open_private(path)?;
        let mut length = 0;
        loop {
            match file.read(&mut self.piece)? {
                0 => break,
                n => {
                    self.crc.update(&self.piece[..n]);
                    length += n as u64;
                }
            }
        }
        self.crc.update(&length.to_le_bytes());
        self.bytes = self.bytes.wrapping_add(length);
        Ok(())
    }
}
