//! CloudWatch Logs (JSON 1.1, `logs/2014-03-28` in botocore): reading what functions logged, and groups, streams and events of
//! anybody's own. A function's role writes where its policies allow it, and reads nothing.

mod filter;
mod format;
mod groups;
mod live;
mod read;
mod write;

pub use format::format;
pub(super) use format::{set_region, time};
pub(super) use groups::ages;

use super::{
    access::{self, Question},
    fault::WireError,
    json,
    respond::{self, Reply},
    shared::Asked,
};
use http::StatusCode;
use model::log::{LogRecord, Stream};
use serde::Deserialize;
use serde_json::Value;

const TARGET: &str = "Logs_20140328.";

/// What is served: an operation that is not named here is not, whatever is written for it below.
pub(super) const OPERATIONS: &[&str] = &[
    "DescribeLogGroups",
    "DescribeLogStreams",
    "GetLogEvents",
    "FilterLogEvents",
    "StartLiveTail",
    "ListTagsForResource",
    "ListTagsLogGroup",
    "TagResource",
    "TagLogGroup",
    "UntagResource",
    "UntagLogGroup",
    "CreateLogGroup",
    "DeleteLogGroup",
    "PutRetentionPolicy",
    "DeleteRetentionPolicy",
    "CreateLogStream",
    "DeleteLogStream",
    "PutLogEvents",
];

pub async fn handle(asked: Asked) -> Result<Reply, WireError> {
    let target = asked.header("x-amz-target").unwrap_or_default().to_owned();
    let Some(operation) = target.strip_prefix(TARGET) else {
        return Err(unknown());
    };
    authorise(&asked, operation)?;
    if !OPERATIONS.contains(&operation) {
        return Err(if WireError::may_be_operation(operation) { WireError::unserved(operation) } else { unknown() });
    }
    match operation {
        "DescribeLogGroups" => read::groups(&asked),
        "DescribeLogStreams" => read::streams(&asked),
        "GetLogEvents" => read::events(&asked).await,
        "FilterLogEvents" => read::filtered(&asked).await,
        "StartLiveTail" => live::start(&asked),
        "ListTagsForResource" | "ListTagsLogGroup" => groups::list_tags(&asked),
        "TagResource" | "TagLogGroup" => groups::tag(&asked).await,
        "UntagResource" | "UntagLogGroup" => groups::untag(&asked).await,
        "CreateLogGroup" => groups::create(&asked).await,
        "DeleteLogGroup" => groups::delete(&asked).await,
        "PutRetentionPolicy" => groups::put_retention(&asked).await,
        "DeleteRetentionPolicy" => groups::delete_retention(&asked).await,
        "CreateLogStream" => write::create_stream(&asked).await,
        "DeleteLogStream" => write::delete_stream(&asked).await,
        "PutLogEvents" => write::put_events(&asked).await,
        other => Err(WireError::unserved(other)),
    }
}

const OF_ROLES: [&str; 3] = ["CreateLogGroup", "CreateLogStream", "PutLogEvents"];

type Answer = Result<Reply, WireError>;

/// Each log group that a request names is asked for; one that names none is about all.
fn authorise(asked: &Asked, operation: &str) -> Result<(), WireError> {
    if matches!(asked.principal, model::Principal::Root { .. }) {
        return Ok(());
    }
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Named {
        log_group_name: Option<String>,
        log_group_identifier: Option<String>,
        log_group_identifiers: Vec<String>,
        log_stream_name: Option<String>,
        resource_arn: Option<String>,
    }
    // What can't be read is refused by the operation, after this.
    let named: Named = serde_json::from_slice(&asked.body).unwrap_or_default();
    let action = format!("logs:{operation}");
    let stream = named.log_stream_name.as_deref().unwrap_or_default();
    let resource = |group: &str| {
        let group = group.rsplit_once(":log-group:").map_or(group, |(_, name)| name.trim_end_matches(":*"));
        format!("arn:aws:logs:{}:{}:log-group:{group}:log-stream:{stream}", asked.region(), asked.tenant)
    };
    let one = named.log_group_name.into_iter().chain(named.log_group_identifier).chain(named.resource_arn);
    let mut resources: Vec<String> = one.chain(named.log_group_identifiers).map(|group| resource(&group)).collect();
    if resources.is_empty() {
        resources.push(resource(""));
    }
    // What functions do here, as far as their roles allow: the rights that AWS's own basic execution role has.
    let of_roles = matches!(asked.principal, model::Principal::Role { .. }) && OF_ROLES.contains(&operation);
    let ask = if of_roles { access::decide } else { access::control };
    resources.iter().try_for_each(|resource| ask(asked, Question::new(&action, resource)))
}

/// A group's name as this API has them.
fn checked_group(name: Option<&str>) -> Result<&str, WireError> {
    let name = name.ok_or_else(|| invalid("logGroupName: must be given"))?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b".-_/#".contains(&b);
    if name.is_empty() || name.len() > 512 || !name.bytes().all(plain) {
        return Err(invalid(format!("logGroupName: {name:?} must have 1 to 512 of the characters a-z, A-Z, 0-9 and .-_/#")));
    }
    Ok(name)
}

fn unknown() -> WireError {
    WireError::new(400, "UnknownOperationException", "x-amz-target names no operation of CloudWatch Logs")
}

fn done(body: &Value) -> Result<Reply, WireError> {
    let mut reply = respond::json(StatusCode::OK, body);
    respond::put(&mut reply, "content-type", "application/x-amz-json-1.1");
    Ok(reply)
}

fn done_empty() -> Result<Reply, WireError> {
    let mut reply = respond::empty(StatusCode::OK);
    respond::put(&mut reply, "content-type", "application/x-amz-json-1.1");
    Ok(reply)
}

fn invalid(message: impl Into<String>) -> WireError {
    WireError::new(400, "InvalidParameterException", message)
}

fn no_group() -> WireError {
    WireError::new(400, "ResourceNotFoundException", "The specified log group does not exist.")
}

/// Members that most operations share.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Members {
    log_group_name: Option<String>,
    log_group_identifier: Option<String>,
    log_group_name_prefix: Option<String>,
    log_group_name_pattern: Option<String>,
    log_group_identifiers: Option<Vec<String>>,
    log_stream_name: Option<String>,
    log_stream_names: Option<Vec<String>>,
    log_stream_name_prefix: Option<String>,
    log_stream_name_prefixes: Option<Vec<String>>,
    filter_pattern: Option<String>,
    log_event_filter_pattern: Option<String>,
    order_by: Option<String>,
    descending: Option<bool>,
    start_time: Option<i64>,
    end_time: Option<i64>,
    start_from_head: Option<bool>,
    next_token: Option<String>,
    limit: Option<i64>,
}

impl Members {
    /// A group that an ARN says is another account's is none here, whatever own one has its name.
    fn read(asked: &Asked) -> Result<Self, WireError> {
        let members: Self = json::members(&asked.body)?;
        let named = members.log_group_identifier.iter().chain(members.log_group_identifiers.iter().flatten());
        match named.into_iter().all(|identifier| own(asked, identifier)) {
            true => Ok(members),
            false => Err(no_group()),
        }
    }

    fn limit(&self, most: usize) -> Result<usize, WireError> {
        let Some(limit) = self.limit else { return Ok(most) };
        match usize::try_from(limit) {
            Ok(n) if (1..=most).contains(&n) => Ok(n),
            _ => {
                let mut checks = super::check::Checks::default();
                checks.range(limit, "limit", 1, i64::try_from(most).unwrap_or(i64::MAX));
                Err(checks.into_result().err().map_or_else(|| invalid("limit"), |e| invalid(e.message)))
            }
        }
    }

    /// The group that a request names, by name or by ARN; it must exist.
    fn group(&self, asked: &Asked) -> Result<String, WireError> {
        let given = self.log_group_name.as_deref().or(self.log_group_identifier.as_deref().map(name_of));
        let name = given.ok_or_else(|| invalid("logGroupName: a log group must be named"))?;
        if groups::exists(asked, name) { Ok(name.to_owned()) } else { Err(no_group()) }
    }
}

/// Whether an identifier can be of the sender's account: a plain name always is.
fn own(asked: &Asked, identifier: &str) -> bool {
    let account = identifier.split_once(":log-group:").map(|(place, _)| place.rsplit(':').next().unwrap_or_default());
    account.is_none_or(|account| account == asked.tenant.as_str())
}

/// A group's name, from its ARN or itself.
fn name_of(identifier: &str) -> &str {
    let name = identifier.split_once(":log-group:").map_or(identifier, |(_, name)| name);
    name.strip_suffix(":*").unwrap_or(name)
}

fn group_arn(asked: &Asked, name: &str) -> String {
    format!("arn:aws:logs:{}:{}:log-group:{name}", asked.region(), asked.tenant)
}

/// A record as an event's message; nothing for one that the stream's format has no line for.
fn message(stream: &Stream, record: &LogRecord) -> Option<String> {
    let mut text = format(stream, record)?;
    text.push('\n');
    Some(text)
}
