//! AWS Signature Version 4, verified and made (AWS General Reference, "Signing AWS API requests").
//!
//! One verifier, strict: whatever could make it speak of another request than the one that is dispatched is refused
//! (a signature in two places, repeated parameters, unsigned `host` or `x-amz-*` headers, a body that isn't the signed one).

mod canonical;
mod claim;
mod keys;
mod sign;
mod stamp;

pub use canonical::{PLAIN_PATHS, normal_path};
pub use claim::Claim;
pub use keys::Scope;
pub use sign::{presign, sign};

use canonical::Query;
use http::request::Parts;
use keys::Keys;
use model::Credential;
use ring::{digest, hmac};
use std::time::Duration;

/// How far a signer's clock may be off.
pub const SKEW: Duration = Duration::from_secs(5 * 60);

/// Why a request isn't taken for signed. Words follow AWS's where AWS has some.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    #[error("the request is not signed")]
    Missing,
    #[error("{0}")]
    Incomplete(String),
    #[error("The security token included in the request is invalid.")]
    UnknownKey,
    #[error("The security token included in the request is invalid.")]
    Token,
    #[error("The security token included in the request is expired")]
    TokenExpired,
    #[error(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing \
         method. Consult the service documentation for details."
    )]
    Mismatch,
    #[error("{0}")]
    Expired(String),
    #[error("{0}")]
    Scope(String),
    #[error("The value passed in as x-amz-content-sha256 does not match the SHA256 of the body: {0}")]
    Payload(String),
}

impl Denial {
    fn incomplete(text: &'static str) -> Self {
        Denial::Incomplete(text.into())
    }
    fn incomplete_owned(text: String) -> Self {
        Denial::Incomplete(text)
    }
}

/// Checks signatures; keeps signing keys.
#[derive(Default)]
pub struct Verifier {
    keys: Keys,
}

impl Verifier {
    /// Is the claim's time now?
    pub fn timely(claim: &Claim, now_ms: u64) -> Result<(), Denial> {
        let skew = u64::try_from(SKEW.as_millis()).expect("five minutes");
        if claim.at_ms > now_ms + skew {
            let (stamp, limit, now) = (&claim.stamp, stamp::format(now_ms + skew), stamp::format(now_ms));
            return Err(Denial::Expired(format!(
                "Signature not yet current: {stamp} is still later than {limit} ({now} + 5 min.)"
            )));
        }
        let valid = claim.expires.map_or(skew, |d| u64::try_from(d.as_millis()).expect("at most a week"));
        if claim.at_ms + valid < now_ms {
            let (stamp, now) = (&claim.stamp, stamp::format(now_ms));
            return Err(Denial::Expired(match claim.expires {
                None => {
                    format!("Signature expired: {stamp} is now earlier than {} ({now} - 5 min.)", stamp::format(now_ms - skew))
                }
                Some(d) => format!("Signature expired: {stamp} with X-Amz-Expires {} is now earlier than {now}", d.as_secs()),
            }));
        }
        Ok(())
    }

    /// Is this request, with this body, signed by this key as it claims? The claim's scope and time are the caller's to judge.
    pub fn verify(&self, parts: &Parts, body: &[u8], claim: &Claim, credential: &Credential) -> Result<(), Denial> {
        match (&credential.session_token, &claim.token) {
            (None, None) => {}
            (Some(held), Some(shown)) if same(held.as_bytes(), shown.as_bytes()) => {}
            _ => return Err(Denial::Token),
        }
        covers(parts, claim)?;
        let hash = payload(parts, body)?;
        let key = self.keys.get(&claim.access_key, &credential.secret, claim.scope());
        let query = parts.uri.query().unwrap_or("");
        let matches = |reading| {
            let canonical = canonical_request(parts, claim, &hash, reading);
            hmac::verify(&key, string_to_sign(&claim.stamp, claim.scope(), &canonical).as_bytes(), &claim.signature).is_ok()
        };
        if matches(Query::AsSent) || (!canonical::query_is_plain(query) && matches(Query::Encoded)) {
            return Ok(());
        }
        Err(Denial::Mismatch)
    }
}

/// The headers that decide where a request goes and what it means must be signed.
fn covers(parts: &Parts, claim: &Claim) -> Result<(), Denial> {
    let signed = |name: &str| claim.signed().any(|s| s == name);
    if !signed("host") {
        return Err(Denial::incomplete("'Host' must be a signed header"));
    }
    match parts.headers.keys().map(http::HeaderName::as_str).find(|n| n.starts_with("x-amz-") && !signed(n)) {
        Some(name) => Err(Denial::incomplete_owned(format!("'{name}' must be a signed header"))),
        None => Ok(()),
    }
}

/// The hash of the body as the signature covers it: the body's own, always.
fn payload(parts: &Parts, body: &[u8]) -> Result<String, Denial> {
    let actual = sha256(body);
    match parts.headers.get("x-amz-content-sha256").map(http::HeaderValue::as_bytes) {
        None => Ok(actual),
        Some(declared) if declared == actual.as_bytes() => Ok(actual),
        Some(declared) => {
            let known = declared == b"UNSIGNED-PAYLOAD" || declared.starts_with(b"STREAMING-");
            let what = if known { String::from_utf8_lossy(declared).into_owned() } else { "another hash".into() };
            Err(Denial::Payload(format!("{what} is not accepted by this service")))
        }
    }
}

fn canonical_request(parts: &Parts, claim: &Claim, hash: &str, reading: Query) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    out.extend_from_slice(parts.method.as_str().as_bytes());
    out.push(b'\n');
    canonical::push_path(&mut out, &claim.service, parts.uri.path());
    out.push(b'\n');
    let without = claim.expires.map(|_| "X-Amz-Signature");
    canonical::push_query(&mut out, parts.uri.query().unwrap_or(""), reading, without);
    out.push(b'\n');
    canonical::push_headers(&mut out, &parts.headers, claim.signed());
    out.push(b'\n');
    out.extend_from_slice(claim.signed.as_bytes());
    out.push(b'\n');
    out.extend_from_slice(hash.as_bytes());
    out
}

/// Step 2 of the General Reference.
fn string_to_sign(stamp: &str, scope: Scope<'_>, canonical: &[u8]) -> String {
    format!("{}\n{stamp}\n{}\n{}", claim::ALGORITHM, scope.text(), sha256(canonical))
}

fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|b| [b >> 4, b & 15]).map(|d| char::from(DIGITS[usize::from(d)])).collect()
}

/// Equality that takes as long for a near miss as for a far one.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && std::hint::black_box(a.iter().zip(b).fold(0, |d, (x, y)| d | (x ^ y))) == 0
}

#[cfg(test)]
mod tests;
