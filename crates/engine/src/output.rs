//! What an instance writes, cut into lines and attributed to the invocation that was running.
//!
//! A runtime writes to its pipe before it reports that it is done, so reading the pipe empty at that moment puts every line where
//! it belongs. A flood is cut: past a rate, lines are counted instead of kept, and one line says how many.

use crate::Parts;
use model::{
    InvocationId, Mono,
    limits::{LOG_BYTES_PER_SECOND_MAX, LOG_TAIL_BYTES},
    log::{Line, LogLine, LogRecord, Stream},
    ports::{FramedLine, Framer, Hears, Writer},
};
use std::{
    mem::MaybeUninit,
    os::fd::{AsFd, OwnedFd},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::net::unix::pipe::Receiver;

/// One pipe of an instance.
struct Pipe {
    writer: Writer,
    fd: Arc<Receiver>,
    framer: Box<dyn Framer>,
    open: bool,
}

struct State {
    pipes: Vec<Pipe>,
    stream: Option<Arc<Stream>>,
    id: Option<InvocationId>,
    /// The end of what the running invocation logged, kept only when its caller asked.
    tail: Option<Vec<u8>>,
    window: Mono,
    window_bytes: usize,
    dropped: u64,
    /// Who else is told of every line: something inside that subscribed.
    hears: Option<Arc<dyn Hears>>,
    /// What there was before somebody could subscribe; kept while the instance initialises.
    before: Option<Before>,
}

/// What an initialisation logged, for who subscribes in it.
#[derive(Default)]
struct Before {
    records: Vec<(Writer, LogRecord)>,
    bytes: usize,
}

/// What is read of a pipe at once, and how often before somebody else has a turn.
const PIECE_BYTES: usize = 16 * 1024;
const PIECES_MAX: usize = 16;

const BEFORE_RECORDS_MAX: usize = 1000;
const BEFORE_BYTES_MAX: usize = 256 * 1024;

impl Before {
    fn keep(&mut self, writer: Writer, record: &LogRecord) {
        let bytes = if let Line::Text { text, .. } = &record.line { text.len() } else { 0 };
        if self.records.len() < BEFORE_RECORDS_MAX && self.bytes + bytes <= BEFORE_BYTES_MAX {
            self.bytes += bytes;
            self.records.push((writer, record.clone()));
        }
    }
}

/// The log side of one instance.
#[derive(Clone)]
pub struct Output {
    parts: Arc<Parts>,
    state: Arc<Mutex<State>>,
}

impl Output {
    pub fn new(parts: Arc<Parts>) -> Self {
        let state = State {
            pipes: Vec::new(),
            stream: None,
            id: None,
            tail: None,
            window: Mono(0),
            window_bytes: 0,
            dropped: 0,
            hears: None,
            before: Some(Before::default()),
        };
        Self { parts, state: Arc::new(Mutex::new(state)) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// From here on lines go to this stream; what came before is nobody's.
    pub fn bind(&self, stream: Arc<Stream>) {
        self.lock().stream = Some(stream);
    }

    /// An earlier generation's pipes are read no more, and who listened to it is gone with it.
    pub fn renew(&self) {
        let mut state = self.lock();
        state.pipes.clear();
        state.hears = None;
        state.before.get_or_insert_default();
    }

    /// From here on this hears every line, and now what there was.
    pub fn hear(&self, hears: Arc<dyn Hears>) {
        let mut state = self.lock();
        for (writer, record) in state.before.take().unwrap_or_default().records {
            hears.line(writer, &record);
        }
        state.hears = Some(hears);
    }

    /// The instance is initialised: nobody can subscribe any more.
    pub fn initialised(&self) {
        self.lock().before = None;
    }

    /// Read these pipes too from now on.
    pub fn attach(&self, writer: Writer, output: OwnedFd, frames: Option<OwnedFd>) -> std::io::Result<()> {
        let plain = ((self.parts.framer)(false), Some(output));
        let framed = ((self.parts.framer)(true), frames);
        let mut pipes = Vec::new();
        for (framer, fd) in [plain, framed] {
            let Some(fd) = fd else { continue };
            pipes.push(Pipe { writer, fd: Arc::new(Receiver::from_owned_fd(fd)?), framer, open: true });
        }
        let watched: Vec<_> = pipes.iter().map(|p| p.fd.clone()).collect();
        self.lock().pipes.extend(pipes);
        for fd in watched {
            tokio::spawn(self.clone().watch(fd));
        }
        Ok(())
    }

    async fn watch(self, fd: Arc<Receiver>) {
        while fd.readable().await.is_ok() {
            let more = {
                let mut state = self.lock();
                let Some(at) = state.pipes.iter().position(|p| Arc::ptr_eq(&p.fd, &fd)) else { return };
                if !state.pipes[at].open {
                    return;
                }
                match self.read(&mut state, at) {
                    // Reading behind the reactor's back leaves its readiness set; its own read clears it.
                    More::Later => {
                        let mut buffer = [0; PIECE_BYTES];
                        fd.try_read(&mut buffer).map_or(More::Later, |n| self.take(&mut state, at, &buffer[..n]))
                    }
                    more => more,
                }
            };
            match more {
                More::Later => {}
                More::Now => tokio::task::yield_now().await,
                More::Never => return,
            }
        }
    }

    /// Read what is there, at most a quarter of a MiB, so that a flood can't hold the thread. The pipe itself is asked, not the
    /// reactor, which may not know yet what was written a moment ago. Between two calls there is nothing, as a rule, so the buffer
    /// isn't filled for that.
    fn read(&self, state: &mut State, at: usize) -> More {
        for _ in 0..PIECES_MAX {
            let mut buffer = [MaybeUninit::uninit(); PIECE_BYTES];
            let fd = state.pipes[at].fd.clone();
            let more = match rustix::io::read(fd.as_fd(), &mut buffer[..]) {
                Ok((piece, _)) => self.take(state, at, piece),
                Err(_) => More::Later,
            };
            if !matches!(more, More::Now) {
                return more;
            }
        }
        More::Now
    }

    /// What one reading of a pipe gave; nothing is its end.
    fn take(&self, state: &mut State, at: usize, piece: &[u8]) -> More {
        let mut lines = Vec::new();
        let pipe = &mut state.pipes[at];
        let more = match piece.len() {
            0 => {
                pipe.open = false;
                pipe.framer.flush(&mut |l| lines.push(l));
                More::Never
            }
            n => {
                pipe.framer.push(piece, &mut |l| lines.push(l));
                if n < PIECE_BYTES { More::Later } else { More::Now }
            }
        };
        let writer = pipe.writer;
        lines.into_iter().for_each(|l| self.keep(state, writer, l));
        more
    }

    fn keep(&self, state: &mut State, writer: Writer, line: FramedLine) {
        let Some(stream) = state.stream.clone() else { return };
        let now = self.parts.clock.mono();
        if now.since(state.window) >= Duration::from_secs(1) {
            state.window = now;
            state.window_bytes = 0;
            self.own_up(state);
        }
        state.window_bytes += line.text.len() + 1;
        if state.window_bytes > LOG_BYTES_PER_SECOND_MAX {
            state.dropped += 1;
            return;
        }
        let at_ms = line.at_ms.unwrap_or_else(|| self.parts.clock.wall_ms());
        let record = LogRecord { at_ms, id: state.id, line: Line::Text { text: line.text, level: line.level } };
        self.emit(state, writer, stream, record);
    }

    /// Say how many lines were dropped.
    fn own_up(&self, state: &mut State) {
        if state.dropped > 0
            && let Some(stream) = state.stream.clone()
        {
            let text =
                format!("myna dropped {} log lines: more than {LOG_BYTES_PER_SECOND_MAX} bytes in a second", state.dropped);
            state.dropped = 0;
            let record =
                LogRecord { at_ms: self.parts.clock.wall_ms(), id: state.id, line: Line::Platform { text: text.into() } };
            self.emit(state, Writer::Platform, stream, record);
        }
    }

    fn emit(&self, state: &mut State, writer: Writer, stream: Arc<Stream>, record: LogRecord) {
        if let Some(hears) = &state.hears {
            hears.line(writer, &record);
        } else if let Some(before) = &mut state.before {
            before.keep(writer, &record);
        }
        if let Some(tail) = &mut state.tail
            && let Some(text) = (self.parts.format)(&stream, &record)
        {
            tail.extend_from_slice(text.as_bytes());
            tail.push(b'\n');
            if tail.len() > 4 * LOG_TAIL_BYTES {
                tail.drain(..tail.len() - LOG_TAIL_BYTES);
            }
        }
        self.parts.journal.line(LogLine { stream, record });
    }

    /// A line of the platform's own.
    pub fn platform(&self, line: Line) {
        let mut state = self.lock();
        let Some(stream) = state.stream.clone() else { return };
        let record = LogRecord { at_ms: self.parts.clock.wall_ms(), id: state.id, line };
        self.emit(&mut state, Writer::Platform, stream, record);
    }

    /// An invocation begins: what is in the pipes is not its own.
    pub fn begin(&self, id: InvocationId, tail: bool) {
        let mut state = self.lock();
        self.empty(&mut state);
        state.id = Some(id);
        state.tail = tail.then(Vec::new);
    }

    /// Everything that was written so far is read.
    pub fn drain(&self) {
        let mut state = self.lock();
        self.empty(&mut state);
        self.own_up(&mut state);
    }

    /// An invocation is over; what is written from now on is nobody's. Returns its tail if it was asked for.
    pub fn end(&self) -> Option<bytes::Bytes> {
        let mut state = self.lock();
        state.id = None;
        let tail = state.tail.take()?;
        let from = tail.len().saturating_sub(LOG_TAIL_BYTES);
        Some(bytes::Bytes::from(tail).slice(from..))
    }

    fn empty(&self, state: &mut State) {
        for at in 0..state.pipes.len() {
            while state.pipes[at].open
                && matches!(self.read(state, at), More::Now)
                && state.window_bytes <= LOG_BYTES_PER_SECOND_MAX
            {}
        }
    }
}

enum More {
    /// Not before the descriptor is readable again.
    Later,
    Now,
    Never,
}
