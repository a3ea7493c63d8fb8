//! H15, H21, H30, F23, F42–F44: what a client may keep busy, and for how long.

use super::*;
use std::{sync::atomic::Ordering, time::Instant};

/// H21, F42: silence, a dribbled head, a dribbled body and an unread answer all end; others are served meanwhile.
#[tokio::test]
async fn h21_slow_clients_are_let_go() {
    let server = start(hasty());
    let silent = server.connect().await;
    let mut half = server.connect().await;
    half.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nX: ").await.expect("taken");
    let mut body = server.connect().await;
    body.write_all(b"POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc").await.expect("taken");
    let mut unread = server.connect().await;
    unread.write_all(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("taken");
    let mut kept = server.connect().await;
    kept.write_all(b"GET /k HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("taken");
    assert!(answer(&mut kept).await.ends_with("GET /k 0"));

    let ends = [(silent, "", "silent"), (half, "408", "half a head"), (body, "408", "half a body"), (kept, "", "idle")];
    for (mut socket, want, what) in ends {
        let heard = hear(&mut socket).await;
        assert_eq!(status(&heard), want, "{what}: {heard}");
    }
    let gone = Instant::now();
    while server.counters.open.load(Ordering::Relaxed) > 0 {
        assert!(gone.elapsed() < Duration::from_secs(20), "an unread answer is held for ever");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(unread);
    assert!(server.say(b"GET /new HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.ends_with("GET /new 0"));
}

/// An answer may pause for longer than any deadline of a client: events come when there are any.
#[tokio::test]
async fn a_quiet_stream_is_not_cut() {
    let server = start(hasty());
    let heard = server.say(b"GET /quiet HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(heard.contains("early") && heard.contains("late") && heard.ends_with("0\r\n\r\n"), "{heard}");
}

/// H21: one byte at a time is no way to keep a head's deadline away, nor a body's.
#[tokio::test]
async fn h21_dribbling_does_not_extend_a_deadline() {
    let server = start(hasty());
    for start in ["GET / HTTP/1.1\r\nHost: a\r\nX: ", "POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"] {
        let mut socket = server.connect().await;
        socket.write_all(start.as_bytes()).await.expect("taken");
        let (mut read, mut write) = socket.split();
        let dribble = async {
            while write.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let mut heard = vec![0; 12];
        tokio::select! {
            () = dribble => {}
            end = read.read_exact(&mut heard) => assert!(end.is_ok() && heard.ends_with(b"408"), "{}", String::from_utf8_lossy(&heard)),
            () = tokio::time::sleep(Duration::from_secs(20)) => panic!("{start:?} is waited for without end"),
        }
    }
}

/// H15: what is too large is said so, whether it is announced or not, and not taken in.
#[tokio::test]
async fn h15_bodies_past_the_limit() {
    let server = start(Limits::default());
    let announced = server.say(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000000\r\n\r\nabc").await;
    assert_eq!(status(&announced), "413", "{announced}");
    let mut endless = b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..40 {
        endless.extend_from_slice(b"10000\r\n");
        endless.extend_from_slice(&[b'x'; 0x10000]);
        endless.extend_from_slice(b"\r\n");
    }
    let heard = server.say(&endless).await;
    assert_eq!(status(&heard), "413", "{heard}");
    let lie = server.say(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcdefgh").await;
    assert_eq!((status(&lie), lie.matches("HTTP/1.1 ").count()), ("200", 2), "what follows is the next request: {lie}");
    assert!(lie.contains("POST /x 3") && lie.contains("HTTP/1.1 400"), "{lie}");
    assert_eq!(server.counters.bodies_held.load(Ordering::Relaxed), 0);
}

/// H15: all large bodies together have a limit, too, and what was held is given back.
#[tokio::test]
async fn h15_bodies_share_a_budget() {
    let server = start(Limits { bodies_max: 500_000, ..Limits::default() });
    let ask = |path: &str, n: usize| {
        format!("POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {n}\r\n\r\n{}", "x".repeat(n))
    };
    let mut first = server.connect().await;
    first.write_all(ask("/wait", 400_000).as_bytes()).await.expect("taken");
    while server.counters.bodies_held.load(Ordering::Relaxed) < 400_000 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let second = server.say(ask("/y", 400_000).as_bytes()).await;
    assert_eq!(status(&second), "503", "{second}");
    server.echo.release.notify_one();
    assert!(hear(&mut first).await.ends_with("waited"));
    assert_eq!(status(&server.say(ask("/y", 400_000).as_bytes()).await), "200");
}

/// A refusal before the body is read ends the connection; one without a body doesn't.
#[tokio::test]
async fn refused_before_the_body() {
    let server = start(Limits::default());
    let heard = server.say(b"POST /closed HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello").await;
    assert_eq!(status(&heard), "403", "{heard}");
    let mut socket = server.connect().await;
    for _ in 0..2 {
        socket.write_all(b"GET /closed HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("taken");
        assert_eq!(status(&answer(&mut socket).await), "403");
    }
}

/// H30: a client that asks before it sends is told to go on, and one that then doesn't is let go.
#[tokio::test]
async fn h30_expect_continue() {
    let server = start(hasty());
    let mut socket = server.connect().await;
    socket.write_all(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n").await.expect("taken");
    let mut go = [0; 25];
    socket.read_exact(&mut go).await.expect("told to go on");
    assert_eq!(&go, b"HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(status(&hear(&mut socket).await), "408");
}

/// F12: a panic is one request's affair.
#[tokio::test]
async fn f12_a_panic_answers_500_and_the_connection_goes_on() {
    let server = start(Limits::default());
    let mut socket = server.connect().await;
    socket.write_all(b"GET /panic HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("taken");
    assert_eq!(status(&answer(&mut socket).await), "500");
    socket.write_all(b"GET /after HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("taken");
    assert!(answer(&mut socket).await.ends_with("GET /after 0"));
    assert_eq!(server.counters.panics.load(Ordering::Relaxed), 1);
}

/// F44: who leaves takes the handler's future along.
#[tokio::test]
async fn f44_a_client_that_leaves_is_noticed() {
    let server = start(Limits::default());
    let mut socket = server.connect().await;
    socket.write_all(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("taken");
    while server.counters.requests.load(Ordering::Relaxed) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(socket);
    tokio::time::timeout(Duration::from_secs(20), server.echo.dropped.notified()).await.expect("the handler is dropped");
}

/// F43, F45: a thousand at once are all answered, with the cap far below; none is refused.
#[tokio::test]
async fn f45_a_thousand_at_once_within_the_cap() {
    let server = start(Limits { connections_max: 64, ..Limits::default() });
    let most = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let clients: Vec<_> = (0..1000)
        .map(|i| {
            let (at, most, counters) = (server.at, most.clone(), server.counters.clone());
            tokio::spawn(async move {
                let mut socket = TcpStream::connect(at).await.expect("the backlog holds it");
                socket
                    .write_all(format!("GET /{i} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes())
                    .await
                    .expect("taken");
                most.fetch_max(counters.open.load(Ordering::Relaxed), Ordering::Relaxed);
                let mut heard = String::new();
                socket.read_to_string(&mut heard).await.expect("answered");
                heard.ends_with(&format!("GET /{i} 0"))
            })
        })
        .collect();
    for client in clients {
        assert!(client.await.expect("no panic"));
    }
    assert!(most.load(Ordering::Relaxed) <= 64, "{most:?} open at once");
}

/// F23: without a descriptor the accept loop neither spins nor gives up; newcomers are told, and served once there is room.
/// Runs in a process of its own, since the limit is the process's.
#[test]
fn f23_no_descriptor_left() {
    let this = std::env::current_exe().expect("a test binary");
    let out =
        std::process::Command::new(this).args(["--exact", "tests::bounds::f23_child", "--ignored"]).output().expect("it starts");
    assert!(out.status.success(), "{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
}

#[tokio::test]
#[ignore = "started by f23_no_descriptor_left, in a process of its own"]
async fn f23_child() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let server = start(Limits::default());
    // The clients' descriptors are there already, so that only the server runs out of them.
    let sockets: Vec<_> = (0..30).map(|_| tokio::net::TcpSocket::new_v4().expect("a socket")).collect();
    tokio::task::yield_now().await; // the accept loop takes its spare
    let open = std::fs::read_dir("/proc/self/fd").expect("proc").count() as u64;
    let limit = Rlimit { current: Some(open + 4), maximum: getrlimit(Resource::Nofile).maximum };
    setrlimit(Resource::Nofile, limit).expect("lower is allowed");
    let mut clients = Vec::new();
    for socket in sockets {
        clients.push(socket.connect(server.at).await.expect("the backlog holds it"));
    }
    let (mut told, mut held) = (0, Vec::new());
    for mut socket in clients {
        let mut heard = [0; 12];
        match tokio::time::timeout(Duration::from_secs(1), socket.read_exact(&mut heard)).await {
            Ok(read) => {
                read.expect("told before it is closed");
                assert_eq!(&heard, b"HTTP/1.1 503");
                told += 1;
            }
            Err(_) => held.push(socket),
        }
    }
    assert!(told > 0 && held.len() < 10, "{told} told, {} held", held.len());
    let before = server.counters.out_of_descriptors.load(Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let rounds = server.counters.out_of_descriptors.load(Ordering::Relaxed) - before;
    assert!(rounds < 100, "{rounds} rounds in half a second is spinning");
    let mut first = held.swap_remove(0);
    first.write_all(b"GET /held HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.expect("taken");
    assert!(hear(&mut first).await.ends_with("GET /held 0"), "who is inside is served");
    drop((held, first));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(server.say(b"GET /again HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.ends_with("GET /again 0"));
}
