//! Services that live elsewhere: each request goes to the address that the operator gave, signed with the operator's own key for it.
//!
//! What came with the request of the caller's own authority (signature, session token) stays here. Requests are plain HTTP to this
//! machine: beyond loopback they would need TLS, which the platform doesn't speak yet.

use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyStream, Full};
use hyper_util::rt::TokioIo;
use model::{Credential, Fault, Frame, Principal, event::ReplyBody, ports::Response as Answer};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::net::TcpStream;

/// Until an upstream has begun to answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(60);

/// Headers that speak of one connection or of the caller's own authority.
const KEPT_HERE: &[HeaderName] = &[
    header::HOST,
    header::AUTHORIZATION,
    header::CONNECTION,
    header::EXPECT,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::CONTENT_LENGTH,
    header::PROXY_AUTHORIZATION,
];
const CALLERS_OWN: &[&str] = &["x-amz-security-token", "x-amz-date", "keep-alive", "proxy-connection"];

/// Services that the platform answers itself.
const OWN: &[&str] = &["lambda", "logs", "sts", "iam"];

/// One service, as the configuration names it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setting {
    /// `http://127.0.0.1:4566`
    pub url: String,
    /// What signs requests to it; emulators take any.
    pub access_key_id: Option<String>,
    /// A file that holds the secret.
    pub secret_access_key_file: Option<PathBuf>,
    pub region: Option<String>,
}

struct Upstream {
    service: String,
    at: SocketAddr,
    region: String,
    credential: Credential,
}

pub struct Upstreams(BTreeMap<String, Arc<Upstream>>);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("upstream.{0} can't be elsewhere: the platform answers it itself")]
    Own(String),
    #[error("upstream.{0}.url is {1:?}; it must be http:// with a loopback address and a port, like http://127.0.0.1:4566")]
    Url(String, String),
    #[error("upstream.{0}: access_key_id and secret_access_key_file go together")]
    Half(String),
    #[error("upstream.{0}.secret_access_key_file: can't read {1}: {2}")]
    Secret(String, PathBuf, std::io::Error),
}

impl Upstreams {
    pub fn new(settings: &BTreeMap<String, Setting>, account: &str, region: &str) -> Result<Self, Error> {
        let one = |(service, setting): (&String, &Setting)| {
            Ok((service.clone(), Arc::new(Upstream::new(service, setting, account, region)?)))
        };
        Ok(Self(settings.iter().map(one).collect::<Result<_, Error>>()?))
    }

    pub fn pass_on(&self, service: &str, request: Request<Bytes>) -> Option<model::Fut<'static, Answer>> {
        let upstream = self.0.get(service)?.clone();
        Some(Box::pin(async move {
            let answered = tokio::time::timeout(ANSWERS_WITHIN, upstream.ask(request)).await;
            match answered.unwrap_or_else(|_| Err(Fault::internal(format!("no answer within {} s", ANSWERS_WITHIN.as_secs())))) {
                Ok(answer) => answer,
                Err(fault) => {
                    tracing::warn!(service = upstream.service, at = %upstream.at, "the upstream failed: {}", fault.message);
                    upstream.failed(&fault)
                }
            }
        }))
    }
}

impl Upstream {
    fn new(service: &str, setting: &Setting, account: &str, region: &str) -> Result<Self, Error> {
        if OWN.contains(&service) {
            return Err(Error::Own(service.into()));
        }
        let at = address(&setting.url).ok_or_else(|| Error::Url(service.into(), setting.url.clone()))?;
        let (id, secret) = match (&setting.access_key_id, &setting.secret_access_key_file) {
            (None, None) => (account.to_owned(), "unchecked".to_owned()),
            (Some(id), Some(file)) => {
                let secret = std::fs::read_to_string(file).map_err(|e| Error::Secret(service.into(), file.clone(), e))?;
                (id.clone(), secret.trim().to_owned())
            }
            _ => return Err(Error::Half(service.into())),
        };
        let credential =
            Credential { access_key_id: id.into(), secret: secret.into(), session_token: None, principal: Principal::Anonymous };
        let region = setting.region.clone().unwrap_or_else(|| region.to_owned());
        Ok(Self { service: service.into(), at, region, credential })
    }

    async fn ask(&self, request: Request<Bytes>) -> Result<Answer, Fault> {
        let broken = |what: &str, e: &dyn std::fmt::Display| Fault::internal(format!("{what} {}: {e}", self.at));
        let request = self.signed(request)?;
        let stream = TcpStream::connect(self.at).await.map_err(|e| broken("can't connect to", &e))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| broken("can't speak to", &e))?;
        // It ends with the last byte of the answer, or when nobody reads that any more.
        tokio::spawn(connection);
        let answer = sender.send_request(request).await.map_err(|e| broken("no answer from", &e))?;
        Ok(forwarded(answer))
    }

    /// The request as this upstream gets it.
    fn signed(&self, request: Request<Bytes>) -> Result<Request<Full<Bytes>>, Fault> {
        let (mut parts, body) = request.into_parts();
        if parts.uri.query().is_some_and(|q| q.contains("X-Amz-Signature=")) {
            return Err(Fault::invalid("a presigned request is not passed on: it was signed for here"));
        }
        KEPT_HERE.iter().for_each(|name| while parts.headers.remove(name).is_some() {});
        CALLERS_OWN.iter().for_each(|name| while parts.headers.remove(*name).is_some() {});
        let host = HeaderValue::try_from(self.at.to_string()).map_err(Fault::internal)?;
        parts.headers.insert(header::HOST, host);
        let path = parts.uri.path_and_query().map_or("/", |p| p.as_str());
        parts.uri = path.parse::<Uri>().map_err(Fault::internal)?;
        parts.extensions.clear();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64);
        gateway::sigv4::sign(&mut parts, &body, &self.credential, &self.region, &self.service, now);
        Ok(Request::from_parts(parts, Full::new(body)))
    }

    fn failed(&self, fault: &Fault) -> Answer {
        let body = serde_json::json!({
            "__type": "ServiceUnavailable",
            "message": format!("myna passes {} on to {}, which failed: {}", self.service, self.at, fault.message),
        });
        let mut answer = Response::new(ReplyBody::Bytes(body.to_string().into()));
        *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.1"));
        headers.insert("x-amzn-errortype", HeaderValue::from_static("ServiceUnavailable"));
        answer
    }
}

/// The answer as it came; its bytes as they arrive.
fn forwarded(answer: Response<hyper::body::Incoming>) -> Answer {
    let (mut parts, body) = answer.into_parts();
    for name in [header::CONNECTION, header::TRANSFER_ENCODING, header::TRAILER, header::UPGRADE] {
        parts.headers.remove(name);
    }
    let frames = BodyStream::new(body).filter_map(|frame| async move {
        match frame {
            Ok(frame) => frame.into_data().ok().map(Frame::Data),
            Err(e) => Some(Frame::Fault(Fault::internal(format!("the upstream's answer broke off: {e}")))),
        }
    });
    Response::from_parts(parts, ReplyBody::Stream(Box::pin(frames)))
}

fn address(url: &str) -> Option<SocketAddr> {
    let rest = url.strip_prefix("http://")?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let at: SocketAddr = rest.replace("localhost:", "127.0.0.1:").parse().ok()?;
    at.ip().is_loopback().then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(url: &str) -> Setting {
        Setting { url: url.into(), access_key_id: None, secret_access_key_file: None, region: None }
    }

    #[test]
    fn an_upstream_is_on_this_machine() {
        for good in ["http://127.0.0.1:4566", "http://localhost:4566/", "http://[::1]:9"] {
            assert!(Upstream::new("s3", &setting(good), "1", "r").is_ok(), "{good}");
        }
        for bad in [
            "https://127.0.0.1:1",
            "http://127.0.0.1",
            "http://10.0.0.1:80",
            "http://example.com:80",
            "127.0.0.1:1",
            "http://127.0.0.1:1/x",
        ] {
            assert!(matches!(Upstream::new("s3", &setting(bad), "1", "r"), Err(Error::Url(..))), "{bad}");
        }
        assert!(matches!(Upstream::new("lambda", &setting("http://127.0.0.1:1"), "1", "r"), Err(Error::Own(_))));
    }

    #[test]
    fn the_callers_own_authority_stays_here() {
        let upstream = Upstream::new("s3", &setting("http://127.0.0.1:4566"), "000000000000", "r").unwrap();
        let request = Request::put("/b/k?x-id=PutObject")
            .header("authorization", "theirs")
            .header("x-amz-security-token", "theirs")
            .header("x-amz-meta-a", "kept")
            .header("host", "127.0.0.1:9001")
            .body(Bytes::from_static(b"x"))
            .unwrap();
        let signed = upstream.signed(request).unwrap();
        assert!(!format!("{:?}", signed.headers()).contains("theirs"));
        assert_eq!(signed.headers()["host"], "127.0.0.1:4566");
        assert_eq!(signed.headers()["x-amz-meta-a"], "kept");
        assert!(signed.headers()["authorization"].to_str().unwrap().contains("Credential=000000000000/"));
    }
}
