//! F4: stopping.

use super::*;
use std::sync::atomic::Ordering;

async fn in_flight(server: &Server, n: u64) {
    while server.counters.requests.load(Ordering::Relaxed) < n {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What is in flight finishes, idle connections close at once, nobody new is let in.
#[tokio::test]
async fn f4_in_flight_finishes_and_idle_closes() {
    let server = start(Limits::default());
    let mut idle = server.connect().await;
    idle.write_all(b"GET /i HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("taken");
    answer(&mut idle).await;
    let mut silent = server.connect().await;
    let mut busy = server.connect().await;
    busy.write_all(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("taken");
    in_flight(&server, 2).await;

    server.stop.drain.cancel();
    assert_eq!(hear(&mut idle).await, "");
    assert_eq!(hear(&mut silent).await, "");
    assert!(TcpStream::connect(server.at).await.is_err(), "the listener is closed");
    server.echo.release.notify_one();
    let heard = hear(&mut busy).await;
    assert!(heard.ends_with("waited") && heard.contains("connection: close"), "{heard}");
    assert_eq!(server.done.await.expect("no panic"), Report::default());
}

/// What is still in flight when patience ends is answered 503, not cut.
#[tokio::test]
async fn f4_what_does_not_finish_is_answered_503() {
    for quick in [false, true] {
        let server = start(if quick { Limits::default() } else { hasty() });
        let mut busy = server.connect().await;
        busy.write_all(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("taken");
        in_flight(&server, 1).await;
        if quick {
            server.stop.now.cancel()
        } else {
            server.stop.drain.cancel()
        }
        let heard = hear(&mut busy).await;
        assert!(status(&heard) == "503" && heard.contains("retry-after: 1"), "{heard}");
        assert_eq!(server.done.await.expect("no panic"), Report { drained_off: 1, cut: 0 });
    }
}

/// A request that is already on its way when stopping begins gets an answer, too.
#[tokio::test]
async fn f4_a_late_request_is_told_to_come_back() {
    let server = start(Limits::default());
    let mut socket = server.connect().await;
    socket.write_all(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\nGET /late HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("taken");
    in_flight(&server, 1).await;
    server.stop.drain.cancel();
    server.echo.release.notify_one();
    let heard = hear(&mut socket).await;
    assert!(heard.contains("waited"), "{heard}");
    assert_eq!(server.done.await.expect("no panic").cut, 0);
}

/// The Unix door: 0600, ours and root's, taken over only from the dead, removed at the end.
#[tokio::test]
async fn h64_the_admin_socket() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("admin.sock");
    let door = || Door { name: "admin", bind: Bind::Unix(path.clone()), handler: Arc::new(Echo::default()), tls: None };
    drop(std::os::unix::net::UnixListener::bind(&path).expect("a stale socket"));
    let stop = Stop::default();
    let bound = open(vec![door()]).expect("a stale socket is no hindrance");
    assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    assert!(matches!(open(vec![door()]), Err(crate::Error::SocketTaken { .. })), "a live one is");
    let done = tokio::spawn(bound.serve(Limits::default(), stop.clone()));
    let mut socket = tokio::net::UnixStream::connect(&path).await.expect("open");
    socket.write_all(b"GET /u HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.expect("taken");
    let mut heard = String::new();
    socket.read_to_string(&mut heard).await.expect("text");
    assert!(heard.ends_with("GET /u 0"), "{heard}");
    stop.drain.cancel();
    done.await.expect("no panic");
    assert!(!path.exists());
    std::fs::write(&path, "a file").expect("written");
    assert!(matches!(open(vec![door()]), Err(crate::Error::NotASocket { .. })));
    assert!(path.exists(), "what is no socket is left alone");
}

/// H82: no door opens beyond loopback; a taken port is named with its holder.
#[tokio::test]
async fn h82_doors_stay_on_loopback() {
    let door = |at: &str| {
        vec![Door {
            name: "aws",
            bind: Bind::Tcp(at.parse().expect("an address")),
            handler: Arc::new(Echo::default()),
            tls: None,
        }]
    };
    for at in ["0.0.0.0:0", "[::]:0", "192.0.2.1:9000"] {
        assert!(matches!(open(door(at)), Err(crate::Error::NotLoopback { .. })), "{at}");
    }
    let held = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = held.local_addr().expect("bound");
    let error = open(door(&at.to_string())).err().expect("the port is taken").to_string();
    assert!(error.contains(&at.port().to_string()) && error.contains(&format!("(pid {})", std::process::id())), "{error}");
}

/// Peers of another user are turned away (root and ourselves are not).
#[test]
fn h64_other_users_may_not_enter() {
    let ours = rustix::process::geteuid().as_raw();
    assert!(
        crate::bind::may_enter(&Peer::Unix { uid: ours, pid: None }) && crate::bind::may_enter(&Peer::Unix { uid: 0, pid: None })
    );
    assert!(!crate::bind::may_enter(&Peer::Unix { uid: ours + 4242, pid: Some(1) }));
}
