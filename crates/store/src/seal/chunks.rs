//! Archives are sealed in pieces, so that one can be sent without being in memory whole. Each piece is bound to its number and to
//! whether it is the last: none can be left out, moved or cut off.

use super::{Label, OVERHEAD, Seal};
use crate::Error;
use std::{
    fs::File,
    io::{self, Read, Write},
    sync::Arc,
};

const PIECE: usize = 1 << 20;

fn name(of: &str, number: u64, last: bool) -> String {
    format!("{of}/{number}{}", if last { "/last" } else { "" })
}

/// Write `plain` sealed. `of` is where it lies.
pub(crate) fn seal_stream(
    seal: &Seal,
    tenant: &str,
    of: &str,
    plain: &[u8],
    out: &mut impl Write,
) -> Result<io::Result<()>, Error> {
    let count = plain.len().div_ceil(PIECE).max(1);
    for number in 0..count {
        let piece = &plain[number * PIECE..plain.len().min((number + 1) * PIECE)];
        let name = name(of, number as u64, number + 1 == count);
        let sealed = seal.seal(Label { tenant, kind: "archive", name: &name }, piece)?;
        if let Err(e) = out.write_all(&sealed) {
            return Ok(Err(e));
        }
    }
    Ok(Ok(()))
}

/// How long what was sealed is, by the length of the file.
pub(crate) fn plain_bytes(sealed: u64) -> u64 {
    sealed.saturating_sub(sealed.div_ceil((PIECE + OVERHEAD) as u64) * OVERHEAD as u64)
}

/// An archive that is opened piece by piece as it is read. What was changed on the disk is an error, never other bytes.
pub struct Opened {
    seal: Arc<Seal>,
    file: File,
    tenant: String,
    of: String,
    number: u64,
    left: u64,
    piece: Vec<u8>,
    at: usize,
}

impl Opened {
    pub(crate) fn new(seal: Arc<Seal>, file: File, tenant: &str, of: &str) -> io::Result<Self> {
        let left = file.metadata()?.len();
        if left == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the archive is empty"));
        }
        Ok(Self { seal, file, tenant: tenant.into(), of: of.into(), number: 0, left, piece: Vec::new(), at: 0 })
    }

    fn next(&mut self) -> io::Result<()> {
        let length = self.left.min((PIECE + OVERHEAD) as u64);
        let mut sealed = vec![0; length as usize];
        self.file.read_exact(&mut sealed)?;
        self.left -= length;
        let name = name(&self.of, self.number, self.left == 0);
        let label = Label { tenant: &self.tenant, kind: "archive", name: &name };
        let opened = self.seal.open_sealed(label, &sealed);
        self.piece = opened.map_err(|why| io::Error::new(io::ErrorKind::InvalidData, format!("the archive: {why}")))?;
        (self.number, self.at) = (self.number + 1, 0);
        Ok(())
    }
}

impl Read for Opened {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() {
            if self.left == 0 {
                return Ok(0);
            }
            self.next()?;
        }
        let count = out.len().min(self.piece.len() - self.at);
        out[..count].copy_from_slice(&self.piece[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}
