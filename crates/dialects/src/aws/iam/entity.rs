//! Roles and users alike: who holds policies.

use super::{Form, no_entity};
use crate::aws::{
    fault::WireError,
    rows::{self, Rights, RoleRow, UserRow},
    shared::Asked,
    xml,
};
use model::{Expect, Principal, Write};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Role,
    User,
}

/// A row of either kind.
pub enum Row {
    Role(RoleRow),
    User(UserRow),
}

/// A role or a user, read to be changed.
pub struct Entity {
    pub name: String,
    pub row: Row,
}

impl Kind {
    pub fn word(self) -> &'static str {
        match self {
            Kind::Role => "role",
            Kind::User => "user",
        }
    }
    /// As it stands in operations' and members' names.
    pub fn title(self) -> &'static str {
        match self {
            Kind::Role => "Role",
            Kind::User => "User",
        }
    }
    pub fn rows(self) -> &'static str {
        match self {
            Kind::Role => rows::ROLE,
            Kind::User => rows::USER,
        }
    }
    pub fn arn(self, asked: &Asked, path: &str, name: &str) -> String {
        format!("arn:aws:iam::{}:{}{path}{name}", asked.tenant, self.word())
    }
    /// The name that a request gives.
    pub fn name(self, form: &Form) -> Result<&str, WireError> {
        match self {
            Kind::Role => form.name("RoleName", "roleName", 64),
            Kind::User => form.name("UserName", "userName", 64),
        }
    }
    pub fn load(self, asked: &Asked, name: &str) -> Result<Entity, WireError> {
        let (shared, tenant) = (&asked.shared, &asked.tenant);
        let row = match self {
            Kind::Role => shared.row(tenant, rows::ROLE, name)?.map(Row::Role),
            Kind::User => shared.row(tenant, rows::USER, name)?.map(Row::User),
        };
        let row = row.ok_or_else(|| no_entity(format!("The {} with name {name} cannot be found.", self.word())))?;
        Ok(Entity { name: name.to_owned(), row })
    }
}

impl Entity {
    pub fn rights(&self) -> &Rights {
        match &self.row {
            Row::Role(role) => &role.rights,
            Row::User(user) => &user.rights,
        }
    }
    pub fn rights_mut(&mut self) -> &mut Rights {
        match &mut self.row {
            Row::Role(role) => &mut role.rights,
            Row::User(user) => &mut user.rights,
        }
    }
    pub fn write(&self, asked: &Asked) -> Write {
        match &self.row {
            Row::Role(role) => rows::put(&asked.tenant, rows::ROLE, &self.name, role, Expect::Any),
            Row::User(user) => rows::put(&asked.tenant, rows::USER, &self.name, user, Expect::Any),
        }
    }
    pub async fn save(&self, asked: &Asked) -> Result<(), WireError> {
        asked.shared.commit(vec![self.write(asked)]).await
    }
}

/// The ARN of who has this name, or of who would get it.
pub fn arn_by_name(asked: &Asked, kind: Kind, given: Option<&str>, name: &str) -> String {
    let found = kind.load(asked, name).ok().map(|entity| match entity.row {
        Row::Role(role) => role.path,
        Row::User(user) => user.path,
    });
    kind.arn(asked, found.as_deref().or(given).unwrap_or("/"), name)
}

/// Who calls, if it is a user of this account.
pub fn caller_name(asked: &Asked) -> Option<&str> {
    match &asked.principal {
        Principal::User(user) => Some(&user.name),
        _ => None,
    }
}

pub fn write_boundary(out: &mut String, rights: &Rights) {
    if let Some(arn) = &rights.boundary {
        out.push_str("<PermissionsBoundary>");
        xml::element(out, "PermissionsBoundaryType", "PermissionsBoundaryPolicy");
        xml::element(out, "PermissionsBoundaryArn", arn);
        out.push_str("</PermissionsBoundary>");
    }
}
