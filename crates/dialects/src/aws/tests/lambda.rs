//! The Lambda API: the life of a function, its versions and aliases, what is refused and how.

use super::{Bench, ROLE, creation, zip};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use model::{Cause, Fault, InstanceId, Principal, event::ReplyBody};
use serde_json::{Value, json};
use std::sync::Arc;
use testkit::platform::Scripted;

const F: &str = "/2015-03-31/functions";

#[tokio::test]
async fn a_function_is_made_called_and_removed() {
    let bench = Bench::new().await;
    bench.platform.hold().await;
    let made = bench.json("POST", F, creation("hello")).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let made = made.json();
    assert_eq!((&made["State"], &made["StateReasonCode"]), (&json!("Pending"), &json!("Creating")));
    assert_eq!(made["StateReason"], "The function is being created.");
    assert!(made.get("LastUpdateStatus").is_none() && made.get("Environment").is_none());
    assert_eq!(made["LoggingConfig"], json!({ "LogFormat": "Text", "LogGroup": "/aws/lambda/hello" }));
    assert!(made["LastModified"].as_str().unwrap().ends_with("+0000"));

    // A call of a function in the making waits for it.
    bench.platform.answer(|target, event| {
        assert_eq!(target.function.as_str(), "hello");
        Ok(Scripted { tail: Some(Bytes::from_static(b"END\n")), ..Scripted::json(event.body.bytes().unwrap().clone()) })
    });
    let request = http::Request::post(format!("{F}/hello/invocations")).header("X-Amz-Log-Type", "Tail");
    let call = bench.send(request.body(Bytes::from_static(b"{\"a\": 1}")).unwrap(), bench.platform.root(), "lambda");
    let release = async {
        tokio::task::yield_now().await;
        bench.platform.release();
    };
    let (called, ()) = tokio::join!(call, release);
    assert_eq!((called.status, &called.body[..]), (200, &b"{\"a\": 1}"[..]));
    assert_eq!(called.header("x-amz-executed-version"), "$LATEST");
    assert_eq!(called.header("x-amz-log-result"), STANDARD.encode("END\n"));
    assert_eq!(called.header("x-amzn-requestid").len(), 36);

    let now = bench.settled("hello").await;
    assert_eq!((&now["State"], &now["LastUpdateStatus"]), (&json!("Active"), &json!("Successful")));
    assert_ne!(now["RevisionId"], made["RevisionId"]);
    let whole = bench.lambda("GET", &format!("{F}/hello"), "").await.json();
    assert!(whole["Code"]["Location"].as_str().unwrap().starts_with("http://127.0.0.1:9000/_package/"));

    assert_eq!(bench.lambda("DELETE", &format!("{F}/hello"), "").await.status, 204);
    let gone = bench.lambda("POST", &format!("{F}/hello/invocations"), "{}").await.error();
    let text = "Function not found: arn:aws:lambda:us-east-1:000000000000:function:hello";
    assert_eq!(gone, (404, "ResourceNotFoundException".into(), text.into()));
    assert_eq!(bench.lambda("DELETE", &format!("{F}/hello"), "").await.error().0, 404);
}
