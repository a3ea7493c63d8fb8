//! CreateFunction, and what it shares with UpdateFunctionCode: where code comes from and what is checked of it.

use super::{
    Answer, Op, account,
    config::{self, Settings},
    describe::Shown,
    layers, secrets, state,
};
use crate::aws::{
    check::Checks,
    fault::WireError,
    limits,
    names::{self, Group, LATEST},
    rows::{self, Config, FunctionRow, Log, State, VersionRow},
    shared::Shared,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use model::{Cause, Expect, Package, RevisionId, TenantId};
use serde::Deserialize;
use serde_json::Value;
use std::{collections::BTreeMap, sync::Arc};

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct Create {
    function_name: Option<String>,
    code: Option<Code>,
    publish: Option<bool>,
    publish_to: Option<String>,
    package_type: Option<String>,
    architectures: Option<Vec<String>>,
    tags: Option<BTreeMap<String, String>>,
    code_signing_config_arn: Option<String>,
    #[serde(flatten)]
    settings: Settings,
}

/// Where code comes from.
#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
pub struct Code {
    pub zip_file: Option<String>,
    pub s3_bucket: Option<String>,
    pub s3_key: Option<String>,
    pub image_uri: Option<String>,
}

impl Code {
    /// The archive's bytes.
    pub fn archive(&self) -> Result<Bytes, WireError> {
        if self.image_uri.is_some() {
            return Err(WireError::invalid("ImageUri: container images are not served by this endpoint yet; send a ZipFile"));
        }
        if self.s3_bucket.is_some() || self.s3_key.is_some() {
            return Err(WireError::invalid(
                "S3Bucket, S3Key: this endpoint serves no S3 to fetch the package from; send it as ZipFile",
            ));
        }
        let text = self.zip_file.as_deref().ok_or_else(|| WireError::invalid("Please provide a source for function code."))?;
        let bytes = STANDARD.decode(text).map_err(|e| WireError::serialization(format!("ZipFile is not base64: {e}")))?;
        if bytes.len() > limits::ZIP_BYTES_MAX {
            return Err(WireError::too_large(format!("Zipped size must be smaller than {} bytes", limits::ZIP_BYTES_MAX)));
        }
        Ok(bytes.into())
    }
}

/// Store an archive; what is wrong with it is the caller's.
pub async fn store(shared: &Shared, tenant: &TenantId, archive: Bytes) -> Result<Package, WireError> {
    let stored = shared.platform.packages().put_zip(tenant, archive).await;
    stored.map_err(|fault| match fault.cause {
        Cause::Invalid => WireError::invalid(format!(
            "Could not unzip uploaded file. Please check your file, then try to upload again. ({fault})"
        )),
        Cause::TooLarge => {
            WireError::invalid(format!("Unzipped size must be smaller than {} bytes ({fault})", limits::UNZIPPED_BYTES_MAX))
        }
        _ => fault.into(),
    })
}

/// The digest as the API shows it, and the archive's size.
pub fn code_facts(package: &Package) -> (String, u64) {
    let Package::Unpacked { digest, bytes, .. } = package;
    let pairs = digest.as_bytes().chunks(2).filter_map(|p| std::str::from_utf8(p).ok());
    let raw: Vec<u8> = pairs.filter_map(|p| u8::from_str_radix(p, 16).ok()).collect();
    (STANDARD.encode(raw), *bytes)
}

pub fn architecture(given: Option<&[String]>, checks: &mut Checks) -> Option<String> {
    let list = given?;
    if list.len() != 1 || !matches!(list[0].as_str(), "x86_64" | "arm64") {
        checks.fail(
            format_args!("[{}]", list.join(", ")),
            "architectures",
            "Member must satisfy constraint: [Member must satisfy enum value set: [x86_64, arm64], Member must not be null]",
        );
    }
    list.first().cloned()
}

/// The machine runs its own kind of code only; saying so at once beats failing at the first call.
pub fn architecture_runs(name: &str) -> Result<(), WireError> {
    let here = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };
    if name == here {
        Ok(())
    } else {
        Err(WireError::invalid(format!("Architectures: this machine runs {here} only, not {name}")))
    }
}

pub async fn create(op: Op) -> Answer {
    let asked: Create = op.members()?;
    let mut checks = Checks::default();
    let name_text = asked.function_name.as_deref().unwrap_or_default();
    if asked.function_name.is_none() {
        checks.missing("functionName");
    }
    if asked.settings.role.is_none() {
        checks.missing("role");
    }
    if asked.code.is_none() {
        checks.missing("code");
    }
    asked.settings.check(&mut checks);
    if let Some(kind) = asked.package_type.as_deref() {
        checks.one_of(kind, "packageType", &["Zip", "Image"]);
    }
    let architecture = architecture(asked.architectures.as_deref(), &mut checks).unwrap_or_else(|| "x86_64".into());
    checks.into_result()?;
    let (shared, tenant) = (op.asked.shared.clone(), op.asked.tenant.clone());
    let named = names::parse(op.asked.region(), &tenant, name_text, None, Group::Create)?;
    if named.qualifier.is_some() {
        return Err(WireError::invalid("The function name of a new function can't have a qualifier."));
    }
    let name = named.name;
    if asked.package_type.as_deref() == Some("Image") {
        return Err(WireError::invalid("PackageType: container images are not served by this endpoint yet; send a ZipFile"));
    }
    architecture_runs(&architecture)?;
    if asked.settings.runtime.is_none() || asked.settings.handler.is_none() {
        return Err(WireError::invalid(
            "Runtime and Handler are mandatory parameters for functions created with deployment packages.",
        ));
    }
    if asked.publish_to.is_some() {
        return Err(WireError::invalid("PublishTo: not served by this endpoint"));
    }
    let signing = asked.code_signing_config_arn.as_deref().filter(|a| !a.is_empty());
    let code_signing = signing.map(|arn| super::code_signing::named(&op, arn)).transpose()?;
    asked.settings.refuse_unserved()?;
    let tags = asked.tags.unwrap_or_default();
    super::tags::check(&tags)?;
    let mut config = blank(&architecture, shared.now_ms());
    asked.settings.apply(&mut config, &tenant)?;
    super::rights::pass_role(&op.asked, &config.role)?;
    check_handler(&config)?;
    secrets::there(&op, &config)?;
    if let Some(wanted) = &asked.settings.layers {
        config.layers = layers::of_function(&op, wanted).await?;
    }
    let exists = || WireError::conflict(format!("Function already exist: {name}"));
    if shared.raw(&tenant, rows::FUNCTION, &name).is_some() {
        return Err(exists());
    }
    let archive = asked.code.unwrap_or_default().archive()?;
    account::room(&shared, &tenant, archive.len() as u64, 0)?;
    config.package = store(&shared, &tenant, archive).await?;
    (config.code_sha256, config.code_bytes) = code_facts(&config.package);
    layers::fits(&shared, &tenant, &config)?;

    let publish = asked.publish == Some(true);
    let row = FunctionRow {
        latest: config.clone(),
        before: None,
        last_version: u64::from(publish),
        tags,
        reserved: None,
        provisioned: BTreeMap::new(),
        policies: BTreeMap::new(),
        runtime_management: BTreeMap::new(),
        recursive_loop: None,
        code_signing,
        events: BTreeMap::new(),
    };
    let mut writes = vec![rows::put(&tenant, rows::FUNCTION, &*name, &row, Expect::Absent)];
    let mut shown = (LATEST.to_owned(), config);
    if publish {
        let version = Config { unit: RevisionId::random(), revision_id: rows::new_id(), ..shown.1.clone() };
        writes.push(rows::put(
            &tenant,
            rows::VERSION,
            rows::version_name(&name, 1),
            &VersionRow { number: 1, config: version.clone() },
            Expect::Absent,
        ));
        shown = ("1".into(), version);
    }
    {
        let _one = shared.writing.lock().await;
        layers::still(&op, &row.latest)?;
        secrets::there(&op, &row.latest)?;
        let most = shared.platform.tenants().quota(&tenant).functions;
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        if shared.platform.resources().list(&tenant, rows::FUNCTION, "", "", most).len() >= most {
            return Err(account::full(format!("an account holds at most {most} functions")));
        }
        account::room(&shared, &tenant, row.latest.code_bytes * if publish { 2 } else { 1 }, 0)?;
        if publish {
            super::publish::room(&op)?;
        }
        if shared.raw(&tenant, rows::FUNCTION, &name).is_some() {
            return Err(exists());
        }
        shared.commit(writes).await?;
    }
    state::settle(&shared, &tenant, &name);
    let qualifier = op.shown_qualifier(&shown.0, None);
    op.done(&Value::Object(op.describe(&name, &shown.0, qualifier, &shown.1, Shown::Alone)))
}

pub fn check_handler(config: &Config) -> Result<(), WireError> {
    if config::handler_stays_inside(&config.handler) || config.runtime.starts_with("provided") && !config.handler.contains("..") {
        return Ok(());
    }
    Err(WireError::invalid(format!(
        "Handler: {:?} is not an entry point of {}; expected a name inside the package such as app.handler",
        config.handler.chars().take(128).collect::<String>(),
        config.runtime
    )))
}

fn blank(architecture: &str, now_ms: u64) -> Config {
    Config {
        runtime: Arc::from(""),
        role: Arc::from(""),
        handler: Arc::from(""),
        description: String::new(),
        timeout_s: limits::TIMEOUT_S_DEFAULT,
        memory_mib: limits::MEMORY_MIB_DEFAULT,
        tmp_mib: limits::TMP_MIB_DEFAULT,
        package: Package::Unpacked { digest: Arc::from(""), bytes: 0, path: std::path::PathBuf::new() },
        code_sha256: String::new(),
        code_bytes: 0,
        layers: Vec::new(),
        env: None,
        architecture: architecture.to_owned(),
        tracing: "PassThrough".into(),
        snap_start: "None".into(),
        log: Log { format: "Text".into(), group: None, application_level: None, system_level: None },
        inert: BTreeMap::new(),
        state: State::Pending,
        modified_ms: now_ms,
        revision_id: rows::new_id(),
        unit: RevisionId::random(),
    }
}
