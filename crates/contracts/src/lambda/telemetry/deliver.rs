//! The way of a batch to its subscriber: always over the instance's own loopback.

use super::{
    buffer::{Dropped, Subscription},
    events::{Event, Kind},
};
use bytes::Bytes;
use http::{Request, header};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use model::{
    ports::{Host, Link},
    sandbox::Endpoint,
};
use serde_json::json;
use std::{
    io,
    sync::{Arc, Weak},
    time::Duration,
};
use tokio::io::AsyncWriteExt;

/// Where batches go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A port, and the path with the query.
    Http(u16, String),
    /// A line for each event.
    Tcp(u16),
}

/// Tries of one batch; its subscriber may still be about to listen.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(100);

type Sender = SendRequest<Whole>;
type Whole = crate::lambda::answer::Out;

/// Delivers until it is dropped. There is no limit of time: an instance may be frozen in between, and what waits is bounded.
pub async fn run(subscription: Arc<Subscription>, to: Destination, link: Arc<dyn Link>, host: Weak<dyn Host>) {
    let mut open: Option<Sender> = None;
    loop {
        let (mut batch, dropped) = subscription.batch().await;
        batch.extend(told(dropped, &host, &subscription));
        let mut delivered = false;
        for attempt in 0..TRIES {
            if attempt > 0 {
                tokio::time::sleep(PAUSE * 2u32.pow(attempt - 1)).await;
            }
            delivered = match &to {
                Destination::Http(port, path) => post(&mut open, &*link, *port, path, &batch).await.is_ok(),
                Destination::Tcp(port) => lines(&*link, *port, &batch).await.is_ok(),
            };
            if delivered {
                break;
            }
            open = None;
        }
        if !delivered {
            subscription.lost(&batch);
        }
    }
}

fn told(dropped: Dropped, host: &Weak<dyn Host>, subscription: &Subscription) -> Option<Bytes> {
    if dropped == Dropped::default() || !subscription.types.contains(&Kind::Platform) {
        return None;
    }
    let now_ms = host.upgrade().map_or(0, |h| h.clock().wall_ms());
    let reason = "the subscriber did not take them in time";
    let record = json!({ "reason": reason, "droppedRecords": dropped.records, "droppedBytes": dropped.bytes });
    Some(Event::new(now_ms, Kind::Platform, "platform.logsDropped", record).text)
}

/// One array of events.
async fn post(open: &mut Option<Sender>, link: &dyn Link, port: u16, path: &str, batch: &[Bytes]) -> io::Result<()> {
    let mut sender = match open.take().filter(|s| !s.is_closed()) {
        Some(sender) => sender,
        None => {
            let io = link.dial(&Endpoint::Tcp(port)).await?;
            let (sender, connection) = handshake(TokioIo::new(io)).await.map_err(io::Error::other)?;
            tokio::spawn(connection);
            sender
        }
    };
    let body = Bytes::from([b"[".as_slice(), &batch.join(b",".as_slice()), b"]"].concat());
    let request = Request::post(path)
        .header(header::HOST, format!("sandbox.localdomain:{port}"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Whole::Whole(Some(body)))
        .map_err(io::Error::other)?;
    sender.ready().await.map_err(io::Error::other)?;
    let answer = sender.send_request(request).await.map_err(io::Error::other)?;
    // Whatever it answers, it has them. Only without a body to read is the connection good for the next.
    if hyper::body::Body::is_end_stream(answer.body()) {
        *open = Some(sender);
    }
    Ok(())
}

async fn lines(link: &dyn Link, port: u16, batch: &[Bytes]) -> io::Result<()> {
    let mut io = link.dial(&Endpoint::Tcp(port)).await?;
    io.write_all(&[batch.join(b"\n".as_slice()).as_slice(), b"\n"].concat()).await?;
    io.shutdown().await
}
