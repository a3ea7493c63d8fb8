//! The state machine: what runs while something is being prepared, what a crash leaves behind, what reconcile makes of rows.

use super::{Bench, creation, zip};
use crate::aws::{Aws, reconcile, rows};
use bytes::Bytes;
use model::{Cause, Fault, Key, ModelOp, ports::Dialect};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use testkit::platform::Scripted;

const F: &str = "/2015-03-31/functions";

impl Bench {
    async fn called(&self) -> u16 {
        self.lambda("POST", "/2015-03-31/functions/f/invocations", "{}").await.status
    }
}

#[tokio::test]
async fn callers_get_the_old_code_until_the_new_one_is_prepared() {
    let bench = Bench::new().await;
    bench.function("f").await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let unit = || bench.platform.function("f").versions["$LATEST"].clone();
    let old = unit();
    bench.platform.hold().await;
    let begun = bench.json("PUT", &format!("{F}/f/code"), json!({ "ZipFile": zip("2") })).await.json();
    assert_eq!((&begun["State"], &begun["LastUpdateStatus"]), (&json!("Active"), &json!("InProgress")));
    assert_eq!(begun["LastUpdateStatusReasonCode"], "Creating");
    assert_eq!((unit().revision, unit().package.digest()), (old.revision, old.package.digest()));
    let second = bench.json("PUT", &format!("{F}/f/configuration"), json!({ "Timeout": 5 })).await.error();
    let text = "The operation cannot be performed at this time. An update is in progress for resource: arn:aws:lambda:us-east-1:000000000000:function:f";
    assert_eq!(second, (409, "ResourceConflictException".into(), text.into()));
    let calls = seen.clone();
    bench.platform.answer(move |target, _| {
        calls.lock().unwrap().push(target.function.clone());
        Ok(Scripted::json("1"))
    });
    assert_eq!(bench.called().await, 200, "an update keeps nobody waiting");
    bench.platform.release();
    let now = bench.settled("f").await;
    assert_eq!((&now["LastUpdateStatus"], &now["CodeSha256"]), (&json!("Successful"), &begun["CodeSha256"]));
    assert!(unit().revision != old.revision && unit().package.digest() != old.package.digest());
    assert_eq!(seen.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn what_cannot_be_prepared_fails_and_says_why() {
    let bench = Bench::new().await;
    bench.platform.prepares(|_| Err(Fault::new(Cause::Unsupported, "no runtime fits python3.12").hint("install one")));
    bench.json("POST", F, creation("f")).await;
    let now = bench.settled("f").await;
    assert_eq!((&now["State"], &now["StateReasonCode"]), (&json!("Failed"), &json!("InvalidRuntime")));
    assert_eq!(now["StateReason"], "no runtime fits python3.12; install one");
    assert_eq!(bench.called().await, 409);
    // Another attempt starts from the beginning.
    bench.platform.prepares(|_| Ok(()));
    bench.json("PUT", &format!("{F}/f/configuration"), json!({ "Runtime": "python3.11" })).await;
    assert_eq!(bench.settled("f").await["State"], "Active");
    let good = bench.platform.function("f").versions["$LATEST"].revision;
    // A change that fails leaves what ran before.
    bench.platform.prepares(|_| Err(Fault::invalid("broken")));
    bench.json("PUT", &format!("{F}/f/configuration"), json!({ "Handler": "other.main" })).await;
    let now = bench.settled("f").await;
    assert_eq!(
        (&now["State"], &now["LastUpdateStatus"], &now["Handler"]),
        (&json!("Active"), &json!("Failed"), &json!("other.main"))
    );
    assert_eq!(bench.platform.function("f").versions["$LATEST"].revision, good);
    assert_eq!(bench.called().await, 200);
}

#[tokio::test]
async fn a_crash_in_between_is_taken_up_at_the_next_start() {
    let bench = Bench::new().await;
    bench.platform.hold().await;
    let mut body = creation("f");
    body["Publish"] = json!(true);
    let made = bench.json("POST", F, body).await.json();
    assert_eq!((&made["Version"], &made["State"]), (&json!("1"), &json!("Pending")));
    // The first life's task never ends; a second life has only the rows.
    let second: Arc<dyn Dialect> = Arc::new(Aws::new(testkit_settings(&bench)));
    bench.platform.release();
    bench.platform.start(&second).await;
    assert_eq!(bench.settled("f").await["State"], "Active");
    let version = bench.lambda("GET", &format!("{F}/f/configuration?Qualifier=1"), "").await.json();
    assert_eq!(version["State"], "Active");
    assert_eq!(bench.platform.function("f").versions.len(), 2);
}

fn testkit_settings(bench: &Bench) -> model::ports::PlatformSettings {
    model::ports::Platform::settings(&*bench.platform).clone()
}

#[tokio::test]
async fn revisions_guard_every_change() {
    let bench = Bench::new().await;
    bench.function("f").await;
    for (method, path, body) in [
        ("PUT", format!("{F}/f/configuration"), json!({ "Timeout": 9 })),
        ("PUT", format!("{F}/f/code"), json!({ "ZipFile": zip("3") })),
        ("POST", format!("{F}/f/versions"), json!({})),
        ("POST", format!("{F}/f/policy"), json!({ "StatementId": "s", "Action": "lambda:*", "Principal": "s3.amazonaws.com" })),
    ] {
        let now = bench.settled("f").await["RevisionId"].clone();
        let with = |revision: &Value| {
            let mut body = body.clone();
            body["RevisionId"] = revision.clone();
            bench.json(method, &path, body)
        };
        let stale = with(&json!("00000000-0000-0000-0000-000000000000")).await.error();
        assert_eq!((stale.0, &*stale.1), (412, "PreconditionFailedException"), "{path}");
        assert!(stale.2.starts_with("The Revision Id provided does not match the latest Revision Id. Call the Get"));
        let done = with(&now).await;
        assert!(done.status < 300, "{path}: {}", done.text());
        assert_ne!(bench.settled("f").await["RevisionId"], now, "{path} changes the revision");
    }
    let dry = bench.json("PUT", &format!("{F}/f/code"), json!({ "ZipFile": zip("4"), "DryRun": true })).await.json();
    assert_ne!(dry["CodeSha256"], bench.get("f").await["CodeSha256"]);
}

#[tokio::test]
async fn reconcile_is_pure_and_whole() {
    let bench = Bench::new().await;
    bench.function("f").await;
    bench.json("POST", &format!("{F}/f/versions"), json!({})).await;
    bench.json("POST", &format!("{F}/f/aliases"), json!({ "Name": "live", "FunctionVersion": "1" })).await;
    let tenant = model::TenantId::new("000000000000");
    let settings = testkit_settings(&bench);
    let keys = [
        Key::new(&tenant, rows::FUNCTION, "f"),
        Key::new(&tenant, rows::VERSION, "f/00000001"),
        Key::new(&tenant, rows::ALIAS, "f/live"),
        Key::new(&tenant, rows::ROLE, "f"),
        Key::new(&tenant, rows::FUNCTION, "gone"),
    ];
    let run = || reconcile::reconcile(&settings, &keys, bench.platform.committed());
    let (first, again) = (run(), run());
    assert_eq!(format!("{first:?}"), format!("{again:?}"));
    let [ModelOp::Put(function), ModelOp::Drop { name, .. }] = &first[..] else { panic!("{first:?}") };
    assert_eq!(name.as_str(), "gone");
    assert_eq!((function.versions.len(), function.aliases.len(), function.dialect), (2, 1, "aws"));
    let unit = &function.versions["1"];
    assert_eq!((unit.settings.memory_mib, unit.settings.timeout.as_secs(), &*unit.settings.log.group), (128, 3, "/aws/lambda/f"));
    assert_ne!(unit.revision, function.versions["$LATEST"].revision, "a version is another unit: its environment says so");
    let rows: Vec<Bytes> = [rows::FUNCTION, rows::VERSION]
        .iter()
        .flat_map(|k| bench.platform.committed().list(&tenant, k, ""))
        .map(|r| r.body)
        .collect();
    assert!(rows.iter().all(|r| serde_json::from_slice::<Value>(r).is_ok()));
}

#[tokio::test]
async fn a_call_of_a_function_in_the_making_waits_for_it() {
    let bench = Bench::new().await;
    bench.platform.hold().await;
    let made = bench.json("POST", F, creation("f")).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let made = made.json();
    assert_eq!((&made["State"], &made["StateReasonCode"]), (&json!("Pending"), &json!("Creating")));
    assert_eq!(made["StateReason"], "The function is being created.");
    assert!(made.get("LastUpdateStatus").is_none() && made.get("Environment").is_none());
    assert_eq!(made["LoggingConfig"], json!({ "LogFormat": "Text", "LogGroup": "/aws/lambda/f" }));
    assert!(made["LastModified"].as_str().unwrap().ends_with("+0000"));

    bench.platform.answer(|_, event| {
        let echo = Scripted::json(event.body.bytes().unwrap().clone());
        Ok(Scripted { tail: Some(Bytes::from_static(b"END\n")), ..echo })
    });
    let request = http::Request::post(format!("{F}/f/invocations")).header("X-Amz-Log-Type", "Tail");
    let call = bench.send(request.body(Bytes::from_static(b"{\"a\": 1}")).unwrap(), bench.platform.root(), "lambda");
    let release = async {
        tokio::task::yield_now().await;
        bench.platform.release();
    };
    let (called, ()) = tokio::join!(call, release);
    assert_eq!((called.status, &called.body[..]), (200, &b"{\"a\": 1}"[..]));
    assert_eq!((called.header("x-amz-executed-version"), called.header("x-amz-log-result")), ("$LATEST", "RU5ECg=="));
    assert_eq!(called.header("x-amzn-requestid").len(), 36);

    let now = bench.settled("f").await;
    assert_eq!((&now["State"], &now["LastUpdateStatus"]), (&json!("Active"), &json!("Successful")));
    assert_ne!(now["RevisionId"], made["RevisionId"]);
    let whole = bench.lambda("GET", &format!("{F}/f"), "").await.json();
    assert!(whole["Code"]["Location"].as_str().unwrap().starts_with("http://127.0.0.1:9000/_code/capability-"));
    assert_eq!(bench.lambda("DELETE", &format!("{F}/f"), "").await.status, 204);
    assert_eq!(bench.called().await, 404);
    assert_eq!(bench.lambda("DELETE", &format!("{F}/f"), "").await.error().0, 404);
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_for_a_function_in_the_making_only_so_long() {
    let bench = Bench::new().await;
    bench.platform.hold().await;
    bench.json("POST", F, creation("f")).await;
    let got = bench.lambda("POST", "/2015-03-31/functions/f/invocations", "{}").await.error();
    let text = "The operation cannot be performed at this time. The function is currently in the following state: Pending";
    assert_eq!(got, (409, "ResourceConflictException".into(), text.into()));
}
