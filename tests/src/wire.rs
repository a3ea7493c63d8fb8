//! Bare bytes over TCP, for what no proper client would send.

use anyhow::{Context, Result, bail, ensure};
use rustix::net;
use std::{
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream},
    time::Duration,
};

/// Longer than the platform's own limits on slow clients.
const PATIENCE: Duration = Duration::from_secs(45);

pub struct Wire {
    stream: TcpStream,
    held: Vec<u8>,
}

/// One answer as it stood on the wire.
#[derive(Debug)]
pub struct Raw {
    pub status: u16,
    /// Lower-case names.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Raw {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

impl Wire {
    /// Connects to `http://host:port`.
    pub fn open(url: &str) -> Result<Self> {
        Self::open_from(url, Ipv4Addr::LOCALHOST)
    }

    /// The same from one of this machine's own addresses (127.0.0.0/8).
    pub fn open_from(url: &str, from: Ipv4Addr) -> Result<Self> {
        let at: SocketAddr =
            url.trim_start_matches("http://").trim_end_matches('/').parse().with_context(|| format!("no address: {url}"))?;
        let socket = net::socket_with(net::AddressFamily::INET, net::SocketType::STREAM, net::SocketFlags::CLOEXEC, None)?;
        net::bind(&socket, &SocketAddrV4::new(from, 0)).with_context(|| format!("can't connect from {from}"))?;
        net::connect(&socket, &at).with_context(|| format!("can't connect to {at}"))?;
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, held: Vec::new() })
    }

    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(bytes)?)
    }

    /// The same to a peer that may have hung up already, which is an answer too.
    pub fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// The next whole answer, or None when the peer hung up before one began.
    pub fn answer(&mut self) -> Result<Option<Raw>> {
        let Some(mut raw) = self.next_head()? else { return Ok(None) };
        raw.body = match (raw.header("transfer-encoding"), raw.header("content-length")) {
            (Some("chunked"), None) => self.chunks()?,
            (None, Some(length)) => self.exactly(length.parse()?)?,
            (None, None) if raw.status == 204 || raw.status == 304 => Vec::new(),
            (None, None) => self.rest()?,
            both => bail!("the answer's length is ambiguous: {both:?}"),
        };
        Ok(Some(raw))
    }

    /// An answer's head alone; its body follows by [`Wire::chunk`].
    pub fn head(&mut self) -> Result<Raw> {
        let raw = self.next_head()?.context("the peer hung up")?;
        ensure!(raw.header("transfer-encoding") == Some("chunked"), "the answer is not chunked: {raw:?}");
        Ok(raw)
    }

    fn next_head(&mut self) -> Result<Option<Raw>> {
        let Some(end) = self.until(|held| find(held, b"\r\n\r\n").map(|at| at + 4))? else {
            ensure!(self.held.is_empty(), "the peer hung up within a head: {:?}", String::from_utf8_lossy(&self.held));
            return Ok(None);
        };
        let head = String::from_utf8_lossy(&self.held[..end]).into_owned();
        self.held.drain(..end);
        let mut lines = head.split("\r\n");
        let first = lines.next().unwrap_or_default();
        let status =
            first.split(' ').nth(1).and_then(|s| s.parse().ok()).with_context(|| format!("no status line: {first:?}"))?;
        let headers: Vec<_> =
            lines.filter_map(|l| l.split_once(':')).map(|(n, v)| (n.to_ascii_lowercase(), v.trim().to_owned())).collect();
        Ok(Some(Raw { status, headers, body: Vec::new() }))
    }

    /// True when the peer hung up and sent nothing more.
    pub fn hung_up(&mut self) -> Result<bool> {
        Ok(self.until(|held| (!held.is_empty()).then_some(1))?.is_none())
    }

    fn chunks(&mut self) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            match self.chunk()? {
                chunk if chunk.is_empty() => return Ok(body),
                chunk => body.extend(chunk),
            }
        }
    }

    /// The next piece of a chunked body; empty at its end.
    pub fn chunk(&mut self) -> Result<Vec<u8>> {
        let end = self.until(|held| find(held, b"\r\n").map(|at| at + 2))?.context("the peer hung up within a chunked body")?;
        let size = usize::from_str_radix(String::from_utf8_lossy(&self.held[..end - 2]).trim(), 16)?;
        self.held.drain(..end);
        let mut chunk = self.exactly(size + 2)?;
        chunk.truncate(size);
        Ok(chunk)
    }

    fn exactly(&mut self, bytes: usize) -> Result<Vec<u8>> {
        self.until(|held| (held.len() >= bytes).then_some(bytes))?.context("the peer hung up within a body")?;
        Ok(self.held.drain(..bytes).collect())
    }

    fn rest(&mut self) -> Result<Vec<u8>> {
        self.until(|_| None)?;
        Ok(std::mem::take(&mut self.held))
    }

    /// Reads until `done` finds what it wants; None at the end of the stream.
    fn until(&mut self, done: impl Fn(&[u8]) -> Option<usize>) -> Result<Option<usize>> {
        let mut buffer = [0; 16 * 1024];
        loop {
            if let Some(at) = done(&self.held) {
                return Ok(Some(at));
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => return Ok(None),
                Ok(n) => self.held.extend_from_slice(&buffer[..n]),
                Err(e) if e.kind() == ErrorKind::ConnectionReset => return Ok(None),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e).context("the peer neither answered nor hung up"),
            }
        }
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|w| w == needle)
}
