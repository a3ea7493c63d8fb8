//! A configuration as the API shows it.

use super::{Op, stamp};
use crate::aws::{
    names,
    rows::{Config, Layer, State},
};
use model::Package;
use serde_json::{Map, Value, json};

/// Which answer a configuration is shown in: lists leave out the state.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    Alone,
    Listed,
}

impl Op {
    /// `qualifier` is what the shown ARN ends in; `version` what the `Version` member says.
    pub fn describe(
        &self,
        name: &str,
        version: &str,
        qualifier: Option<&str>,
        config: &Config,
        shown: Shown,
    ) -> Map<String, Value> {
        let mut out = Map::new();
        let mut set = |key: &str, value: Value| {
            out.insert(key.to_owned(), value);
        };
        set("FunctionName", name.into());
        set("FunctionArn", self.arn(name, qualifier).into());
        set("Runtime", config.runtime.as_ref().into());
        set("Role", config.role.as_ref().into());
        set("Handler", config.handler.as_ref().into());
        set("CodeSize", config.code_bytes.into());
        set("Description", config.description.as_str().into());
        set("Timeout", config.timeout_s.into());
        set("MemorySize", config.memory_mib.into());
        set("LastModified", stamp(config.modified_ms).into());
        set("CodeSha256", config.code_sha256.as_str().into());
        set("Version", version.into());
        if let Some(env) = &config.env {
            let variables: Map<String, Value> = env.iter().map(|(k, v)| (k.clone(), v.as_str().into())).collect();
            set("Environment", json!({ "Variables": variables }));
        }
        set("TracingConfig", json!({ "Mode": config.tracing }));
        if !config.layers.is_empty() {
            let shown = |l: &Layer| json!({ "Arn": l.arn, "CodeSize": archive_bytes(&l.package) });
            set("Layers", config.layers.iter().map(shown).collect());
        }
        set("RevisionId", config.revision_id.as_str().into());
        for (key, value) in &config.inert {
            set(key, value.clone());
        }
        set("PackageType", "Zip".into());
        set("Architectures", json!([config.architecture]));
        set("EphemeralStorage", json!({ "Size": config.tmp_mib }));
        set("SnapStart", json!({ "ApplyOn": config.snap_start, "OptimizationStatus": "Off" }));
        set("LoggingConfig", self.logging(name, config));
        if shown == Shown::Alone {
            set(
                "RuntimeVersionConfig",
                json!({ "RuntimeVersionArn": runtime_version_arn(self.asked.region(), &config.runtime) }),
            );
            state(&config.state, &mut set);
        }
        out
    }

    fn logging(&self, name: &str, config: &Config) -> Value {
        let mut log = Map::new();
        log.insert("LogFormat".into(), config.log.format.as_str().into());
        if config.log.format == "JSON" {
            log.insert("ApplicationLogLevel".into(), config.log.application_level.as_deref().unwrap_or("INFO").into());
            log.insert("SystemLogLevel".into(), config.log.system_level.as_deref().unwrap_or("INFO").into());
        }
        let group = config.log.group.clone().unwrap_or_else(|| format!("/aws/lambda/{name}"));
        log.insert("LogGroup".into(), group.into());
        Value::Object(log)
    }

    /// What the `Version` member shows and what the ARN ends in, for a row that was asked for under `qualifier`.
    pub fn shown_qualifier<'a>(&self, version: &'a str, qualifier: Option<&'a str>) -> Option<&'a str> {
        qualifier.or((version != names::LATEST).then_some(version))
    }
}

fn archive_bytes(package: &Package) -> u64 {
    let Package::Unpacked { bytes, .. } = package;
    *bytes
}

fn state(state: &State, set: &mut impl FnMut(&str, Value)) {
    match state {
        State::Pending => {
            set("State", "Pending".into());
            set("StateReason", "The function is being created.".into());
            set("StateReasonCode", "Creating".into());
        }
        State::Active => {
            set("State", "Active".into());
            set("LastUpdateStatus", "Successful".into());
        }
        State::Updating => {
            set("State", "Active".into());
            set("LastUpdateStatus", "InProgress".into());
            set("LastUpdateStatusReason", "The function is being created.".into());
            set("LastUpdateStatusReasonCode", "Creating".into());
        }
        State::Failed { code, reason } => {
            set("State", "Failed".into());
            set("StateReason", reason.as_str().into());
            set("StateReasonCode", code.as_str().into());
            set("LastUpdateStatus", "Failed".into());
            set("LastUpdateStatusReason", reason.as_str().into());
            set("LastUpdateStatusReasonCode", code.as_str().into());
        }
        State::UpdateFailed { code, reason } => {
            set("State", "Active".into());
            set("LastUpdateStatus", "Failed".into());
            set("LastUpdateStatusReason", reason.as_str().into());
            set("LastUpdateStatusReasonCode", code.as_str().into());
        }
    }
}

/// A name for the runtime as it is here, in the form that clients expect: stable for a runtime's name.
pub fn runtime_version_arn(region: &str, runtime: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, runtime.as_bytes());
    let hex: String = digest.as_ref().iter().map(|b| format!("{b:02x}")).collect();
    format!("arn:aws:lambda:{region}::runtime:{hex}")
}
