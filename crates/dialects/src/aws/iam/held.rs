//! What a user or a role holds, for whoever evaluates it: documents as they are in force.

use super::{amazon, managed};
use crate::aws::rows::{self, Rights, RoleRow, UserRow};
use model::{Key, TenantId, ports::Rows};
use serde::de::DeserializeOwned;

/// The policies of a user or a role, as JSON documents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    pub documents: Vec<String>,
    /// The permissions boundary; the inner `None` when its policy can't be found, and nothing is allowed.
    pub boundary: Option<Option<String>>,
    pub tags: Vec<(String, String)>,
    pub id: Option<String>,
}

/// Of the user or role with this ARN. An unknown one holds nothing, and so does one of another account, whatever its name.
pub fn held(from: &dyn Rows, tenant: &TenantId, arn: &str) -> Held {
    let prefix = format!("arn:aws:iam::{tenant}:");
    let (kind, path) = match arn.strip_prefix(&prefix) {
        Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
        None if arn.starts_with("arn:") => return Held::default(),
        None => ("role", arn),
    };
    let name = path.rsplit('/').next().unwrap_or_default();
    let (id, rights) = match kind {
        "role" => row(from, tenant, rows::ROLE, name).map(|r: RoleRow| (r.id, r.rights)),
        "user" => row(from, tenant, rows::USER, name)
            .filter(|u: &UserRow| path == format!("{}{name}", u.path))
            .map(|u| (u.id, u.rights)),
        _ => None,
    }
    .unzip();
    let Some(Rights { policies, attached, boundary, tags }) = rights else { return Held::default() };
    let attached = attached.iter().filter_map(|arn| document(from, tenant, arn));
    Held {
        documents: policies.into_values().chain(attached).collect(),
        boundary: boundary.map(|arn| document(from, tenant, &arn)),
        tags: tags.into_iter().collect(),
        id,
    }
}

/// The document of a managed policy that is in force.
pub fn document(from: &dyn Rows, tenant: &TenantId, arn: &str) -> Option<String> {
    if let Some(found) = amazon::find(arn) {
        return Some(found.document.clone());
    }
    let name = managed::name_of(tenant, arn)?;
    let policy: rows::PolicyRow = row(from, tenant, rows::POLICY, name)?;
    (managed::arn(tenant, &policy.path, name) == arn).then(|| policy.versions.get(&policy.default).map(|v| v.document.clone()))?
}

fn row<T: DeserializeOwned>(from: &dyn Rows, tenant: &TenantId, kind: &'static str, name: &str) -> Option<T> {
    from.get(&Key::new(tenant, kind, name)).and_then(|r| rows::decode(&r).ok())
}
