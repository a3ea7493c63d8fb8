//! Asynchronous invocation: accepting events, and the configuration of how they are tried.

use super::{Answer, Op, invoke, no_content};
use crate::aws::{
    check::Checks,
    fault::WireError,
    limits,
    names::{self, Group, LATEST, Named},
    respond,
    rows::{self, AliasRow, EventConfig},
};
use http::StatusCode;
use model::{Cause, queue::Accept};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// Events with the same value run one after the other. Ours.
const ORDER_KEY: &str = "x-myna-order-key";
/// Seconds until the first attempt. Ours.
const DELAY: &str = "x-myna-delay-seconds";
const ORDER_KEY_BYTES_MAX: usize = 128;
const DELAY_S_MAX: u64 = 15 * 60;

/// `Invoke` with `InvocationType: Event`: 202 once the event is on stable storage, under the id that the function will see.
pub async fn accept(op: &Op, named: &Named) -> Answer {
    let asked = &op.asked;
    let target = invoke::target(asked, named);
    if asked.body.len() > limits::EVENT_BYTES_MAX {
        let text = format!(
            "{} byte payload is too large for the Event invocation type (limit {} bytes)",
            asked.body.len(),
            limits::EVENT_BYTES_MAX
        );
        return Err(WireError::too_large(text));
    }
    let event = invoke::event(asked, &target, false)?;
    let body = event.body.bytes().cloned().unwrap_or_default();
    let attributes = event.attributes.all().map(|(name, value)| (Arc::from(name), value.clone())).collect();
    let (key, delay) = (order_key(op)?, delay(op)?);
    invoke::ready(&asked.shared, &target).await?;
    let accept = Accept { key, delay, age: None, content_type: None, attributes, body };
    let (tenant, qualifier) = (target.tenant.clone(), target.qualifier.clone());
    let id =
        asked.platform().enqueue(target, accept).await.map_err(|fault| {
            invoke::refused(&asked.shared, &asked.principal, &tenant, (&named.name, qualifier.as_deref()), fault)
        })?;
    let mut reply = respond::empty(StatusCode::ACCEPTED);
    respond::put(&mut reply, "x-amzn-requestid", &id.to_string());
    Ok(reply)
}

fn order_key(op: &Op) -> Result<Option<Arc<str>>, WireError> {
    match op.asked.header(ORDER_KEY) {
        Some(key) if key.is_empty() || key.len() > ORDER_KEY_BYTES_MAX => {
            Err(WireError::invalid(format!("{ORDER_KEY} must have 1 to {ORDER_KEY_BYTES_MAX} characters")))
        }
        key => Ok(key.map(Arc::from)),
    }
}

fn delay(op: &Op) -> Result<Duration, WireError> {
    let Some(text) = op.asked.header(DELAY) else { return Ok(Duration::ZERO) };
    let seconds = text.parse::<u64>().ok().filter(|s| *s <= DELAY_S_MAX);
    seconds
        .map(Duration::from_secs)
        .ok_or_else(|| WireError::invalid(format!("{DELAY} must be a number from 0 to {DELAY_S_MAX}")))
}

/// The old form of the same.
pub async fn invoke_async(op: Op) -> Answer {
    let named = op.called()?;
    accept(&op, &named).await
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct Members {
    maximum_retry_attempts: Option<i64>,
    maximum_event_age_in_seconds: Option<i64>,
    destination_config: Option<Destinations>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct Destinations {
    on_success: Option<To>,
    on_failure: Option<To>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct To {
    destination: Option<String>,
}

impl Destinations {
    fn arn(to: &Option<To>) -> Option<&str> {
        to.as_ref().and_then(|t| t.destination.as_deref()).filter(|d| !d.is_empty())
    }
}

pub async fn put(op: Op) -> Answer {
    change(op, false).await
}

pub async fn update(op: Op) -> Answer {
    change(op, true).await
}

/// What is not said is left as it was, or becomes the default.
async fn change(op: Op, keep: bool) -> Answer {
    let asked: Members = op.members()?;
    checked(&asked)?;
    let (name, qualifier) = which(&op)?;
    let shared = op.asked.shared.clone();
    let _one = shared.writing.lock().await;
    let (mut row, expect) = op.load(&name).map_err(|_| no_function())?;
    exists(&op, &name, &qualifier)?;
    let mut config = match row.events.get(&qualifier) {
        Some(before) if keep => before.clone(),
        None if keep => return Err(absent(&op, &name, &qualifier)),
        _ => EventConfig::default(),
    };
    if let Some(retries) = asked.maximum_retry_attempts {
        config.retries = u32::try_from(retries).ok();
    }
    if let Some(age) = asked.maximum_event_age_in_seconds {
        config.age_s = u32::try_from(age).ok();
    }
    if let Some(to) = &asked.destination_config {
        if to.on_success.is_some() {
            config.on_success = Destinations::arn(&to.on_success).map(|arn| destination(&op, &name, arn)).transpose()?;
        }
        if to.on_failure.is_some() {
            config.on_failure = Destinations::arn(&to.on_failure).map(|arn| destination(&op, &name, arn)).transpose()?;
        }
    }
    config.modified_ms = shared.now_ms();
    let shown = shown(&op, &name, &qualifier, &config);
    row.events.insert(qualifier, config);
    op.save(&name, &row, expect).await?;
    op.done(&shown)
}

fn checked(asked: &Members) -> Result<(), WireError> {
    let mut checks = Checks::default();
    if let Some(n) = asked.maximum_retry_attempts {
        checks.range(n, "maximumRetryAttempts", 0, 2);
    }
    if let Some(n) = asked.maximum_event_age_in_seconds {
        checks.range(n, "maximumEventAgeInSeconds", 60, 21_600);
    }
    checks.into_result()?;
    if asked.maximum_retry_attempts.is_none()
        && asked.maximum_event_age_in_seconds.is_none()
        && asked.destination_config.is_none()
    {
        return Err(WireError::invalid("You must specify at least one of error handling or destination setting."));
    }
    Ok(())
}

/// A destination as it is kept: the ARN that was given. Functions only, for now.
fn destination(op: &Op, own: &str, arn: &str) -> Result<String, WireError> {
    let invalid = || WireError::invalid(format!("The destination ARN {arn} is invalid."));
    let fields: Vec<&str> = arn.split(':').collect();
    match fields[..] {
        ["arn", _, "lambda", region, account, "function", name, ..]
            if region == op.asked.region() && account == op.asked.tenant.as_str() =>
        {
            if name == own {
                return Err(WireError::invalid("You can't specify the function as a destination for itself."));
            }
            op.load(name).map_err(|_| invalid())?;
            exists(op, name, fields.get(7).copied().unwrap_or(LATEST)).map_err(|_| invalid())?;
            Ok(arn.to_owned())
        }
        ["arn", _, service @ ("sqs" | "sns" | "events" | "s3"), ..] => Err(WireError::invalid(format!(
            "Destinations of the service {service} are not served by this endpoint yet; a function can be one"
        ))),
        _ => Err(invalid()),
    }
}

/// The name and the qualifier of a kept destination.
pub fn parts(arn: &str) -> Option<(&str, Option<&str>)> {
    let mut fields = arn.split(':').skip(6);
    Some((fields.next()?, fields.next().filter(|q| *q != LATEST)))
}

fn which(op: &Op) -> Result<(Arc<str>, String), WireError> {
    let named = op.named(Group::Writer)?;
    Ok((named.name, named.qualifier.as_deref().unwrap_or(LATEST).to_owned()))
}

fn no_function() -> WireError {
    WireError::not_found("The function doesn't exist.")
}

fn exists(op: &Op, name: &str, qualifier: &str) -> Result<(), WireError> {
    let shared = &op.asked.shared;
    let there = match qualifier {
        LATEST => true,
        number if names::all_digits(number) => {
            let number = number.parse().map_err(|_| no_function())?;
            shared.raw(&op.asked.tenant, rows::VERSION, &rows::version_name(name, number)).is_some()
        }
        alias => shared.row::<AliasRow>(&op.asked.tenant, rows::ALIAS, &format!("{name}/{alias}"))?.is_some(),
    };
    if there { Ok(()) } else { Err(no_function()) }
}

fn absent(op: &Op, name: &str, qualifier: &str) -> WireError {
    WireError::not_found(format!("The function {} doesn't have an EventInvokeConfig", op.arn(name, Some(qualifier))))
}

pub fn get(op: &Op) -> Answer {
    let (name, qualifier) = which(op)?;
    let (row, _) = op.load(&name).map_err(|_| no_function())?;
    let config = row.events.get(&qualifier).ok_or_else(|| absent(op, &name, &qualifier))?;
    op.done(&shown(op, &name, &qualifier, config))
}

pub fn list(op: &Op) -> Answer {
    let name = op.unqualified()?.name;
    let (row, _) = op.load(&name).map_err(|_| no_function())?;
    let (size, after) = (op.page_size(50, 50)?, op.marker()?);
    let configs = row.events.iter().map(|(qualifier, config)| (qualifier.clone(), shown(op, &name, qualifier, config)));
    op.listed("FunctionEventInvokeConfigs", configs, &after, size)
}

pub async fn delete(op: Op) -> Answer {
    let (name, qualifier) = which(&op)?;
    let shared = op.asked.shared.clone();
    let _one = shared.writing.lock().await;
    let (mut row, expect) = op.load(&name).map_err(|_| no_function())?;
    if row.events.remove(&qualifier).is_none() {
        return Err(absent(&op, &name, &qualifier));
    }
    op.save(&name, &row, expect).await?;
    Ok(no_content())
}

fn shown(op: &Op, name: &str, qualifier: &str, config: &EventConfig) -> Value {
    let to = |arn: &Option<String>| arn.as_ref().map_or_else(|| json!({}), |arn| json!({ "Destination": arn }));
    let mut out = json!({
        "FunctionArn": op.arn(name, Some(qualifier)),
        "LastModified": config.modified_ms as f64 / 1000.0,
        "DestinationConfig": { "OnSuccess": to(&config.on_success), "OnFailure": to(&config.on_failure) },
    });
    if let Some(n) = config.retries {
        out["MaximumRetryAttempts"] = n.into();
    }
    if let Some(n) = config.age_s {
        out["MaximumEventAgeInSeconds"] = n.into();
    }
    out
}

/// What the engine must know of them.
pub fn rules(configs: &BTreeMap<String, EventConfig>, retry_base: Duration) -> BTreeMap<Arc<str>, model::catalog::EventRule> {
    use model::catalog::{Destination, EventRule};
    let to = |arn: &Option<String>| {
        let (name, qualifier) = parts(arn.as_deref()?)?;
        Some(Destination { function: name.into(), qualifier: qualifier.map(Arc::from) })
    };
    let rule = |config: &EventConfig| EventRule {
        attempts_max: config.retries.map_or(EventRule::DEFAULT.attempts_max, |n| n + 1),
        age_max: config.age_s.map_or(EventRule::DEFAULT.age_max, |s| Duration::from_secs(s.into())),
        retry_base,
        on_success: to(&config.on_success),
        on_failure: to(&config.on_failure),
    };
    let mut rules: BTreeMap<Arc<str>, EventRule> = BTreeMap::new();
    let plain = EventRule { retry_base, ..EventRule::DEFAULT };
    rules.insert("".into(), configs.get(LATEST).map_or(plain, rule));
    for (qualifier, config) in configs {
        rules.insert(qualifier.as_str().into(), rule(config));
    }
    rules
}

/// What waits for a function that is deleted becomes dead letters, so that a later one of that name inherits nothing.
pub async fn dead_with(op: &Op, name: &str) -> Result<(), WireError> {
    let lane = model::queue::Lane { tenant: op.asked.tenant.clone(), function: name.into() };
    let events = op.asked.platform().events();
    // Without events there is nothing to write down, which a full disk would refuse.
    if events.lane(&lane).is_none() {
        return Ok(());
    }
    match events.control(&lane, model::queue::Control::Deleted).await {
        Err(fault) if fault.cause != Cause::Draining => Err(fault.into()),
        _ => Ok(()),
    }
}
