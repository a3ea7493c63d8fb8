//! A platform that answers what a test says, on an admin socket of its own. One request per connection, as the command line
//! sends them.

use serde_json::Value;
use std::{
    collections::HashMap,
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    sync::{Arc, Mutex},
    thread,
};

#[derive(Clone)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub body: Vec<u8>,
}

/// Status, name of the error (or `error:KIND` for a function's own), and body.
pub type Answer = (u16, &'static str, Value);

pub struct Played(Arc<Mutex<Vec<Asked>>>);

impl Played {
    /// `answer` also learns how often the same was asked before, this time included.
    pub fn start(dir: &Path, answer: impl Fn(&Asked, usize) -> Answer + Send + 'static) -> Self {
        fs::create_dir_all(dir).unwrap();
        let listener = UnixListener::bind(dir.join("admin.sock")).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        thread::spawn(move || {
            let mut times: HashMap<String, usize> = HashMap::new();
            for stream in listener.incoming().map_while(Result::ok) {
                // A connection that asks nothing only looks whether somebody is there.
                let Some(ask) = read(&stream) else { continue };
                let nth = times.entry(format!("{} {}", ask.method, ask.path)).or_default();
                *nth += 1;
                log.lock().unwrap().push(ask.clone());
                write(stream, answer(&ask, *nth));
            }
        });
        Self(asked)
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.0.lock().unwrap().clone()
    }
}

fn read(stream: &UnixStream) -> Option<Asked> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let mut words = line.split(' ');
    let (method, path) = (words.next()?.to_string(), words.next()?.to_string());
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        match header.trim_end().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.parse().ok()?,
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Asked { method, path, body })
}

fn write(mut stream: UnixStream, (status, error, body): Answer) {
    let body = body.to_string();
    let header = match error.strip_prefix("error:") {
        Some(kind) => format!("x-amz-function-error: {kind}\r\n"),
        None if error.is_empty() => String::new(),
        None => format!("x-amzn-errortype: {error}\r\n"),
    };
    let _ = write!(stream, "HTTP/1.1 {status} X\r\ncontent-length: {}\r\n{header}connection: close\r\n\r\n{body}", body.len());
}
