//! The AWS door: who is let in as whom, and what reaches the dialect.

use super::*;
use crate::aws::{AwsDoor, Options};
use crate::sigv4::{presign, sign};
use model::{
    Clock, Credential, Holder, InstanceId, Key, ModelOp, Mono, Principal, Session, TenantId, Verified,
    access::Authority,
    ports::{Dialect, Identities, InstanceCaller, Platform, PlatformSettings, Rows},
    sandbox::Tier,
};
use std::sync::Mutex;

const AT: u64 = 1_767_323_045_000;

struct Fixed;
impl Clock for Fixed {
    fn mono(&self) -> Mono {
        Mono(0)
    }
    fn wall_ms(&self) -> u64 {
        AT
    }
}

fn tenant() -> TenantId {
    TenantId::new("000000000000")
}

fn root_key() -> Credential {
    Credential {
        access_key_id: "AKIA1".into(),
        secret: "root".into(),
        session_token: None,
        principal: Principal::Root { tenant: tenant() },
    }
}

fn instance(n: u128) -> InstanceCaller {
    let principal = Principal::Role {
        tenant: tenant(),
        role: "arn:aws:iam::000000000000:role/r".into(),
        instance: InstanceId(uuid::Uuid::from_u128(n)),
    };
    let credential = Credential {
        access_key_id: format!("ASIA{n}").into(),
        secret: format!("secret {n}").into(),
        session_token: Some(format!("token {n}").into()),
        principal: principal.clone(),
    };
    InstanceCaller { principal, credential, hops: 1 }
}

/// A session that ends a moment after, or at, the time of all these tests.
fn session(id: &str, expires_ms: u64) -> Credential {
    let session = Session { tenant: tenant(), holder: Holder::Root, policies: Vec::new(), issued_ms: 0, expires_ms };
    Credential {
        access_key_id: id.into(),
        secret: "for a time".into(),
        session_token: Some("its token".into()),
        principal: Principal::Session(Arc::new(session)),
    }
}

struct Known;
impl Identities for Known {
    fn credential(&self, id: &str) -> Option<Credential> {
        let sessions = [session("ASIALIVE", AT + 1), session("ASIAOVER", AT)];
        [root_key(), instance(1).credential].into_iter().chain(sessions).find(|c| *c.access_key_id == *id)
    }
}

/// What reached the dialect: method, target, host, service, principal.
#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Dialect for Heard {
    fn name(&self) -> &'static str {
        "double"
    }
    fn start(&self, _: Arc<dyn Platform>) -> Fut<'_, Result<(), Fault>> {
        Box::pin(async { Ok(()) })
    }
    fn handle(&self, request: Verified<Request>) -> Fut<'_, Response> {
        let (request, principal, service) = request.into_parts();
        let who = match principal {
            Principal::Anonymous => "anonymous",
            Principal::Root { .. } => "root",
            Principal::Role { .. } => "role",
            Principal::User(_) => "user",
            Principal::Session(_) => "session",
            Principal::Service { .. } => "service",
        };
        let host = request.headers()["host"].to_str().expect("text").to_owned();
        let line = format!("{} {} {host} {service} {who}", request.method(), request.uri());
        self.0.lock().expect("no panic").push(line.clone());
        Box::pin(async move { reply::plain(200, &line) })
    }
    fn kinds(&self) -> &'static [&'static str] {
        &[]
    }
    fn reconcile(&self, _: &[Key], _: &dyn Rows) -> Vec<ModelOp> {
        Vec::new()
    }
    fn refuse(&self, _: &Parts, fault: &Fault) -> Response {
        let status = match fault.cause {
            Cause::Unauthenticated | Cause::Denied => 403,
            Cause::TooLarge => 413,
            _ => 400,
        };
        reply::plain(status, &format!("{} {}", fault.detail.as_deref().unwrap_or(""), fault.message))
    }
}

fn door(options: Options) -> (Arc<AwsDoor>, Arc<Heard>) {
    let heard = Arc::new(Heard::default());
    let settings = PlatformSettings {
        region: "us-east-1".into(),
        default_tenant: tenant(),
        aws_authority: "127.0.0.1:9000".into(),
        aws_scheme: "http",
        tier: Tier::Process,
        event_retry_base: std::time::Duration::from_secs(60),
    };
    let door = AwsDoor::new(Authority::for_tests(), Arc::new(Known), Arc::new(Fixed), settings, heard.clone(), options);
    (Arc::new(door), heard)
}

fn request(method: &str, target: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = http::Request::builder().method(method).uri(target);
    if !headers.iter().any(|h| h.0 == "host") {
        request = request.header("host", "127.0.0.1:9000");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).expect("well formed").into_parts().0
}

fn signed(mut parts: Parts, body: &str, service: &str, by: &Credential) -> Parts {
    sign(&mut parts, body.as_bytes(), by, "us-east-1", service, AT);
    parts
}

/// As a connection would: admitted first, then handled.
async fn ask(door: &AwsDoor, parts: Parts, body: &str) -> (u16, String) {
    let peer = Peer::Tcp(([127, 0, 0, 1], 4711).into());
    let response = match door.admit(&parts, &peer) {
        Err(fault) => door.refuse(&parts, &fault),
        Ok(limit) => {
            assert!(body.len() <= limit);
            door.handle(Request::from_parts(parts, Body::Bytes(Bytes::copy_from_slice(body.as_bytes()))), peer).await
        }
    };
    let location = response.headers().get("location").map(|l| l.to_str().expect("text").to_owned());
    let status = response.status().as_u16();
    match response.into_body() {
        ReplyBody::Bytes(bytes) => (status, location.unwrap_or_else(|| String::from_utf8_lossy(&bytes).into_owned())),
        ReplyBody::Stream(_) => (status, "a stream".into()),
    }
}

const INVOKE: &str = "/2015-03-31/functions/f/invocations";

#[tokio::test]
async fn signed_requests_reach_the_dialect_by_the_scope_s_service() {
    let (door, _) = door(Options::default());
    for (target, service) in [(INVOKE, "lambda"), ("/", "logs"), ("/", "sts"), ("/", "iam"), ("/", "dynamodb")] {
        let got = ask(&door, signed(request("POST", target, &[]), "{}", service, &root_key()), "{}").await;
        assert_eq!(got, (200, format!("POST {target} 127.0.0.1:9000 {service} root")));
    }
    let mut url = request("GET", "/?Action=GetCallerIdentity&Version=2011-06-15", &[]);
    presign(&mut url, &root_key(), "us-east-1", "sts", AT, Duration::from_secs(60));
    let (status, line) = ask(&door, url, "").await;
    assert!(status == 200 && line.ends_with(" sts root"), "{line}");
}

/// H53, H65: the time of a session is looked at with each request, and only who holds its secret learns that it is over.
#[tokio::test]
async fn an_expired_session_is_refused_and_a_live_one_is_not() {
    let (door, heard) = door(Options::default());
    let (live, over) = (session("ASIALIVE", AT + 1), session("ASIAOVER", AT));
    let post = || request("POST", INVOKE, &[]);
    let got = ask(&door, signed(post(), "{}", "lambda", &live), "{}").await;
    assert_eq!(got, (200, format!("POST {INVOKE} 127.0.0.1:9000 lambda session")));
    heard.0.lock().expect("no panic").clear();
    let text = "The security token included in the request is expired";
    let guess = Credential { secret: "guess".into(), ..over.clone() };
    let tokenless = Credential { session_token: None, ..over.clone() };
    for (service, by, want) in [
        ("lambda", &over, format!("ExpiredTokenException {text}")),
        ("sts", &over, format!("ExpiredToken {text}")),
        ("iam", &over, format!("ExpiredToken {text}")),
        ("lambda", &guess, "InvalidSignatureException".into()),
        ("lambda", &tokenless, "UnrecognizedClientException".into()),
    ] {
        let (status, line) = ask(&door, signed(post(), "{}", service, by), "{}").await;
        assert!(status == 403 && line.starts_with(&want), "{service}: {line}");
    }
    assert!(heard.0.lock().expect("no panic").is_empty());
}

/// H76: what is dispatched is what was signed.
#[tokio::test]
async fn h76_the_dispatched_path_is_the_signed_one() {
    let (door, _) = door(Options::default());
    let (status, line) = ask(&door, signed(request("GET", "/a/../b//c?x=1", &[]), "", "lambda", &root_key()), "").await;
    assert_eq!((status, line.as_str()), (200, "GET /b/c?x=1 127.0.0.1:9000 lambda root"));
}

#[tokio::test]
async fn what_is_not_signed_by_a_known_key_gets_aws_s_own_error() {
    let (door, heard) = door(Options::default());
    let post = || request("POST", INVOKE, &[]);
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let sts = "Action=GetCallerIdentity&Version=2011-06-15";
    let stranger = Credential { access_key_id: "AKIA2".into(), ..root_key() };
    let liar = Credential { secret: "guess".into(), ..root_key() };
    let mut late = post();
    sign(&mut late, b"{}", &root_key(), "us-east-1", "lambda", AT - 600_000);
    let mut abroad = post();
    sign(&mut abroad, b"{}", &root_key(), "eu-west-1", "lambda", AT);
    let rows: Vec<(&str, Parts, &str, &str)> = vec![
        ("unsigned", post(), "{}", "MissingAuthenticationTokenException Missing Authentication Token"),
        ("unsigned sts", request("POST", "/", &form), sts, "MissingAuthenticationToken Request is missing"),
        ("unsigned sts by query", request("GET", "/?Action=X&Version=2010-05-08", &[]), "", "MissingAuthenticationToken Request"),
        ("unknown key", signed(post(), "{}", "lambda", &stranger), "{}", "UnrecognizedClientException The security token"),
        ("unknown key, sts", signed(post(), "{}", "sts", &stranger), "{}", "InvalidClientTokenId"),
        ("wrong secret", signed(post(), "{}", "lambda", &liar), "{}", "InvalidSignatureException The request signature"),
        ("wrong secret, iam", signed(post(), "{}", "iam", &liar), "{}", "SignatureDoesNotMatch"),
        ("another body", signed(post(), "{}", "lambda", &root_key()), "[]", "InvalidSignatureException"),
        (
            "late",
            late,
            "{}",
            "InvalidSignatureException Signature expired: 20260102T025405Z is now earlier than 20260102T025905Z",
        ),
        ("another region", abroad, "{}", "InvalidSignatureException Credential should be scoped to a valid region"),
        ("our own name of a service", signed(post(), "{}", "lambda-url", &root_key()), "{}", "InvalidSignatureException"),
        ("malformed", request("POST", INVOKE, &[("authorization", "AWS4-HMAC-SHA256 x")]), "{}", "IncompleteSignatureException"),
        (
            "another scheme",
            request("POST", INVOKE, &[("authorization", "Bearer x")]),
            "{}",
            "MissingAuthenticationTokenException",
        ),
        // H68: an instance's key, used from elsewhere.
        ("an instance's key", signed(post(), "{}", "lambda", &instance(1).credential), "{}", "UnrecognizedClientException"),
    ];
    for (what, parts, body, want) in rows {
        let (status, line) = ask(&door, parts, body).await;
        assert!(status == 403 && line.starts_with(want), "{what}: {status} {line}");
        assert!(!line.contains("root") && !line.contains("secret 1"), "{what}: no secret in an answer");
    }
    assert!(heard.0.lock().expect("no panic").is_empty(), "nothing reached the dialect");
}

/// H28, H82: a browser's page and a rebound name reach no API, whatever else they bring.
#[tokio::test]
async fn h28_h82_pages_and_foreign_hosts_are_refused() {
    for no_auth in [false, true] {
        let (door, heard) = door(Options { no_auth, hosts: vec!["myna.test".into()], ..Options::default() });
        let rows = [
            vec![("host", "evil.example:9000")],
            vec![("host", "127.0.0.1.evil.example")],
            vec![("host", "localhost.evil.example")],
            vec![("host", "192.0.2.7:9000")],
            vec![("origin", "http://evil.example")],
            vec![("origin", "null")],
            vec![("origin", "http://127.0.0.1:9000")],
            vec![("origin", "http://id.lambda-url.us-east-1.localhost:9000")],
            vec![("sec-fetch-site", "cross-site")],
            vec![("sec-fetch-site", "same-origin")],
        ];
        for headers in rows {
            let parts = signed(request("POST", INVOKE, &headers), "{}", "lambda", &root_key());
            let (status, line) = ask(&door, parts, "{}").await;
            assert!(status == 403 && line.starts_with("AccessDeniedException"), "{headers:?}: {line}");
        }
        assert!(heard.0.lock().expect("no panic").is_empty());
        for host in ["localhost:9000", "LOCALHOST", "127.0.0.1", "127.1.2.3:1", "[::1]:9000", "a.localhost", "myna.test:9000"] {
            let parts = signed(request("POST", INVOKE, &[("host", host)]), "{}", "lambda", &root_key());
            assert_eq!(ask(&door, parts, "{}").await.0, 200, "{host}");
        }
    }
}

/// H82: `--no-auth` waives signatures, and a request's service is still not guessed from what it carries.
#[tokio::test]
async fn h82_no_auth_waives_signatures_only() {
    let (door, _) = door(Options { no_auth: true, ..Options::default() });
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let liar = Credential { access_key_id: "test".into(), secret: "test".into(), ..root_key() };
    let rows = [
        (request("POST", INVOKE, &[]), "{}", "lambda root"),
        (request("POST", "/", &[("x-amz-target", "Logs_20140328.DescribeLogGroups")]), "{}", "logs root"),
        (request("POST", "/", &form), "Action=GetCallerIdentity&Version=2011-06-15", "sts root"),
        (request("POST", "/", &form), "Action=ListRoles&Version=2010-05-08", "iam root"),
        (signed(request("POST", "/", &[]), "{}", "logs", &liar), "{}", "logs root"),
    ];
    for (parts, body, want) in rows {
        let (status, line) = ask(&door, parts, body).await;
        assert!(status == 200 && line.ends_with(want), "{line}");
    }
}

const NAMED: &str = "abc123.lambda-url.us-east-1.localhost:9000";

#[tokio::test]
async fn function_urls_by_name_and_by_path_are_one() {
    let (door, _) = door(Options::default());
    let named = [("host", NAMED)];
    let rows = [
        (request("GET", "/a/b?x=1", &named), format!("GET /a/b?x=1 {NAMED} lambda-url anonymous")),
        (request("GET", "/_url/abc123/a/b?x=1", &[]), format!("GET /a/b?x=1 {NAMED} lambda-url anonymous")),
        (request("GET", "/_url/abc123", &[]), format!("GET / {NAMED} lambda-url anonymous")),
        (request("GET", "/_url/abc123?x=1", &[]), format!("GET /?x=1 {NAMED} lambda-url anonymous")),
        // The platform's own paths mean nothing on a function's host.
        (request("GET", "/livez", &named), format!("GET /livez {NAMED} lambda-url anonymous")),
        (request("GET", "/_code/x", &named), format!("GET /_code/x {NAMED} lambda-url anonymous")),
        (request("GET", "/a//../b", &named), format!("GET /a//../b {NAMED} lambda-url anonymous")),
        // Cross-origin requests are the function's affair.
        (
            request("GET", "/", &[("host", NAMED), ("origin", "http://evil.example")]),
            format!("GET / {NAMED} lambda-url anonymous"),
        ),
        (signed(request("POST", "/x", &named), "{}", "lambda", &root_key()), format!("POST /x {NAMED} lambda-url root")),
        (signed(request("POST", "/_url/abc123/x", &[]), "{}", "lambda", &root_key()), format!("POST /x {NAMED} lambda-url root")),
        // A signature that doesn't hold makes the caller nobody.
        (signed(request("POST", "/x", &named), "[]", "lambda", &root_key()), format!("POST /x {NAMED} lambda-url anonymous")),
        (signed(request("POST", "/x", &named), "{}", "s3", &root_key()), format!("POST /x {NAMED} lambda-url anonymous")),
        (
            signed(request("POST", "/x", &named), "{}", "lambda", &instance(1).credential),
            format!("POST /x {NAMED} lambda-url anonymous"),
        ),
        (
            request("GET", "/", &[("host", NAMED), ("authorization", "Bearer the-function-s-own")]),
            format!("GET / {NAMED} lambda-url anonymous"),
        ),
    ];
    for (parts, want) in rows {
        let body = if parts.method == "POST" { "{}" } else { "" };
        assert_eq!(ask(&door, parts, body).await, (200, want));
    }
}

/// H27, H69: what a browser shows as a page gets the function's own host, so that it shares no origin with the platform.
#[tokio::test]
async fn h69_a_page_is_sent_to_the_function_s_own_host() {
    let (door, heard) = door(Options::default());
    let page = request("GET", "/_url/abc123/a?b=c", &[("sec-fetch-mode", "navigate"), ("sec-fetch-site", "none")]);
    assert_eq!(ask(&door, page, "").await, (307, format!("http://{NAMED}/a?b=c")));
    for id in ["a%0d%0ab", "a@evil.example", "", "a:1", "A.b"] {
        let page = request("GET", &format!("/_url/{id}/"), &[("sec-fetch-mode", "navigate")]);
        let (status, line) = ask(&door, page, "").await;
        assert_eq!(status, 403, "{id}: {line}");
    }
    assert!(heard.0.lock().expect("no panic").is_empty());
}

#[tokio::test]
async fn health_and_downloads() {
    let ready = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is = ready.clone();
    let (door, _) = door(Options {
        ready: Some(Arc::new(move || is.load(std::sync::atomic::Ordering::Relaxed))),
        download: Some(Arc::new(|capability: &str| {
            let found = (capability == "good").then(|| reply::plain(200, "archive"));
            Box::pin(async move { found })
        })),
        ..Options::default()
    });
    assert_eq!(ask(&door, request("GET", "/livez", &[]), "").await.0, 200);
    assert_eq!(ask(&door, request("GET", "/readyz", &[]), "").await.0, 503);
    ready.store(true, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(ask(&door, request("GET", "/readyz", &[]), "").await.0, 200);
    assert_eq!(ask(&door, request("GET", "/livez?x", &[]), "").await.0, 403, "only the bare path");
    assert_eq!(ask(&door, request("GET", "/_code/good", &[]), "").await, (200, "archive".into()));
    assert_eq!(ask(&door, request("GET", "/_code/bad", &[]), "").await, (404, "not found\n".into()));
    assert_eq!(ask(&door, request("POST", "/_code/good", &[]), "").await.0, 403);
}

/// H15: nobody makes the platform hold a large body without naming a key.
#[tokio::test]
async fn h15_large_bodies_need_a_plausible_signature_first() {
    let (door, _) = door(Options::default());
    let peer = Peer::Tcp(([127, 0, 0, 1], 4711).into());
    let large = |by: Option<Credential>| {
        let mut parts = request("POST", "/2015-03-31/functions", &[("content-length", "70000000")]);
        if let Some(by) = by {
            sign(&mut parts, b"", &by, "us-east-1", "lambda", AT);
        }
        door.admit(&parts, &peer)
    };
    assert!(large(None).is_err());
    assert!(large(Some(Credential { access_key_id: "AKIA2".into(), ..root_key() })).is_err());
    assert!(large(Some(root_key())).expect("a known key") >= 70_000_000);
    let chunked = request("POST", "/2015-03-31/functions", &[("transfer-encoding", "chunked")]);
    assert!(door.admit(&chunked, &peer).is_err());
}

async fn over_socket(door: &AwsDoor, parts: Parts, body: &str, caller: InstanceCaller) -> (u16, String) {
    let response = door.plane(Request::from_parts(parts, Body::Bytes(Bytes::copy_from_slice(body.as_bytes()))), caller).await;
    let status = response.status().as_u16();
    let ReplyBody::Bytes(bytes) = response.into_body() else { panic!("a whole answer") };
    (status, String::from_utf8_lossy(&bytes).into_owned())
}

/// H36, H68: an instance's socket takes that instance's key and no other, for the data plane and nothing else.
#[tokio::test]
async fn h68_an_instance_s_socket() {
    let (door, heard) = door(Options::default());
    let own = instance(1).credential;
    let by = |credential: &Credential, method: &str, target: &str, service: &str| {
        signed(request(method, target, &[]), "{}", service, credential)
    };
    for (target, service) in [
        (INVOKE, "lambda"),
        ("/2021-11-15/functions/f/response-streaming-invocations", "lambda"),
        ("/", "sts"),
        ("/", "dynamodb"),
    ] {
        let (status, line) = over_socket(&door, by(&own, "POST", target, service), "{}", instance(1)).await;
        assert!(status == 200 && line.ends_with(&format!("{service} role")), "{line}");
    }
    heard.0.lock().expect("no panic").clear();
    let tampered = Credential { session_token: Some("token 2".into()), ..own.clone() };
    let rows = [
        ("another instance's key", by(&instance(2).credential, "POST", INVOKE, "lambda")),
        ("the administrator's key", by(&root_key(), "POST", INVOKE, "lambda")),
        ("another token", by(&tampered, "POST", INVOKE, "lambda")),
        ("unsigned", request("POST", INVOKE, &[])),
        ("create", by(&own, "POST", "/2015-03-31/functions", "lambda")),
        ("update", by(&own, "PUT", "/2015-03-31/functions/f/code", "lambda")),
        ("delete", by(&own, "DELETE", "/2015-03-31/functions/f", "lambda")),
        ("read", by(&own, "GET", "/2015-03-31/functions/f", "lambda")),
        ("hidden by dots", by(&own, "POST", "/2015-03-31/functions/f/invocations/..", "lambda")),
        ("hidden by its end", by(&own, "POST", "/2017-03-31/tags/x/invocations", "lambda")),
        ("roles", by(&own, "POST", "/", "iam")),
        ("logs", by(&own, "POST", "/", "logs")),
    ];
    for (what, parts) in rows {
        let (status, line) = over_socket(&door, parts, "{}", instance(1)).await;
        assert_eq!(status, 403, "{what}: {line}");
    }
    assert!(heard.0.lock().expect("no panic").is_empty(), "nothing reached the dialect");
}
