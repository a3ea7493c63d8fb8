//! Percent-decoding of paths and query strings (RFC 3986, section 2.1; `+` as the HTML form encoding has it).

use std::borrow::Cow;

/// Decoded, with bytes that are no UTF-8 replaced.
pub fn decode(text: &str) -> Cow<'_, str> {
    decode_with(text, false)
}

/// As [`decode`], and `+` is a blank.
pub fn decode_form(text: &str) -> Cow<'_, str> {
    decode_with(text, true)
}

fn decode_with(text: &str, plus: bool) -> Cow<'_, str> {
    if !text.bytes().any(|b| b == b'%' || (plus && b == b'+')) {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let pair = bytes.get(i + 1).zip(bytes.get(i + 2)).and_then(|(a, b)| Some((hex(*a)? << 4) | hex(*b)?));
        match (bytes[i], pair) {
            (b'%', Some(byte)) => {
                out.push(byte);
                i += 3;
                continue;
            }
            (b'+', _) if plus => out.push(b' '),
            (byte, _) => out.push(byte),
        }
        i += 1;
    }
    Cow::Owned(String::from_utf8(out).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()))
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok())
}

/// The pairs of a query string or form, in order.
pub fn pairs(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    query.split('&').filter(|p| !p.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode_form(name), decode_form(value))
    })
}

/// Encoded as RFC 3986 has it: all but the unreserved characters (the form in which IAM returns policy documents).
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 3 / 2);
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            _ => {
                const HEX: &[u8; 16] = b"0123456789ABCDEF";
                out.push('%');
                out.push(char::from(HEX[usize::from(byte >> 4)]));
                out.push(char::from(HEX[usize::from(byte & 15)]));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_encoded_decodes_and_half_sequences_stay() {
        assert_eq!(decode("a%3Ab%2fc+d"), "a:b/c+d");
        assert_eq!(decode_form("a+b%2"), "a b%2");
        assert_eq!(decode("%zz%"), "%zz%");
        assert_eq!(decode("%ff"), "\u{fffd}");
        let text = "{\"a\": \"ü*\"}";
        assert_eq!(decode(&encode(text)), text);
        assert_eq!(pairs("a=1&a=2&b&=c&").collect::<Vec<_>>().len(), 4);
    }
}
