//! The configuration of function URLs. Traffic through them is in `aws::url`.

use super::{Answer, Op};
use crate::aws::{
    check::Checks,
    fault::WireError,
    names::{Group, LATEST, all_digits},
    rows::{self, AliasRow, UrlRow},
};
use model::{Expect, catalog::Cors as Rules};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Members {
    auth_type: Option<String>,
    invoke_mode: Option<String>,
    cors: Option<Cors>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Cors {
    allow_credentials: Option<bool>,
    allow_headers: Option<Vec<String>>,
    allow_methods: Option<Vec<String>>,
    allow_origins: Option<Vec<String>>,
    expose_headers: Option<Vec<String>>,
    max_age: Option<i64>,
}

impl Cors {
    fn check(&self, checks: &mut Checks) {
        let lists = [
            (&self.allow_headers, "cors.allowHeaders", 100, 1024),
            (&self.allow_methods, "cors.allowMethods", 6, 6),
            (&self.allow_origins, "cors.allowOrigins", 100, 253),
            (&self.expose_headers, "cors.exposeHeaders", 100, 1024),
        ];
        for (list, at, most, longest) in lists {
            let Some(list) = list else { continue };
            if list.len() > most {
                checks.fail(
                    format_args!("[{}]", list.join(", ")),
                    at,
                    format_args!("Member must have length less than or equal to {most}"),
                );
            }
            for item in list {
                checks.length(item, at, usize::from(at == "cors.allowOrigins"), longest);
                // They are sent back in headers.
                if item.bytes().any(|b| b < b' ' || b == 127) {
                    checks.pattern(item, at, ".*");
                }
            }
        }
        if let Some(age) = self.max_age {
            checks.range(age, "cors.maxAge", 0, 86_400);
        }
    }

    fn rules(&self) -> Rules {
        let list = |l: &Option<Vec<String>>| l.clone().unwrap_or_default();
        Rules {
            allow_credentials: self.allow_credentials.unwrap_or(false),
            allow_headers: list(&self.allow_headers),
            allow_methods: list(&self.allow_methods),
            allow_origins: list(&self.allow_origins),
            expose_headers: list(&self.expose_headers),
            max_age_s: self.max_age.and_then(|a| u32::try_from(a).ok()),
        }
    }
}

impl Members {
    fn check(&self, needs_auth: bool) -> Result<(), WireError> {
        let mut checks = Checks::default();
        match &self.auth_type {
            Some(auth) => checks.one_of(auth, "authType", &["NONE", "AWS_IAM"]),
            None if needs_auth => checks.missing("authType"),
            None => {}
        }
        if let Some(mode) = &self.invoke_mode {
            checks.one_of(mode, "invokeMode", &["RESPONSE_STREAM", "BUFFERED"]);
        }
        if let Some(cors) = &self.cors {
            cors.check(&mut checks);
        }
        checks.into_result()
    }
}

/// A URL belongs to a function or to one of its aliases, never to a version.
fn named(op: &Op) -> Result<(Arc<str>, Option<Arc<str>>), WireError> {
    let named = op.named(Group::Writer)?;
    if let Some(qualifier) = named.qualifier.as_deref().filter(|q| all_digits(q) || *q == LATEST) {
        let mut checks = Checks::default();
        checks.pattern(qualifier, "qualifier", r"((?!^\d+$)^[0-9a-zA-Z-_]+$)");
        checks.into_result()?;
    }
    Ok((named.name, named.qualifier))
}

fn key(name: &str, qualifier: Option<&str>) -> String {
    format!("{name}/{}", qualifier.unwrap_or(LATEST))
}

fn function_exists(op: &Op, name: &str) -> Result<(), WireError> {
    let found = op.asked.shared.raw(&op.asked.tenant, rows::FUNCTION, name);
    found.map(|_| ()).ok_or_else(|| WireError::not_found("Function does not exist"))
}

fn missing() -> WireError {
    WireError::not_found("The resource you requested does not exist.")
}

/// The address that clients use: a name under `localhost`, which needs no DNS, on the door's own port.
fn address(op: &Op, id: &str) -> String {
    let port = op.asked.shared.settings.aws_authority.rsplit_once(':').map_or("", |(_, port)| port);
    format!("{}://{id}.lambda-url.{}.localhost:{port}/", op.asked.shared.settings.aws_scheme, op.asked.region())
}

fn shown(op: &Op, name: &str, row: &UrlRow, mode: Option<&str>) -> Value {
    let mut out = Map::new();
    out.insert("FunctionUrl".into(), address(op, &row.id).into());
    out.insert("FunctionArn".into(), op.arn(name, row.qualifier.as_deref()).into());
    out.insert("AuthType".into(), row.auth.as_str().into());
    if let Some(cors) = &row.cors {
        out.insert("Cors".into(), shown_cors(cors));
    }
    out.insert("CreationTime".into(), moment(row.created_ms).into());
    out.insert("LastModifiedTime".into(), moment(row.modified_ms).into());
    if let Some(mode) = mode {
        out.insert("InvokeMode".into(), mode.into());
    }
    Value::Object(out)
}

fn shown_cors(cors: &Rules) -> Value {
    let mut out = Map::new();
    if cors.allow_credentials {
        out.insert("AllowCredentials".into(), true.into());
    }
    let lists = [
        ("AllowHeaders", &cors.allow_headers),
        ("AllowMethods", &cors.allow_methods),
        ("AllowOrigins", &cors.allow_origins),
        ("ExposeHeaders", &cors.expose_headers),
    ];
    for (name, list) in lists.into_iter().filter(|l| !l.1.is_empty()) {
        out.insert(name.into(), json!(list));
    }
    if let Some(age) = cors.max_age_s {
        out.insert("MaxAge".into(), age.into());
    }
    Value::Object(out)
}

/// `2026-01-02T03:04:05.678901Z`: URLs' times have microseconds and a `Z`, unlike functions'.
fn moment(ms: u64) -> String {
    let at = jiff::Timestamp::from_millisecond(i64::try_from(ms).unwrap_or(0)).unwrap_or_default();
    at.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

pub async fn create(op: Op) -> Answer {
    let asked: Members = op.members()?;
    asked.check(true)?;
    let (name, qualifier) = named(&op)?;
    let (shared, tenant) = (op.asked.shared.clone(), &op.asked.tenant);
    let _one = shared.writing.lock().await;
    function_exists(&op, &name)?;
    if let Some(alias) = &qualifier
        && shared.row::<AliasRow>(tenant, rows::ALIAS, &format!("{name}/{alias}"))?.is_none()
    {
        return Err(WireError::not_found("Function does not exist"));
    }
    let key = key(&name, qualifier.as_deref());
    if shared.raw(tenant, rows::URL, &key).is_some() {
        return Err(WireError::conflict(format!(
            "Failed to create function url config for [functionArn = {}]. Error message:  FunctionUrlConfig exists for this Lambda function",
            op.arn(&name, qualifier.as_deref())
        )));
    }
    let now = shared.now_ms();
    let row = UrlRow {
        id: Arc::from(uuid::Uuid::new_v4().simple().to_string()),
        qualifier: qualifier.as_deref().map(str::to_owned),
        auth: asked.auth_type.unwrap_or_default(),
        mode: asked.invoke_mode,
        cors: asked.cors.map(|c| c.rules()),
        created_ms: now,
        modified_ms: now,
    };
    shared.commit(vec![rows::put(tenant, rows::URL, key, &row, Expect::Absent)]).await?;
    let mut out = shown(&op, &name, &row, row.mode.as_deref());
    if let Value::Object(out) = &mut out {
        // Nothing was modified yet, and the model has no such member here.
        out.remove("LastModifiedTime");
    }
    op.done(&out)
}

pub async fn update(op: Op) -> Answer {
    let asked: Members = op.members()?;
    asked.check(false)?;
    let (name, qualifier) = named(&op)?;
    let (shared, tenant) = (op.asked.shared.clone(), &op.asked.tenant);
    let _one = shared.writing.lock().await;
    function_exists(&op, &name)?;
    let key = key(&name, qualifier.as_deref());
    let mut row: UrlRow = shared.row(tenant, rows::URL, &key)?.ok_or_else(missing)?;
    if let Some(auth) = asked.auth_type {
        row.auth = auth;
    }
    if asked.invoke_mode.is_some() {
        row.mode = asked.invoke_mode;
    }
    if let Some(cors) = asked.cors {
        row.cors = Some(cors.rules()).filter(|c| *c != Rules::default());
    }
    row.modified_ms = shared.now_ms();
    shared.commit(vec![rows::put(tenant, rows::URL, key, &row, Expect::Any)]).await?;
    op.done(&shown(&op, &name, &row, Some(row.mode.as_deref().unwrap_or("BUFFERED"))))
}

pub fn get(op: &Op) -> Answer {
    let (name, qualifier) = named(op)?;
    let row: UrlRow = op.asked.shared.row(&op.asked.tenant, rows::URL, &key(&name, qualifier.as_deref()))?.ok_or_else(missing)?;
    op.done(&shown(op, &name, &row, Some(row.mode.as_deref().unwrap_or("BUFFERED"))))
}

const PAGE: usize = 50;

pub fn list(op: &Op) -> Answer {
    let name = op.unqualified()?.name;
    function_exists(op, &name)?;
    let (size, after) = (op.page_size(PAGE, 50)?, op.marker()?);
    let urls = op.asked.shared.below::<UrlRow>(&op.asked.tenant, rows::URL, &name)?;
    let shown = urls.iter().map(|u| {
        let mode = u.mode.as_deref().unwrap_or("BUFFERED");
        (key(&name, u.qualifier.as_deref()), shown(op, &name, u, Some(mode)))
    });
    op.listed("FunctionUrlConfigs", shown, &after, size)
}

pub async fn delete(op: Op) -> Answer {
    let (name, qualifier) = named(&op)?;
    let (shared, tenant) = (op.asked.shared.clone(), &op.asked.tenant);
    let _one = shared.writing.lock().await;
    let key = key(&name, qualifier.as_deref());
    shared.raw(tenant, rows::URL, &key).ok_or_else(missing)?;
    shared.commit(vec![rows::delete(tenant, rows::URL, key)]).await?;
    op.done_empty()
}
