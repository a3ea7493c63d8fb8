//! Requests through function URLs, end to end in the dialect.

use super::{Bench, Got};
use bytes::Bytes;
use futures_util::StreamExt;
use model::{
    Cause, Fault, Frame, Principal, ReplyHead,
    event::{FunctionError, Reply, ReplyBody, Trigger},
};
use serde_json::{Value, json};
use testkit::platform::Scripted;

impl Bench {
    /// A function with a URL; its id.
    async fn url(&self, body: Value) -> String {
        self.function("f").await;
        let made = self.json("POST", "/2021-10-31/functions/f/url", body).await;
        assert_eq!(made.status, 201, "{}", made.text());
        self.platform.function("f").urls[0].id.to_string()
    }
    async fn visit(&self, request: http::request::Builder, body: &'static [u8]) -> Got {
        self.send(request.body(Bytes::from_static(body)).unwrap(), Principal::Anonymous, "lambda-url").await
    }
    async fn visit_plain(&self, id: &str) -> Got {
        self.visit(http::Request::get("/").header("Host", format!("{id}.lambda-url.us-east-1.localhost:9000")), b"").await
    }
}

#[tokio::test]
async fn a_url_is_reached_by_name_and_by_path_and_carries_the_request() {
    let bench = Bench::new().await;
    let id = bench.url(json!({ "AuthType": "NONE" })).await;
    bench.platform.answer(|target, event| {
        assert_eq!((event.trigger, target.context[0].1.as_ref()), (Trigger::Url, "NONE"));
        let document: Value = serde_json::from_slice(event.body.bytes().unwrap()).unwrap();
        let answer = json!({ "statusCode": 201, "body": document.to_string(), "headers": { "x-amzn-RequestId": "forged" } });
        Ok(Scripted::json(answer.to_string()))
    });
    let by_name = http::Request::post("/a/b?x=1").header("Host", format!("{id}.lambda-url.us-east-1.localhost:9000"));
    let by_path = http::Request::post(format!("/_url/{id}/a/b?x=1")).header("Host", "127.0.0.1:9000");
    for request in [by_name, by_path] {
        let got = bench.visit(request.header("Content-Type", "text/plain"), b"hi").await;
        assert_eq!((got.status, got.header("content-type")), (201, "application/json"));
        let event = got.json();
        assert_eq!((&event["rawPath"], &event["rawQueryString"], &event["body"]), (&json!("/a/b"), &json!("x=1"), &json!("hi")));
        assert_eq!(event["requestContext"]["requestId"], got.header("x-amzn-requestid"));
        assert_eq!(got.headers.get_all("x-amzn-requestid").iter().count(), 1);
    }
    let bare = bench.visit(http::Request::get(format!("/_url/{id}")).header("Host", "127.0.0.1:9000"), b"").await;
    assert_eq!(bare.json()["rawPath"], "/");
    let nobody = bench.visit_plain("0123").await;
    assert_eq!(
        (nobody.status, nobody.text(), nobody.header("x-amzn-errortype")),
        (403, r#"{"Message":null}"#.into(), "AccessDeniedException")
    );
}

#[tokio::test]
async fn failures_are_told_without_their_details() {
    let bench = Bench::new().await;
    let id = bench.url(json!({ "AuthType": "AWS_IAM" })).await;
    for (cause, status, text) in [
        (Cause::Denied, 403, r#"{"Message":"Forbidden"}"#),
        (Cause::Throttled, 429, r#"{"Message":"Rate Exceeded."}"#),
        (Cause::Exhausted, 503, r#"{"Message":"Service Unavailable"}"#),
    ] {
        bench.platform.answer(move |_, _| Err(Fault::new(cause, "secret")));
        let got = bench.visit_plain(&id).await;
        assert_eq!((got.status, got.text()), (status, text.to_owned()));
    }
    for (cause, status) in [
        (Cause::Timeout, 504),
        (Cause::Exited, 502),
        (Cause::InitFailed, 502),
        (Cause::ReplyTooLarge, 502),
        (Cause::Internal, 500),
    ] {
        bench.platform.answer(move |_, _| Ok(Scripted::fault(Fault::new(cause, "secret"))));
        let got = bench.visit_plain(&id).await;
        assert!(got.status == status && !got.text().contains("secret"), "{cause:?}: {}", got.status);
    }
    bench.platform.answer(|_, _| {
        let head = ReplyHead { error: Some(FunctionError { kind: "E".into() }), ..ReplyHead::default() };
        Ok(Scripted {
            reply: Ok(Reply { head, body: ReplyBody::Bytes(Bytes::from_static(b"{\"errorMessage\":\"secret\"}")) }),
            tail: None,
        })
    });
    let got = bench.visit_plain(&id).await;
    assert_eq!((got.status, got.text()), (502, "Internal Server Error".to_owned()));
    bench.platform.answer(|_, _| Ok(Scripted::json(r#"{"statusCode":200,"headers":{"a":"b\r\nc: d"}}"#)));
    assert_eq!(bench.visit_plain(&id).await.status, 502);
}

#[tokio::test]
async fn browsers_are_told_the_rules() {
    let bench = Bench::new().await;
    let id = bench
        .url(json!({ "AuthType": "NONE", "Cors": { "AllowOrigins": ["https://a.b"], "AllowMethods": ["GET"], "MaxAge": 5 } }))
        .await;
    bench.platform.answer(|_, _| Ok(Scripted::json(r#"{"statusCode":200,"headers":{"Access-Control-Allow-Origin":"*"}}"#)));
    let host = format!("{id}.lambda-url.us-east-1.localhost");
    let ask = |method: &str, origin: &str| {
        http::Request::builder().method(method).uri("/").header("Host", &host).header("Origin", origin)
    };
    let preflight = bench.visit(ask("OPTIONS", "https://a.b").header("Access-Control-Request-Method", "GET"), b"").await;
    assert_eq!((preflight.status, preflight.header("access-control-allow-origin")), (200, "https://a.b"));
    let plain = bench.visit(ask("GET", "https://a.b"), b"").await;
    assert_eq!((plain.header("access-control-allow-origin"), plain.header("vary")), ("https://a.b", "Origin"));
    assert_eq!(bench.visit(ask("GET", "https://evil"), b"").await.header("access-control-allow-origin"), "");
}

#[tokio::test]
async fn streams_go_on_as_they_come_and_break_where_they_break() {
    let bench = Bench::new().await;
    let id = bench.url(json!({ "AuthType": "NONE", "InvokeMode": "RESPONSE_STREAM" })).await;
    let answer = |kind: Option<&'static str>, frames: fn() -> Vec<Frame>| {
        bench.platform.answer(move |_, _| {
            let mut head = ReplyHead { streamed: true, ..ReplyHead::default() };
            if let Some(kind) = kind {
                head.headers.insert("content-type", kind.parse().unwrap());
            }
            let body = ReplyBody::Stream(futures_util::stream::iter(frames()).boxed());
            Ok(Scripted { reply: Ok(Reply { head, body }), tail: None })
        });
    };
    const PRELUDE: &str = "application/vnd.awslambda.http-integration-response";
    answer(Some(PRELUDE), || {
        let parts: [&[u8]; 4] =
            [br#"{"statusCode":202,"headers":{"x-a":"#, b"\"1\"},\"cookies\":[\"c=1\"]}\0\0\0", b"\0\0\0\0\0he", b"llo"];
        parts.into_iter().map(|p| Frame::Data(Bytes::from_static(p))).collect()
    });
    let got = bench.visit_plain(&id).await;
    assert_eq!((got.status, got.header("x-a"), got.header("set-cookie"), got.text()), (202, "1", "c=1", "hello".into()));
    assert!(!got.broken && got.header("x-amzn-requestid").len() == 36);
    answer(None, || vec![Frame::Data(Bytes::from_static(b"raw"))]);
    let got = bench.visit_plain(&id).await;
    assert_eq!((got.status, got.header("content-type"), got.text()), (200, "application/octet-stream", "raw".into()));
    // Before the first byte a failure is an answer; after it the answer is cut off.
    answer(None, || vec![Frame::Fault(Fault::new(Cause::Timeout, "x"))]);
    assert_eq!(bench.visit_plain(&id).await.status, 504);
    answer(None, || {
        let mut trailers = http::HeaderMap::new();
        trailers.insert("lambda-runtime-function-error-type", "E".parse().unwrap());
        vec![Frame::Data(Bytes::from_static(b"half")), Frame::Trailers(trailers)]
    });
    let got = bench.visit_plain(&id).await;
    assert!(got.status == 200 && got.broken && got.text() == "half");
    answer(Some(PRELUDE), || (0..20).map(|_| Frame::Data(Bytes::from(vec![b' '; 1024]))).collect());
    assert_eq!(bench.visit_plain(&id).await.status, 502, "metadata without an end");
}
