//! Vectors made by botocore, AWS's own example, and H76's ways to make a signature say something else.

use super::*;
use http::{Request, request::Parts};
use model::{Principal, TenantId};
use std::{sync::Arc, time::Instant};

const AT: u64 = 1_767_323_045_000;

#[derive(serde::Deserialize)]
struct Vectors {
    at_ms: u64,
    key: String,
    secret: String,
    cases: Vec<Case>,
}

#[derive(serde::Deserialize)]
struct Case {
    name: String,
    service: String,
    method: String,
    target: String,
    headers: std::collections::BTreeMap<String, String>,
    body: String,
    token: Option<String>,
}

fn credential(key: &str, secret: &str, token: Option<&str>) -> Credential {
    Credential {
        access_key_id: key.into(),
        secret: secret.into(),
        session_token: token.map(Arc::from),
        principal: Principal::Root { tenant: TenantId::new("000000000000") },
    }
}

fn root() -> Credential {
    credential("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", None)
}

fn parts(method: &str, target: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).expect("well formed").into_parts().0
}

fn verify(parts: &Parts, body: &[u8], by: &Credential, now_ms: u64) -> Result<(), Denial> {
    let claim = Claim::of(parts)?.ok_or(Denial::Missing)?;
    Verifier::timely(&claim, now_ms)?;
    if claim.access_key != *by.access_key_id {
        return Err(Denial::UnknownKey);
    }
    Verifier::default().verify(parts, body, &claim, by)
}

#[test]
fn what_botocore_signs_is_verified_and_nothing_near_it() {
    let vectors: Vectors = serde_json::from_str(include_str!("../../tests/sigv4/vectors.json")).expect("vectors");
    assert_eq!(vectors.cases.len(), 25);
    for case in &vectors.cases {
        let by = credential(&vectors.key, &vectors.secret, case.token.as_deref());
        let headers: Vec<_> = case.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let whole = parts(&case.method, &case.target, &headers);
        let check = |parts: &Parts, body: &str| verify(parts, body.as_bytes(), &by, vectors.at_ms);
        assert_eq!(check(&whole, &case.body), Ok(()), "{}", case.name);
        assert_eq!(Claim::of(&whole).expect("a claim").expect("signed").service, case.service);

        assert!(check(&whole, &format!("{}.", case.body)).is_err(), "{}: another body", case.name);
        let (path, query) = case.target.split_once('?').unwrap_or((&case.target, ""));
        let others = [
            (if case.method == "GET" { "DELETE" } else { "GET" }.to_owned(), case.target.clone()),
            (case.method.clone(), format!("{path}x?{query}")),
            (case.method.clone(), format!("{path}?{query}&extra=1")),
        ];
        for (method, target) in others {
            assert!(check(&parts(&method, &target, &headers), &case.body).is_err(), "{}: {method} {target}", case.name);
        }
        let elsewhere: Vec<_> = headers.iter().map(|(n, v)| (*n, if *n == "host" { "localhost:9000" } else { *v })).collect();
        assert!(check(&parts(&case.method, &case.target, &elsewhere), &case.body).is_err(), "{}: another host", case.name);
        let wrong = credential(&vectors.key, "another secret", case.token.as_deref());
        assert_eq!(verify(&whole, case.body.as_bytes(), &wrong, vectors.at_ms), Err(Denial::Mismatch), "{}", case.name);
    }
}

/// General Reference, "Signature Version 4 signing process", the ListUsers example.
#[test]
fn the_reference_example() {
    let mut example = parts(
        "GET",
        "/?Action=ListUsers&Version=2010-05-08",
        &[("host", "iam.amazonaws.com"), ("content-type", "application/x-www-form-urlencoded; charset=utf-8")],
    );
    sign(&mut example, b"", &root(), "us-east-1", "iam", stamp::parse("20150830T123600Z").expect("a stamp"));
    let line = example.headers["authorization"].to_str().expect("text");
    assert!(line.ends_with("Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"), "{line}");
}

fn signed(method: &str, target: &str, body: &[u8]) -> Parts {
    let mut request = parts(method, target, &[("host", "127.0.0.1:9000"), ("x-amz-invocation-type", "DryRun")]);
    sign(&mut request, body, &root(), "us-east-1", "lambda", AT);
    request
}

fn edit(mut request: Parts, name: &'static str, with: impl Fn(&str) -> String) -> Parts {
    let old = request.headers.get(name).map(|v| v.to_str().expect("text").to_owned()).unwrap_or_default();
    request.headers.insert(name, with(&old).parse().expect("a value"));
    request
}

fn presigned(expires: u64) -> Parts {
    let mut request = parts("GET", "/f?x=1", &[("host", "127.0.0.1:9000")]);
    presign(&mut request, &root(), "us-east-1", "lambda", AT, Duration::from_secs(expires));
    request
}

fn target(mut request: Parts, with: impl Fn(&str) -> String) -> Parts {
    request.uri = with(&request.uri.to_string()).parse().expect("a target");
    request
}

#[test]
fn h76_signatures_that_say_something_else() {
    let good = || signed("POST", "/2015-03-31/functions/f/invocations", b"{}");
    let add = |name: &'static str, value: &str| {
        let mut request = good();
        request.headers.append(name, value.parse().expect("a value"));
        request
    };
    assert_eq!(verify(&good(), b"{}", &root(), AT), Ok(()));
    assert_eq!(verify(&presigned(60), b"", &root(), AT), Ok(()));
    let rows: Vec<(&str, Parts)> = vec![
        ("signed in header and query", target(good(), |t| format!("{t}?X-Amz-Signature=aa&X-Amz-Credential=x"))),
        ("the query's name hidden by an escape", target(good(), |t| format!("{t}?X%2DAmz-Credential=x"))),
        ("the query's name in other case", target(good(), |t| format!("{t}?x-amz-signature=x"))),
        ("unsigned x-amz header", add("x-amz-target", "Other.Action")),
        ("a second value of a signed header", add("x-amz-invocation-type", "Event")),
        ("two dates", add("x-amz-date", "20260102T030405Z")),
        ("two authorisations", add("authorization", "AWS4-HMAC-SHA256 Credential=x")),
        ("host not signed", edit(good(), "authorization", |a| a.replace("SignedHeaders=host;", "SignedHeaders="))),
        ("signed headers out of order", edit(good(), "authorization", |a| a.replace("host;x-amz-date", "x-amz-date;host"))),
        ("signed header twice", edit(good(), "authorization", |a| a.replace("host;", "host;host;"))),
        ("a field twice", edit(good(), "authorization", |a| format!("{a}, SignedHeaders=host"))),
        ("unknown field", edit(good(), "authorization", |a| format!("{a}, Extra=1"))),
        ("another service", edit(good(), "authorization", |a| a.replace("/lambda/", "/iam/"))),
        ("another region", edit(good(), "authorization", |a| a.replace("/us-east-1/", "/eu-west-1/"))),
        ("another day in the scope", edit(good(), "authorization", |a| a.replace("/20260102/", "/20260103/"))),
        ("another end of the scope", edit(good(), "authorization", |a| a.replace("aws4_request", "aws4_requests"))),
        ("short signature", edit(good(), "authorization", |a| a[..a.len() - 2].to_owned())),
        (
            "capital signature",
            edit(good(), "authorization", |a| a[..a.len() - 64].to_owned() + &a[a.len() - 64..].to_uppercase()),
        ),
        ("SigV4A", edit(good(), "authorization", |a| a.replace("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"))),
        ("no date", {
            let mut request = good();
            request.headers.remove("x-amz-date");
            request
        }),
        ("a token that isn't ours", add("x-amz-security-token", "t")),
        ("presigned for eight days", presigned(604_801)),
        ("presigned for no time", presigned(0)),
        ("presigned, longer afterwards", target(presigned(60), |t| t.replace("X-Amz-Expires=60", "X-Amz-Expires=600"))),
        ("presigned, expiry twice", target(presigned(60), |t| format!("{t}&X-Amz-Expires=600"))),
        ("presigned, signature twice", target(presigned(60), |t| format!("X&X-Amz-Signature={:064}", 0).replacen('X', t, 1))),
        ("presigned, a parameter more", target(presigned(60), |t| format!("{t}&x=2"))),
        ("presigned, an x-amz header", edit(presigned(60), "x-amz-invocation-type", |_| "Event".into())),
    ];
    for (what, request) in rows {
        let body: &[u8] = if request.method == "GET" { b"" } else { b"{}" };
        assert!(verify(&request, body, &root(), AT).is_err(), "{what}: {:?}", request.uri);
    }
}

#[test]
fn h76_a_body_is_the_one_that_was_signed() {
    for declared in [
        "UNSIGNED-PAYLOAD",
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        &sha256(b"other"),
        "E3B0",
    ] {
        let mut request = parts("PUT", "/f", &[("host", "127.0.0.1"), ("x-amz-content-sha256", declared)]);
        // A signer that covers what it declares, as some do.
        request.headers.insert("x-amz-date", stamp::format(AT).parse().expect("text"));
        let line = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260102/us-east-1/lambda/aws4_request, \
                    SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=";
        request.headers.insert("authorization", format!("{line}{:064}", 0).parse().expect("text"));
        let claim = Claim::of(&request).expect("well formed").expect("signed");
        let canonical = canonical_request(&request, &claim, declared, Query::AsSent);
        let key = keys::derive(&root().secret, claim.scope());
        let signature = hex(hmac::sign(&key, string_to_sign(&claim.stamp, claim.scope(), &canonical).as_bytes()).as_ref());
        request.headers.insert("authorization", format!("{line}{signature}").parse().expect("text"));
        assert!(matches!(verify(&request, b"{}", &root(), AT), Err(Denial::Payload(_))), "{declared}");
    }
}

#[test]
fn signatures_hold_for_five_minutes_and_urls_for_their_time() {
    let request = signed("GET", "/f", b"");
    for (shift, good) in [(0, true), (299_000, true), (301_000, false), (-299_000, true), (-301_000, false)] {
        let now = AT.saturating_add_signed(shift);
        assert_eq!(verify(&request, b"", &root(), now).is_ok(), good, "{shift} ms");
    }
    let url = presigned(3600);
    for (shift, good) in [(3_599_000, true), (3_601_000, false), (-299_000, true), (-301_000, false)] {
        assert_eq!(verify(&url, b"", &root(), AT.saturating_add_signed(shift)).is_ok(), good, "{shift} ms");
    }
}

#[test]
fn sessions_need_their_token() {
    let session = credential("ASIAEXAMPLE", "secret", Some("token/+="));
    let mut request = parts("GET", "/f", &[("host", "a")]);
    sign(&mut request, b"", &session, "us-east-1", "lambda", AT);
    assert_eq!(verify(&request, b"", &session, AT), Ok(()));
    let mut url = parts("GET", "/f", &[("host", "a")]);
    presign(&mut url, &session, "us-east-1", "lambda", AT, Duration::from_secs(60));
    assert_eq!(verify(&url, b"", &session, AT), Ok(()));
    let other = credential("ASIAEXAMPLE", "secret", Some("token/++"));
    let none = credential("ASIAEXAMPLE", "secret", None);
    assert_eq!(verify(&request, b"", &other, AT), Err(Denial::Token));
    assert_eq!(verify(&request, b"", &none, AT), Err(Denial::Token));
    let mut bare = parts("GET", "/f", &[("host", "a")]);
    sign(&mut bare, b"", &none, "us-east-1", "lambda", AT);
    assert_eq!(verify(&bare, b"", &session, AT), Err(Denial::Token));
}

/// A kept signing key serves one secret only.
#[test]
fn a_changed_secret_is_a_changed_key() {
    let verifier = Verifier::default();
    for (signer, holder, good) in
        [("one", "one", true), ("one", "two", false), ("two", "two", true), ("two", "one", false), ("one", "one", true)]
    {
        let mut request = parts("GET", "/f", &[("host", "a")]);
        sign(&mut request, b"", &credential("K", signer, None), "us-east-1", "lambda", AT);
        let claim = Claim::of(&request).expect("well formed").expect("signed");
        assert_eq!(verifier.verify(&request, b"", &claim, &credential("K", holder, None)).is_ok(), good, "{signer} {holder}");
    }
}

/// Prints what a verification costs; decides nothing.
#[test]
#[ignore = "a measurement, run by hand: cargo test --release -p myna-gateway -- --ignored --nocapture cost"]
fn cost_of_a_verification() {
    let request = signed("POST", "/2015-03-31/functions/f/invocations?Qualifier=prod", b"{\"key\":\"value\"}");
    let (verifier, by) = (Verifier::default(), root());
    let round = |n: u32| {
        let start = Instant::now();
        for _ in 0..n {
            let claim = Claim::of(&request).expect("well formed").expect("signed");
            assert!(verifier.verify(&request, b"{\"key\":\"value\"}", &claim, &by).is_ok());
        }
        start.elapsed() / n
    };
    let best = (0..20).map(|_| round(2000)).min().expect("twenty rounds");
    println!("claim and verification: {best:?}");
}
