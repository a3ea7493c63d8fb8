//! Plain HTTP, blocking: one request, one whole answer. A status is an answer here, never an error.

use anyhow::{Context, Result};
use serde_json::Value;
use std::time::Duration;
use ureq::{Agent, http};

/// Longer than any limit of the platform that a test waits for, so that a hang is told apart from an answer.
const PATIENCE: Duration = Duration::from_secs(60);
const BODY_MAX: u64 = 64 * 1024 * 1024;

/// A client with its own connections.
pub struct Http(Agent);

#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub body: Vec<u8>,
}

impl Default for Http {
    fn default() -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .timeout_global(Some(PATIENCE))
            .build();
        Self(config.into())
    }
}

impl Http {
    pub fn send(&self, method: &str, url: &str, headers: &[(String, String)], body: &[u8]) -> Result<Response> {
        let mut request = http::Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let sent = match body {
            [] => self.0.run(request.body(())?),
            body => self.0.run(request.body(body)?),
        };
        let mut got = sent.with_context(|| format!("{method} {url}"))?;
        let body = got
            .body_mut()
            .with_config()
            .limit(BODY_MAX)
            .read_to_vec()
            .with_context(|| format!("the answer to {method} {url}"))?;
        Ok(Response { status: got.status().as_u16(), headers: got.headers().clone(), body })
    }

    pub fn get(&self, url: &str) -> Result<Response> {
        self.send("GET", url, &[], &[])
    }
}

impl Response {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("status {} with a body that is no JSON: {}", self.status, self.text()))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }
}
