//! The two requests of every invocation, the short way: `GET …/next` and `POST …/{id}/response` with a small, whole body are
//! read from the connection and answered into it, without a general HTTP server in between. Whatever else a connection brings
//! (or the same, worded in any way that is not plain) is left to that server, from its first byte on and for good.

use super::{
    answer::{Answer, Out},
    next,
    reply::{self, Claim},
    routes::{self, INVOCATION, THEN_NEXT},
    session::Core,
};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{StatusCode, header::CONTENT_TYPE};
use model::{BoxIo, Reply, ReplyBody, ReplyHead};
use std::{
    future::poll_fn,
    io::{self, Write},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

/// A longer head is read by the server.
const HEAD_BYTES_MAX: usize = 4096;
const HEADERS_MAX: usize = 16;
/// A longer body, too.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Room that is made for what is read at once.
const READ_BYTES: usize = 4096;
/// A body of up to this is copied out of what was read; a longer one keeps that alive instead.
const COPY_BYTES_MAX: usize = 1024;

/// How the short way ended.
enum End {
    /// The runtime went away.
    Closed,
    /// What comes next is not for the short way.
    Other,
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> Self {
        End::Closed
    }
}

/// Serve a connection as long as it brings nothing else; gives it back with what was read of something else.
pub(super) async fn serve(core: &Arc<Core>, io: BoxIo) -> Option<Rewound> {
    let mut connection = Connection { io, read: BytesMut::new(), write: BytesMut::new() };
    loop {
        match connection.one(core).await {
            Ok(()) => {}
            Err(End::Closed) => return None,
            Err(End::Other) => return Some(Rewound { first: connection.read.freeze(), io: connection.io }),
        }
    }
}

struct Connection {
    io: BoxIo,
    /// Read, and not used yet.
    read: BytesMut,
    write: BytesMut,
}

#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Next,
    Response { id: Option<uuid::Uuid>, body_bytes: usize, then_next: bool },
}

impl Connection {
    /// One request and its answer.
    async fn one(&mut self, core: &Arc<Core>) -> Result<(), End> {
        let (asked, head_bytes) = loop {
            match parse(&self.read) {
                Parsed::Asked(asked, head_bytes) => break (asked, head_bytes),
                Parsed::Partial => self.more().await?,
                Parsed::Other => return Err(End::Other),
            }
        };
        match asked {
            Asked::Next => {
                self.read.advance(head_bytes);
                self.next(core).await
            }
            Asked::Response { id, body_bytes, then_next } => {
                if core.state().bound.as_ref().is_none_or(|b| body_bytes > b.reply_bytes_max) {
                    return Err(End::Other);
                }
                self.read.advance(head_bytes);
                self.response(core, id, body_bytes, then_next).await
            }
        }
    }

    async fn next(&mut self, core: &Core) -> Result<(), End> {
        let asked = {
            let mut next = pin!(routes::next_event(core));
            poll_fn(|cx| match next.as_mut().poll(cx) {
                Poll::Ready(asked) => Poll::Ready(Ok(asked)),
                Poll::Pending => self.watch(cx).map(Err),
            })
            .await?
        };
        match asked {
            Ok((bound, event, body)) => {
                next::write_head(&mut self.write, &bound, &event, body.len(), core.host.clock());
                self.send(body).await
            }
            Err(refused) => self.answer(refused).await,
        }
    }

    /// While a runtime waits it may go away; what it sends too early is kept, within bounds.
    fn watch(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        while self.read.len() < HEAD_BYTES_MAX {
            self.read.reserve(READ_BYTES);
            match pin!(self.io.read_buf(&mut self.read)).poll(cx) {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(_) => return Poll::Ready(End::Closed),
                Poll::Pending => break,
            }
        }
        Poll::Pending
    }

    async fn response(
        &mut self,
        core: &Arc<Core>,
        id: Option<uuid::Uuid>,
        body_bytes: usize,
        then_next: bool,
    ) -> Result<(), End> {
        // Claimed before the body is read, as everywhere: dropped on the way, it fails the call.
        let claimed = Claim::take(core, id);
        while self.read.len() < body_bytes {
            self.more().await?;
        }
        let body = match body_bytes {
            0..=COPY_BYTES_MAX => Bytes::copy_from_slice(&self.read[..body_bytes]),
            _ => self.read.split_to(body_bytes).freeze(),
        };
        if body_bytes <= COPY_BYTES_MAX {
            self.read.advance(body_bytes);
        }
        match claimed {
            Err(refused) => self.answer(refused).await,
            Ok((claim, ..)) => {
                claim.finish(Ok(Reply { head: ReplyHead::default(), body: ReplyBody::Bytes(body) }));
                reply::caller_first().await;
                match then_next {
                    true => self.next(core).await,
                    false => {
                        self.write.extend_from_slice(ACCEPTED);
                        self.send(Bytes::new()).await
                    }
                }
            }
        }
    }

    async fn more(&mut self) -> Result<(), End> {
        self.read.reserve(READ_BYTES);
        match self.io.read_buf(&mut self.read).await? {
            0 => Err(End::Closed),
            _ => Ok(()),
        }
    }

    /// What is not an event.
    async fn answer(&mut self, answer: Answer) -> Result<(), End> {
        let (head, body) = answer.into_parts();
        let Out::Whole(body) = body else { return Err(End::Closed) };
        let body = body.unwrap_or_default();
        let kind = head.headers.get(CONTENT_TYPE).map_or(&b"application/json"[..], |v| v.as_bytes());
        status(&mut self.write, head.status);
        self.write.extend_from_slice(kind);
        write!((&mut self.write).writer(), "\r\nContent-Length: {}\r\n\r\n", body.len())?;
        self.send(body).await
    }

    /// The head that was written, and the body behind it.
    async fn send(&mut self, mut body: Bytes) -> Result<(), End> {
        if body.len() <= READ_BYTES {
            self.write.extend_from_slice(&body);
            body = Bytes::new();
        }
        let mut all = Buf::chain(&self.write[..], body);
        self.io.write_all_buf(&mut all).await?;
        self.write.clear();
        Ok(())
    }
}

fn status(out: &mut BytesMut, status: StatusCode) {
    let reason = status.canonical_reason().unwrap_or_default();
    write!(out.writer(), "HTTP/1.1 {} {reason}\r\nContent-Type: ", status.as_u16()).expect("a growing buffer takes everything");
}

const ACCEPTED: &[u8] =
    b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{\"status\":\"OK\"}\n";

#[derive(Debug, PartialEq, Eq)]
enum Parsed {
    /// With the bytes of its head.
    Asked(Asked, usize),
    Partial,
    Other,
}

/// Strict: whatever is not written in the one plain way is somebody else's.
fn parse(read: &[u8]) -> Parsed {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let head_bytes = match request.parse(read) {
        Ok(httparse::Status::Complete(n)) if n <= HEAD_BYTES_MAX => n,
        Ok(httparse::Status::Partial) if read.len() < HEAD_BYTES_MAX => return Parsed::Partial,
        _ => return Parsed::Other,
    };
    let (Some(method), Some(rest), Some(1)) =
        (request.method, request.path.and_then(|p| p.strip_prefix(INVOCATION)), request.version)
    else {
        return Parsed::Other;
    };
    let (mut body_bytes, mut then_next) = (None, false);
    for header in request.headers.iter() {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        if is("content-length") {
            let digits = header.value.iter().all(u8::is_ascii_digit).then_some(header.value);
            let length = digits.and_then(|d| std::str::from_utf8(d).ok()?.parse().ok());
            match (body_bytes, length) {
                (None, Some(length)) => body_bytes = Some(length),
                _ => return Parsed::Other,
            }
        } else if is("content-type") && header.value != b"application/json"
            || is("connection") && !header.value.eq_ignore_ascii_case(b"keep-alive")
            || ["transfer-encoding", "expect", "upgrade", "te", "trailer"].iter().any(|name| is(name))
            || header.name.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("lambda-"))
        {
            return Parsed::Other;
        } else if is(THEN_NEXT.as_str()) {
            then_next = true;
        }
    }
    match (method, rest.strip_suffix("/response")) {
        ("GET", None) if rest == "next" && body_bytes.is_none_or(|n| n == 0) => Parsed::Asked(Asked::Next, head_bytes),
        ("POST", Some(id)) if !id.contains(['/', '?', '#', '%']) => match body_bytes {
            Some(body_bytes) if body_bytes <= BODY_BYTES_MAX => {
                Parsed::Asked(Asked::Response { id: uuid::Uuid::try_parse(id).ok(), body_bytes, then_next }, head_bytes)
            }
            _ => Parsed::Other,
        },
        _ => Parsed::Other,
    }
}

/// A connection of which something was read already, from that on.
pub(super) struct Rewound {
    first: Bytes,
    io: BoxIo,
}

impl AsyncRead for Rewound {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.first.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let n = self.first.len().min(buf.remaining());
        buf.put_slice(&self.first.split_to(n));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Rewound {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }
    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }
    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "11111111-1111-4111-8111-111111111111";

    fn response(headers: &str) -> String {
        format!("POST {INVOCATION}{ID}/response HTTP/1.1\r\nHost: h\r\n{headers}\r\n")
    }

    #[test]
    fn the_plain_form_is_understood_and_every_other_is_left_alone() {
        let next = format!("GET {INVOCATION}next HTTP/1.1\r\nHost: h\r\nUser-Agent: x\r\nConnection: keep-alive\r\n\r\n");
        assert_eq!(parse(next.as_bytes()), Parsed::Asked(Asked::Next, next.len()));
        (0..next.len()).for_each(|n| assert_eq!(parse(&next.as_bytes()[..n]), Parsed::Partial, "{n}"));
        let id = uuid::Uuid::try_parse(ID).ok();
        let whole = response("Content-Length: 2\r\nContent-Type: application/json\r\nmyna-then: next\r\n");
        let asked = Asked::Response { id, body_bytes: 2, then_next: true };
        assert_eq!(parse(format!("{whole}{{}}").as_bytes()), Parsed::Asked(asked, whole.len()));
        for headers in [
            "",
            "Content-Length: 2\r\nContent-Length: 2\r\n",
            "Content-Length: +2\r\n",
            "Content-Length: 2, 2\r\n",
            "Content-Length: \r\n",
            "Content-Length: 65537\r\n",
            "Content-Length: 99999999999999999999999\r\n",
            "Transfer-Encoding: chunked\r\n",
            "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
            "Content-Length: 2\r\nExpect: 100-continue\r\n",
            "Content-Length: 2\r\nConnection: close\r\n",
            "Content-Length: 2\r\nUpgrade: h2c\r\n",
            "Content-Length: 2\r\nContent-Type: text/plain\r\n",
            "Content-Length: 2\r\nLambda-Runtime-Function-Response-Mode: streaming\r\n",
            "Content-Length: 2\r\n X: folded\r\n",
            "Content-Length : 2\r\n",
        ] {
            assert_eq!(parse(response(headers).as_bytes()), Parsed::Other, "{headers}");
        }
        for line in [
            format!("GET {INVOCATION}next HTTP/1.0"),
            format!("POST {INVOCATION}next HTTP/1.1"),
            format!("GET {INVOCATION}next?x HTTP/1.1"),
            format!("PUT {INVOCATION}{ID}/response HTTP/1.1"),
            format!("POST {INVOCATION}{ID}/error HTTP/1.1"),
            format!("POST {INVOCATION}a/{ID}/response HTTP/1.1"),
            format!("POST http://h{INVOCATION}{ID}/response HTTP/1.1"),
            "GET /2018-06-01/runtime/invocation HTTP/1.1".into(),
            "\0".into(),
        ] {
            assert_eq!(parse(format!("{line}\r\nContent-Length: 0\r\n\r\n").as_bytes()), Parsed::Other, "{line}");
        }
        let long = format!("GET {INVOCATION}next HTTP/1.1\r\nX: {}", "x".repeat(HEAD_BYTES_MAX));
        assert_eq!(parse(long.as_bytes()), Parsed::Other);
    }
}
