//! Code signing configurations: kept and shown as they were put, and given to functions, so that what deploys them works. Nothing
//! is signed or checked here: a configuration never refuses a package, whatever its policy says (docs/dialects/aws.md).

use super::{Answer, Op, stamp};
use crate::aws::{
    check::Checks,
    fault::WireError,
    limits,
    rows::{self, CodeSigningRow, FunctionRow},
};
use model::Expect;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// What one page holds.
const PAGE: usize = 50;
const PUBLISHERS_MAX: usize = 20;
const ARN: &str =
    r"arn:(aws[a-zA-Z-]*)?:lambda:[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:code-signing-config:csc-[a-z0-9]{17}";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Members {
    description: Option<String>,
    allowed_publishers: Option<Publishers>,
    code_signing_policies: Option<Policies>,
    tags: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Publishers {
    signing_profile_version_arns: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Policies {
    untrusted_artifact_on_deployment: Option<String>,
}

impl Members {
    fn check(&self, making: bool) -> Result<(), WireError> {
        let mut checks = Checks::default();
        if let Some(text) = &self.description {
            checks.length(text, "description", 0, 256);
        }
        match &self.allowed_publishers {
            None if making => checks.missing("allowedPublishers"),
            None => {}
            Some(publishers) => publishers.check(&mut checks),
        }
        if let Some(mode) = self.code_signing_policies.as_ref().and_then(|p| p.untrusted_artifact_on_deployment.as_deref()) {
            checks.one_of(mode, "codeSigningPolicies.untrustedArtifactOnDeployment", &["Warn", "Enforce"]);
        }
        checks.into_result()
    }

    fn apply(self, row: &mut CodeSigningRow) {
        if let Some(text) = self.description {
            row.description = text;
        }
        if let Some(arns) = self.allowed_publishers.and_then(|p| p.signing_profile_version_arns) {
            row.publishers = arns;
        }
        if let Some(mode) = self.code_signing_policies.and_then(|p| p.untrusted_artifact_on_deployment) {
            row.untrusted = mode;
        }
    }
}

impl Publishers {
    fn check(&self, checks: &mut Checks) {
        let at = "allowedPublishers.signingProfileVersionArns";
        let Some(arns) = &self.signing_profile_version_arns else { return checks.missing(at) };
        if arns.is_empty() || arns.len() > PUBLISHERS_MAX {
            let bound = if arns.is_empty() {
                "greater than or equal to 1".to_owned()
            } else {
                format!("less than or equal to {PUBLISHERS_MAX}")
            };
            checks.fail(format_args!("[{}]", arns.join(", ")), at, format_args!("Member must have length {bound}"));
        }
        for arn in arns.iter().filter(|a| a.len() > 2048 || !a.starts_with("arn:") || a.split(':').count() < 6) {
            checks.pattern(arn, at, r"arn:(aws[a-zA-Z0-9-]*):([a-zA-Z0-9\-])+:([a-z]{2}(-gov)?-[a-z]+-\d{1})?:(\d{12})?:(.*)");
        }
    }
}

pub fn arn(op: &Op, id: &str) -> String {
    format!("arn:aws:lambda:{}:{}:code-signing-config:{id}", op.asked.region(), op.asked.tenant)
}

/// The id of a configuration of this account that an ARN names.
fn id_of<'a>(op: &Op, text: &'a str) -> Result<&'a str, WireError> {
    let tail = text.rsplit_once(":code-signing-config:csc-").map(|(_, tail)| tail);
    let formed = tail.is_some_and(|t| t.len() == 17 && t.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()));
    if !formed || !text.starts_with("arn:") {
        let mut checks = Checks::default();
        checks.pattern(text, "codeSigningConfigArn", ARN);
        checks.into_result()?;
    }
    text.strip_prefix(&*arn(op, "")).ok_or_else(|| absent(text))
}

fn absent(arn: &str) -> WireError {
    WireError::not_found(format!(
        "The code signing configuration cannot be found. Check that the provided configuration is not deleted: {arn}."
    ))
}

pub fn load(op: &Op, id: &str) -> Result<(CodeSigningRow, Expect), WireError> {
    let row = op.asked.shared.raw(&op.asked.tenant, rows::CODE_SIGNING, id).ok_or_else(|| absent(&arn(op, id)))?;
    Ok((rows::decode(&row)?, Expect::Revision(row.revision)))
}

fn shown(op: &Op, id: &str, row: &CodeSigningRow) -> Value {
    let mut out = Map::new();
    out.insert("CodeSigningConfigId".into(), id.into());
    out.insert("CodeSigningConfigArn".into(), arn(op, id).into());
    if !row.description.is_empty() {
        out.insert("Description".into(), row.description.as_str().into());
    }
    out.insert("AllowedPublishers".into(), json!({ "SigningProfileVersionArns": row.publishers }));
    out.insert("CodeSigningPolicies".into(), json!({ "UntrustedArtifactOnDeployment": row.untrusted }));
    out.insert("LastModified".into(), stamp(row.modified_ms).into());
    Value::Object(out)
}

pub async fn create(op: Op) -> Answer {
    let asked: Members = op.members()?;
    asked.check(true)?;
    let (shared, tenant) = (op.asked.shared.clone(), &op.asked.tenant);
    let mut row = CodeSigningRow {
        description: String::new(),
        publishers: Vec::new(),
        untrusted: "Warn".into(),
        tags: asked.tags.clone().unwrap_or_default(),
        modified_ms: shared.now_ms(),
    };
    super::tags::check(&row.tags)?;
    asked.apply(&mut row);
    let _one = shared.writing.lock().await;
    let most = limits::CODE_SIGNING_CONFIGS_MAX;
    if op.asked.platform().resources().list(tenant, rows::CODE_SIGNING, "", "", most).len() >= most {
        return Err(WireError::invalid(format!("An account has at most {most} code signing configurations; delete one first")));
    }
    let id = format!("csc-{:.17}", uuid::Uuid::new_v4().simple().to_string());
    shared.commit(vec![rows::put(tenant, rows::CODE_SIGNING, &id, &row, Expect::Absent)]).await?;
    op.done(&json!({ "CodeSigningConfig": shown(&op, &id, &row) }))
}

pub fn get(op: &Op) -> Answer {
    let id = id_of(op, op.label(0))?;
    op.done(&json!({ "CodeSigningConfig": shown(op, id, &load(op, id)?.0) }))
}

pub async fn update(op: Op) -> Answer {
    let asked: Members = op.members()?;
    asked.check(false)?;
    let id = id_of(&op, op.label(0))?;
    let shared = op.asked.shared.clone();
    let _one = shared.writing.lock().await;
    let (mut row, expect) = load(&op, id)?;
    asked.apply(&mut row);
    row.modified_ms = shared.now_ms();
    shared.commit(vec![rows::put(&op.asked.tenant, rows::CODE_SIGNING, id, &row, expect)]).await?;
    op.done(&json!({ "CodeSigningConfig": shown(&op, id, &row) }))
}

/// One that a function has stays.
pub async fn delete(op: Op) -> Answer {
    let id = id_of(&op, op.label(0))?;
    let shared = op.asked.shared.clone();
    let _one = shared.writing.lock().await;
    load(&op, id)?;
    if !of(&op, id)?.is_empty() {
        return Err(WireError::conflict(
            "Cannot delete the CodeSigningConfig. There are still Lambda functions associated with it.",
        ));
    }
    shared.commit(vec![rows::delete(&op.asked.tenant, rows::CODE_SIGNING, id)]).await?;
    op.done_empty()
}

pub fn list(op: &Op) -> Answer {
    let (size, after) = (op.page_size(PAGE, 10_000)?, op.marker()?);
    let mut all = Vec::new();
    for row in &op.asked.platform().resources().list(&op.asked.tenant, rows::CODE_SIGNING, "", "", usize::MAX) {
        let id = row.key.name.to_string();
        let item = shown(op, &id, &rows::decode(row)?);
        all.push((id, item));
    }
    op.listed("CodeSigningConfigs", all, &after, size)
}

/// The functions that have a configuration, by name.
fn of(op: &Op, id: &str) -> Result<Vec<String>, WireError> {
    let mut names = Vec::new();
    for row in &op.asked.platform().resources().list(&op.asked.tenant, rows::FUNCTION, "", "", usize::MAX) {
        let function: FunctionRow = rows::decode(row)?;
        if function.code_signing.as_deref() == Some(id) {
            names.push(row.key.name.to_string());
        }
    }
    Ok(names)
}

pub fn functions(op: &Op) -> Answer {
    let id = id_of(op, op.label(0))?;
    load(op, id)?;
    let (size, after) = (op.page_size(PAGE, 10_000)?, op.marker()?);
    let all: Vec<_> = of(op, id)?.into_iter().map(|name| (name.clone(), op.arn(&name, None).into())).collect();
    op.listed("FunctionArns", all, &after, size)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Given {
    code_signing_config_arn: Option<String>,
}

/// The id that a function is given by its configuration's ARN, which must be one.
pub fn named(op: &Op, arn: &str) -> Result<String, WireError> {
    let id = id_of(op, arn)?;
    let gone = |e: WireError| if e.status == 404 { WireError { code: "CodeSigningConfigNotFoundException", ..e } } else { e };
    load(op, id).map_err(gone)?;
    Ok(id.to_owned())
}

pub async fn put_function(op: Op) -> Answer {
    let asked: Given = op.members()?;
    let Some(arn) = asked.code_signing_config_arn else {
        let mut checks = Checks::default();
        checks.missing("codeSigningConfigArn");
        return Err(checks.into_result().err().unwrap_or_else(|| WireError::invalid("codeSigningConfigArn must be given")));
    };
    let name = op.unqualified()?.name;
    let shared = op.asked.shared.clone();
    let _one = shared.writing.lock().await;
    let (mut row, expect) = op.load(&name)?;
    row.code_signing = Some(named(&op, &arn)?);
    op.save(&name, &row, expect).await?;
    op.done(&json!({ "CodeSigningConfigArn": arn, "FunctionName": &*name }))
}

/// Of a function without one, only its name is said.
pub fn get_function(op: &Op) -> Answer {
    let name = op.unqualified()?.name;
    let (row, _) = op.load(&name)?;
    let mut out = Map::from_iter([("FunctionName".to_owned(), Value::from(&*name))]);
    out.extend(row.code_signing.map(|id| ("CodeSigningConfigArn".to_owned(), arn(op, &id).into())));
    op.done(&Value::Object(out))
}

pub async fn delete_function(op: Op) -> Answer {
    let name = op.unqualified()?.name;
    let shared = op.asked.shared.clone();
    let _one = shared.writing.lock().await;
    let (mut row, expect) = op.load(&name)?;
    if row.code_signing.take().is_some() {
        op.save(&name, &row, expect).await?;
    }
    op.done_empty()
}
