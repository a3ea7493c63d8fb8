//! A closed loop of callers: each sends, waits for the whole answer, sends again. The same client measures us and the reference.

use anyhow::{Context, bail};
use std::time::{Duration, Instant};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

#[derive(Clone, Copy, Debug)]
pub struct Measured {
    pub p50_us: f64,
    pub p99_us: f64,
    pub per_second: f64,
}

impl Measured {
    pub fn of(mut times: Vec<Duration>, took: Duration) -> Self {
        let per_second = times.len() as f64 / took.as_secs_f64();
        times.sort_unstable();
        let at = |q: f64| times[((times.len() - 1) as f64 * q) as usize].as_secs_f64() * 1e6;
        Self { p50_us: at(0.5), p99_us: at(0.99), per_second }
    }
    /// The better of both in every figure.
    pub fn best(self, other: Self) -> Self {
        Self {
            p50_us: self.p50_us.min(other.p50_us),
            p99_us: self.p99_us.min(other.p99_us),
            per_second: self.per_second.max(other.per_second),
        }
    }
    pub fn p50(&self) -> String {
        format!("p50 {:.0} µs", self.p50_us)
    }
    pub fn rate(&self) -> String {
        format!("{:.0}/s", self.per_second)
    }
}

const PATIENCE: Duration = Duration::from_secs(30);

/// What is sent, again and again. Made anew for each request where it carries a signature with a time in it.
pub type Request = dyn Fn() -> Vec<u8> + Send + Sync;

/// `callers` connections, `calls` calls altogether, after a tenth as many to warm up.
pub fn run(address: &str, request: &Request, callers: usize, calls: usize) -> anyhow::Result<Measured> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let measured = async {
        drive(address, request, callers, (calls / 10).max(callers)).await?;
        let began = Instant::now();
        let times = drive(address, request, callers, calls).await?;
        Ok(Measured::of(times, began.elapsed()))
    };
    runtime.block_on(async {
        tokio::time::timeout(PATIENCE, measured).await.with_context(|| format!("{calls} calls took longer than {PATIENCE:?}"))?
    })
}

async fn drive(address: &str, request: &Request, callers: usize, calls: usize) -> anyhow::Result<Vec<Duration>> {
    let callers = (0..callers).map(|_| caller(address, request, calls / callers));
    Ok(futures_util::future::try_join_all(callers).await?.concat())
}

async fn caller(address: &str, request: &Request, calls: usize) -> anyhow::Result<Vec<Duration>> {
    let mut stream = TcpStream::connect(address).await.with_context(|| format!("connect to {address}"))?;
    stream.set_nodelay(true)?;
    let mut times = Vec::with_capacity(calls);
    let mut buffer = Vec::with_capacity(4096);
    for _ in 0..calls {
        let bytes = request();
        let began = Instant::now();
        stream.write_all(&bytes).await?;
        answer(&mut stream, &mut buffer).await?;
        times.push(began.elapsed());
    }
    Ok(times)
}

/// Read one whole answer; anything but 200, or 202 for what is accepted, ends the measurement.
async fn answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> anyhow::Result<()> {
    buffer.clear();
    loop {
        if stream.read_buf(buffer).await? == 0 {
            bail!("the server closed the connection after {:?}", String::from_utf8_lossy(buffer));
        }
        let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
        let head = std::str::from_utf8(&buffer[..end])?;
        if !head.starts_with("HTTP/1.1 200") && !head.starts_with("HTTP/1.1 202") {
            bail!("answered {:?}", String::from_utf8_lossy(buffer));
        }
        let header = |name: &str| {
            let mut lines = head.lines().filter_map(|l| l.split_once(':'));
            lines.find(|h| h.0.eq_ignore_ascii_case(name)).map(|h| h.1.trim())
        };
        let length: Option<usize> = header("content-length").map(str::parse).transpose()?;
        anyhow::ensure!(length.is_some() || header("transfer-encoding") == Some("chunked"), "an answer of unknown length");
        // Answers are small and hold no line of their own that is an end of chunks.
        while length.map_or(!buffer.ends_with(b"0\r\n\r\n"), |n| buffer.len() < end + 4 + n) {
            if stream.read_buf(buffer).await? == 0 {
                bail!("the answer broke off");
            }
        }
        return Ok(());
    }
}

/// An empty JSON object, posted.
pub fn post(host: &str, path: &str) -> Box<Request> {
    let text = format!("POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}");
    Box::new(move || text.clone().into_bytes())
}

/// One call over a connection of its own.
pub fn once(address: &str, request: &Request) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { tokio::time::timeout(PATIENCE, caller(address, request, 1)).await? }).map(drop)
}
