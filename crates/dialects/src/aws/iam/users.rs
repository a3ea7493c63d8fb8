//! Users: who has access keys.

use super::{
    Answer, done,
    entity::{self, Kind, Row},
    form::{self, Form, Page},
    keys, quota, rights,
};
use crate::aws::{
    fault::WireError,
    logs,
    rows::{self, Rights, UserRow},
    shared::Asked,
    sts, xml,
};
use model::{Expect, Principal};

const USERS_MAX: usize = 5000;

fn write(out: &mut String, asked: &Asked, element: &str, name: &str, user: &UserRow) {
    out.push_str(&format!("<{element}>"));
    xml::element(out, "Path", &user.path);
    xml::element(out, "UserName", name);
    xml::element(out, "UserId", &user.id);
    xml::element(out, "Arn", &Kind::User.arn(asked, &user.path, name));
    xml::element(out, "CreateDate", &logs::time(user.created_ms));
    entity::write_boundary(out, &user.rights);
    form::write_tags(out, &user.rights.tags);
    out.push_str(&format!("</{element}>"));
}

fn shown(asked: &Asked, name: &str, user: &UserRow) -> String {
    let mut out = String::new();
    write(&mut out, asked, "User", name, user);
    out
}

pub fn load(asked: &Asked, name: &str) -> Result<UserRow, WireError> {
    match Kind::User.load(asked, name)?.row {
        Row::User(user) => Ok(user),
        Row::Role(_) => Err(WireError::internal("a user's row is a role's")),
    }
}

fn exists(name: &str) -> WireError {
    WireError::new(409, "EntityAlreadyExists", format!("User with name {name} already exists."))
}

pub async fn create(asked: &Asked, form: &Form) -> Answer {
    let name = Kind::User.name(form)?;
    let (path, tags) = (form.path()?, form.tags()?);
    let shared = &asked.shared;
    let _one = shared.writing.lock().await;
    if shared.raw(&asked.tenant, rows::USER, name).is_some() {
        return Err(exists(name));
    }
    if shared.platform.resources().list(&asked.tenant, rows::USER, "", "", USERS_MAX).len() >= USERS_MAX {
        return Err(quota("UsersPerAccount", USERS_MAX));
    }
    let user = UserRow {
        id: sts::new_id("AIDA"),
        path: path.to_owned(),
        created_ms: shared.now_ms(),
        rights: Rights { boundary: rights::boundary(asked, form)?, tags, ..Rights::default() },
    };
    shared.commit(vec![rows::put(&asked.tenant, rows::USER, name, &user, Expect::Absent)]).await?;
    done(asked, "CreateUser", Some(&shown(asked, name, &user)))
}

/// Of the user that is named, or of who asks; the administrator has no user of its own and is shown as the account.
pub fn get(asked: &Asked, form: &Form) -> Answer {
    if form.get("UserName").is_some() {
        let name = Kind::User.name(form)?;
        return done(asked, "GetUser", Some(&shown(asked, name, &load(asked, name)?)));
    }
    if let Some(name) = entity::caller_name(asked) {
        return done(asked, "GetUser", Some(&shown(asked, name, &load(asked, name)?)));
    }
    if !matches!(asked.principal, Principal::Root { .. }) {
        return Err(super::invalid("Must specify userName when calling with non-User credentials"));
    }
    let mut out = String::from("<User>");
    xml::element(&mut out, "Path", "/");
    xml::element(&mut out, "UserName", "root");
    xml::element(&mut out, "UserId", asked.tenant.as_str());
    xml::element(&mut out, "Arn", &format!("arn:aws:iam::{}:root", asked.tenant));
    xml::element(&mut out, "CreateDate", &logs::time(0));
    out.push_str("</User>");
    done(asked, "GetUser", Some(&out))
}

pub fn list(asked: &Asked, form: &Form) -> Answer {
    let prefix = form.get("PathPrefix").unwrap_or("/");
    let mut fitting = Vec::new();
    for row in &asked.platform().resources().list(&asked.tenant, rows::USER, "", form.paging().1, usize::MAX) {
        let user: UserRow = rows::decode(row)?;
        if user.path.starts_with(prefix) {
            fitting.push((row.key.name.to_string(), user));
        }
    }
    let page = Page::of(form, fitting);
    let out = page.render("Users", |out, name, user| write(out, asked, "member", name, user));
    done(asked, "ListUsers", Some(&out))
}

/// A new name or path. The user's keys go on working; its sessions end.
pub async fn update(asked: &Asked, form: &Form) -> Answer {
    let name = Kind::User.name(form)?;
    let new = match form.get("NewUserName") {
        Some(_) => form.name("NewUserName", "newUserName", 64)?,
        None => name,
    };
    let path = form.get("NewPath").map(form::path).transpose()?;
    let _one = asked.shared.writing.lock().await;
    let mut user = load(asked, name)?;
    if new != name && asked.shared.raw(&asked.tenant, rows::USER, new).is_some() {
        return Err(exists(new));
    }
    if let Some(path) = path {
        path.clone_into(&mut user.path);
    }
    let mut writes = vec![rows::put(&asked.tenant, rows::USER, new, &user, Expect::Any)];
    if new != name {
        writes.push(rows::delete(&asked.tenant, rows::USER, name));
    }
    for (id, mut key) in keys::of(asked, name)? {
        new.clone_into(&mut key.user);
        writes.push(rows::put(&asked.tenant, rows::ACCESS_KEY, id, &key, Expect::Any));
    }
    asked.shared.commit(writes).await?;
    done(asked, "UpdateUser", None)
}

pub async fn delete(asked: &Asked, form: &Form) -> Answer {
    let name = Kind::User.name(form)?;
    let _one = asked.shared.writing.lock().await;
    let rights = load(asked, name)?.rights;
    let conflict = |what: &str| Err(WireError::new(409, "DeleteConflict", format!("Cannot delete entity, must {what} first.")));
    if !rights.attached.is_empty() {
        return conflict("detach all policies");
    }
    if !rights.policies.is_empty() {
        return conflict("delete policies");
    }
    if !keys::of(asked, name)?.is_empty() {
        return conflict("delete access keys");
    }
    asked.shared.commit(vec![rows::delete(&asked.tenant, rows::USER, name)]).await?;
    done(asked, "DeleteUser", None)
}
