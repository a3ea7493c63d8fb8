//! What a function answered, as the HTTP answer that it means (Lambda developer guide, "Response payload format").
//!
//! An object with `statusCode` describes the answer; any other JSON document *is* the answer. Headers that a function names are
//! held to what HTTP allows: a name or value that can't stand in a head is the function's failure (502), what belongs to one
//! connection is dropped, and lengths are the server's to say.

use super::event::hop_by_hop;
use crate::aws::respond::Reply;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use model::{event::ReplyBody, limits};
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;
use std::{borrow::Cow, fmt};

/// Why a function's answer can't be sent on; logged, never shown to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Described<'a> {
    #[serde(borrow)]
    status_code: Option<&'a RawValue>,
    headers: Option<Headers>,
    multi_value_headers: Option<Headers>,
    #[serde(borrow)]
    cookies: Option<Vec<Cow<'a, str>>>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
    is_base64_encoded: Option<bool>,
}

/// Read straight into a head; what can't be a header is remembered and refused afterwards.
struct Headers(Result<Head, Malformed>);

/// Headers within the limits of a head.
#[derive(Default)]
struct Head {
    map: HeaderMap,
    bytes: usize,
}

impl Head {
    fn append(&mut self, name: HeaderName, value: &str) -> Result<(), Malformed> {
        self.bytes += name.as_str().len() + value.len() + 4;
        if self.map.len() >= limits::HEADERS_MAX || self.bytes > limits::HEADER_BYTES_MAX {
            return Err(Malformed("too many headers, or too long"));
        }
        let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| Malformed("a header's value can't stand in a head"))?;
        self.map.append(name, value);
        Ok(())
    }

    /// A value is text, or something that has an obvious text, or a list of texts.
    fn add(&mut self, name: &str, value: &RawValue) -> Result<(), Malformed> {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| Malformed("a header's name is no name"))?;
        if hop_by_hop(name.as_str()) || name == header::CONTENT_LENGTH {
            return Ok(());
        }
        let no_text = Malformed("a header's value is no text");
        let raw = value.get();
        match raw.as_bytes() {
            [b'"', ..] => self.append(name, &text(raw)?),
            [b'[', ..] => {
                let all: Vec<Cow<'_, str>> = serde_json::from_str(raw).map_err(|_| no_text)?;
                all.iter().try_for_each(|text| self.append(name.clone(), text))
            }
            // A value that isn't there is no header.
            [b'n', ..] => Ok(()),
            [b'{', ..] => Err(no_text),
            _ => self.append(name, raw),
        }
    }
}

/// What a JSON string says, borrowed where nothing in it is escaped.
fn text(raw: &str) -> Result<Cow<'_, str>, Malformed> {
    if raw.contains('\\') {
        serde_json::from_str::<String>(raw).map(Cow::Owned).map_err(|_| Malformed("a text is no Unicode"))
    } else {
        Ok(Cow::Borrowed(raw.get(1..raw.len() - 1).unwrap_or_default()))
    }
}

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Headers;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of headers")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Headers, A::Error> {
                let (mut head, mut verdict) = (Head::default(), Ok(()));
                while let Some(name) = from.next_key::<Name<'de>>()? {
                    let value = from.next_value::<&'de RawValue>()?;
                    verdict = verdict.and_then(|()| head.add(&name.0, value));
                }
                Ok(Headers(verdict.map(|()| head)))
            }
        }
        from.deserialize_map(Read)
    }
}

#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The whole answer of a function, read.
pub fn interpret(answer: Bytes) -> Result<Reply, Malformed> {
    let text = std::str::from_utf8(&answer).map_err(|_| Malformed("the answer is no UTF-8"))?;
    let start = text.trim_ascii_start();
    if start.starts_with('{') {
        let described: Option<Described<'_>> = serde_json::from_str(text).ok();
        if let Some((described, status)) = described.and_then(|d| d.status_code.map(|s| (d, s))) {
            let status = status_of(status)?;
            let body = body_of(&answer, described.body, described.is_base64_encoded == Some(true))?;
            let headers = head_of(described.headers, described.multi_value_headers, described.cookies)?;
            return Ok(assemble(status, headers, ReplyBody::Bytes(body)));
        }
    }
    let mut reply = http::Response::new(ReplyBody::Bytes(bare(&answer, start)?));
    reply.headers_mut().insert(header::CONTENT_TYPE, JSON);
    Ok(reply)
}

fn assemble(status: StatusCode, mut headers: HeaderMap, body: ReplyBody) -> Reply {
    headers.entry(header::CONTENT_TYPE).or_insert(JSON);
    let mut reply = http::Response::new(body);
    *reply.status_mut() = status;
    *reply.headers_mut() = headers;
    reply
}

/// A number, or its text. An answer that is none (1xx) or no status at all can't be sent.
fn status_of(raw: &RawValue) -> Result<StatusCode, Malformed> {
    let number = raw.get().trim_matches('"').parse::<u16>().ok();
    let status = number.and_then(|n| StatusCode::from_u16(n).ok()).filter(|s| (200..600).contains(&s.as_u16()));
    status.ok_or(Malformed("statusCode is not between 200 and 599"))
}

fn body_of(answer: &Bytes, raw: Option<&RawValue>, encoded: bool) -> Result<Bytes, Malformed> {
    let Some(raw) = raw.map(RawValue::get).filter(|r| *r != "null") else { return Ok(Bytes::new()) };
    if !raw.starts_with('"') {
        // An object where text was due is sent as its JSON.
        return Ok(Bytes::from(without_blanks(raw)));
    }
    let text = text(raw)?;
    if encoded {
        return STANDARD.decode(text.as_bytes()).map(Bytes::from).map_err(|_| Malformed("the body is not base64"));
    }
    Ok(match text {
        Cow::Borrowed(text) => answer.slice_ref(text.as_bytes()),
        Cow::Owned(text) => text.into(),
    })
}

fn head_of(one: Option<Headers>, many: Option<Headers>, cookies: Option<Vec<Cow<'_, str>>>) -> Result<HeaderMap, Malformed> {
    let mut head = one.map_or(Ok(Head::default()), |h| h.0)?;
    let many = many.map_or(Ok(Head::default()), |h| h.0)?;
    // A name in both has the values of the second.
    for name in many.map.keys() {
        head.map.remove(name);
    }
    for (name, value) in many.map.iter() {
        head.append(name.clone(), value.to_str().map_err(|_| Malformed("a header's value is no text"))?)?;
    }
    for cookie in cookies.unwrap_or_default() {
        head.append(header::SET_COOKIE, &cookie)?;
    }
    Ok(head.map)
}

/// A document that is the answer itself: text without its quotes, everything else without blanks.
fn bare(answer: &Bytes, start: &str) -> Result<Bytes, Malformed> {
    if start.is_empty() {
        return Ok(Bytes::new());
    }
    if start.starts_with('"') {
        let text = serde_json::from_str::<Name<'_>>(start).map_err(|_| Malformed("the answer is no JSON"))?.0;
        return Ok(match text {
            Cow::Borrowed(text) => answer.slice_ref(text.as_bytes()),
            Cow::Owned(text) => text.into(),
        });
    }
    serde_json::from_str::<IgnoredAny>(start).map_err(|_| Malformed("the answer is no JSON"))?;
    if start.bytes().any(|b| b.is_ascii_whitespace()) {
        Ok(without_blanks(start).into())
    } else {
        Ok(answer.slice_ref(start.as_bytes()))
    }
}

/// Valid JSON with the blanks between its tokens left out.
fn without_blanks(json: &str) -> String {
    let (mut out, mut inside, mut escaped) = (String::with_capacity(json.len()), false, false);
    for c in json.chars() {
        if inside {
            (inside, escaped) = (escaped || c != '"', !escaped && c == '\\');
        } else if c.is_ascii_whitespace() {
            continue;
        } else {
            inside = c == '"';
        }
        out.push(c);
    }
    out
}

/// The head that a streamed answer begins with: JSON as above without a body.
pub fn prelude(json: &[u8]) -> Result<(StatusCode, HeaderMap), Malformed> {
    let described: Described<'_> =
        serde_json::from_slice(json).map_err(|_| Malformed("the stream's metadata is no JSON object"))?;
    let status = described.status_code.map_or(Ok(StatusCode::OK), status_of)?;
    let mut headers = head_of(described.headers, described.multi_value_headers, described.cookies)?;
    headers.entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static("application/octet-stream"));
    Ok((status, headers))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Headers = Vec<(String, String)>;

    fn read(answer: &'static str) -> Result<(u16, Headers, String), Malformed> {
        let reply = interpret(Bytes::from_static(answer.as_bytes()))?;
        let headers = reply.headers().iter().map(|(n, v)| (n.to_string(), v.to_str().unwrap().to_owned())).collect();
        let ReplyBody::Bytes(body) = reply.body() else { panic!("whole answers stay whole") };
        Ok((reply.status().as_u16(), headers, String::from_utf8(body.to_vec()).unwrap()))
    }

    #[test]
    fn documents_without_a_status_are_the_answer() {
        let json = vec![("content-type".to_owned(), "application/json".to_owned())];
        for (answer, body) in [
            (r#"["hello", 3, true]"#, r#"["hello",3,true]"#),
            (r#" {"a": "b  \" c" , "n":[1, 2]} "#, r#"{"a":"b  \" c","n":[1,2]}"#),
            (r#""hello""#, "hello"),
            (r#""a\"b""#, "a\"b"),
            ("null", "null"),
            ("", ""),
            (r#"{"status_code":200}"#, r#"{"status_code":200}"#),
        ] {
            assert_eq!(read(answer), Ok((200, json.clone(), body.to_owned())), "{answer}");
        }
        assert!(read("{hello").is_err() && read("[1,").is_err() && read("\"x").is_err());
    }

    #[test]
    fn an_object_with_a_status_describes_the_answer() {
        let got = read(
            r#"{"statusCode":"201","headers":{"X-N":5,"X-B":true,"X-Nil":null,"Content-Type":"text/html","Content-Length":"7","Transfer-Encoding":"chunked","Connection":"close"},"cookies":["a=1","b=2"],"body":"<p>\u00fc","multiValueHeaders":{}}"#,
        );
        let (status, mut headers, body) = got.unwrap();
        headers.sort();
        let pair = |n: &str, v: &str| (n.to_owned(), v.to_owned());
        let want = [
            pair("content-type", "text/html"),
            pair("set-cookie", "a=1"),
            pair("set-cookie", "b=2"),
            pair("x-b", "true"),
            pair("x-n", "5"),
        ];
        assert_eq!((status, &headers[..], &*body), (201, &want[..], "<p>ü"));
        assert_eq!(read(r#"{"statusCode":200,"body":"aGk=","isBase64Encoded":true}"#).unwrap().2, "hi");
        assert_eq!(read(r#"{"statusCode":200,"body":{"a": 1}}"#).unwrap().2, r#"{"a":1}"#);
        assert_eq!(read(r#"{"statusCode":404}"#).unwrap(), (404, vec![pair("content-type", "application/json")], String::new()));
    }

    #[test]
    fn what_would_break_the_connection_is_the_functions_failure() {
        for bad in [
            r#"{"statusCode":99}"#,
            r#"{"statusCode":101}"#,
            r#"{"statusCode":1000}"#,
            r#"{"statusCode":"x"}"#,
            r#"{"statusCode":200,"headers":{"a\r\nb":"c"}}"#,
            r#"{"statusCode":200,"headers":{"a":"b\r\nSet-Cookie: x=1"}}"#,
            r#"{"statusCode":200,"headers":{"a":{}}}"#,
            r#"{"statusCode":200,"cookies":["a\nb"]}"#,
            r#"{"statusCode":200,"body":"%%","isBase64Encoded":true}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        let many: String = (0..200).map(|i| format!("\"h{i}\":\"v\",")).collect();
        let many = format!("{{\"statusCode\":200,\"headers\":{{{}}}}}", many.trim_end_matches(','));
        assert!(interpret(Bytes::from(many)).is_err());
        let long = format!("{{\"statusCode\":200,\"headers\":{{\"h\":\"{}\"}}}}", "v".repeat(1 << 20));
        assert!(interpret(Bytes::from(long)).is_err());
    }

    proptest::proptest! {
        /// Whatever a function says: an answer that can be sent, or a refusal; never a panic.
        #[test]
        fn any_answer_is_read_or_refused(status in -1000i32..2000, name in "\\PC{0,8}", value in ".{0,8}", body in ".{0,16}", cut in 0usize..200) {
            let described = serde_json::json!({ "statusCode": status, "headers": { name: value.clone() }, "cookies": [value], "body": body });
            let text = described.to_string();
            let whole = interpret(Bytes::from(text.clone().into_bytes()));
            if let Ok(reply) = &whole {
                let ReplyBody::Bytes(sent) = reply.body() else { panic!("whole answers stay whole") };
                assert_eq!(&sent[..], body.as_bytes());
                assert!((200..600).contains(&status));
            }
            // Cut anywhere, it is no JSON any more.
            let at = cut.min(text.len() - 1);
            if at > 0 {
                assert!(interpret(Bytes::copy_from_slice(&text.as_bytes()[..at])).is_err());
            }
        }
    }

    #[test]
    fn plain_bodies_are_not_copied() {
        let answer = Bytes::from_static(br#"{"statusCode":200,"body":"hello"}"#);
        let reply = interpret(answer.clone()).unwrap();
        let ReplyBody::Bytes(body) = reply.body() else { panic!() };
        assert_eq!(body.as_ptr(), answer[25 + 1..].as_ptr());
    }
}
