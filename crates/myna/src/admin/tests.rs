use super::*;
use crate::metrics::Exposition;
use bytes::Bytes;
use futures_util::StreamExt;
use model::{
    Expect, Frame, Function, InstanceId, InvocationId, Key, ModelOp, ReplyBody, RevisionId, Write,
    access::Authority,
    catalog::{Actions, LogSettings, Package, Settings},
    log::Line,
    ports::{Dialect, RequestBody, Rows, Slots},
    sandbox::{Network, Tier},
};
use serde_json::Value;
use std::{collections::BTreeMap, time::Duration};
use testkit::platform::{ACCOUNT, FakePlatform};

/// A dialect whose every row is a function of that name.
struct Plain;

impl Dialect for Plain {
    fn name(&self) -> &'static str {
        "plain"
    }
    fn start(&self, _: Arc<dyn Platform>) -> Fut<'_, Result<(), Fault>> {
        Box::pin(async { Ok(()) })
    }
    fn handle(&self, _: Verified<Request>) -> Fut<'_, Response> {
        Box::pin(async { reply::text(200, "") })
    }
    fn kinds(&self) -> &'static [&'static str] {
        &["plain.function"]
    }
    fn reconcile(&self, changed: &[Key], _: &dyn Rows) -> Vec<ModelOp> {
        changed.iter().map(|key| ModelOp::Put(Arc::new(function(&key.name)))).collect()
    }
    fn refuse(&self, _: &http::request::Parts, fault: &Fault) -> Response {
        reply::fault(fault)
    }
}

fn function(name: &str) -> Function {
    let tenant = TenantId::new(ACCOUNT);
    let unit = Unit {
        tenant: tenant.clone(),
        function: name.into(),
        version: "$LATEST".into(),
        revision: RevisionId::random(),
        dialect: "plain",
        resource_name: format!("plain:{name}").into(),
        package: Package::Unpacked { digest: "ab".repeat(32).into(), bytes: 3, path: "/nowhere".into() },
        layers: vec![],
        runtime: "python3.12".into(),
        contract: "lambda",
        tier: Tier::Process,
        handler: "app.handler".into(),
        env: vec![("SECRET".into(), "value".into())],
        secrets: Vec::new(),
        made: RevisionId::random(),
        settings: Settings {
            memory_mib: 256,
            timeout: Duration::from_secs(3),
            init_timeout: Duration::from_secs(10),
            tmp_mib: 512,
            request_bytes_max: 6 << 20,
            event_bytes_max: 1 << 20,
            reply_bytes_max: 6 << 20,
            stream_bytes_max: 200 << 20,
            network: Network::Loopback,
            slots: Slots::One,
            log: LogSettings { group: format!("/own/{name}").into(), json: false, level: None, system_level: None },
        },
        role: None,
    };
    Function {
        tenant,
        name: name.into(),
        dialect: "plain",
        resource_name: format!("plain:{name}").into(),
        versions: BTreeMap::from([("$LATEST".into(), Arc::new(unit))]),
        aliases: BTreeMap::new(),
        concurrency: Default::default(),
        policies: BTreeMap::new(),
        urls: Vec::new(),
        entry: "".into(),
        doors: Vec::new(),
        actions: Actions { invoke: "plain:Invoke", url: "plain:Url" },
        events: Default::default(),
    }
}

struct FakeHost;

impl AdminHost for FakeHost {
    fn status(&self, _: &TenantId) -> wire::Status {
        wire::Status { version: "9".into(), ..Default::default() }
    }
    fn ready(&self) -> bool {
        false
    }
    fn access(&self, _: &TenantId) -> Result<wire::Access, Fault> {
        Ok(wire::Access::default())
    }
    fn runtimes(&self) -> Fut<'_, Vec<wire::RuntimeRow>> {
        Box::pin(async { Vec::new() })
    }
    fn install<'a>(&'a self, name: &'a str, say: mpsc::UnboundedSender<String>) -> Fut<'a, Result<wire::RuntimeRow, Fault>> {
        Box::pin(async move {
            let _ = say.send("fetching".into());
            tokio::task::yield_now().await;
            let _ = say.send("unpacking".into());
            if name == "broken" {
                Err(Fault::internal("the registry is gone").hint("try later"))
            } else {
                Ok(wire::RuntimeRow { name: name.into(), ..Default::default() })
            }
        })
    }
    fn findings(&self) -> Vec<wire::Finding> {
        Vec::new()
    }
    fn seal(&self, change: SealChange) -> Fut<'_, Result<wire::Sealing, Fault>> {
        Box::pin(async move { Ok(wire::Sealing { source: format!("{change:?}"), ..Default::default() }) })
    }
    fn export_key(&self) -> Result<wire::KeyText, Fault> {
        Err(Fault::invalid("nothing is sealed"))
    }
    fn metrics(&self, format: Exposition) -> Fut<'static, String> {
        Box::pin(async move { format!("numbers as {format:?}") })
    }
    fn stop(&self) {}
    fn recent_lines(&self) -> Vec<String> {
        Vec::new()
    }
    fn evict<'a>(&'a self, _: &'a TenantId, _: &'a str) -> Fut<'a, usize> {
        Box::pin(async { 0 })
    }
    fn console_link(&self) -> Result<String, Fault> {
        Ok("http://console.localhost/once".into())
    }
    fn audit(&self, _: store::audit::AuditQuery) -> Fut<'_, Result<Vec<store::audit::Numbered>, Fault>> {
        Box::pin(async { Ok(Vec::new()) })
    }
    fn verify_audit(&self, _: Option<String>) -> Fut<'_, Result<store::audit::Verified, Fault>> {
        Box::pin(async { Ok(store::audit::Verified::default()) })
    }
    fn explain(&self, _: &Unit) -> Vec<wire::Explained> {
        vec![wire::Explained { name: "host".into(), ..Default::default() }]
    }
}

async fn admin() -> (Arc<FakePlatform>, Arc<Admin>) {
    let (platform, _) = FakePlatform::with(|_| Arc::new(Plain)).await;
    let key = Key::new(&TenantId::new(ACCOUNT), "plain.function", "f");
    platform.resources().commit(vec![Write::Put { key, body: Bytes::new(), expect: Expect::Any }]).await.unwrap();
    let format: Format = |_, record| match &record.line {
        Line::Text { text, .. } => Some(String::from_utf8_lossy(text).into_owned()),
        other => Some(format!("{other:?}")),
    };
    let admin = Arc::new(Admin::new(platform.clone(), Arc::new(FakeHost), format, Arc::new(model::audit::Nowhere)));
    (platform, admin)
}

async fn ask_as(admin: &Arc<Admin>, principal: Principal, method: &str, path: &str) -> Response {
    let request = http::Request::builder().method(method).uri(path).body(RequestBody::Bytes(Bytes::new())).unwrap();
    admin.handle(Authority::for_tests().vouch(request, principal, "admin".into())).await
}
async fn ask(admin: &Arc<Admin>, method: &str, path: &str) -> Response {
    ask_as(admin, Principal::Root { tenant: TenantId::new(ACCOUNT) }, method, path).await
}
async fn body(response: Response) -> Value {
    match response.into_body() {
        ReplyBody::Bytes(bytes) => {
            serde_json::from_slice(&bytes).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()))
        }
        ReplyBody::Stream(frames) => {
            let lines = frames.map(|f| match f {
                Frame::Data(line) => serde_json::from_slice(&line).unwrap(),
                _ => panic!("lines end without trailers"),
            });
            Value::Array(lines.collect().await)
        }
    }
}

#[tokio::test]
async fn only_the_operator_is_answered_and_the_rest_is_named() {
    let (_platform, admin) = admin().await;
    assert_eq!(ask_as(&admin, Principal::Anonymous, "GET", "/livez").await.status(), 200);
    assert_eq!(ask_as(&admin, Principal::Anonymous, "GET", "/readyz").await.status(), 503);
    assert_eq!(ask_as(&admin, Principal::Anonymous, "GET", "/admin/v1/status").await.status(), 403);
    assert_eq!(body(ask(&admin, "GET", "/admin/v1/status").await).await["version"], "9");
    for (method, path) in
        [("GET", "/admin/v1/functions/nobody/observed"), ("GET", "/admin/v2/status"), ("POST", "/admin/v1/status")]
    {
        let refused = ask(&admin, method, path).await;
        assert_eq!(refused.status(), 404, "{path}");
        assert_eq!(body(refused).await["error"]["cause"], "not-found");
    }
    assert_eq!(ask(&admin, "GET", "/admin/v1/invocations/no-uuid").await.status(), 400);
    assert_eq!(ask(&admin, "GET", "/admin/v1/invocations?limit=many").await.status(), 400);
}

#[tokio::test]
async fn explain_tells_where_values_come_from_and_shows_no_secret() {
    let (_platform, admin) = admin().await;
    let rows = body(ask(&admin, "GET", "/admin/v1/functions/f/explain").await).await;
    let from =
        |name: &str| rows.as_array().unwrap().iter().find(|r| r["name"] == name).map(|r| r["from"].as_str().unwrap().to_string());
    assert_eq!(from("memory").as_deref(), Some("the owner"));
    assert!(from("timeout").unwrap().starts_with("default"));
    assert!(from("host").is_some());
    assert!(!rows.to_string().contains("SECRET") && !rows.to_string().contains("value\":\"value"));
}

#[tokio::test]
async fn an_install_tells_its_steps_and_its_end() {
    let (_platform, admin) = admin().await;
    let lines = body(ask(&admin, "POST", "/admin/v1/runtimes/nodejs22.x/install").await).await;
    assert_eq!(
        lines,
        serde_json::json!([{ "step": "fetching" }, { "step": "unpacking" }, { "done": wire::RuntimeRow { name: "nodejs22.x".into(), ..Default::default() } }])
    );
    let lines = body(ask(&admin, "POST", "/admin/v1/runtimes/broken/install").await).await;
    assert_eq!(lines[2], serde_json::json!({ "failed": { "message": "the registry is gone", "hint": "try later" } }));
}

#[test]
fn the_interpreters_path_outside_follows_the_mounts() {
    let temp = tempfile::tempdir().unwrap();
    std::fs::create_dir(temp.path().join("bin")).unwrap();
    std::fs::write(temp.path().join("bin/python3"), "").unwrap();
    let mount = |source: &str, target: &str| model::sandbox::Mount { source: temp.path().join(source), target: target.into() };
    let runtime = |mounts, argv: &str| model::ports::Runtime {
        name: "python3".into(),
        found: "".into(),
        origin: "".into(),
        mounts,
        argv: vec![argv.into()],
        env: Vec::new(),
        bindable: false,
        libraries: Vec::new(),
        notes: Vec::new(),
    };
    let there = Some(temp.path().join("bin/python3"));
    assert_eq!(
        program(&runtime(vec![mount("", "/var/lang")], "/var/lang/bin/python3")).map(|p| p.canonicalize().unwrap()),
        there
    );
    assert_eq!(
        program(&runtime(vec![mount("x", "/var/lang"), mount("bin/python3", "/var/lang/bin/python3")], "/var/lang/bin/python3")),
        there
    );
    assert_eq!(program(&runtime(vec![mount("", "/var/lang")], "/var/runtime/bootstrap")), None);
    assert_eq!(program(&runtime(vec![mount("", "/var/lang")], "/var/lang/bin/gone")), None);
}

fn record(at_ms: u64, id: Option<InvocationId>, text: &str) -> LogRecord {
    LogRecord { at_ms, id, line: Line::Text { text: Bytes::copy_from_slice(text.as_bytes()), level: None } }
}
fn stream(group: &str) -> Arc<Stream> {
    Arc::new(Stream {
        tenant: TenantId::new(ACCOUNT),
        function: "f".into(),
        group: group.into(),
        name: "s".into(),
        version: "$LATEST".into(),
        code: "c0de".into(),
        instance: InstanceId::random(),
        json: false,
    })
}
fn texts(lines: &Value) -> Vec<&str> {
    lines.as_array().unwrap().iter().map(|l| l["text"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_log_is_read_by_time_and_by_invocation_from_the_functions_own_group() {
    let (platform, admin) = admin().await;
    let (own, other, gone) = (stream("/own/f"), stream("/own/g"), stream("/aws/lambda/gone"));
    let id = InvocationId::random();
    platform.log(&own, record(1_000, None, "early"));
    platform.log(&own, record(2_000, Some(id), "late"));
    platform.log(&other, record(2_000, Some(id), "another's"));
    platform.log(&gone, record(2_000, None, "of a deleted one"));
    let read = async |query: &str| body(ask(&admin, "GET", &format!("/admin/v1/logs?{query}")).await).await;
    assert_eq!(texts(&read("function=f").await), ["early", "late"]);
    assert_eq!(texts(&read("function=f&since_ms=1500").await), ["late"]);
    assert_eq!(texts(&read(&format!("function=f&id={id}")).await), ["late"]);
    assert_eq!(texts(&read("function=gone").await), ["of a deleted one"]);
    assert_eq!(read("function=nobody").await["error"]["cause"], "not-found");
    assert_eq!(read("").await["error"]["cause"], "invalid");
}

#[tokio::test]
async fn a_follower_sees_each_line_once_and_only_the_functions_own() {
    let (platform, admin) = admin().await;
    let (own, other) = (stream("/own/f"), stream("/own/g"));
    let now = platform.clock().wall_ms();
    platform.log(&own, record(now, None, "stored"));
    let response = ask(&admin, "GET", "/admin/v1/logs?function=f&follow=1").await;
    let ReplyBody::Stream(frames) = response.into_body() else { panic!("a log is streamed") };
    let mut lines = frames.map(|f| match f {
        Frame::Data(line) => serde_json::from_slice::<Value>(&line).unwrap()["text"].as_str().unwrap().to_string(),
        _ => panic!("lines end without trailers"),
    });
    assert_eq!(lines.next().await.as_deref(), Some("stored"));
    // What was stored while reading began arrives again; what is new arrives once, even when it says the same.
    let again = LogRecord { at_ms: now, ..record(now, None, "stored") };
    let live = model::log::LogLine { stream: own.clone(), record: again };
    platform.log(&live.stream, live.record.clone());
    platform.log(&other, record(now + 1, None, "another's"));
    platform.log(&own, record(now + 1, None, "new"));
    platform.log(&own, record(now + 2, None, "new"));
    assert_eq!(lines.next().await.as_deref(), Some("new"));
    assert_eq!(lines.next().await.as_deref(), Some("new"));
}
