//! Event source mappings: what is kept, what is refused, and in which words.

use super::Bench;
use serde_json::{Value, json};

const AT: &str = "/2015-03-31/event-source-mappings";
const QUEUE: &str = "arn:aws:sqs:us-east-1:000000000000:q";
const STREAM: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/s";

async fn refused(bench: &Bench, body: Value) -> (u16, String, String) {
    bench.json("POST", AT, body).await.error()
}

#[tokio::test]
async fn a_mapping_is_kept_shown_changed_and_deleted() {
    let bench = Bench::new().await;
    bench.function("f").await;
    let made = bench.json("POST", AT, json!({ "FunctionName": "f", "EventSourceArn": QUEUE, "Tags": { "a": "b" } })).await;
    assert_eq!(made.status, 202, "{}", made.text());
    let shown = made.json();
    assert_eq!((&shown["BatchSize"], &shown["MaximumBatchingWindowInSeconds"]), (&json!(10), &json!(0)));
    assert_eq!(shown["FunctionArn"], "arn:aws:lambda:us-east-1:000000000000:function:f");
    // Nothing polls it, and it says so.
    assert_eq!(shown["State"], "Disabled");
    assert!(shown["StateTransitionReason"].as_str().unwrap().contains("nothing polls this source yet"));
    let one = format!("{AT}/{}", shown["UUID"].as_str().unwrap());
    assert_eq!(bench.lambda("GET", &one, "").await.json(), shown);

    let changed = bench.json("PUT", &one, json!({ "BatchSize": 5, "Enabled": false })).await;
    let changed = (changed.status, changed.json());
    assert_eq!(
        (changed.0, &changed.1["BatchSize"], &changed.1["StateTransitionReason"]),
        (202, &json!(5), &json!("USER_INITIATED"))
    );
    // What a change makes of the whole is judged, and a refused change leaves nothing behind.
    assert_eq!(bench.json("PUT", &one, json!({ "BatchSize": 11 })).await.status, 400);
    assert_eq!(bench.lambda("GET", &one, "").await.json()["BatchSize"], 5);

    let arn = shown["EventSourceMappingArn"].as_str().unwrap().replace(':', "%3A");
    let tags = format!("/2017-03-31/tags/{arn}");
    assert_eq!(bench.json("POST", &tags, json!({ "Tags": { "c": "d" } })).await.status, 204);
    assert_eq!(bench.lambda("DELETE", &format!("{tags}?tagKeys=a"), "").await.status, 204);
    assert_eq!(bench.lambda("GET", &tags, "").await.json(), json!({ "Tags": { "c": "d" } }));

    // It outlives its function.
    assert_eq!(bench.lambda("DELETE", "/2015-03-31/functions/f", "").await.status, 204);
    assert_eq!(bench.lambda("GET", &one, "").await.status, 200);
    let gone = bench.lambda("DELETE", &one, "").await;
    assert_eq!((gone.status, &gone.json()["State"]), (202, &json!("Deleting")));
    for method in ["GET", "PUT", "DELETE"] {
        let missing = bench.lambda(method, &one, "{}").await.error();
        assert_eq!(
            (missing.0, &*missing.1, &*missing.2),
            (404, "ResourceNotFoundException", "The resource you requested does not exist.")
        );
    }
}

#[tokio::test]
async fn mappings_are_listed_by_function_alias_and_source_in_pages() {
    let bench = Bench::new().await;
    bench.function("f").await;
    bench.function("g").await;
    bench.json("POST", "/2015-03-31/functions/f/versions", json!({})).await;
    bench.json("POST", "/2015-03-31/functions/f/aliases", json!({ "Name": "live", "FunctionVersion": "1" })).await;
    for (name, source) in [("f", QUEUE), ("f:live", QUEUE), ("000000000000:function:f:1", QUEUE), ("g", QUEUE)] {
        let got = bench.json("POST", AT, json!({ "FunctionName": name, "EventSourceArn": source })).await;
        assert_eq!(got.status, 202, "{name}: {}", got.text());
    }
    let stream = json!({ "FunctionName": "g", "EventSourceArn": STREAM, "StartingPosition": "LATEST" });
    assert_eq!(bench.json("POST", AT, stream).await.status, 202);
    let count = async |query: &str| {
        let got = bench.lambda("GET", &format!("{AT}?{query}"), "").await.json();
        got["EventSourceMappings"].as_array().unwrap().len()
    };
    assert_eq!(count("").await, 5);
    assert_eq!(count("FunctionName=f").await, 1);
    assert_eq!(count("FunctionName=f%3Alive").await, 1);
    assert_eq!(count("FunctionName=g").await, 2);
    assert_eq!(count(&format!("EventSourceArn={QUEUE}")).await, 4);
    let first = bench.lambda("GET", &format!("{AT}?MaxItems=3"), "").await.json();
    assert_eq!(count(&format!("MaxItems=3&Marker={}", first["NextMarker"].as_str().unwrap())).await, 2);
}

#[tokio::test]
async fn one_source_feeds_one_function_once() {
    let bench = Bench::new().await;
    bench.function("f").await;
    bench.function("g").await;
    let create = |function: &str, source: &str| {
        let position = source.contains("kinesis").then_some("LATEST");
        bench.json("POST", AT, json!({ "FunctionName": function, "EventSourceArn": source, "StartingPosition": position }))
    };
    let first = create("f", QUEUE).await.json()["UUID"].as_str().unwrap().to_owned();
    let again = create("arn:aws:lambda:us-east-1:000000000000:function:f", QUEUE).await.error();
    let words = format!(
        "An event source mapping with SQS arn (\" {QUEUE} \") and function (\" f \") already exists. Please update or delete the existing mapping with UUID {first}"
    );
    assert_eq!(again, (409, "ResourceConflictException".into(), words));
    assert_eq!(create("f", STREAM).await.status, 202);
    assert!(create("f", STREAM).await.error().2.contains("provided mapping already exists."));
    // Nor by changing another one into it.
    let other = create("g", QUEUE).await.json()["UUID"].as_str().unwrap().to_owned();
    assert_eq!(bench.json("PUT", &format!("{AT}/{other}"), json!({ "FunctionName": "f" })).await.status, 409);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_in_the_services_words() {
    let bench = Bench::new().await;
    bench.function("f").await;
    let with = |source: &str, more: Value| {
        let mut body = json!({ "FunctionName": "f", "EventSourceArn": source });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let table = "arn:aws:dynamodb:us-east-1:000000000000:table/t/stream/2026-01-01T00:00:00.000";
    let fifo = format!("{QUEUE}.fifo");
    let pattern = |text: &str| json!({ "FilterCriteria": { "Filters": [{ "Pattern": text }] } });
    let window = "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10";
    for (body, words) in [
        (json!({ "FunctionName": "f" }), "Unrecognized event source."),
        (with("arn:aws:s3:::b", json!({})), "Unrecognized event source."),
        (json!({ "FunctionName": "nobody", "EventSourceArn": QUEUE }), "Function does not exist"),
        (json!({ "FunctionName": "f:nothing", "EventSourceArn": QUEUE }), "Function does not exist"),
        (with(QUEUE, json!({ "StartingPosition": "LATEST" })), "StartingPosition is not valid for SQS event sources."),
        (with(QUEUE, json!({ "BatchSize": 11 })), window),
        (with(&fifo, json!({ "BatchSize": 11 })), "Batch size must not be greater than 10 for FIFO queues"),
        (with(&fifo, json!({ "MaximumBatchingWindowInSeconds": 1 })), "Batching window is not supported for FIFO queues"),
        (
            with(STREAM, json!({})),
            "1 validation error detected: Value null at 'startingPosition' failed to satisfy constraint: Member must not be null.",
        ),
        (
            with(STREAM, json!({ "StartingPosition": "LATEST", "StartingPositionTimestamp": 1.0 })),
            "Timestamp only valid with StartingPosition AT_TIMESTAMP",
        ),
        (
            with(table, json!({ "StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": 1.0 })),
            &format!("Unsupported starting position for arn type: {table}"),
        ),
        (
            with(STREAM, json!({ "StartingPosition": "LATEST", "Topics": ["t"] })),
            "Topics is not valid for Kinesis event sources.",
        ),
        (with(QUEUE, pattern("{")), "Invalid filter pattern definition."),
        (with(QUEUE, pattern(r#"{"body": "a"}"#)), "Invalid filter pattern definition."),
        (with(QUEUE, pattern(r#"{"body": [{"unknown": 1}]}"#)), "Invalid filter pattern definition."),
    ] {
        let got = refused(&bench, body.clone()).await;
        assert_eq!((got.0, &*got.1, &*got.2), (400, "InvalidParameterValueException", words), "{body}");
    }
    for (more, words) in [
        (json!({ "BatchSize": 0 }), "Value '0' at 'batchSize' failed"),
        (json!({ "StartingPosition": "0" }), "Member must satisfy enum value set: [LATEST, AT_TIMESTAMP, TRIM_HORIZON]"),
        (json!({ "EventSourceArn": "queue" }), "Value 'queue' at 'eventSourceArn' failed"),
        (json!({ "ScalingConfig": { "MaximumConcurrency": 1 } }), "'scalingConfig.maximumConcurrency' failed"),
    ] {
        let got = refused(&bench, with(QUEUE, more)).await;
        assert_eq!((got.0, &*got.1), (400, "ValidationException"));
        assert!(got.2.contains(words), "{}", got.2);
    }
    let filters =
        pattern(r#"{"body": {"a": ["x", 1, null, {"numeric": [">", 1]}], "$or": [{"b": [true]}, {"c": [{"exists": false}]}]}}"#);
    assert_eq!(bench.json("POST", AT, with(QUEUE, filters)).await.status, 202);
}
