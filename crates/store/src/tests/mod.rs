//! The store as its users see it, opened on real directories.

mod archives;
mod audit;
mod crash;
mod damage;
mod directory;
mod disks;
mod full;
mod journal;
mod kills;
mod log_groups;
mod packages;
mod power;
mod queue;
mod rows;
mod sealed;
mod zips;

use crate::{Options, Store};
use model::{
    Clock, Fault, Fut, InstanceId, InvocationId, Mono, RevisionId, TenantId,
    event::{Record, Steps, Trigger, Usage},
    log::{Line, LogLine, LogRecord, Stream},
};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use testkit::clock::Hand;

/// Where the hand begins; about now, since files are dated by the machine's own clock.
fn begin_ms() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64
}

fn open(path: &Path) -> Arc<Store> {
    Store::open(path, Options::default(), Hand::new()).unwrap()
}

fn wait<T>(future: Fut<'_, T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

fn tenant() -> TenantId {
    TenantId::new("000000000000")
}

fn stream(group: &str, name: &str) -> Arc<Stream> {
    Arc::new(Stream {
        tenant: tenant(),
        function: "f".into(),
        group: group.into(),
        name: name.into(),
        version: "$LATEST".into(),
        code: "c0de".into(),
        instance: InstanceId::random(),
        json: false,
    })
}

fn text(stream: &Arc<Stream>, at_ms: u64, text: impl AsRef<[u8]>) -> LogLine {
    let line = Line::Text { text: bytes::Bytes::copy_from_slice(text.as_ref()), level: None };
    LogLine { stream: stream.clone(), record: LogRecord { at_ms, id: None, line } }
}

pub(crate) fn record(function: &str, started_ms: u64) -> Record {
    Record {
        id: InvocationId::random(),
        tenant: tenant(),
        function: function.into(),
        version: "$LATEST".into(),
        revision: RevisionId::random(),
        instance: Some(InstanceId::random()),
        trigger: Trigger::Url,
        started_ms,
        steps: Steps { queued_us: 1, sandbox_us: 2, init_us: 3, first_byte_us: 4, run_us: 5 },
        usage: Usage { duration: Duration::from_micros(1500), init: None, memory_mib: 512, memory_max_bytes: 7 << 20 },
        status: "ok".into(),
    }
}

fn cause(result: Result<impl Sized, Fault>) -> model::Cause {
    result.err().expect("a fault").cause
}
