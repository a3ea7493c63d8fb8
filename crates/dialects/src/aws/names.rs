//! ARNs and the four ways in which a request may name a function: `name`, `name:qualifier`, `ACCOUNT:function:name` and the
//! full ARN (Lambda API reference, "FunctionName").

use super::{check::Checks, fault::WireError};
use model::{Holder, Principal, TenantId};
use std::sync::Arc;

pub const LATEST: &str = "$LATEST";

/// The role that functions get in examples; it exists without being created and carries no rights.
pub const DEFAULT_ROLE: &str = "myna-default";

pub fn function_arn(region: &str, account: &TenantId, name: &str) -> String {
    format!("arn:aws:lambda:{region}:{account}:function:{name}")
}

pub fn qualified_arn(region: &str, account: &TenantId, name: &str, qualifier: Option<&str>) -> String {
    match qualifier {
        Some(q) => format!("arn:aws:lambda:{region}:{account}:function:{name}:{q}"),
        None => function_arn(region, account, name),
    }
}

/// The short name of a role, from its ARN (paths dropped) or from a name.
pub fn role_name(role: &str) -> &str {
    role.rsplit_once('/').map_or(role, |(_, name)| name)
}

/// How the service names a caller in its messages.
pub fn caller_arn(principal: &Principal) -> String {
    match principal {
        Principal::Root { tenant } => format!("arn:aws:iam::{tenant}:root"),
        Principal::Role { tenant, role, instance } => {
            format!("arn:aws:sts::{tenant}:assumed-role/{}/{}", role_name(role), instance.0.simple())
        }
        Principal::User(user) => user.arn.to_string(),
        Principal::Session(session) => match &session.holder {
            Holder::Root => format!("arn:aws:iam::{}:root", session.tenant),
            Holder::User(user) => user.arn.to_string(),
            Holder::Role { arn, session: name, .. } => {
                format!("arn:aws:sts::{}:assumed-role/{}/{name}", session.tenant, role_name(arn))
            }
        },
        Principal::Service { name } => name.to_string(),
        Principal::Anonymous => "anonymous".into(),
    }
}

/// A function as a request named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    pub name: Arc<str>,
    /// From the name itself or from the `Qualifier` parameter.
    pub qualifier: Option<Arc<str>>,
    /// The account that the name itself says, where it is another one than the caller's.
    pub other: Option<TenantId>,
}

/// The most that the service accepts, and the pattern that it quotes; both differ between groups of operations.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// The data plane and readers, which also accept dots.
    Reader,
    /// Everything else.
    Writer,
    /// CreateFunction, which holds a bare name to 64.
    Create,
}

const PATTERN_WRITER: &str = r"(arn:(aws[a-zA-Z-]*)?:lambda:)?([a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?([a-zA-Z0-9-_]+)(:(\$LATEST|[a-zA-Z0-9-_]+))?";
const PATTERN_READER: &str = r"(arn:(aws[a-zA-Z-]*)?:lambda:)?([a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?([a-zA-Z0-9-_\.]+)(:(\$LATEST|[a-zA-Z0-9-_]+))?";

pub fn word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

pub fn all_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

pub fn account_id(text: &str) -> bool {
    text.len() == 12 && all_digits(text)
}

fn region_like(text: &str) -> bool {
    let mut parts = text.split('-');
    let (first, rest): (Option<&str>, Vec<&str>) = (parts.next(), parts.collect());
    first.is_some_and(|p| p.len() == 2 && p.bytes().all(|b| b.is_ascii_lowercase()))
        && rest.len() >= 2
        && rest.last().is_some_and(|n| n.len() == 1 && all_digits(n))
        && rest[..rest.len() - 1].iter().all(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_lowercase()))
}

struct Parts<'a> {
    region: Option<&'a str>,
    account: Option<&'a str>,
    name: &'a str,
    qualifier: Option<&'a str>,
}

/// The pattern above, read left to right: each optional part is taken when it is there.
fn split(text: &str, dots: bool) -> Option<Parts<'_>> {
    let mut fields: Vec<&str> = text.split(':').collect();
    if fields.len() > 3 && fields[0] == "arn" && (fields[1].is_empty() || fields[1].starts_with("aws")) && fields[2] == "lambda" {
        fields.drain(..3);
    }
    let mut fields = fields.into_iter().peekable();
    let region = fields.next_if(|f| region_like(f));
    let account = fields.next_if(|f| account_id(f));
    // A function may itself be called "function": only the word with something behind it is the keyword.
    let mut rest: Vec<&str> = fields.collect();
    if rest.len() > 1 && rest[0] == "function" {
        rest.remove(0);
    }
    let (name, qualifier) = match rest[..] {
        [name] => (name, None),
        [name, qualifier] => (name, Some(qualifier)),
        _ => return None,
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_' || (dots && b == b'.');
    let named = !name.is_empty() && name.bytes().all(plain);
    let qualified = qualifier.is_none_or(|q| q == LATEST || word(q));
    (named && qualified).then_some(Parts { region, account, name, qualifier })
}

/// Read the name and the `Qualifier` parameter together.
pub fn parse(region: &str, account: &TenantId, text: &str, qualifier: Option<&str>, group: Group) -> Result<Named, WireError> {
    let named = parse_of_any(region, account, text, qualifier, group)?;
    match named.other {
        None => Ok(named),
        // Whether the function exists there is not for this caller to learn.
        Some(_) => {
            Err(WireError::access_denied("You are not authorized to perform this action on a function of another account"))
        }
    }
}

/// The same where the function may be another account's.
pub fn parse_of_any(
    region: &str,
    account: &TenantId,
    text: &str,
    qualifier: Option<&str>,
    group: Group,
) -> Result<Named, WireError> {
    // The way that nearly every invocation takes.
    if qualifier.is_none() && text.len() <= 64 && word(text) {
        return Ok(Named { name: Arc::from(text), qualifier: None, other: None });
    }
    let parts = split(text, group == Group::Reader);
    let bare = parts.as_ref().is_some_and(|p| p.name == text);
    let mut checks = Checks::default();
    let most = match group {
        Group::Create if bare => 64,
        Group::Create | Group::Writer => 140,
        Group::Reader => 170,
    };
    checks.length(text, "functionName", 1, most);
    if parts.is_none() {
        checks.pattern(text, "functionName", if group == Group::Reader { PATTERN_READER } else { PATTERN_WRITER });
    }
    if let Some(q) = qualifier {
        checks.length(q, "qualifier", 1, 128);
        if !q.is_empty() && !q.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'$' | b'_' | b'-')) {
            checks.pattern(q, "qualifier", "(|[a-zA-Z0-9$_-]+)");
        }
    }
    if group == Group::Create && bare && text.len() <= 140 {
        checks.into_result().map_err(|e| WireError::invalid(e.message))?;
    } else {
        checks.into_result()?;
    }
    let parts = parts.expect("a name that doesn't parse was refused above");
    if let Some(other) = parts.region.filter(|r| *r != region) {
        return Err(WireError::not_found(format!("Functions from '{other}' are not reachable in this region ('{region}')")));
    }
    let other = parts.account.filter(|a| *a != account.as_str()).map(TenantId::new);
    if parts.name.len() > 64 && other.is_none() {
        return Err(WireError::not_found(format!("Function not found: {}", function_arn(region, account, parts.name))));
    }
    let given = qualifier.filter(|q| !q.is_empty());
    if let (Some(a), Some(b)) = (given, parts.qualifier)
        && a != b
    {
        return Err(WireError::invalid("The derived qualifier from the function name does not match the specified qualifier."));
    }
    Ok(Named { name: Arc::from(parts.name), qualifier: given.or(parts.qualifier).map(Arc::from), other })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, qualifier: Option<&str>) -> Result<(String, Option<String>), (u16, &'static str, String)> {
        parse("us-east-1", &TenantId::new("000000000000"), text, qualifier, Group::Writer)
            .map(|n| (n.name.to_string(), n.qualifier.map(|q| q.to_string())))
            .map_err(|e| (e.status, e.code, e.message))
    }

    #[test]
    fn every_form_of_a_name_is_understood() {
        let named = |q: Option<&str>| Ok(("hello".to_owned(), q.map(str::to_owned)));
        assert_eq!(read("hello", None), named(None));
        assert_eq!(read("hello:live", None), named(Some("live")));
        assert_eq!(read("000000000000:function:hello", None), named(None));
        assert_eq!(read("function:hello:3", None), named(Some("3")));
        assert_eq!(read("arn:aws:lambda:us-east-1:000000000000:function:hello", Some("live")), named(Some("live")));
        assert_eq!(read("arn:aws:lambda:us-east-1:000000000000:function:hello:$LATEST", Some("$LATEST")), named(Some("$LATEST")));
        assert_eq!(read("function", None), Ok(("function".into(), None)));
    }

    #[test]
    fn a_name_that_contradicts_its_qualifier_its_region_or_its_account_is_refused() {
        assert_eq!(read("hello:live", Some("prod")).unwrap_err().1, "InvalidParameterValueException");
        assert_eq!(read("arn:aws:lambda:eu-west-1:000000000000:function:hello", None).unwrap_err().0, 404);
        assert_eq!(read("999999999999:function:hello", None).unwrap_err().0, 403);
        for bad in ["", "a b", "../x", "hello:", "a:b:c:d", "arn:aws:s3:::x", "héllo"] {
            assert_eq!(read(bad, None).unwrap_err().1, "ValidationException", "{bad:?}");
        }
    }

    #[test]
    fn an_overlong_bare_name_is_another_error_when_creating() {
        let create = |text: &str| parse("us-east-1", &TenantId::new("000000000000"), text, None, Group::Create).unwrap_err();
        assert_eq!(create(&"a".repeat(65)).code, "InvalidParameterValueException");
        assert_eq!(create(&"a".repeat(141)).code, "ValidationException");
        assert!(create(&"a".repeat(65)).message.contains("Member must have length less than or equal to 64"));
    }
}
