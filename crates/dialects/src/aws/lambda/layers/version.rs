//! PublishLayerVersion, GetLayerVersion, GetLayerVersionByArn, DeleteLayerVersion.

use super::{
    super::{Answer, Op, account, config, create, no_content, stamp},
    foreign,
    named::{self, layer_arn, version_arn},
};
use crate::aws::{
    check::Checks,
    fault::WireError,
    limits,
    rows::{self, LayerRow, LayerVersionRow},
};
use model::{Expect, Package, TenantId};
use serde::Deserialize;
use serde_json::{Map, Value, json};

const LICENSE_LENGTH_MAX: usize = 512;
const RUNTIMES_MAX: usize = 15;
/// Of which the service keeps the names though nothing runs on them any more (botocore, shape `Runtime`).
const FORMER: &[&str] = &[
    "nodejs",
    "nodejs4.3",
    "nodejs6.10",
    "nodejs8.10",
    "nodejs10.x",
    "nodejs4.3-edge",
    "python2.7",
    "python3.6",
    "dotnetcore1.0",
    "dotnetcore2.0",
    "dotnetcore2.1",
    "ruby2.5",
];
pub const ARCHITECTURES: &[&str] = &["x86_64", "arm64"];

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Publish {
    description: Option<String>,
    content: Option<create::Code>,
    compatible_runtimes: Option<Vec<String>>,
    compatible_architectures: Option<Vec<String>>,
    license_info: Option<String>,
}

pub fn runtime_known(name: &str) -> bool {
    config::RUNTIMES.contains(&name) || FORMER.contains(&name)
}

impl Publish {
    fn check(&self) -> Result<(), WireError> {
        let mut checks = Checks::default();
        if let Some(text) = &self.description {
            checks.length(text, "description", 0, 256);
        }
        if let Some(text) = &self.license_info {
            checks.length(text, "licenseInfo", 0, LICENSE_LENGTH_MAX);
        }
        if self.content.is_none() {
            checks.missing("content");
        }
        let of = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
        let (runtimes, architectures) = (of(&self.compatible_runtimes), of(&self.compatible_architectures));
        let many = |checks: &mut Checks, list: &[String], at: &str, most: usize| {
            if list.len() > most {
                let rule = format!("Member must have length less than or equal to {most}");
                checks.fail(format_args!("[{}]", list.join(", ")), at, rule);
            }
        };
        many(&mut checks, &runtimes, "compatibleRuntimes", RUNTIMES_MAX);
        many(&mut checks, &architectures, "compatibleArchitectures", ARCHITECTURES.len());
        if runtimes.iter().any(|r| !runtime_known(r)) {
            let all = config::RUNTIMES.join(", ");
            let rule =
                format!("Member must satisfy constraint: [Member must satisfy enum value set: [{all}], Member must not be null]");
            checks.fail(format_args!("[{}]", runtimes.join(", ")), "compatibleRuntimes", rule);
        }
        if architectures.iter().any(|a| !ARCHITECTURES.contains(&a.as_str())) {
            let rule =
                "Member must satisfy constraint: [Member must satisfy enum value set: [x86_64, arm64], Member must not be null]";
            checks.fail(format_args!("[{}]", architectures.join(", ")), "compatibleArchitectures", rule);
        }
        checks.into_result()
    }
}

pub async fn publish(op: Op) -> Answer {
    let asked: Publish = op.members()?;
    asked.check()?;
    let name = op.layer()?;
    let (shared, tenant) = (op.asked.shared.clone(), op.asked.tenant.clone());
    let archive = asked.content.unwrap_or_default().archive()?;
    account::room(&shared, &tenant, archive.len() as u64, 0)?;
    let package = create::store(&shared, &tenant, archive).await?;

    let _one = shared.writing.lock().await;
    let resources = shared.platform.resources();
    let held = resources.list(&tenant, rows::LAYER_VERSION, "", "", limits::LAYER_VERSIONS_MAX).len();
    if held >= limits::LAYER_VERSIONS_MAX {
        let text = format!("an account holds at most {} layer versions", limits::LAYER_VERSIONS_MAX);
        return Err(WireError::new(400, "CodeStorageExceededException", text));
    }
    let (mut layer, expect) = match shared.raw(&tenant, rows::LAYER, &name) {
        Some(row) => (rows::decode::<LayerRow>(&row)?, Expect::Revision(row.revision)),
        None => (LayerRow::default(), Expect::Absent),
    };
    account::room(&shared, &tenant, create::code_facts(&package).1, 0)?;
    layer.last_version += 1;
    let (code_sha256, _) = create::code_facts(&package);
    let version = LayerVersionRow {
        number: layer.last_version,
        description: asked.description.unwrap_or_default(),
        package,
        code_sha256,
        runtimes: asked.compatible_runtimes.unwrap_or_default(),
        architectures: asked.compatible_architectures.unwrap_or_default(),
        license: asked.license_info,
        created_ms: shared.now_ms(),
        policy: Vec::new(),
        revision_id: rows::new_id(),
    };
    shared
        .commit(vec![
            rows::put(&tenant, rows::LAYER, &name, &layer, expect),
            rows::put(&tenant, rows::LAYER_VERSION, rows::version_name(&name, version.number), &version, Expect::Absent),
        ])
        .await?;
    op.done(&shown_whole(&op, &tenant, &name, &version)?)
}

pub fn get(op: &Op) -> Answer {
    if let (Some(layer), Ok(number)) = (named::parse(op.label(0)).filter(|layer| layer.version.is_none()), op.number()) {
        let (text, arn) = (format!("{}:{number}", op.label(0)), named::LayerArn { version: Some(number), ..layer });
        if let Some((owner, version)) = op.shared_version(&arn, &text)? {
            return op.done(&shown_whole(op, &owner, arn.name, &version)?);
        }
    }
    let found = op.layer_version(|_| WireError::not_found("The resource you requested does not exist."))?;
    op.done(&shown_whole(op, &op.asked.tenant, &found.name, &found.version)?)
}

pub fn by_arn(op: &Op) -> Answer {
    let text = op.asked.query("Arn").unwrap_or_default();
    let Some((arn, number)) = named::parse(&text).and_then(|a| a.version.map(|n| (a, n))) else {
        let mut checks = Checks::default();
        checks.pattern(&text, "arn", super::uses::ARN_PATTERN);
        return Err(checks.into_result().expect_err("just refused"));
    };
    if let Err(denied) = op.own(&arn, &text) {
        if let Some((owner, version)) = op.shared_version(&arn, &text)? {
            return op.done(&shown_whole(op, &owner, arn.name, &version)?);
        }
        // What stands for it here is shown under its own ARN.
        let row = foreign::row(&op.asked.shared, &op.asked.tenant, &text)?.ok_or(denied)?;
        let (layer, _) = text.rsplit_once(':').unwrap_or_default();
        let mut out = Map::new();
        out.insert("Content".into(), content(op, &op.asked.tenant, &row.package, &create::code_facts(&row.package).0)?);
        out.insert("LayerArn".into(), layer.into());
        out.insert("LayerVersionArn".into(), (&*text).into());
        out.insert("CreatedDate".into(), stamp(row.created_ms).into());
        out.insert("Version".into(), number.into());
        return op.done(&Value::Object(out));
    }
    let found = op.stored(arn.name, number)?;
    let found = found.ok_or_else(|| WireError::not_found("The resource you requested does not exist."))?;
    op.done(&shown_whole(op, &op.asked.tenant, &found.name, &found.version)?)
}

/// Deleting what isn't there is no error.
pub async fn delete(op: Op) -> Answer {
    let (name, number) = (op.layer()?, op.number()?);
    let shared = op.asked.shared.clone();
    let _one = shared.writing.lock().await;
    if op.stored(&name, number)?.is_some() {
        // The layer's own row stays: it knows which numbers were given.
        shared.commit(vec![rows::delete(&op.asked.tenant, rows::LAYER_VERSION, rows::version_name(&name, number))]).await?;
    }
    Ok(no_content())
}

/// As lists show it.
pub fn shown(op: &Op, owner: &TenantId, name: &str, version: &LayerVersionRow) -> Map<String, Value> {
    let mut out = Map::new();
    out.insert("LayerVersionArn".into(), version_arn(op.asked.region(), owner, name, version.number).into());
    out.insert("Version".into(), version.number.into());
    out.insert("Description".into(), version.description.as_str().into());
    out.insert("CreatedDate".into(), stamp(version.created_ms).into());
    if !version.runtimes.is_empty() {
        out.insert("CompatibleRuntimes".into(), json!(version.runtimes));
    }
    if !version.architectures.is_empty() {
        out.insert("CompatibleArchitectures".into(), json!(version.architectures));
    }
    if let Some(license) = &version.license {
        out.insert("LicenseInfo".into(), license.as_str().into());
    }
    out
}

fn shown_whole(op: &Op, owner: &TenantId, name: &str, version: &LayerVersionRow) -> Result<Value, WireError> {
    let mut out = shown(op, owner, name, version);
    out.insert("LayerArn".into(), layer_arn(op.asked.region(), owner, name).into());
    out.insert("Content".into(), content(op, owner, &version.package, &version.code_sha256)?);
    Ok(Value::Object(out))
}

fn content(op: &Op, owner: &TenantId, package: &Package, sha256: &str) -> Result<Value, WireError> {
    let Package::Unpacked { bytes, .. } = package;
    // A capability: whoever has it may read the archive until it expires.
    let link = op.asked.platform().packages().link(owner, package.digest())?;
    let location = format!("{}://{}/_code/{link}", op.asked.shared.settings.aws_scheme, op.asked.shared.settings.aws_authority);
    Ok(json!({ "Location": location, "CodeSha256": sha256, "CodeSize": bytes }))
}
