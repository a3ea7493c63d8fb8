//! CloudWatch Logs, STS and IAM.

use super::{Bench, Got, ROLE, lambda::messages};
use bytes::Bytes;
use futures_util::StreamExt;
use model::{
    Body, Frame, FunctionName, InstanceId, Principal, TenantId,
    event::ReplyBody,
    log::{Line, LogRecord, Stream},
};
use serde_json::{Value, json};
use std::sync::Arc;

impl Bench {
    async fn logs(&self, operation: &str, body: Value) -> Got {
        let request = http::Request::post("/").header("X-Amz-Target", format!("Logs_20140328.{operation}"));
        self.send(request.body(Bytes::from(body.to_string())).unwrap(), self.platform.root(), "logs").await
    }
    pub(super) async fn query(&self, service: &str, form: &str, who: Principal) -> Got {
        let request = http::Request::post("/").header("Content-Type", "application/x-www-form-urlencoded");
        self.send(request.body(Bytes::from(form.to_owned())).unwrap(), who, service).await
    }
    fn write(&self, stream: &Arc<Stream>, at_ms: u64, text: &str) {
        let line = Line::Text { text: Bytes::from(text.to_owned()), level: None };
        self.platform.log(stream, LogRecord { at_ms, id: None, line });
    }
}

fn stream(name: &str) -> Arc<Stream> {
    Arc::new(Stream {
        tenant: TenantId::new("000000000000"),
        function: FunctionName::new("f"),
        group: Arc::from("/aws/lambda/f"),
        name: Arc::from(name),
        version: Arc::from("$LATEST"),
        code: Arc::from("c0de"),
        instance: InstanceId::random(),
        json: false,
    })
}

fn texts(got: &Value) -> Vec<String> {
    got["events"].as_array().unwrap().iter().map(|e| e["message"].as_str().unwrap().trim_end().to_owned()).collect()
}

const G: &str = "/aws/lambda/f";

#[tokio::test]
async fn logs_are_read_in_pages_from_both_ends() {
    let bench = Bench::new().await;
    let (one, two) = (stream("one"), stream("two"));
    for i in 0..7 {
        bench.write(if i == 3 { &two } else { &one }, 1000 + i, &format!("line {i}"));
    }
    let group = &bench.logs("DescribeLogGroups", json!({ "logGroupNamePrefix": "/aws" })).await.json()["logGroups"][0];
    assert_eq!(
        (&group["logGroupName"], &group["arn"]),
        (&json!(G), &json!("arn:aws:logs:us-east-1:000000000000:log-group:/aws/lambda/f:*"))
    );
    let newest = bench
        .logs("DescribeLogStreams", json!({ "logGroupName": G, "orderBy": "LastEventTime", "descending": true, "limit": 1 }))
        .await
        .json();
    assert_eq!((&newest["logStreams"][0]["logStreamName"], newest["nextToken"].is_string()), (&json!("one"), true));

    let read = |more: Value| {
        let mut body = json!({ "logGroupName": G, "logStreamName": "one", "limit": 2 });
        for (key, value) in more.as_object().unwrap() {
            body[key] = value.clone();
        }
        async { bench.logs("GetLogEvents", body).await.json() }
    };
    // From the head, forwards to the end; there the token repeats itself.
    let (mut all, mut token) = (Vec::new(), Value::Null);
    loop {
        let more = if token.is_null() { json!({ "startFromHead": true }) } else { json!({ "nextToken": token }) };
        let page = read(more).await;
        all.extend(texts(&page));
        if page["nextForwardToken"] == token {
            assert!(texts(&page).is_empty());
            break;
        }
        token = page["nextForwardToken"].clone();
    }
    assert_eq!(all, ["line 0", "line 1", "line 2", "line 4", "line 5", "line 6"]);
    bench.write(&one, 2000, "later");
    assert_eq!(texts(&read(json!({ "nextToken": token })).await), ["later"], "the last token finds what came after");
    // Without a direction the newest come first, each page in order, and older ones lie behind the backward token.
    let tail = read(json!({})).await;
    assert_eq!(texts(&tail), ["line 6", "later"]);
    assert_eq!(texts(&read(json!({ "nextToken": tail["nextBackwardToken"] })).await), ["line 4", "line 5"]);
    assert_eq!(texts(&read(json!({ "startTime": 1002, "endTime": 1004, "startFromHead": true })).await), ["line 2"]);
    let missing = bench.logs("GetLogEvents", json!({ "logGroupName": "/nothing", "logStreamName": "x" })).await;
    assert_eq!((missing.status, &missing.json()["__type"]), (400, &json!("ResourceNotFoundException")));
}

#[tokio::test]
async fn filtered_events_come_from_all_streams_and_token_by_token() {
    let bench = Bench::new().await;
    let (one, two) = (stream("one"), stream("two"));
    for i in 0..2500_u64 {
        bench.write(if i % 2 == 0 { &one } else { &two }, i, &format!("{} {i}", if i % 500 == 0 { "ERROR" } else { "INFO" }));
    }
    let (mut found, mut token) = (Vec::new(), None::<String>);
    loop {
        let mut body = json!({ "logGroupName": G, "filterPattern": "ERROR", "limit": 2 });
        if let Some(token) = &token {
            body["nextToken"] = json!(token);
        }
        let page = bench.logs("FilterLogEvents", body).await.json();
        found.extend(texts(&page));
        match page["nextToken"].as_str() {
            Some(next) => token = Some(next.to_owned()),
            None => break,
        }
    }
    assert_eq!(found, ["ERROR 0", "ERROR 500", "ERROR 1000", "ERROR 1500", "ERROR 2000"]);
    let only =
        bench.logs("FilterLogEvents", json!({ "logGroupName": G, "logStreamNamePrefix": "tw", "endTime": 3 })).await.json();
    assert_eq!(texts(&only), ["INFO 1", "INFO 3"]);
    assert_eq!(bench.logs("FilterLogEvents", json!({ "logGroupName": G, "filterPattern": "[a, b]" })).await.status, 400);
    assert_eq!(bench.logs("StartQuery", json!({})).await.json()["__type"], "NotImplementedException");
}

#[tokio::test(start_paused = true)]
async fn a_live_tail_tells_of_new_lines_each_second() {
    let bench = Bench::new().await;
    let body = json!({ "logGroupIdentifiers": ["arn:aws:logs:us-east-1:000000000000:log-group:/aws/lambda/f"], "logEventFilterPattern": "-noise" });
    let request = http::Request::post("/").header("X-Amz-Target", "Logs_20140328.StartLiveTail");
    let request = request.body(Body::Bytes(Bytes::from(body.to_string()))).unwrap();
    let reply = testkit::platform::send(&bench.dialect, request, bench.platform.root(), "logs").await;
    let ReplyBody::Stream(mut frames) = reply.into_body() else { panic!("a tail is a stream") };
    let mut next = async || match frames.next().await {
        Some(Frame::Data(bytes)) => messages(&bytes).remove(0),
        _ => panic!("the tail ended"),
    };
    assert_eq!(next().await.0, "initial-response");
    assert_eq!(next().await.0, "sessionStart");
    let one = stream("one");
    bench.write(&one, 1, "hello");
    bench.write(&one, 2, "noise");
    let (kind, update) = next().await;
    let update: Value = serde_json::from_slice(&update).unwrap();
    assert_eq!((&*kind, update["sessionResults"].as_array().unwrap().len()), ("sessionUpdate", 1));
    assert_eq!(update["sessionResults"][0]["message"], "hello\n");
    let quiet: Value = serde_json::from_slice(&next().await.1).unwrap();
    assert_eq!(quiet["sessionResults"], json!([]));
}

#[tokio::test]
async fn everybody_learns_who_they_are() {
    let bench = Bench::new().await;
    let root = bench.query("sts", "Action=GetCallerIdentity&Version=2011-06-15", bench.platform.root()).await.text();
    assert!(
        root.contains("<Arn>arn:aws:iam::000000000000:root</Arn>") && root.contains("<Account>000000000000</Account>"),
        "{root}"
    );
    let role = Principal::Role { tenant: "000000000000".into(), role: Arc::from(ROLE), instance: InstanceId(uuid::Uuid::nil()) };
    let text = bench.query("sts", "Action=GetCallerIdentity", role.clone()).await.text();
    assert!(text.contains("assumed-role/myna-default/0000"), "{text}");
    // H68: nobody is who an unknown role would be.
    let gone = Principal::Role {
        tenant: "000000000000".into(),
        role: "arn:aws:iam::000000000000:role/gone".into(),
        instance: InstanceId(uuid::Uuid::nil()),
    };
    let unknown = bench.query("sts", "Action=GetCallerIdentity", gone).await;
    assert!(unknown.status == 403 && unknown.text().contains("<Code>InvalidClientTokenId</Code>"), "{}", unknown.text());
    let denied = bench.query("iam", "Action=ListRoles", role).await;
    assert!(denied.status == 403 && denied.text().contains("<Code>AccessDenied</Code>"));
    assert_eq!(bench.query("sts", "Action=AssumeRoleWithSAML", bench.platform.root()).await.status, 501);
}

#[tokio::test]
async fn roles_hold_policies_that_the_evaluator_gets() {
    let bench = Bench::new().await;
    let iam = async |form: &str| bench.query("iam", form, bench.platform.root()).await;
    let trust = "%7B%22Statement%22%3A%5B%7B%22Effect%22%3A%22Allow%22%7D%5D%7D";
    let made = iam(&format!("Action=CreateRole&RoleName=r&AssumeRolePolicyDocument={trust}")).await;
    assert!(made.status == 200 && made.text().contains("<Arn>arn:aws:iam::000000000000:role/r</Arn>"), "{}", made.text());
    assert!(
        made.text().contains(&format!("<AssumeRolePolicyDocument>{trust}</AssumeRolePolicyDocument>")),
        "documents come back URL-encoded"
    );
    assert_eq!(iam(&format!("Action=CreateRole&RoleName=r&AssumeRolePolicyDocument={trust}")).await.status, 409);
    assert_eq!(iam(&format!("Action=CreateRole&RoleName=../x&AssumeRolePolicyDocument={trust}")).await.status, 400);
    assert_eq!(iam(&format!("Action=PutRolePolicy&RoleName=r&PolicyName=p&PolicyDocument={trust}")).await.status, 200);
    let broken = iam("Action=PutRolePolicy&RoleName=r&PolicyName=q&PolicyDocument=%7B").await;
    assert!(broken.status == 400 && broken.text().contains("<Code>MalformedPolicyDocument</Code>"));
    let documents = |role: &str| crate::aws::held(bench.platform.committed(), &TenantId::new("000000000000"), role).documents;
    assert_eq!(documents("arn:aws:iam::000000000000:role/r"), [r#"{"Statement":[{"Effect":"Allow"}]}"#]);
    assert!(documents("arn:aws:iam::111111111111:role/r").is_empty() && documents(ROLE).is_empty());
    assert!(iam("Action=ListRoles").await.text().contains("<member><Path>/</Path><RoleName>r</RoleName>"));
    assert!(iam("Action=ListRolePolicies&RoleName=r").await.text().contains("<PolicyNames><member>p</member></PolicyNames>"));
    assert!(iam("Action=GetRolePolicy&RoleName=r&PolicyName=p").await.text().contains(trust));
    assert!(iam("Action=DeleteRole&RoleName=r").await.text().contains("<Code>DeleteConflict</Code>"));
    assert_eq!(iam("Action=DeleteRolePolicy&RoleName=r&PolicyName=p").await.status, 200);
    assert_eq!(iam("Action=DeleteRole&RoleName=r").await.status, 200);
    assert!(iam("Action=GetRole&RoleName=r").await.text().contains("<Code>NoSuchEntity</Code>"));
}
