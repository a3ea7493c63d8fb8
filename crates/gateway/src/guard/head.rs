//! What a request's head must look like to be let through (RFC 9112, read strictly).
//!
//! A front door that understands a head differently from what stands behind it can be made to see other requests than that
//! does. So everything that two parsers may read differently is refused here, in one pass over bytes that are in the cache
//! anyway, and the connection is closed: a Content-Length beside a Transfer-Encoding, unusual numbers, bare line feeds, folded
//! lines, blanks before a colon, two Hosts, another authority in the target than in Host.

use model::limits::{HEADER_BYTES_MAX, HEADERS_MAX};

/// Bytes of a request target.
pub const TARGET_BYTES_MAX: usize = 16 * 1024;

/// How the body that follows a head is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    Length(u64),
    Chunked,
}

/// Why a head is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    Line,
    Method,
    Target,
    TargetLong,
    Version,
    BareLineFeed,
    BareReturn,
    Folded,
    Name,
    Value,
    Size,
    Count,
    HostMissing,
    HostTwice,
    HostForm,
    HostOther,
    Length,
    LengthTwice,
    LengthAndEncoding,
    Encoding,
    Expect,
    Slow,
}

impl Flaw {
    /// Every flaw with its status and sentence.
    pub const ALL: &'static [(Flaw, u16, &'static str)] = &[
        (Flaw::Line, 400, "the request line is not METHOD TARGET HTTP/1.1"),
        (Flaw::Method, 400, "the method is not made of capital letters"),
        (Flaw::Target, 400, "the request target holds a byte that a URI can't hold, or is no path"),
        (Flaw::TargetLong, 414, "the request target is longer than 16 KiB"),
        (Flaw::Version, 505, "the protocol version is neither HTTP/1.1 nor HTTP/1.0"),
        (Flaw::BareLineFeed, 400, "a line ends with a bare line feed"),
        (Flaw::BareReturn, 400, "a carriage return stands within a line"),
        (Flaw::Folded, 400, "a header line is folded"),
        (Flaw::Name, 400, "a header name is not a token followed by a colon"),
        (Flaw::Value, 400, "a header value holds a control character"),
        (Flaw::Size, 431, "the request's head is longer than 64 KiB"),
        (Flaw::Count, 431, "the request has more than 128 headers"),
        (Flaw::HostMissing, 400, "the Host header is missing or empty"),
        (Flaw::HostTwice, 400, "there are two Host headers"),
        (Flaw::HostForm, 400, "the Host header is not a host with an optional port"),
        (Flaw::HostOther, 400, "the request target names another host than the Host header"),
        (Flaw::Length, 400, "the Content-Length is not a plain number"),
        (Flaw::LengthTwice, 400, "there are two Content-Length headers"),
        (Flaw::LengthAndEncoding, 400, "there are both Content-Length and Transfer-Encoding"),
        (Flaw::Encoding, 400, "the Transfer-Encoding is not exactly chunked"),
        (Flaw::Expect, 417, "the Expect header is not 100-continue"),
        (Flaw::Slow, 408, "the request's head did not arrive in time"),
    ];

    /// Its place in [`Flaw::ALL`].
    pub fn index(self) -> usize {
        Self::ALL.iter().position(|row| row.0 == self).expect("ALL lists every flaw (tested)")
    }
}

/// Finds the end of a head in bytes that arrive in pieces.
#[derive(Debug, Default)]
pub struct Scan {
    line: usize,
    seen: usize,
}

impl Scan {
    /// `bytes` is all of the head so far, grown since the last time. The index past its empty line, once that is there.
    pub fn end(&mut self, bytes: &[u8]) -> Result<Option<usize>, Flaw> {
        if bytes.first().is_some_and(|b| !b.is_ascii_uppercase()) {
            return Err(Flaw::Method);
        }
        while let Some(at) = bytes[self.seen..].iter().position(|&b| b == b'\n') {
            let feed = self.seen + at;
            if feed == 0 || bytes[feed - 1] != b'\r' {
                return Err(Flaw::BareLineFeed);
            }
            let empty = feed - 1 == self.line;
            self.line = feed + 1;
            self.seen = feed + 1;
            if self.seen > HEADER_BYTES_MAX {
                return Err(Flaw::Size);
            }
            if empty {
                return Ok(Some(self.seen));
            }
        }
        self.seen = bytes.len();
        if self.seen > HEADER_BYTES_MAX { Err(Flaw::Size) } else { Ok(None) }
    }
}

/// Judge a whole head: request line, header lines, empty line, each ended by CR LF.
pub fn check(head: &[u8]) -> Result<Framing, Flaw> {
    let mut lines = Lines(head);
    let (authority, modern) = request_line(lines.next().unwrap_or_default())?;
    let mut found = Found::default();
    for line in lines {
        if line.is_empty() {
            break;
        }
        found.line(line)?;
    }
    found.verdict(authority, modern)
}

/// Lines without their CR LF.
struct Lines<'a>(&'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];
    fn next(&mut self) -> Option<&'a [u8]> {
        let feed = self.0.iter().position(|&b| b == b'\n')?;
        let (line, rest) = self.0.split_at(feed + 1);
        self.0 = rest;
        Some(&line[..feed.saturating_sub(1)])
    }
}

/// The authority in an absolute target, if there is one, and whether it is HTTP/1.1.
fn request_line(line: &[u8]) -> Result<(Option<&[u8]>, bool), Flaw> {
    let space = line.iter().position(|&b| b == b' ').ok_or(Flaw::Line)?;
    let (method, rest) = (&line[..space], &line[space + 1..]);
    if method.is_empty() || method.len() > 32 || !method.iter().all(|b| b.is_ascii_uppercase() || *b == b'-') {
        return Err(Flaw::Method);
    }
    let space = rest.iter().position(|&b| b == b' ').ok_or(Flaw::Line)?;
    let (target, version) = (&rest[..space], &rest[space + 1..]);
    let modern = match version {
        b"HTTP/1.1" => true,
        b"HTTP/1.0" => false,
        v if v.starts_with(b"HTTP/") && v.len() == 8 => return Err(Flaw::Version),
        _ => return Err(Flaw::Line),
    };
    if target.len() > TARGET_BYTES_MAX {
        return Err(Flaw::TargetLong);
    }
    if !target.iter().all(|&b| b.is_ascii_graphic() && !matches!(b, b'#' | b'<' | b'>' | b'"' | b'\\' | b'^' | b'`')) {
        return Err(Flaw::Target);
    }
    // CONNECT asks for a tunnel, which no door offers.
    if method == b"CONNECT" {
        return Err(Flaw::Target);
    }
    match target.first() {
        Some(b'/') => Ok((None, modern)),
        Some(b'*') if target.len() == 1 && method == b"OPTIONS" => Ok((None, modern)),
        _ => Ok((Some(absolute(target)?), modern)),
    }
}

fn absolute(target: &[u8]) -> Result<&[u8], Flaw> {
    let rest = target.get(..7).filter(|s| s.eq_ignore_ascii_case(b"http://")).map(|_| &target[7..]).ok_or(Flaw::Target)?;
    let end = rest.iter().position(|b| matches!(b, b'/' | b'?')).unwrap_or(rest.len());
    if end == 0 { Err(Flaw::Target) } else { Ok(&rest[..end]) }
}

/// What the header lines say about where the request goes and where it ends.
#[derive(Default)]
struct Found<'a> {
    count: usize,
    host: Option<&'a [u8]>,
    length: Option<u64>,
    chunked: bool,
}

impl<'a> Found<'a> {
    fn line(&mut self, line: &'a [u8]) -> Result<(), Flaw> {
        if matches!(line[0], b' ' | b'\t') {
            return Err(Flaw::Folded);
        }
        self.count += 1;
        if self.count > HEADERS_MAX {
            return Err(Flaw::Count);
        }
        let colon = line.iter().position(|&b| !token(b)).filter(|&c| c > 0 && line[c] == b':').ok_or(Flaw::Name)?;
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if let Some(bad) = value.iter().find(|&&b| (b < 0x20 && b != b'\t') || b == 0x7f) {
            return Err(if *bad == b'\r' { Flaw::BareReturn } else { Flaw::Value });
        }
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.host(value),
            6 if name.eq_ignore_ascii_case(b"expect") => {
                if value.trim_ascii().eq_ignore_ascii_case(b"100-continue") {
                    Ok(())
                } else {
                    Err(Flaw::Expect)
                }
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => self.length(value),
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.encoding(value),
            _ => Ok(()),
        }
    }

    fn host(&mut self, value: &'a [u8]) -> Result<(), Flaw> {
        let host = value.trim_ascii();
        if self.host.is_some() {
            return Err(Flaw::HostTwice);
        }
        if host.is_empty() {
            return Err(Flaw::HostMissing);
        }
        if !host_form(host) {
            return Err(Flaw::HostForm);
        }
        self.host = Some(host);
        Ok(())
    }

    fn length(&mut self, value: &[u8]) -> Result<(), Flaw> {
        let digits = value.strip_prefix(b" ").unwrap_or(value);
        if self.length.is_some() {
            return Err(Flaw::LengthTwice);
        }
        if digits.is_empty() || digits.len() > 18 || !digits.iter().all(u8::is_ascii_digit) {
            return Err(Flaw::Length);
        }
        self.length = Some(digits.iter().fold(0, |n, d| n * 10 + u64::from(d - b'0')));
        Ok(())
    }

    fn encoding(&mut self, value: &[u8]) -> Result<(), Flaw> {
        if self.chunked || !value.strip_prefix(b" ").unwrap_or(value).eq_ignore_ascii_case(b"chunked") {
            return Err(Flaw::Encoding);
        }
        self.chunked = true;
        Ok(())
    }

    fn verdict(self, authority: Option<&[u8]>, modern: bool) -> Result<Framing, Flaw> {
        let host = self.host.ok_or(Flaw::HostMissing)?;
        if authority.is_some_and(|a| !a.eq_ignore_ascii_case(host)) {
            return Err(Flaw::HostOther);
        }
        match (self.length, self.chunked) {
            (Some(_), true) => Err(Flaw::LengthAndEncoding),
            (None, true) if !modern => Err(Flaw::Encoding),
            (None, true) => Ok(Framing::Chunked),
            (length, false) => Ok(Framing::Length(length.unwrap_or(0))),
        }
    }
}

/// A name, an address or one in brackets, and perhaps a port of digits (RFC 3986 §3.2.2, without what no door is called).
fn host_form(host: &[u8]) -> bool {
    let (name, port) = match host.strip_prefix(b"[").and_then(|rest| Some((rest, rest.iter().position(|&b| b == b']')?))) {
        Some((rest, end)) => {
            let (address, after) = (&rest[..end], &rest[end + 1..]);
            (address.iter().all(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.')), after)
        }
        None => {
            let (name, after) = host.split_at(host.iter().position(|&b| b == b':').unwrap_or(host.len()));
            (name.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_')), after)
        }
    };
    let digits = |port: &[u8]| port.len() <= 5 && port.iter().all(u8::is_ascii_digit);
    name && (port.is_empty() || port.strip_prefix(b":").is_some_and(digits))
}

/// RFC 9110 §5.6.2.
fn token(b: u8) -> bool {
    b.is_ascii_alphanumeric()
        || matches!(b, b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flaw_has_a_row() {
        // A flaw without a row panics in `index`; the last variant's number is the count of all.
        assert_eq!(Flaw::ALL.len(), Flaw::Slow as usize + 1);
        for (at, row) in Flaw::ALL.iter().enumerate() {
            assert_eq!(row.0.index(), at);
        }
    }

    #[test]
    fn a_head_in_pieces_ends_where_a_whole_one_does() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nrest";
        for cut in 1..head.len() {
            let mut scan = Scan::default();
            let first = scan.end(&head[..cut]).expect("no flaw");
            let end = first.or_else(|| scan.end(head).expect("no flaw"));
            assert_eq!(end, Some(head.len() - 4), "cut at {cut}");
        }
    }

    #[test]
    fn a_host_has_one_form() {
        for good in ["a", "a.b:80", "127.0.0.1:9000", "[::1]", "[::1]:9000", "[::ffff:127.0.0.1]:1", "a-b_c.localhost", "a:"] {
            assert!(host_form(good.as_bytes()), "{good}");
        }
        for bad in ["a:b", "a:80:80", "a:123456", "a:+80", "[::1", "[::1]80", "[::1]:x", "a]", "[a/b]", "a@b", "a,b", "::1"] {
            assert!(!host_form(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn framing_is_read_off() {
        let of = |lines: &str| check(format!("POST /x HTTP/1.1\r\nHost: a:1\r\n{lines}\r\n").as_bytes());
        assert_eq!(of(""), Ok(Framing::Length(0)));
        assert_eq!(of("content-length: 12\r\n"), Ok(Framing::Length(12)));
        assert_eq!(of("Transfer-Encoding: chunked\r\n"), Ok(Framing::Chunked));
        assert_eq!(of("Expect: 100-continue\r\n"), Ok(Framing::Length(0)));
    }
}
