//! Requests that two parsers could read differently. Each is refused, its connection ends, and what was hidden behind it is never
//! taken for a request.

use myna_tests::{Context, Platform, Result, Test, Wire, ensure, tests};

pub const ALL: &[Test] = tests![
    bodies_of_ambiguous_length_are_refused_and_nothing_is_smuggled,
    malformed_heads_are_refused,
    chunks_that_overflow_are_refused
];

/// What stands behind each attack; an answer to it means that it was smuggled in.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Sends a request and expects one refusal, and then the end of the connection.
fn refused(myna: &Platform, request: &[u8]) -> Result<()> {
    let shown = || String::from_utf8_lossy(&request[..request.len().min(200)]).into_owned();
    let mut wire = Wire::open(&myna.ready().aws)?;
    wire.try_send(request);
    wire.try_send(HIDDEN.as_bytes());
    // Hanging up without a word is allowed where the peer had to be cut off while it was still sending.
    if let Some(answer) = wire.answer().with_context(shown)? {
        ensure!((400..500).contains(&answer.status) || answer.status == 505, "answered {} to {:?}", answer.status, shown());
        ensure!(wire.hung_up().with_context(shown)?, "something followed the refusal of {:?}", shown());
    }
    Ok(())
}

fn post(headers: &str, body: &str) -> Vec<u8> {
    format!("POST /x HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n{body}").into_bytes()
}

// H17
fn bodies_of_ambiguous_length_are_refused_and_nothing_is_smuggled() -> Result<()> {
    let myna = Platform::start()?;
    let lengths = [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: identity, chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: \x0bchunked\r\n",
        "Transfer-Encoding : chunked\r\n",
    ];
    for headers in lengths {
        refused(&myna, &post(headers, "0\r\n\r\n"))?;
    }
    Ok(())
}

// H18
fn malformed_heads_are_refused() -> Result<()> {
    let myna = Platform::start()?;
    let heads: [&[u8]; 16] = [
        b"GET / HTTP/1.1\nHost: localhost\n\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: a\r\n folded\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: a\rb\r\n\r\n",
        b"get / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET http://other/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: other\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost:port\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost:80:80\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: user@localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 this is TLS\r\n\r\n",
    ];
    for head in heads {
        refused(&myna, head)?;
    }
    let many: String = (0..10_000).map(|n| format!("X-{n}: 1\r\n")).collect();
    refused(&myna, &post(&many, ""))?;
    refused(&myna, &post(&format!("X: {}\r\n", "x".repeat(1 << 20)), ""))?;
    refused(&myna, format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(1 << 20)).as_bytes())
}

// H19
fn chunks_that_overflow_are_refused() -> Result<()> {
    let myna = Platform::start()?;
    let chunked = "Transfer-Encoding: chunked\r\n";
    for body in ["FFFFFFFFFFFFFFFFF\r\nx", "-1\r\nx", "5;\r\nhellox\r\n", "zz\r\n\r\n", "3\r\nabcd\r\n0\r\n\r\n"] {
        refused(&myna, &post(chunked, body))?;
    }
    refused(&myna, &post(chunked, &format!("5;{}\r\nhello\r\n0\r\n\r\n", "e".repeat(1 << 20))))
}
