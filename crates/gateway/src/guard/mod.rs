//! What stands between a socket and hyper: it lets through whole, strictly formed request heads only, knows where each body
//! ends, and holds the deadlines of reading and writing.
//!
//! hyper's own header timer can't tell a connection that idles between requests from one that dribbles a head, and hyper reads
//! some heads more generously than is safe behind one door. Usually a head arrives whole: then it is judged where it lies, in
//! hyper's own buffer, and nothing is copied. A head in pieces waits here until it is whole. Of a refused one hyper sees a
//! request with the method [`REFUSE`] instead, which the service turns into the answer; the connection ends with it.

mod alarm;
mod chunks;
mod head;

pub use head::Flaw;

use crate::{Limits, body::Flights, stage::Stage};
use alarm::Alarm;
use chunks::Chunks;
use head::{Framing, Scan};
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

/// The method of the request that stands for a refused head; its path is `/` and the [`Flaw`]'s index. A client that sends
/// it itself is refused just so.
pub const REFUSE: &str = "REFUSE";

/// Bytes per second that a body must bring while it is waited for, on average over one idle limit.
const BODY_RATE_MIN: u64 = 512;

#[derive(Debug)]
enum Phase {
    Head(Scan),
    Body { left: u64 },
    Chunked(Chunks),
    Refused,
}

pub struct Guard<S> {
    io: S,
    limits: Arc<Limits>,
    stage: Arc<Stage>,
    flights: Arc<Flights>,
    phase: Phase,
    /// Bytes that were read and not handed on; the first `ready` of them may be.
    hold: Vec<u8>,
    ready: usize,
    /// What is wrong with a body whose beginning went on already.
    malformed: Option<&'static str>,
    heads: u64,
    accepted: Instant,
    /// Since when the present wait lasts: for a head's rest, for the next request, for more of a body.
    waiting: Option<Instant>,
    /// How long the present body was waited for, and what came of it.
    waited: Duration,
    came: u64,
    reading: Alarm,
    writing: Alarm,
    stalled: Option<Instant>,
}

impl<S> Guard<S> {
    pub fn new(io: S, limits: Arc<Limits>, stage: Arc<Stage>, flights: Arc<Flights>) -> Self {
        Self {
            io,
            limits,
            stage,
            flights,
            phase: Phase::Head(Scan::default()),
            hold: Vec::new(),
            ready: 0,
            malformed: None,
            heads: 0,
            accepted: Instant::now(),
            waiting: None,
            waited: Duration::ZERO,
            came: 0,
            reading: Alarm::default(),
            writing: Alarm::default(),
            stalled: None,
        }
    }

    /// Nothing of a request is left unread, as far as is known.
    pub fn at_rest(&self) -> bool {
        self.hold.is_empty() && matches!(self.phase, Phase::Head(_))
    }

    pub fn into_inner(self) -> S {
        self.io
    }

    /// How many of `bytes` may go on. What remains is the beginning of a head, or one with this flaw.
    fn sort(&mut self, bytes: &[u8]) -> (usize, Option<Flaw>) {
        let mut done = 0;
        while done < bytes.len() {
            let rest = &bytes[done..];
            match &mut self.phase {
                Phase::Head(scan) => {
                    match scan.end(rest).and_then(|end| end.map(|end| Ok((end, head::check(&rest[..end])?))).transpose()) {
                        Ok(Some((end, framing))) => {
                            done += end;
                            self.let_through(framing);
                        }
                        Ok(None) => break,
                        Err(flaw) => {
                            self.refuse(flaw);
                            return (done, Some(flaw));
                        }
                    }
                }
                Phase::Body { left } => {
                    let here = (*left).min(rest.len() as u64);
                    *left -= here;
                    done += usize::try_from(here).expect("no more than the slice holds");
                    if *left == 0 {
                        self.phase = Phase::Head(Scan::default());
                    }
                }
                Phase::Chunked(chunks) => match chunks.advance(rest) {
                    Ok(None) => done = bytes.len(),
                    Ok(Some(end)) => {
                        done += end;
                        self.phase = Phase::Head(Scan::default());
                    }
                    Err(chunks::Malformed(why)) => {
                        self.phase = Phase::Refused;
                        self.malformed = Some(why);
                    }
                },
                Phase::Refused => break,
            }
        }
        (done, None)
    }

    fn let_through(&mut self, framing: Framing) {
        self.heads += 1;
        self.flights.begin();
        self.waited = Duration::ZERO;
        self.came = 0;
        self.waiting = None;
        self.phase = match framing {
            Framing::Length(0) => Phase::Head(Scan::default()),
            Framing::Length(left) => Phase::Body { left },
            Framing::Chunked => Phase::Chunked(Chunks::default()),
        };
    }

    fn refuse(&mut self, flaw: Flaw) {
        self.phase = Phase::Refused;
        self.flights.begin();
        tracing::debug!(flaw = ?flaw, "a request's head is refused");
    }

    /// Forget what is refused, and put the stand-in for a head behind whatever may still go on.
    fn cut_off(&mut self, flaw: Option<Flaw>) {
        if matches!(self.phase, Phase::Refused) {
            self.hold.truncate(self.ready);
        }
        let Some(flaw) = flaw else { return };
        self.hold
            .extend_from_slice(format!("{REFUSE} /{} HTTP/1.1\r\nhost: -\r\nconnection: close\r\n\r\n", flaw.index()).as_bytes());
        self.ready = self.hold.len();
    }

    /// Bytes came: the wait is over. Bodies must come at a least rate.
    fn came(&mut self, n: usize) -> io::Result<()> {
        let Some(since) = self.waiting else { return Ok(()) };
        if matches!(self.phase, Phase::Head(_)) {
            if self.hold.is_empty() {
                self.waiting = None; // the head's own time begins with its first byte
            }
            return Ok(());
        }
        self.waiting = None;
        self.waited += since.elapsed();
        self.came += n as u64;
        if self.waited > self.limits.body_idle && self.came < BODY_RATE_MIN * self.waited.as_secs() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the body comes too slowly"));
        }
        Ok(())
    }

    /// Between requests. While one is under way there is no deadline; yet the alarm stays set, since hyper doesn't ask again
    /// when the answer has ended, if it knows that there is nothing to read.
    fn idle(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<Patience> {
        let Some(since) = self.flights.none_since() else {
            let _ = self.reading.poll(cx, now, now + self.limits.keep_alive_idle);
            return Poll::Pending;
        };
        if self.stage.draining() {
            return Poll::Ready(Patience::Close);
        }
        let end = if self.heads == 0 { self.accepted + self.limits.header_timeout } else { since + self.limits.keep_alive_idle };
        ready!(self.reading.poll(cx, now, end));
        Poll::Ready(Patience::Close)
    }

    /// Nothing to read: when does patience end, and what then?
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<Patience> {
        let now = Instant::now();
        let begun = !self.hold.is_empty();
        let (limit, then) = match self.phase {
            Phase::Refused => return Poll::Pending,
            Phase::Head(_) if begun => (self.limits.header_timeout, Patience::Slow),
            Phase::Head(_) => return self.idle(cx, now),
            Phase::Body { .. } | Phase::Chunked(_) => (self.limits.body_idle, Patience::Fail),
        };
        let since = if self.heads == 0 { self.accepted } else { *self.waiting.get_or_insert(now) };
        ready!(self.reading.poll(cx, now, since + limit));
        Poll::Ready(then)
    }
}

/// What the end of a wait means.
enum Patience {
    /// Close without a word.
    Close,
    /// A head was begun: say what was wrong.
    Slow,
    /// Within a body.
    Fail,
}

impl<S: AsyncRead + Unpin> AsyncRead for Guard<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if this.ready > 0 {
                let n = this.ready.min(buf.remaining());
                buf.put_slice(&this.hold[..n]);
                this.hold.drain(..n);
                this.ready -= n;
                return Poll::Ready(Ok(()));
            }
            if let Some(why) = this.malformed {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, why)));
            }
            let before = buf.filled().len();
            match Pin::new(&mut this.io).poll_read(cx, buf) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
                Poll::Pending => match ready!(this.wait(cx)) {
                    Patience::Close => return Poll::Ready(Ok(())),
                    Patience::Fail => {
                        return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the body stopped coming")));
                    }
                    Patience::Slow => {
                        this.refuse(Flaw::Slow);
                        this.cut_off(Some(Flaw::Slow));
                        continue;
                    }
                },
            }
            let n = buf.filled().len() - before;
            if n == 0 {
                return Poll::Ready(Ok(()));
            }
            this.came(n)?;
            if this.take_in(buf, before) > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S> Guard<S> {
    /// Judge what was read into `buf` past `before`; leaves in it what may go on, and says how much that is.
    fn take_in(&mut self, buf: &mut ReadBuf<'_>, before: usize) -> usize {
        if matches!(self.phase, Phase::Refused) {
            buf.set_filled(before); // nothing after what was refused is heard
            return 0;
        }
        if !self.hold.is_empty() {
            let mut hold = std::mem::take(&mut self.hold);
            hold.extend_from_slice(&buf.filled()[before..]);
            buf.set_filled(before);
            let (ready, flaw) = self.sort(&hold);
            (self.hold, self.ready) = (hold, ready);
            self.cut_off(flaw);
            return 0;
        }
        let (ready, flaw) = self.sort(&buf.filled()[before..]);
        self.hold.extend_from_slice(&buf.filled()[before + ready..]);
        buf.set_filled(before + ready);
        self.cut_off(flaw);
        ready
    }
}

impl<S: AsyncWrite + Unpin> Guard<S> {
    /// A client that doesn't take its answer is given up after a while without progress.
    fn watched<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.stalled = None;
            return polled;
        }
        let now = Instant::now();
        let deadline = *self.stalled.get_or_insert(now) + self.limits.body_idle;
        ready!(self.writing.poll(cx, now, deadline));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the answer is not being read")))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guard<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(cx, buf);
        self.watched(cx, polled)
    }
    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.watched(cx, polled)
    }
    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_flush(cx);
        self.watched(cx, polled)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
