//! A tar archive that is there whole or not at all. At its end are a list of its entries with their checksums, and the checksum of
//! every byte before, paddings and headers included: what nobody reads is no place where an archive may have been changed.

use super::{CHECKSUM, MANIFEST};
use crate::{Error, hex};
use ring::digest::{Context, SHA256, digest};
use serde_json::{Value, json};
use std::{
    fs::File,
    io::{self, BufWriter, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

pub struct Tarball {
    out: Option<tar::Builder<Summed>>,
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
        let to = BufWriter::with_capacity(1 << 18, file);
        let out = Some(tar::Builder::new(Summed { to, sum: Context::new(&SHA256) }));
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
        let mut header = plain(bytes);
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
            let sum = out.get_ref().sum.clone();
            let mut buffered = out.into_inner()?.to;
            // `into_inner` has written the archive's own end, of which the tail takes the place.
            buffered.seek(SeekFrom::End(-(END as i64)))?;
            buffered.write_all(&tail(sum)?)?;
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

/// What an archive ends with: two empty blocks.
const END: usize = 1024;
/// A header, a block of content, and the end.
const TAIL: usize = 512 + 512 + END;

fn plain(bytes: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes);
    header.set_mode(0o600);
    header.set_mtime(0);
    header.set_entry_type(tar::EntryType::Regular);
    header
}

/// The last entry and the end of an archive whose bytes before have this checksum.
fn tail(sum: Context) -> io::Result<Vec<u8>> {
    let text = format!("{}\n", hex(sum.finish().as_ref()));
    let mut made = tar::Builder::new(Vec::with_capacity(TAIL));
    made.append_data(&mut plain(text.len() as u64), CHECKSUM, text.as_bytes())?;
    made.into_inner()
}

/// Whether every byte is as it was written.
pub(super) fn unchanged(mut file: impl Read + Seek) -> io::Result<bool> {
    let length = file.seek(SeekFrom::End(0))?;
    let Some(body) = length.checked_sub(TAIL as u64) else { return Ok(false) };
    file.rewind()?;
    let (mut sum, mut piece) = (Context::new(&SHA256), vec![0; 1 << 16]);
    let mut from = (&mut file).take(body);
    loop {
        match from.read(&mut piece)? {
            0 => break,
            n => sum.update(&piece[..n]),
        }
    }
    let mut end = Vec::with_capacity(TAIL);
    file.take(TAIL as u64).read_to_end(&mut end)?;
    Ok(end == tail(sum)?)
}

/// A file with the checksum of all that was written to it.
struct Summed {
    to: BufWriter<File>,
    sum: Context,
}

impl Write for Summed {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.to.write(buf)?;
        self.sum.update(&buf[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
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

#[cfg(test)]
mod tests {
    use super::*;

    // F22
    #[test]
    fn no_byte_of_an_archive_can_be_changed_unseen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tar");
        let mut made = Tarball::create(&path).unwrap();
        made.add("format", b"1\n").unwrap();
        made.add("keys", &[7; 700]).unwrap();
        made.finish(json!({ "rows": 1 })).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let changed = |bytes: &[u8]| !unchanged(io::Cursor::new(bytes)).unwrap();
        assert!(!changed(&bytes));
        let names: Vec<_> =
            (tar::Archive::new(&bytes[..]).entries().unwrap()).map(|entry| entry.unwrap().path().unwrap().into_owned()).collect();
        assert_eq!(names, ["format", "keys", MANIFEST, CHECKSUM].map(PathBuf::from));
        for at in 0..bytes.len() {
            let mut bent = bytes.clone();
            bent[at] ^= 1;
            assert!(changed(&bent), "at {at}");
        }
        for length in (0..bytes.len()).step_by(512) {
            assert!(changed(&bytes[..length]), "cut at {length}");
        }
        assert!(changed(&[&bytes[..], &[0; 512]].concat()));
    }
}
