//! IAM (query protocol, 2010-05-08), as far as functions need it: roles and their inline policies. Trust policies are kept and
//! shown; who may become a role is decided by the platform alone (an instance of a function that has it).

use super::{
    check::Checks,
    control_plane,
    fault::WireError,
    json, percent,
    respond::Reply,
    rows::{self, RoleRow},
    shared::Asked,
    sts::{form, parameter, role_id, unserved},
    xml,
};
use model::Expect;
use std::collections::BTreeMap;

const NAMESPACE: &str = "https://iam.amazonaws.com/doc/2010-05-08/";
/// Characters of all inline policies of a role (IAM user guide, "IAM and AWS STS quotas"; white space doesn't count).
const POLICIES_CHARS_MAX: usize = 10_240;
const TRUST_CHARS_MAX: usize = 2048;
const ROLES_MAX: usize = 1000;

type Form = Vec<(String, String)>;

pub async fn handle(asked: &Asked) -> Result<Reply, WireError> {
    let form = form(asked);
    let action = parameter(&form, "Action").ok_or_else(|| WireError::new(400, "MissingAction", "the request names no Action"))?;
    let resource = parameter(&form, "RoleName").map_or_else(|| "*".to_owned(), |name| arn(asked, "/", name));
    control_plane(&asked.principal, &format!("iam:{action}"), &resource).map_err(|e| WireError { code: "AccessDenied", ..e })?;
    match action {
        "CreateRole" => create(asked, &form).await,
        "GetRole" => get(asked, &form),
        "ListRoles" => list(asked, &form),
        "DeleteRole" => delete(asked, &form).await,
        "PutRolePolicy" => put_policy(asked, &form).await,
        "GetRolePolicy" => get_policy(asked, &form),
        "ListRolePolicies" => list_policies(asked, &form),
        "DeleteRolePolicy" => delete_policy(asked, &form).await,
        "ListAttachedRolePolicies" => list_attached(asked, &form),
        action => Err(unserved(action)),
    }
}

fn arn(asked: &Asked, path: &str, name: &str) -> String {
    format!("arn:aws:iam::{}:role{path}{name}", asked.tenant)
}

fn required<'a>(form: &'a Form, name: &str, at: &str, most: usize) -> Result<&'a str, WireError> {
    let mut checks = Checks::default();
    let value = parameter(form, name);
    match value {
        None => checks.missing(at),
        Some(value) => {
            checks.length(value, at, 1, most);
            if at != "policyDocument"
                && at != "assumeRolePolicyDocument"
                && !value.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b))
            {
                checks.fail(value, at, "Member must satisfy regular expression pattern: [\\w+=,.@-]+");
            }
        }
    }
    checks.into_result().map_err(|e| WireError { code: "ValidationError", ..e })?;
    Ok(value.unwrap_or_default())
}

fn role_name(form: &Form) -> Result<&str, WireError> {
    required(form, "RoleName", "roleName", 64)
}

fn no_entity(text: String) -> WireError {
    WireError::new(404, "NoSuchEntity", text)
}

fn load(asked: &Asked, name: &str) -> Result<RoleRow, WireError> {
    let row = asked.shared.row(&asked.tenant, rows::ROLE, name)?;
    row.ok_or_else(|| no_entity(format!("The role with name {name} cannot be found.")))
}

/// A policy document: JSON, an object with statements. What the statements mean is the evaluator's.
fn document(text: &str) -> Result<(), WireError> {
    let malformed = |why: &str| WireError::new(400, "MalformedPolicyDocument", why.to_owned());
    let value = json::value(text.as_bytes()).map_err(|e| malformed(&format!("Syntax errors in policy. ({})", e.message)))?;
    let Some(statements) = value.get("Statement") else { return Err(malformed("Syntax errors in policy. (no Statement)")) };
    let one = |s: &serde_json::Value| s.is_object() && matches!(s["Effect"].as_str(), Some("Allow" | "Deny"));
    let well = match statements {
        serde_json::Value::Array(all) => !all.is_empty() && all.iter().all(one),
        single => one(single),
    };
    if well { Ok(()) } else { Err(malformed("Syntax errors in policy. (a statement needs an Effect of Allow or Deny)")) }
}

fn shown(asked: &Asked, name: &str, role: &RoleRow) -> String {
    let mut out = String::from("<Role>");
    xml::element(&mut out, "Path", &role.path);
    xml::element(&mut out, "RoleName", name);
    xml::element(&mut out, "RoleId", &role.id);
    xml::element(&mut out, "Arn", &arn(asked, &role.path, name));
    xml::element(&mut out, "CreateDate", &super::logs::time(role.created_ms));
    xml::element(&mut out, "AssumeRolePolicyDocument", &percent::encode(&role.trust));
    if let Some(text) = &role.description {
        xml::element(&mut out, "Description", text);
    }
    xml::element(&mut out, "MaxSessionDuration", &role.max_session_s.to_string());
    if !role.tags.is_empty() {
        out.push_str("<Tags>");
        for (key, value) in &role.tags {
            out.push_str("<member>");
            xml::element(&mut out, "Key", key);
            xml::element(&mut out, "Value", value);
            out.push_str("</member>");
        }
        out.push_str("</Tags>");
    }
    out.push_str("</Role>");
    out
}

fn done(asked: &Asked, action: &str, inner: Option<&str>) -> Result<Reply, WireError> {
    Ok(xml::success(action, NAMESPACE, inner, &asked.id.to_string()))
}

async fn create(asked: &Asked, form: &Form) -> Result<Reply, WireError> {
    let name = role_name(form)?;
    let trust = required(form, "AssumeRolePolicyDocument", "assumeRolePolicyDocument", 131_072)?;
    document(trust)?;
    if trust.chars().filter(|c| !c.is_whitespace()).count() > TRUST_CHARS_MAX {
        return Err(WireError::new(409, "LimitExceeded", format!("Cannot exceed quota for ACLSizePerRole: {TRUST_CHARS_MAX}")));
    }
    let path = parameter(form, "Path").unwrap_or("/");
    let plain = path == "/"
        || (path.len() > 2 && path.starts_with('/') && path.ends_with('/') && path.bytes().all(|b| (0x21..0x7f).contains(&b)));
    let max: u32 = parameter(form, "MaxSessionDuration").map_or(Ok(3600), str::parse).unwrap_or(0);
    if !plain || path.len() > 512 || !(3600..=43_200).contains(&max) {
        let text = "1 validation error detected: Path or MaxSessionDuration failed to satisfy its constraint";
        return Err(WireError::new(400, "ValidationError", text));
    }
    if parameter(form, "PermissionsBoundary").is_some() {
        return Err(WireError::new(400, "InvalidInput", "PermissionsBoundary: not served by this endpoint"));
    }
    let shared = &asked.shared;
    let _one = shared.writing.lock().await;
    if shared.raw(&asked.tenant, rows::ROLE, name).is_some() {
        return Err(WireError::new(409, "EntityAlreadyExists", format!("Role with name {name} already exists.")));
    }
    if shared.platform.resources().list(&asked.tenant, rows::ROLE, "", "", ROLES_MAX).len() >= ROLES_MAX {
        return Err(WireError::new(409, "LimitExceeded", format!("Cannot exceed quota for RolesPerAccount: {ROLES_MAX}")));
    }
    let tags = (1..=50).map_while(|i| {
        let key = parameter(form, &format!("Tags.member.{i}.Key"))?;
        Some((key.to_owned(), parameter(form, &format!("Tags.member.{i}.Value")).unwrap_or_default().to_owned()))
    });
    let role = RoleRow {
        id: role_id(&asked.tenant, name),
        path: path.to_owned(),
        trust: trust.to_owned(),
        description: parameter(form, "Description").map(str::to_owned),
        max_session_s: max,
        created_ms: shared.now_ms(),
        policies: BTreeMap::new(),
        tags: tags.collect(),
    };
    shared.commit(vec![rows::put(&asked.tenant, rows::ROLE, name, &role, Expect::Absent)]).await?;
    done(asked, "CreateRole", Some(&shown(asked, name, &role)))
}

fn get(asked: &Asked, form: &Form) -> Result<Reply, WireError> {
    let name = role_name(form)?;
    done(asked, "GetRole", Some(&shown(asked, name, &load(asked, name)?)))
}

/// `MaxItems` and `Marker`; markers are names.
fn paging(form: &Form) -> (usize, &str) {
    let size = parameter(form, "MaxItems").and_then(|n| n.parse().ok()).unwrap_or(100);
    (usize::clamp(size, 1, 1000), parameter(form, "Marker").unwrap_or_default())
}

fn truncation(out: &mut String, more: Option<&str>) {
    xml::element(out, "IsTruncated", if more.is_some() { "true" } else { "false" });
    if let Some(marker) = more {
        xml::element(out, "Marker", marker);
    }
}

fn list(asked: &Asked, form: &Form) -> Result<Reply, WireError> {
    let (size, after) = paging(form);
    let prefix = parameter(form, "PathPrefix").unwrap_or("/");
    let rows = asked.platform().resources().list(&asked.tenant, rows::ROLE, "", after, usize::MAX);
    let mut fitting = Vec::new();
    for row in &rows {
        let role: RoleRow = rows::decode(row)?;
        if role.path.starts_with(prefix) {
            fitting.push((&*row.key.name, role));
        }
    }
    let more = (fitting.len() > size).then(|| fitting[size - 1].0);
    fitting.truncate(size);
    let mut out = String::from("<Roles>");
    for (name, role) in &fitting {
        // In lists a role is a member, not a <Role>.
        let role = shown(asked, name, role);
        out.push_str(&role.replacen("<Role>", "<member>", 1));
        out.truncate(out.len() - "</Role>".len());
        out.push_str("</member>");
    }
    out.push_str("</Roles>");
    truncation(&mut out, more);
    done(asked, "ListRoles", Some(&out))
}

async fn delete(asked: &Asked, form: &Form) -> Result<Reply, WireError> {
    let name = role_name(form)?;
    let _one = asked.shared.writing.lock().await;
    if !load(asked, name)?.policies.is_empty() {
        return Err(WireError::new(409, "DeleteConflict", "Cannot delete entity, must delete policies first."));
    }
    asked.shared.commit(vec![rows::delete(&asked.tenant, rows::ROLE, name)]).await?;
    done(asked, "DeleteRole", None)
}

fn policy_name(form: &Form) -> Result<&str, WireError> {
    required(form, "PolicyName", "policyName", 128)
}

async fn put_policy(asked: &Asked, form: &Form) -> Result<Reply, WireError> {
    let (name, policy) = (role_name(form)?, policy_name(form)?);
    let text = required(form, "PolicyDocument", "policyDocument", 131_072)?;
    document(text)?;
    let _one = asked.shared.writing.lock().await;
    let mut role = load(asked, name)?;
    role.policies.insert(policy.to_owned(), text.to_owned());
    let size: usize = role.policies.values().map(|p| p.chars().filter(|c| !c.is_whitespace()).count()).sum();
    if size > POLICIES_CHARS_MAX {
        let text = format!("Maximum policy size of {POLICIES_CHARS_MAX} bytes exceeded for role {name}");
        return Err(WireError::new(409, "LimitExceeded", text));
    }
    asked.shared.commit(vec![rows::put(&asked.tenant, rows::ROLE, name, &role, Expect::Any)]).await?;
    done(asked, "PutRolePolicy", None)
}

fn no_policy(policy: &str) -> WireError {
    no_entity(format!("The role policy with name {policy} cannot be found."))
}

fn get_policy(asked: &Asked, form: &Form) -> Result<Reply, WireError> {
    let (name, policy) = (role_name(form)?, policy_name(form)?);
    let role = load(asked, name)?;
    let text = role.policies.get(policy).ok_or_else(|| no_policy(policy))?;
    let mut out = String::new();
    xml::element(&mut out, "RoleName", name);
    xml::element(&mut out, "PolicyName", policy);
    xml::element(&mut out, "PolicyDocument", &percent::encode(text));
    done(asked, "GetRolePolicy", Some(&out))
}

fn list_policies(asked: &Asked, form: &Form) -> Result<Reply, WireError> {
    let role = load(asked, role_name(form)?)?;
    let (size, after) = paging(form);
    let names: Vec<&str> = role.policies.keys().map(String::as_str).filter(|n| *n > after).collect();
    let mut out = String::from("<PolicyNames>");
    for name in names.iter().take(size) {
        xml::element(&mut out, "member", name);
    }
    out.push_str("</PolicyNames>");
    truncation(&mut out, (names.len() > size).then(|| names[size - 1]));
    done(asked, "ListRolePolicies", Some(&out))
}

async fn delete_policy(asked: &Asked, form: &Form) -> Result<Reply, WireError> {
    let (name, policy) = (role_name(form)?, policy_name(form)?);
    let _one = asked.shared.writing.lock().await;
    let mut role = load(asked, name)?;
    role.policies.remove(policy).ok_or_else(|| no_policy(policy))?;
    asked.shared.commit(vec![rows::put(&asked.tenant, rows::ROLE, name, &role, Expect::Any)]).await?;
    done(asked, "DeleteRolePolicy", None)
}

/// Managed policies can't be attached here, so there are none; deploy tools ask before they delete a role.
fn list_attached(asked: &Asked, form: &Form) -> Result<Reply, WireError> {
    load(asked, role_name(form)?)?;
    let mut out = String::from("<AttachedPolicies></AttachedPolicies>");
    truncation(&mut out, None);
    done(asked, "ListAttachedRolePolicies", Some(&out))
}
