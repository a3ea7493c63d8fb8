//! What the queue's log holds, and its encoding. A log is read by the build that wrote it and by newer ones: a field that is
//! added later goes to the end of its entry, a kind that is added gets a new number.

use crate::{
    seal::OVERHEAD,
    segments::code::{Reader, put_bytes, put_maybe, put_number, put_uuid},
};
use bytes::Bytes;
use model::{
    FunctionName, InvocationId, TenantId,
    queue::{Control, Lane, NewEvent, Settled, Why},
};
use std::sync::{Arc, Mutex, PoisonError};

/// Where an event's body is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kept {
    Here(Bytes),
    /// Here, and sealed.
    Sealed(Bytes),
    /// In a file of its own, named by the event's id. `crc` is of what the file holds, `bytes` of what was accepted.
    File {
        bytes: u64,
        crc: u32,
        sealed: bool,
    },
}

impl Kept {
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Kept::Here(body) => body.len() as u64,
            Kept::Sealed(body) => body.len().saturating_sub(OVERHEAD) as u64,
            Kept::File { bytes, .. } => *bytes,
        }
    }
}

/// An event as it is accepted. `event.body` is empty: the body is in `body`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Put {
    pub seq: u64,
    pub id: InvocationId,
    pub accepted_ms: u64,
    pub event: NewEvent,
    pub body: Kept,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Entry {
    Put(Put),
    Settle {
        seq: u64,
        at_ms: u64,
        settled: Settled,
        then: Vec<Put>,
    },
    /// Concerns the events of a lane up to a number.
    Control {
        lane: Lane,
        at_ms: u64,
        control: Control,
        up_to: u64,
    },
    /// Dead letters wait again: one, or all up to a number.
    Redrive {
        lane: Lane,
        at_ms: u64,
        expires_ms: u64,
        only: Option<u64>,
        up_to: u64,
    },
}

const PUT: u8 = 1;
const SETTLE: u8 = 2;
const CONTROL: u8 = 3;
const REDRIVE: u8 = 4;

impl Entry {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Entry::Put(put) => {
                out.push(PUT);
                put.encode(out);
            }
            Entry::Settle { seq, at_ms, settled, then } => {
                out.push(SETTLE);
                put_number(out, *seq);
                put_number(out, *at_ms);
                encode_settled(out, settled);
                put_number(out, then.len() as u64);
                then.iter().for_each(|put| put.encode(out));
            }
            Entry::Control { lane, at_ms, control, up_to } => {
                out.push(CONTROL);
                encode_lane(out, lane);
                put_number(out, *at_ms);
                out.push(CONTROLS.iter().position(|c| c == control).expect("every control is listed") as u8);
                put_number(out, *up_to);
            }
            Entry::Redrive { lane, at_ms, expires_ms, only, up_to } => {
                out.push(REDRIVE);
                encode_lane(out, lane);
                put_number(out, *at_ms);
                put_number(out, *expires_ms);
                put_maybe(out, *only);
                put_number(out, *up_to);
            }
        }
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Entry> {
        let r = &mut Reader(bytes);
        Some(match r.byte()? {
            PUT => Entry::Put(Put::decode(r)?),
            SETTLE => {
                let (seq, at_ms, settled, count) = (r.number()?, r.number()?, decode_settled(r)?, r.number()?);
                Entry::Settle { seq, at_ms, settled, then: (0..count).map(|_| Put::decode(r)).collect::<Option<_>>()? }
            }
            CONTROL => {
                let (lane, at_ms) = (decode_lane(r)?, r.number()?);
                let control = CONTROLS.get(usize::from(r.byte()?))?.clone();
                Entry::Control { lane, at_ms, control, up_to: r.number()? }
            }
            REDRIVE => Entry::Redrive {
                lane: decode_lane(r)?,
                at_ms: r.number()?,
                expires_ms: r.number()?,
                only: r.maybe()?,
                up_to: r.number()?,
            },
            _ => return None,
        })
    }
}

/// By number in the log.
const CONTROLS: &[Control] =
    &[Control::Pause, Control::Resume, Control::Purge, Control::PurgeDead, Control::Deleted, Control::Forget];
const WHYS: &[Why] = &[Why::Failed, Why::Expired, Why::Deleted, Why::Damaged];

pub(super) fn why_number(why: Why) -> u8 {
    WHYS.iter().position(|w| *w == why).expect("every reason is listed") as u8
}
pub(super) fn why_of(number: u8) -> Option<Why> {
    WHYS.get(usize::from(number)).copied()
}

impl Put {
    fn encode(&self, out: &mut Vec<u8>) {
        put_number(out, self.seq);
        put_uuid(out, &self.id.0);
        put_number(out, self.accepted_ms);
        encode_lane(out, &self.event.lane);
        put_number(out, self.event.due_ms);
        put_number(out, self.event.expires_ms);
        encode_head(out, &self.event);
        match &self.body {
            Kept::Here(body) => {
                out.push(0);
                put_bytes(out, body);
            }
            Kept::Sealed(body) => {
                out.push(2);
                put_bytes(out, body);
            }
            Kept::File { bytes, crc, sealed } => {
                out.push(if *sealed { 3 } else { 1 });
                put_number(out, *bytes);
                put_number(out, u64::from(*crc));
            }
        }
    }

    fn decode(r: &mut Reader<'_>) -> Option<Put> {
        let (seq, id, accepted_ms) = (r.number()?, InvocationId(r.uuid()?), r.number()?);
        let lane = decode_lane(r)?;
        let (due_ms, expires_ms) = (r.number()?, r.number()?);
        let mut event = decode_head(r, lane)?;
        (event.due_ms, event.expires_ms) = (due_ms, expires_ms);
        let body = match r.byte()? {
            0 => Kept::Here(r.copy()?),
            2 => Kept::Sealed(r.copy()?),
            kind @ (1 | 3) => Kept::File { bytes: r.number()?, crc: r.number()?.try_into().ok()?, sealed: kind == 3 },
            _ => return None,
        };
        Some(Put { seq, id, accepted_ms, event, body })
    }
}

/// All that an event says besides where it waits, how long, and its body.
pub(super) fn encode_head(out: &mut Vec<u8>, event: &NewEvent) {
    for text in [&event.qualifier, &event.key, &event.content_type] {
        put_bytes(out, text.as_deref().unwrap_or_default().as_bytes());
    }
    put_number(out, u64::from(event.hops));
    put_number(out, event.attributes.len() as u64);
    for (name, value) in &event.attributes {
        put_bytes(out, name.as_bytes());
        put_bytes(out, value);
    }
}

pub(super) fn decode_head(r: &mut Reader<'_>, lane: Lane) -> Option<NewEvent> {
    let mut text = || r.text().map(|t| (!t.is_empty()).then_some(t));
    let (qualifier, key, content_type) = (text()?, text()?, text()?);
    let (hops, count) = (r.number()?.try_into().ok()?, r.number()?);
    let attributes = (0..count).map(|_| Some((r.text()?, r.copy()?))).collect::<Option<_>>()?;
    Some(NewEvent { lane, qualifier, key, due_ms: 0, expires_ms: 0, hops, content_type, attributes, body: Bytes::new() })
}

fn encode_lane(out: &mut Vec<u8>, lane: &Lane) {
    put_bytes(out, lane.tenant.as_str().as_bytes());
    put_bytes(out, lane.function.as_str().as_bytes());
}

fn decode_lane(r: &mut Reader<'_>) -> Option<Lane> {
    Some(Lane { tenant: TenantId::new(r.str()?), function: FunctionName::new(r.str()?) })
}

fn encode_settled(out: &mut Vec<u8>, settled: &Settled) {
    match settled {
        Settled::Succeeded => out.push(0),
        Settled::Again { due_ms, counted, reason } => {
            out.push(1);
            put_number(out, *due_ms);
            out.push(u8::from(*counted));
            put_bytes(out, reason.as_bytes());
        }
        Settled::Dead { why, reason } => {
            out.push(2);
            out.push(why_number(*why));
            put_bytes(out, reason.as_bytes());
        }
        Settled::Cancelled => out.push(3),
        Settled::Failed { why, reason } => {
            out.push(4);
            out.push(why_number(*why));
            put_bytes(out, reason.as_bytes());
        }
        Settled::Untold { reason } => {
            out.push(5);
            put_bytes(out, reason.as_bytes());
        }
    }
}

fn decode_settled(r: &mut Reader<'_>) -> Option<Settled> {
    Some(match r.byte()? {
        0 => Settled::Succeeded,
        1 => Settled::Again { due_ms: r.number()?, counted: r.byte()? != 0, reason: r.text()? },
        2 => Settled::Dead { why: why_of(r.byte()?)?, reason: r.text()? },
        3 => Settled::Cancelled,
        4 => Settled::Failed { why: why_of(r.byte()?)?, reason: r.text()? },
        5 => Settled::Untold { reason: r.text()? },
        _ => return None,
    })
}

/// Bytes that nobody can guess, fetched from the kernel for many ids at once.
#[derive(Default)]
pub(super) struct Chance(Mutex<Vec<u8>>);

impl Chance {
    const IDS: usize = 256;

    pub(super) fn next(&self) -> [u8; 16] {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if held.is_empty() {
            *held = crate::random_bytes(16 * Self::IDS);
        }
        let at = held.len() - 16;
        let bytes = held[at..].try_into().expect("sixteen bytes");
        held.truncate(at);
        bytes
    }
}

/// An event's id: its number in the clear, so that it is found by it, and 74 bits that nobody can guess. A UUID of version 8
/// (RFC 9562, section 5.8).
pub(super) fn id_of(seq: u64, mut bytes: [u8; 16]) -> InvocationId {
    bytes[..6].copy_from_slice(&seq.to_be_bytes()[2..]);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    InvocationId(uuid::Uuid::from_bytes(bytes))
}

/// The number of the event that could have this id.
pub(super) fn seq_of(id: InvocationId) -> u64 {
    let mut bytes = [0; 8];
    bytes[2..].copy_from_slice(&id.0.as_bytes()[..6]);
    u64::from_be_bytes(bytes)
}

/// Cut so that an entry stays small.
pub(super) fn reason(text: &str) -> Arc<str> {
    const BYTES_MAX: usize = 1024;
    let cut = (0..=text.len().min(BYTES_MAX)).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    Arc::from(&text[..cut])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn put(seq: u64, body: Kept) -> Put {
        let event = NewEvent {
            lane: Lane { tenant: "t".into(), function: "f".into() },
            qualifier: Some("live".into()),
            key: seq.is_multiple_of(2).then(|| "k".into()),
            due_ms: 5,
            expires_ms: 6,
            hops: 2,
            content_type: None,
            attributes: vec![("trace".into(), Bytes::from_static(b"x"))],
            body: Bytes::new(),
        };
        Put { seq, id: id_of(seq, Chance::default().next()), accepted_ms: 4, event, body }
    }

    #[test]
    fn every_kind_of_entry_is_read_as_written_and_no_part_of_one_is_taken_for_it() {
        let lane = put(1, Kept::Here(Bytes::new())).event.lane;
        let mut all = vec![
            Entry::Put(put(1, Kept::Here(Bytes::from_static(b"{}")))),
            Entry::Put(put(2, Kept::File { bytes: 1 << 20, crc: 7, sealed: false })),
            Entry::Put(put(4, Kept::File { bytes: 1 << 20, crc: 7, sealed: true })),
            Entry::Put(put(5, Kept::Sealed(Bytes::from_static(b"longer than what a sealed text has more than its plain one")))),
            Entry::Settle { seq: 9, at_ms: 8, settled: Settled::Succeeded, then: vec![put(3, Kept::Here(Bytes::new()))] },
            Entry::Redrive { lane: lane.clone(), at_ms: 1, expires_ms: 2, only: Some(0), up_to: 3 },
        ];
        let again = Settled::Again { due_ms: 1, counted: true, reason: "r".into() };
        let dead = Settled::Dead { why: Why::Expired, reason: "r".into() };
        let failed = Settled::Failed { why: Why::Failed, reason: "r".into() };
        let untold = Settled::Untold { reason: "r".into() };
        for settled in [again, dead, failed, untold, Settled::Cancelled] {
            all.push(Entry::Settle { seq: 1, at_ms: 2, settled, then: vec![] });
        }
        all.extend(CONTROLS.iter().map(|c| Entry::Control { lane: lane.clone(), at_ms: 1, control: c.clone(), up_to: 2 }));
        for entry in all {
            let mut bytes = Vec::new();
            entry.encode(&mut bytes);
            assert_eq!(Entry::decode(&bytes).as_ref(), Some(&entry));
            assert!((0..bytes.len()).all(|cut| Entry::decode(&bytes[..cut]).as_ref() != Some(&entry)));
        }
    }

    proptest! {
        #[test]
        fn an_id_gives_its_number_back(seq in 0u64..1 << 48) {
            let id = id_of(seq, Chance::default().next());
            prop_assert_eq!(seq_of(id), seq);
            prop_assert_eq!(id.0.get_version_num(), 8);
            prop_assert!(id_of(seq, Chance::default().next()) != id);
        }
        #[test]
        fn garbage_is_no_panic(bytes: Vec<u8>) {
            let _ = Entry::decode(&bytes);
        }
    }
}
