//! Signing, for the command line and for tests.

use super::{
    Scope,
    canonical::Query,
    canonical_request,
    claim::{ALGORITHM, Claim},
    hex, keys, payload, stamp, string_to_sign,
};
use http::{HeaderName, HeaderValue, header, request::Parts};
use model::Credential;
use ring::hmac;
use std::time::Duration;

/// Sign a request in its headers. It must have a Host header; its date, token and authorisation are set here.
pub fn sign(parts: &mut Parts, body: &[u8], credential: &Credential, region: &str, service: &str, at_ms: u64) {
    let stamp = stamp::format(at_ms);
    let text = |t: &str| HeaderValue::from_str(t).expect("stamps, tokens and signatures are visible ASCII");
    parts.headers.insert("x-amz-date", text(&stamp));
    if let Some(token) = &credential.session_token {
        parts.headers.insert("x-amz-security-token", text(token));
    }
    parts.headers.remove(header::AUTHORIZATION);
    let claim = claim(parts, credential, region, service, &stamp, at_ms, None);
    let hash = payload(parts, body).unwrap_or_else(|_| super::sha256(body));
    let signature = signature(parts, &claim, &hash, credential);
    let Claim { access_key, signed, .. } = &claim;
    let line =
        format!("{ALGORITHM} Credential={access_key}/{}, SignedHeaders={signed}, Signature={signature}", claim.scope().text());
    parts.headers.insert(header::AUTHORIZATION, text(&line));
}

/// Sign a request in its query string. Only its Host header is signed, and its body must be empty.
pub fn presign(parts: &mut Parts, credential: &Credential, region: &str, service: &str, at_ms: u64, expires: Duration) {
    let stamp = stamp::format(at_ms);
    let mut claim = claim(parts, credential, region, service, &stamp, at_ms, Some(expires));
    claim.signed = "host".into();
    let scope = claim.scope().text().replace('/', "%2F");
    let mut target = format!("{}?", parts.uri.path());
    if let Some(query) = parts.uri.query().filter(|q| !q.is_empty()) {
        target.push_str(query);
        target.push('&');
    }
    target.push_str(&format!("X-Amz-Algorithm={ALGORITHM}&X-Amz-Credential={}%2F{scope}&X-Amz-Date={stamp}", claim.access_key));
    target.push_str(&format!("&X-Amz-Expires={}&X-Amz-SignedHeaders=host", expires.as_secs()));
    if let Some(token) = &credential.session_token {
        let encoded: String =
            token.bytes().map(|b| if b.is_ascii_alphanumeric() { char::from(b).into() } else { format!("%{b:02X}") }).collect();
        target.push_str(&format!("&X-Amz-Security-Token={encoded}"));
    }
    parts.uri = target.parse().expect("made of a URI's parts and of encoded text");
    let signature = signature(parts, &claim, &super::sha256(b""), credential);
    parts.uri = format!("{target}&X-Amz-Signature={signature}").parse().expect("as before, and hexadecimal digits");
}

fn claim(
    parts: &Parts,
    by: &Credential,
    region: &str,
    service: &str,
    stamp: &str,
    at_ms: u64,
    expires: Option<Duration>,
) -> Claim {
    Claim {
        access_key: by.access_key_id.to_string(),
        date: stamp[..8].into(),
        region: region.into(),
        service: service.into(),
        signed: signed_headers(parts),
        signature: [0; 32],
        stamp: stamp.into(),
        at_ms,
        expires,
        token: None,
    }
}

/// All but what proxies change.
fn signed_headers(parts: &Parts) -> String {
    let leave = |n: &HeaderName| {
        *n == header::AUTHORIZATION || *n == header::USER_AGENT || *n == header::EXPECT || *n == header::CONNECTION
    };
    let mut names: Vec<&str> = parts.headers.keys().filter(|n| !leave(n)).map(HeaderName::as_str).collect();
    names.sort_unstable();
    names.join(";")
}

fn signature(parts: &Parts, claim: &Claim, hash: &str, by: &Credential) -> String {
    let scope: Scope<'_> = claim.scope();
    let canonical = canonical_request(parts, claim, hash, Query::AsSent);
    let key = keys::derive(&by.secret, scope);
    hex(hmac::sign(&key, string_to_sign(&claim.stamp, scope, &canonical).as_bytes()).as_ref())
}
