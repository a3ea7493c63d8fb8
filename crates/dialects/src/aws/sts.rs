//! STS (query protocol, 2011-06-15): who am I.

use super::{fault::WireError, names, percent, respond::Reply, shared::Asked, xml};
use model::Principal;

const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// The parameters of a query request: the form in the body, or the query string of a GET.
pub fn form(asked: &Asked) -> Vec<(String, String)> {
    let body = std::str::from_utf8(&asked.body).unwrap_or_default();
    let text = if body.is_empty() { asked.parts.uri.query().unwrap_or_default() } else { body };
    percent::pairs(text).map(|(n, v)| (n.into_owned(), v.into_owned())).collect()
}

pub fn parameter<'a>(form: &'a [(String, String)], name: &str) -> Option<&'a str> {
    form.iter().find(|p| p.0 == name).map(|p| p.1.as_str())
}

pub fn handle(asked: &Asked) -> Result<Reply, WireError> {
    let form = form(asked);
    match parameter(&form, "Action") {
        // Everybody may ask this, whatever policies say.
        Some("GetCallerIdentity") => identity(asked),
        Some(action) => Err(unserved(action)),
        None => Err(WireError::new(400, "MissingAction", "the request names no Action")),
    }
}

/// An action that may exist, or that no service could have.
pub fn unserved(action: &str) -> WireError {
    if WireError::may_be_operation(action) {
        WireError::unserved(action)
    } else {
        WireError::new(400, "InvalidAction", "the request's Action is no operation's name")
    }
}

fn identity(asked: &Asked) -> Result<Reply, WireError> {
    let user = match &asked.principal {
        Principal::Root { tenant } => tenant.to_string(),
        Principal::Role { role, instance, .. } => {
            format!("{}:{}", role_id(&asked.tenant, names::role_name(role)), instance.0.simple())
        }
        Principal::Anonymous | Principal::Service { .. } => {
            return Err(WireError::new(403, "MissingAuthenticationToken", "Request is missing Authentication Token"));
        }
    };
    let mut out = String::new();
    xml::element(&mut out, "Arn", &names::caller_arn(&asked.principal));
    xml::element(&mut out, "UserId", &user);
    xml::element(&mut out, "Account", asked.tenant.as_str());
    Ok(xml::success("GetCallerIdentity", NAMESPACE, Some(&out), &asked.id.to_string()))
}

/// An id in the form of IAM's (`AROA…`), the same for the same role.
pub fn role_id(tenant: &model::TenantId, role: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, format!("{tenant}/{role}").as_bytes());
    const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let tail: String = digest.as_ref().iter().take(17).map(|b| char::from(LETTERS[usize::from(b & 31)])).collect();
    format!("AROA{tail}")
}
