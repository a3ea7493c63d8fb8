//! Links that read one archive for a while. A link is a capability: who holds it may read that archive of that tenant until
//! it expires, and nobody can make or change one without the key in the state directory.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use ring::hmac;
use std::sync::Arc;

/// Sets these signatures apart from whatever else the key may sign one day.
const PURPOSE: &str = "package-link-1";

pub(super) struct Signer {
    key: hmac::Key,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) tenant: String,
    pub(super) digest: String,
    pub(super) expires_ms: u64,
}

impl Signer {
    pub(super) fn new(key: &[u8]) -> Signer {
        Signer { key: hmac::Key::new(hmac::HMAC_SHA256, key) }
    }

    pub(super) fn sign(&self, link: &Link) -> Arc<str> {
        let text = format!("{PURPOSE}\n{}\n{}\n{}", link.expires_ms, link.digest, link.tenant);
        let tag = hmac::sign(&self.key, text.as_bytes());
        Arc::from(format!("{}.{}", BASE64.encode(text), BASE64.encode(tag)))
    }

    /// What a link names, if it is one of ours and still good.
    pub(super) fn verify(&self, token: &str, now_ms: u64) -> Option<Link> {
        let (text, tag) = token.split_once('.')?;
        let (text, tag) = (BASE64.decode(text).ok()?, BASE64.decode(tag).ok()?);
        hmac::verify(&self.key, &text, &tag).ok()?;
        let text = String::from_utf8(text).ok()?;
        let mut parts = text.splitn(4, '\n');
        if parts.next()? != PURPOSE {
            return None;
        }
        let (expires_ms, digest, tenant) = (parts.next()?.parse().ok()?, parts.next()?.to_owned(), parts.next()?.to_owned());
        (now_ms < expires_ms).then_some(Link { tenant, digest, expires_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_good_as_signed_until_it_expires() {
        let signer = Signer::new(b"key");
        let link = || Link { tenant: "1".into(), digest: "ab".into(), expires_ms: 100 };
        let token = signer.sign(&link());
        assert_eq!(signer.verify(&token, 99), Some(link()));
        assert_eq!(signer.verify(&token, 100), None);
        assert_eq!(Signer::new(b"other").verify(&token, 99), None);
        let (text, tag) = token.split_once('.').unwrap();
        let forged = String::from_utf8(BASE64.decode(text).unwrap()).unwrap().replace("\n1", "\n2");
        assert_eq!(signer.verify(&format!("{}.{tag}", BASE64.encode(forged)), 99), None);
        for junk in ["", ".", "a.b", "é.é", text] {
            assert_eq!(signer.verify(junk, 0), None);
        }
    }
}
