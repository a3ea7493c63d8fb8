//! The instance's listener and its connections. A runtime keeps one to three of them; SDKs inside the function open a few
//! more. What a function opens beyond the limit waits unaccepted.

use super::{routes, session::Core, short};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use model::{BoxIo, limits, ports::Listener};
use std::{sync::Arc, time::Duration};
use tokio::task::JoinSet;

/// Connections of one instance at a time.
const CONNECTIONS_MAX: usize = 64;
/// Before another attempt when accepting fails (no descriptors left).
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// The listener's task. Dropping it ends the listener and all its connections.
pub(super) struct Serving(tokio::task::AbortHandle);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(super) fn serve(core: Arc<Core>, listener: Box<dyn Listener>) -> Serving {
    Serving(tokio::spawn(accept(core, listener)).abort_handle())
}

async fn accept(core: Arc<Core>, listener: Box<dyn Listener>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        if connections.len() >= CONNECTIONS_MAX {
            connections.join_next().await;
        }
        match listener.accept().await {
            Ok(io) => {
                connections.spawn(connection(core.clone(), io));
            }
            Err(_) => tokio::time::sleep(ACCEPT_RETRY).await,
        }
    }
}

/// Errors of a connection are the other side's going away or its breach of HTTP; what they mean for an invocation was told
/// to the state where it happened.
async fn connection(core: Arc<Core>, io: BoxIo) {
    let Some(io) = short::serve(&core, io).await else { return };
    let service = service_fn(move |request| {
        let core = core.clone();
        async move { Ok::<_, std::convert::Infallible>(routes::route(&core, request).await) }
    });
    // On the heap, since few connections come to it.
    let serving = Box::pin(
        http1::Builder::new()
            // As the reference spells them: some runtimes compare header names letter by letter.
            .title_case_headers(true)
            .auto_date_header(false)
            .max_headers(limits::HEADERS_MAX)
            .max_buf_size(HEADER_BYTES_MAX)
            .serve_connection(TokioIo::new(io), service),
    );
    let _ = serving.await;
}

/// A runtime may put an error's cause into a header of up to 1 MiB; hyper's buffer also decides how much of a body is read at
/// once.
const HEADER_BYTES_MAX: usize = 1200 * 1024;
