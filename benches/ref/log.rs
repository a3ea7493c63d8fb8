//! Reference: a bare log with group commit. Producers leave records with one writer, which writes all that has gathered, syncs
//! once and answers them; the file was filled with zeroes beforehand, so that a sync changes none of its metadata. No identity,
//! index, retention, second file, bound or recovery. Producers are tasks of one thread, the writer is another. Frozen: a change to
//! this file voids every figure measured against it.
//!
//! usage: ref-log FILE BYTES PRODUCERS RECORDS; prints the microseconds that it took, a tenth as many written before to warm up

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    sync::{Arc, Condvar, Mutex},
    time::Instant,
};
use tokio::sync::oneshot;

type Job = (Arc<[u8]>, oneshot::Sender<()>);

#[derive(Default)]
struct Log {
    waiting: Mutex<(Vec<Job>, bool)>,
    more: Condvar,
}

fn crc(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

fn write(log: &Log, file: &File) -> io::Result<()> {
    let (mut at, mut framed) = (0, Vec::new());
    loop {
        let mut waiting = log.waiting.lock().expect("nobody panics");
        while waiting.0.is_empty() && !waiting.1 {
            waiting = log.more.wait(waiting).expect("nobody panics");
        }
        let jobs = std::mem::take(&mut waiting.0);
        drop(waiting);
        if jobs.is_empty() {
            return Ok(());
        }
        framed.clear();
        for (record, _) in &jobs {
            framed.extend_from_slice(&(record.len() as u32).to_le_bytes());
            framed.extend_from_slice(&crc(record).to_le_bytes());
            framed.extend_from_slice(record);
        }
        file.write_all_at(&framed, at)?;
        file.sync_data()?;
        at += framed.len() as u64;
        for (_, reply) in jobs {
            let _ = reply.send(());
        }
    }
}

fn leave(log: &Log, record: Arc<[u8]>, reply: oneshot::Sender<()>) {
    let mut waiting = log.waiting.lock().expect("nobody panics");
    waiting.0.push((record, reply));
    let first = waiting.0.len() == 1;
    drop(waiting);
    if first {
        log.more.notify_one();
    }
}

async fn produce(log: Arc<Log>, record: Arc<[u8]>, count: usize) {
    for _ in 0..count {
        let (reply, written) = oneshot::channel();
        // A producer's record is its own.
        let own: Arc<[u8]> = Arc::from(&record[..]);
        leave(&log, own, reply);
        written.await.expect("the writer answers all");
    }
}

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let number = |at: usize| args[at].parse::<usize>().expect("a number");
    let (bytes, producers, records) = (number(2), number(3), number(4));
    let file = File::create(&args[1])?;
    let (size, zeroes) = ((bytes + 8) * (records + records / 10 + 2 * producers), vec![0; 1 << 20]);
    for at in (0..size + zeroes.len()).step_by(zeroes.len()) {
        file.write_all_at(&zeroes, at as u64)?;
    }
    file.sync_all()?;
    let log = Arc::new(Log::default());
    let writer = std::thread::spawn({
        let log = log.clone();
        move || write(&log, &file)
    });
    let record: Arc<[u8]> = vec![b'x'; bytes].into();
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let round = |records: usize| {
        let each = records.div_ceil(producers);
        let all = (0..producers).map(|_| produce(log.clone(), record.clone(), each));
        let began = Instant::now();
        runtime.block_on(futures_util::future::join_all(all));
        began.elapsed()
    };
    round(records / 10);
    let took = round(records);
    log.waiting.lock().expect("nobody panics").1 = true;
    log.more.notify_one();
    writer.join().expect("the writer ends")?;
    println!("{}", took.as_micros());
    std::fs::remove_file(&args[1])
}
