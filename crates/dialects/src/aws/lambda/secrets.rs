//! Variables whose values are secrets: a function's row has the reference, as its owner wrote it, and nothing else.

use super::Op;
use crate::aws::{
    access::{self, Question},
    fault::WireError,
    names::LATEST,
    rows::{self, Config, FunctionRow, VersionRow},
};
use model::{
    Principal, TenantId,
    ports::Platform,
    secret::{self, Meaning, SecretState, SecretUse},
};
use std::collections::BTreeSet;

/// Variables as an instance gets them, apart from those that are secrets, which have no value yet.
pub fn variables(written: &[(String, String)]) -> (Vec<(String, String)>, Vec<SecretUse>) {
    let mut secrets = Vec::new();
    let plain = written.iter().map(|(name, value)| match secret::meaning(value) {
        Ok(Meaning::Text(text)) => (name.clone(), text.into_owned()),
        Ok(Meaning::Secret(of)) => {
            secrets.push(SecretUse { variable: name.clone(), secret: of.into(), state: SecretState::Missing });
            (name.clone(), String::new())
        }
        // Stored before the notation was known.
        Err(_) => (name.clone(), value.clone()),
    });
    (plain.collect(), secrets)
}

/// The secrets that variables name, each with the variable.
fn named(config: &Config) -> impl Iterator<Item = (&str, &str)> {
    let written = config.env.as_deref().unwrap_or_default().iter();
    written.filter_map(|(variable, value)| match secret::meaning(value) {
        Ok(Meaning::Secret(of)) => Some((variable.as_str(), of)),
        _ => None,
    })
}

/// The sender may use every secret that is named: whoever says what code runs with it can read it.
pub fn allowed(op: &Op, config: &Config) -> Result<(), WireError> {
    if !matches!(op.asked.principal, Principal::Root { .. }) {
        for (_, of) in named(config) {
            let arn = format!("arn:aws:secretsmanager:{}:{}:secret:{of}", op.asked.region(), op.asked.tenant);
            access::control(&op.asked, Question::new("secretsmanager:GetSecretValue", &arn))?;
        }
    }
    Ok(())
}

/// Every secret that is named is there, and the sender may use it.
pub fn there(op: &Op, config: &Config) -> Result<(), WireError> {
    allowed(op, config)?;
    let absent = |of: &str| op.asked.shared.raw(&op.asked.tenant, secret::KIND, of).is_none();
    match named(config).find(|(_, of)| absent(of)) {
        None => Ok(()),
        Some((variable, of)) => Err(WireError::invalid(format!(
            "Environment.Variables.{variable}: there is no secret named {of}; make it first, with: myna secret put {of}"
        ))),
    }
}

/// A version of a function that names a secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct User {
    pub function: String,
    /// `$LATEST` or a number.
    pub version: String,
    pub variable: String,
}

/// Who names a secret of this tenant, in order; also versions that don't run yet, or any more. Every secret that is named, when
/// `wanted` is none.
pub fn users(platform: &dyn Platform, tenant: &TenantId, wanted: Option<&str>) -> Result<BTreeSet<(String, User)>, model::Fault> {
    let unread = |e: WireError| model::Fault::internal(e.message);
    let mut found = BTreeSet::new();
    let mut note = |function: &str, version: &str, config: &Config| {
        for (variable, of) in named(config).filter(|(_, of)| wanted.is_none_or(|w| w == *of)) {
            let user = User { function: function.into(), version: version.into(), variable: variable.into() };
            found.insert((of.to_owned(), user));
        }
    };
    for row in platform.resources().list(tenant, rows::FUNCTION, "", "", usize::MAX) {
        let function: FunctionRow = rows::decode(&row).map_err(unread)?;
        for config in std::iter::once(&function.latest).chain(function.before.as_deref()) {
            note(&row.key.name, LATEST, config);
        }
    }
    for row in platform.resources().list(tenant, rows::VERSION, "", "", usize::MAX) {
        let version: VersionRow = rows::decode(&row).map_err(unread)?;
        let function = row.key.name.split('/').next().unwrap_or_default();
        note(function, &version.number.to_string(), &version.config);
    }
    Ok(found)
}
