//! Requests to the signed API, signed anew each time as a client would.

use crate::{
    load::Request,
    server::{Myna, Ready},
};

/// A call with an empty object.
pub fn call(myna: &Myna, function: &str) -> Box<Request> {
    signed(myna, function, b"{}".to_vec(), &[])
}

/// An asynchronous one.
pub fn event(myna: &Myna, function: &str, body: Vec<u8>) -> Box<Request> {
    signed(myna, function, body, &[("x-amz-invocation-type", "Event")])
}

fn signed(myna: &Myna, function: &str, body: Vec<u8>, headers: &'static [(&'static str, &'static str)]) -> Box<Request> {
    let (ready, host) = (myna.ready.clone(), myna.address().to_owned());
    let (credential, path) = (credential(&ready), format!("/2015-03-31/functions/{function}/invocations"));
    Box::new(move || {
        let mut request = http::Request::post(&path).header("host", &host);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (mut parts, ()) = request.body(()).expect("a plain request").into_parts();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64);
        gateway::sigv4::sign(&mut parts, &body, &credential, &ready.region, "lambda", now);
        let mut text = format!("POST {path} HTTP/1.1\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in &parts.headers {
            text.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap_or_default()));
        }
        text.push_str("\r\n");
        let mut all = text.into_bytes();
        all.extend_from_slice(&body);
        all
    })
}

fn credential(ready: &Ready) -> model::Credential {
    model::Credential {
        access_key_id: ready.access_key_id.as_str().into(),
        secret: ready.secret_access_key.as_str().into(),
        session_token: None,
        principal: model::Principal::Anonymous,
    }
}
