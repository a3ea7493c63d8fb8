//! ListLayers, ListLayerVersions.

use super::{
    super::{Answer, Op, page},
    named::layer_arn,
    version::{ARCHITECTURES, runtime_known, shown},
};
use crate::aws::{
    check::Checks,
    fault::WireError,
    rows::{self, LayerVersionRow},
};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

const PAGE: usize = 50;

/// What a version must be compatible with to be shown.
struct Filter {
    runtime: Option<String>,
    architecture: Option<String>,
}

impl Filter {
    fn of(op: &Op) -> Result<Filter, WireError> {
        let [runtime, architecture] =
            ["CompatibleRuntime", "CompatibleArchitecture"].map(|name| op.asked.query(name).map(|v| v.into_owned()));
        let mut checks = Checks::default();
        if let Some(name) = runtime.as_deref().filter(|r| !runtime_known(r)) {
            checks.one_of(name, "compatibleRuntime", super::super::config::RUNTIMES);
        }
        if let Some(name) = &architecture {
            checks.one_of(name, "compatibleArchitecture", ARCHITECTURES);
        }
        checks.into_result()?;
        Ok(Filter { runtime, architecture })
    }

    fn shows(&self, version: &LayerVersionRow) -> bool {
        let has = |wanted: &Option<String>, list: &[String]| wanted.as_ref().is_none_or(|w| list.contains(w));
        has(&self.runtime, &version.runtimes) && has(&self.architecture, &version.architectures)
    }
}

fn done(op: &Op, member: &str, items: Vec<Value>, next: Option<Value>) -> Answer {
    let mut out = Map::new();
    out.insert(member.into(), Value::Array(items));
    if let Some(next) = next {
        out.insert("NextMarker".into(), next);
    }
    op.done(&Value::Object(out))
}

pub fn list(op: &Op) -> Answer {
    let filter = Filter::of(op)?;
    let (size, after) = (op.page_size(PAGE, 50)?, op.marker()?);
    let mut newest: BTreeMap<String, LayerVersionRow> = BTreeMap::new();
    for row in op.asked.platform().resources().list(&op.asked.tenant, rows::LAYER_VERSION, "", "", usize::MAX) {
        let version: LayerVersionRow = rows::decode(&row)?;
        let Some((name, _)) = row.key.name.split_once('/') else { continue };
        if filter.shows(&version) {
            // Rows come in the order of their numbers.
            newest.insert(name.to_owned(), version);
        }
    }
    let items = newest.into_iter().map(|(name, version)| {
        let mut item = Map::new();
        item.insert("LayerName".into(), name.as_str().into());
        item.insert("LayerArn".into(), layer_arn(op.asked.region(), &op.asked.tenant, &name).into());
        item.insert("LatestMatchingVersion".into(), Value::Object(shown(op, &op.asked.tenant, &name, &version)));
        (name, Value::Object(item))
    });
    let (items, next) = page(items, &after, size);
    done(op, "Layers", items, next)
}

/// The newest first.
pub fn versions(op: &Op) -> Answer {
    let filter = Filter::of(op)?;
    let name = op.layer()?;
    let (size, after) = (op.page_size(PAGE, 50)?, op.marker()?);
    let mut all = op.asked.shared.below::<LayerVersionRow>(&op.asked.tenant, rows::LAYER_VERSION, &name)?;
    all.retain(|v| filter.shows(v));
    let items = all.into_iter().rev().map(|v| {
        // Names that sort as what is shown.
        (format!("{:020}", u64::MAX - v.number), Value::Object(shown(op, &op.asked.tenant, &name, &v)))
    });
    let (items, next) = page(items, &after, size);
    done(op, "LayerVersions", items, next)
}
