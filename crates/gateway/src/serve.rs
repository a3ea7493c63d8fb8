//! Accepting, and stopping: no connection is dropped that could still be answered.

use crate::{
    Counters, Door, Error, Limits, Report, Stop,
    bind::{self, Accepted, Listener},
    conn,
    service::Shared,
    stage::Stage,
    tls::{self, Met},
};
use model::Loops;
use std::{
    fs::File,
    io,
    net::SocketAddr,
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::net::TcpStream;
use tokio_util::task::TaskTracker;

/// Doors whose listeners are open.
pub struct Bound {
    doors: Vec<(Door, Listener)>,
    counters: Arc<Counters>,
    loops: Arc<Loops>,
}

/// Open every listener; nothing is accepted yet.
pub fn open(doors: Vec<Door>) -> Result<Bound, Error> {
    let open = |door: Door| bind::open(&door).map(|listener| (door, listener));
    let doors: Vec<_> = doors.into_iter().map(open).collect::<Result<_, _>>()?;
    let counters = Arc::new(Counters::of(doors.iter().map(|(door, _)| door.name)));
    Ok(Bound { doors, counters, loops: Loops::alone() })
}

/// Open the doors and serve until told to stop.
pub async fn serve(doors: Vec<Door>, limits: Limits, stop: Stop) -> Result<Report, Error> {
    Ok(open(doors)?.serve(limits, stop).await)
}

impl Bound {
    /// Where a door really listens, when it is a TCP door.
    pub fn address(&self, door: &str) -> Option<SocketAddr> {
        self.doors.iter().find(|(d, _)| d.name == door).and_then(|(_, listener)| listener.tcp_address())
    }

    pub fn counters(&self) -> Arc<Counters> {
        self.counters.clone()
    }

    /// With the accepting of each door among the loops of a platform.
    pub fn watched(self, loops: &Arc<Loops>) -> Self {
        Self { loops: loops.clone(), ..self }
    }

    /// Serve until told to stop; returns when the last connection has ended.
    pub async fn serve(self, limits: Limits, stop: Stop) -> Report {
        let (limits, counters, stage, tracker) =
            (Arc::new(limits), self.counters, Arc::new(Stage::default()), TaskTracker::new());
        let cut = Arc::new(AtomicUsize::new(0));
        for (door, listener) in self.doors {
            let listener = Arc::new(listener);
            let shared = Arc::new(Shared {
                name: door.name,
                handler: door.handler,
                limits: limits.clone(),
                counters: counters.clone(),
                stage: stage.clone(),
                tls: door.tls,
                open: AtomicUsize::new(0),
            });
            let (drain, connections, cut) = (stop.drain.clone(), tracker.clone(), cut.clone());
            let accepting =
                move |pulse| accept(listener.clone(), shared.clone(), drain.clone(), connections.clone(), cut.clone(), pulse);
            let (loops, name) = (self.loops.clone(), format!("door {}", door.name));
            tracker.spawn(async move { loops.watch(&name, accepting).await });
        }
        tokio::select! {
            () = stop.drain.cancelled() => {}
            () = stop.now.cancelled() => stop.drain.cancel(),
        }
        stage.begin_drain();
        tracker.close();
        wind_down(&tracker, &stage, &limits, &stop).await;
        Report { drained_off: counters.drained_off.load(Ordering::Relaxed), cut: cut.load(Ordering::Relaxed) }
    }
}

/// Wait for what is in flight, then answer it 503, then cut it.
async fn wind_down(tracker: &TaskTracker, stage: &Stage, limits: &Limits, stop: &Stop) {
    tokio::select! {
        () = tracker.wait() => return,
        () = tokio::time::sleep(limits.drain) => {}
        () = stop.now.cancelled() => {}
    }
    stage.begin_hard();
    if tokio::time::timeout(Duration::from_secs(2), tracker.wait()).await.is_err() {
        stage.cut.cancel();
        tracker.wait().await;
    }
}

/// Take connections until stopping begins.
async fn accept(
    listener: Arc<Listener>,
    shared: Arc<Shared>,
    drain: model::Cancel,
    tracker: TaskTracker,
    cut: Arc<AtomicUsize>,
    pulse: model::Pulse,
) {
    let mut spare = Spare::new();
    loop {
        pulse.rest();
        let accepted = tokio::select! {
            biased;
            () = drain.cancelled() => return,
            accepted = listener.accept(), if shared.has_room() => accepted,
            // Full: the kernel keeps newcomers waiting until somebody leaves.
            () = tokio::time::sleep(Duration::from_millis(20)), if !shared.has_room() => continue,
        };
        pulse.work();
        match accepted {
            Ok(Accepted::Tcp(stream, peer)) if shared.tls.is_some() => spawn_tls(stream, peer, &shared, &tracker, &cut),
            Ok(Accepted::Tcp(stream, peer)) => spawn(stream, peer, &shared, &tracker, &cut),
            Ok(Accepted::Unix(stream, peer)) if bind::may_enter(&peer) => spawn(stream, peer, &shared, &tracker, &cut),
            Ok(Accepted::Unix(_, peer)) => tracing::warn!(door = shared.name, ?peer, "another user is turned away"),
            Err(error) if out_of_descriptors(&error) => {
                Counters::bump(&shared.counters.out_of_descriptors);
                tracing::warn!(door = shared.name, %error, "no descriptor is left for a connection");
                spare.turn_away(&listener).await;
            }
            Err(error) => tracing::debug!(door = shared.name, %error, "a connection was gone before it was accepted"),
        }
    }
}

fn spawn<S>(stream: S, peer: crate::Peer, shared: &Arc<Shared>, tracker: &TaskTracker, cut: &Arc<AtomicUsize>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (shared, cut) = (shared.clone(), cut.clone());
    Counters::bump(&shared.counters.accepted);
    let open = Open::new(shared.clone());
    tracker.spawn(async move {
        let _open = open;
        if !conn::run(stream, peer, shared).await {
            cut.fetch_add(1, Ordering::Relaxed);
        }
    });
}

/// The same at a door with TLS: the connection counts from before the handshake, which has the time that a head may take.
fn spawn_tls(stream: TcpStream, peer: crate::Peer, shared: &Arc<Shared>, tracker: &TaskTracker, cut: &Arc<AtomicUsize>) {
    let (shared, cut) = (shared.clone(), cut.clone());
    Counters::bump(&shared.counters.accepted);
    let open = Open::new(shared.clone());
    tracker.spawn(async move {
        let _open = open;
        let Some(certificates) = shared.tls.clone() else { return };
        match tls::meet(stream, &certificates, shared.limits.header_timeout, &shared.stage).await {
            Met::Stream(stream) => {
                if !conn::run(*stream, peer, shared).await {
                    cut.fetch_add(1, Ordering::Relaxed);
                }
                return;
            }
            Met::Plain => tracing::info!(door = shared.name, "a client without TLS is turned away"),
            Met::Failed(error) => tracing::debug!(door = shared.name, %error, "a handshake failed"),
            Met::Given => {}
        }
        Counters::bump(&shared.counters.handshakes_failed);
    });
}

/// Counts a connection as open, also when its task ends by a panic.
struct Open(Arc<Shared>);

impl Open {
    fn new(shared: Arc<Shared>) -> Self {
        shared.open.fetch_add(1, Ordering::Relaxed);
        shared.counters.open.fetch_add(1, Ordering::Relaxed);
        Self(shared)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
        self.0.counters.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Shared {
    /// Each door has its own: a flood at one leaves the others open.
    fn has_room(&self) -> bool {
        self.open.load(Ordering::Relaxed) < self.limits.connections_max
    }
}

fn out_of_descriptors(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(rustix::io::Errno::from_raw_os_error),
        Some(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE)
    )
}

/// A descriptor kept for the day on which there is no other: with it a newcomer is told so, instead of the loop spinning on a
/// connection that it can't accept.
struct Spare(Option<File>);

impl Spare {
    fn new() -> Self {
        Self(File::open("/dev/null").ok())
    }

    async fn turn_away(&mut self, listener: &Listener) {
        self.0 = None;
        let accepted = tokio::time::timeout(Duration::from_millis(10), listener.accept()).await;
        match accepted {
            Ok(Ok(Accepted::Tcp(stream, _))) => tell(stream.as_fd()),
            Ok(Ok(Accepted::Unix(stream, _))) => tell(stream.as_fd()),
            _ => {}
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        *self = Self::new();
    }
}

/// One write to a fresh socket never waits; if it fails, the client sees a closed connection.
fn tell(socket: std::os::fd::BorrowedFd<'_>) {
    const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let _ = rustix::io::write(socket, BUSY);
}
