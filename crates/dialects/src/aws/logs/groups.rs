//! Log groups as resources: made and deleted, how long they keep what they hold, and their tags. A function's group is there with
//! its first line; a row is only needed for what somebody decided.

use super::{Answer, checked_group, done, done_empty, group_arn, invalid, name_of, no_group, own};
use crate::aws::{
    fault::WireError,
    json,
    rows::{self, LogGroupRow},
    shared::Asked,
};
use model::{Expect, Key, TenantId, ports::Rows};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// What a group may be told to keep (API reference, `PutRetentionPolicy`), in days.
const DAYS: [u32; 22] = [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];
const TAGS_MAX: usize = 50;
/// Groups with a row, of one account.
const GROUPS_MAX: usize = 10_000;

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Members {
    log_group_name: Option<String>,
    resource_arn: Option<String>,
    kms_key_id: Option<String>,
    log_group_class: Option<String>,
    retention_in_days: Option<i64>,
    tags: Option<Value>,
    tag_keys: Option<Vec<String>>,
}

/// Whether anything is known of a group: somebody made it, or something was logged to it.
pub fn exists(asked: &Asked, name: &str) -> bool {
    asked.shared.raw(&asked.tenant, rows::LOG_GROUP, name).is_some() || stored(asked, name).is_some()
}

/// When it was made, if anything was logged to it.
fn stored(asked: &Asked, name: &str) -> Option<u64> {
    let found = asked.platform().logs().groups(&asked.tenant, name, "", 1);
    found.first().filter(|g| *g.name == *name).map(|g| g.created_ms)
}

/// Its row; made up where there is none yet.
fn load(asked: &Asked, name: &str) -> Result<LogGroupRow, WireError> {
    if let Some(row) = asked.shared.row(&asked.tenant, rows::LOG_GROUP, name)? {
        return Ok(row);
    }
    let created_ms = stored(asked, name).ok_or_else(no_group)?;
    Ok(LogGroupRow { created_ms, ..LogGroupRow::default() })
}

async fn save(asked: &Asked, name: &str, row: &LogGroupRow) -> Result<(), WireError> {
    asked.shared.commit(vec![rows::put(&asked.tenant, rows::LOG_GROUP, name, row, Expect::Any)]).await
}

pub async fn create(asked: &Asked) -> Answer {
    let members: Members = json::members(&asked.body)?;
    let name = checked_group(members.log_group_name.as_deref())?;
    match members.log_group_class.as_deref() {
        None | Some("STANDARD") => {}
        Some(other) => return Err(invalid(format!("logGroupClass: {other:?} is not served; there is STANDARD"))),
    }
    if members.kms_key_id.is_some() {
        return Err(invalid("kmsKeyId: not served by this endpoint"));
    }
    let tags = members.tags.map(tags_of).transpose()?.unwrap_or_default();
    check_tags(&tags)?;
    let shared = &asked.shared;
    let _one = shared.writing.lock().await;
    if exists(asked, name) {
        return Err(WireError::new(400, "ResourceAlreadyExistsException", "The specified log group already exists"));
    }
    if shared.platform.resources().list(&asked.tenant, rows::LOG_GROUP, "", "", GROUPS_MAX).len() >= GROUPS_MAX {
        return Err(WireError::new(400, "LimitExceededException", format!("Resource limit exceeded: {GROUPS_MAX} log groups")));
    }
    save(asked, name, &LogGroupRow { created_ms: shared.now_ms(), retention_days: None, tags }).await?;
    done_empty()
}

pub async fn delete(asked: &Asked) -> Answer {
    let members: Members = json::members(&asked.body)?;
    let name = checked_group(members.log_group_name.as_deref())?;
    let _one = asked.shared.writing.lock().await;
    if !exists(asked, name) {
        return Err(no_group());
    }
    // Lines first: a group whose row is gone and whose lines are not would be there again.
    asked.platform().logs().remove(&asked.tenant, name, None).await?;
    if asked.shared.raw(&asked.tenant, rows::LOG_GROUP, name).is_some() {
        asked.shared.commit(vec![rows::delete(&asked.tenant, rows::LOG_GROUP, name)]).await?;
    }
    done_empty()
}

pub async fn put_retention(asked: &Asked) -> Answer {
    let members: Members = json::members(&asked.body)?;
    let given = members.retention_in_days.ok_or_else(|| invalid("retentionInDays: must be given"))?;
    let days = DAYS.iter().copied().find(|d| i64::from(*d) == given);
    let days = days.ok_or_else(|| {
        let all: Vec<String> = DAYS.iter().map(u32::to_string).collect();
        invalid(format!("retentionInDays: {given} is none of {}", all.join(", ")))
    })?;
    retain(asked, &members, Some(days)).await
}

pub async fn delete_retention(asked: &Asked) -> Answer {
    let members: Members = json::members(&asked.body)?;
    retain(asked, &members, None).await
}

async fn retain(asked: &Asked, members: &Members, days: Option<u32>) -> Answer {
    let name = checked_group(members.log_group_name.as_deref())?;
    let _one = asked.shared.writing.lock().await;
    let row = load(asked, name)?;
    save(asked, name, &LogGroupRow { retention_days: days, ..row }).await?;
    done_empty()
}

/// A group's name, from the ARN of a resource or a group's own name.
fn tagged<'a>(asked: &Asked, members: &'a Members) -> Result<&'a str, WireError> {
    if members.resource_arn.as_deref().is_some_and(|arn| !own(asked, arn)) {
        return Err(no_group());
    }
    let given = members.log_group_name.as_deref().or(members.resource_arn.as_deref().map(name_of));
    checked_group(given)
}

pub fn list_tags(asked: &Asked) -> Answer {
    let members: Members = json::members(&asked.body)?;
    done(&json!({ "tags": load(asked, tagged(asked, &members)?)?.tags }))
}

pub async fn tag(asked: &Asked) -> Answer {
    let members: Members = json::members(&asked.body)?;
    let name = tagged(asked, &members)?;
    let tags = tags_of(members.tags.clone().ok_or_else(|| invalid("tags: must be given"))?)?;
    if tags.is_empty() {
        return Err(invalid("tags: at least one must be given"));
    }
    let _one = asked.shared.writing.lock().await;
    let mut row = load(asked, name)?;
    row.tags.extend(tags);
    check_tags(&row.tags)?;
    save(asked, name, &row).await?;
    done_empty()
}

pub async fn untag(asked: &Asked) -> Answer {
    let members: Members = json::members(&asked.body)?;
    let name = tagged(asked, &members)?;
    let listed = members.tags.clone().map(serde_json::from_value::<Vec<String>>).transpose();
    let listed = listed.map_err(|e| WireError::serialization(format!("tags: {e}")))?;
    let keys = members.tag_keys.clone().or(listed).ok_or_else(|| invalid("the keys of the tags must be given"))?;
    let _one = asked.shared.writing.lock().await;
    let mut row = load(asked, name)?;
    row.tags.retain(|key, _| !keys.contains(key));
    save(asked, name, &row).await?;
    done_empty()
}

fn tags_of(value: Value) -> Result<BTreeMap<String, String>, WireError> {
    serde_json::from_value(value).map_err(|e| WireError::serialization(format!("tags: {e}")))
}

fn check_tags(tags: &BTreeMap<String, String>) -> Result<(), WireError> {
    let plain = |text: &str| text.chars().all(|c| c.is_alphanumeric() || c.is_whitespace() || "_.:/=+-@".contains(c));
    for (key, value) in tags {
        let sized = (1..=128).contains(&key.chars().count()) && value.chars().count() <= 256;
        if !sized || !plain(key) || !plain(value) || key.starts_with("aws:") {
            let what = "1 to 128 characters, its value up to 256, of letters, digits, spaces and _.:/=+-@";
            return Err(invalid(format!("tags: {key:?} must have {what}, and not begin with aws:")));
        }
    }
    if tags.len() > TAGS_MAX {
        return Err(WireError::new(400, "TooManyTagsException", format!("a log group has at most {TAGS_MAX} tags")));
    }
    Ok(())
}

/// One group as it is listed.
struct Listed {
    created_ms: u64,
    bytes: u64,
    days: Option<u32>,
}

/// Groups whose names begin so, greater than `after`, in order.
pub fn listed(asked: &Asked, prefix: &str, after: &str) -> Result<Vec<(Arc<str>, Value)>, WireError> {
    let stored = asked.platform().logs().groups(&asked.tenant, prefix, after, usize::MAX);
    let mut all: BTreeMap<Arc<str>, Listed> =
        stored.into_iter().map(|g| (g.name, Listed { created_ms: g.created_ms, bytes: g.bytes, days: None })).collect();
    for resource in asked.platform().resources().list(&asked.tenant, rows::LOG_GROUP, prefix, after, usize::MAX) {
        let row: LogGroupRow = rows::decode(&resource)?;
        let group = all.entry(resource.key.name.clone()).or_insert(Listed { created_ms: 0, bytes: 0, days: None });
        (group.created_ms, group.days) = (row.created_ms, row.retention_days);
    }
    let shown = |(name, g): (Arc<str>, Listed)| {
        let arn = group_arn(asked, &name);
        let mut out = json!({
            "logGroupName": &*name, "creationTime": g.created_ms, "metricFilterCount": 0, "arn": format!("{arn}:*"),
            "storedBytes": g.bytes, "logGroupClass": "STANDARD", "logGroupArn": arn,
        });
        if let Some(days) = g.days {
            out["retentionInDays"] = days.into();
        }
        (name, out)
    };
    Ok(all.into_iter().map(shown).collect())
}

/// How long the groups of these rows keep what they hold.
pub fn ages(changed: &[Key], related: &dyn Rows) -> Vec<(TenantId, Arc<str>, Option<Duration>)> {
    let age = |key: &Key| {
        let row = related.get(key).and_then(|r| rows::decode::<LogGroupRow>(&r).ok());
        let days = row.and_then(|row| row.retention_days);
        (key.tenant.clone(), key.name.clone(), days.map(|d| Duration::from_secs(u64::from(d) * 86_400)))
    };
    changed.iter().filter(|key| key.kind == rows::LOG_GROUP).map(age).collect()
}
