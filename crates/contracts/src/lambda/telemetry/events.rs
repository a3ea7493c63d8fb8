//! One event, written once for all who get it.

use bytes::Bytes;
use model::{InvocationId, event::Usage};
use serde::Deserialize;
use serde_json::{Value, json};

/// What a subscriber may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Platform,
    Function,
    Extension,
}

pub use Kind as Of;

#[derive(Clone, Debug)]
pub struct Event {
    pub of: Of,
    pub kind: &'static str,
    /// `{"time": …, "type": …, "record": …}`
    pub text: Bytes,
}

impl Event {
    pub fn new(at_ms: u64, of: Of, kind: &'static str, record: Value) -> Event {
        let text = json!({ "time": time(at_ms), "type": kind, "record": record }).to_string();
        Event { of, kind, text: text.into() }
    }

    /// The older API knows other names of some things, and nothing of others.
    pub fn shown(&self, logs_api: bool) -> bool {
        match self.kind {
            "platform.end" | "platform.logsSubscription" => logs_api,
            "platform.telemetrySubscription" => !logs_api,
            other => !logs_api || !other.starts_with("platform.init"),
        }
    }
}

pub fn report(id: InvocationId, usage: &Usage, status: &str, error: Option<String>) -> Value {
    let mut record = json!({
        "requestId": id.to_string(),
        "status": status,
        "metrics": {
            "durationMs": ms(usage.duration),
            "billedDurationMs": usage.billed_ms(),
            "memorySizeMB": usage.memory_mib,
            "maxMemoryUsedMB": usage.memory_max_bytes.div_ceil(1 << 20),
        },
    });
    if let Some(init) = usage.init {
        record["metrics"]["initDurationMs"] = ms(init).into();
    }
    if let Some(kind) = error {
        record["errorType"] = kind.into();
    }
    record
}

/// Milliseconds, to the microsecond.
pub fn ms(duration: std::time::Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1000.0
}

/// `2026-01-02T03:04:05.678Z`
fn time(at_ms: u64) -> String {
    let at = jiff::Timestamp::from_millisecond(i64::try_from(at_ms).unwrap_or(0)).unwrap_or_default();
    at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}
