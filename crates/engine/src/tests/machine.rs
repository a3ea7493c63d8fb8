//! The machine that the tests' instances run on: it notes all that is done to them, and its processes are pipes.

use model::{
    Cause, Fault, Fut, InstanceId,
    ports::{Backend, Capacity, Instance, Link, Listener, Proc},
    sandbox::{Endpoint, Exit, Group, Limits, Measured, Mount, ProcSpec, Signal, Spec, Tier},
};
use std::{
    fs::File,
    io::{self, Write},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::oneshot;

/// What was done, in order: `create 0`, `spawn 0`, `freeze 0` …, with the instance's number.
#[derive(Default)]
pub struct Machine {
    pub done: Mutex<Vec<String>>,
    pub boxes: Mutex<Vec<Arc<Inside>>>,
    pub thaw_takes: Mutex<Duration>,
    pub thaw_fails: Mutex<bool>,
    pub kill_takes: Mutex<Duration>,
    pub create_takes: Mutex<Duration>,
}

/// What goes on in one instance.
pub struct Inside {
    pub id: InstanceId,
    number: usize,
    machine: Arc<Machine>,
    process: Mutex<Option<(File, oneshot::Sender<Exit>)>>,
}

impl Machine {
    pub fn note(&self, what: &str, number: usize) {
        self.done.lock().unwrap().push(format!("{what} {number}"));
    }
    pub fn done(&self) -> Vec<String> {
        self.done.lock().unwrap().clone()
    }
    pub fn count(&self, what: &str) -> usize {
        self.done().iter().filter(|d| d.starts_with(what)).count()
    }
    pub fn inside(&self, id: InstanceId) -> Arc<Inside> {
        self.boxes.lock().unwrap().iter().find(|b| b.id == id).unwrap().clone()
    }
}

impl Inside {
    pub fn write(&self, text: &str) {
        self.process.lock().unwrap().as_mut().unwrap().0.write_all(text.as_bytes()).unwrap();
    }
    /// Its process ends.
    pub fn exit(&self, exit: Exit) {
        if let Some((_, tell)) = self.process.lock().unwrap().take() {
            let _ = tell.send(exit);
        }
    }
}

pub struct Shared(pub Arc<Machine>);

impl Backend for Shared {
    fn name(&self) -> &'static str {
        "double"
    }
    fn capacity(&self) -> Capacity {
        Capacity { memory_bytes: u64::MAX, instances: u64::MAX }
    }
    fn start(&self, _: Tier, spec: Spec) -> Fut<'_, Result<Box<dyn Instance>, Fault>> {
        let takes = *self.0.create_takes.lock().unwrap();
        Box::pin(async move {
            tokio::time::sleep(takes).await;
            let mut boxes = self.0.boxes.lock().unwrap();
            let (number, machine) = (boxes.len(), self.0.clone());
            machine.note("create", number);
            let inside = Arc::new(Inside { id: spec.id, number, machine, process: Mutex::default() });
            boxes.push(inside.clone());
            Ok(Box::new(Sandbox(inside)) as Box<dyn Instance>)
        })
    }
}

struct Sandbox(Arc<Inside>);

impl Instance for Sandbox {
    fn link(&self) -> Arc<dyn Link> {
        Arc::new(Nowhere)
    }
    fn spawn(&self, _: ProcSpec) -> Fut<'_, Result<Proc, Fault>> {
        self.0.machine.note("spawn", self.0.number);
        let (output, writer) = rustix::pipe::pipe().unwrap();
        let (tell, exited) = oneshot::channel();
        let before = self.0.process.lock().unwrap().replace((writer.into(), tell));
        assert!(before.is_none(), "spawned beside a living process");
        let exited = Box::pin(async { exited.await.unwrap_or(Exit::Gone) });
        Box::pin(async { Ok(Proc { exited, output, frames: None }) })
    }
    fn kill_group(&self, _: Group) -> Fut<'_, Result<(), Fault>> {
        let takes = *self.0.machine.kill_takes.lock().unwrap();
        Box::pin(async move {
            tokio::time::sleep(takes).await;
            self.0.exit(Exit::Signal(9));
            self.0.machine.note("kill-group", self.0.number);
            Ok(())
        })
    }
    fn signal(&self, _: Group, signal: Signal) -> Fut<'_, Result<(), Fault>> {
        if signal == Signal::Kill {
            self.0.exit(Exit::Signal(9));
        }
        Box::pin(async { Ok(()) })
    }
    fn attach(&self, _: Vec<Mount>, _: Limits) -> Fut<'_, Result<(), Fault>> {
        Box::pin(async { Ok(()) })
    }
    fn limit(&self, _: Limits) -> Fut<'_, Result<(), Fault>> {
        Box::pin(async { Ok(()) })
    }
    fn freeze(&self, on: bool) -> Fut<'_, Result<(), Fault>> {
        Box::pin(async move {
            if !on {
                let takes = *self.0.machine.thaw_takes.lock().unwrap();
                tokio::time::sleep(takes).await;
                if *self.0.machine.thaw_fails.lock().unwrap() {
                    return Err(Fault::new(Cause::Internal, "the freezer is broken"));
                }
            }
            self.0.machine.note(if on { "freeze" } else { "thaw" }, self.0.number);
            Ok(())
        })
    }
    fn measure(&self) -> Measured {
        Measured { memory_max_bytes: 7, ..Measured::default() }
    }
    fn kill(&self) -> Fut<'_, Exit> {
        self.0.machine.note("kill", self.0.number);
        self.0.exit(Exit::Signal(9));
        Box::pin(async { Exit::Signal(9) })
    }
}

struct Nowhere;

impl Link for Nowhere {
    fn dial(&self, _: &Endpoint) -> Fut<'_, io::Result<model::BoxIo>> {
        Box::pin(async { Err(io::ErrorKind::Unsupported.into()) })
    }
    fn listen(&self, _: &Endpoint) -> Fut<'_, io::Result<Box<dyn Listener>>> {
        Box::pin(async { Err(io::ErrorKind::Unsupported.into()) })
    }
}
