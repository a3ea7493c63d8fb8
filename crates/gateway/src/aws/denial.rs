//! A failed signature in the names that AWS's front ends give it. The dialect words the answer; the name travels as the
//! fault's detail.

use crate::sigv4::Denial;
use model::{Cause, Fault};

/// `key` is the access key that was claimed: an id, not a secret.
pub fn fault(denial: &Denial, service: &str, key: Option<&str>) -> Fault {
    let query = matches!(service, "sts" | "iam");
    let name = |json: &'static str, xml: &'static str| if query { xml } else { json };
    let (detail, message) = match denial {
        Denial::Missing => {
            let text = name("Missing Authentication Token", "Request is missing Authentication Token");
            (name("MissingAuthenticationTokenException", "MissingAuthenticationToken"), text.to_owned())
        }
        Denial::Incomplete(text) => ("IncompleteSignatureException", text.clone()),
        Denial::UnknownKey | Denial::Token => (name("UnrecognizedClientException", "InvalidClientTokenId"), denial.to_string()),
        Denial::TokenExpired => (name("ExpiredTokenException", "ExpiredToken"), denial.to_string()),
        Denial::Mismatch | Denial::Expired(_) | Denial::Scope(_) | Denial::Payload(_) => {
            (name("InvalidSignatureException", "SignatureDoesNotMatch"), denial.to_string())
        }
    };
    tracing::info!(key = key.map(|k| k.escape_debug().to_string()), service = %service.escape_debug(), reason = detail, "a request is not taken for signed");
    Fault::new(Cause::Unauthenticated, message).detail(detail)
}
