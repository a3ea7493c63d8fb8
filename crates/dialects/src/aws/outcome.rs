//! The record that a destination gets of an asynchronous invocation's end (Lambda developer guide, "Capturing records of Lambda
//! asynchronous invocations").

use super::{fault, names};
use bytes::Bytes;
use model::queue::{Finished, Settled, Why};
use serde_json::{Value, json};
use std::time::Duration;

pub fn record(finished: &Finished<'_>, now_ms: u64) -> Bytes {
    let Finished { function, unit, queued, settled, fault, reported, answer } = finished;
    let condition = match settled {
        Settled::Dead { why: Why::Expired, .. } | Settled::Failed { why: Why::Expired, .. } => "EventAgeExceeded",
        Settled::Dead { .. } | Settled::Failed { .. } => "RetriesExhausted",
        _ => "Success",
    };
    let counted = u32::from(unit.is_some());
    let qualifier = queued.event.qualifier.as_deref().unwrap_or(names::LATEST);
    let id = queued.id.to_string();
    let mut record = json!({
        "version": "1.0",
        "timestamp": jiff::Timestamp::from_millisecond(i64::try_from(now_ms).unwrap_or(0)).unwrap_or_default().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
        "requestContext": {
            "requestId": id,
            "functionArn": format!("{}:{qualifier}", function.resource_name),
            "condition": condition,
            "approximateInvokeCount": queued.attempts + counted,
        },
        "requestPayload": document(&queued.event.body),
    });
    if let Some(unit) = unit {
        let mut context = json!({ "statusCode": 200, "executedVersion": &*unit.version });
        if *reported || fault.is_some() {
            context["functionError"] = "Unhandled".into();
        }
        record["responseContext"] = context;
        let timeout: Duration = unit.settings.timeout;
        let said = fault.and_then(|fault| fault::function_error(fault, &id, timeout));
        record["responsePayload"] = document(said.as_deref().unwrap_or(answer));
    }
    Bytes::from(record.to_string())
}

/// A payload was checked to be JSON when it was accepted; an answer may be anything.
fn document(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(bytes).into_owned()))
}
