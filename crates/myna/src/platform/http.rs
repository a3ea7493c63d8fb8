//! One request over the admin socket, and its answer. A connection per request: it costs a tenth of a millisecond, and nothing
//! can be stale.

use super::find;
use crate::cli::problem::{Doing, Exit, Problem};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::path::PathBuf;
use tokio::net::UnixStream;

/// The platform in one directory.
#[derive(Clone)]
pub struct Api {
    dir: PathBuf,
    /// Whom it asks for; the default tenant without.
    tenant: Option<http::HeaderValue>,
}

/// By name or account: whom a request on the admin socket acts for. Without it, the default tenant.
pub const TENANT_HEADER: &str = "myna-tenant";

/// A whole answer.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }
    pub fn json(&self) -> Result<Value, Problem> {
        if self.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&self.body).doing("the platform's answer is not JSON")
    }
}

impl Api {
    pub fn new(dir: PathBuf) -> Self {
        Self { dir, tenant: None }
    }
    /// The same platform, asked for one tenant.
    pub fn acting_for(self, tenant: Option<&str>) -> Result<Self, Problem> {
        let value = |text| {
            http::HeaderValue::from_str(text)
                .map_err(|_| Problem::usage(format!("the tenant {text:?} has characters that no tenant has")))
        };
        Ok(Self { tenant: tenant.map(value).transpose()?, ..self })
    }
    pub fn dir(&self) -> &std::path::Path {
        &self.dir
    }

    /// Ask, and read the whole answer; a refusal is an error.
    pub async fn send(&self, request: Request<Bytes>) -> Result<Answer, Problem> {
        let (parts, body) = self.open(request).await?.into_parts();
        let body = body.collect().await.map_err(|e| self.broken(&e))?.to_bytes();
        let answer = Answer { status: parts.status, headers: parts.headers, body };
        if answer.status.is_success() { Ok(answer) } else { Err(refusal(&answer)) }
    }

    /// Ask with an optional JSON document, and read the JSON answer.
    pub async fn json(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Problem> {
        self.send(request(method, path, body)).await?.json()
    }
    pub async fn get(&self, path: &str) -> Result<Value, Problem> {
        self.json(Method::GET, path, None).await
    }
    /// The same into a type of ours.
    pub async fn read<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T, Problem> {
        serde_json::from_value(self.get(path).await?)
            .doing(format!("the platform's answer to {path} has another shape; is it of another version?"))
    }

    /// Ask for an answer that arrives line by line.
    pub async fn lines(&self, request: Request<Bytes>) -> Result<Lines, Problem> {
        let response = self.open(request).await?;
        if response.status().is_success() {
            return Ok(Lines { api: self.clone(), body: response.into_body(), held: Vec::new(), ended: false });
        }
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(|e| self.broken(&e))?.to_bytes();
        Err(refusal(&Answer { status: parts.status, headers: parts.headers, body }))
    }

    async fn open(&self, mut request: Request<Bytes>) -> Result<Response<Incoming>, Problem> {
        let stream = find::connect(&self.dir).and_then(|stream| {
            stream.set_nonblocking(true)?;
            UnixStream::from_std(stream)
        });
        let stream = stream.map_err(|e| {
            Problem::new(Exit::NotRunning, format!("nobody answers for the platform in {}: {e}", self.dir.display()))
                .hint(format!("start it in another terminal: myna up --dir {}", self.dir.display()))
        })?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| self.broken(&e))?;
        tokio::spawn(connection);
        request.headers_mut().insert(http::header::HOST, http::HeaderValue::from_static("localhost"));
        if let Some(tenant) = &self.tenant {
            request.headers_mut().insert(TENANT_HEADER, tenant.clone());
        }
        sender.send_request(request.map(Full::new)).await.map_err(|e| self.broken(&e))
    }

    fn broken(&self, error: &hyper::Error) -> Problem {
        Problem::failed(format!("the platform in {} hung up: {error}", self.dir.display()))
            .hint("see what it printed, and: myna status")
    }
}

pub fn request(method: Method, path: &str, body: Option<&Value>) -> Request<Bytes> {
    let builder = Request::builder().method(method).uri(path);
    let built = match body {
        Some(value) => builder.header(http::header::CONTENT_TYPE, "application/json").body(Bytes::from(value.to_string())),
        None => builder.body(Bytes::new()),
    };
    built.expect("paths are made of literals and encoded segments")
}

/// One path segment, whatever the user wrote (RFC 3986, 3.3: unreserved characters stay).
pub fn segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// A refusal in the words of whoever refused: AWS's error form, or the admin API's.
fn refusal(answer: &Answer) -> Problem {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let own = &body["error"];
    let text = |v: &Value| v.as_str().map(str::to_string);
    let code = answer
        .header("x-amzn-errortype")
        .map(|c| c.split([':', ',']).next().unwrap_or(c).to_string())
        .or_else(|| text(&own["cause"]));
    let message = text(&own["message"]).or_else(|| text(&body["message"])).or_else(|| text(&body["Message"]));
    let message = match (message, &code) {
        (Some(message), _) => message,
        (None, Some(code)) => format!("the platform answered {} {code}", answer.status),
        (None, None) => format!("the platform answered {}", answer.status),
    };
    // What is wrong with the request was said on the command line, or stands in a file that it names.
    let exit = match answer.status {
        StatusCode::NOT_FOUND => Exit::NotFound,
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => Exit::Usage,
        _ => Exit::Failed,
    };
    let hint = text(&own["hint"]).or_else(|| next_step(&message).map(str::to_string));
    Problem { exit, message, hint, code }
}

/// The service's own words say which pattern or list a value is not in; what to do about the commonest ones, they don't.
fn next_step(message: &str) -> Option<&'static str> {
    let about = |field: &str| message.contains(&format!("at '{field}'"));
    match () {
        () if about("runtime") => Some("what this platform has: myna runtime list"),
        () if about("functionName") => Some("a name has letters, digits, - and _, at most 64"),
        () if message.starts_with("Request must be smaller") => {
            Some("put what is so large where the function can read it, and its name into the event")
        }
        () => None,
    }
}

/// JSON documents, one a line, as they arrive.
pub struct Lines {
    api: Api,
    body: Incoming,
    held: Vec<u8>,
    ended: bool,
}

impl Lines {
    /// The next one; `None` when the platform has said all.
    pub async fn next(&mut self) -> Result<Option<Value>, Problem> {
        loop {
            if let Some(end) = self.held.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.held.drain(..=end).collect();
                if line.len() > 1 {
                    return serde_json::from_slice(&line).map(Some).doing("a line of the platform's answer is not JSON");
                }
                continue;
            }
            if self.ended {
                return Ok(None);
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.held.extend_from_slice(&data);
                    }
                }
                Some(Err(error)) => return Err(self.api.broken(&error)),
                None => {
                    self.ended = true;
                    if !self.held.is_empty() {
                        self.held.push(b'\n');
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_is_one_segment() {
        assert_eq!(segment("hello-1_x.y~"), "hello-1_x.y~");
        assert_eq!(segment("arn:aws:lambda:us-east-1:0:function:f"), "arn%3Aaws%3Alambda%3Aus-east-1%3A0%3Afunction%3Af");
        assert_eq!(segment("../a b?c#d/é"), "..%2Fa%20b%3Fc%23d%2F%C3%A9");
    }

    #[test]
    fn a_refusal_keeps_the_words_and_the_name_of_the_error() {
        let of = |status: u16, kind: Option<&str>, body: &str| {
            let mut headers = HeaderMap::new();
            if let Some(kind) = kind {
                headers.insert("x-amzn-errortype", kind.parse().unwrap());
            }
            refusal(&Answer {
                status: StatusCode::from_u16(status).unwrap(),
                headers,
                body: Bytes::copy_from_slice(body.as_bytes()),
            })
        };
        let missing = of(404, Some("ResourceNotFoundException:"), r#"{"Type":"User","Message":"Function not found: f"}"#);
        assert_eq!(
            (missing.exit, missing.message.as_str(), missing.is("ResourceNotFoundException")),
            (Exit::NotFound, "Function not found: f", true)
        );
        let own = of(409, None, r#"{"error":{"cause":"conflict","message":"busy","hint":"wait"}}"#);
        assert_eq!((own.message.as_str(), own.hint.as_deref(), own.is("conflict")), ("busy", Some("wait"), true));
        assert!(of(502, None, "<html>").message.contains("502"));
    }
}
