//! The Lambda API: versions, aliases, policies, pages, and what is refused and how.

use super::{Bench, ROLE, creation, zip};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use model::{
    Cause, Fault, Frame, InstanceId, Principal, ReplyHead,
    event::{FunctionError, Reply, ReplyBody},
};
use serde_json::{Value, json};
use std::sync::Arc;
use testkit::platform::Scripted;

const F: &str = "/2015-03-31/functions";
const ARN: &str = "arn:aws:lambda:us-east-1:000000000000:function:f";

#[tokio::test]
async fn every_operation_of_the_table_is_served_or_says_that_it_is_not() {
    let bench = Bench::new().await;
    let rows: Vec<Value> = serde_json::from_str(crate::aws::lambda::TABLE).unwrap();
    for row in rows {
        let path = row["path"]
            .as_str()
            .unwrap()
            .split('/')
            .map(|s| if s.starts_with('{') { "f" } else { s })
            .collect::<Vec<_>>()
            .join("/");
        let query = row["query"].as_str().map(|q| format!("?{q}")).unwrap_or_default();
        let got = bench.lambda(row["method"].as_str().unwrap(), &format!("{path}{query}"), "{}").await;
        let refused = got.header("x-amzn-errortype") == "NotImplementedException";
        assert_eq!(refused, row["served"] == false, "{} answers {} {}", row["name"], got.status, got.text());
        assert!(!refused || got.error().2.contains(row["name"].as_str().unwrap()));
    }
    let unknown = bench.lambda("GET", "/2099-01-01/nothing", "").await.error();
    assert_eq!((unknown.0, &*unknown.1), (404, "UnknownOperationException"));
}

#[tokio::test]
async fn versions_are_copies_and_aliases_are_names_for_them() {
    let bench = Bench::new().await;
    bench.function("f").await;
    let publish = |body: Value| bench.json("POST", "/2015-03-31/functions/f/versions", body);
    let first = publish(json!({ "Description": "one" })).await;
    assert_eq!(
        (first.status, &first.json()["Version"], &first.json()["FunctionArn"]),
        (201, &json!("1"), &json!(format!("{ARN}:1")))
    );
    // Nothing changed: nothing is published.
    assert_eq!(publish(json!({ "Description": "two" })).await.json()["Version"], "1");
    let wrong = publish(json!({ "CodeSha256": "x" })).await.error();
    assert!(wrong.2.starts_with("CodeSHA256 (x) is different from current CodeSHA256 in $LATEST ("), "{}", wrong.2);
    let code = bench.json("PUT", &format!("{F}/f/code"), json!({ "ZipFile": zip("2"), "Publish": true })).await.json();
    assert_eq!((&code["Version"], &code["FunctionArn"]), (&json!("2"), &json!(format!("{ARN}:2"))));
    bench.settled("f").await;

    let alias = |body: Value| bench.json("POST", "/2015-03-31/functions/f/aliases", body);
    let made =
        alias(json!({ "Name": "live", "FunctionVersion": "1", "RoutingConfig": { "AdditionalVersionWeights": { "2": 0.25 } } }))
            .await;
    assert_eq!((made.status, &made.json()["AliasArn"]), (201, &json!(format!("{ARN}:live"))));
    let split = bench.platform.function("f").aliases["live"].clone();
    assert_eq!((&*split.version, split.split), ("1", Some((Arc::from("2"), 0.25))));
    for (body, text) in [
        (json!({ "Name": "live", "FunctionVersion": "1" }), format!("Alias already exists: {ARN}:live")),
        (json!({ "Name": "x", "FunctionVersion": "9" }), format!("Function not found: {ARN}:9")),
        (
            json!({ "Name": "x", "FunctionVersion": "1", "RoutingConfig": { "AdditionalVersionWeights": { "1": 0.5 } } }),
            "Invalid function version 1. Function version 1 is already included in routing configuration.".into(),
        ),
        (
            json!({ "Name": "x", "FunctionVersion": "$LATEST", "RoutingConfig": { "AdditionalVersionWeights": { "1": 0.5 } } }),
            "$LATEST is not supported for an alias pointing to more than 1 version".into(),
        ),
        (
            json!({ "Name": "7", "FunctionVersion": "1" }),
            "1 validation error detected: Value '7' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern: (?!^[0-9]+$)([a-zA-Z0-9-_]+)".into(),
        ),
    ] {
        assert_eq!(alias(body).await.error().2, text);
    }
    let in_use = bench.lambda("DELETE", &format!("{F}/f?Qualifier=2"), "").await.error();
    assert_eq!(
        in_use,
        (
            409,
            "ResourceConflictException".into(),
            "Unable to delete version because the following aliases reference it: [live]".into()
        )
    );
    let stale =
        bench.json("PUT", &format!("{F}/f/aliases/live"), json!({ "RevisionId": "old", "FunctionVersion": "2" })).await.error();
    assert_eq!((stale.0, &*stale.1), (412, "PreconditionFailedException"));
    let moved =
        bench.json("PUT", &format!("{F}/f/aliases/live"), json!({ "FunctionVersion": "2", "RoutingConfig": {} })).await.json();
    assert!(moved["FunctionVersion"] == "2" && moved.get("RoutingConfig").is_none());
    assert_eq!(bench.lambda("DELETE", &format!("{F}/f?Qualifier=1"), "").await.status, 204);
    assert_eq!(bench.lambda("DELETE", &format!("{F}/f/aliases/live"), "").await.status, 204);
    assert_eq!(
        bench.lambda("DELETE", &format!("{F}/f/aliases/live"), "").await.status,
        204,
        "deleting what isn't there succeeds"
    );
    let missing = bench.lambda("GET", &format!("{F}/f/aliases/live"), "").await.error();
    assert_eq!(missing.2, format!("Cannot find alias arn: {ARN}:live"));
}

#[tokio::test]
async fn pages_hold_every_item_once() {
    let bench = Bench::new().await;
    for name in ["a", "a-b", "a_b", "b"] {
        bench.function(name).await;
        bench.json("POST", &format!("{F}/{name}/versions"), json!({})).await;
        bench.json("POST", &format!("{F}/{name}/aliases"), json!({ "Name": "x", "FunctionVersion": "1" })).await;
        bench.json("POST", &format!("{F}/{name}/aliases"), json!({ "Name": "y", "FunctionVersion": "1" })).await;
    }
    for (path, member, key) in [
        (format!("{F}/?MaxItems=1"), "Functions", "FunctionArn"),
        (format!("{F}/?MaxItems=3&FunctionVersion=ALL"), "Functions", "FunctionArn"),
        (format!("{F}/a/versions?MaxItems=1"), "Versions", "Version"),
        (format!("{F}/a/aliases?MaxItems=1"), "Aliases", "Name"),
    ] {
        let whole = bench.lambda("GET", &path.replace("MaxItems=1", "x").replace("MaxItems=3", "x"), "").await.json();
        let names =
            |v: &Value| v[member].as_array().unwrap().iter().map(|i| i[key].as_str().unwrap().to_owned()).collect::<Vec<_>>();
        let (mut pieces, mut marker) = (Vec::new(), String::new());
        loop {
            let page = bench.lambda("GET", &format!("{path}{marker}"), "").await.json();
            pieces.extend(names(&page));
            match page["NextMarker"].as_str() {
                Some(next) => marker = format!("&Marker={next}"),
                None => break,
            }
        }
        assert!(pieces.len() >= 2);
        assert_eq!(pieces, names(&whole), "{path}");
    }
    assert_eq!(bench.lambda("GET", &format!("{F}/?MaxItems=0"), "").await.error().1, "ValidationException");
    assert_eq!(bench.lambda("GET", &format!("{F}/?Marker=!"), "").await.status, 400);
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_said_in_the_services_words() {
    let bench = Bench::new().await;
    let with = |changes: Value| {
        let mut body = creation("f");
        for (key, value) in changes.as_object().unwrap() {
            body[key] = value.clone();
        }
        bench.json("POST", F, body)
    };
    let role = r"Member must satisfy regular expression pattern: arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+";
    let v = |n: u32, rest: String| {
        (400, "ValidationException", format!("{n} validation error{} detected: {rest}", if n == 1 { "" } else { "s" }))
    };
    let table = [
        (json!({ "Role": "r1" }), v(1, format!("Value 'r1' at 'role' failed to satisfy constraint: {role}"))),
        (
            json!({ "Timeout": 901, "MemorySize": 127 }),
            v(2, "Value '901' at 'timeout' failed to satisfy constraint: Member must have value less than or equal to 900; Value '127' at 'memorySize' failed to satisfy constraint: Member must have value greater than or equal to 128".into()),
        ),
        (json!({ "PackageType": "Tar" }), v(1, "Value 'Tar' at 'packageType' failed to satisfy constraint: Member must satisfy enum value set: [Zip, Image]".into())),
        (json!({ "Role": "arn:aws:iam::111111111111:role/x" }), (403, "AccessDeniedException", "Cross-account pass role is not allowed.".into())),
        (
            json!({ "Environment": { "Variables": { "AWS_REGION": "x", "_HANDLER": "y" } } }),
            (400, "InvalidParameterValueException", "Lambda was unable to configure your environment variables because the environment variables you have provided contains reserved keys that are currently not supported for modification. Reserved keys used in this request: AWS_REGION, _HANDLER".into()),
        ),
        (json!({ "Code": { "ZipFile": STANDARD.encode("no zip") } }), (400, "InvalidParameterValueException", "Could not unzip uploaded file. Please check your file, then try to upload again. (not a zip archive)".into())),
        (json!({ "Code": {} }), (400, "InvalidParameterValueException", "Please provide a source for function code.".into())),
        (json!({ "Code": { "S3Bucket": "b", "S3Key": "k" } }), (400, "InvalidParameterValueException", "S3Bucket, S3Key: this endpoint serves no S3 to fetch the package from; send it as ZipFile".into())),
        (json!({ "Layers": ["arn:aws:lambda:us-east-1:000000000000:layer:x:1"] }), (400, "InvalidParameterValueException", "Layer version arn:aws:lambda:us-east-1:000000000000:layer:x:1 does not exist.".into())),
        (json!({ "Handler": null }), (400, "InvalidParameterValueException", "Runtime and Handler are mandatory parameters for functions created with deployment packages.".into())),
    ];
    for (changes, (status, code, text)) in table {
        assert_eq!(with(changes.clone()).await.error(), (status, code.to_owned(), text), "{changes}");
    }
    let unknown = with(json!({ "Runtime": "cobol" })).await.error();
    assert!(
        unknown.2.starts_with("Value cobol at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [")
    );
    assert!(unknown.2.ends_with("] or be a valid ARN"));
    for handler in ["../../../tmp/x:f", ";id", "$(id)", "", "a b"] {
        assert_eq!(with(json!({ "Handler": handler })).await.status, 400, "{handler:?}");
    }
    assert_eq!(with(json!({ "Handler": "x".repeat(1 << 20) })).await.status, 400);
    assert_eq!(with(json!({ "Environment": { "Variables": { "A1": "x".repeat(4096) } } })).await.status, 400);
    assert_eq!(bench.lambda("POST", F, r#"{"FunctionName":"a","FunctionName":"b"}"#).await.error().1, "SerializationException");
    assert!(bench.platform.prepared.lock().unwrap().is_empty(), "nothing of a refused function was made");
    // What is empty asks for nothing, and is accepted.
    let empty =
        json!({ "Layers": [], "VpcConfig": { "SubnetIds": [], "SecurityGroupIds": [] }, "Environment": { "Variables": {} } });
    let made = with(empty).await;
    assert_eq!((made.status, &made.json()["Environment"]), (201, &json!({ "Variables": {} })));
    assert_eq!(with(json!({})).await.error(), (409, "ResourceConflictException".into(), "Function already exist: f".into()));
}

#[tokio::test]
async fn a_functions_role_reaches_the_data_plane_only() {
    let bench = Bench::new().await;
    bench.function("f").await;
    let role = Principal::Role { tenant: "000000000000".into(), role: Arc::from(ROLE), instance: InstanceId(uuid::Uuid::nil()) };
    let send = |method: &str, path: String| {
        let request = http::Request::builder().method(method).uri(path).body(Bytes::from_static(b"{}")).unwrap();
        bench.send(request, role.clone(), "lambda")
    };
    assert_eq!(send("POST", format!("{F}/f/invocations")).await.status, 200);
    for (method, path, action) in [
        ("DELETE", format!("{F}/f"), "DeleteFunction"),
        ("GET", format!("{F}/f"), "GetFunction"),
        ("PUT", format!("{F}/f/code"), "UpdateFunctionCode"),
    ] {
        let (status, code, text) = send(method, path).await.error();
        assert_eq!((status, &*code), (403, "AccessDeniedException"));
        let start = format!(
            "User: arn:aws:sts::000000000000:assumed-role/myna-default/00000000000000000000000000000000 is not authorized to perform: lambda:{action} on resource: {ARN}"
        );
        assert!(text.starts_with(&start), "{text}");
    }
    let request = http::Request::get(format!("{F}/f")).body(Bytes::new()).unwrap();
    let nobody = bench.send(request, Principal::Anonymous, "lambda").await;
    assert_eq!((nobody.status, nobody.header("x-amzn-errortype")), (403, "MissingAuthenticationTokenException"));
    let request = http::Request::get("/").body(Bytes::new()).unwrap();
    let other = bench.send(request, bench.platform.root(), "dynamodb").await;
    assert!(other.status == 501 && other.text().contains("myna does not serve dynamodb"));
}

fn call(kind: &'static str, body: &'static [u8]) -> http::Request<Bytes> {
    let request = http::Request::post(format!("{F}/f/invocations")).header("X-Amz-Invocation-Type", kind);
    request.body(Bytes::from_static(body)).unwrap()
}

#[tokio::test]
async fn answers_of_user_code_are_answers_and_the_platforms_refusals_are_errors() {
    let bench = Bench::new().await;
    bench.function("f").await;
    let send = |request| bench.send(request, bench.platform.root(), "lambda");
    assert_eq!(send(call("DryRun", b"{}")).await.status, 204);
    let accepted = send(call("Event", b"{}")).await;
    let queued = bench.platform.events.all();
    assert_eq!((accepted.status, accepted.body.len(), queued.len()), (202, 0, 1));
    assert_eq!(accepted.headers["x-amzn-requestid"].to_str().unwrap(), queued[0].id.to_string());
    assert_eq!(send(call("Other", b"{}")).await.error().1, "ValidationException");
    assert_eq!(send(call("RequestResponse", b"{")).await.error().1, "InvalidRequestContentException");
    let large = http::Request::post(format!("{F}/f/invocations")).body(Bytes::from(vec![b' '; 6_291_457])).unwrap();
    let large = send(large).await.error();
    assert_eq!(
        large,
        (
            413,
            "RequestEntityTooLargeException".into(),
            "Request must be smaller than 6291456 bytes for the InvokeFunction operation".into()
        )
    );

    bench.platform.answer(|_, _| {
        let head = ReplyHead { error: Some(FunctionError { kind: "Runtime.Unknown".into() }), ..ReplyHead::default() };
        let body = ReplyBody::Bytes(Bytes::from_static(br#"{"errorMessage":"boom","errorType":"E"}"#));
        Ok(Scripted { reply: Ok(Reply { head, body }), tail: None })
    });
    let failed = send(call("RequestResponse", b"{}")).await;
    assert_eq!((failed.status, failed.header("x-amz-function-error")), (200, "Unhandled"));
    assert_eq!(failed.json()["errorMessage"], "boom");

    bench.platform.answer(|_, _| Ok(Scripted::fault(Fault::new(Cause::Timeout, "x"))));
    let late = send(call("RequestResponse", b"{}")).await;
    assert_eq!((late.status, late.header("x-amz-function-error")), (200, "Unhandled"));
    let text = format!("RequestId: {} Error: Task timed out after 3.00 seconds", late.header("x-amzn-requestid"));
    assert_eq!(late.json(), json!({ "errorType": "Sandbox.Timedout", "errorMessage": text }));

    bench.platform.answer(|_, _| Err(Fault::new(Cause::Throttled, "x").detail("function")));
    let throttled = send(call("RequestResponse", b"{}")).await;
    assert_eq!((throttled.status, throttled.header("retry-after")), (429, "1"));
    assert_eq!(
        throttled.json(),
        json!({ "Reason": "ReservedFunctionConcurrentInvocationLimitExceeded", "Type": "User", "message": "Rate Exceeded." })
    );
}

/// Messages of an event stream: each one's type and payload. Checksums are verified.
pub fn messages(mut bytes: &[u8]) -> Vec<(String, Bytes)> {
    let number = |b: &[u8]| u32::from_be_bytes(b[..4].try_into().unwrap());
    let mut out = Vec::new();
    while !bytes.is_empty() {
        let (total, head) = (number(bytes) as usize, number(&bytes[4..]) as usize);
        assert_eq!(number(&bytes[8..]), crc32fast::hash(&bytes[..8]));
        assert_eq!(number(&bytes[total - 4..]), crc32fast::hash(&bytes[..total - 4]));
        let (mut headers, mut kind) = (&bytes[12..12 + head], String::new());
        while !headers.is_empty() {
            let n = usize::from(headers[0]);
            let name = std::str::from_utf8(&headers[1..=n]).unwrap();
            let length = usize::from(u16::from_be_bytes([headers[n + 2], headers[n + 3]]));
            if name == ":event-type" || name == ":exception-type" {
                kind = String::from_utf8(headers[n + 4..n + 4 + length].to_vec()).unwrap();
            }
            headers = &headers[n + 4 + length..];
        }
        out.push((kind, Bytes::copy_from_slice(&bytes[12 + head..total - 4])));
        bytes = &bytes[total..];
    }
    out
}

#[tokio::test]
async fn streamed_invocations_are_chunks_and_one_end() {
    use futures_util::StreamExt;
    let bench = Bench::new().await;
    bench.function("f").await;
    let stream = || async {
        let request =
            http::Request::post("/2021-11-15/functions/f/response-streaming-invocations").header("X-Amz-Log-Type", "Tail");
        let got = bench.send(request.body(Bytes::from_static(b"{}")).unwrap(), bench.platform.root(), "lambda").await;
        assert_eq!((got.status, got.header("content-type")), (200, "application/vnd.amazon.eventstream"));
        messages(&got.body)
    };
    let answer = |frames: fn() -> Vec<Frame>| {
        bench.platform.answer(move |_, _| {
            let body = ReplyBody::Stream(futures_util::stream::iter(frames()).boxed());
            Ok(Scripted { reply: Ok(Reply { head: ReplyHead::default(), body }), tail: Some(Bytes::from_static(b"log")) })
        });
    };
    answer(|| vec![Frame::Data(Bytes::from_static(b"one")), Frame::Data(Bytes::from_static(b"two"))]);
    let got = stream().await;
    let names: Vec<_> = got.iter().map(|m| m.0.as_str()).collect();
    assert_eq!(names, ["PayloadChunk", "PayloadChunk", "InvokeComplete"]);
    assert_eq!((&got[0].1[..], &got[1].1[..]), (&b"one"[..], &b"two"[..]));
    assert_eq!(serde_json::from_slice::<Value>(&got[2].1).unwrap(), json!({ "LogResult": STANDARD.encode("log") }));
    answer(|| {
        let mut trailers = http::HeaderMap::new();
        trailers.insert("lambda-runtime-function-error-type", "Runtime.Boom".parse().unwrap());
        trailers.insert("lambda-runtime-function-error-body", STANDARD.encode("{\"a\":1}").parse().unwrap());
        vec![Frame::Data(Bytes::from_static(b"one")), Frame::Trailers(trailers)]
    });
    let end: Value = serde_json::from_slice(&stream().await.pop().unwrap().1).unwrap();
    assert_eq!((&end["ErrorCode"], &end["ErrorDetails"]), (&json!("Runtime.Boom"), &json!("{\"a\":1}")));
    answer(|| vec![Frame::Data(Bytes::from_static(b"one")), Frame::Fault(Fault::new(Cause::Timeout, "x"))]);
    let end: Value = serde_json::from_slice(&stream().await.pop().unwrap().1).unwrap();
    assert_eq!(end["ErrorCode"], "Sandbox.Timedout");
}

#[tokio::test]
async fn policies_concurrency_tags_and_urls_are_kept_and_reach_the_catalogue() {
    let bench = Bench::new().await;
    bench.function("f").await;
    bench.json("POST", &format!("{F}/f/versions"), json!({})).await;
    let permission =
        json!({ "StatementId": "s1", "Action": "lambda:InvokeFunctionUrl", "Principal": "*", "FunctionUrlAuthType": "NONE" });
    let added = bench.json("POST", &format!("{F}/f/policy"), permission.clone()).await;
    let statement: Value = serde_json::from_str(added.json()["Statement"].as_str().unwrap()).unwrap();
    assert_eq!(
        (added.status, &statement["Condition"]),
        (201, &json!({ "StringEquals": { "lambda:FunctionUrlAuthType": "NONE" } }))
    );
    assert_eq!(bench.json("POST", &format!("{F}/f/policy"), permission).await.status, 409);
    let policy = bench.lambda("GET", &format!("{F}/f/policy"), "").await.json();
    assert_eq!(bench.platform.function("f").policies[""].as_ref(), policy["Policy"].as_str().unwrap());
    let stale = bench.lambda("DELETE", &format!("{F}/f/policy/s1?RevisionId=x"), "").await.error();
    assert!(stale.0 == 412 && stale.2.contains("Call the GetPolicy API"));
    assert_eq!(bench.lambda("DELETE", &format!("{F}/f/policy/s1"), "").await.status, 204);
    assert_eq!(bench.lambda("GET", &format!("{F}/f/policy"), "").await.error().2, "The resource you requested does not exist.");

    let reserve = |n: i64| bench.json("PUT", "/2017-10-31/functions/f/concurrency", json!({ "ReservedConcurrentExecutions": n }));
    assert_eq!(bench.lambda("GET", "/2019-09-30/functions/f/concurrency", "").await.json(), json!({}));
    assert_eq!(reserve(0).await.status, 200);
    assert_eq!(bench.platform.function("f").concurrency.reserved, Some(0));
    assert!(reserve(901).await.error().2.ends_with("UnreservedConcurrentExecution below its minimum value of [100]."));
    assert_eq!(bench.lambda("DELETE", "/2017-10-31/functions/f/concurrency", "").await.status, 204);
    let provision = async |q: &str| {
        let path = format!("/2019-09-30/functions/f/provisioned-concurrency?Qualifier={q}");
        bench.json("PUT", &path, json!({ "ProvisionedConcurrentExecutions": 2 })).await
    };
    assert_eq!(
        provision("$LATEST").await.error().2,
        "Provisioned Concurrency Configs cannot be applied to unpublished function versions."
    );
    let put = provision("1").await;
    assert_eq!((put.status, &put.json()["Status"]), (202, &json!("IN_PROGRESS")));
    bench.platform.observed.lock().unwrap().provisioned_failed.insert(Arc::from("1"), model::ports::NotKept::TooLarge);
    let shown = bench.lambda("GET", "/2019-09-30/functions/f/provisioned-concurrency?Qualifier=1", "").await.json();
    assert_eq!(shown["Status"], "FAILED");
    assert!(shown["StatusReason"].as_str().unwrap().contains("more memory or instances than this platform keeps ready"));
    bench.platform.observed.lock().unwrap().provisioned_ready.insert(Arc::from("1"), 2);
    let shown = bench.lambda("GET", "/2019-09-30/functions/f/provisioned-concurrency?Qualifier=1", "").await.json();
    assert_eq!((&shown["Status"], &shown["AvailableProvisionedConcurrentExecutions"]), (&json!("READY"), &json!(2)));
    let account = bench.lambda("GET", "/2016-08-19/account-settings", "").await.json();
    assert_eq!(account["AccountLimit"]["UnreservedConcurrentExecutions"], 998);

    let tags = "/2017-03-31/tags/arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Af";
    assert_eq!(bench.json("POST", tags, json!({ "Tags": { "a": "1", "b": "2" } })).await.status, 204);
    assert_eq!(bench.lambda("DELETE", &format!("{tags}?tagKeys=a"), "").await.status, 204);
    assert_eq!(bench.lambda("GET", tags, "").await.json(), json!({ "Tags": { "b": "2" } }));

    let url = |body: Value| bench.json("POST", "/2021-10-31/functions/f/url", body);
    let made = url(json!({ "AuthType": "NONE", "Cors": { "AllowOrigins": ["*"] } })).await.json();
    assert!(made.get("InvokeMode").is_none() && made["Cors"] == json!({ "AllowOrigins": ["*"] }));
    let id = bench.platform.function("f").urls[0].id.clone();
    assert_eq!(made["FunctionUrl"], format!("http://{id}.lambda-url.us-east-1.localhost:9000/"));
    assert_eq!(bench.lambda("GET", "/2021-10-31/functions/f/url", "").await.json()["InvokeMode"], "BUFFERED");
    assert_eq!(url(json!({ "AuthType": "NONE" })).await.status, 409);
    bench.json("PUT", "/2021-10-31/functions/f/url", json!({ "AuthType": "AWS_IAM" })).await;
    let stored = bench.platform.function("f").urls[0].clone();
    assert!(stored.signed && stored.cors.is_some(), "an update keeps what it doesn't name");
    assert_eq!(bench.lambda("GET", "/2021-10-31/functions/f/url?Qualifier=1", "").await.error().1, "ValidationException");
    assert_eq!(bench.lambda("DELETE", "/2021-10-31/functions/f/url", "").await.status, 204);
}
