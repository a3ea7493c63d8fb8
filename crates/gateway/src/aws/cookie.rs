//! A cookie of the platform's own, kept from functions. A browser tells cookies apart by host and name and never by port, and a
//! user may call a function by whatever name leads to this machine; so the name itself is reserved.

use http::{HeaderMap, HeaderValue, header};

/// Take it out of a request on its way to a function.
pub fn keep_from(headers: &mut HeaderMap, name: &str) {
    if !headers.get_all(header::COOKIE).iter().any(|v| pieces(v).any(|p| named(p, name))) {
        return;
    }
    let kept: Vec<HeaderValue> = headers.get_all(header::COOKIE).iter().filter_map(|v| without(v, name)).collect();
    headers.remove(header::COOKIE);
    for value in kept {
        headers.append(header::COOKIE, value);
    }
}

/// Take it out of a function's answer.
pub fn keep_out_of(headers: &mut HeaderMap, name: &str) {
    let sets = |v: &HeaderValue| pieces(v).next().is_some_and(|first| named(first, name));
    if !headers.get_all(header::SET_COOKIE).iter().any(sets) {
        return;
    }
    let kept: Vec<HeaderValue> = headers.get_all(header::SET_COOKIE).iter().filter(|v| !sets(v)).cloned().collect();
    headers.remove(header::SET_COOKIE);
    for value in kept {
        headers.append(header::SET_COOKIE, value);
    }
}

fn pieces(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|b| *b == b';').map(<[u8]>::trim_ascii)
}

/// A cookie without a name is sent as its bare value (RFC 6265bis, 5.7), so `=name=x` comes back as `name=x`.
fn named(piece: &[u8], name: &str) -> bool {
    let start = piece.iter().position(|b| *b != b'=' && !b.is_ascii_whitespace()).unwrap_or(piece.len());
    let piece = &piece[start..];
    let end = piece.iter().position(|b| *b == b'=').unwrap_or(piece.len());
    piece[..end].trim_ascii() == name.as_bytes()
}

/// What is left of a Cookie header, if anything is.
fn without(value: &HeaderValue, name: &str) -> Option<HeaderValue> {
    let kept: Vec<&[u8]> = pieces(value).filter(|p| !p.is_empty() && !named(p, name)).collect();
    (!kept.is_empty()).then(|| HeaderValue::from_bytes(&kept.join(&b"; "[..])).expect("pieces of a header's value make one"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(headers: &HeaderMap, name: header::HeaderName) -> Vec<&str> {
        headers.get_all(name).iter().map(|v| v.to_str().unwrap()).collect()
    }

    // H27
    #[test]
    fn the_reserved_name_goes_and_the_rest_stays_as_it_was() {
        let mut headers = HeaderMap::new();
        for value in ["a=1;own=secret; b=own=2", "own=x", "OWN=y;own = z;;=own=w; owner=1", "c=\"a b\""] {
            headers.append(header::COOKIE, HeaderValue::from_static(value));
        }
        keep_from(&mut headers, "own");
        assert_eq!(all(&headers, header::COOKIE), ["a=1; b=own=2", "OWN=y; owner=1", "c=\"a b\""]);

        let mut headers = HeaderMap::new();
        for value in ["own=x; Path=/", " own =x", "=own=x", "own", "a=own; own=1", "owner=2"] {
            headers.append(header::SET_COOKIE, HeaderValue::from_static(value));
        }
        keep_out_of(&mut headers, "own");
        assert_eq!(all(&headers, header::SET_COOKIE), ["a=own; own=1", "owner=2"]);
    }

    #[test]
    fn where_it_is_absent_nothing_is_touched() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, HeaderValue::from_static("a=1;b=2;"));
        headers.append(header::SET_COOKIE, HeaderValue::from_static("a=1;b"));
        let before = headers.clone();
        keep_from(&mut headers, "own");
        keep_out_of(&mut headers, "own");
        assert_eq!(headers, before);
    }
}
