//! The beginning of a connection at a door with TLS.

use super::Certificates;
use crate::stage::Stage;
use std::{io, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

/// How a TLS connection begins: a record of the kind handshake (RFC 8446, 5.1).
const HANDSHAKE: u8 = 0x16;
/// Said to whoever speaks HTTP without TLS.
const PLAIN: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 48\r\nconnection: close\r\n\r\n\
    this port speaks TLS: use https:// instead of it";
/// How much of a plain request is still read, so that its sender gets to read the answer instead of a reset.
const LINGER_BYTES: usize = 64 * 1024;
const LINGER: Duration = Duration::from_secs(1);

/// What came of it.
pub(crate) enum Met {
    Stream(Box<TlsStream<TcpStream>>),
    /// Not TLS; it was told so.
    Plain,
    Failed(io::Error),
    /// It took too long, or the platform stops.
    Given,
}

/// The handshake, within `limit`.
pub(crate) async fn meet(mut stream: TcpStream, certificates: &Certificates, limit: Duration, stage: &Stage) -> Met {
    let greet = async {
        let mut first = [0];
        match stream.peek(&mut first).await {
            Ok(0) => return Met::Given,
            Ok(_) if first[0] != HANDSHAKE => {
                refuse(&mut stream).await;
                return Met::Plain;
            }
            Ok(_) => {}
            Err(error) => return Met::Failed(error),
        }
        match certificates.acceptor().accept(stream).await {
            Ok(stream) => Met::Stream(Box::new(stream)),
            Err(error) => Met::Failed(error),
        }
    };
    tokio::select! {
        met = tokio::time::timeout(limit, greet) => met.unwrap_or(Met::Given),
        () = stage.drain.cancelled() => Met::Given,
    }
}

async fn refuse(stream: &mut TcpStream) {
    if stream.write_all(PLAIN).await.is_err() || stream.shutdown().await.is_err() {
        return;
    }
    let mut sink = [0; 4096];
    let drain = async {
        let mut left = LINGER_BYTES;
        while let Ok(n) = stream.read(&mut sink).await {
            if n == 0 || n > left {
                break;
            }
            left -= n;
        }
    };
    let _ = tokio::time::timeout(LINGER, drain).await;
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_refusal_has_the_length_that_it_says() {
        let text = std::str::from_utf8(super::PLAIN).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())));
    }
}
