//! The encoding of what segments hold: numbers of seven bits a byte, texts behind their length. Written by hand, since these
//! files outlive builds: a field that is added later goes to the end, where an older record simply lacks it.

use bytes::Bytes;
use std::sync::Arc;
use uuid::Uuid;

pub(crate) fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}
pub(crate) fn put_uuid(out: &mut Vec<u8>, id: &Uuid) {
    out.extend_from_slice(id.as_bytes());
}
/// Zero for nothing, otherwise the number and one.
pub(crate) fn put_maybe(out: &mut Vec<u8>, number: Option<u64>) {
    put_number(out, number.map_or(0, |n| n.saturating_add(1)));
}

/// Reads what the functions above wrote. Every answer is `None` where the bytes don't hold what is asked for.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }
    pub(crate) fn number(&mut self) -> Option<u64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return None;
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }
    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        self.fixed(length)
    }
    pub(crate) fn fixed(&mut self, length: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }
    pub(crate) fn str(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }
    pub(crate) fn text(&mut self) -> Option<Arc<str>> {
        self.str().map(Arc::from)
    }
    pub(crate) fn copy(&mut self) -> Option<Bytes> {
        self.bytes().map(Bytes::copy_from_slice)
    }
    pub(crate) fn uuid(&mut self) -> Option<Uuid> {
        Uuid::from_slice(self.fixed(16)?).ok()
    }
    pub(crate) fn maybe(&mut self) -> Option<Option<u64>> {
        Some(self.number()?.checked_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(number: u64, bytes: Vec<u8>, maybe: Option<u32>) {
            let mut out = Vec::new();
            put_number(&mut out, number);
            put_bytes(&mut out, &bytes);
            put_maybe(&mut out, maybe.map(u64::from));
            let mut reader = Reader(&out);
            prop_assert_eq!(reader.number(), Some(number));
            prop_assert_eq!(reader.bytes(), Some(&bytes[..]));
            prop_assert_eq!(reader.maybe(), Some(maybe.map(u64::from)));
            prop_assert!(reader.0.is_empty());
        }
        #[test]
        fn garbage_is_no_panic(bytes: Vec<u8>) {
            let mut reader = Reader(&bytes);
            while reader.bytes().is_some() && reader.number().is_some() && reader.uuid().is_some() {}
        }
    }
}
