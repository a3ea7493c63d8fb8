//! The doors over real sockets, with bytes that a well-behaved client never sends.

mod aws;
mod bounds;
mod drain;
mod framing;
mod tls;

use crate::{Bind, Counters, Door, Handler, Limits, Peer, Report, Stop, open, reply};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, request::Parts};
use model::{
    Cause, Fault, Fut,
    event::{Body, ReplyBody},
    ports::{Request, Response},
};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Notify,
    task::JoinHandle,
};

/// Says back what it was asked, or misbehaves as its path says.
#[derive(Default)]
pub struct Echo {
    pub release: Notify,
    pub dropped: Arc<Notify>,
    pub canonical: bool,
}

pub const BODY_MAX: usize = 1024 * 1024;

impl Handler for Echo {
    fn admit(&self, parts: &Parts, _from: &Peer) -> Result<usize, Fault> {
        match parts.uri.path() {
            "/closed" => Err(Fault::new(Cause::Denied, "closed")),
            _ => Ok(BODY_MAX),
        }
    }
    fn handle(&self, request: Request, _from: Peer) -> Fut<'_, Response> {
        Box::pin(self.answer(request))
    }
    fn refuse(&self, _parts: &Parts, fault: &Fault) -> Response {
        let status = match fault.cause {
            Cause::TooLarge => 413,
            Cause::Denied => 403,
            Cause::Exhausted | Cause::Draining => 503,
            _ => 400,
        };
        reply::plain(status, &fault.message)
    }
    fn paths(&self) -> crate::Paths {
        if self.canonical { crate::Paths::Canonical } else { crate::Paths::Raw }
    }
}

/// Tells when a handler's future is dropped before its end.
struct Gone(Arc<Notify>);
impl Drop for Gone {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl Echo {
    async fn answer(&self, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let Body::Bytes(body) = body else { panic!("bodies are whole") };
        match parts.uri.path() {
            "/panic" => panic!("as asked"),
            "/wait" => {
                let gone = Gone(self.dropped.clone());
                self.release.notified().await;
                std::mem::forget(gone);
                reply::plain(200, "waited")
            }
            "/broken" => {
                stream(vec![model::Frame::Data(Bytes::from_static(b"half")), model::Frame::Fault(Fault::internal("torn"))])
            }
            "/stream" => {
                stream(vec![model::Frame::Data(Bytes::from_static(b"one")), model::Frame::Data(Bytes::from_static(b"two"))])
            }
            "/quiet" => {
                use futures_util::StreamExt;
                let late = futures_util::stream::once(async {
                    tokio::time::sleep(Duration::from_millis(2000)).await;
                    model::Frame::Data(Bytes::from_static(b"late"))
                });
                let first = futures_util::stream::iter([model::Frame::Data(Bytes::from_static(b"early"))]);
                Response::new(ReplyBody::Stream(Box::pin(first.chain(late))))
            }
            "/endless" => {
                let data = Bytes::from(vec![b'x'; 64 * 1024]);
                let frames = futures_util::stream::repeat_with(move || model::Frame::Data(data.clone()));
                Response::new(ReplyBody::Stream(Box::pin(frames)))
            }
            "/odd" => odd(parts.uri.query().unwrap_or("")),
            path => reply::plain(200, &format!("{} {path} {}", parts.method, body.len())),
        }
    }
}

fn stream(frames: Vec<model::Frame>) -> Response {
    Response::new(ReplyBody::Stream(Box::pin(futures_util::stream::iter(frames))))
}

/// Answers as a hostile function would have them.
fn odd(kind: &str) -> Response {
    let mut response = reply::plain(200, "odd");
    let headers = response.headers_mut();
    match kind {
        "length" => drop(headers.insert("content-length", HeaderValue::from_static("1"))),
        "chunked" => drop(headers.insert("transfer-encoding", HeaderValue::from_static("chunked"))),
        "upgrade" => drop(headers.insert("upgrade", HeaderValue::from_static("websocket"))),
        "many" => (0..10_000).for_each(|i| {
            headers.append("x", HeaderValue::from(i));
        }),
        "long" => drop(headers.insert("x", HeaderValue::from_bytes(&vec![b'a'; 1024 * 1024]).expect("text"))),
        status => *response.status_mut() = StatusCode::from_u16(status.parse().expect("a number")).expect("three digits"),
    }
    response
}

pub struct Server {
    pub at: SocketAddr,
    pub stop: Stop,
    pub counters: Arc<Counters>,
    pub echo: Arc<Echo>,
    pub done: JoinHandle<Report>,
}

/// Deadlines short enough to wait for.
pub fn hasty() -> Limits {
    Limits {
        header_timeout: Duration::from_millis(300),
        body_idle: Duration::from_millis(300),
        keep_alive_idle: Duration::from_millis(600),
        drain: Duration::from_millis(500),
        ..Limits::default()
    }
}

pub fn start(limits: Limits) -> Server {
    start_with(limits, Echo::default())
}

pub fn start_with(limits: Limits, echo: Echo) -> Server {
    start_tls(limits, echo, None)
}

pub fn start_tls(limits: Limits, echo: Echo, tls: Option<Arc<crate::tls::Certificates>>) -> Server {
    let echo = Arc::new(echo);
    let door = Door { name: "echo", bind: Bind::Tcp(([127, 0, 0, 1], 0).into()), handler: echo.clone(), tls };
    let bound = open(vec![door]).expect("port 0 is free");
    let (at, counters, stop) = (bound.address("echo").expect("TCP"), bound.counters(), Stop::default());
    let done = tokio::spawn(bound.serve(limits, stop.clone()));
    Server { at, stop, counters, echo, done }
}

impl Server {
    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.at).await.expect("the door is open")
    }

    /// Send bytes, hear everything until the server closes.
    pub async fn say(&self, bytes: &[u8]) -> String {
        let mut socket = self.connect().await;
        let _ = socket.write_all(bytes).await;
        hear(&mut socket).await
    }
}

/// Everything until the end; a server that never closes fails the test.
pub async fn hear(socket: &mut TcpStream) -> String {
    let mut heard = Vec::new();
    let end = tokio::time::timeout(Duration::from_secs(20), socket.read_to_end(&mut heard)).await;
    assert!(end.is_ok(), "the connection stays open; heard {:?}", String::from_utf8_lossy(&heard));
    String::from_utf8_lossy(&heard).into_owned()
}

/// One answer on a connection that stays open.
pub async fn answer(socket: &mut TcpStream) -> String {
    let mut heard = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let n =
            tokio::time::timeout(Duration::from_secs(20), socket.read(&mut piece)).await.expect("an answer").expect("readable");
        assert!(n > 0, "closed early; heard {:?}", String::from_utf8_lossy(&heard));
        heard.extend_from_slice(&piece[..n]);
        let text = String::from_utf8_lossy(&heard).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|l| l.strip_prefix("content-length: ")).map_or(0, |n| n.parse().expect("a number"));
        if body.len() >= length {
            return text;
        }
    }
}

pub fn status(heard: &str) -> &str {
    heard.get(9..12).unwrap_or(heard)
}
