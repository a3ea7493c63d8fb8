//! An external extension as one is written in Rust without any library: it subscribes to telemetry and keeps what it gets, a batch a
//! line, where its function can read it. Compiled by the test that uses it.

use std::{
    env,
    fs::OpenOptions,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    thread,
};

const PORT: u16 = 4243;

struct Answer {
    status: u16,
    identifier: String,
    body: String,
}

/// One request; `Connection: close`, so that the answer ends with the connection.
fn ask(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let api = env::var("AWS_LAMBDA_RUNTIME_API").expect("extensions are told where the API is");
    let mut stream = TcpStream::connect(&api).expect("the API listens");
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: {api}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}").unwrap();
    let (head, body) = message(&mut BufReader::new(stream));
    let identifier = head.iter().find_map(|l| l.strip_prefix("lambda-extension-identifier: ")).unwrap_or_default().to_string();
    Answer { status: head[0].split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0), identifier, body }
}

/// The lines of a head, in lower case, and a body of the length that it says.
fn message(reader: &mut impl BufRead) -> (Vec<String>, String) {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a head is text");
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        head.push(line);
    }
    let length = head.iter().find_map(|l| l.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("a body is as long as it says");
    (head, String::from_utf8_lossy(&body).into_owned())
}

/// Batches come one after the other over one connection.
fn receive(listener: TcpListener) {
    for stream in listener.incoming().flatten() {
        let mut reader = BufReader::new(stream);
        while reader.fill_buf().is_ok_and(|bytes| !bytes.is_empty()) {
            let (_, batch) = message(&mut reader);
            let mut file = OpenOptions::new().create(true).append(true).open("/tmp/telemetry").expect("/tmp can be written");
            file.write_all((batch + "\n").as_bytes()).expect("there is room");
            reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").expect("the platform waits for it");
        }
    }
}

fn main() {
    let listener = TcpListener::bind(("127.0.0.1", PORT)).expect("the port is free");
    thread::spawn(move || receive(listener));
    let registered = ask(
        "POST",
        "/2020-01-01/extension/register",
        &[("Lambda-Extension-Name", "subscriber")],
        r#"{"events": ["INVOKE", "SHUTDOWN"]}"#,
    );
    assert_eq!(registered.status, 200, "{}", registered.body);
    let me = [("Lambda-Extension-Identifier", registered.identifier.as_str())];
    let wanted = format!(
        r#"{{"schemaVersion": "2022-12-13", "types": ["platform", "function", "extension"],
            "buffering": {{"maxItems": 1000, "maxBytes": 262144, "timeoutMs": 25}},
            "destination": {{"protocol": "HTTP", "URI": "http://sandbox.localdomain:{PORT}/events"}}}}"#
    );
    let subscribed = ask("PUT", "/2022-07-01/telemetry", &me, &wanted);
    println!("subscriber: {} {}", subscribed.status, subscribed.body);
    loop {
        let event = ask("GET", "/2020-01-01/extension/event/next", &me, "");
        if event.body.contains("SHUTDOWN") {
            println!("subscriber ends: {}", event.body);
            return;
        }
    }
}
