//! An empty function: a runtime client with nothing in it. Plain sockets and one thread, so that what is measured is the platform.

use std::{
    env,
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
};

fn main() -> io::Result<()> {
    let api = env::var("AWS_LAMBDA_RUNTIME_API").map_err(io::Error::other)?;
    let stream = TcpStream::connect(&api)?;
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    let next = format!("GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nhost: {api}\r\n\r\n");
    loop {
        writer.write_all(next.as_bytes())?;
        let (id, _event) = read(&mut reader)?;
        let answer =
            format!("POST /2018-06-01/runtime/invocation/{id}/response HTTP/1.1\r\nhost: {api}\r\ncontent-length: 2\r\n\r\n{{}}");
        writer.write_all(answer.as_bytes())?;
        read(&mut reader)?;
    }
}

/// One response: the request id that it carries, if any, and its body.
fn read(reader: &mut BufReader<TcpStream>) -> io::Result<(String, Vec<u8>)> {
    let (mut id, mut length, mut line) = (String::new(), 0, String::new());
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            std::process::exit(0);
        }
        let Some((name, value)) = line.trim_end().split_once(':') else {
            if line == "\r\n" {
                break;
            }
            continue;
        };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().map_err(io::Error::other)?;
        } else if name.eq_ignore_ascii_case("lambda-runtime-aws-request-id") {
            id = value.trim().to_owned();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok((id, body))
}
