//! One form of a path, decided before anybody routes or authorises by it.
//!
//! Two parts of a platform that read a path differently (one decodes `%2f`, the other doesn't) can be walked between. So a
//! path is decoded once, and what could still be read in two ways is refused: an encoded slash, backslash, percent sign, NUL
//! or control character, dot segments, empty segments, parameters (`;`), a trailing dot, bytes that aren't UTF-8.

use crate::door::Paths;
use http::{Uri, uri::PathAndQuery};
use model::Fault;

/// Nothing in it needs deciding.
pub fn is_canonical(path: &str) -> bool {
    let plain =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'_' | b'~' | b':' | b'@' | b'$' | b'=' | b',' | b'+');
    path.starts_with('/') && path.bytes().all(plain) && !path.contains("//")
}

/// The canonical form: decoded where that is harmless, and encoded again in one way.
pub fn canonical(path: &str) -> Result<String, Fault> {
    let refused = |why: &str| Fault::invalid(format!("the path {:?} {why}", clip(path)));
    let decoded = decode(path.as_bytes()).ok_or_else(|| refused("holds a malformed or ambiguous escape"))?;
    let text = String::from_utf8(decoded).map_err(|_| refused("is not UTF-8"))?;
    if !text.starts_with('/') || text.chars().any(|c| c.is_control() || matches!(c, '\\' | '%' | ';')) {
        return Err(refused("holds a character that can be read in two ways"));
    }
    let (body, last) = (&text[1..], text.len() > 1 && text.ends_with('/'));
    let body = if last { &body[..body.len() - 1] } else { body };
    if text.len() > 1 && body.split('/').any(|s| s.is_empty() || s.ends_with('.')) {
        return Err(refused("holds an empty or dotted segment"));
    }
    Ok(encode(&text))
}

/// A target in origin form, canonical where the door wants that.
pub fn rewrite(uri: &Uri, paths: Paths) -> Result<Uri, Fault> {
    let path = if paths == Paths::Canonical { canonical(uri.path())? } else { uri.path().to_owned() };
    let whole = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    let target = PathAndQuery::try_from(whole).map_err(|e| Fault::invalid(format!("the request target is no path: {e}")))?;
    Ok(Uri::from(target))
}

/// Percent-decoding that refuses what is malformed and what must not be hidden.
fn decode(path: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path.iter();
    while let Some(&b) = rest.next() {
        if b != b'%' {
            out.push(b);
            continue;
        }
        let digit = |b: &u8| char::from(*b).to_digit(16);
        let value = u8::try_from(digit(rest.next()?)? * 16 + digit(rest.next()?)?).ok()?;
        if matches!(value, b'/' | b'\\' | b'%' | b'.' | b';' | 0..=0x1f | 0x7f) {
            return None;
        }
        out.push(value);
    }
    Some(out)
}

fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for b in text.bytes() {
        if b.is_ascii_alphanumeric() || b"/-_.~:@!$&'()*+,=".contains(&b) {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
    }
    out
}

fn clip(path: &str) -> &str {
    let mut end = path.len().min(120);
    while !path.is_char_boundary(end) {
        end -= 1;
    }
    &path[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// H24: what a router and a guard could read differently has no canonical form.
    #[test]
    fn h24_ambiguous_paths_have_no_form() {
        for path in [
            "/a%2fb",
            "/a%2Fb",
            "/a%5cb",
            "/a%00b",
            "/%2e%2e/admin",
            "/a/../b",
            "/./a",
            "//admin",
            "/a//b",
            "/x/..;/admin",
            "/a%252fb",
            "/a.",
            "/a./b",
            "/%c0%af",
            "/%",
            "/%4",
            "/%zz",
            "/a;b",
            "/a\\b",
            "/%0a",
            "/%1b[31m",
            "/...",
        ] {
            assert!(canonical(path).is_err(), "{path}");
        }
    }

    #[test]
    fn one_form_for_every_spelling() {
        for (path, want) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a/b/", "/a/b/"),
            ("/%61/b", "/a/b"),
            ("/a%20b", "/a%20b"),
            ("/a.b", "/a.b"),
            ("/%E2%82%AC", "/%E2%82%AC"),
            ("/%e2%82%ac", "/%E2%82%AC"),
            ("/fn%3aname", "/fn:name"),
        ] {
            assert_eq!(canonical(path).expect(path), want);
            assert_eq!(canonical(want).expect(want), want, "canonical twice");
        }
    }
}
