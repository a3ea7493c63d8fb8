//! A record of an invocation as bytes in a segment.

use crate::{
    logs::{put_usage, take_usage},
    segments::code::{Reader, put_bytes, put_number, put_uuid},
};
use model::{
    FunctionName, InstanceId, InvocationId, RevisionId, TenantId,
    event::{Record, Steps, Trigger},
};
use uuid::Uuid;

const RECORD: u8 = 1;
/// What a record takes, with names of a usual length.
pub(super) const RECORD_BYTES: usize = 256;

pub(super) fn write(out: &mut Vec<u8>, record: &Record) {
    out.push(RECORD);
    put_uuid(out, &record.id.0);
    for text in [record.tenant.as_str(), record.function.as_str(), &record.version, &record.status] {
        put_bytes(out, text.as_bytes());
    }
    put_uuid(out, &record.revision.0);
    // Nil for none: a random id never is.
    put_uuid(out, &record.instance.map_or(Uuid::nil(), |i| i.0));
    out.push(match record.trigger {
        Trigger::Invoke => 0,
        Trigger::Url => 1,
    });
    put_number(out, record.started_ms);
    let Steps { queued_us, sandbox_us, init_us, first_byte_us, run_us } = record.steps;
    for step in [queued_us, sandbox_us, init_us, first_byte_us, run_us] {
        put_number(out, step);
    }
    put_usage(out, &record.usage);
}

/// The id alone, for looking for one.
pub(super) fn id(bytes: &[u8]) -> Option<InvocationId> {
    let mut from = Reader(bytes);
    (from.byte()? == RECORD).then(|| from.uuid()).flatten().map(InvocationId)
}

pub(super) fn read(bytes: &[u8]) -> Option<Record> {
    let id = id(bytes)?;
    let mut from = Reader(&bytes[17..]);
    let (tenant, function, version, status) = (from.text()?, from.text()?, from.text()?, from.text()?);
    Some(Record {
        id,
        tenant: TenantId(tenant),
        function: FunctionName(function),
        version,
        status,
        revision: RevisionId(from.uuid()?),
        instance: Some(from.uuid()?).filter(|id| !id.is_nil()).map(InstanceId),
        trigger: match from.byte()? {
            0 => Trigger::Invoke,
            1 => Trigger::Url,
            _ => return None,
        },
        started_ms: from.number()?,
        steps: Steps {
            queued_us: from.number()?,
            sandbox_us: from.number()?,
            init_us: from.number()?,
            first_byte_us: from.number()?,
            run_us: from.number()?,
        },
        usage: take_usage(&mut from)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::record;

    #[test]
    fn a_call_that_ran_nowhere_is_read_back_so() {
        let mut one = record("f", 1);
        assert!(one.instance.is_some());
        for instance in [one.instance, None] {
            one.instance = instance;
            let mut bytes = Vec::new();
            write(&mut bytes, &one);
            assert_eq!(read(&bytes).unwrap().instance, instance);
        }
    }
}
