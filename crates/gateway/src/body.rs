//! Bodies in both directions: requests are read whole up to a limit, answers go out whole or frame by frame.

use crate::door::Counters;
use bytes::{Bytes, BytesMut};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use model::{Cause, Fault, event::ReplyBody};
use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::Instant;

/// Bodies up to this size aren't counted against the common budget.
const SMALL: usize = 64 * 1024;

/// Bytes of the common budget, given back when dropped.
pub struct Held<'a> {
    budget: &'a AtomicUsize,
    bytes: usize,
}

impl Held<'_> {
    fn grow(&mut self, to: usize, max: usize) -> Result<(), Fault> {
        if to <= SMALL || to <= self.bytes {
            return Ok(());
        }
        let more = to - self.bytes;
        if self.budget.fetch_add(more, Ordering::Relaxed) + more > max {
            self.budget.fetch_sub(more, Ordering::Relaxed);
            return Err(Fault::new(Cause::Exhausted, "too many large request bodies at once").retry_after(Duration::from_secs(1)));
        }
        self.bytes = to;
        Ok(())
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.budget.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}

/// Read a body to its end. Trailers are dropped.
pub async fn read<'a>(
    mut body: Incoming,
    limit: usize,
    counters: &'a Counters,
    budget_max: usize,
) -> Result<(Bytes, Held<'a>), Fault> {
    let mut held = Held { budget: &counters.bodies_held, bytes: 0 };
    if body.is_end_stream() {
        return Ok((Bytes::new(), held));
    }
    let too_large =
        || Fault::new(Cause::TooLarge, format!("the request's body is larger than {limit} bytes")).detail(limit.to_string());
    let declared = body.size_hint().exact().map(|n| usize::try_from(n).unwrap_or(usize::MAX));
    if declared.is_some_and(|n| n > limit) {
        return Err(too_large());
    }
    let mut whole = BytesMut::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
        if whole.len() + data.len() > limit {
            return Err(too_large());
        }
        held.grow(whole.len() + data.len(), budget_max)?;
        if whole.is_empty() && body.is_end_stream() {
            return Ok((data, held));
        }
        if whole.is_empty() {
            whole.reserve(declared.unwrap_or(0).min(SMALL).max(data.len()));
        }
        whole.extend_from_slice(&data);
    }
    Ok((whole.freeze(), held))
}

/// What a body that broke off says of its sender. The detail is the status.
fn broken(error: hyper::Error) -> Fault {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(e) = cause {
        if let Some(io) = e.downcast_ref::<io::Error>() {
            match io.kind() {
                io::ErrorKind::TimedOut => return Fault::invalid(io.to_string()).detail("408"),
                io::ErrorKind::InvalidData => return Fault::invalid(io.to_string()).detail("400"),
                _ => {}
            }
        }
        cause = e.source();
    }
    Fault::invalid("the request's body broke off").detail("400")
}

/// The requests of one connection that were let through and whose answers aren't finished.
#[derive(Debug)]
pub struct Flights {
    count: AtomicU32,
    /// When the last one ended, in milliseconds since `since`.
    ended: AtomicU64,
    since: Instant,
}

impl Default for Flights {
    fn default() -> Self {
        Self { count: AtomicU32::new(0), ended: AtomicU64::new(0), since: Instant::now() }
    }
}

impl Flights {
    pub fn begin(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
    }
    /// Since when none is under way.
    pub fn none_since(&self) -> Option<Instant> {
        (self.count.load(Ordering::Acquire) == 0).then(|| self.since + Duration::from_millis(self.ended.load(Ordering::Relaxed)))
    }
}

/// One of them; it ends when its answer is finished or dropped.
pub struct Flight(pub Arc<Flights>);

impl Drop for Flight {
    fn drop(&mut self) {
        let now = u64::try_from(self.0.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.ended.store(now, Ordering::Relaxed);
        self.0.count.fetch_sub(1, Ordering::Release);
    }
}

/// An answer's body, on its way to hyper.
pub struct Outgoing {
    body: Option<ReplyBody>,
    _flight: Flight,
}

impl Outgoing {
    pub fn new(body: ReplyBody, flight: Flight) -> Self {
        let empty = matches!(&body, ReplyBody::Bytes(b) if b.is_empty());
        Self { body: (!empty).then_some(body), _flight: flight }
    }
}

/// Aborts the connection, so that the client can't take what it has for the whole.
#[derive(Debug, thiserror::Error)]
#[error("the answer broke off: {0}")]
pub struct BrokeOff(Fault);

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = BrokeOff;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokeOff>>> {
        let frame = match &mut self.body {
            None => return Poll::Ready(None),
            Some(ReplyBody::Bytes(bytes)) => {
                let bytes = std::mem::take(bytes);
                self.body = None;
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            Some(ReplyBody::Stream(stream)) => std::task::ready!(stream.as_mut().poll_next(cx)),
        };
        Poll::Ready(match frame {
            Some(model::Frame::Data(data)) => Some(Ok(Frame::data(data))),
            Some(model::Frame::Trailers(trailers)) => {
                self.body = None;
                Some(Ok(Frame::trailers(trailers)))
            }
            Some(model::Frame::Fault(fault)) => {
                self.body = None;
                Some(Err(BrokeOff(fault)))
            }
            None => {
                self.body = None;
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            None => SizeHint::with_exact(0),
            Some(ReplyBody::Bytes(bytes)) => SizeHint::with_exact(bytes.len() as u64),
            Some(ReplyBody::Stream(_)) => SizeHint::default(),
        }
    }
}
