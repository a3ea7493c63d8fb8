//! What the contract's tests run against: a link over the host's loopback, a platform that answers simply, and a runtime that
//! speaks raw HTTP.

use super::Lambda;
use model::{
    Body, BoxIo, Clock, Event, Fault, FunctionName, Fut, InstanceId, Mono, Package, Principal, ReplyBody, RevisionId, Target,
    TenantId, Unit,
    catalog::{LogSettings, Settings},
    event::{Head, Trigger},
    ports::{Contract, Host, InstanceFacts, Link, Listener, Opening, Request, Response, Runtime, Session, Slots},
    sandbox::{Endpoint, Network, Tier},
};
use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// An instance whose loopback is the host's.
pub struct TcpLink(Mutex<Option<TcpListener>>);

struct TcpAccept(TcpListener);

impl Listener for TcpAccept {
    fn accept(&self) -> Fut<'_, io::Result<BoxIo>> {
        Box::pin(async {
            let (stream, _) = self.0.accept().await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as BoxIo)
        })
    }
}

impl Link for TcpLink {
    fn dial(&self, to: &Endpoint) -> Fut<'_, io::Result<BoxIo>> {
        let to = to.clone();
        Box::pin(async move {
            let Endpoint::Tcp(port) = to else { return Err(io::ErrorKind::Unsupported.into()) };
            Ok(Box::new(TcpStream::connect(("127.0.0.1", port)).await?) as BoxIo)
        })
    }
    fn listen(&self, _: &Endpoint) -> Fut<'_, io::Result<Box<dyn Listener>>> {
        let taken = self.0.lock().unwrap().take();
        Box::pin(async { Ok(Box::new(TcpAccept(taken.ok_or(io::ErrorKind::AddrInUse)?)) as Box<dyn Listener>) })
    }
}

/// Real clocks, and a data plane that says what it was asked.
pub struct Platform;

impl Clock for Platform {
    fn mono(&self) -> Mono {
        Mono::default()
    }
    fn wall_ms(&self) -> u64 {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64
    }
}

impl Host for Platform {
    fn plane(&self, request: Request) -> Fut<'_, Response> {
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let Body::Bytes(body) = body else { panic!("the contract buffers what goes to the platform") };
            let text = format!("{} {} {}", parts.method, parts.uri, String::from_utf8_lossy(&body));
            Response::new(ReplyBody::Bytes(text.into()))
        })
    }
    fn clock(&self) -> &dyn Clock {
        self
    }
}

pub fn unit() -> Unit {
    Unit {
        tenant: TenantId::new("000000000000"),
        function: FunctionName::new("f"),
        version: "$LATEST".into(),
        revision: RevisionId::random(),
        dialect: "aws",
        resource_name: "arn:aws:lambda:us-east-1:000000000000:function:f".into(),
        package: Package::Unpacked { digest: "00".into(), bytes: 1, path: "/nonexistent".into() },
        layers: vec![],
        runtime: "provided.al2023".into(),
        contract: "lambda",
        tier: Tier::Process,
        handler: "index.handler".into(),
        env: vec![("USER_SAYS".into(), "hi".into())],
        secrets: Vec::new(),
        made: RevisionId::random(),
        settings: Settings {
            slots: Slots::One,
            memory_mib: 128,
            timeout: Duration::from_secs(3),
            init_timeout: Duration::from_secs(10),
            tmp_mib: 512,
            request_bytes_max: 6_291_456,
            event_bytes_max: 1000,
            reply_bytes_max: 1000,
            stream_bytes_max: 100_000,
            network: Network::Loopback,
            log: LogSettings { group: "/aws/lambda/f".into(), json: false, level: None, system_level: None },
        },
        role: None,
    }
}

pub fn facts() -> InstanceFacts {
    InstanceFacts {
        id: InstanceId::random(),
        region: "us-east-1".into(),
        log_stream: "2026/01/01/[$LATEST]00".into(),
        initialization: "on-demand",
        credential: None,
    }
}

pub fn runtime() -> Runtime {
    Runtime {
        name: "python3.12".into(),
        found: "CPython 3.12.1".into(),
        origin: "test".into(),
        mounts: vec![],
        argv: vec!["/var/lang/bin/python3.12".into(), "/var/runtime/bootstrap.py".into()],
        env: vec![("PYTHONPATH".into(), "/var/runtime".into())],
        bindable: true,
        libraries: vec![],
        notes: vec![],
    }
}

pub fn event(body: impl Into<bytes::Bytes>) -> Event {
    let target = Target {
        tenant: TenantId::new("000000000000"),
        function: FunctionName::new("f"),
        qualifier: None,
        door: "aws",
        caller: Principal::Anonymous,
        context: vec![],
    };
    Event::new(&target, Trigger::Invoke, Head::Raw { content_type: None }, Body::Bytes(body.into()))
}

/// The platform's side of one instance that isn't open yet.
pub struct Bench {
    pub port: u16,
    link: Arc<TcpLink>,
}

impl Bench {
    pub async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { port: listener.local_addr().unwrap().port(), link: Arc::new(TcpLink(Mutex::new(Some(listener)))) }
    }
    /// The session, once its runtime is ready.
    pub async fn open(&self, unit: Option<Unit>) -> Result<Arc<dyn Session>, Fault> {
        self.opening(unit).await?.finish().await
    }
    /// The session before that.
    pub async fn opening(&self, unit: Option<Unit>) -> Result<Opening, Fault> {
        Lambda::at(self.port).open(self.link.clone(), unit.map(Arc::new), Arc::new(Platform)).await
    }
    /// A runtime that has asked for its first event, and the session.
    pub async fn ready(unit: Unit) -> (Arc<dyn Session>, Client) {
        let bench = Self::new().await;
        let mut client = Client::connect(bench.port).await;
        client.send("GET", "/2018-06-01/runtime/invocation/next", "", b"").await;
        (bench.open(Some(unit)).await.unwrap(), client)
    }
}

/// A runtime: one connection, raw.
pub struct Client {
    pub stream: TcpStream,
    buffer: Vec<u8>,
}

pub struct Got {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Got {
    pub fn header(&self, name: &str) -> Option<&str> {
        // Letter by letter: some runtimes compare so.
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Client {
    pub async fn connect(port: u16) -> Self {
        Self { stream: TcpStream::connect(("127.0.0.1", port)).await.unwrap(), buffer: vec![] }
    }
    pub async fn send(&mut self, method: &str, path: &str, headers: &str, body: &[u8]) {
        let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
        self.stream.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
    }
    pub async fn raw(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }
    pub async fn got(&mut self) -> Got {
        let end = loop {
            if let Some(end) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                break end + 4;
            }
            self.more().await;
        };
        let head = String::from_utf8(self.buffer[..end].to_vec()).unwrap();
        let length = head.lines().find_map(|l| l.strip_prefix("Content-Length: ")).map_or(0, |l| l.parse().unwrap());
        while self.buffer.len() < end + length {
            self.more().await;
        }
        let body = self.buffer[end..end + length].to_vec();
        self.buffer.drain(..end + length);
        Got { status: head[9..12].parse().unwrap(), head, body }
    }
    async fn more(&mut self) {
        let read = self.stream.read_buf(&mut self.buffer).await.unwrap();
        assert!(read > 0, "the platform closed the connection: {:?}", String::from_utf8_lossy(&self.buffer));
    }
    pub async fn ask(&mut self, method: &str, path: &str, headers: &str, body: &[u8]) -> Got {
        self.send(method, path, headers, body).await;
        self.got().await
    }
    pub async fn next(&mut self) {
        self.send("GET", "/2018-06-01/runtime/invocation/next", "", b"").await;
    }
    pub async fn answer(&mut self, id: &str, body: &[u8]) -> Got {
        self.ask("POST", &format!("/2018-06-01/runtime/invocation/{id}/response"), "", body).await
    }
}
