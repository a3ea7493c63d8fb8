//! Stored keys and sessions as whoever checks signatures needs them.

use crate::aws::rows::{self, AccessKeyRow, RoleRow, SessionHolder, SessionRow, UserRow};
use model::{Credential, Holder, Key, Principal, Session, TenantId, User, ports::Rows};
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// Kinds of rows that are credentials, by the id of their key.
pub const CREDENTIALS: [&str; 2] = [rows::ACCESS_KEY, rows::SESSION];

fn row<T: DeserializeOwned>(from: &dyn Rows, tenant: &TenantId, kind: &'static str, name: &str) -> Option<T> {
    from.get(&Key::new(tenant, kind, name)).and_then(|r| rows::decode(&r).ok())
}

fn user(from: &dyn Rows, tenant: &TenantId, name: &str) -> Option<User> {
    let user: UserRow = row(from, tenant, rows::USER, name)?;
    Some(User {
        tenant: tenant.clone(),
        name: name.into(),
        arn: format!("arn:aws:iam::{tenant}:user{}{name}", user.path).into(),
        id: user.id.into(),
    })
}

/// What a row of [`CREDENTIALS`] stands for; nothing when it is gone or inactive, or who it was given to is gone.
pub fn credential(from: &dyn Rows, key: &Key) -> Option<Credential> {
    let (tenant, id) = (&key.tenant, key.name.clone());
    if key.kind == rows::ACCESS_KEY {
        let stored: AccessKeyRow = row(from, tenant, rows::ACCESS_KEY, &id).filter(|k: &AccessKeyRow| k.active)?;
        let principal = Principal::User(Arc::new(user(from, tenant, &stored.user)?));
        return Some(Credential { access_key_id: id, secret: stored.secret.into(), session_token: None, principal });
    }
    let stored: SessionRow = row(from, tenant, rows::SESSION, &id)?;
    let holder = match stored.holder {
        SessionHolder::Root => Holder::Root,
        SessionHolder::User { name, id } => Holder::User(Arc::new(user(from, tenant, &name).filter(|u| *u.id == *id)?)),
        SessionHolder::Role { name, id, session } => {
            let role = row(from, tenant, rows::ROLE, &name).filter(|r: &RoleRow| r.id == id)?;
            let arn = format!("arn:aws:iam::{tenant}:role{}{name}", role.path);
            Holder::Role { arn: arn.into(), id: id.into(), session: session.into() }
        }
    };
    let session = Session {
        tenant: tenant.clone(),
        holder,
        policies: stored.policies.into_iter().map(Arc::from).collect(),
        issued_ms: stored.issued_ms,
        expires_ms: stored.expires_ms,
    };
    Some(Credential {
        access_key_id: id,
        secret: stored.secret.into(),
        session_token: Some(stored.token.into()),
        principal: Principal::Session(Arc::new(session)),
    })
}
