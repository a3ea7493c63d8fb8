//! A log record as bytes in a segment. Each segment explains itself: it begins with its group, and names each stream before
//! the stream's first line.

use crate::segments::code::{Reader, put_bytes, put_maybe, put_number, put_uuid};
use model::{
    FunctionName, InstanceId, InvocationId, TenantId,
    event::Usage,
    limits::LOG_LINE_BYTES_MAX,
    log::{Line, LogRecord, Status, Stream},
};
use std::{sync::Arc, time::Duration};

const GROUP: u8 = 0;
const STREAM: u8 = 1;
const LINE: u8 = 2;
/// What a line says: that its stream was made.
const OPENED: u8 = 6;

/// What a record of a log segment is.
pub(super) enum Entry<'a> {
    Group(Group),
    /// The next stream of this segment, numbered from zero.
    Stream(Stream),
    Line(EncodedLine<'a>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) tenant: TenantId,
    pub(super) name: Arc<str>,
    pub(super) created_ms: u64,
}

/// A line of which only what queries look at was read.
pub(super) struct EncodedLine<'a> {
    pub(super) stream: usize,
    pub(super) at_ms: u64,
    pub(super) id: Option<InvocationId>,
    rest: Reader<'a>,
}

pub(super) fn group(out: &mut Vec<u8>, group: &Group) {
    out.push(GROUP);
    put_bytes(out, group.tenant.as_str().as_bytes());
    put_bytes(out, group.name.as_bytes());
    put_number(out, group.created_ms);
}

pub(super) fn stream(out: &mut Vec<u8>, stream: &Stream) {
    out.push(STREAM);
    for text in [stream.tenant.as_str(), stream.function.as_str(), &stream.group, &stream.name, &stream.version] {
        put_bytes(out, text.as_bytes());
    }
    put_uuid(out, &stream.instance.0);
    out.push(u8::from(stream.json));
    put_bytes(out, stream.code.as_bytes());
}

pub(super) fn line(out: &mut Vec<u8>, stream: u32, record: &LogRecord) {
    out.push(LINE);
    put_number(out, stream.into());
    put_number(out, record.at_ms);
    match &record.id {
        Some(id) => {
            out.push(1);
            put_uuid(out, &id.0);
        }
        None => out.push(0),
    }
    what(out, &record.line);
}

fn what(out: &mut Vec<u8>, line: &Line) {
    match line {
        Line::Text { text, level } => {
            out.push(0);
            put_bytes(out, &text[..text.len().min(LOG_LINE_BYTES_MAX)]);
            put_maybe_text(out, level.as_deref());
        }
        Line::InitStart { runtime, runtime_name } => {
            out.push(1);
            put_bytes(out, runtime.as_bytes());
            put_bytes(out, runtime_name.as_bytes());
        }
        Line::Start { version } => {
            out.push(2);
            put_bytes(out, version.as_bytes());
        }
        Line::End => out.push(3),
        Line::Report { usage, status } => {
            out.push(4);
            put_usage(out, usage);
            match status {
                Status::Success => out.push(0),
                Status::Timeout => out.push(1),
                Status::Error(kind) => {
                    out.push(2);
                    put_bytes(out, kind.as_bytes());
                }
            }
        }
        Line::Opened => out.push(OPENED),
        Line::Platform { text } => {
            out.push(5);
            let end = (0..=LOG_LINE_BYTES_MAX.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            put_bytes(out, &text.as_bytes()[..end]);
        }
    }
}

fn put_maybe_text(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => {
            out.push(1);
            put_bytes(out, text.as_bytes());
        }
        None => out.push(0),
    }
}

pub(crate) fn put_usage(out: &mut Vec<u8>, usage: &Usage) {
    put_number(out, nanos(usage.duration));
    put_maybe(out, usage.init.map(nanos));
    put_number(out, usage.memory_mib.into());
    put_number(out, usage.memory_max_bytes);
}

pub(crate) fn take_usage(from: &mut Reader<'_>) -> Option<Usage> {
    Some(Usage {
        duration: Duration::from_nanos(from.number()?),
        init: from.maybe()?.map(Duration::from_nanos),
        memory_mib: u32::try_from(from.number()?).ok()?,
        memory_max_bytes: from.number()?,
    })
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// `None` for what this version doesn't know.
pub(super) fn read(bytes: &[u8]) -> Option<Entry<'_>> {
    let mut from = Reader(bytes);
    match from.byte()? {
        GROUP => Some(Entry::Group(Group { tenant: TenantId(from.text()?), name: from.text()?, created_ms: from.number()? })),
        STREAM => Some(Entry::Stream(Stream {
            tenant: TenantId(from.text()?),
            function: FunctionName(from.text()?),
            group: from.text()?,
            name: from.text()?,
            version: from.text()?,
            instance: InstanceId(from.uuid()?),
            json: from.byte()? != 0,
            // Segments of earlier builds end here.
            code: from.text().unwrap_or_default(),
        })),
        LINE => {
            let (stream, at_ms) = (usize::try_from(from.number()?).ok()?, from.number()?);
            let id = match from.byte()? {
                0 => None,
                _ => Some(InvocationId(from.uuid()?)),
            };
            Some(Entry::Line(EncodedLine { stream, at_ms, id, rest: from }))
        }
        _ => None,
    }
}

impl EncodedLine<'_> {
    /// Whether it only says that its stream was made.
    pub(super) fn opened(&self) -> bool {
        self.rest.0.first() == Some(&OPENED)
    }

    pub(super) fn decode(mut self) -> Option<LogRecord> {
        let from = &mut self.rest;
        let line = match from.byte()? {
            0 => Line::Text { text: from.copy()?, level: take_maybe_text(from)? },
            1 => Line::InitStart { runtime: from.text()?, runtime_name: from.text()? },
            2 => Line::Start { version: from.text()? },
            3 => Line::End,
            4 => Line::Report { usage: take_usage(from)?, status: take_status(from)? },
            5 => Line::Platform { text: from.text()? },
            OPENED => Line::Opened,
            _ => return None,
        };
        Some(LogRecord { at_ms: self.at_ms, id: self.id, line })
    }
}

fn take_maybe_text(from: &mut Reader<'_>) -> Option<Option<Arc<str>>> {
    match from.byte()? {
        0 => Some(None),
        _ => from.text().map(Some),
    }
}

fn take_status(from: &mut Reader<'_>) -> Option<Status> {
    match from.byte()? {
        0 => Some(Status::Success),
        1 => Some(Status::Timeout),
        2 => from.text().map(Status::Error),
        _ => None,
    }
}
