//! PublishVersion and ListVersionsByFunction. A version is a copy of `$LATEST` that never changes again.

use super::{Answer, Op, describe::Shown};
use crate::aws::{
    check::Checks,
    fault::WireError,
    limits,
    names::LATEST,
    rows::{self, Config, FunctionRow, State, VersionRow},
};
use model::{Expect, RevisionId, Write};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Publish {
    #[serde(rename = "CodeSha256")]
    code_sha256: Option<String>,
    description: Option<String>,
    revision_id: Option<String>,
    publish_to: Option<String>,
}

pub async fn publish(op: Op) -> Answer {
    let asked: Publish = op.members()?;
    let mut checks = Checks::default();
    if let Some(text) = &asked.description {
        checks.length(text, "description", 0, 256);
    }
    checks.into_result()?;
    if asked.publish_to.is_some() {
        return Err(WireError::invalid("PublishTo: not served by this endpoint"));
    }
    let named = op.unqualified()?;
    let (shared, name) = (op.asked.shared.clone(), &*named.name);
    let _one = shared.writing.lock().await;
    let (mut row, expect) = op.load(name)?;
    if asked.revision_id.as_ref().is_some_and(|r| *r != row.latest.revision_id) {
        return Err(WireError::stale("GetFunction/GetAlias"));
    }
    if let Some(sha) = asked.code_sha256.filter(|s| *s != row.latest.code_sha256) {
        return Err(WireError::invalid(format!(
            "CodeSHA256 ({sha}) is different from current CodeSHA256 in $LATEST ({}). Please try again with the CodeSHA256 in $LATEST.",
            row.latest.code_sha256
        )));
    }
    steady(&op, name, &row)?;
    let (version, fresh) = next(&op, name, &mut row, asked.description)?;
    if let Some(write) = fresh {
        shared.commit(vec![write, rows::put(&op.asked.tenant, rows::FUNCTION, name, &row, expect)]).await?;
    }
    let number = version.number.to_string();
    op.done(&Value::Object(op.describe(name, &number, Some(&number), &version.config, Shown::Alone)))
}

/// Nothing may be copied or changed while it is being changed.
pub fn steady(op: &Op, name: &str, row: &FunctionRow) -> Result<(), WireError> {
    let now = "The operation cannot be performed at this time.";
    match &row.latest.state {
        State::Updating => {
            Err(WireError::conflict(format!("{now} An update is in progress for resource: {}", op.arn(name, None))))
        }
        State::Pending => Err(WireError::conflict(format!("{now} The function is currently in the following state: Pending"))),
        _ => Ok(()),
    }
}

/// Whether the account may have one more version.
pub fn room(op: &Op) -> Result<(), WireError> {
    let most = usize::try_from(op.asked.platform().tenants().quota(&op.asked.tenant).versions).unwrap_or(usize::MAX);
    if op.asked.platform().resources().list(&op.asked.tenant, rows::VERSION, "", "", most).len() < most {
        return Ok(());
    }
    Err(super::account::full(format!("an account holds at most {most} published versions")))
}

/// The version that `$LATEST` is published as: the last one when nothing changed since, else a new one and the write that makes it.
pub fn next(
    op: &Op,
    name: &str,
    row: &mut FunctionRow,
    description: Option<String>,
) -> Result<(VersionRow, Option<Write>), WireError> {
    let tenant = &op.asked.tenant;
    let last: Option<VersionRow> = op.asked.shared.row(tenant, rows::VERSION, &rows::version_name(name, row.last_version))?;
    if let Some(same) = last.filter(|v| v.config.same_as(&row.latest)) {
        return Ok((same, None));
    }
    // Those that are there: a number is never given twice, however many were deleted.
    let held = op.asked.shared.platform.resources().list(tenant, rows::VERSION, &rows::below(name), "", limits::VERSIONS_MAX);
    if held.len() >= limits::VERSIONS_MAX {
        return Err(WireError::new(
            400,
            "CodeStorageExceededException",
            format!("a function has at most {} versions", limits::VERSIONS_MAX),
        ));
    }
    room(op)?;
    super::account::room(&op.asked.shared, tenant, row.latest.code_bytes, 0)?;
    row.last_version += 1;
    row.latest.revision_id = rows::new_id();
    let config = Config {
        description: description.unwrap_or_else(|| row.latest.description.clone()),
        unit: RevisionId::random(),
        revision_id: rows::new_id(),
        modified_ms: op.asked.shared.now_ms(),
        ..row.latest.clone()
    };
    let version = VersionRow { number: row.last_version, config };
    let write = rows::put(tenant, rows::VERSION, rows::version_name(name, version.number), &version, Expect::Absent);
    Ok((version, Some(write)))
}

const PAGE: usize = 50;

pub fn list(op: &Op) -> Answer {
    let named = op.unqualified()?;
    let (size, after) = (op.page_size(PAGE, 10_000)?, op.marker()?);
    let (row, _) = op.load(&named.name)?;
    let versions = op.asked.shared.below::<VersionRow>(&op.asked.tenant, rows::VERSION, &named.name)?;
    let published = versions.into_iter().map(|v| (v.number.to_string(), v.config));
    let all = std::iter::once((LATEST.to_owned(), row.latest)).chain(published);
    // Names that sort as the rows do, `$LATEST` before every number.
    let items = all.map(|(version, config)| {
        let key = if version == LATEST { "$".to_owned() } else { format!("{version:0>8}") };
        (key, Value::Object(op.describe(&named.name, &version, Some(&version), &config, Shown::Listed)))
    });
    op.listed("Versions", items, &after, size)
}
