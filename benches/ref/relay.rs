//! Reference: a bare relay between HTTP callers and runtimes that speak Lambda's Runtime API. It takes a request, gives it to a
//! runtime that has asked for the next event, and gives the runtime's answer to the caller: no routing, no checks, no sandbox,
//! no time limit, no log. One thread. Frozen: a change to this file voids every figure measured against it.
//!
//! usage: ref-relay FRONT_PORT RUNTIME_PORT

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
    convert::Infallible,
    rc::Rc,
};
use tokio::{net::TcpListener, sync::oneshot, task::LocalSet};

type Body = Full<Bytes>;
type Answer = oneshot::Sender<Bytes>;

#[derive(Default)]
struct Relay {
    events: VecDeque<(Bytes, Answer)>,
    runtimes: VecDeque<oneshot::Sender<(Bytes, Answer)>>,
    running: HashMap<String, Answer>,
    count: u64,
}

type Shared = Rc<RefCell<Relay>>;

async fn front(relay: Shared, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let body = request.into_body().collect().await.map(|b| b.to_bytes()).unwrap_or_default();
    let (answer, answered) = oneshot::channel();
    let mut event = (body, answer);
    loop {
        let runtime = relay.borrow_mut().runtimes.pop_front();
        let Some(runtime) = runtime else {
            relay.borrow_mut().events.push_back(event);
            break;
        };
        match runtime.send(event) {
            Ok(()) => break,
            Err(back) => event = back,
        }
    }
    let body = answered.await.unwrap_or_default();
    Ok(Response::new(Full::new(body)))
}

async fn runtime(relay: Shared, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path().to_owned();
    let words: Vec<&str> = path.split('/').collect();
    if words.last() == Some(&"next") {
        let waiting = relay.borrow_mut().events.pop_front();
        let (event, answer) = match waiting {
            Some(event) => event,
            None => {
                let (give, given) = oneshot::channel();
                relay.borrow_mut().runtimes.push_back(give);
                match given.await {
                    Ok(event) => event,
                    Err(_) => return Ok(Response::new(Full::default())),
                }
            }
        };
        let mut state = relay.borrow_mut();
        state.count += 1;
        let id = format!("00000000-0000-4000-8000-{:012x}", state.count);
        state.running.insert(id.clone(), answer);
        drop(state);
        let response = Response::builder()
            .header("lambda-runtime-aws-request-id", id)
            .header("lambda-runtime-deadline-ms", "4102444800000")
            .header("lambda-runtime-invoked-function-arn", "arn:aws:lambda:us-east-1:000000000000:function:f")
            .header("content-type", "application/json")
            .body(Full::new(event));
        return Ok(response.unwrap_or_default());
    }
    let body = request.into_body().collect().await.map(|b| b.to_bytes()).unwrap_or_default();
    let answer = words.get(4).and_then(|id| relay.borrow_mut().running.remove(*id));
    if let Some(answer) = answer {
        let _ = answer.send(body);
    }
    let accepted = Response::builder().status(202).body(Full::new(Bytes::from_static(b"{\"status\":\"OK\"}\n")));
    Ok(accepted.unwrap_or_default())
}

async fn listen(relay: Shared, port: u16, is_front: bool) -> anyhow::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let relay = relay.clone();
        tokio::task::spawn_local(async move {
            let service = service_fn(|request| {
                let relay = relay.clone();
                async move { if is_front { front(relay, request).await } else { runtime(relay, request).await } }
            });
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn main() -> anyhow::Result<()> {
    let ports: Vec<u16> = std::env::args().skip(1).map(|a| a.parse()).collect::<Result<_, _>>()?;
    anyhow::ensure!(ports.len() == 2, "usage: ref-relay FRONT_PORT RUNTIME_PORT");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let relay = Shared::default();
        tokio::try_join!(listen(relay.clone(), ports[0], true), listen(relay, ports[1], false))?;
        Ok(())
    })
}
