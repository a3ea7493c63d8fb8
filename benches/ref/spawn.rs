//! Reference: an interpreter with the least loop around a function that speaks Lambda's Runtime API, from nothing to its first
//! answer, in new namespaces and with one processor; a line of microseconds each. With more than one at a time, all are kept, and
//! the one line says when the last of them had asked for work. Frozen: a change to this file voids every figure measured against it.
//!
//! usage: ref-spawn EMPTY_FOLDER INTERPRETER LOOP CODE RUNS AT_ONCE

mod jail;

use jail::{Inmate, Jail};
use std::{
    ffi::CString,
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::fd::AsRawFd,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

const NEXT: &str = "HTTP/1.1 200 OK\r\nlambda-runtime-aws-request-id: 00000000-0000-4000-8000-000000000001\r\n\
    lambda-runtime-deadline-ms: 4102444800000\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
const TAKEN: &str = "HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n";

struct Spawner {
    jail: Jail,
    argv: Vec<CString>,
    env: Vec<CString>,
    null: File,
}

impl Spawner {
    /// An instance that has asked for work.
    fn waiting(&self) -> anyhow::Result<(Inmate, BufReader<TcpStream>)> {
        let ends = [self.null.as_raw_fd(), self.null.as_raw_fd()];
        let (inmate, listener) = self.jail.start(&self.argv, &self.env, ends, Some(9001))?;
        let listener = listener.ok_or_else(|| anyhow::anyhow!("a listener was asked for"))?;
        let stream = listener.accept()?.0;
        stream.set_nodelay(true)?;
        let mut stream = BufReader::new(stream);
        request(&mut stream)?;
        Ok((inmate, stream))
    }
}

/// Reads one request with its body.
fn request(stream: &mut BufReader<TcpStream>) -> anyhow::Result<()> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        anyhow::ensure!(stream.read_line(&mut line)? > 0, "the instance ended before its answer");
        let line = line.trim_end().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
        if line.is_empty() {
            stream.read_exact(&mut vec![0; length])?;
            return Ok(());
        }
    }
}

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [folder, rest @ .., runs, at_once] = &args[..] else {
        anyhow::bail!("usage: ref-spawn EMPTY_FOLDER INTERPRETER LOOP CODE RUNS AT_ONCE")
    };
    let (runs, at_once): (usize, usize) = (runs.parse()?, at_once.parse()?);
    let argv = rest.iter().map(|a| CString::new(a.as_str())).collect::<Result<_, _>>()?;
    let env = vec![CString::new("AWS_LAMBDA_RUNTIME_API=127.0.0.1:9001")?, CString::new("PATH=/usr/bin:/bin")?];
    let null = File::options().read(true).write(true).open("/dev/null")?;
    let spawner = Spawner { jail: Jail::new(Path::new(folder), true)?, argv, env, null };
    if at_once > 1 {
        return all(&spawner, runs, at_once);
    }
    for _ in 0..runs {
        let began = Instant::now();
        let (inmate, mut stream) = spawner.waiting()?;
        stream.get_mut().write_all(NEXT.as_bytes())?;
        request(&mut stream)?;
        println!("{}", began.elapsed().as_micros());
        stream.get_mut().write_all(TAKEN.as_bytes())?;
        drop(inmate);
    }
    Ok(())
}

fn all(spawner: &Spawner, runs: usize, at_once: usize) -> anyhow::Result<()> {
    let (begun, kept, began) = (AtomicUsize::new(0), Mutex::new(Vec::new()), Instant::now());
    let worker = || -> anyhow::Result<()> {
        while begun.fetch_add(1, Ordering::Relaxed) < runs {
            let one = spawner.waiting()?;
            kept.lock().map_err(|_| anyhow::anyhow!("another thread panicked"))?.push(one);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..at_once).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().try_for_each(|w| w.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a thread panicked"))))
    })?;
    println!("{}", began.elapsed().as_micros());
    Ok(())
}
