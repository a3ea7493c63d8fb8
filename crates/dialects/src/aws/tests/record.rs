//! One good request per served operation: its answer has the success code of the table, and is written down for
//! `tests/conformance/aws/model_check.py` when `MYNA_AWS_RECORDINGS` names a file.

use super::{Bench, creation, zip};
use crate::aws::{lambda, logs};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use model::{
    Body, Frame, FunctionName, InstanceId,
    event::ReplyBody,
    log::{Line, LogRecord, Stream},
};
use serde_json::{Value, json};
use std::{collections::BTreeSet, sync::Arc};

struct Recorder {
    bench: Bench,
    answers: Vec<Value>,
}

impl Recorder {
    fn keep(&mut self, service: &str, operation: &str, got: &super::Got) {
        let headers: serde_json::Map<String, Value> =
            got.headers.iter().map(|(n, v)| (n.to_string(), v.to_str().unwrap().into())).collect();
        let body = STANDARD.encode(&got.body);
        self.answers
            .push(json!({ "service": service, "operation": operation, "status": got.status, "headers": headers, "body": body }));
    }
    async fn lambda(&mut self, operation: &str, method: &str, path: &str, body: Value) {
        let got = self.bench.json(method, path, body).await;
        let rows: Vec<Value> = serde_json::from_str(lambda::TABLE).unwrap();
        let row = rows.iter().find(|r| r["name"] == operation).unwrap();
        assert_eq!(Value::from(got.status), row["code"], "{operation}: {}", got.text());
        self.keep("lambda", operation, &got);
        if self.bench.platform.committed().list(&"000000000000".into(), "lambda.function", "f").len() == 1 {
            self.bench.settled("f").await;
        }
    }
    async fn logs(&mut self, operation: &str, body: Value) {
        let request = http::Request::post("/").header("X-Amz-Target", format!("Logs_20140328.{operation}"));
        let request = request.body(Bytes::from(body.to_string())).unwrap();
        let got = self.bench.send(request, self.bench.platform.root(), "logs").await;
        assert_eq!(got.status, 200, "{operation}: {}", got.text());
        self.keep("logs", operation, &got);
    }
    async fn query(&mut self, service: &str, operation: &str, parameters: &str) {
        let form = Bytes::from(format!("Action={operation}&{parameters}"));
        let got = self.bench.send(http::Request::post("/").body(form).unwrap(), self.bench.platform.root(), service).await;
        assert_eq!(got.status, 200, "{operation}: {}", got.text());
        self.keep(service, operation, &got);
    }
    /// The first few messages of a tail: it has no end.
    async fn tail(&mut self) {
        let body = json!({ "logGroupIdentifiers": ["/aws/lambda/f"] }).to_string();
        let request = http::Request::post("/").header("X-Amz-Target", "Logs_20140328.StartLiveTail");
        let request = request.body(Body::Bytes(Bytes::from(body))).unwrap();
        let reply = testkit::platform::send(&self.bench.dialect, request, self.bench.platform.root(), "logs").await;
        let (parts, body) = reply.into_parts();
        let ReplyBody::Stream(mut frames) = body else { panic!("a tail is a stream") };
        self.write("tailed");
        let mut whole = Vec::new();
        for _ in 0..3 {
            if let Some(Frame::Data(bytes)) = futures_util::StreamExt::next(&mut frames).await {
                whole.extend_from_slice(&bytes);
            }
        }
        let got = super::Got { status: parts.status.as_u16(), headers: parts.headers, body: whole.into(), broken: false };
        self.keep("logs", "StartLiveTail", &got);
    }
    fn write(&self, text: &'static str) {
        let stream = Stream {
            tenant: "000000000000".into(),
            function: FunctionName::new("f"),
            group: Arc::from("/aws/lambda/f"),
            name: Arc::from("s"),
            version: Arc::from("$LATEST"),
            instance: InstanceId(uuid::Uuid::nil()),
            json: false,
        };
        let line = Line::Text { text: Bytes::from_static(text.as_bytes()), level: None };
        self.bench.platform.log(&Arc::new(stream), LogRecord { at_ms: 1, id: None, line });
    }
}

#[tokio::test(start_paused = true)]
async fn one_answer_of_every_served_operation() {
    let mut r = Recorder { bench: Bench::new().await, answers: Vec::new() };
    lambda_answers(&mut r).await;
    r.write("hello");
    r.logs("DescribeLogGroups", json!({})).await;
    r.logs("DescribeLogStreams", json!({ "logGroupName": "/aws/lambda/f" })).await;
    r.logs("GetLogEvents", json!({ "logGroupName": "/aws/lambda/f", "logStreamName": "s" })).await;
    r.logs("FilterLogEvents", json!({ "logGroupName": "/aws/lambda/f", "filterPattern": "hello" })).await;
    r.logs("ListTagsForResource", json!({ "resourceArn": "arn:aws:logs:us-east-1:000000000000:log-group:/aws/lambda/f" })).await;
    r.tail().await;
    r.query("sts", "GetCallerIdentity", "").await;
    let document = "%7B%22Statement%22%3A%5B%7B%22Effect%22%3A%22Allow%22%7D%5D%7D";
    r.query(
        "iam",
        "CreateRole",
        &format!("RoleName=r&Description=d%26d&Tags.member.1.Key=k&Tags.member.1.Value=v&AssumeRolePolicyDocument={document}"),
    )
    .await;
    r.query("iam", "GetRole", "RoleName=r").await;
    r.query("iam", "ListRoles", "").await;
    r.query("iam", "PutRolePolicy", &format!("RoleName=r&PolicyName=p&PolicyDocument={document}")).await;
    r.query("iam", "GetRolePolicy", "RoleName=r&PolicyName=p").await;
    r.query("iam", "ListRolePolicies", "RoleName=r").await;
    r.query("iam", "ListAttachedRolePolicies", "RoleName=r").await;
    r.query("iam", "DeleteRolePolicy", "RoleName=r&PolicyName=p").await;
    r.query("iam", "DeleteRole", "RoleName=r").await;

    let of = |service: &str| {
        r.answers.iter().filter(|a| a["service"] == service).map(|a| a["operation"].as_str().unwrap()).collect::<BTreeSet<_>>()
    };
    let rows: Vec<Value> = serde_json::from_str(lambda::TABLE).unwrap();
    let served = rows.iter().filter(|r| r["served"] == true).map(|r| r["name"].as_str().unwrap());
    assert_eq!(of("lambda"), served.collect::<BTreeSet<_>>());
    assert_eq!(of("logs"), logs::SERVED.iter().copied().collect::<BTreeSet<_>>());
    if let Some(path) = std::env::var_os("MYNA_AWS_RECORDINGS") {
        std::fs::write(path, serde_json::to_vec_pretty(&r.answers).unwrap()).unwrap();
    }
}

async fn lambda_answers(r: &mut Recorder) {
    const F: &str = "/2015-03-31/functions";
    let f = |rest: &str| format!("{F}/f{rest}");
    let mut body = creation("f");
    body["Environment"] = json!({ "Variables": { "A_B": "c" } });
    body["Tags"] = json!({ "k": "v" });
    body["LoggingConfig"] = json!({ "LogFormat": "JSON", "SystemLogLevel": "DEBUG" });
    body["KMSKeyArn"] = json!("arn:aws:kms:us-east-1:000000000000:key/x");
    r.lambda("CreateFunction", "POST", F, body).await;
    r.lambda("UpdateFunctionConfiguration", "PUT", &f("/configuration"), json!({ "Timeout": 4, "Description": "d" })).await;
    r.lambda("UpdateFunctionCode", "PUT", &f("/code"), json!({ "ZipFile": zip("2") })).await;
    r.lambda("PublishVersion", "POST", &f("/versions"), json!({})).await;
    r.lambda("ListVersionsByFunction", "GET", &f("/versions"), json!({})).await;
    let split = json!({ "AdditionalVersionWeights": {} });
    r.lambda("CreateAlias", "POST", &f("/aliases"), json!({ "Name": "live", "FunctionVersion": "1", "RoutingConfig": split }))
        .await;
    r.lambda("UpdateAlias", "PUT", &f("/aliases/live"), json!({ "Description": "x" })).await;
    r.lambda("GetAlias", "GET", &f("/aliases/live"), json!({})).await;
    r.lambda("ListAliases", "GET", &f("/aliases"), json!({})).await;
    let permission = json!({ "StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com" });
    r.lambda("AddPermission", "POST", &f("/policy"), permission).await;
    r.lambda("GetPolicy", "GET", &f("/policy"), json!({})).await;
    r.lambda("RemovePermission", "DELETE", &f("/policy/s"), json!({})).await;
    let url = "/2021-10-31/functions/f/url";
    let cors = json!({ "AllowCredentials": true, "AllowOrigins": ["*"], "AllowMethods": ["*"], "AllowHeaders": ["a"], "ExposeHeaders": ["b"], "MaxAge": 1 });
    r.lambda("CreateFunctionUrlConfig", "POST", url, json!({ "AuthType": "NONE", "Cors": cors })).await;
    r.lambda("UpdateFunctionUrlConfig", "PUT", url, json!({ "InvokeMode": "RESPONSE_STREAM" })).await;
    r.lambda("GetFunctionUrlConfig", "GET", url, json!({})).await;
    r.lambda("ListFunctionUrlConfigs", "GET", "/2021-10-31/functions/f/urls", json!({})).await;
    r.lambda("DeleteFunctionUrlConfig", "DELETE", url, json!({})).await;
    r.lambda(
        "PutFunctionConcurrency",
        "PUT",
        "/2017-10-31/functions/f/concurrency",
        json!({ "ReservedConcurrentExecutions": 5 }),
    )
    .await;
    r.lambda("GetFunctionConcurrency", "GET", "/2019-09-30/functions/f/concurrency", json!({})).await;
    r.lambda("GetFunction", "GET", &f(""), json!({})).await;
    r.lambda("DeleteFunctionConcurrency", "DELETE", "/2017-10-31/functions/f/concurrency", json!({})).await;
    let provisioned = "/2019-09-30/functions/f/provisioned-concurrency";
    let live = format!("{provisioned}?Qualifier=live");
    r.lambda("PutProvisionedConcurrencyConfig", "PUT", &live, json!({ "ProvisionedConcurrentExecutions": 1 })).await;
    r.lambda("GetProvisionedConcurrencyConfig", "GET", &live, json!({})).await;
    r.lambda("ListProvisionedConcurrencyConfigs", "GET", &format!("{provisioned}?List=ALL"), json!({})).await;
    r.lambda("DeleteProvisionedConcurrencyConfig", "DELETE", &live, json!({})).await;
    let tags = "/2017-03-31/tags/arn:aws:lambda:us-east-1:000000000000:function:f";
    r.lambda("TagResource", "POST", tags, json!({ "Tags": { "a": "b" } })).await;
    r.lambda("ListTags", "GET", tags, json!({})).await;
    r.lambda("UntagResource", "DELETE", &format!("{tags}?tagKeys=a&tagKeys=k"), json!({})).await;
    let management = "/2021-07-20/functions/f/runtime-management-config";
    r.lambda("PutRuntimeManagementConfig", "PUT", management, json!({ "UpdateRuntimeOn": "FunctionUpdate" })).await;
    r.lambda("GetRuntimeManagementConfig", "GET", management, json!({})).await;
    let recursion = "/2024-08-31/functions/f/recursion-config";
    r.lambda("PutFunctionRecursionConfig", "PUT", recursion, json!({ "RecursiveLoop": "Allow" })).await;
    r.lambda("GetFunctionRecursionConfig", "GET", recursion, json!({})).await;
    r.lambda("GetFunctionCodeSigningConfig", "GET", "/2020-06-30/functions/f/code-signing-config", json!({})).await;
    r.lambda("GetAccountSettings", "GET", "/2016-08-19/account-settings", json!({})).await;
    r.lambda("GetFunctionConfiguration", "GET", &f("/configuration"), json!({})).await;
    r.lambda("ListFunctions", "GET", F, json!({})).await;
    r.lambda("Invoke", "POST", &f("/invocations"), json!({})).await;
    r.lambda("InvokeWithResponseStream", "POST", "/2021-11-15/functions/f/response-streaming-invocations", json!({})).await;
    r.lambda("DeleteAlias", "DELETE", &f("/aliases/live"), json!({})).await;
    r.lambda("DeleteFunction", "DELETE", &f(""), json!({})).await;
}
