//! STS (query protocol, 2011-06-15): who am I, and credentials for a time.

mod assume;
mod credentials;

pub use credentials::{CREDENTIALS, credential};

use super::{
    fault::WireError,
    names, percent,
    respond::Reply,
    rows::{self, RoleRow},
    shared::Asked,
    xml,
};
use model::{Holder, Principal};
use ring::rand::{SecureRandom, SystemRandom};

const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// What is served: an operation that is not named here is not, whatever is written for it below.
pub(super) const OPERATIONS: &[&str] = &["AssumeRole", "GetCallerIdentity", "GetSessionToken"];

/// The parameters of a query request: the form in the body, or the query string of a GET.
pub fn form(asked: &Asked) -> Vec<(String, String)> {
    let body = std::str::from_utf8(&asked.body).unwrap_or_default();
    let text = if body.is_empty() { asked.parts.uri.query().unwrap_or_default() } else { body };
    percent::pairs(text).map(|(n, v)| (n.into_owned(), v.into_owned())).collect()
}

pub fn parameter<'a>(form: &'a [(String, String)], name: &str) -> Option<&'a str> {
    form.iter().find(|p| p.0 == name).map(|p| p.1.as_str())
}

pub async fn handle(asked: &Asked) -> Result<Reply, WireError> {
    let form = form(asked);
    match parameter(&form, "Action").filter(|a| OPERATIONS.contains(a)) {
        // Everybody may ask this, whatever policies say.
        Some("GetCallerIdentity") => identity(asked),
        Some("AssumeRole") => assume::role(asked, &form).await,
        Some("GetSessionToken") => assume::own(asked, &form).await,
        _ => match parameter(&form, "Action") {
            Some(action) => Err(unserved(action)),
            None => Err(WireError::new(400, "MissingAction", "the request names no Action")),
        },
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
        Principal::User(user) => user.id.to_string(),
        Principal::Session(session) => match &session.holder {
            Holder::Root => session.tenant.to_string(),
            Holder::User(user) => user.id.to_string(),
            Holder::Role { id, session, .. } => format!("{id}:{session}"),
        },
        Principal::Role { role, instance, .. } => {
            let name = names::role_name(role);
            let row: Option<RoleRow> = asked.shared.row(&asked.tenant, rows::ROLE, name)?;
            let id = row.map_or_else(|| fixed_id("AROA", &format!("{}/{name}", asked.tenant)), |row| row.id);
            format!("{id}:{}", instance.0.simple())
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

fn letters(bytes: impl IntoIterator<Item = u8>, count: usize) -> String {
    const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    bytes.into_iter().take(count).map(|b| char::from(LETTERS[usize::from(b & 31)])).collect()
}

/// A new id in the form of IAM's (`AROA…`, `AIDA…`): names that are given again are told apart by it.
pub fn new_id(prefix: &str) -> String {
    let (a, b) = (uuid::Uuid::new_v4(), uuid::Uuid::new_v4());
    // Of each only the random bytes.
    let random = a.as_bytes()[10..].iter().chain(&b.as_bytes()[..6]).chain(&b.as_bytes()[10..]);
    format!("{prefix}{}", letters(random.copied(), 17))
}

/// An id of that form, the same for the same name.
pub fn fixed_id(prefix: &str, name: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, name.as_bytes());
    format!("{prefix}{}", letters(digest.as_ref().iter().copied(), 17))
}

/// The id of a new access key: twenty characters.
pub fn new_key_id(prefix: &str) -> Result<String, WireError> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| WireError::internal("the machine gives no random bytes"))?;
    Ok(format!("{prefix}{}", letters(bytes, 16)))
}
