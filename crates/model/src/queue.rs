//! Asynchronous invocations: events that were accepted and are kept until something final was said about them.
//!
//! The words follow one event: it is *queued* when it is on stable storage, *taken* while an attempt runs, and *settled* by its
//! outcome: queued again for another attempt, or ended. An ended one is a success, a dead letter or cancelled; a dead letter is
//! kept with its body until it is driven again, purged or too old.

use crate::{Fault, Function, FunctionName, InvocationId, TenantId, Unit};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};

/// Events of one function wait in one lane, in the order in which they fall due.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Lane {
    pub tenant: TenantId,
    pub function: FunctionName,
}

/// An event as a dialect hands it over.
#[derive(Clone, Debug, Default)]
pub struct Accept {
    pub key: Option<Arc<str>>,
    pub delay: Duration,
    /// How old it may grow; without it as the function's owner decided.
    pub age: Option<Duration>,
    pub content_type: Option<Arc<str>>,
    pub attributes: Vec<(Arc<str>, Bytes)>,
    pub body: Bytes,
}

/// An event to be stored.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEvent {
    pub lane: Lane,
    /// As the caller named it; resolved when an attempt begins.
    pub qualifier: Option<Arc<str>>,
    /// Events with the same key run one after the other, in the order of their acceptance.
    pub key: Option<Arc<str>>,
    /// Not before this: milliseconds since the Unix epoch.
    pub due_ms: u64,
    /// No attempt begins after this.
    pub expires_ms: u64,
    /// How many invocations led to this one.
    pub hops: u32,
    pub content_type: Option<Arc<str>>,
    /// What the dialect hands to its contract, by [`crate::event::Attributes`]' names.
    pub attributes: Vec<(Arc<str>, Bytes)>,
    pub body: Bytes,
}

/// An accepted event, taken for an attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct Queued {
    /// Grows with every event of the platform.
    pub seq: u64,
    pub id: InvocationId,
    pub accepted_ms: u64,
    /// Attempts that were made and counted before this one.
    pub attempts: u32,
    pub event: NewEvent,
}

/// Events taken for attempts, and when the next one falls due that is not yet: milliseconds since the Unix epoch.
pub type Taken = (Vec<Queued>, Option<u64>);

/// Hears of lanes in which something changed.
pub type Tell = Box<dyn Fn(&Lane) + Send + Sync>;

/// What an attempt came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Settled {
    Succeeded,
    /// User code completed it, and its destination could not be told why.
    Untold {
        reason: Arc<str>,
    },
    /// Another attempt at `due_ms`. One that never reached user code isn't counted.
    Again {
        due_ms: u64,
        counted: bool,
        reason: Arc<str>,
    },
    Dead {
        why: Why,
        reason: Arc<str>,
    },
    /// As dead, and its owner's destination took it over: nothing is kept to be driven again.
    Failed {
        why: Why,
        reason: Arc<str>,
    },
    Cancelled,
}

/// Why an event became a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// Every attempt failed.
    Failed,
    /// It grew too old before one succeeded.
    Expired,
    /// Its function was deleted.
    Deleted,
    /// What is stored of it is not what was accepted.
    Damaged,
}

/// An event that has ended, for the word that is sent of it.
pub struct Finished<'a> {
    pub function: &'a Function,
    /// What ran last; none when nothing did.
    pub unit: Option<&'a Unit>,
    pub queued: &'a Queued,
    pub settled: &'a Settled,
    /// Why the last attempt has no answer of user code's.
    pub fault: Option<&'a Fault>,
    /// User code's own word that it failed.
    pub reported: bool,
    /// What user code said.
    pub answer: &'a [u8],
}

/// Where an event is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    Queued,
    Running,
    Succeeded,
    DeadLettered,
    /// It failed, and its destination has it.
    Failed,
    Cancelled,
}

/// What is known of an event, its body apart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventView {
    pub seq: u64,
    pub id: InvocationId,
    pub lane: Lane,
    pub qualifier: Option<Arc<str>>,
    pub key: Option<Arc<str>>,
    pub stage: Stage,
    /// Set on dead letters.
    pub why: Option<Why>,
    /// What the last attempt said, or why it waits.
    pub reason: Arc<str>,
    pub attempts: u32,
    pub accepted_ms: u64,
    pub due_ms: u64,
    pub expires_ms: u64,
    /// When it ended; 0 while it has not.
    pub ended_ms: u64,
    pub bytes: u64,
}

/// Which events to list: newest last, a page at a time.
#[derive(Clone, Debug)]
pub struct EventQuery {
    pub tenant: TenantId,
    pub function: Option<FunctionName>,
    pub stage: Option<Stage>,
    /// Where an earlier page ended.
    pub after: u64,
    pub limit: usize,
}

/// How one lane stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneView {
    pub queued: u64,
    pub dead: u64,
    pub taken: u64,
    /// Its owner stopped it.
    pub paused: bool,
}

/// What the owner of a function may do with all of its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    Pause,
    Resume,
    /// Cancel what waits.
    Purge,
    /// Remove the dead letters.
    PurgeDead,
    /// The function is deleted: what waits becomes dead letters.
    Deleted,
    /// Its tenant is removed: nothing is kept, not even what became of the events.
    Forget,
}
