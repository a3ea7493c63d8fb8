//! What an event source mapping may say: the members with the constraints of the service's model, and which of them a kind of
//! source has (Lambda API reference, "CreateEventSourceMapping").

use crate::aws::{check::Checks, fault::WireError, limits};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// The members that describe a source, as they are kept.
#[derive(Deserialize, Serialize, Default)]
#[serde(rename_all = "PascalCase")]
#[serde(default)]
pub struct Members {
    event_source_arn: Option<String>,
    starting_position: Option<String>,
    starting_position_timestamp: Option<f64>,
    batch_size: Option<i64>,
    maximum_batching_window_in_seconds: Option<i64>,
    parallelization_factor: Option<i64>,
    maximum_record_age_in_seconds: Option<i64>,
    maximum_retry_attempts: Option<i64>,
    tumbling_window_in_seconds: Option<i64>,
    bisect_batch_on_function_error: Option<bool>,
    filter_criteria: Option<Filters>,
    function_response_types: Option<Vec<String>>,
    topics: Option<Vec<String>>,
    queues: Option<Vec<String>>,
    destination_config: Option<Map<String, Value>>,
    source_access_configurations: Option<Vec<Map<String, Value>>>,
    self_managed_event_source: Option<SelfManaged>,
    amazon_managed_kafka_event_source_config: Option<Map<String, Value>>,
    self_managed_kafka_event_source_config: Option<Map<String, Value>>,
    scaling_config: Option<Scaling>,
    #[serde(rename = "DocumentDBEventSourceConfig")]
    document_db_event_source_config: Option<Map<String, Value>>,
    #[serde(rename = "KMSKeyArn")]
    kms_key_arn: Option<String>,
    metrics_config: Option<Map<String, Value>>,
    logging_config: Option<Map<String, Value>>,
    provisioned_poller_config: Option<Map<String, Value>>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Filters {
    #[serde(skip_serializing_if = "Option::is_none")]
    filters: Option<Vec<Filter>>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Filter {
    #[serde(skip_serializing_if = "Option::is_none")]
    pattern: Option<String>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct SelfManaged {
    #[serde(default)]
    endpoints: Map<String, Value>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Scaling {
    #[serde(skip_serializing_if = "Option::is_none")]
    maximum_concurrency: Option<i64>,
}

impl Members {
    /// All that was said.
    pub fn kept(&self) -> Map<String, Value> {
        let Ok(Value::Object(mut all)) = serde_json::to_value(self) else { return Map::new() };
        all.retain(|_, v| !v.is_null());
        all
    }
    /// What an update may change: the source itself and where its reading began stay.
    pub fn changeable(&self) -> Map<String, Value> {
        const FIXED: [&str; 6] =
            ["EventSourceArn", "StartingPosition", "StartingPositionTimestamp", "Topics", "Queues", "SelfManagedEventSource"];
        let mut all = self.kept();
        all.retain(|name, _| !FIXED.contains(&name.as_str()));
        all
    }
}

/// The model's constraints, all violations in one message. `function` is the name that a creation must have.
pub fn constraints(m: &Members, function: Option<Option<&str>>) -> Result<Option<String>, WireError> {
    let mut checks = Checks::default();
    if let Some(None) = function {
        checks.missing("functionName");
    }
    if let Some(arn) = m.event_source_arn.as_deref().filter(|a| !source_arn(a)) {
        checks.pattern(arn, "eventSourceArn", ARN_PATTERN);
    }
    if let Some(position) = &m.starting_position {
        checks.one_of(position, "startingPosition", &["LATEST", "AT_TIMESTAMP", "TRIM_HORIZON"]);
    }
    for (value, at, least, most) in [
        (m.batch_size, "batchSize", 1, 10_000),
        (m.maximum_batching_window_in_seconds, "maximumBatchingWindowInSeconds", 0, 300),
        (m.parallelization_factor, "parallelizationFactor", 1, 10),
        (m.maximum_record_age_in_seconds, "maximumRecordAgeInSeconds", -1, 604_800),
        (m.maximum_retry_attempts, "maximumRetryAttempts", -1, 10_000),
        (m.tumbling_window_in_seconds, "tumblingWindowInSeconds", 0, 900),
        (m.scaling_config.as_ref().and_then(|s| s.maximum_concurrency), "scalingConfig.maximumConcurrency", 2, 1000),
    ] {
        if let Some(value) = value {
            checks.range(value, at, least, most);
        }
    }
    for kind in m.function_response_types.iter().flatten() {
        checks.one_of(kind, "functionResponseTypes", &["ReportBatchItemFailures"]);
    }
    for (list, at, longest) in [(&m.topics, "topics", 249), (&m.queues, "queues", 1000)] {
        let Some(list) = list else { continue };
        if list.len() != 1 {
            let bound = if list.is_empty() { "greater than or equal to 1" } else { "less than or equal to 1" };
            checks.fail(format_args!("[{}]", list.join(", ")), at, format_args!("Member must have length {bound}"));
        }
        list.iter().for_each(|name| checks.length(name, at, 1, longest));
    }
    for filter in m.filter_criteria.iter().flat_map(|f| &f.filters).flatten() {
        checks.length(filter.pattern.as_deref().unwrap_or_default(), "filterCriteria.filters.pattern", 0, 4096);
    }
    checks.into_result()?;
    Ok(function.flatten().map(str::to_owned))
}

const ARN_PATTERN: &str = r"arn:(aws[a-zA-Z0-9-]*):([a-zA-Z0-9\-])+:([a-z]{2}(-gov)?-[a-z]+-\d{1})?:(\d{12})?:(.*)";

fn source_arn(arn: &str) -> bool {
    let fields: Vec<&str> = arn.splitn(6, ':').collect();
    let ["arn", partition, service, region, account, _] = fields[..] else { return false };
    let plain = |t: &str| t.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    partition.starts_with("aws")
        && [partition, service, region].into_iter().all(plain)
        && !service.is_empty()
        && (account.is_empty() || crate::aws::names::account_id(account))
}

/// A kind of source, and what may be said of one.
pub struct Kind {
    name: &'static str,
    members: &'static [&'static str],
    batch: i64,
    batch_max: i64,
}

/// Every kind has these.
const COMMON: &[&str] =
    &["EventSourceArn", "BatchSize", "MaximumBatchingWindowInSeconds", "FilterCriteria", "KMSKeyArn", "MetricsConfig"];
const QUEUE: &[&str] = &["FunctionResponseTypes", "ScalingConfig", "ProvisionedPollerConfig"];
const STREAM: &[&str] = &[
    "StartingPosition",
    "StartingPositionTimestamp",
    "ParallelizationFactor",
    "MaximumRecordAgeInSeconds",
    "MaximumRetryAttempts",
    "TumblingWindowInSeconds",
    "BisectBatchOnFunctionError",
    "FunctionResponseTypes",
    "DestinationConfig",
];
const KAFKA: &[&str] = &[
    "StartingPosition",
    "StartingPositionTimestamp",
    "MaximumRecordAgeInSeconds",
    "MaximumRetryAttempts",
    "BisectBatchOnFunctionError",
    "FunctionResponseTypes",
    "DestinationConfig",
    "Topics",
    "SourceAccessConfigurations",
    "SelfManagedEventSource",
    "AmazonManagedKafkaEventSourceConfig",
    "SelfManagedKafkaEventSourceConfig",
    "LoggingConfig",
    "ProvisionedPollerConfig",
];
const BROKER: &[&str] = &["Queues", "SourceAccessConfigurations"];
const DOCUMENTS: &[&str] =
    &["StartingPosition", "StartingPositionTimestamp", "SourceAccessConfigurations", "DocumentDBEventSourceConfig"];

const SQS: Kind = Kind { name: "SQS", members: QUEUE, batch: 10, batch_max: 10_000 };
const FIFO: Kind = Kind { batch_max: 10, ..SQS };
const KINESIS: Kind = Kind { name: "Kinesis", members: STREAM, batch: 100, batch_max: 10_000 };
const DYNAMODB: Kind = Kind { name: "DynamoDB", ..KINESIS };
const MSK: Kind = Kind { name: "Kafka", members: KAFKA, ..KINESIS };
const MQ: Kind = Kind { name: "MQ", members: BROKER, ..KINESIS };
const DOCDB: Kind = Kind { name: "DocumentDB", members: DOCUMENTS, ..KINESIS };

/// By the ARN's service; a source without one is a Kafka of one's own.
pub fn kind(m: &Members) -> Result<&'static Kind, WireError> {
    let unknown = || WireError::invalid("Unrecognized event source.");
    let Some(arn) = &m.event_source_arn else {
        let own = m.self_managed_event_source.as_ref().filter(|s| !s.endpoints.is_empty());
        return own.map(|_| &MSK).ok_or_else(unknown);
    };
    match arn.split(':').nth(2) {
        Some("sqs") if arn.ends_with(".fifo") => Ok(&FIFO),
        Some("sqs") => Ok(&SQS),
        Some("kinesis") => Ok(&KINESIS),
        Some("dynamodb") if arn.contains("/stream/") => Ok(&DYNAMODB),
        Some("kafka") => Ok(&MSK),
        Some("mq") => Ok(&MQ),
        Some("rds") => Ok(&DOCDB),
        _ => Err(unknown()),
    }
}

impl Kind {
    pub fn is_queue(&self) -> bool {
        self.name == SQS.name
    }

    /// What the members say together.
    pub fn check(&self, m: &Members) -> Result<(), WireError> {
        let kept = m.kept();
        if let Some(other) = kept.keys().find(|n| !COMMON.contains(&n.as_str()) && !self.members.contains(&n.as_str())) {
            return Err(WireError::invalid(format!("{other} is not valid for {} event sources.", self.name)));
        }
        self.position(m)?;
        let (batch, window) = (m.batch_size.unwrap_or(self.batch), m.maximum_batching_window_in_seconds.unwrap_or(0));
        if batch > self.batch_max {
            return Err(WireError::invalid(format!("Batch size must not be greater than {} for FIFO queues", self.batch_max)));
        }
        if self.batch_max == FIFO.batch_max && window > 0 {
            return Err(WireError::invalid("Batching window is not supported for FIFO queues"));
        }
        if self.is_queue() && batch > 10 && window == 0 {
            return Err(WireError::invalid(
                "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10",
            ));
        }
        if m.maximum_record_age_in_seconds.is_some_and(|age| (0..60).contains(&age)) {
            return Err(WireError::invalid("MaximumRecordAgeInSeconds must be -1 or at least 60"));
        }
        if self.name == MSK.name && m.topics.is_none() {
            return Err(WireError::invalid("Topics is required for Kafka event sources."));
        }
        if self.name == MQ.name && m.queues.is_none() {
            return Err(WireError::invalid("Queues is required for MQ event sources."));
        }
        filters(m)
    }

    fn position(&self, m: &Members) -> Result<(), WireError> {
        let arn = m.event_source_arn.as_deref().unwrap_or_default();
        match (self.name, m.starting_position.as_deref()) {
            ("Kinesis" | "DynamoDB", None) => Err(WireError::invalid(
                "1 validation error detected: Value null at 'startingPosition' failed to satisfy constraint: Member must not be null.",
            )),
            ("DynamoDB", Some("AT_TIMESTAMP")) => {
                Err(WireError::invalid(format!("Unsupported starting position for arn type: {arn}")))
            }
            (_, Some("AT_TIMESTAMP")) if m.starting_position_timestamp.is_none() => {
                Err(WireError::invalid("StartingPosition AT_TIMESTAMP needs a StartingPositionTimestamp"))
            }
            (_, position) if position != Some("AT_TIMESTAMP") && m.starting_position_timestamp.is_some() => {
                Err(WireError::invalid("Timestamp only valid with StartingPosition AT_TIMESTAMP"))
            }
            _ => Ok(()),
        }
    }

    /// What the service shows of members that were not said.
    pub fn defaults(&self) -> Map<String, Value> {
        let mut out = Map::new();
        let mut put = |name: &str, value: Value| drop(out.insert(name.into(), value));
        put("BatchSize", self.batch.into());
        put("MaximumBatchingWindowInSeconds", 0.into());
        for (name, value) in [
            ("ParallelizationFactor", json!(1)),
            ("MaximumRecordAgeInSeconds", json!(-1)),
            ("MaximumRetryAttempts", json!(-1)),
            ("TumblingWindowInSeconds", json!(0)),
            ("BisectBatchOnFunctionError", json!(false)),
            ("DestinationConfig", json!({ "OnFailure": {} })),
            ("FunctionResponseTypes", json!([])),
        ] {
            if self.members.contains(&name) {
                put(name, value);
            }
        }
        if !self.is_queue() {
            put("LastProcessingResult", "No records processed".into());
        }
        out
    }
}

fn filters(m: &Members) -> Result<(), WireError> {
    let filters: Vec<&Filter> = m.filter_criteria.iter().flat_map(|f| &f.filters).flatten().collect();
    if filters.len() > limits::FILTERS_MAX {
        return Err(WireError::invalid(format!("a mapping has at most {} filters", limits::FILTERS_MAX)));
    }
    let good = |f: &&Filter| {
        let read = f.pattern.as_deref().map(|text| crate::aws::json::value(text.as_bytes()));
        matches!(read, Some(Ok(Value::Object(pattern))) if fields(&pattern))
    };
    if filters.iter().all(good) { Ok(()) } else { Err(WireError::invalid("Invalid filter pattern definition.")) }
}

/// Every field of a pattern is another pattern, or the list of what its value may be.
fn fields(pattern: &Map<String, Value>) -> bool {
    pattern.iter().all(|(name, value)| match value {
        Value::Object(inner) => fields(inner),
        Value::Array(ways) if name == "$or" => ways.len() > 1 && ways.iter().all(|w| w.as_object().is_some_and(fields)),
        Value::Array(rules) => !rules.is_empty() && rules.iter().all(rule),
        _ => false,
    })
}

fn rule(rule: &Value) -> bool {
    const RULES: [&str; 7] = ["prefix", "suffix", "equals-ignore-case", "anything-but", "numeric", "exists", "wildcard"];
    match rule {
        Value::Object(one) => one.len() == 1 && one.keys().all(|name| RULES.contains(&name.as_str())),
        Value::Array(_) => false,
        _ => true,
    }
}
