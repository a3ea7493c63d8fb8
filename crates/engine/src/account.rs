//! What a call cost and how it ended, written down: its last log lines, and its record.

use crate::{
    Engine,
    instance::{Live, Started},
    invoke::About,
    run::Supervised,
    start::Failure,
};
use model::{
    Call, Cause, Failed, Mono, Outcome,
    event::{Record, Steps, Usage},
    log::{Line, LogTail, Status},
};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

/// How a call ended, for the log and the record.
pub enum End {
    Ok,
    /// User code reported a failure.
    Reported,
    Timeout,
    Failed(Cause, String),
}

impl End {
    fn status(&self) -> (Status, Arc<str>) {
        match self {
            End::Ok => (Status::Success, "ok".into()),
            // User code's own word: the platform's line doesn't call it an error.
            End::Reported => (Status::Success, "error".into()),
            End::Timeout => (Status::Timeout, Cause::Timeout.name().into()),
            End::Failed(cause, kind) => (Status::Error(kind.as_str().into()), cause.name().into()),
        }
    }
}

impl Supervised {
    /// The instance is spent: because it ended, or because it broke its contract.
    pub fn why_spent(&self, why: String) -> End {
        let live = &self.held.live;
        let (cause, named) = match live.why() {
            Some(fault) => (fault.cause, fault.detail.filter(|d| d.starts_with("Extension."))),
            None if live.ended(self.generation) => (Cause::Exited, None),
            None => return End::Failed(Cause::Protocol, why),
        };
        End::Failed(cause, named.unwrap_or_else(|| kind(cause).to_owned()))
    }
}

/// A short type for a failure that user code did not name.
fn kind(cause: Cause) -> &'static str {
    match cause {
        Cause::OutOfMemory => "Runtime.OutOfMemory",
        Cause::Exited => "Runtime.ExitError",
        Cause::InitFailed => "Runtime.InitError",
        other => other.name(),
    }
}

/// The times of a call that is over.
struct Times {
    begin: Mono,
    /// What is charged for.
    cost: Duration,
    /// What user code took, once it was called.
    ran: Duration,
    first_byte: Duration,
    started: Option<Started>,
}

impl Engine {
    /// Write down what a call cost and how it ended.
    pub(crate) fn account(&self, s: &Supervised, end: &End, duration: Duration) -> Outcome {
        s.held.live.output.drain();
        let first_byte = match s.shared.first_byte_us.load(Ordering::Relaxed) {
            0 => duration,
            us => Duration::from_micros(us).min(duration),
        };
        let times = Times { begin: s.begin, cost: duration, ran: duration, first_byte, started: s.started };
        self.close(&s.about, Some(&s.held.live), &times, end)
    }

    /// A call whose instance could not be brought up: it ran, as far as anybody can tell, and failed. What it cost is the time of
    /// the attempt, not the time in the line before it.
    pub(crate) fn stillborn(&self, about: &About, failure: Failure) -> Call {
        let Failure { fault, live, sandbox, init } = failure;
        let end = match fault.cause {
            Cause::Timeout => End::Timeout,
            cause => End::Failed(cause, fault.detail.clone().unwrap_or_else(|| kind(cause).to_owned())),
        };
        let started = live.is_some().then_some(Started { sandbox, init });
        if let Some(live) = &live {
            live.output.begin(about.id, about.tail);
            live.output.platform(Line::Start { version: about.unit.version.clone() });
        }
        let ran = Duration::ZERO;
        let times = Times { begin: self.parts.clock.mono(), cost: init, ran, first_byte: ran, started };
        let outcome = self.close(about, live.as_deref(), &times, &end);
        let instance = live.map(|l| l.id);
        let reply = async { Err(Failed::from(fault)) };
        Call { id: about.id, unit: about.unit.clone(), instance, reply: Box::pin(reply), free: Box::pin(async { outcome }) }
    }

    fn close(&self, about: &About, live: Option<&Live>, times: &Times, end: &End) -> Outcome {
        let usage = Usage {
            duration: times.cost,
            init: times.started.map(|t| t.init),
            memory_mib: about.unit.settings.memory_mib,
            memory_max_bytes: live.map_or(0, |l| l.measure().memory_max_bytes),
        };
        let (status, name) = end.status();
        let tail = live.and_then(|live| last_lines(about, live, end, usage, status));
        let (sandbox, init) = times.started.map_or((Duration::ZERO, Duration::ZERO), |t| (t.sandbox, t.init));
        let us = |d: Duration| u64::try_from(d.as_micros()).unwrap_or(u64::MAX);
        let waited = times.begin.since(about.admitted);
        let steps = Steps {
            queued_us: us(waited.saturating_sub(sandbox + init)),
            sandbox_us: us(sandbox),
            init_us: us(init),
            first_byte_us: us(times.first_byte),
            run_us: us(times.ran),
        };
        let since_begin = self.parts.clock.mono().since(times.begin);
        self.parts.journal.record(Record {
            id: about.id,
            tenant: about.function.tenant.clone(),
            function: about.function.name.clone(),
            version: about.unit.version.clone(),
            revision: about.unit.revision,
            instance: live.map(|l| l.id),
            trigger: about.trigger,
            started_ms: self.parts.clock.wall_ms().saturating_sub(u64::try_from(since_begin.as_millis()).unwrap_or(0)),
            steps,
            usage,
            status: name,
        });
        Outcome { usage, tail, spent: false }
    }
}

fn last_lines(about: &About, live: &Live, end: &End, usage: Usage, status: Status) -> Option<LogTail> {
    if let End::Timeout = end {
        let text = format!("Task timed out after {:.2} seconds", about.unit.settings.timeout.as_secs_f64());
        live.output.platform(Line::Platform { text: text.into() });
    }
    live.output.platform(Line::End);
    live.output.platform(Line::Report { usage, status });
    live.output.end()
}
