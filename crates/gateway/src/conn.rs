//! One connection, from accept to its last byte.

use crate::{
    body::Flights,
    door::Peer,
    guard::Guard,
    service::{Shared, answer},
};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use model::limits::HEADERS_MAX;
use std::{future::poll_fn, pin::Pin, sync::Arc, time::Duration};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// How long, and how much, is still read after an answer that came before the request's end, so that the client gets to read
/// the answer instead of a reset.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 4 * 1024 * 1024;

/// Serve one connection to its end; false when it had to be cut.
pub async fn run<S>(io: S, peer: Peer, shared: Arc<Shared>) -> bool
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let flights = Arc::new(Flights::default());
    let guard = Guard::new(io, shared.limits.clone(), shared.stage.clone(), flights.clone());
    let stage = shared.stage.clone();
    let service = service_fn(move |request| answer(shared.clone(), peer.clone(), flights.clone(), request));
    let mut conn = http1::Builder::new().max_headers(HEADERS_MAX).serve_connection(TokioIo::new(guard), service);

    let mut ended = tokio::select! {
        biased;
        end = poll_fn(|cx| conn.poll_without_shutdown(cx)) => Some(end),
        () = stage.drain.cancelled() => None,
    };
    if ended.is_none() {
        Pin::new(&mut conn).graceful_shutdown();
        ended = tokio::select! {
            biased;
            end = poll_fn(|cx| conn.poll_without_shutdown(cx)) => Some(end),
            () = stage.harden.cancelled() => None,
        };
    }
    if ended.is_none() {
        ended = tokio::select! {
            biased;
            end = poll_fn(|cx| conn.poll_without_shutdown(cx)) => Some(end),
            () = stage.cut.cancelled() => return false,
        };
    }
    match ended {
        Some(Ok(())) => close(conn.into_parts().io.into_inner()).await,
        Some(Err(error)) => tracing::debug!(%error, "a connection broke off"),
        None => unreachable!("the last wait ends or returns"),
    }
    true
}

/// Say goodbye; where the client may still be sending, listen for a while.
async fn close<S: AsyncRead + AsyncWrite + Unpin>(guard: Guard<S>) {
    let at_rest = guard.at_rest();
    let mut io = guard.into_inner();
    if io.shutdown().await.is_err() || at_rest {
        return;
    }
    let mut sink = vec![0; 16 * 1024];
    let drain = async {
        let mut left = LINGER_BYTES;
        while let Ok(n) = io.read(&mut sink).await {
            if n == 0 || n > left {
                break;
            }
            left -= n;
        }
    };
    let _ = tokio::time::timeout(LINGER, drain).await;
}
