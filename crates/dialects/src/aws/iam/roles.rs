//! Roles: who is trusted to become them, and how long a session may last.

use super::{
    Answer, done,
    entity::{self, Kind, Row},
    form::{self, Form, Page},
    invalid, quota, rights,
};
use crate::aws::{
    fault::WireError,
    logs, percent,
    rows::{self, Rights, RoleRow},
    shared::Asked,
    sts, xml,
};
use model::{DocumentKind, Expect};

const TRUST_CHARS_MAX: usize = 2048;
const ROLES_MAX: usize = 1000;
const DESCRIPTION_MAX: usize = 1000;

fn write(out: &mut String, asked: &Asked, element: &str, name: &str, role: &RoleRow) {
    out.push_str(&format!("<{element}>"));
    xml::element(out, "Path", &role.path);
    xml::element(out, "RoleName", name);
    xml::element(out, "RoleId", &role.id);
    xml::element(out, "Arn", &Kind::Role.arn(asked, &role.path, name));
    xml::element(out, "CreateDate", &logs::time(role.created_ms));
    xml::element(out, "AssumeRolePolicyDocument", &percent::encode(&role.trust));
    if let Some(text) = &role.description {
        xml::element(out, "Description", text);
    }
    xml::element(out, "MaxSessionDuration", &role.max_session_s.to_string());
    entity::write_boundary(out, &role.rights);
    form::write_tags(out, &role.rights.tags);
    out.push_str(&format!("</{element}>"));
}

fn shown(asked: &Asked, name: &str, role: &RoleRow) -> String {
    let mut out = String::new();
    write(&mut out, asked, "Role", name, role);
    out
}

fn trust_document<'a>(asked: &Asked, form: &'a Form, name: &str, at: &str) -> Result<&'a str, WireError> {
    let trust = form.document(asked, name, at, DocumentKind::Trust)?;
    if form::size(trust) > TRUST_CHARS_MAX {
        return Err(quota("ACLSizePerRole", TRUST_CHARS_MAX));
    }
    Ok(trust)
}

fn max_session(form: &Form) -> Result<Option<u32>, WireError> {
    let Some(text) = form.get("MaxSessionDuration") else { return Ok(None) };
    match text.parse() {
        Ok(seconds @ 3600..=43_200) => Ok(Some(seconds)),
        _ => Err(invalid(format!(
            "1 validation error detected: Value '{}' at 'maxSessionDuration' failed to satisfy constraint: Member must have value between 3600 and 43200",
            text.chars().take(32).collect::<String>()
        ))),
    }
}

fn description(form: &Form) -> Result<Option<String>, WireError> {
    match form.get("Description") {
        Some(text) if text.chars().count() > DESCRIPTION_MAX => Err(invalid(format!(
            "1 validation error detected: Value at 'description' failed to satisfy constraint: Member must have length less than or equal to {DESCRIPTION_MAX}"
        ))),
        text => Ok(text.map(str::to_owned)),
    }
}

pub async fn create(asked: &Asked, form: &Form) -> Answer {
    let name = Kind::Role.name(form)?;
    let trust = trust_document(asked, form, "AssumeRolePolicyDocument", "assumeRolePolicyDocument")?;
    let (path, max, description, tags) = (form.path()?, max_session(form)?, description(form)?, form.tags()?);
    let shared = &asked.shared;
    let _one = shared.writing.lock().await;
    if shared.raw(&asked.tenant, rows::ROLE, name).is_some() {
        return Err(WireError::new(409, "EntityAlreadyExists", format!("Role with name {name} already exists.")));
    }
    if shared.platform.resources().list(&asked.tenant, rows::ROLE, "", "", ROLES_MAX).len() >= ROLES_MAX {
        return Err(quota("RolesPerAccount", ROLES_MAX));
    }
    let role = RoleRow {
        id: sts::new_id("AROA"),
        path: path.to_owned(),
        trust: trust.to_owned(),
        description,
        max_session_s: max.unwrap_or(3600),
        created_ms: shared.now_ms(),
        rights: Rights { boundary: rights::boundary(asked, form)?, tags, ..Rights::default() },
    };
    shared.commit(vec![rows::put(&asked.tenant, rows::ROLE, name, &role, Expect::Absent)]).await?;
    done(asked, "CreateRole", Some(&shown(asked, name, &role)))
}

fn load(asked: &Asked, name: &str) -> Result<RoleRow, WireError> {
    match Kind::Role.load(asked, name)?.row {
        Row::Role(role) => Ok(role),
        Row::User(_) => Err(WireError::internal("a role's row is a user's")),
    }
}

pub fn get(asked: &Asked, form: &Form) -> Answer {
    let name = Kind::Role.name(form)?;
    done(asked, "GetRole", Some(&shown(asked, name, &load(asked, name)?)))
}

pub fn list(asked: &Asked, form: &Form) -> Answer {
    let prefix = form.get("PathPrefix").unwrap_or("/");
    let mut fitting = Vec::new();
    for row in &asked.platform().resources().list(&asked.tenant, rows::ROLE, "", form.paging().1, usize::MAX) {
        let role: RoleRow = rows::decode(row)?;
        if role.path.starts_with(prefix) {
            fitting.push((row.key.name.to_string(), role));
        }
    }
    let page = Page::of(form, fitting);
    let out = page.render("Roles", |out, name, role| write(out, asked, "member", name, role));
    done(asked, "ListRoles", Some(&out))
}

async fn change(asked: &Asked, name: &str, change: impl FnOnce(&mut RoleRow)) -> Result<RoleRow, WireError> {
    let _one = asked.shared.writing.lock().await;
    let mut role = load(asked, name)?;
    change(&mut role);
    asked.shared.commit(vec![rows::put(&asked.tenant, rows::ROLE, name, &role, Expect::Any)]).await?;
    Ok(role)
}

pub async fn update(asked: &Asked, form: &Form) -> Answer {
    let name = Kind::Role.name(form)?;
    let (max, description) = (max_session(form)?, description(form)?);
    change(asked, name, |role| {
        role.max_session_s = max.unwrap_or(3600);
        role.description = description.or(role.description.take());
    })
    .await?;
    done(asked, "UpdateRole", Some(""))
}

pub async fn describe(asked: &Asked, form: &Form) -> Answer {
    let name = Kind::Role.name(form)?;
    let text = description(form)?;
    let role = change(asked, name, |role| role.description = text).await?;
    done(asked, "UpdateRoleDescription", Some(&shown(asked, name, &role)))
}

pub async fn trust(asked: &Asked, form: &Form) -> Answer {
    let name = Kind::Role.name(form)?;
    let trust = trust_document(asked, form, "PolicyDocument", "policyDocument")?;
    change(asked, name, |role| trust.clone_into(&mut role.trust)).await?;
    done(asked, "UpdateAssumeRolePolicy", None)
}

pub async fn delete(asked: &Asked, form: &Form) -> Answer {
    let name = Kind::Role.name(form)?;
    let _one = asked.shared.writing.lock().await;
    let rights = load(asked, name)?.rights;
    if !rights.attached.is_empty() {
        return Err(WireError::new(409, "DeleteConflict", "Cannot delete entity, must detach all policies first."));
    }
    if !rights.policies.is_empty() {
        return Err(WireError::new(409, "DeleteConflict", "Cannot delete entity, must delete policies first."));
    }
    asked.shared.commit(vec![rows::delete(&asked.tenant, rows::ROLE, name)]).await?;
    done(asked, "DeleteRole", None)
}
