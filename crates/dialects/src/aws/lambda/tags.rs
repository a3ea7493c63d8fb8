//! Tags of functions, of event source mappings and of code signing configurations.

use super::{Answer, Op, code_signing};
use crate::aws::{
    check::Checks,
    fault::WireError,
    limits::TAGS_MAX,
    names::{self, Group},
    percent,
    rows::{self, CodeSigningRow, FunctionRow, SourceRow},
};
use model::Expect;
use serde::Deserialize;
use serde_json::json;
use std::{collections::BTreeMap, sync::Arc};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Members {
    tags: Option<BTreeMap<String, String>>,
}

pub fn check(tags: &BTreeMap<String, String>) -> Result<(), WireError> {
    let mut checks = Checks::default();
    for (key, value) in tags {
        checks.length(key, "tags", 1, 128);
        checks.length(value, "tags", 0, 256);
        let plain = |t: &str| t.chars().all(|c| c.is_alphanumeric() || c.is_whitespace() || "_.:/=+-@".contains(c));
        if !plain(key) || !plain(value) {
            checks.pattern(if plain(key) { value } else { key }, "tags", r"^([\p{L}\p{Z}\p{N}_.:/=+\-@]*)$");
        }
    }
    checks.into_result()?;
    if tags.len() > TAGS_MAX { Err(WireError::invalid("Number of tags exceeds resource tag limit.")) } else { Ok(()) }
}

/// What the ARN in the path names, with its row.
enum Tagged {
    Function(Arc<str>, Box<FunctionRow>),
    Source(Box<SourceRow>),
    Signing(String, Box<CodeSigningRow>),
}

impl Tagged {
    fn load(op: &Op) -> Result<(Self, Expect), WireError> {
        let arn = op.label(0);
        let own = arn.strip_prefix(&*super::source::arn(op, ""));
        if let Some(uuid) = own {
            let (row, expect) = super::source::load(op, uuid)?;
            return Ok((Tagged::Source(Box::new(row)), expect));
        }
        if let Some(id) = arn.strip_prefix(&*code_signing::arn(op, "")) {
            let (row, expect) = code_signing::load(op, id)?;
            return Ok((Tagged::Signing(id.to_owned(), Box::new(row)), expect));
        }
        let name = function(op, arn)?;
        let (row, expect) = op.load(&name)?;
        Ok((Tagged::Function(name, Box::new(row)), expect))
    }

    fn tags(&mut self) -> &mut BTreeMap<String, String> {
        match self {
            Tagged::Function(_, row) => &mut row.tags,
            Tagged::Source(row) => &mut row.tags,
            Tagged::Signing(_, row) => &mut row.tags,
        }
    }

    async fn save(&self, op: &Op, expect: Expect) -> Result<(), WireError> {
        match self {
            Tagged::Function(name, row) => op.save(name, row, expect).await,
            Tagged::Source(row) => super::source::save(op, row, expect).await,
            Tagged::Signing(id, row) => {
                op.asked.shared.commit(vec![rows::put(&op.asked.tenant, rows::CODE_SIGNING, id, row, expect)]).await
            }
        }
    }
}

fn function(op: &Op, arn: &str) -> Result<Arc<str>, WireError> {
    if !arn.starts_with("arn:") || !arn.contains(":function:") {
        let mut checks = Checks::default();
        checks.pattern(arn, "resource", r"arn:(aws[a-zA-Z-]*):lambda:[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:(function:[a-zA-Z0-9-_]+(:(\$LATEST|[a-zA-Z0-9-_]+))?|code-signing-config:csc-[a-z0-9]{17}|event-source-mapping:[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12})");
        checks.into_result()?;
    }
    let named = names::parse(op.asked.region(), &op.asked.tenant, arn, None, Group::Writer)?;
    match named.qualifier {
        Some(_) => {
            Err(WireError::invalid("Tags on function aliases and versions are not supported. Please specify a function ARN."))
        }
        None => Ok(named.name),
    }
}

pub fn list(op: &Op) -> Answer {
    let (mut tagged, _) = Tagged::load(op)?;
    op.done(&json!({ "Tags": tagged.tags() }))
}

pub async fn add(op: Op) -> Answer {
    let asked: Members = op.members()?;
    let tags = asked.tags.filter(|t| !t.is_empty());
    let tags =
        tags.ok_or_else(|| WireError::invalid("An error occurred and the request cannot be processed: Tags must not be empty."))?;
    let shared = op.asked.shared.clone();
    let _one = shared.writing.lock().await;
    let (mut tagged, expect) = Tagged::load(&op)?;
    tagged.tags().extend(tags);
    check(tagged.tags())?;
    tagged.save(&op, expect).await?;
    op.done_empty()
}

pub async fn remove(op: Op) -> Answer {
    let query = op.asked.parts.uri.query().unwrap_or_default();
    let keys: Vec<String> = percent::pairs(query).filter(|p| p.0 == "tagKeys").map(|p| p.1.into_owned()).collect();
    if keys.is_empty() {
        let mut checks = Checks::default();
        checks.missing("tagKeys");
        checks.into_result()?;
    }
    let shared = op.asked.shared.clone();
    let _one = shared.writing.lock().await;
    let (mut tagged, expect) = Tagged::load(&op)?;
    tagged.tags().retain(|k, _| !keys.contains(k));
    tagged.save(&op, expect).await?;
    op.done_empty()
}
