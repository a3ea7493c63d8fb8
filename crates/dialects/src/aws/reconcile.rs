//! Stored rows → what the engine must know. Pure: nothing is read but the rows, and the settings that this process runs with.

use super::{
    limits, names,
    rows::{self, AliasRow, Config, FunctionRow, UrlRow, VersionRow},
};
use model::{
    Function, FunctionName, Key, ModelOp, TenantId, Unit,
    catalog::{Actions, Alias, Concurrency, LogSettings, Settings, Url},
    ports::{PlatformSettings, Rows, Slots},
    sandbox::Network,
};
use serde::de::DeserializeOwned;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

pub fn reconcile(settings: &PlatformSettings, changed: &[Key], related: &dyn Rows) -> Vec<ModelOp> {
    let mut touched = BTreeSet::new();
    for key in changed.iter().filter(|k| rows::OF_FUNCTIONS.contains(&k.kind)) {
        let name = key.name.split('/').next().unwrap_or_default();
        touched.insert((key.tenant.clone(), Arc::<str>::from(name)));
    }
    touched.into_iter().map(|(tenant, name)| one(settings, related, tenant, &name)).collect()
}

fn one(settings: &PlatformSettings, related: &dyn Rows, tenant: TenantId, name: &str) -> ModelOp {
    let row = related.get(&Key::new(&tenant, rows::FUNCTION, name)).and_then(|r| rows::decode::<FunctionRow>(&r).ok());
    match row {
        Some(row) => ModelOp::Put(Arc::new(function(settings, related, &tenant, name, &row))),
        None => ModelOp::Drop { tenant, name: FunctionName::new(name) },
    }
}

fn all<T: DeserializeOwned>(related: &dyn Rows, tenant: &TenantId, kind: &'static str, name: &str) -> Vec<T> {
    related.list(tenant, kind, &rows::below(name)).iter().filter_map(|r| rows::decode(r).ok()).collect()
}

fn function(settings: &PlatformSettings, related: &dyn Rows, tenant: &TenantId, name: &str, row: &FunctionRow) -> Function {
    let mut versions = BTreeMap::new();
    if let Some(config) = row.serving() {
        versions.insert(Arc::from(names::LATEST), Arc::new(unit(settings, tenant, name, names::LATEST, config)));
    }
    for version in all::<VersionRow>(related, tenant, rows::VERSION, name) {
        if version.config.state == rows::State::Active {
            let number = version.number.to_string();
            versions.insert(Arc::from(&*number), Arc::new(unit(settings, tenant, name, &number, &version.config)));
        }
    }
    let aliases = all::<AliasRow>(related, tenant, rows::ALIAS, name).into_iter();
    let aliases = aliases.map(|a| {
        let split = a.split.map(|(v, share)| (Arc::from(&*v), share));
        (Arc::from(&*a.name), Alias { version: Arc::from(&*a.version), split })
    });
    let urls = all::<UrlRow>(related, tenant, rows::URL, name).into_iter().map(|u| Url {
        id: u.id,
        qualifier: u.qualifier.as_deref().map(Arc::from),
        signed: u.auth != "NONE",
        streamed: u.mode.as_deref() == Some("RESPONSE_STREAM"),
        cors: u.cors.map(Arc::new),
    });
    let policies = row.policies.iter().filter(|p| !p.1.is_empty());
    Function {
        tenant: tenant.clone(),
        name: FunctionName::new(name),
        dialect: super::NAME,
        resource_name: Arc::from(names::function_arn(&settings.region, tenant, name)),
        versions,
        aliases: aliases.collect(),
        concurrency: Concurrency {
            reserved: row.reserved,
            provisioned: row.provisioned.iter().map(|(q, p)| (Arc::from(&**q), p.requested)).collect(),
        },
        policies: policies
            .map(|(q, statements)| (Arc::from(&**q), Arc::from(super::lambda::policy::document(statements))))
            .collect(),
        urls: urls.collect(),
        entry: Arc::from(""),
        doors: Vec::new(),
        actions: Actions { invoke: "lambda:InvokeFunction", url: "lambda:InvokeFunctionUrl" },
        events: super::lambda::events::rules(&row.events, settings.event_retry_base),
    }
}

/// One version as the engine starts it.
pub fn unit(settings: &PlatformSettings, tenant: &TenantId, name: &str, version: &str, config: &Config) -> Unit {
    let level = |l: &Option<String>| l.as_deref().map(Arc::from);
    let (env, secrets) = super::lambda::secrets::variables(config.env.as_deref().unwrap_or_default());
    Unit {
        tenant: tenant.clone(),
        function: FunctionName::new(name),
        version: Arc::from(version),
        revision: config.unit,
        dialect: super::NAME,
        resource_name: Arc::from(names::function_arn(&settings.region, tenant, name)),
        package: config.package.clone(),
        layers: config.layers.iter().map(|l| l.package.clone()).collect(),
        runtime: config.runtime.clone(),
        contract: "lambda",
        tier: settings.tier,
        handler: config.handler.clone(),
        env,
        secrets,
        made: config.unit,
        settings: Settings {
            memory_mib: config.memory_mib,
            timeout: Duration::from_secs(config.timeout_s.into()),
            init_timeout: limits::INIT_TIMEOUT,
            tmp_mib: config.tmp_mib,
            request_bytes_max: limits::REQUEST_BYTES_MAX,
            event_bytes_max: limits::EVENT_BYTES_MAX,
            reply_bytes_max: limits::REPLY_BYTES_MAX,
            stream_bytes_max: limits::STREAM_BYTES_MAX,
            slots: Slots::One,
            network: Network::Loopback,
            log: LogSettings {
                group: config.log.group.as_deref().map_or_else(|| Arc::from(format!("/aws/lambda/{name}")), Arc::from),
                json: config.log.format == "JSON",
                level: level(&config.log.application_level),
                system_level: level(&config.log.system_level),
            },
        },
        role: Some(config.role.clone()),
    }
}
