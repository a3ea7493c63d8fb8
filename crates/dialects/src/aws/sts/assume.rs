//! Credentials for a time. A session is a row: on disk before its credentials are given out, it outlives a crash and ends by the
//! clock, or with the role or user that it is of.

use super::{NAMESPACE, new_key_id, parameter};
use crate::aws::{
    access::{self, Question},
    check::Checks,
    fault::WireError,
    iam, logs, names,
    respond::Reply,
    rows::{self, RoleRow, SessionHolder, SessionRow},
    shared::{Asked, Committed},
    xml,
};
use model::{Expect, Holder, Principal, TenantId, Write};
use std::sync::Arc;

/// Sessions of an account that are kept at a time; one that has expired makes room.
const SESSIONS_MAX: usize = 10_000;
/// Expired sessions are looked for whenever this many were added.
const PURGE_EVERY: usize = 256;
const HOUR_S: u64 = 3600;
/// Characters of a session policy.
const POLICY_CHARS_MAX: usize = 2048;
const POLICY_ARNS_MAX: usize = 10;

type Form = [(String, String)];

fn invalid(text: impl Into<String>) -> WireError {
    WireError::new(400, "ValidationError", text)
}

fn denied(error: WireError) -> WireError {
    WireError { code: if error.status == 403 { "AccessDenied" } else { error.code }, ..error }
}

/// Seconds, between a quarter of an hour and `most`.
fn duration(form: &Form, otherwise: u64, most: u64) -> Result<u64, WireError> {
    let Some(text) = parameter(form, "DurationSeconds") else { return Ok(otherwise) };
    let mut checks = Checks::default();
    match text.parse::<u64>() {
        Ok(seconds) if (900..=most).contains(&seconds) => return Ok(seconds),
        Ok(seconds) if seconds < 900 => {
            checks.fail(seconds, "durationSeconds", "Member must have value greater than or equal to 900");
        }
        Ok(seconds) => {
            checks.fail(seconds, "durationSeconds", format_args!("Member must have value less than or equal to {most}"));
        }
        Err(_) => checks.fail(text, "durationSeconds", "Member must be a whole number"),
    }
    checks.into_result().map_err(|e| WireError { code: "ValidationError", ..e })?;
    Ok(otherwise)
}

fn word(form: &Form, name: &str, at: &str, most: usize) -> Result<String, WireError> {
    let mut checks = Checks::default();
    let value = parameter(form, name);
    match value {
        None => checks.missing(at),
        Some(value) => {
            checks.length(value, at, 2, most);
            if !value.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b)) {
                checks.fail(value, at, "Member must satisfy regular expression pattern: [\\w+=,.@-]*");
            }
        }
    }
    checks.into_result().map_err(|e| WireError { code: "ValidationError", ..e })?;
    Ok(value.unwrap_or_default().to_owned())
}

/// The session policies that a request brings: one in full, others by ARN.
fn policies(asked: &Asked, form: &Form) -> Result<Vec<String>, WireError> {
    let mut all = Vec::new();
    if let Some(text) = parameter(form, "Policy") {
        if text.chars().count() > POLICY_CHARS_MAX {
            let text = format!("Packed size of session policy exceeds the quota of {POLICY_CHARS_MAX} characters");
            return Err(WireError::new(400, "PackedPolicyTooLarge", text));
        }
        let valid = asked.platform().policy().validate(text, model::DocumentKind::Identity);
        valid.map_err(|why| WireError::new(400, "MalformedPolicyDocument", format!("Syntax errors in policy. ({why})")))?;
        all.push(text.to_owned());
    }
    for i in 1..=POLICY_ARNS_MAX + 1 {
        let Some(arn) = parameter(form, &format!("PolicyArns.member.{i}.arn")) else { break };
        if i > POLICY_ARNS_MAX {
            return Err(invalid(format!("PolicyArns: at most {POLICY_ARNS_MAX} policies can be given")));
        }
        // As it is now: what the policy becomes later doesn't widen a session.
        let found = iam::managed_document(&Committed(asked.platform().resources()), &asked.tenant, arn);
        all.push(found.ok_or_else(|| WireError::new(400, "MalformedPolicyDocument", format!("{arn} does not exist")))?);
    }
    Ok(all)
}

pub async fn role(asked: &Asked, form: &Form) -> Result<Reply, WireError> {
    if matches!(asked.principal, Principal::Role { .. }) {
        // An instance has the credentials of its own role, and they end with it.
        access::control(asked, Question::new("sts:AssumeRole", parameter(form, "RoleArn").unwrap_or("*"))).map_err(denied)?;
    }
    let session = word(form, "RoleSessionName", "roleSessionName", 64)?;
    let arn = parameter(form, "RoleArn").unwrap_or_default();
    if arn.len() < 20 || arn.len() > 2048 || !arn.starts_with("arn:") {
        return Err(invalid(format!("{} is invalid", arn.chars().take(64).collect::<String>())));
    }
    let unserved = ["SerialNumber", "TokenCode", "Tags.member.1.Key", "TransitiveTagKeys.member.1", "SourceIdentity"];
    if let Some(name) = unserved.iter().find(|name| parameter(form, name).is_some()) {
        return Err(invalid(format!("{name}: not served by this endpoint")));
    }
    let chained = matches!(&asked.principal, Principal::Session(s) if matches!(s.holder, Holder::Role { .. }));
    let wanted = duration(form, HOUR_S, 43_200)?;
    let policies = policies(asked, form)?;
    let _one = asked.shared.writing.lock().await;
    // Of this account or of another one here, whose trust policy then has to name this caller.
    let (owner, path) = match arn.strip_prefix("arn:aws:iam::").and_then(|rest| rest.split_once(":role/")) {
        Some((account, path)) if names::account_id(account) => (TenantId::new(account), Some(path)),
        _ => (asked.tenant.clone(), None),
    };
    let name = path.map(names::role_name);
    let row: Option<RoleRow> = match name {
        Some(name) => asked.shared.row(&owner, rows::ROLE, name)?,
        None => None,
    };
    let row = row.filter(|r| name.is_some_and(|name| path == Some(&format!("{}{name}", &r.path[1..]))));
    // A role that isn't there trusts nobody; whether it is there is not for everybody to learn.
    let trust: Option<Arc<str>> = row.as_ref().map(|r| r.trust.as_str().into());
    let mut question = Question::new("sts:AssumeRole", arn).keys([("sts:RoleSessionName", &*session)]);
    question = question.keys(parameter(form, "ExternalId").map(|id| ("sts:ExternalId", id)));
    question.resource_policy = trust.as_ref();
    question.trust = true;
    question.owner = Some(&owner);
    access::control(asked, question).map_err(denied)?;
    let (Some(row), Some(name)) = (row, name) else {
        let who = names::caller_arn(&asked.principal);
        let text = format!("User: {who} is not authorized to perform: sts:AssumeRole on resource: {arn}");
        return Err(WireError::new(403, "AccessDenied", text));
    };
    if chained && wanted > HOUR_S {
        return Err(invalid(
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.",
        ));
    }
    if wanted > u64::from(row.max_session_s) {
        return Err(invalid("The requested DurationSeconds exceeds the MaxSessionDuration set for this role."));
    }
    let packed = policies.iter().map(String::len).sum::<usize>();
    let holder = SessionHolder::Role { name: name.to_owned(), id: row.id.clone(), session: session.clone() };
    let given = give(asked, &owner, holder, policies, wanted).await?;
    let mut out = given;
    out.push_str("<AssumedRoleUser>");
    xml::element(&mut out, "AssumedRoleId", &format!("{}:{session}", row.id));
    xml::element(&mut out, "Arn", &format!("arn:aws:sts::{}:assumed-role/{name}/{session}", owner));
    out.push_str("</AssumedRoleUser>");
    if packed > 0 {
        xml::element(&mut out, "PackedPolicySize", &(packed * 100 / POLICY_CHARS_MAX).clamp(1, 100).to_string());
    }
    Ok(xml::success("AssumeRole", NAMESPACE, Some(&out), &asked.id.to_string()))
}

/// A user's or the administrator's own rights, for a time.
pub async fn own(asked: &Asked, form: &Form) -> Result<Reply, WireError> {
    let (holder, most) = match &asked.principal {
        Principal::Root { .. } => (SessionHolder::Root, HOUR_S),
        Principal::User(user) => (SessionHolder::User { name: user.name.to_string(), id: user.id.to_string() }, 36 * HOUR_S),
        _ => {
            return Err(WireError::new(403, "AccessDenied", "Cannot call GetSessionToken with session credentials"));
        }
    };
    if parameter(form, "SerialNumber").or(parameter(form, "TokenCode")).is_some() {
        return Err(invalid("SerialNumber: not served by this endpoint"));
    }
    let wanted = duration(form, most.min(12 * HOUR_S), 36 * HOUR_S)?.min(most);
    let _one = asked.shared.writing.lock().await;
    let out = give(asked, &asked.tenant, holder, Vec::new(), wanted).await?;
    Ok(xml::success("GetSessionToken", NAMESPACE, Some(&out), &asked.id.to_string()))
}

/// A new session, stored, as `<Credentials>`.
async fn give(
    asked: &Asked,
    tenant: &TenantId,
    holder: SessionHolder,
    policies: Vec<String>,
    seconds: u64,
) -> Result<String, WireError> {
    let now = asked.shared.now_ms();
    let mut writes = room(asked, tenant, now)?;
    let id = new_key_id("ASIA")?;
    let expires_ms = now + seconds * 1000;
    let row = SessionRow { secret: iam::secret(40)?, token: iam::secret(256)?, holder, policies, issued_ms: now, expires_ms };
    writes.push(rows::put(tenant, rows::SESSION, &id, &row, Expect::Absent));
    asked.shared.commit(writes).await?;
    let mut out = String::from("<Credentials>");
    xml::element(&mut out, "AccessKeyId", &id);
    xml::element(&mut out, "SecretAccessKey", &row.secret);
    xml::element(&mut out, "SessionToken", &row.token);
    xml::element(&mut out, "Expiration", &logs::time(expires_ms));
    out.push_str("</Credentials>");
    Ok(out)
}

/// Expired sessions go; with none to go and as many there as are kept, there is no room.
fn room(asked: &Asked, tenant: &TenantId, now_ms: u64) -> Result<Vec<Write>, WireError> {
    /// In one commit.
    const PURGED_MAX: usize = 1000;
    let all = asked.platform().resources().list(tenant, rows::SESSION, "", "", SESSIONS_MAX);
    // Other accounts that a role trusts leave room for its own.
    let most = if asked.tenant == *tenant { SESSIONS_MAX } else { SESSIONS_MAX / 2 };
    if all.len() < most && all.len() % PURGE_EVERY != PURGE_EVERY - 1 {
        return Ok(Vec::new());
    }
    // A day longer than they hold, so that their holders learn that they expired.
    const GRACE_MS: u64 = 24 * 3_600_000;
    let gone = |grace: u64| {
        let expired = all.iter().filter(|row| rows::decode::<SessionRow>(row).map_or(true, |s| s.expires_ms + grace <= now_ms));
        expired.take(PURGED_MAX).map(|row| rows::delete(tenant, rows::SESSION, &*row.key.name)).collect::<Vec<_>>()
    };
    let mut writes = gone(GRACE_MS);
    if writes.is_empty() && all.len() >= most {
        writes = gone(0);
    }
    if writes.is_empty() && all.len() >= most {
        let text = format!("Rate exceeded: this account has {} sessions that have not expired, as many as are kept", all.len());
        return Err(WireError::new(400, "Throttling", text));
    }
    Ok(writes)
}
