//! Archives made by hand, so that any part of one can lie.

/// One entry, with what its two headers say of it.
#[derive(Clone)]
pub(super) struct Item {
    pub(super) name: Vec<u8>,
    pub(super) local_name: Vec<u8>,
    pub(super) data: Vec<u8>,
    pub(super) method: u16,
    pub(super) flags: u16,
    pub(super) crc: u32,
    pub(super) local_crc: u32,
    pub(super) size: u32,
    pub(super) local_size: u32,
    pub(super) packed: u32,
    pub(super) mode: u32,
    pub(super) extra: Vec<u8>,
    /// Points into the archive, instead of to its own header.
    pub(super) offset: Option<u32>,
    pub(super) made_by: u8,
}

impl Item {
    pub(super) fn stored(name: impl AsRef<[u8]>, data: impl AsRef<[u8]>) -> Item {
        Item::packed(name, data.as_ref(), data.as_ref().to_vec(), 0)
    }
    pub(super) fn deflated(name: impl AsRef<[u8]>, data: impl AsRef<[u8]>) -> Item {
        use std::io::Write;
        let mut packer = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
        packer.write_all(data.as_ref()).unwrap();
        Item::packed(name, data.as_ref(), packer.finish().unwrap(), 8)
    }
    fn packed(name: impl AsRef<[u8]>, content: &[u8], data: Vec<u8>, method: u16) -> Item {
        let (crc, size, packed) = (crc32fast::hash(content), content.len() as u32, data.len() as u32);
        let name = name.as_ref().to_vec();
        Item {
            local_name: name.clone(),
            name,
            data,
            method,
            flags: 0,
            crc,
            local_crc: crc,
            size,
            local_size: size,
            packed,
            mode: 0o100_644,
            extra: Vec::new(),
            offset: None,
            made_by: 3,
        }
    }
    pub(super) fn folder(name: &str) -> Item {
        Item { mode: 0o040_755, ..Item::stored(name, "") }
    }
    pub(super) fn link(name: &str, target: &str) -> Item {
        Item { mode: 0o120_777, ..Item::stored(name, target) }
    }
    pub(super) fn with(self, change: impl FnOnce(&mut Item)) -> Item {
        let mut item = self;
        change(&mut item);
        item
    }
    fn local(&self) -> Vec<u8> {
        let mut out = b"PK\x03\x04\x14\x00".to_vec();
        shorts(&mut out, &[self.flags, self.method, 0, 0x21]);
        longs(&mut out, &[self.local_crc, self.packed, self.local_size]);
        shorts(&mut out, &[self.local_name.len() as u16, 0]);
        out.extend_from_slice(&self.local_name);
        out.extend_from_slice(&self.data);
        out
    }
    fn central(&self, offset: u32) -> Vec<u8> {
        let mut out = b"PK\x01\x02".to_vec();
        out.extend_from_slice(&[0x14, self.made_by, 0x14, 0]);
        shorts(&mut out, &[self.flags, self.method, 0, 0x21]);
        longs(&mut out, &[self.crc, self.packed, self.size]);
        shorts(&mut out, &[self.name.len() as u16, self.extra.len() as u16, 0, 0, 0]);
        longs(&mut out, &[self.mode << 16, self.offset.unwrap_or(offset)]);
        out.extend_from_slice(&self.name);
        out.extend_from_slice(&self.extra);
        out
    }
}

pub(super) fn zip(items: &[Item]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for item in items {
        directory.extend(item.central(out.len() as u32));
        out.extend(item.local());
    }
    let (offset, count) = (out.len() as u32, items.len() as u16);
    out.extend_from_slice(&directory);
    end(&mut out, count, directory.len() as u32, offset);
    out
}

pub(super) fn end(out: &mut Vec<u8>, count: u16, size: u32, offset: u32) {
    out.extend_from_slice(b"PK\x05\x06");
    shorts(out, &[0, 0, count, count]);
    longs(out, &[size, offset]);
    shorts(out, &[0]);
}

/// An archive with the 64-bit end; `entries` is what that says.
pub(super) fn zip64(items: &[Item], entries: u64, size: Option<u64>) -> Vec<u8> {
    let short = zip(items);
    let body = &short[..short.len() - 22];
    let offset = u32::from_le_bytes(short[short.len() - 6..short.len() - 2].try_into().unwrap());
    let mut out = body.to_vec();
    out.extend_from_slice(b"PK\x06\x06");
    let directory = (body.len() - offset as usize) as u64;
    out.extend_from_slice(&44u64.to_le_bytes());
    shorts(&mut out, &[45, 45]);
    longs(&mut out, &[0, 0]);
    for number in [entries, entries, size.unwrap_or(directory), offset.into()] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(b"PK\x06\x07");
    longs(&mut out, &[0]);
    out.extend_from_slice(&(body.len() as u64).to_le_bytes());
    longs(&mut out, &[1]);
    end(&mut out, 0xffff, 0xffff_ffff, 0xffff_ffff);
    out
}

pub(super) fn shorts(out: &mut Vec<u8>, numbers: &[u16]) {
    numbers.iter().for_each(|n| out.extend_from_slice(&n.to_le_bytes()));
}
pub(super) fn longs(out: &mut Vec<u8>, numbers: &[u32]) {
    numbers.iter().for_each(|n| out.extend_from_slice(&n.to_le_bytes()));
}
