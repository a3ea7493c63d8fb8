//! H17–H19, H26: what two parsers could read differently.

use super::*;

const ASK: &str = "POST /x HTTP/1.1\r\nHost: 127.0.0.1\r\n";

/// Every row is refused with this status, the connection ends, and a request hidden behind it is never seen.
#[tokio::test]
async fn h17_h18_h19_malformed_heads_are_refused_and_end_the_connection() {
    let server = start(Limits::default());
    let ask = |lines: &str, body: &str| format!("{ASK}{lines}\r\n{body}").into_bytes();
    let line = |line: &str| format!("{line}\r\nHost: a\r\n\r\n").into_bytes();
    let many = "X: y\r\n".repeat(200);
    let long = format!("X: {}\r\n", "y".repeat(70_000));
    let rows: Vec<(&str, &str, Vec<u8>)> = vec![
        // 17
        ("17 CL then TE", "400", ask("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")),
        ("17 TE then CL", "400", ask("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n")),
        ("17 two CL", "400", ask("Content-Length: 5\r\nContent-Length: 5\r\n", "hello")),
        ("17 two CL that differ", "400", ask("Content-Length: 5\r\nContent-Length: 6\r\n", "hello")),
        ("17 list of CL", "400", ask("Content-Length: 5, 5\r\n", "hello")),
        ("17 plus", "400", ask("Content-Length: +5\r\n", "hello")),
        ("17 minus", "400", ask("Content-Length: -5\r\n", "hello")),
        ("17 blanks", "400", ask("Content-Length:  5\r\n", "hello")),
        ("17 blank behind", "400", ask("Content-Length: 5 \r\n", "hello")),
        ("17 hexadecimal", "400", ask("Content-Length: 0x5\r\n", "hello")),
        ("17 empty CL", "400", ask("Content-Length:\r\n", "")),
        ("17 CL out of range", "400", ask("Content-Length: 99999999999999999999\r\n", "")),
        ("17 TE with a tab", "400", ask("Transfer-Encoding: chunked\t\r\n", "0\r\n\r\n")),
        ("17 xchunked", "400", ask("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n")),
        ("17 identity, chunked", "400", ask("Transfer-Encoding: identity, chunked\r\n", "0\r\n\r\n")),
        ("17 chunked twice", "400", ask("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")),
        ("17 chunked, chunked", "400", ask("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n")),
        ("17 vertical tab", "400", ask("Transfer-Encoding: \x0bchunked\r\n", "0\r\n\r\n")),
        ("17 chunked in 1.0", "400", b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_vec()),
        // 18
        ("18 bare LF everywhere", "400", b"GET / HTTP/1.1\nHost: a\n\n".to_vec()),
        ("18 bare LF in a header", "400", ask("X: y\nZ: w\r\n", "")),
        ("18 bare LF at the end", "400", b"GET / HTTP/1.1\r\nHost: a\r\n\n".to_vec()),
        ("18 folded", "400", ask("X: y\r\n z\r\n", "")),
        ("18 folded by a tab", "400", ask("X: y\r\n\tz\r\n", "")),
        ("18 blank before the colon", "400", ask("Content-Length : 5\r\n", "hello")),
        ("18 no colon", "400", ask("Nonsense\r\n", "")),
        ("18 no name", "400", ask(": x\r\n", "")),
        ("18 NUL", "400", ask("X: a\0b\r\n", "")),
        ("18 return in a value", "400", ask("X: a\rb\r\n", "")),
        ("18 escape in a value (H25)", "400", ask("X: \x1b[31m\r\n", "")),
        ("18 lower-case method", "400", line("get / HTTP/1.1")),
        ("18 garbage method", "400", line("G\x01T / HTTP/1.1")),
        ("18 two blanks", "400", line("GET  / HTTP/1.1")),
        ("18 no version", "400", line("GET /")),
        ("18 version 2", "505", line("GET / HTTP/2.0")),
        ("18 version 9", "505", line("GET / HTTP/1.9")),
        ("18 the preface of HTTP/2", "505", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
        ("18 TLS", "400", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec()),
        ("18 empty line first", "400", b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
        ("18 absolute form, another host", "400", b"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
        ("18 absolute form, user", "400", b"GET http://a@b/ HTTP/1.1\r\nHost: b\r\n\r\n".to_vec()),
        ("18 other scheme", "400", line("GET ftp://a/ HTTP/1.1")),
        ("18 CONNECT", "400", line("CONNECT a:80 HTTP/1.1")),
        ("18 no path", "400", line("GET x HTTP/1.1")),
        ("18 not ASCII", "400", line("GET /\u{e9} HTTP/1.1")),
        ("18 fragment", "400", line("GET /#x HTTP/1.1")),
        ("18 two Hosts", "400", ask("Host: 127.0.0.1\r\n", "")),
        ("18 empty Host", "400", b"GET / HTTP/1.1\r\nHost:\r\n\r\n".to_vec()),
        ("18 no Host", "400", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("18 Host with a path", "400", b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n".to_vec()),
        ("18 Host with a user", "400", b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n".to_vec()),
        ("18 our own stand-in", "400", line("REFUSE /0 HTTP/1.1")),
        ("18 Expect", "417", ask("Expect: miracles\r\n", "")),
        ("18 long head", "431", ask(&long, "")),
        ("18 many headers", "431", ask(&many, "")),
        ("18 long target", "414", line(&format!("GET /{} HTTP/1.1", "a".repeat(20_000)))),
        // 19
        ("19 chunk size out of range", "400", ask("Transfer-Encoding: chunked\r\n", "FFFFFFFFFFFFFFFFF\r\n")),
        ("19 chunk size 2^64-1", "400", ask("Transfer-Encoding: chunked\r\n", "FFFFFFFFFFFFFFFF\r\n")),
        (
            "19 chunk extension of 1 MB",
            "400",
            ask("Transfer-Encoding: chunked\r\n", &format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(1 << 20))),
        ),
        ("19 chunk ends wrongly", "400", ask("Transfer-Encoding: chunked\r\n", "5\r\nhelloworld\r\n0\r\n\r\n")),
        (
            "19 trailers of 1 MB",
            "400",
            ask("Transfer-Encoding: chunked\r\n", &format!("0\r\nX: {}\r\n\r\n", "y".repeat(1 << 20))),
        ),
    ];
    for (what, want, mut bytes) in rows {
        bytes.extend_from_slice(b"GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n");
        let heard = server.say(&bytes).await;
        assert_eq!(status(&heard), want, "{what}: {heard}");
        assert_eq!(heard.matches("\r\ndate: ").count(), 1, "{what}: {heard}");
        assert!(!heard.contains("hidden"), "{what}: {heard}");
    }
    assert_eq!(
        server.say(b"GET /still HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.lines().last(),
        Some("GET /still 0")
    );
}

/// H19: trailers that would change a request are no part of it.
#[tokio::test]
async fn h19_trailers_are_dropped() {
    let server = start(Limits::default());
    let heard = server
        .say(format!("{ASK}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nhi\r\n0\r\nHost: evil\r\nAuthorization: x\r\nContent-Length: 9\r\n\r\n").as_bytes())
        .await;
    assert_eq!(heard.lines().last(), Some("POST /x 2"), "{heard}");
}

/// However the bytes are cut, and however many requests come at once, each is answered once and in order.
#[tokio::test]
async fn requests_in_pieces_and_in_a_row() {
    let server = start(Limits::default());
    let big = "b".repeat(100_000);
    let all = format!(
        "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcPOST /3 HTTP/1.1\r\nHost: a\r\n\
         Transfer-Encoding: chunked\r\n\r\n4;q\r\nabcd\r\n0\r\nT: u\r\n\r\nGET http://a/4?x=1 HTTP/1.1\r\nHost: a\r\n\r\n\
         POST /5 HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n{big}GET /6 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    );
    for step in [1, 7, 64, 4096, 1 << 20] {
        let mut socket = server.connect().await;
        let (mut read, mut write) = socket.split();
        let send = async {
            for (i, piece) in all.as_bytes().chunks(step).enumerate() {
                write.write_all(piece).await.expect("taken");
                if i % 64 == 0 && step < 4096 {
                    tokio::task::yield_now().await;
                }
            }
        };
        let mut heard = String::new();
        let listen = read.read_to_string(&mut heard);
        let (_, heard_all) = tokio::join!(send, listen);
        heard_all.expect("text");
        let bodies: Vec<&str> = heard.split("HTTP/1.1 200 OK").skip(1).filter_map(|a| a.split("\r\n\r\n").nth(1)).collect();
        assert_eq!(bodies, ["GET /1 0", "POST /2 3", "POST /3 4", "GET /4 0", "POST /5 100000", "GET /6 0"], "cut every {step}");
    }
}

/// H26: whatever an answer claims about itself, the next one on the connection is the next one.
#[tokio::test]
async fn h26_answers_never_desynchronise_a_connection() {
    let server = start(Limits::default());
    for (kind, want) in [
        ("length", "200"),
        ("chunked", "200"),
        ("upgrade", "200"),
        ("many", "502"),
        ("long", "502"),
        ("101", "502"),
        ("103", "502"),
        ("999", "502"),
        ("204", "204"),
        ("304", "304"),
    ] {
        let heard = server
            .say(
                format!("GET /odd?{kind} HTTP/1.1\r\nHost: a\r\n\r\nGET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                    .as_bytes(),
            )
            .await;
        assert_eq!(status(&heard), want, "{kind}: {heard}");
        assert!(heard.ends_with("GET /next 0"), "{kind}: {heard}");
        assert_eq!(heard.matches("HTTP/1.1 ").count(), 2, "{kind}: {heard}");
    }
}

/// F29: an answer that breaks off is seen to break off.
#[tokio::test]
async fn f29_a_broken_answer_is_never_whole() {
    let server = start(Limits::default());
    let heard = server.say(b"GET /broken HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(!heard.ends_with("0\r\n\r\n"), "{heard}");
    let whole = server.say(b"GET /stream HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(whole.ends_with("3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"), "{whole}");
    let old = server.say(b"GET /broken HTTP/1.0\r\nHost: a\r\n\r\n").await;
    assert_eq!(status(&old), "505", "{old}");
}

/// H23, H24: a door that wants canonical paths sees nothing else.
#[tokio::test]
async fn h24_paths_are_canonical_before_anybody_routes() {
    let server = start_with(Limits::default(), Echo { canonical: true, ..Echo::default() });
    for (path, want) in [
        ("/a/b", "200"),
        ("/%61", "200"),
        ("/a%2fb", "400"),
        ("//admin", "400"),
        ("/x/..;/admin", "400"),
        ("/%2e%2e/admin", "400"),
        ("/a/../b", "400"),
    ] {
        let heard = server.say(format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes()).await;
        assert_eq!(status(&heard), want, "{path}: {heard}");
    }
    let heard = server.say(b"GET /%61%20b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(heard.ends_with("GET /a%20b 0"), "{heard}");
}
