//! The platform's own log lines on their way to standard error.
//!
//! One thread writes them. A terminal that was stopped, or a pipe that nobody reads, holds up that thread and not the platform;
//! lines that find no room meanwhile are dropped and counted.

use std::{
    collections::VecDeque,
    io::{self, Write},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    time::{Duration, Instant},
};
use tracing_subscriber::fmt::MakeWriter;

/// Lines that wait to be written.
const LINES_MAX: usize = 4096;
/// At the end, a reader that reads has this long to take what is left.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Of them the last are kept for who asks what the platform said.
const RECENT_MAX: usize = 1000;
const RECENT_BYTES_MAX: usize = 2048;
static RECENT: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());

/// The last lines that were logged.
pub fn recent() -> Vec<String> {
    RECENT.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
}

fn keep(line: &[u8]) {
    let text = String::from_utf8_lossy(&line[..line.len().min(RECENT_BYTES_MAX)]).trim_end().to_owned();
    let mut recent = RECENT.lock().unwrap_or_else(PoisonError::into_inner);
    if recent.len() == RECENT_MAX {
        recent.pop_front();
    }
    recent.push_back(text);
}

enum Message {
    Line(Vec<u8>),
    Flush(SyncSender<()>),
}

/// Where lines are left.
#[derive(Clone)]
pub struct Lines {
    queue: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

impl Lines {
    pub fn start(out: impl Write + Send + 'static) -> io::Result<Lines> {
        let (queue, lines) = sync_channel(LINES_MAX);
        let dropped = Arc::new(AtomicU64::new(0));
        let counted = dropped.clone();
        std::thread::Builder::new().name("log".into()).spawn(move || write(out, &lines, &counted))?;
        Ok(Lines { queue, dropped })
    }

    /// Waits until what was left so far is written; false when nobody read it in time.
    pub fn flush(&self) -> bool {
        let until = Instant::now() + LAST_LINES;
        let (done, written) = sync_channel(1);
        let mut message = Message::Flush(done);
        while let Err(refused) = self.queue.try_send(message) {
            match refused {
                TrySendError::Full(back) if Instant::now() < until => message = back,
                _ => return false,
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        written.recv_timeout(until.saturating_duration_since(Instant::now())).is_ok()
    }
}

/// Nobody can be told that the log can't be written.
fn write(mut out: impl Write, lines: &Receiver<Message>, dropped: &AtomicU64) {
    for message in lines {
        match message {
            Message::Line(line) => {
                // First, since whoever reads the other may have stopped.
                keep(&line);
                let _ = out.write_all(&line);
                let lost = dropped.swap(0, Ordering::Relaxed);
                if lost > 0 {
                    let _ = writeln!(out, "{lost} log lines were dropped because nobody read them");
                }
            }
            Message::Flush(done) => {
                let _ = out.flush();
                let _ = done.send(());
            }
        }
    }
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.queue.try_send(Message::Line(line.to_vec())).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Lines;
    fn make_writer(&'a self) -> Lines {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_reader_that_stops_holds_nobody_up_and_is_told_what_it_missed() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut lines = Lines::start(writer).unwrap();
        let line = [b"x".repeat(99), b"\n".to_vec()].concat();
        // More than queue and pipe hold.
        for _ in 0..2 * LINES_MAX {
            lines.write_all(&line).unwrap();
        }
        let read = std::thread::spawn(move || {
            let mut all = String::new();
            reader.read_to_string(&mut all).map(|_| all)
        });
        while !lines.flush() {}
        lines.write_all(b"the end\n").unwrap();
        while !lines.flush() {}
        drop(lines);
        let all = read.join().unwrap().unwrap();
        let kept = all.lines().filter(|l| l.starts_with('x')).count();
        let lost: usize = all
            .lines()
            .filter_map(|l| l.strip_suffix(" log lines were dropped because nobody read them")?.parse::<usize>().ok())
            .sum();
        assert!(lost > 0 && kept + lost == 2 * LINES_MAX, "{kept} kept, {lost} lost");
        assert!(all.contains("the end\n"));
    }
}
