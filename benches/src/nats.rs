//! NATS JetStream with a sync before each acknowledgement, and as much of its protocol as a publisher that waits for that needs
//! (NATS documentation, "Client protocol" and "JetStream wire API").

use crate::{
    load::Measured,
    server::{Bench, Running, free_port, wait_for},
};
use anyhow::{Context, ensure};
use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

const PATIENCE: Duration = Duration::from_secs(60);

pub struct Nats {
    port: u16,
    _running: Running,
    _folder: tempfile::TempDir,
}

pub fn start(bench: &Bench) -> anyhow::Result<Nats> {
    let deps = bench.deps.as_deref().context("MYNA_BENCH_DEPS is not set: run through cargo xtask bench")?;
    let program = deps.join("peers-nats/bin/nats-server");
    ensure!(program.exists(), "{} is not installed: run through cargo xtask bench", program.display());
    let (folder, port) = (tempfile::tempdir()?, free_port()?);
    let config = folder.path().join("nats.conf");
    let text = format!(
        "host: 127.0.0.1\nport: {port}\nmax_payload: 2MB\njetstream {{ store_dir: {:?}, sync_interval: always }}\n",
        folder.path().join("store")
    );
    std::fs::write(&config, text)?;
    let mut command = Command::new(program);
    let running = Running::start(command.arg("--config").arg(&config).stdout(Stdio::null()).stderr(Stdio::null()))?;
    wait_for(port)?;
    let nats = Nats { port, _running: running, _folder: folder };
    runtime()?.block_on(async {
        let mut client = Client::connect(nats.port).await?;
        let stream = br#"{"name":"EVENTS","subjects":["events"],"storage":"file","num_replicas":1}"#;
        let said = client.ask("$JS.API.STREAM.CREATE.EVENTS", stream).await?;
        ensure!(!said.contains("\"error\""), "the stream was not made: {said}");
        anyhow::Ok(())
    })?;
    Ok(nats)
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

impl Nats {
    /// So many publishers, each of which waits until what it sent is on stable storage.
    pub fn run(&self, bytes: usize, producers: usize, events: usize) -> anyhow::Result<Measured> {
        let body = vec![b'x'; bytes];
        let each = events.div_ceil(producers);
        let work = async {
            let clients = (0..producers).map(|_| Client::connect(self.port));
            let mut clients = futures_util::future::try_join_all(clients).await?;
            let warm = clients.iter_mut().map(|c| c.publish(&body, each.div_ceil(10)));
            futures_util::future::try_join_all(warm).await?;
            let began = Instant::now();
            let times = clients.iter_mut().map(|c| c.publish(&body, each));
            let times = futures_util::future::try_join_all(times).await?.concat();
            anyhow::Ok(Measured::of(times, began.elapsed()))
        };
        runtime()?.block_on(async { tokio::time::timeout(PATIENCE, work).await.context("NATS took too long")? })
    }
}

struct Client {
    stream: BufReader<TcpStream>,
    inbox: String,
}

impl Client {
    async fn connect(port: u16) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        let inbox = format!("_INBOX.{}", stream.local_addr()?.port());
        let mut client = Self { stream: BufReader::new(stream), inbox };
        let hello = format!("CONNECT {{\"verbose\":false,\"pedantic\":false}}\r\nSUB {} 1\r\nPING\r\n", client.inbox);
        client.stream.write_all(hello.as_bytes()).await?;
        while client.line().await? != "PONG" {}
        Ok(client)
    }

    async fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        ensure!(self.stream.read_line(&mut line).await? > 0, "the server closed the connection");
        ensure!(!line.starts_with("-ERR"), "{line}");
        Ok(line.trim_end().to_owned())
    }

    /// One message, and the reply to it.
    async fn ask(&mut self, subject: &str, body: &[u8]) -> anyhow::Result<String> {
        let mut message = format!("PUB {subject} {} {}\r\n", self.inbox, body.len()).into_bytes();
        message.extend_from_slice(body);
        message.extend_from_slice(b"\r\n");
        self.stream.write_all(&message).await?;
        loop {
            let line = self.line().await?;
            if line == "PING" {
                self.stream.write_all(b"PONG\r\n").await?;
            } else if line.starts_with("MSG ") {
                let length: usize = line.rsplit(' ').next().unwrap_or_default().parse()?;
                let mut reply = vec![0; length + 2];
                self.stream.read_exact(&mut reply).await?;
                reply.truncate(length);
                return Ok(String::from_utf8(reply)?);
            }
        }
    }

    async fn publish(&mut self, body: &[u8], count: usize) -> anyhow::Result<Vec<Duration>> {
        let mut times = Vec::with_capacity(count);
        for _ in 0..count {
            let began = Instant::now();
            let said = self.ask("events", body).await?;
            ensure!(said.contains("\"seq\"") && !said.contains("\"error\""), "{said}");
            times.push(began.elapsed());
        }
        Ok(times)
    }
}
