//! UpdateFunctionCode and UpdateFunctionConfiguration: `$LATEST` becomes what is asked for at once to readers, and to callers
//! as soon as it was prepared; until then they get what ran before.

use super::{
    Answer, Op, account,
    config::Settings,
    create::{self, Code},
    describe::Shown,
    layers, publish, secrets, state,
};
use crate::aws::{
    check::Checks,
    fault::WireError,
    rows::{self, FunctionRow, State},
};
use model::RevisionId;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NewCode {
    #[serde(flatten)]
    code: Code,
    architectures: Option<Vec<String>>,
    publish: Option<bool>,
    publish_to: Option<String>,
    dry_run: Option<bool>,
    revision_id: Option<String>,
}

pub async fn code(op: Op) -> Answer {
    let asked: NewCode = op.members()?;
    let mut checks = Checks::default();
    let architecture = create::architecture(asked.architectures.as_deref(), &mut checks);
    checks.into_result()?;
    if let Some(architecture) = &architecture {
        create::architecture_runs(architecture)?;
    }
    if asked.publish_to.is_some() {
        return Err(WireError::invalid("PublishTo: not served by this endpoint"));
    }
    let named = op.unqualified()?;
    let (shared, name) = (op.asked.shared.clone(), &*named.name);
    // Looked at before the archive is unpacked, and again when it is.
    guard(&op, name, &op.load(name)?.0, asked.revision_id.as_deref())?;
    let archive = asked.code.archive()?;
    let freed = op.load(name)?.0.latest.code_bytes;
    account::room(&shared, &op.asked.tenant, archive.len() as u64, freed)?;
    let package = create::store(&shared, &op.asked.tenant, archive).await?;

    let _one = shared.writing.lock().await;
    let (mut row, expect) = op.load(name)?;
    guard(&op, name, &row, asked.revision_id.as_deref())?;
    secrets::allowed(&op, &row.latest)?;
    let before = row.latest.clone();
    (row.latest.code_sha256, row.latest.code_bytes) = create::code_facts(&package);
    row.latest.package = package;
    account::room(&shared, &op.asked.tenant, row.latest.code_bytes, before.code_bytes)?;
    layers::fits(&shared, &op.asked.tenant, &row.latest)?;
    if let Some(architecture) = architecture {
        row.latest.architecture = architecture;
    }
    if asked.dry_run == Some(true) {
        return op.done(&Value::Object(op.describe(name, "$LATEST", None, &row.latest, Shown::Alone)));
    }
    begin(&op, &mut row, before);
    let mut writes = Vec::new();
    let mut shown = ("$LATEST".to_owned(), None);
    if asked.publish == Some(true) {
        let (version, fresh) = publish::next(&op, name, &mut row, None)?;
        shown = (version.number.to_string(), Some(version.config));
        writes.extend(fresh);
    }
    writes.push(rows::put(&op.asked.tenant, rows::FUNCTION, name, &row, expect));
    shared.commit(writes).await?;
    state::settle(&shared, &op.asked.tenant, name);
    let config = shown.1.as_ref().unwrap_or(&row.latest);
    let qualifier = op.shown_qualifier(&shown.0, None);
    op.done(&Value::Object(op.describe(name, &shown.0, qualifier, config, Shown::Alone)))
}

pub async fn configuration(op: Op) -> Answer {
    let asked: Settings = op.members()?;
    let mut checks = Checks::default();
    asked.check(&mut checks);
    checks.into_result()?;
    asked.refuse_unserved()?;
    let named = op.unqualified()?;
    let (shared, name) = (op.asked.shared.clone(), &*named.name);
    // What another account shares is stored once more, which takes a while; the rest is looked at while nothing can change.
    let layers = match &asked.layers {
        Some(wanted) => {
            guard(&op, name, &op.load(name)?.0, asked.revision_id.as_deref())?;
            Some(layers::of_function(&op, wanted).await?)
        }
        None => None,
    };
    let _one = shared.writing.lock().await;
    let (mut row, expect) = op.load(name)?;
    guard(&op, name, &row, asked.revision_id.as_deref())?;
    let before = row.latest.clone();
    asked.apply(&mut row.latest, &op.asked.tenant)?;
    if asked.role.is_some() {
        super::rights::pass_role(&op.asked, &row.latest.role)?;
    }
    create::check_handler(&row.latest)?;
    if asked.environment.is_some() {
        secrets::there(&op, &row.latest)?;
    } else if asked.layers.is_some() || asked.handler.is_some() || asked.runtime.is_some() {
        secrets::allowed(&op, &row.latest)?;
    }
    if let Some(layers) = layers {
        row.latest.layers = layers;
        layers::still(&op, &row.latest)?;
        layers::fits(&shared, &op.asked.tenant, &row.latest)?;
    }
    begin(&op, &mut row, before);
    op.save(name, &row, expect).await?;
    state::settle(&shared, &op.asked.tenant, name);
    op.done(&Value::Object(op.describe(name, "$LATEST", None, &row.latest, Shown::Alone)))
}

fn guard(op: &Op, name: &str, row: &FunctionRow, revision: Option<&str>) -> Result<(), WireError> {
    if revision.is_some_and(|r| r != row.latest.revision_id) {
        return Err(WireError::stale("GetFunction/GetAlias"));
    }
    publish::steady(op, name, row)
}

/// `latest` was changed: what ran until now runs on until the change is prepared.
fn begin(op: &Op, row: &mut FunctionRow, before: rows::Config) {
    if before.state == State::Active {
        row.before = Some(Box::new(before));
    }
    row.latest.state = if row.before.is_some() { State::Updating } else { State::Pending };
    row.latest.unit = RevisionId::random();
    row.latest.touch(op.asked.shared.now_ms());
}
