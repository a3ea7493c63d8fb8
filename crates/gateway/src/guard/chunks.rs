//! Where a chunked body ends (RFC 9112 §7.1). The bytes go on to hyper as they are; this only finds the boundary, and refuses
//! what two parsers may read differently or what is only there to cost time.

/// Bytes of extensions of all chunks of one body.
const EXTENSION_BYTES_MAX: usize = 4 * 1024;
/// Bytes of trailers. They are dropped: nobody behind this door is told of them.
const TRAILER_BYTES_MAX: usize = 8 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Size {
        digits: u8,
        size: u64,
    },
    Extension {
        size: u64,
    },
    SizeFeed {
        size: u64,
    },
    Data {
        left: u64,
    },
    DataReturn,
    DataFeed,
    /// Within the trailers; `line` counts the bytes of the present line.
    Trailer {
        line: usize,
    },
    TrailerFeed {
        line: usize,
    },
}

#[derive(Debug)]
pub struct Chunks {
    at: At,
    extension: usize,
    trailer: usize,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

impl Default for Chunks {
    fn default() -> Self {
        Self { at: At::Size { digits: 0, size: 0 }, extension: 0, trailer: 0 }
    }
}

impl Chunks {
    /// Take in more bytes. `Some(n)`: the body ended with the first `n` of them.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        let mut i = 0;
        while i < bytes.len() {
            if let At::Data { left } = self.at {
                let here = left.min((bytes.len() - i) as u64);
                i += usize::try_from(here).expect("no more than the slice holds");
                self.at = if here == left { At::DataReturn } else { At::Data { left: left - here } };
                continue;
            }
            let byte = bytes[i];
            i += 1;
            if self.step(byte)? {
                return Ok(Some(i));
            }
        }
        Ok(None)
    }

    /// One byte of framing; true when it was the last of the body.
    fn step(&mut self, byte: u8) -> Result<bool, Malformed> {
        self.at = match (self.at, byte) {
            (At::Size { digits, size }, _) if byte.is_ascii_hexdigit() => {
                if digits == 15 {
                    return Err(Malformed("a chunk size is out of range"));
                }
                let digit = char::from(byte).to_digit(16).expect("a hexadecimal digit");
                At::Size { digits: digits + 1, size: size * 16 + u64::from(digit) }
            }
            (At::Size { digits: 0, .. }, _) => return Err(Malformed("a chunk has no size")),
            (At::Size { size, .. }, b';') => At::Extension { size },
            (At::Size { size, .. } | At::Extension { size }, b'\r') => At::SizeFeed { size },
            (At::Size { .. }, _) => return Err(Malformed("a chunk size holds something else than digits")),
            (At::Extension { size }, _) => {
                self.extension += 1;
                if self.extension > EXTENSION_BYTES_MAX || (byte < 0x20 && byte != b'\t') || byte == 0x7f {
                    return Err(Malformed("chunk extensions are too long or hold a control character"));
                }
                At::Extension { size }
            }
            (At::SizeFeed { size: 0 }, b'\n') => At::Trailer { line: 0 },
            (At::SizeFeed { size }, b'\n') => At::Data { left: size },
            (At::DataReturn, b'\r') => At::DataFeed,
            (At::DataFeed, b'\n') => At::Size { digits: 0, size: 0 },
            (At::Trailer { line }, b'\r') => At::TrailerFeed { line },
            (At::Trailer { line }, _) => {
                self.trailer += 1;
                if self.trailer > TRAILER_BYTES_MAX || (byte < 0x20 && byte != b'\t') || byte == 0x7f {
                    return Err(Malformed("trailers are too long or hold a control character"));
                }
                At::Trailer { line: line + 1 }
            }
            (At::TrailerFeed { line: 0 }, b'\n') => return Ok(true),
            (At::TrailerFeed { .. }, b'\n') => At::Trailer { line: 0 },
            (At::SizeFeed { .. } | At::DataReturn | At::DataFeed | At::TrailerFeed { .. }, _) => {
                return Err(Malformed("a chunk does not end with CR LF"));
            }
            (At::Data { .. }, _) => unreachable!("data is skipped in advance()"),
        };
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_found_however_the_bytes_are_cut() {
        let body = b"5\r\nhello\r\n0A;x=y\r\n0123456789\r\n0\r\nX-Late: 1\r\n\r\nGET /";
        for cut in 0..body.len() {
            let mut chunks = Chunks::default();
            let end = match chunks.advance(&body[..cut]).expect("well formed") {
                Some(end) => end,
                None => cut + chunks.advance(&body[cut..]).expect("well formed").expect("ends"),
            };
            assert_eq!(&body[end..], b"GET /", "cut at {cut}");
        }
    }

    #[test]
    fn what_parsers_read_differently_is_malformed() {
        for body in [
            "FFFFFFFFFFFFFFFFF\r\n",
            "0x5\r\nhello\r\n",
            " 5\r\nhello\r\n",
            "5 \r\nhello\r\n",
            "+5\r\nhello\r\n",
            "-1\r\n",
            "\r\n",
            "5\nhello\r\n",
            "5\r\nhelloX\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "0\r\nA: b\n\r\n",
        ] {
            assert!(Chunks::default().advance(body.as_bytes()).is_err(), "{body:?}");
        }
        let bomb = format!("5;{}\r\n", "x".repeat(EXTENSION_BYTES_MAX + 1));
        assert!(Chunks::default().advance(bomb.as_bytes()).is_err());
        let many = "1;xxxxxxxx\r\na\r\n".repeat(EXTENSION_BYTES_MAX / 8 + 1);
        assert!(Chunks::default().advance(many.as_bytes()).is_err());
        let trailers = format!("0\r\nA: {}\r\n", "x".repeat(TRAILER_BYTES_MAX));
        assert!(Chunks::default().advance(trailers.as_bytes()).is_err());
    }
}
