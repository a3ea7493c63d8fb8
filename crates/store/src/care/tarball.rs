//! A tar archive that is there whole or not at all, with a list of its entries and their checksums at its end.

use super::MANIFEST;
use crate::{Error, hex};
use ring::digest::{Context, SHA256, digest};
use serde_json::{Value, json};
use std::{
    fs::File,
    io::{self, BufWriter, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

pub struct Tarball {
    out: Option<tar::Builder<BufWriter<File>>>,
    target: PathBuf,
    partial: PathBuf,
    entries: Vec<Value>,
    bytes: u64,
}

impl Tarball {
    /// Begin one that will be at `target`, where nothing may be yet.
    pub fn create(target: &Path) -> Result<Self, Error> {
        let target = std::path::absolute(target).map_err(Error::io("resolve", target))?;
        if target.symlink_metadata().is_ok() {
            return Err(Error::refused(&target, "it is there already", "name another file"));
        }
        let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let partial = target.with_file_name(format!(".{name}.{}.part", uuid::Uuid::new_v4()));
        let file =
            File::options().write(true).create_new(true).mode(0o600).open(&partial).map_err(Error::io("create", &partial))?;
        let out = Some(tar::Builder::new(BufWriter::with_capacity(1 << 18, file)));
        Ok(Self { out, target, partial, entries: Vec::new(), bytes: 0 })
    }

    /// An entry out of memory.
    pub fn add(&mut self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        self.entries.push(json!({ "name": name, "bytes": bytes.len(), "sha256": hex(digest(&SHA256, bytes).as_ref()) }));
        self.append(name, bytes.len() as u64, bytes)
    }

    /// An entry out of a file as long as it is now. A segment that is cut meanwhile is filled up, as its tail would be torn.
    pub fn add_file(&mut self, name: &str, path: &Path) -> Result<(), Error> {
        let file = crate::directory::open_private(path).map_err(Error::io("read", path))?;
        let meta = file.metadata().map_err(Error::io("look at", path))?;
        if !meta.is_file() {
            return Err(Error::refused(path, "it is no file", "find out who put it there"));
        }
        let mut hashed = Hashed { file, left: meta.len(), pad: name.ends_with(".seg"), sum: Context::new(&SHA256) };
        self.append(name, meta.len(), &mut hashed)?;
        self.entries.push(json!({ "name": name, "bytes": meta.len(), "sha256": hex(hashed.sum.finish().as_ref()) }));
        Ok(())
    }

    fn append(&mut self, name: &str, bytes: u64, from: impl Read) -> Result<(), Error> {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes);
        header.set_mode(0o600);
        header.set_mtime(0);
        header.set_entry_type(tar::EntryType::Regular);
        let out = self.out.as_mut().expect("open until it is finished");
        out.append_data(&mut header, name, from).map_err(Error::io("write", &self.partial))?;
        self.bytes += bytes;
        Ok(())
    }

    /// With its list, on stable storage, under its name. Gives the bytes of all entries, and how many there are.
    pub fn finish(mut self, about: Value) -> Result<(u64, usize), Error> {
        let list = json!({ "about": about, "entries": self.entries });
        let text = serde_json::to_vec_pretty(&list).map_err(|e| Error::io("write", &self.partial)(io::Error::other(e)))?;
        self.append(MANIFEST, text.len() as u64, &text[..])?;
        let out = self.out.take().expect("open until it is finished");
        let written = (|| {
            let mut buffered = out.into_inner()?;
            buffered.flush()?;
            buffered.get_ref().sync_all()?;
            // Not over what somebody put there meanwhile.
            std::fs::hard_link(&self.partial, &self.target)?;
            std::fs::remove_file(&self.partial)?;
            crate::directory::sync_folder(self.target.parent().unwrap_or(Path::new("/")))
        })();
        written.map_err(Error::io("write", &self.target))?;
        Ok((self.bytes, self.entries.len()))
    }
}

impl Drop for Tarball {
    fn drop(&mut self) {
        // Gone already when it was finished.
        let _ = std::fs::remove_file(&self.partial);
    }
}

/// Exactly so many bytes of a file, with their checksum.
struct Hashed {
    file: File,
    left: u64,
    pad: bool,
    sum: Context,
}

impl Read for Hashed {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let wanted = buf.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if wanted == 0 {
            return Ok(0);
        }
        let mut n = self.file.read(&mut buf[..wanted])?;
        if n == 0 {
            if !self.pad {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it became shorter while it was read"));
            }
            buf[..wanted].fill(0);
            n = wanted;
        }
        self.sum.update(&buf[..n]);
        self.left -= n as u64;
        Ok(n)
    }
}
