//! The Lambda API (rest-json, `lambda/2015-03-31` in botocore).

mod account;
mod alias;
mod code_signing;
mod concurrency;
mod config;
mod create;
mod describe;
pub mod events;
mod functions;
mod invoke;
mod layers;
mod management;
pub mod policy;
mod publish;
pub mod rights;
mod route;
pub mod secrets;
mod source;
mod source_check;
pub mod state;
mod tags;
mod update;
mod url_config;

pub use config::RESERVED;

pub use describe::runtime_version_arn;
pub use invoke::{CODE, collect, wait_pending};
pub use layers::{Mapped, map_layer, mapped_layers};
#[cfg(test)]
pub use route::TABLE;
pub use route::served;

use super::{
    fault::WireError,
    json,
    names::{self, Group, Named},
    respond::{self, Reply},
    rows::{self, FunctionRow},
    shared::Asked,
};
use http::StatusCode;
use route::{Found, Labels, Operation};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// A request whose operation is known.
pub struct Op {
    pub asked: Asked,
    pub operation: &'static Operation,
    labels: Labels,
}

pub type Answer = Result<Reply, WireError>;

/// The name of the operation that a request means, and its path's labels.
pub fn operation(method: &http::Method, path: &str, query: Option<&str>) -> Option<(&'static str, Vec<String>)> {
    match route::find(method, path, query) {
        Found::Operation(operation, labels) => Some((operation.name, labels)),
        Found::Method | Found::Nothing => None,
    }
}

pub async fn handle(asked: Asked) -> Answer {
    let (operation, labels) = match route::find(&asked.parts.method, asked.parts.uri.path(), asked.parts.uri.query()) {
        Found::Operation(operation, labels) => (operation, labels),
        Found::Method => return Err(WireError::new(405, "MethodNotAllowedException", "this path has no such method")),
        Found::Nothing => {
            let text = format!("unknown operation: {} {}", asked.parts.method, asked.parts.uri.path());
            return Err(WireError::new(404, "UnknownOperationException", text));
        }
    };
    let op = Op { asked, operation, labels };
    if !operation.name.starts_with("Invoke") {
        rate(&op)?;
        rights::authorise(&op)?;
    }
    if !operation.served {
        return Err(WireError::unserved(operation.name));
    }
    match operation.name {
        "Invoke" => invoke::invoke(op).await,
        "InvokeWithResponseStream" => invoke::stream(op).await,
        // On the heap: the way of a call is not to carry what all the others need.
        _ => Box::pin(manage(op)).await,
    }
}

/// Whether the account may ask the control plane once more in this second.
fn rate(op: &Op) -> Result<(), WireError> {
    let Err(early) = op.asked.platform().tenants().request(&op.asked.tenant) else { return Ok(()) };
    Err(WireError {
        reason: Some("CallerRateLimitExceeded"),
        retry_after: Some(early),
        ..WireError::new(429, "TooManyRequestsException", "Rate exceeded")
    })
}

/// Everything but calls that wait for their answer.
async fn manage(op: Op) -> Answer {
    match op.operation.name {
        "InvokeAsync" => events::invoke_async(op).await,
        "PutFunctionEventInvokeConfig" => events::put(op).await,
        "UpdateFunctionEventInvokeConfig" => events::update(op).await,
        "GetFunctionEventInvokeConfig" => events::get(&op),
        "ListFunctionEventInvokeConfigs" => events::list(&op),
        "DeleteFunctionEventInvokeConfig" => events::delete(op).await,
        "CreateFunction" => create::create(op).await,
        "GetFunction" => functions::get(&op),
        "GetFunctionConfiguration" => functions::configuration(&op),
        "ListFunctions" => functions::list(&op),
        "DeleteFunction" => functions::delete(op).await,
        "UpdateFunctionCode" => update::code(op).await,
        "UpdateFunctionConfiguration" => update::configuration(op).await,
        "PublishVersion" => publish::publish(op).await,
        "ListVersionsByFunction" => publish::list(&op),
        "CreateAlias" => alias::create(op).await,
        "UpdateAlias" => alias::update(op).await,
        "GetAlias" => alias::get(&op),
        "ListAliases" => alias::list(&op),
        "DeleteAlias" => alias::delete(op).await,
        "CreateFunctionUrlConfig" => url_config::create(op).await,
        "UpdateFunctionUrlConfig" => url_config::update(op).await,
        "GetFunctionUrlConfig" => url_config::get(&op),
        "ListFunctionUrlConfigs" => url_config::list(&op),
        "DeleteFunctionUrlConfig" => url_config::delete(op).await,
        "AddPermission" => policy::add(op).await,
        "RemovePermission" => policy::remove(op).await,
        "GetPolicy" => policy::get(&op),
        "PutFunctionConcurrency" => concurrency::put(op).await,
        "GetFunctionConcurrency" => concurrency::get(&op),
        "DeleteFunctionConcurrency" => concurrency::delete(op).await,
        "PutProvisionedConcurrencyConfig" => concurrency::put_provisioned(op).await,
        "GetProvisionedConcurrencyConfig" => concurrency::get_provisioned(&op),
        "DeleteProvisionedConcurrencyConfig" => concurrency::delete_provisioned(op).await,
        "ListProvisionedConcurrencyConfigs" => concurrency::list_provisioned(&op),
        "ListTags" => tags::list(&op),
        "TagResource" => tags::add(op).await,
        "UntagResource" => tags::remove(op).await,
        "CreateEventSourceMapping" => source::create(op).await,
        "GetEventSourceMapping" => source::get(&op),
        "ListEventSourceMappings" => source::list(&op),
        "UpdateEventSourceMapping" => source::update(op).await,
        "DeleteEventSourceMapping" => source::delete(op).await,
        "PublishLayerVersion" => layers::publish(op).await,
        "GetLayerVersion" => layers::get(&op),
        "GetLayerVersionByArn" => layers::by_arn(&op),
        "ListLayers" => layers::list(&op),
        "ListLayerVersions" => layers::versions(&op),
        "DeleteLayerVersion" => layers::delete(op).await,
        "AddLayerVersionPermission" => layers::add_permission(op).await,
        "GetLayerVersionPolicy" => layers::policy(&op),
        "RemoveLayerVersionPermission" => layers::remove_permission(op).await,
        "GetAccountSettings" => account::settings(&op),
        "PutRuntimeManagementConfig" => management::put_runtime(op).await,
        "GetRuntimeManagementConfig" => management::get_runtime(&op),
        "PutFunctionRecursionConfig" => management::put_recursion(op).await,
        "GetFunctionRecursionConfig" => management::get_recursion(&op),
        "CreateCodeSigningConfig" => code_signing::create(op).await,
        "GetCodeSigningConfig" => code_signing::get(&op),
        "UpdateCodeSigningConfig" => code_signing::update(op).await,
        "DeleteCodeSigningConfig" => code_signing::delete(op).await,
        "ListCodeSigningConfigs" => code_signing::list(&op),
        "ListFunctionsByCodeSigningConfig" => code_signing::functions(&op),
        "PutFunctionCodeSigningConfig" => code_signing::put_function(op).await,
        "GetFunctionCodeSigningConfig" => code_signing::get_function(&op),
        "DeleteFunctionCodeSigningConfig" => code_signing::delete_function(op).await,
        other => Err(WireError::unserved(other)),
    }
}

impl Op {
    fn label(&self, at: usize) -> &str {
        self.labels.get(at).map_or("", String::as_str)
    }
    /// The function that the path and the `Qualifier` parameter name together.
    fn named(&self, group: Group) -> Result<Named, WireError> {
        let qualifier = self.asked.query("Qualifier");
        names::parse(self.asked.region(), &self.asked.tenant, self.label(0), qualifier.as_deref(), group)
    }
    /// As [`Op::named`], for calls: the function may be another account's, whose policy then decides.
    fn called(&self) -> Result<Named, WireError> {
        let qualifier = self.asked.query("Qualifier");
        names::parse_of_any(self.asked.region(), &self.asked.tenant, self.label(0), qualifier.as_deref(), Group::Reader)
    }
    /// As [`Op::named`], for operations that act on a function as a whole.
    fn unqualified(&self) -> Result<Named, WireError> {
        names::parse(self.asked.region(), &self.asked.tenant, self.label(0), None, Group::Writer)
    }
    fn arn(&self, name: &str, qualifier: Option<&str>) -> String {
        names::qualified_arn(self.asked.region(), &self.asked.tenant, name, qualifier)
    }
    fn members<T: DeserializeOwned>(&self) -> Result<T, WireError> {
        json::members(&self.asked.body)
    }
    fn not_found(&self, name: &str, qualifier: Option<&str>) -> WireError {
        WireError::not_found(format!("Function not found: {}", self.arn(name, qualifier)))
    }
    /// A function's row with the revision under which it was read.
    fn load(&self, name: &str) -> Result<(FunctionRow, model::Expect), WireError> {
        let row = self.asked.shared.raw(&self.asked.tenant, rows::FUNCTION, name);
        let row = row.ok_or_else(|| self.not_found(name, None))?;
        Ok((rows::decode(&row)?, model::Expect::Revision(row.revision)))
    }
    async fn save(&self, name: &str, row: &FunctionRow, expect: model::Expect) -> Result<(), WireError> {
        self.asked.shared.commit(vec![rows::put(&self.asked.tenant, rows::FUNCTION, name, row, expect)]).await
    }
    fn done(&self, body: &Value) -> Answer {
        Ok(respond::json(self.operation.code, body))
    }
    fn done_empty(&self) -> Answer {
        Ok(respond::empty(self.operation.code))
    }
    /// One page of a list, and where the next one begins.
    fn listed(&self, member: &str, items: impl IntoIterator<Item = (String, Value)>, after: &str, size: usize) -> Answer {
        let (items, next) = page(items, after, size);
        let mut out = Map::from_iter([(member.to_owned(), Value::Array(items))]);
        out.extend(next.map(|next| ("NextMarker".to_owned(), next)));
        self.done(&Value::Object(out))
    }
    /// `MaxItems`, within 1 and what one page may hold.
    fn page_size(&self, most: usize, shown_most: i64) -> Result<usize, WireError> {
        let Some(text) = self.asked.query("MaxItems") else { return Ok(most) };
        let number: i64 =
            text.parse().map_err(|_| WireError::serialization(format!("MaxItems: expected a number, found {text:?}")))?;
        let mut checks = super::check::Checks::default();
        checks.range(number, "maxItems", 1, shown_most);
        checks.into_result()?;
        Ok(usize::try_from(number).unwrap_or(most).min(most))
    }
    /// Where an earlier page ended. Markers are opaque to clients: the last name, in base64.
    fn marker(&self) -> Result<String, WireError> {
        let Some(text) = self.asked.query("Marker").filter(|m| !m.is_empty()) else { return Ok(String::new()) };
        let read = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, text.as_bytes()).ok();
        read.and_then(|bytes| String::from_utf8(bytes).ok())
            .ok_or_else(|| WireError::invalid("The marker is not one that a previous answer returned."))
    }
}

fn marker_of(name: &str) -> Value {
    Value::String(base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, name))
}

/// One page: at most `size` of the items whose names are greater than the marker, and the marker of the next page.
fn page(items: impl IntoIterator<Item = (String, Value)>, after: &str, size: usize) -> (Vec<Value>, Option<Value>) {
    let mut kept = Vec::new();
    let mut last = String::new();
    for (name, item) in items.into_iter().filter(|i| i.0.as_str() > after) {
        if kept.len() == size {
            return (kept, Some(marker_of(&last)));
        }
        last = name;
        kept.push(item);
    }
    (kept, None)
}

/// Milliseconds since the epoch as the API writes `LastModified`: `2026-01-02T03:04:05.678+0000`.
fn stamp(ms: u64) -> String {
    let at = jiff::Timestamp::from_millisecond(i64::try_from(ms).unwrap_or(0)).unwrap_or_default();
    at.strftime("%Y-%m-%dT%H:%M:%S%.3f+0000").to_string()
}

fn no_content() -> Reply {
    respond::empty(StatusCode::NO_CONTENT)
}
