//! The members of CreateFunction and UpdateFunctionConfiguration that describe settings: what is allowed, what is stored, and
//! what is refused because this platform can't honour it.

use crate::aws::{
    check::Checks,
    fault::WireError,
    limits,
    names::{account_id, word},
    rows::{Config, Log},
};
use model::{TenantId, secret};
use serde::Deserialize;
use serde_json::{Map, Value};

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
pub struct Settings {
    pub runtime: Option<String>,
    pub role: Option<String>,
    pub handler: Option<String>,
    pub description: Option<String>,
    pub timeout: Option<i64>,
    pub memory_size: Option<i64>,
    pub environment: Option<Environment>,
    pub tracing_config: Option<Tracing>,
    pub ephemeral_storage: Option<Ephemeral>,
    pub snap_start: Option<SnapStart>,
    pub logging_config: Option<Logging>,
    pub layers: Option<Vec<String>>,
    pub vpc_config: Option<Map<String, Value>>,
    pub dead_letter_config: Option<Map<String, Value>>,
    #[serde(rename = "KMSKeyArn")]
    pub kms_key_arn: Option<String>,
    pub file_system_configs: Option<Vec<Value>>,
    pub image_config: Option<Map<String, Value>>,
    pub durable_config: Option<Value>,
    pub tenancy_config: Option<Value>,
    pub capacity_provider_config: Option<Value>,
    pub runtime_config: Option<Value>,
    pub accelerator_config: Option<Value>,
    pub revision_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Environment {
    pub variables: Option<Map<String, Value>>,
}
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Tracing {
    pub mode: Option<String>,
}
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Ephemeral {
    pub size: Option<i64>,
}
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SnapStart {
    pub apply_on: Option<String>,
}
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Logging {
    pub log_format: Option<String>,
    pub application_log_level: Option<String>,
    pub system_log_level: Option<String>,
    pub log_group: Option<String>,
}

/// Every runtime name that the API knows and that has a zip package (botocore, shape `Runtime`). Whether one runs here is found
/// out when the function is prepared.
pub const RUNTIMES: &[&str] = &[
    "nodejs24.x",
    "nodejs22.x",
    "nodejs20.x",
    "nodejs18.x",
    "nodejs16.x",
    "nodejs14.x",
    "nodejs12.x",
    "python3.14",
    "python3.13",
    "python3.12",
    "python3.11",
    "python3.10",
    "python3.9",
    "python3.8",
    "python3.7",
    "java25",
    "java21",
    "java17",
    "java11",
    "java8.al2",
    "java8",
    "dotnet10",
    "dotnet8",
    "dotnet6",
    "dotnetcore3.1",
    "ruby3.4",
    "ruby3.3",
    "ruby3.2",
    "ruby2.7",
    "go1.x",
    "provided.al2023",
    "provided.al2",
    "provided",
];

/// Names that the platform itself sets (Lambda developer guide, "Defined runtime environment variables", the reserved ones).
pub const RESERVED: &[&str] = &[
    "_HANDLER",
    "_X_AMZN_TRACE_ID",
    "AWS_DEFAULT_REGION",
    "AWS_REGION",
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_LAMBDA_RUNTIME_API",
    "LAMBDA_TASK_ROOT",
    "LAMBDA_RUNTIME_DIR",
];

const ROLE_PATTERN: &str = r"arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+";

/// The account of a well-formed role ARN.
fn role_account(role: &str) -> Option<&str> {
    let rest = role.strip_prefix("arn:")?;
    let (partition, rest) = rest.split_once(":iam::")?;
    let (account, name) = rest.split_once(":role")?;
    let named = name.trim_start_matches('/');
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_+=,.@-/".contains(&b);
    let ok = (partition.is_empty() || partition.starts_with("aws"))
        && account_id(account)
        && !named.is_empty()
        && named.bytes().all(plain);
    ok.then_some(account)
}

impl Settings {
    /// Everything that the service checks before it looks at the function, all violations in one answer.
    pub fn check(&self, checks: &mut Checks) {
        if let Some(role) = self.role.as_deref().filter(|r| role_account(r).is_none()) {
            checks.pattern(role, "role", ROLE_PATTERN);
        }
        if let Some(handler) = &self.handler {
            checks.length(handler, "handler", 0, 128);
            if handler.is_empty() || handler.chars().any(|c| c.is_whitespace() || c.is_control()) {
                checks.pattern(handler, "handler", r"[^\s]+");
            }
        }
        if let Some(text) = &self.description {
            checks.length(text, "description", 0, 256);
        }
        if let Some(seconds) = self.timeout {
            checks.range(seconds, "timeout", 1, limits::TIMEOUT_S_MAX.into());
        }
        if let Some(mib) = self.memory_size {
            checks.range(mib, "memorySize", limits::MEMORY_MIB_DEFAULT.into(), limits::MEMORY_MIB_MAX.into());
        }
        if let Some(size) = self.ephemeral_storage.as_ref().and_then(|e| e.size) {
            checks.range(size, "ephemeralStorage.size", limits::TMP_MIB_DEFAULT.into(), limits::TMP_MIB_MAX.into());
        }
        if let Some(mode) = self.tracing_config.as_ref().and_then(|t| t.mode.as_deref()) {
            checks.one_of(mode, "tracingConfig.mode", &["Active", "PassThrough"]);
        }
        if let Some(on) = self.snap_start.as_ref().and_then(|s| s.apply_on.as_deref()) {
            checks.one_of(on, "snapStart.applyOn", &["PublishedVersions", "None"]);
        }
        for name in self.environment.iter().filter_map(|e| e.variables.as_ref()).flat_map(Map::keys) {
            let letters = name.starts_with(|c: char| c.is_ascii_alphabetic()) || RESERVED.contains(&name.as_str());
            if !letters || name.len() < 2 || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                checks.fail(
                    format_args!("[{name}]"),
                    "environment.variables",
                    "Map keys must satisfy constraint: [Member must satisfy regular expression pattern: [a-zA-Z]([a-zA-Z0-9_])+]",
                );
            }
        }
        super::layers::check(self.layers.as_deref().unwrap_or_default(), checks);
        self.check_logging(checks);
    }

    fn check_logging(&self, checks: &mut Checks) {
        let Some(log) = &self.logging_config else { return };
        if let Some(format) = &log.log_format {
            checks.one_of(format, "loggingConfig.logFormat", &["JSON", "Text"]);
        }
        if let Some(level) = &log.application_log_level {
            checks.one_of(level, "loggingConfig.applicationLogLevel", &["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"]);
        }
        if let Some(level) = &log.system_log_level {
            checks.one_of(level, "loggingConfig.systemLogLevel", &["DEBUG", "INFO", "WARN"]);
        }
        if let Some(group) = &log.log_group {
            checks.length(group, "loggingConfig.logGroup", 1, 512);
            if !group.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/#".contains(&b)) {
                checks.pattern(group, "loggingConfig.logGroup", r"[\.\-_/#A-Za-z0-9]+");
            }
        }
    }

    /// What can't be honoured here is refused with its name, unless the member asks for nothing.
    pub fn refuse_unserved(&self) -> Result<(), WireError> {
        let no = |member: &str, why: &str| Err(WireError::invalid(format!("{member}: {why}")));
        let asks = |m: &Option<Map<String, Value>>| {
            m.as_ref().is_some_and(|m| {
                m.values().any(|v| !matches!(v, Value::Null | Value::Bool(false)) && v != "" && v != &Value::Array(vec![]))
            })
        };
        if asks(&self.vpc_config) {
            return no("VpcConfig", "there are no VPCs here; leave it out");
        }
        if asks(&self.dead_letter_config) {
            return no("DeadLetterConfig", "asynchronous invocation is not served by this endpoint yet");
        }
        if self.file_system_configs.as_ref().is_some_and(|f| !f.is_empty()) {
            return no("FileSystemConfigs", "shared file systems are not served by this endpoint");
        }
        if asks(&self.image_config) {
            return no("ImageConfig", "container images are not served by this endpoint yet; send a ZipFile");
        }
        let others = [
            ("DurableConfig", &self.durable_config),
            ("TenancyConfig", &self.tenancy_config),
            ("CapacityProviderConfig", &self.capacity_provider_config),
            ("RuntimeConfig", &self.runtime_config),
            ("AcceleratorConfig", &self.accelerator_config),
        ];
        match others.into_iter().find(|o| o.1.is_some()) {
            Some((member, _)) => no(member, "not served by this endpoint"),
            None => Ok(()),
        }
    }

    /// Put what is given over what there was.
    pub fn apply(&self, config: &mut Config, tenant: &TenantId) -> Result<(), WireError> {
        if let Some(runtime) = &self.runtime {
            if !RUNTIMES.contains(&runtime.as_str()) {
                return Err(WireError::invalid(format!(
                    "Value {runtime} at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [{}] or be a valid ARN",
                    RUNTIMES.join(", ")
                )));
            }
            config.runtime = runtime.as_str().into();
        }
        if let Some(role) = &self.role {
            if role_account(role) != Some(tenant.as_str()) {
                return Err(WireError::access_denied("Cross-account pass role is not allowed."));
            }
            config.role = role.as_str().into();
        }
        if let Some(handler) = &self.handler {
            config.handler = handler.as_str().into();
        }
        if let Some(text) = &self.description {
            config.description.clone_from(text);
        }
        // In range: check() ran before.
        let small = |n: i64| u32::try_from(n).unwrap_or(u32::MAX);
        config.timeout_s = self.timeout.map_or(config.timeout_s, small);
        config.memory_mib = self.memory_size.map_or(config.memory_mib, small);
        config.tmp_mib = self.ephemeral_storage.as_ref().and_then(|e| e.size).map_or(config.tmp_mib, small);
        if let Some(mode) = self.tracing_config.as_ref().and_then(|t| t.mode.as_ref()) {
            config.tracing.clone_from(mode);
        }
        if let Some(on) = self.snap_start.as_ref().and_then(|s| s.apply_on.as_ref()) {
            config.snap_start.clone_from(on);
        }
        if let Some(variables) = self.environment.as_ref().and_then(|e| e.variables.as_ref()) {
            config.env = Some(variables_of(variables)?);
        }
        if let Some(key) = &self.kms_key_arn {
            match key.as_str() {
                "" => config.inert.remove("KMSKeyArn"),
                key => config.inert.insert("KMSKeyArn".into(), key.into()),
            };
        }
        if let Some(log) = &self.logging_config {
            apply_logging(log, &mut config.log)?;
        }
        Ok(())
    }
}

fn variables_of(variables: &Map<String, Value>) -> Result<Vec<(String, String)>, WireError> {
    let mut reserved: Vec<&str> = variables.keys().map(String::as_str).filter(|n| RESERVED.contains(n)).collect();
    if !reserved.is_empty() {
        reserved.sort_unstable();
        return Err(WireError::invalid(format!(
            "Lambda was unable to configure your environment variables because the environment variables you have provided contains \
             reserved keys that are currently not supported for modification. Reserved keys used in this request: {}",
            reserved.join(", ")
        )));
    }
    let mut out = Vec::with_capacity(variables.len());
    for (name, value) in variables {
        let Value::String(text) = value else {
            return Err(WireError::serialization(format!("Environment.Variables.{name}: expected a string")));
        };
        if text.contains('\0') {
            return Err(WireError::invalid(format!("Environment.Variables.{name}: a NUL byte can't stand in a variable")));
        }
        if let Err(why) = secret::meaning(text) {
            return Err(WireError::invalid(format!("Environment.Variables.{name}: {why}")));
        }
        out.push((name.clone(), text.clone()));
    }
    let measured = serde_json::to_string(variables).map_or(usize::MAX, |t| t.len());
    if measured > limits::ENV_BYTES_MAX {
        // The service quotes the variables here; their values are secrets, so only their size is told.
        return Err(WireError::invalid(format!(
            "Lambda was unable to configure your environment variables because the environment variables you have provided exceeded \
             the 4KB limit. Measured size: {measured} bytes"
        )));
    }
    Ok(out)
}

fn apply_logging(given: &Logging, log: &mut Log) -> Result<(), WireError> {
    if let Some(format) = &given.log_format {
        log.format.clone_from(format);
    }
    let levels = given.application_log_level.is_some() || given.system_log_level.is_some();
    if log.format == "Text" {
        if levels {
            return Err(WireError::invalid("To set ApplicationLogLevel or SystemLogLevel, the LogFormat must be JSON."));
        }
        (log.application_level, log.system_level) = (None, None);
    }
    let keep = |given: &Option<String>, kept: &mut Option<String>| {
        if given.is_some() {
            kept.clone_from(given);
        }
    };
    keep(&given.application_log_level, &mut log.application_level);
    keep(&given.system_log_level, &mut log.system_level);
    keep(&given.log_group, &mut log.group);
    Ok(())
}

/// Entry points are names inside a package: never a path out of it (`..`, an absolute path) and nothing that a shell would read.
pub fn handler_stays_inside(handler: &str) -> bool {
    let parts = handler.split('/');
    !handler.starts_with('/')
        && parts.clone().all(|p| !p.is_empty() && p != "..")
        && handler.split(['/', '.', ':']).any(|p| word(p) || !p.is_ascii())
        && !handler.bytes().any(|b| b";|&`<>\"'\\*?(){}[]!~#%^".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handlers_that_leave_the_package_or_speak_shell_are_refused() {
        for good in ["app.handler", "pkg/mod.func", "com.acme.App::run", "Asm::Ns.Class::Method", "bootstrap", "src/über.main"] {
            assert!(handler_stays_inside(good), "{good}");
        }
        for bad in ["../../../tmp/x:f", "a/../../b.f", ";id", "$(id)", "/etc/passwd", "a;b.c", "`id`.x", "a//b.c", "..", "a|b"] {
            assert!(!handler_stays_inside(bad), "{bad}");
        }
    }

    #[test]
    fn roles_are_well_formed_and_say_their_account() {
        assert_eq!(role_account("arn:aws:iam::000000000000:role/a/b"), Some("000000000000"));
        for bad in [
            "r1",
            "arn:aws:iam::12:role/x",
            "arn:aws:iam::000000000000:user/x",
            "arn:aws:iam::000000000000:role/",
            "arn:aws:iam::000000000000:role/a b",
        ] {
            assert_eq!(role_account(bad), None, "{bad}");
        }
    }
}
