//! What the contract may ask of the platform, for its own instance.

use super::lock;
use crate::{Engine, Parts, output::Output};
use model::{
    Clock, Fut,
    ports::{Hears, Host, InstanceCaller, Request, Response},
};
use std::sync::{
    Arc, Mutex, OnceLock, Weak,
    atomic::{AtomicU32, Ordering},
};
use tokio::sync::oneshot;

pub struct InstanceHost {
    engine: Weak<Engine>,
    parts: Arc<Parts>,
    caller: OnceLock<InstanceCaller>,
    /// Of the call that runs now: a call that it makes is one further.
    pub hops: AtomicU32,
    output: Output,
    initialization: OnceLock<&'static str>,
    /// Who starts the runtime once what comes before it is ready.
    begun: Mutex<Option<oneshot::Sender<()>>>,
}

impl InstanceHost {
    pub fn new(engine: Weak<Engine>, parts: Arc<Parts>, output: Output) -> Self {
        let (caller, initialization) = (OnceLock::new(), OnceLock::new());
        Self { engine, parts, caller, hops: AtomicU32::new(0), output, initialization, begun: Mutex::new(None) }
    }

    /// From here on the instance is somebody's; only the first time counts.
    pub fn identify(&self, caller: Option<InstanceCaller>, initialization: &'static str) {
        let _ = self.initialization.set(initialization);
        if let Some(caller) = caller {
            let _ = self.caller.set(caller);
        }
    }

    /// Resolves when the contract says that the runtime may start.
    pub fn begins(&self) -> oneshot::Receiver<()> {
        let (tell, told) = oneshot::channel();
        *lock(&self.begun) = Some(tell);
        told
    }
}

impl Host for InstanceHost {
    fn plane(&self, request: Request) -> Fut<'_, Response> {
        Box::pin(async move {
            let plane = self.engine.upgrade().and_then(|e| e.plane.get().cloned());
            match (plane, self.caller.get()) {
                (Some(plane), Some(caller)) => {
                    let hops = self.hops.load(Ordering::Relaxed) + 1;
                    plane.plane(request, InstanceCaller { hops, ..caller.clone() }).await
                }
                _ => refused(),
            }
        })
    }
    fn clock(&self) -> &dyn Clock {
        &*self.parts.clock
    }
    fn initialization(&self) -> &'static str {
        self.initialization.get().copied().unwrap_or("on-demand")
    }
    fn begin(&self) {
        if let Some(tell) = lock(&self.begun).take() {
            let _ = tell.send(());
        }
    }
    fn hear(&self, hears: Arc<dyn Hears>) {
        self.output.hear(hears);
    }
}

/// An instance that has no identity may ask for nothing.
fn refused() -> Response {
    let body = bytes::Bytes::from_static(b"{\"message\":\"this instance has no role, so the platform answers nothing\"}");
    let mut response = Response::new(model::ReplyBody::Bytes(body));
    *response.status_mut() = http::StatusCode::FORBIDDEN;
    response
}
