//! ZIP archives written byte by byte, so that any part of one can lie. Source: PKWARE APPNOTE 6.3.10.

use flate2::{Compression, write::DeflateEncoder};
use std::io::Write;

/// What one of an entry's two headers says.
#[derive(Clone, Debug)]
pub struct Header {
    pub name: Vec<u8>,
    pub flags: u16,
    pub method: u16,
    pub crc: u32,
    pub packed: u32,
    pub size: u32,
}

/// One entry: its header before the data, and the one in the central directory.
#[derive(Clone, Debug)]
pub struct Entry {
    pub own: Header,
    pub listed: Header,
    pub data: Vec<u8>,
    /// Type and permission bits.
    pub mode: u32,
    /// Points somewhere else than to its own header.
    pub offset: Option<u32>,
}

impl Entry {
    pub fn file(name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Self {
        let content = content.as_ref();
        Self::new(name.as_ref(), content, content.to_vec(), 0)
    }

    pub fn deflated(name: &str, content: &[u8]) -> Self {
        let mut packer = DeflateEncoder::new(Vec::new(), Compression::best());
        let data = packer.write_all(content).and_then(|()| packer.finish()).expect("memory takes every write");
        Self::new(name.as_bytes(), content, data, 8)
    }

    pub fn link(name: &str, target: &str) -> Self {
        Self::file(name, target).mode(0o120_777)
    }

    fn new(name: &[u8], content: &[u8], data: Vec<u8>, method: u16) -> Self {
        let (packed, size) = (data.len() as u32, content.len() as u32);
        let header = Header { name: name.to_vec(), flags: 0, method, crc: crc32fast::hash(content), packed, size };
        Self { own: header.clone(), listed: header, data, mode: 0o100_644, offset: None }
    }

    #[must_use]
    pub fn mode(self, mode: u32) -> Self {
        Self { mode, ..self }
    }

    /// Changes one thing about it.
    #[must_use]
    pub fn but(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Both headers say this.
    #[must_use]
    pub fn says(mut self, change: impl Fn(&mut Header)) -> Self {
        change(&mut self.own);
        change(&mut self.listed);
        self
    }
}

impl Header {
    /// The part that both headers have in common.
    fn write(&self, out: &mut Vec<u8>) {
        for short in [self.flags, self.method, 0, 0x21] {
            out.extend(short.to_le_bytes());
        }
        for long in [self.crc, self.packed, self.size] {
            out.extend(long.to_le_bytes());
        }
        out.extend((self.name.len() as u16).to_le_bytes());
    }
}

pub fn archive(entries: &[Entry]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for entry in entries {
        let offset = entry.offset.unwrap_or(out.len() as u32);
        out.extend(b"PK\x03\x04\x14\0");
        entry.own.write(&mut out);
        out.extend([0; 2]);
        out.extend(&entry.own.name);
        out.extend(&entry.data);

        // Made by a Unix, which gives the upper half of the attributes their meaning.
        directory.extend(b"PK\x01\x02\x14\x03\x14\0");
        entry.listed.write(&mut directory);
        directory.extend([0; 8]);
        directory.extend((entry.mode << 16).to_le_bytes());
        directory.extend(offset.to_le_bytes());
        directory.extend(&entry.listed.name);
    }
    let at = out.len() as u32;
    out.extend(&directory);
    // Past 65,535 entries the count of this record means nothing, and one of 64 bits says it.
    if entries.len() > usize::from(u16::MAX) {
        let (here, count) = (out.len() as u64, entries.len() as u64);
        out.extend(b"PK\x06\x06");
        out.extend(44u64.to_le_bytes());
        out.extend([45, 0, 45, 0]);
        out.extend([0; 8]);
        for number in [count, count, directory.len() as u64, u64::from(at)] {
            out.extend(number.to_le_bytes());
        }
        out.extend(b"PK\x06\x07\0\0\0\0");
        out.extend(here.to_le_bytes());
        out.extend(1u32.to_le_bytes());
    }
    let count = u16::try_from(entries.len()).unwrap_or(u16::MAX).to_le_bytes();
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend([count, count].concat());
    out.extend((directory.len() as u32).to_le_bytes());
    out.extend(at.to_le_bytes());
    out.extend([0; 2]);
    out
}
