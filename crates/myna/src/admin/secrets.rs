//! `/admin/v1/secrets`: values are put, and nothing here gives one back. A row has the value, sealed on the disk as all rows are.

use super::{Admin, Query, reply};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use dialects::aws::SecretUser;
use model::{
    Cause, Expect, Fault, Key, Resource, Write,
    limits::{SECRETS_PER_FUNCTION_BYTES_MAX, SECRETS_PER_TENANT_MAX},
    ports::Response,
    secret,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

pub use secret::KIND as SECRET;

/// Tries at a change that another change overtakes.
const TRIES: u32 = 5;

#[derive(Serialize, Deserialize)]
pub struct Row {
    /// How often it was put, this time included.
    pub version: u64,
    /// In base64.
    value: String,
}

impl Row {
    /// A stored row and the value in it. The error names no part of it.
    pub fn read(row: &Resource) -> Result<(Row, String), &'static str> {
        let read: Row = serde_json::from_slice(&row.body).map_err(|_| "its row is damaged")?;
        let value = BASE64.decode(&read.value).map_err(|_| "its row is damaged")?;
        let value = String::from_utf8(value).map_err(|_| "its value is not UTF-8")?;
        Ok((read, value))
    }
}

/// A secret as everybody may see it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Shown {
    pub name: String,
    /// How often it was put.
    pub version: u64,
    pub created_ms: u64,
    pub changed_ms: u64,
    /// Variables that name it.
    pub uses: Vec<Use>,
}

/// A variable that names a secret.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Use {
    pub function: String,
    /// `$LATEST` or a number.
    pub version: String,
    pub variable: String,
}

impl From<SecretUser> for Use {
    fn from(user: SecretUser) -> Self {
        Use { function: user.function, version: user.version, variable: user.variable }
    }
}

impl Admin {
    pub(super) fn secrets(&self) -> Result<Response, Fault> {
        let mut users: BTreeMap<String, Vec<Use>> = BTreeMap::new();
        for (name, user) in dialects::aws::secret_users(&*self.platform, &self.tenant(), None)? {
            users.entry(name).or_default().push(user.into());
        }
        let rows = self.platform.resources().list(&self.tenant(), SECRET, "", "", SECRETS_PER_TENANT_MAX);
        let shown = rows.iter().map(|row| shown(row, users.remove(&*row.key.name).unwrap_or_default()));
        Ok(reply::json(&shown.collect::<Vec<_>>()))
    }

    pub(super) fn secret(&self, name: &str) -> Result<Response, Fault> {
        let row = self.stored_secret(name)?;
        Ok(reply::json(&shown(&row, self.secret_uses(name)?)))
    }

    /// `value` is the request's whole body.
    pub(super) async fn put_secret(&self, name: &str, value: &Bytes) -> Result<Response, Fault> {
        secret::check_name(name).map_err(Fault::invalid)?;
        let text = secret::check_value(value).map_err(Fault::invalid)?;
        let uses = self.secret_uses(name)?;
        self.fits(name, text, &uses)?;
        for _ in 0..TRIES {
            let before = self.platform.resources().get(&self.secret_key(name));
            let (expect, last) = match &before {
                Some(row) => (Expect::Revision(row.revision), version(row)),
                None => (Expect::Absent, 0),
            };
            if before.is_none() {
                self.room_for_a_secret()?;
            }
            let row = Row { version: last + 1, value: BASE64.encode(value) };
            let body = serde_json::to_vec(&row).map_err(|_| Fault::internal("a secret's row can't be written"))?.into();
            let write = Write::Put { key: self.secret_key(name), body, expect };
            match self.platform.resources().commit(vec![write]).await {
                Ok(_) => return Ok(reply::json(&shown(&self.stored_secret(name)?, uses))),
                Err(fault) if fault.cause == Cause::Stale => {}
                Err(fault) => return Err(fault),
            }
        }
        Err(Fault::new(Cause::Conflict, format!("the secret {name} is being changed by somebody else")).hint("try again"))
    }

    pub(super) async fn delete_secret(&self, name: &str, query: &Query) -> Result<Response, Fault> {
        let row = self.stored_secret(name)?;
        let uses = self.secret_uses(name)?;
        if let Some(user) = uses.first().filter(|_| !query.flag("force")) {
            let functions: BTreeSet<&str> = uses.iter().map(|u| u.function.as_str()).collect();
            let others = match functions.len() - 1 {
                0 => String::new(),
                n => format!(" and those of {n} other functions"),
            };
            let message = format!(
                "the variable {} of function {} ({}){others} would have no value: the secret {name} is in use",
                user.variable, user.function, user.version
            );
            let hint =
                format!("see myna secret uses {name}; with --force it is deleted all the same, and they don't start any more");
            return Err(Fault::new(Cause::Conflict, message).hint(hint));
        }
        let write = Write::Delete { key: self.secret_key(name), expect: Expect::Any };
        self.platform.resources().commit(vec![write]).await?;
        Ok(reply::json(&shown(&row, uses)))
    }

    fn secret_key(&self, name: &str) -> Key {
        Key::new(&self.tenant(), SECRET, name)
    }

    fn stored_secret(&self, name: &str) -> Result<Resource, Fault> {
        secret::check_name(name).map_err(Fault::invalid)?;
        let absent =
            || Fault::not_found(format!("there is no secret named {name}")).hint("those that are there: myna secret list");
        self.platform.resources().get(&self.secret_key(name)).ok_or_else(absent)
    }

    fn secret_uses(&self, name: &str) -> Result<Vec<Use>, Fault> {
        let users = dialects::aws::secret_users(&*self.platform, &self.tenant(), Some(name))?;
        Ok(users.into_iter().map(|(_, user)| user.into()).collect())
    }

    fn room_for_a_secret(&self) -> Result<(), Fault> {
        let there = self.platform.resources().list(&self.tenant(), SECRET, "", "", SECRETS_PER_TENANT_MAX).len();
        if there < SECRETS_PER_TENANT_MAX {
            return Ok(());
        }
        let message = format!("there are {SECRETS_PER_TENANT_MAX} secrets, which is as many as a tenant may have");
        Err(Fault::new(Cause::Exhausted, message).hint("delete some that are not used: myna secret list"))
    }

    /// With this value, what each function gets is no more than it may be.
    fn fits(&self, name: &str, value: &str, uses: &[Use]) -> Result<(), Fault> {
        let concerned = uses.iter().filter_map(|u| self.platform.function(&self.tenant(), &u.function));
        for unit in concerned.flat_map(|f| f.versions.values().cloned().collect::<Vec<_>>()) {
            let size = |used: &secret::SecretUse| match &*used.secret == name {
                true => value.len(),
                false => unit.env.iter().find(|v| v.0 == used.variable).map_or(0, |v| v.1.len()),
            };
            let bytes: usize = unit.secrets.iter().map(size).sum();
            if bytes > SECRETS_PER_FUNCTION_BYTES_MAX {
                return Err(Fault::invalid(format!(
                    "with this value the secrets of function {} ({}) would have {bytes} bytes; they may have {SECRETS_PER_FUNCTION_BYTES_MAX}",
                    unit.function, unit.version
                )));
            }
        }
        Ok(())
    }
}

fn version(row: &Resource) -> u64 {
    Row::read(row).map_or(0, |(row, _)| row.version)
}

fn shown(row: &Resource, uses: Vec<Use>) -> Shown {
    let Resource { key, created_ms, modified_ms, .. } = row;
    Shown { name: key.name.to_string(), version: version(row), created_ms: *created_ms, changed_ms: *modified_ms, uses }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::sandbox::{Group, ProcSpec};

    fn row(body: &'static [u8]) -> Resource {
        let key = Key::new(&"t".into(), SECRET, "name-of-it");
        Resource { key, revision: 1, body: Bytes::from_static(body), created_ms: 1, modified_ms: 2 }
    }

    // H49
    #[test]
    fn what_is_printed_for_debugging_has_no_value() {
        let row = row(b"marker");
        let write = Write::Put { key: row.key.clone(), body: row.body.clone(), expect: Expect::Any };
        let process = ProcSpec {
            argv: vec!["program".into()],
            env: vec![("name-of-it".into(), "marker".into())],
            cwd: "/".into(),
            group: Group::Runtime,
            log_frames_env: None,
        };
        for shown in [format!("{row:?}"), format!("{write:?}"), format!("{process:?}")] {
            assert!(shown.contains("name-of-it") && !shown.contains("marker"), "{shown}");
        }
    }

    #[test]
    fn a_row_that_is_damaged_is_shown_without_a_version_and_its_error_has_nothing_of_it() {
        for body in [&b"marker"[..], br#"{"version": 3, "value": "marker!"}"#, br#"{"version": 3, "value": "/w=="}"#] {
            let row = row(body);
            let why = Row::read(&row).err().unwrap();
            assert!(!why.contains("marker"), "{why}");
            assert_eq!(shown(&row, Vec::new()).version, 0);
        }
        assert!(
            Row::read(&row(br#"{"version": 3, "value": "bWFya2Vy"}"#))
                .is_ok_and(|(row, value)| row.version == 3 && value == "marker")
        );
    }
}
