//! The Lambda API as the verbs use it: its own documents, by its own paths (AWS Lambda API Reference), as any SDK would send.

use super::http::{Api, request, segment};
use crate::cli::problem::{Exit, Problem};
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

const FUNCTIONS: &str = "/2015-03-31/functions";

/// What the verbs read of a FunctionConfiguration.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Config {
    pub function_name: String,
    pub function_arn: String,
    pub runtime: String,
    pub handler: String,
    pub role: String,
    pub description: String,
    pub memory_size: u32,
    pub timeout: u32,
    pub code_size: u64,
    /// Base64 of the SHA-256.
    pub code_sha256: String,
    pub version: String,
    pub last_modified: String,
    pub state: String,
    pub state_reason: String,
    pub last_update_status: String,
    pub last_update_status_reason: String,
    pub environment: Variables,
    pub layers: Vec<Value>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Variables {
    pub variables: BTreeMap<String, String>,
}

impl Config {
    pub fn of(value: &Value) -> Config {
        Config::deserialize(value).unwrap_or_default()
    }
    /// The first twelve hex digits of the code's SHA-256.
    pub fn code_hash(&self) -> String {
        use base64::Engine;
        let bytes = base64::engine::general_purpose::STANDARD.decode(&self.code_sha256).unwrap_or_default();
        bytes.iter().take(6).map(|b| format!("{b:02x}")).collect()
    }
    /// One word for a list: the state, or that an update is under way or failed.
    pub fn condition(&self) -> &str {
        match self.last_update_status.as_str() {
            "InProgress" => "Updating",
            "Failed" => "Failed",
            _ if self.state.is_empty() => "Active",
            _ => &self.state,
        }
    }
}

pub fn function_path(name: &str) -> String {
    format!("{FUNCTIONS}/{}", segment(name))
}

pub async fn configuration(api: &Api, name: &str) -> Result<Value, Problem> {
    api.get(&format!("{}/configuration", function_path(name))).await.map_err(|p| absent(p, name))
}

/// Nothing when there is no such function.
pub async fn find(api: &Api, name: &str) -> Result<Option<Config>, Problem> {
    match configuration(api, name).await {
        Ok(value) => Ok(Some(Config::of(&value))),
        Err(problem) if problem.exit == Exit::NotFound => Ok(None),
        Err(problem) => Err(problem),
    }
}

/// Every page of a list.
pub async fn list(api: &Api, path: &str, member: &str) -> Result<Vec<Value>, Problem> {
    let mut all = Vec::new();
    let mut marker = String::new();
    loop {
        let join = if path.contains('?') { '&' } else { '?' };
        let page = api
            .get(&if marker.is_empty() { path.to_string() } else { format!("{path}{join}Marker={}", segment(&marker)) })
            .await?;
        all.extend(page[member].as_array().cloned().unwrap_or_default());
        match page["NextMarker"].as_str() {
            Some(next) if !next.is_empty() && next != marker => next.clone_into(&mut marker),
            _ => return Ok(all),
        }
    }
}

pub async fn functions(api: &Api) -> Result<Vec<Value>, Problem> {
    list(api, FUNCTIONS, "Functions").await
}

pub async fn create(api: &Api, body: &Value) -> Result<Value, Problem> {
    api.json(Method::POST, FUNCTIONS, Some(body)).await
}

pub async fn update_code(api: &Api, name: &str, zip_base64: &str) -> Result<Value, Problem> {
    patient(api, Method::PUT, &format!("{}/code", function_path(name)), &json!({ "ZipFile": zip_base64 })).await
}

pub async fn update_configuration(api: &Api, name: &str, settings: &Value) -> Result<Value, Problem> {
    patient(api, Method::PUT, &format!("{}/configuration", function_path(name)), settings).await
}

/// An update that somebody else's update is in the way of is tried again, as the SDKs' waiters would.
async fn patient(api: &Api, method: Method, path: &str, body: &Value) -> Result<Value, Problem> {
    const PATIENCE: Duration = Duration::from_secs(15);
    let began = Instant::now();
    loop {
        match api.json(method.clone(), path, Some(body)).await {
            Err(problem) if problem.is("ResourceConflictException") && began.elapsed() < PATIENCE => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            other => return other,
        }
    }
}

/// Wait until the function can be called with what was sent; `say` hears what it waits for.
pub async fn settled(api: &Api, name: &str, mut say: impl FnMut(&str)) -> Result<Config, Problem> {
    const PATIENCE: Duration = Duration::from_secs(300);
    let began = Instant::now();
    let mut pause = Duration::from_millis(4);
    loop {
        let now = Config::of(&configuration(api, name).await?);
        if now.state == "Failed" {
            return Err(Problem::failed(format!("{name} can't be made ready: {}", now.state_reason)).hint("myna doctor"));
        }
        if now.last_update_status == "Failed" {
            return Err(
                Problem::failed(format!("the update of {name} failed: {}", now.last_update_status_reason)).hint("myna doctor")
            );
        }
        if now.state != "Pending" && now.last_update_status != "InProgress" {
            return Ok(now);
        }
        if began.elapsed() > PATIENCE {
            return Err(Problem::failed(format!("{name} is not ready after {} s: {}", PATIENCE.as_secs(), now.state_reason))
                .hint("myna status"));
        }
        say(if now.state == "Pending" { "being made ready" } else { "being updated" });
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(250));
    }
}

/// What one synchronous call brought.
pub struct Invoked {
    pub status: u16,
    pub payload: bytes::Bytes,
    pub function_error: Option<String>,
    pub executed_version: Option<String>,
    pub request_id: Option<String>,
    /// The end of the log, when it was asked for.
    pub log: Option<Vec<u8>>,
    pub took: Duration,
}

pub async fn invoke(
    api: &Api,
    name: &str,
    qualifier: Option<&str>,
    payload: bytes::Bytes,
    tail: bool,
) -> Result<Invoked, Problem> {
    use base64::Engine;
    let query = qualifier.map(|q| format!("?Qualifier={}", segment(q))).unwrap_or_default();
    let mut ask = request(Method::POST, &format!("{}/invocations{query}", function_path(name)), None).map(|_| payload);
    ask.headers_mut().insert("x-amz-invocation-type", http::HeaderValue::from_static("RequestResponse"));
    ask.headers_mut().insert("x-amz-log-type", http::HeaderValue::from_static(if tail { "Tail" } else { "None" }));
    ask.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    let began = Instant::now();
    let answer = api.send(ask).await.map_err(|p| absent_version(p, name, qualifier))?;
    let took = began.elapsed();
    let header = |name: &str| answer.header(name).map(str::to_string);
    Ok(Invoked {
        status: answer.status.as_u16(),
        function_error: header("x-amz-function-error"),
        executed_version: header("x-amz-executed-version"),
        request_id: header("x-amzn-requestid"),
        log: header("x-amz-log-result").and_then(|l| base64::engine::general_purpose::STANDARD.decode(l).ok()),
        payload: answer.body,
        took,
    })
}

/// How an event is to be run later.
pub struct Later<'a> {
    pub key: Option<&'a str>,
    /// Seconds.
    pub delay: Option<u32>,
}

/// The id under which it was accepted.
pub async fn invoke_later(
    api: &Api,
    name: &str,
    qualifier: Option<&str>,
    payload: bytes::Bytes,
    how: &Later<'_>,
) -> Result<String, Problem> {
    let query = qualifier.map(|q| format!("?Qualifier={}", segment(q))).unwrap_or_default();
    let mut ask = request(Method::POST, &format!("{}/invocations{query}", function_path(name)), None).map(|_| payload);
    let headers = ask.headers_mut();
    headers.insert("x-amz-invocation-type", http::HeaderValue::from_static("Event"));
    headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    if let Some(key) = how.key {
        let value =
            http::HeaderValue::try_from(key).map_err(|_| Problem::usage(format!("the key {key:?} has control characters")))?;
        headers.insert("x-myna-order-key", value);
    }
    if let Some(delay) = how.delay {
        headers.insert("x-myna-delay-seconds", delay.into());
    }
    let answer = api.send(ask).await.map_err(|p| absent_version(p, name, qualifier))?;
    Ok(answer.header("x-amzn-requestid").unwrap_or_default().to_owned())
}

/// A function that isn't there is the commonest mistake of all; it gets its next step.
pub fn absent(problem: Problem, name: &str) -> Problem {
    if problem.exit != Exit::NotFound || problem.hint.is_some() {
        return problem;
    }
    problem.hint(format!("what is deployed: myna list; to deploy a folder as {name}: myna deploy DIR --name {name}"))
}

/// The same where a version or an alias was named, beside the function or in its name.
pub fn absent_version(problem: Problem, name: &str, qualifier: Option<&str>) -> Problem {
    let plain = name.split_once(':').filter(|(_, rest)| !rest.contains(':')).map_or(name, |(plain, _)| plain);
    if plain == name && qualifier.is_none() {
        return absent(problem, name);
    }
    if problem.exit != Exit::NotFound || problem.hint.is_some() {
        return problem;
    }
    problem.hint(format!("what there is: myna versions {plain}, myna alias {plain}; the functions: myna list"))
}
