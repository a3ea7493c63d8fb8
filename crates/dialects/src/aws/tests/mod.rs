//! The dialect over a platform in memory: requests in, answers out, as a client sees them.

mod lambda;
mod others;
mod quotas;
mod secrets;
mod sources;
mod state;
mod url;

use super::Aws;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use model::{
    Body, Frame, Principal,
    event::ReplyBody,
    ports::{Dialect, Request},
};
use serde_json::Value;
use std::sync::Arc;
use testkit::platform::{FakePlatform, send};

pub struct Bench {
    pub platform: Arc<FakePlatform>,
    pub dialect: Arc<dyn Dialect>,
}

/// An answer with its body read to the end.
pub struct Got {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub body: Bytes,
    /// The stream broke off.
    pub broken: bool,
}

impl Got {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {:?}", self.body))
    }
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }
    /// Status, error code and text of a refusal.
    pub fn error(&self) -> (u16, String, String) {
        let body = self.json();
        let text = body.get("message").or(body.get("Message")).and_then(Value::as_str).unwrap_or_default();
        (self.status, self.header("x-amzn-errortype").to_owned(), text.to_owned())
    }
}

pub const ROLE: &str = "arn:aws:iam::000000000000:role/myna-default";

impl Bench {
    pub async fn new() -> Self {
        let (platform, dialect) = FakePlatform::with(|settings| Arc::new(Aws::new(settings.clone()))).await;
        Self { platform, dialect }
    }
    pub async fn send(&self, request: http::Request<Bytes>, principal: Principal, service: &str) -> Got {
        let (parts, body) = request.into_parts();
        let request: Request = http::Request::from_parts(parts, Body::Bytes(body));
        let (parts, body) = send(&self.dialect, request, principal, service).await.into_parts();
        let (mut whole, mut broken) = (BytesMut::new(), false);
        match body {
            ReplyBody::Bytes(bytes) => whole.extend_from_slice(&bytes),
            ReplyBody::Stream(mut frames) => {
                while let Some(frame) = frames.next().await {
                    match frame {
                        Frame::Data(bytes) => whole.extend_from_slice(&bytes),
                        Frame::Fault(_) => broken = true,
                        Frame::Trailers(_) => {}
                    }
                }
            }
        }
        Got { status: parts.status.as_u16(), headers: parts.headers, body: whole.freeze(), broken }
    }
    /// A signed request of the administrator to the Lambda API.
    pub async fn lambda(&self, method: &str, path: &str, body: impl Into<Bytes>) -> Got {
        let request = http::Request::builder().method(method).uri(path).body(body.into()).unwrap();
        self.send(request, self.platform.root(), "lambda").await
    }
    pub async fn json(&self, method: &str, path: &str, body: Value) -> Got {
        self.lambda(method, path, body.to_string()).await
    }
    /// A function that is Active.
    pub async fn function(&self, name: &str) -> Value {
        let got = self.json("POST", "/2015-03-31/functions", creation(name)).await;
        assert_eq!(got.status, 201, "{}", got.text());
        self.settled(name).await;
        got.json()
    }
    pub async fn get(&self, name: &str) -> Value {
        self.lambda("GET", &format!("/2015-03-31/functions/{name}/configuration"), "").await.json()
    }
    /// Wait until nothing of the function is under way.
    pub async fn settled(&self, name: &str) -> Value {
        for _ in 0..1000 {
            let now = self.get(name).await;
            if now["State"] != "Pending" && now["LastUpdateStatus"] != "InProgress" {
                return now;
            }
            tokio::task::yield_now().await;
        }
        panic!("{name} never settled");
    }
}

pub fn zip(content: &str) -> String {
    STANDARD.encode(format!("PK{content}"))
}

pub fn creation(name: &str) -> Value {
    serde_json::json!({
        "FunctionName": name, "Runtime": "python3.12", "Role": ROLE, "Handler": "app.handler", "Code": { "ZipFile": zip("1") },
    })
}
