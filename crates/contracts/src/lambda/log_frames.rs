//! What an instance writes, cut into records. Two notations: plain output, a record per line; and the frames that Amazon's
//! runtime clients write to the descriptor in `_LAMBDA_TELEMETRY_LOG_FD` (PyPI `awslambdaric`, `bootstrap.py`,
//! `FramedTelemetryLogSink`): type, length, microseconds, text, all big endian, so that a record may hold several lines.
//!
//! Everything here comes from user code. Memory is bounded whatever arrives; bytes that are no frame are shown as lines, and
//! reading resumes at the next frame.

use bytes::{Bytes, BytesMut};
use model::{
    limits::LOG_LINE_BYTES_MAX,
    ports::{FramedLine, Framer},
};
use std::sync::Arc;

/// Follows what was kept of a record that was too long.
pub const CUT: &[u8] = " … [cut]".as_bytes();

const HEADER: usize = 16;
const MAGIC: [u8; 3] = [0xa5, 0x5a, 0x00];
/// A longer record isn't believed.
const FRAME_BYTES_MAX: usize = 64 * 1024 * 1024;
const LEVELS: [Option<&str>; 7] = [None, Some("TRACE"), Some("DEBUG"), Some("INFO"), Some("WARN"), Some("ERROR"), Some("FATAL")];

/// The cutter for an instance's standard output, or for its pipe of framed records.
pub fn framer(framed: bool) -> Box<dyn Framer> {
    if framed { frames() } else { lines() }
}

/// A cutter for an instance's standard output.
pub fn lines() -> Box<dyn Framer> {
    Box::new(Lines::default())
}

/// A cutter for an instance's pipe of framed records.
pub fn frames() -> Box<dyn Framer> {
    Box::new(Frames::default())
}

/// A record that grows up to the limit.
#[derive(Default)]
struct Kept {
    text: BytesMut,
    cut: bool,
}

impl Kept {
    fn add(&mut self, bytes: &[u8]) {
        let room = LOG_LINE_BYTES_MAX - self.text.len();
        self.cut |= bytes.len() > room;
        self.text.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
    fn is_empty(&self) -> bool {
        self.text.is_empty() && !self.cut
    }
    fn take(&mut self) -> Bytes {
        if std::mem::take(&mut self.cut) {
            self.text.extend_from_slice(CUT);
        }
        self.text.split().freeze()
    }
}

#[derive(Default)]
pub struct Lines {
    kept: Kept,
}

impl Framer for Lines {
    fn push(&mut self, mut bytes: &[u8], out: &mut dyn FnMut(FramedLine)) {
        while let Some(end) = bytes.iter().position(|&b| b == b'\n') {
            self.kept.add(&bytes[..end]);
            out(FramedLine { text: self.kept.take(), level: None, at_ms: None });
            bytes = &bytes[end + 1..];
        }
        self.kept.add(bytes);
    }

    fn flush(&mut self, out: &mut dyn FnMut(FramedLine)) {
        if !self.kept.is_empty() {
            out(FramedLine { text: self.kept.take(), level: None, at_ms: None });
        }
    }
}

#[derive(Default)]
pub struct Frames {
    header: [u8; HEADER],
    filled: usize,
    /// The record being read, with the bytes of it that are still to come.
    record: Option<(Frame, usize)>,
    kept: Kept,
    stray: Lines,
}

#[derive(Clone, Copy)]
struct Frame {
    level: usize,
    at_ms: u64,
}

impl Frames {
    fn header_byte(&mut self, byte: u8, out: &mut dyn FnMut(FramedLine)) {
        self.header[self.filled] = byte;
        self.filled += 1;
        // What can't begin a frame is stray, byte by byte, until something can.
        while !self.plausible() {
            self.stray.push(&self.header[..1], out);
            self.header.copy_within(1..self.filled, 0);
            self.filled -= 1;
        }
        if self.filled == HEADER {
            self.filled = 0;
            self.stray.flush(out);
            let frame =
                Frame { level: usize::from(self.header[3] >> 2), at_ms: u64::from_be_bytes(be(&self.header[8..16])) / 1000 };
            self.record = Some((frame, length(&self.header)));
            self.complete(out);
        }
    }

    fn plausible(&self) -> bool {
        let seen = &self.header[..self.filled];
        let magic = seen.iter().zip(MAGIC).all(|(a, b)| *a == b);
        let kind = seen.get(3).is_none_or(|k| k & 2 != 0 && usize::from(k >> 2) < LEVELS.len());
        magic && kind && (self.filled < 8 || length(&self.header) <= FRAME_BYTES_MAX)
    }

    fn complete(&mut self, out: &mut dyn FnMut(FramedLine)) {
        if let Some((frame, 0)) = self.record {
            self.record = None;
            if self.kept.text.last() == Some(&b'\n') && !self.kept.cut {
                self.kept.text.truncate(self.kept.text.len() - 1);
            }
            out(FramedLine {
                text: self.kept.take(),
                level: LEVELS[frame.level].map(Arc::from),
                at_ms: (frame.at_ms > 0).then_some(frame.at_ms),
            });
        }
    }
}

impl Framer for Frames {
    fn push(&mut self, mut bytes: &[u8], out: &mut dyn FnMut(FramedLine)) {
        while let Some(&byte) = bytes.first() {
            match &mut self.record {
                None => {
                    self.header_byte(byte, out);
                    bytes = &bytes[1..];
                }
                Some((_, left)) => {
                    let taken = bytes.len().min(*left);
                    *left -= taken;
                    self.kept.add(&bytes[..taken]);
                    bytes = &bytes[taken..];
                    self.complete(out);
                }
            }
        }
    }

    fn flush(&mut self, out: &mut dyn FnMut(FramedLine)) {
        if let Some((_, left)) = &mut self.record {
            // The writer died in the middle; what came of the record is shown.
            *left = 0;
            self.complete(out);
        }
        let begun = std::mem::take(&mut self.filled);
        self.stray.push(&self.header[..begun], out);
        self.stray.flush(out);
    }
}

fn length(header: &[u8; HEADER]) -> usize {
    u32::from_be_bytes(be(&header[4..8])) as usize
}

fn be<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("the slice has the array's length")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(kind: u8, at_us: u64, text: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0xa5, 0x5a, 0x00, kind];
        bytes.extend_from_slice(&(text.len() as u32).to_be_bytes());
        bytes.extend_from_slice(&at_us.to_be_bytes());
        bytes.extend_from_slice(text);
        bytes
    }

    fn run(mut framer: Box<dyn Framer>, pieces: &[&[u8]]) -> Vec<FramedLine> {
        let mut all = Vec::new();
        for piece in pieces {
            framer.push(piece, &mut |line| all.push(line));
        }
        framer.flush(&mut |line| all.push(line));
        all
    }

    fn texts(lines: &[FramedLine]) -> Vec<String> {
        lines.iter().map(|l| String::from_utf8_lossy(&l.text).into_owned()).collect()
    }

    #[test]
    fn a_frame_is_one_record_with_its_level_and_time_whatever_it_holds() {
        let mut bytes = frame(0x17, 1_700_000_000_123_456, b"[ERROR]\ttwo\nlines\n");
        bytes.extend(frame(0x03, 0, b"\xa5\x5a\x00\x03 inside"));
        let got = run(frames(), &[&bytes]);
        assert_eq!(texts(&got)[0], "[ERROR]\ttwo\nlines");
        assert_eq!((got[0].level.as_deref(), got[0].at_ms), (Some("ERROR"), Some(1_700_000_000_123)));
        assert_eq!((got.len(), got[1].level.as_deref(), got[1].at_ms), (2, None, None));
    }

    #[test]
    fn strays_are_lines_and_reading_resumes() {
        let mut bytes = b"plain\n\xa5\x5a\x00\x01 half".to_vec();
        bytes.extend(frame(0x0e, 5_000, b"{}"));
        bytes.extend(frame(0x0e, 5_000, b"cut of")[..18].to_vec());
        let got = run(frames(), &[&bytes]);
        assert_eq!(got.len(), 4, "{got:?}");
        assert_eq!((&got[0].text[..], &got[2].text[..], &got[3].text[..]), (&b"plain"[..], &b"{}"[..], &b"cu"[..]));
    }

    #[test]
    fn a_length_that_no_one_believes_swallows_nothing() {
        let mut bytes = frame(0x03, 1, b"");
        bytes[4..8].copy_from_slice(&u32::MAX.to_be_bytes());
        bytes.extend(frame(0x0f, 1_000_000, b"after"));
        let got = run(frames(), &[&bytes]);
        assert_eq!(texts(&got).last().unwrap(), "after");
    }

    #[test]
    fn a_line_without_end_is_cut_with_a_marker() {
        let piece = vec![b'x'; 100_000];
        let got = run(lines(), &[&piece, &piece, &piece, &piece, b"\nnext\n"]);
        assert_eq!(got.len(), 2);
        assert_eq!(got[0].text.len(), LOG_LINE_BYTES_MAX + CUT.len());
        assert_eq!(&got[1].text[..], b"next");
    }

    proptest! {
        #[test]
        fn how_bytes_are_split_changes_nothing(
            parts in prop::collection::vec(
                prop_oneof![
                    (0u8..32, any::<u64>(), prop::collection::vec(any::<u8>(), 0..40)).prop_map(|(k, t, b)| frame(k, t, &b)),
                    prop::collection::vec(prop_oneof![Just(0xa5u8), Just(0x5a), Just(0), Just(3), Just(b'\n'), any::<u8>()], 0..30),
                ], 0..8),
            cuts in prop::collection::vec(0usize..400, 0..12),
        ) {
            let bytes = parts.concat();
            let mut at: Vec<usize> = cuts.into_iter().filter(|c| *c < bytes.len()).collect();
            at.sort_unstable();
            let mut pieces = Vec::new();
            let mut from = 0;
            for cut in at.into_iter().chain([bytes.len()]) {
                pieces.push(&bytes[from..cut]);
                from = cut;
            }
            prop_assert_eq!(run(frames(), &pieces), run(frames(), &[&bytes]));
            prop_assert_eq!(run(lines(), &pieces), run(lines(), &[&bytes]));
        }
    }
}
