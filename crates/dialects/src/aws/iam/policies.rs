//! The versions of a managed policy; one of them is in force.

use super::{
    Answer, amazon, done,
    form::{Form, Page},
    managed, no_entity,
};
use crate::aws::{
    fault::WireError,
    logs, percent,
    rows::{PolicyRow, PolicyVersion},
    shared::Asked,
    xml,
};

const VERSIONS_MAX: usize = 5;

fn write(out: &mut String, element: &str, number: u32, version: &PolicyVersion, default: u32, with_document: bool) {
    out.push_str(&format!("<{element}>"));
    if with_document {
        xml::element(out, "Document", &percent::encode(&version.document));
    }
    xml::element(out, "VersionId", &format!("v{number}"));
    xml::element(out, "IsDefaultVersion", if number == default { "true" } else { "false" });
    xml::element(out, "CreateDate", &logs::time(version.created_ms));
    out.push_str(&format!("</{element}>"));
}

fn number(form: &Form) -> Result<u32, WireError> {
    let text = form.text("VersionId", "versionId", 32)?;
    text.strip_prefix('v').and_then(|n| n.parse().ok()).filter(|n| *n > 0).ok_or_else(|| {
        super::invalid(format!(
            "1 validation error detected: Value '{text}' at 'versionId' failed to satisfy constraint: Member must satisfy regular expression pattern: v[1-9][0-9]*(\\.[A-Za-z0-9-]*)?"
        ))
    })
}

fn no_version(arn: &str, number: u32) -> WireError {
    no_entity(format!("Policy {arn} version v{number} does not exist or is not attachable."))
}

pub async fn create(asked: &Asked, form: &Form) -> Answer {
    let arn = form.policy_arn()?;
    let document = managed::checked(asked, form)?;
    let _one = asked.shared.writing.lock().await;
    let (name, mut policy) = managed::load_own(asked, arn)?;
    if policy.versions.len() >= VERSIONS_MAX {
        let text =
            "A managed policy can have up to 5 versions. Before you create a new version, you must delete an existing version.";
        return Err(WireError::new(409, "LimitExceeded", text));
    }
    let now = asked.shared.now_ms();
    policy.last += 1;
    let version = PolicyVersion { document: document.to_owned(), created_ms: now };
    if form.get("SetAsDefault") == Some("true") {
        policy.default = policy.last;
    }
    policy.updated_ms = now;
    let mut out = String::new();
    write(&mut out, "PolicyVersion", policy.last, &version, policy.default, false);
    policy.versions.insert(policy.last, version);
    managed::save(asked, &name, &policy).await?;
    done(asked, "CreatePolicyVersion", Some(&out))
}

/// The versions of any policy: AWS's have one here.
fn load(asked: &Asked, arn: &str) -> Result<PolicyRow, WireError> {
    let Some(found) = amazon::find(arn) else { return Ok(managed::load(asked, arn)?.1) };
    let version = PolicyVersion { document: found.document.clone(), created_ms: 0 };
    Ok(PolicyRow {
        id: String::new(),
        path: found.path.clone(),
        description: String::new(),
        created_ms: 0,
        updated_ms: 0,
        default: 1,
        last: 1,
        versions: [(1, version)].into(),
        tags: [].into(),
    })
}

pub fn get(asked: &Asked, form: &Form) -> Answer {
    let (arn, number) = (form.policy_arn()?, number(form)?);
    let policy = load(asked, arn)?;
    let version = policy.versions.get(&number).ok_or_else(|| no_version(arn, number))?;
    let mut out = String::new();
    write(&mut out, "PolicyVersion", number, version, policy.default, true);
    done(asked, "GetPolicyVersion", Some(&out))
}

pub fn list(asked: &Asked, form: &Form) -> Answer {
    let policy = load(asked, form.policy_arn()?)?;
    let all = policy.versions.iter().map(|(number, version)| (format!("{number:010}"), (*number, version)));
    let page = Page::of(form, all);
    let out = page.render("Versions", |out, _, (number, version)| write(out, "member", *number, version, policy.default, false));
    done(asked, "ListPolicyVersions", Some(&out))
}

pub async fn delete(asked: &Asked, form: &Form) -> Answer {
    let (arn, number) = (form.policy_arn()?, number(form)?);
    let _one = asked.shared.writing.lock().await;
    let (name, mut policy) = managed::load_own(asked, arn)?;
    if number == policy.default {
        return Err(WireError::new(409, "DeleteConflict", "Cannot delete the default version of a policy."));
    }
    policy.versions.remove(&number).ok_or_else(|| no_version(arn, number))?;
    policy.updated_ms = asked.shared.now_ms();
    managed::save(asked, &name, &policy).await?;
    done(asked, "DeletePolicyVersion", None)
}

pub async fn set_default(asked: &Asked, form: &Form) -> Answer {
    let (arn, number) = (form.policy_arn()?, number(form)?);
    let _one = asked.shared.writing.lock().await;
    let (name, mut policy) = managed::load_own(asked, arn)?;
    if !policy.versions.contains_key(&number) {
        return Err(no_version(arn, number));
    }
    policy.default = number;
    policy.updated_ms = asked.shared.now_ms();
    managed::save(asked, &name, &policy).await?;
    done(asked, "SetDefaultPolicyVersion", None)
}
