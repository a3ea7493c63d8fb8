//! What a request says about its signature, taken apart strictly and judged by nobody yet.

use super::{Denial, Scope, canonical::decode, stamp};
use http::{HeaderMap, header::AUTHORIZATION, request::Parts};
use std::time::Duration;

pub const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// One week (Signature Version 4, query parameters).
const EXPIRES_MAX: Duration = Duration::from_secs(7 * 86_400);

/// A claim to be signed by a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub access_key: String,
    pub date: String,
    pub region: String,
    pub service: String,
    /// Lower case, ascending, `;` between them.
    pub signed: String,
    pub signature: [u8; 32],
    /// As sent.
    pub stamp: String,
    /// The same, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Set for a presigned URL.
    pub expires: Option<Duration>,
    pub token: Option<String>,
}

impl Claim {
    /// `None`: the request isn't signed at all.
    pub fn of(parts: &Parts) -> Result<Option<Claim>, Denial> {
        let query = parts.uri.query().unwrap_or("");
        let params = if mentions(query) { Some(Params::of(query)?) } else { None };
        match (parts.headers.contains_key(AUTHORIZATION), params.filter(Params::signs)) {
            (true, Some(_)) => Err(Denial::incomplete("the request is signed both in a header and in its query string")),
            (true, None) => Self::header(&parts.headers),
            (false, Some(params)) => Self::query(params).map(Some),
            (false, None) => Ok(None),
        }
    }

    /// The signed header names.
    pub fn signed(&self) -> impl Iterator<Item = &str> {
        self.signed.split(';')
    }

    pub fn scope(&self) -> Scope<'_> {
        Scope { date: &self.date, region: &self.region, service: &self.service }
    }

    fn header(headers: &HeaderMap) -> Result<Option<Claim>, Denial> {
        let text = single(headers, "authorization")?.ok_or(Denial::Missing)?;
        let Some(rest) = text.strip_prefix(ALGORITHM) else {
            // Another scheme is no claim of ours: a function's own Bearer token, say.
            return if text.starts_with("AWS4-") {
                Err(Denial::incomplete("only AWS4-HMAC-SHA256 is known here"))
            } else {
                Ok(None)
            };
        };
        let (mut credential, mut signed, mut signature) = (None, None, None);
        for field in rest.split(',').map(str::trim) {
            let (name, value) =
                field.split_once('=').ok_or_else(|| Denial::incomplete("the Authorization header is malformed"))?;
            let place = match name {
                "Credential" => &mut credential,
                "SignedHeaders" => &mut signed,
                "Signature" => &mut signature,
                _ => return Err(Denial::incomplete("the Authorization header holds an unknown field")),
            };
            if place.replace(value).is_some() {
                return Err(Denial::incomplete("a field of the Authorization header is repeated"));
            }
        }
        let missing = |what| move || Denial::incomplete_owned(format!("Authorization header requires '{what}' parameter."));
        let stamp = single(headers, "x-amz-date")?.ok_or_else(missing("X-Amz-Date"))?;
        let claim = Raw {
            credential: credential.ok_or_else(missing("Credential"))?,
            signed: signed.ok_or_else(missing("SignedHeaders"))?,
            signature: signature.ok_or_else(missing("Signature"))?,
            stamp,
        };
        let mut claim = claim.check()?;
        claim.token = single(headers, "x-amz-security-token")?.map(str::to_owned);
        Ok(Some(claim))
    }

    fn query(params: Params) -> Result<Claim, Denial> {
        let [algorithm, credential, date, expires, signed, signature, token] = params.0;
        let need = |value: Option<String>, what: &str| {
            value.ok_or_else(|| Denial::incomplete_owned(format!("AWS query-string parameters must include '{what}'.")))
        };
        if need(algorithm, "X-Amz-Algorithm")? != ALGORITHM {
            return Err(Denial::incomplete("only AWS4-HMAC-SHA256 is known here"));
        }
        let (credential, date) = (need(credential, "X-Amz-Credential")?, need(date, "X-Amz-Date")?);
        let (signed, signature) = (need(signed, "X-Amz-SignedHeaders")?, need(signature, "X-Amz-Signature")?);
        let expires = need(expires, "X-Amz-Expires")?;
        let seconds =
            Some(&expires).filter(|e| !e.is_empty() && e.bytes().all(|b| b.is_ascii_digit())).and_then(|e| e.parse().ok());
        let expires = seconds.map(Duration::from_secs).filter(|d| *d > Duration::ZERO && *d <= EXPIRES_MAX);
        let expires = expires.ok_or_else(|| Denial::incomplete("X-Amz-Expires must be between 1 and 604800 seconds"))?;
        let mut claim = Raw { credential: &credential, signed: &signed, signature: &signature, stamp: &date }.check()?;
        claim.expires = Some(expires);
        claim.token = token;
        Ok(claim)
    }
}

/// A claim as text.
struct Raw<'a> {
    credential: &'a str,
    signed: &'a str,
    signature: &'a str,
    stamp: &'a str,
}

impl Raw<'_> {
    fn check(self) -> Result<Claim, Denial> {
        let parts: Vec<&str> = self.credential.split('/').collect();
        let [key, date, region, service, "aws4_request"] = parts[..] else {
            return Err(Denial::incomplete("Credential must be KEY/DATE/REGION/SERVICE/aws4_request"));
        };
        let word = |t: &str| {
            !t.is_empty() && t.len() <= 128 && t.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        };
        if ![key, date, region, service].iter().all(|t| word(t)) {
            return Err(Denial::incomplete("Credential holds an empty or malformed part"));
        }
        let at_ms =
            stamp::parse(self.stamp).ok_or_else(|| Denial::incomplete("X-Amz-Date must be of the form YYYYMMDDTHHMMSSZ"))?;
        if self.stamp.get(..8) != Some(date) {
            return Err(Denial::Scope(format!(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{date}'"
            )));
        }
        ordered(self.signed)?;
        Ok(Claim {
            access_key: key.into(),
            date: date.into(),
            region: region.into(),
            service: service.into(),
            signed: self.signed.into(),
            signature: hex(self.signature).ok_or_else(|| Denial::incomplete("the signature is not 64 hexadecimal digits"))?,
            stamp: self.stamp.into(),
            at_ms,
            expires: None,
            token: None,
        })
    }
}

/// Lower case, ascending, none twice.
fn ordered(signed: &str) -> Result<(), Denial> {
    let token =
        |n: &str| !n.is_empty() && n.bytes().all(|b| b.is_ascii_graphic() && !b.is_ascii_uppercase() && b != b':' && b != b',');
    let mut last = "";
    for name in signed.split(';') {
        if !token(name) || name <= last {
            return Err(Denial::incomplete("SignedHeaders must be lower case, sorted, and without repetition"));
        }
        last = name;
    }
    Ok(())
}

/// Sixty-four lower-case hexadecimal digits.
pub fn hex(text: &str) -> Option<[u8; 32]> {
    let b = text.as_bytes();
    let digit = |b: u8| match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        _ => None,
    };
    let mut out = [0; 32];
    if b.len() != 64 {
        return None;
    }
    for (place, pair) in out.iter_mut().zip(b.chunks_exact(2)) {
        *place = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(out)
}

/// The only value of a header that may not be repeated.
fn single<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a str>, Denial> {
    let mut all = headers.get_all(name).iter();
    let first = all.next();
    if all.next().is_some() {
        return Err(Denial::incomplete_owned(format!("the header {name} is repeated")));
    }
    first
        .map(|v| v.to_str().map(str::trim).map_err(|_| Denial::incomplete_owned(format!("the header {name} is not text"))))
        .transpose()
}

/// The query parameters that a presigned URL carries, each at most once.
struct Params([Option<String>; 7]);

const NAMES: [&str; 7] = [
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-SignedHeaders",
    "X-Amz-Signature",
    "X-Amz-Security-Token",
];

/// Cheap: may this query hold one of them, however it is written?
fn mentions(query: &str) -> bool {
    query.bytes().any(|b| b == b'%') || query.as_bytes().windows(5).any(|w| w.eq_ignore_ascii_case(b"x-amz"))
}

impl Params {
    fn of(query: &str) -> Result<Self, Denial> {
        let mut found: [Option<String>; 7] = Default::default();
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let plain = decode(name, true);
            let Some(place) = NAMES.iter().position(|n| n.as_bytes().eq_ignore_ascii_case(&plain)) else { continue };
            let text =
                String::from_utf8(decode(value, false)).map_err(|_| Denial::incomplete("a signature parameter is not text"))?;
            if name != NAMES[place] || found[place].replace(text).is_some() {
                return Err(Denial::incomplete_owned(format!("{} is repeated or misspelt", NAMES[place])));
            }
        }
        Ok(Self(found))
    }

    /// A lone date or token isn't a signature.
    fn signs(&self) -> bool {
        [0, 1, 5].iter().any(|i| self.0[*i].is_some())
    }
}
