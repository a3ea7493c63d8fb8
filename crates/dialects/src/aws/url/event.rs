//! An HTTP request as the event that Lambda makes of it (Lambda developer guide, "Request and response payloads", format 2.0).
//!
//! This runs for every request through a function URL, so the document is written straight into one buffer: one pass over the
//! headers, no values in between.

use crate::aws::percent;
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, header, request::Parts};
use model::{Holder, InvocationId, Principal};
use std::fmt::Write;

/// What the event says besides the request itself.
pub struct Facts<'a> {
    pub id: InvocationId,
    pub url_id: &'a str,
    pub region: &'a str,
    /// Of the door that the request came through.
    pub port: &'a str,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// Without the prefix that led here.
    pub path: &'a str,
    pub query: &'a str,
    pub now_ms: u64,
    pub source_ip: std::net::IpAddr,
    /// Set where the caller's signature was asked for.
    pub caller: Option<&'a Principal>,
    pub trace: &'a str,
}

/// Names that only the platform may put before a function. A client's own are dropped (`x-amz-*` stays: webhooks use it).
fn internal(name: &str) -> bool {
    match name.as_bytes() {
        [b'x', b'-', ..] => {
            let rest = &name[2..];
            ["forwarded-", "amzn-", "nuclio-", "fission-"].iter().any(|p| rest.starts_with(p)) || rest == "call-id"
        }
        [b'l' | b'k' | b'f', ..] => ["lambda-runtime-", "knative-serving-", "fn-"].iter().any(|p| name.starts_with(p)),
        _ => false,
    }
}

/// Of one connection, not of the request.
pub fn hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

pub fn build(parts: &Parts, body: &[u8], facts: &Facts<'_>) -> String {
    let mut out = String::with_capacity(1536 + body.len() * 3 / 2);
    out.push_str(r#"{"version":"2.0","routeKey":"$default","rawPath":""#);
    escape(&mut out, facts.path);
    out.push_str(r#"","rawQueryString":""#);
    escape(&mut out, facts.query);
    out.push('"');
    cookies(&mut out, &parts.headers);
    headers(&mut out, &parts.headers, facts);
    query(&mut out, facts.query);
    context(&mut out, parts, facts);
    let encoded = write_body(&mut out, &parts.headers, body);
    out.push_str(if encoded { r#","isBase64Encoded":true}"# } else { r#","isBase64Encoded":false}"# });
    out
}

fn cookies(out: &mut String, headers: &HeaderMap) {
    let mut first = true;
    for value in headers.get_all(header::COOKIE) {
        for cookie in text_of(value.as_bytes()).split("; ").filter(|c| !c.is_empty()) {
            out.push_str(if first { r#","cookies":[""# } else { r#"",""# });
            escape(out, cookie);
            first = false;
        }
    }
    if !first {
        out.push_str("\"]");
    }
}

fn headers(out: &mut String, headers: &HeaderMap, facts: &Facts<'_>) {
    out.push_str(r#","headers":{"#);
    let signed = facts.caller.is_some();
    let mut open: Option<&str> = None;
    // A name's values follow one another in the map.
    for (name, value) in headers {
        let name = name.as_str();
        if open == Some(name) {
            out.push(',');
        } else {
            let secret = signed && matches!(name, "authorization" | "x-amz-security-token");
            if name == "cookie" || secret || hop_by_hop(name) || internal(name) {
                continue;
            }
            if open.is_some() {
                out.push_str("\",");
            }
            out.push('"');
            out.push_str(name);
            out.push_str("\":\"");
            open = Some(name);
        }
        escape(out, &text_of(value.as_bytes()));
    }
    if open.is_some() {
        out.push_str("\",");
    }
    write!(
        out,
        r#""x-amzn-trace-id":"{}","x-forwarded-for":"{}","x-forwarded-port":"{}","x-forwarded-proto":"{}"}}"#,
        facts.trace, facts.source_ip, facts.port, facts.scheme
    )
    .expect(INFALLIBLE);
}

const INFALLIBLE: &str = "writing to a String can't fail";

/// Decoded; values of one name joined by commas, in the order of their first.
fn query(out: &mut String, query: &str) {
    if query.is_empty() {
        return;
    }
    let pairs: Vec<_> = percent::pairs(query).collect();
    out.push_str(r#","queryStringParameters":{"#);
    let mut first = true;
    for (i, (name, value)) in pairs.iter().enumerate() {
        if pairs[..i].iter().any(|p| p.0 == *name) {
            continue;
        }
        out.push_str(if first { "\"" } else { ",\"" });
        first = false;
        escape(out, name);
        out.push_str("\":\"");
        escape(out, value);
        for (_, more) in pairs[i + 1..].iter().filter(|p| p.0 == *name) {
            out.push(',');
            escape(out, more);
        }
        out.push('"');
    }
    out.push('}');
}

fn context(out: &mut String, parts: &Parts, facts: &Facts<'_>) {
    out.push_str(r#","requestContext":{"accountId":""#);
    match facts.caller.and_then(Principal::tenant) {
        Some(account) => escape(out, account.as_str()),
        None => out.push_str("anonymous"),
    }
    let Facts { url_id, region, source_ip, id, now_ms, .. } = facts;
    write!(out, r#"","apiId":"{url_id}""#).expect(INFALLIBLE);
    if let Some(caller) = facts.caller {
        authorizer(out, caller);
    }
    write!(out, r#","domainName":"{url_id}.lambda-url.{region}.localhost","domainPrefix":"{url_id}","http":{{"method":""#)
        .expect(INFALLIBLE);
    escape(out, parts.method.as_str());
    out.push_str(r#"","path":""#);
    escape(out, facts.path);
    let protocol = if parts.version == http::Version::HTTP_10 { "HTTP/1.0" } else { "HTTP/1.1" };
    write!(out, r#"","protocol":"{protocol}","sourceIp":"{source_ip}","userAgent":"#).expect(INFALLIBLE);
    match parts.headers.get(header::USER_AGENT) {
        Some(agent) => {
            out.push('"');
            escape(out, &text_of(agent.as_bytes()));
            out.push('"');
        }
        None => out.push_str("null"),
    }
    write!(out, r#"}},"requestId":"{id}","routeKey":"$default","stage":"$default","time":""#).expect(INFALLIBLE);
    common_log_time(out, *now_ms);
    write!(out, r#"","timeEpoch":{now_ms}}}"#).expect(INFALLIBLE);
}

/// Who signed, as far as it is known here.
fn authorizer(out: &mut String, caller: &Principal) {
    let account = caller.tenant().map_or("", |t| t.as_str());
    let arn = crate::aws::names::caller_arn(caller);
    let user = match caller {
        Principal::Role { instance, .. } => instance.0.simple().to_string(),
        Principal::User(user) => user.id.to_string(),
        Principal::Session(session) => match &session.holder {
            Holder::Root => account.to_owned(),
            Holder::User(user) => user.id.to_string(),
            Holder::Role { id, session, .. } => format!("{id}:{session}"),
        },
        _ => account.to_owned(),
    };
    write!(
        out,
        r#","authorizer":{{"iam":{{"accessKey":null,"accountId":"{account}","callerId":"{user}","cognitoIdentity":null,"principalOrgId":null,"userArn":"{arn}","userId":"{user}"}}}}"#
    )
    .expect(INFALLIBLE);
}

/// Plain where the media type says text and it is text; base64 otherwise. Nothing for an empty body.
fn write_body(out: &mut String, headers: &HeaderMap, body: &[u8]) -> bool {
    if body.is_empty() {
        return false;
    }
    out.push_str(r#","body":""#);
    let media = headers.get(header::CONTENT_TYPE).map_or(&b""[..], |v| v.as_bytes());
    let text = if is_text(media) { std::str::from_utf8(body).ok() } else { None };
    match text {
        Some(text) => escape(out, text),
        None => STANDARD.encode_string(body, out),
    }
    out.push('"');
    text.is_none()
}

fn is_text(media: &[u8]) -> bool {
    let end = media.iter().position(|b| *b == b';').unwrap_or(media.len());
    let Ok(media) = std::str::from_utf8(media[..end].trim_ascii()) else { return false };
    let starts = |prefix: &str| media.get(..prefix.len()).is_some_and(|m| m.eq_ignore_ascii_case(prefix));
    let ends = |suffix: &str| {
        media.len().checked_sub(suffix.len()).and_then(|at| media.get(at..)).is_some_and(|m| m.eq_ignore_ascii_case(suffix))
    };
    const PLAIN: &[&str] =
        &["application/json", "application/javascript", "application/xml", "application/x-www-form-urlencoded"];
    starts("text/") || ends("+json") || ends("+xml") || PLAIN.iter().any(|p| media.eq_ignore_ascii_case(p))
}

/// Header bytes as text: UTF-8 where they are, Latin-1 where they aren't.
fn text_of(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => bytes.iter().map(|b| char::from(*b)).collect::<String>().into(),
    }
}

/// The inside of a JSON string (RFC 8259, section 7).
pub fn escape(out: &mut String, text: &str) {
    let mut from = 0;
    for (i, byte) in text.bytes().enumerate() {
        let short = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..=31 => "",
            _ => continue,
        };
        out.push_str(&text[from..i]);
        from = i + 1;
        if short.is_empty() {
            write!(out, "\\u{byte:04x}").expect(INFALLIBLE);
        } else {
            out.push_str(short);
        }
    }
    out.push_str(&text[from..]);
}

/// `12/Mar/2020:19:03:58 +0000` (the Common Log Format's time), UTC.
fn common_log_time(out: &mut String, ms: u64) {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (days, second) = (ms / 86_400_000, ms / 1000 % 86_400);
    // Days since 0000-03-01 → civil date, by 400-year eras: a year that begins in March has its leap day last.
    let z = days + 719_468;
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 2 } else { shifted - 10 };
    let year = era * 400 + year_of_era + u64::from(month < 2);
    let name = MONTHS[usize::try_from(month).unwrap_or(0) % 12];
    write!(out, "{day:02}/{name}/{year}:{:02}:{:02}:{:02} +0000", second / 3600, second / 60 % 60, second % 60)
        .expect(INFALLIBLE);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn event(request: http::request::Builder, path: &str, query: &str, body: &[u8]) -> Value {
        let parts = request.body(()).unwrap().into_parts().0;
        let id = InvocationId(uuid::Uuid::nil());
        let facts = Facts {
            id,
            url_id: "abc",
            region: "us-east-1",
            port: "9000",
            scheme: "http",
            path,
            query,
            now_ms: 1_583_348_638_390,
            source_ip: [127, 0, 0, 1].into(),
            caller: None,
            trace: "Root=1-5e6722a7-cc56xmpl46db7ae02d4da47e",
        };
        let text = build(&parts, body, &facts);
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
    }

    #[test]
    fn a_request_becomes_the_documented_event() {
        let request = http::Request::post("/x")
            .header("Host", "abc.lambda-url.us-east-1.localhost:9000")
            .header("Cookie", "a=1; b=\"2\"")
            .header("Cookie", "c=3")
            .header("X-Twice", "1")
            .header("User-Agent", "curl/8 \"q\"")
            .header("X-Twice", "2")
            .header("Content-Type", "application/json; charset=utf-8")
            .header("X-Forwarded-For", "6.6.6.6")
            .header("Lambda-Runtime-Aws-Request-Id", "forged")
            .header("X-Amz-Sns-Message-Type", "Notification");
        let got = event(request, "/a%20b/ü\"", "x=1&y=%C3%BC+z&x=2&flag", br#"{"k":"v"}"#);
        let want = json!({
            "version": "2.0",
            "routeKey": "$default",
            "rawPath": "/a%20b/ü\"",
            "rawQueryString": "x=1&y=%C3%BC+z&x=2&flag",
            "cookies": ["a=1", "b=\"2\"", "c=3"],
            "headers": {
                "host": "abc.lambda-url.us-east-1.localhost:9000",
                "x-twice": "1,2",
                "user-agent": "curl/8 \"q\"",
                "content-type": "application/json; charset=utf-8",
                "x-amz-sns-message-type": "Notification",
                "x-amzn-trace-id": "Root=1-5e6722a7-cc56xmpl46db7ae02d4da47e",
                "x-forwarded-for": "127.0.0.1",
                "x-forwarded-port": "9000",
                "x-forwarded-proto": "http",
            },
            "queryStringParameters": { "x": "1,2", "y": "ü z", "flag": "" },
            "requestContext": {
                "accountId": "anonymous",
                "apiId": "abc",
                "domainName": "abc.lambda-url.us-east-1.localhost",
                "domainPrefix": "abc",
                "http": { "method": "POST", "path": "/a%20b/ü\"", "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": "curl/8 \"q\"" },
                "requestId": "00000000-0000-0000-0000-000000000000",
                "routeKey": "$default",
                "stage": "$default",
                "time": "04/Mar/2020:19:03:58 +0000",
                "timeEpoch": 1_583_348_638_390_u64,
            },
            "body": "{\"k\":\"v\"}",
            "isBase64Encoded": false,
        });
        assert_eq!(got, want);
    }

    #[test]
    fn bodies_are_text_only_where_they_are() {
        let post = |media: &str, body: &[u8]| {
            let got = event(http::Request::post("/").header("Content-Type", media), "/", "", body);
            (got["body"].as_str().map(str::to_owned), got["isBase64Encoded"].as_bool().unwrap())
        };
        assert_eq!(post("text/plain", b"a\x01\"\\\n"), (Some("a\u{1}\"\\\n".into()), false));
        assert_eq!(post("application/problem+json", b"{}"), (Some("{}".into()), false));
        assert_eq!(post("application/x-www-form-urlencoded", b"a=b"), (Some("a=b".into()), false));
        assert_eq!(post("multipart/form-data; boundary=x", b"--x"), (Some("LS14".into()), true));
        assert_eq!(post("text/plain", b"\xff"), (Some("/w==".into()), true));
        assert_eq!(post("application/json", b""), (None, false));
        let plain = event(http::Request::get("/"), "/", "", b"");
        assert!(plain.get("queryStringParameters").is_none() && plain.get("cookies").is_none());
        assert_eq!(plain["requestContext"]["http"]["userAgent"], Value::Null);
    }

    proptest::proptest! {
        /// Text of any kind stands in the event as it came.
        #[test]
        fn any_request_makes_a_document(path in "\\PC{0,12}", query in ".{0,16}", value in proptest::collection::vec(0x20u8.., 0..12), body in proptest::collection::vec(0u8.., 0..24)) {
            let request = http::Request::post("/").header("Content-Type", "text/plain");
            let request = match http::HeaderValue::from_bytes(&value) {
                Ok(value) => request.header("X-Any", value.clone()).header("Cookie", value),
                Err(_) => request,
            };
            let got = event(request, &path, &query, &body);
            assert_eq!((&got["rawPath"], &got["rawQueryString"]), (&json!(path), &json!(query)));
            let sent = match (got["body"].as_str(), got["isBase64Encoded"] == true) {
                (None, _) => Vec::new(),
                (Some(text), false) => text.as_bytes().to_vec(),
                (Some(text), true) => STANDARD.decode(text).unwrap(),
            };
            assert_eq!(sent, body);
        }
    }

    #[test]
    fn dates_are_the_calendars() {
        for ms in [0, 951_782_400_000, 1_709_164_800_000, 1_709_251_199_999, 1_767_225_599_000, 4_102_444_800_000] {
            let mut ours = String::new();
            common_log_time(&mut ours, ms);
            let theirs = jiff::Timestamp::from_millisecond(i64::try_from(ms).unwrap()).unwrap();
            assert_eq!(ours, theirs.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string());
        }
    }
}
