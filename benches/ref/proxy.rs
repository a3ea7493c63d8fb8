//! Reference: a bare reverse proxy, one thread, one upstream connection per client connection, over TCP on loopback; and the
//! backend that it forwards to. Frozen: a change to this file voids every figure measured against it.
//!
//! usage: ref-proxy FRONT_PORT BACKEND_PORT | ref-proxy backend PORT

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, client, server, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{cell::RefCell, convert::Infallible, rc::Rc};
use tokio::{
    net::{TcpListener, TcpStream},
    task::LocalSet,
};

type Upstream = client::conn::http1::SendRequest<Full<Bytes>>;

async fn connect(port: u16) -> anyhow::Result<Upstream> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    let (send, connection) = client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::task::spawn_local(connection);
    Ok(send)
}

async fn forward(upstream: Rc<RefCell<Option<Upstream>>>, request: Request<Incoming>) -> anyhow::Result<Response<Full<Bytes>>> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let mut send = upstream.borrow_mut().take().ok_or_else(|| anyhow::anyhow!("pipelining is not for this proxy"))?;
    send.ready().await?;
    let response = send.send_request(Request::from_parts(parts, Full::new(body))).await?;
    let (parts, body) = response.into_parts();
    let body = body.collect().await?.to_bytes();
    *upstream.borrow_mut() = Some(send);
    Ok(Response::from_parts(parts, Full::new(body)))
}

async fn proxy(front: u16, back: u16) -> anyhow::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", front)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::task::spawn_local(async move {
            let upstream = Rc::new(RefCell::new(Some(connect(back).await?)));
            let service = service_fn(|request| forward(upstream.clone(), request));
            server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await?;
            anyhow::Ok(())
        });
    }
}

async fn backend(port: u16) -> anyhow::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::task::spawn_local(async move {
            let service = service_fn(|_| async { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"{}")))) });
            let _ = server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["backend", port] => backend(port.parse()?).await,
            [front, back] => proxy(front.parse()?, back.parse()?).await,
            _ => anyhow::bail!("usage: ref-proxy FRONT_PORT BACKEND_PORT | ref-proxy backend PORT"),
        }
    })
}
