//! The canonical request (AWS General Reference, "Create a signed AWS API request", step 1).

use http::{HeaderMap, HeaderName};
use std::borrow::Cow;

/// A name or a value.
type Piece<'a> = Cow<'a, [u8]>;

const UPPER: &[u8; 16] = b"0123456789ABCDEF";

fn unreserved(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~')
}

fn push_encoded(out: &mut Vec<u8>, b: u8) {
    if unreserved(b) {
        out.push(b);
    } else {
        out.extend_from_slice(&[b'%', UPPER[usize::from(b >> 4)], UPPER[usize::from(b & 15)]]);
    }
}

/// The path that a signature speaks of: without empty and dot segments. What is dispatched must be this one, too.
pub fn normal_path(path: &str) -> Cow<'_, str> {
    if !path.contains("//") && !path.contains("/.") {
        return Cow::Borrowed(if path.is_empty() { "/" } else { path });
    }
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            _ => kept.push(segment),
        }
    }
    let last = if path.ends_with('/') && !kept.is_empty() { "/" } else { "" };
    Cow::Owned(format!("/{}{last}", kept.join("/")))
}

/// The service whose paths are names that may hold anything: neither normalised nor encoded once more.
pub const PLAIN_PATHS: &str = "s3";

/// The path as it is signed: the path on the wire, encoded once more.
pub fn push_path(out: &mut Vec<u8>, service: &str, path: &str) {
    if service == PLAIN_PATHS {
        return out.extend_from_slice(path.as_bytes());
    }
    for b in normal_path(path).bytes() {
        if b == b'/' { out.push(b) } else { push_encoded(out, b) }
    }
}

/// Which reading of the query string a signer may have signed. Either names one request only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Query {
    /// As it stands, sorted (botocore).
    AsSent,
    /// Decoded and encoded in the one way (the other SDKs).
    Encoded,
}

/// Whether the two readings of this query differ.
pub fn query_is_plain(query: &str) -> bool {
    let b = query.as_bytes();
    let upper = |b: &u8| b.is_ascii_digit() || (b'A'..=b'F').contains(b);
    b.iter().enumerate().all(|(i, c)| match c {
        b'%' => b.get(i + 1).is_some_and(upper) && b.get(i + 2).is_some_and(upper),
        b'&' | b'=' => true,
        _ => unreserved(*c),
    })
}

/// Parameters sorted by name, then value; `without` is left out.
pub fn push_query(out: &mut Vec<u8>, query: &str, reading: Query, without: Option<&str>) {
    if query.is_empty() {
        return;
    }
    let mut pairs: Vec<(Piece<'_>, Piece<'_>)> = query
        .split('&')
        .filter(|pair| reading == Query::AsSent || !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .filter(|(name, _)| without != Some(*name))
        .map(|(name, value)| match reading {
            Query::AsSent => (Cow::Borrowed(name.as_bytes()), Cow::Borrowed(value.as_bytes())),
            Query::Encoded => (Cow::Owned(again(name)), Cow::Owned(again(value))),
        })
        .collect();
    pairs.sort_unstable();
    for (i, (name, value)) in pairs.iter().enumerate() {
        if i > 0 {
            out.push(b'&');
        }
        out.extend_from_slice(name);
        out.push(b'=');
        out.extend_from_slice(value);
    }
}

/// Decoded and encoded: `+` is a blank.
fn again(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 8);
    for b in decode(text, true) {
        push_encoded(&mut out, b);
    }
    out
}

/// Percent-decoding; what is no escape stays as it is.
pub fn decode(text: &str, plus_is_blank: bool) -> Vec<u8> {
    let b = text.as_bytes();
    let mut out = Vec::with_capacity(b.len());
    let mut i = 0;
    while i < b.len() {
        let escape = (b[i] == b'%').then(|| b.get(i + 1..i + 3)).flatten();
        let value = escape.and_then(|e| std::str::from_utf8(e).ok()).filter(|e| !e.starts_with('+'));
        match value.and_then(|e| u8::from_str_radix(e, 16).ok()) {
            Some(value) => {
                out.push(value);
                i += 3;
            }
            None => {
                out.push(if b[i] == b'+' && plus_is_blank { b' ' } else { b[i] });
                i += 1;
            }
        }
    }
    out
}

/// `name:value` lines, in the order of `signed`; several values are joined by commas, runs of blanks are one.
pub fn push_headers<'a>(out: &mut Vec<u8>, headers: &HeaderMap, signed: impl Iterator<Item = &'a str>) {
    for name in signed {
        out.extend_from_slice(name.as_bytes());
        out.push(b':');
        let Ok(key) = HeaderName::from_bytes(name.as_bytes()) else { continue };
        for (i, value) in headers.get_all(&key).iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            push_collapsed(out, value.as_bytes());
        }
        out.push(b'\n');
    }
}

fn push_collapsed(out: &mut Vec<u8>, value: &[u8]) {
    for (i, word) in value.split(u8::is_ascii_whitespace).filter(|w| !w.is_empty()).enumerate() {
        if i > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(raw: &str) -> String {
        let mut out = Vec::new();
        push_path(&mut out, "lambda", raw);
        String::from_utf8(out).expect("ASCII")
    }
    fn query(raw: &str, reading: Query) -> String {
        let mut out = Vec::new();
        push_query(&mut out, raw, reading, Some("X-Amz-Signature"));
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn paths_are_normal_and_encoded_once_more() {
        for (raw, want) in [
            ("/", "/"),
            ("/a/../..//b/./c/", "/b/c/"),
            ("/..", "/"),
            ("/f/arn%3Aaws%3Alambda", "/f/arn%253Aaws%253Alambda"),
            ("/a%20b/%2F", "/a%2520b/%252F"),
            ("/a:b+c", "/a%3Ab%2Bc"),
        ] {
            assert_eq!(path(raw), want, "{raw}");
        }
        let mut out = Vec::new();
        push_path(&mut out, PLAIN_PATHS, "/bucket/a//b%20c/../d");
        assert_eq!(out, b"/bucket/a//b%20c/../d");
    }

    #[test]
    fn queries_are_sorted_in_both_readings() {
        for (raw, as_sent, encoded) in [
            ("b=2&a=1", "a=1&b=2", "a=1&b=2"),
            ("a=2&a=1&a", "a=&a=1&a=2", "a=&a=1&a=2"),
            ("q=a+b", "q=a+b", "q=a%20b"),
            ("q=%2f&X-Amz-Signature=x", "q=%2f", "q=%2F"),
            ("k=v=w", "k=v=w", "k=v%3Dw"),
            ("k=%zz%4", "k=%zz%4", "k=%25zz%254"),
        ] {
            assert_eq!((query(raw, Query::AsSent).as_str(), query(raw, Query::Encoded).as_str()), (as_sent, encoded), "{raw}");
        }
        assert!(query_is_plain("a=%2F&b=x.y~z") && !query_is_plain("a=%2f") && !query_is_plain("a+b") && !query_is_plain("a=%"));
    }
}
