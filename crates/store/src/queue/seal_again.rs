//! Bodies that lie there plain, or sealed by an older key, are sealed again before anything is taken. A process that is killed on the
//! way finds the rest at its next start: each file is renamed into place, each step of the index is one transaction.

use super::{
    bodies::Bodies,
    disk::Disk,
    index::{self, Held, Index, Renewed},
    label,
    questions::Body,
    seal_body,
};
use crate::{Error, directory, seal::Seal, segments};
use std::{io, path::Path};

/// Events looked at in one step; a body in the index has 64 KiB at most.
const STEP: usize = 256;

pub(super) fn all(
    seal: &Seal,
    index: &mut Index,
    bodies: &Bodies,
    folder: &Path,
    damaged: &mut Vec<String>,
) -> Result<(), Error> {
    let failed = |e| Error::damaged(folder.join("events.db"), e, "free some space, or restore it from a backup");
    let mut after = 0;
    loop {
        let held = index.held(after, STEP).map_err(failed)?;
        let Some(last) = held.last() else { break };
        after = last.seq;
        let mut renewed = Vec::new();
        for event in held {
            match again(seal, bodies, &event)? {
                Found::Fresh => {}
                Found::Renewed(one) => renewed.push(one),
                Found::Damaged(why) => damaged.push(format!("the body of the queued event {}: {why}", event.id)),
            }
        }
        if !renewed.is_empty() {
            index.renew(&renewed).map_err(failed)?;
            index.checkpoint().map_err(failed)?;
        }
    }
    index.compact().and_then(|()| index.checkpoint()).map_err(failed)?;
    Ok(())
}

enum Found {
    Fresh,
    Renewed(Renewed),
    Damaged(String),
}

fn again(seal: &Seal, bodies: &Bodies, event: &Held) -> Result<Found, Error> {
    let Held { seq, id, tenant, body } = event;
    let name = id.to_string();
    let stored = match &body.here {
        Some(bytes) => bytes.clone(),
        None => match bodies.read(*id, body.bytes) {
            Ok(bytes) => bytes,
            Err(e) => return Ok(Found::Damaged(e.to_string())),
        },
    };
    let Body { crc, sealed, .. } = *body;
    if index::checksum(*id, &stored) != crc {
        // The file was renamed into place, and the process was killed before the index knew.
        return Ok(match seal.open_sealed(label(tenant, &name), &stored) {
            Ok(_) if body.here.is_none() => Found::Renewed(Renewed { seq: *seq, body: None, crc: index::checksum(*id, &stored) }),
            _ => Found::Damaged("it is not what was accepted".into()),
        });
    }
    let plain = match sealed {
        true if !seal.stale(tenant.as_str(), &stored) => return Ok(Found::Fresh),
        true => match seal.open_sealed(label(tenant, &name), &stored) {
            Ok(plain) => plain,
            Err(why) => return Ok(Found::Damaged(why.to_string())),
        },
        false => stored.to_vec(),
    };
    let fresh = seal_body(seal, tenant, *id, &plain)?;
    let crc = index::checksum(*id, &fresh);
    if body.here.is_some() {
        return Ok(Found::Renewed(Renewed { seq: *seq, body: Some(fresh), crc }));
    }
    directory::write_whole(&bodies.path(*id), &fresh)?;
    Ok(Found::Renewed(Renewed { seq: *seq, body: None, crc }))
}

/// Remove the log's segments before a number: the index has all that they say, and is on stable storage.
pub(super) fn forget_log(folder: &Path, disk: &dyn Disk, before: u32) -> Result<(), Error> {
    let all = segments::Folder::open(folder.to_owned()).map_err(Error::io("list", folder))?;
    for number in all.segments.keys().copied().filter(|n| *n < before) {
        let path = segments::path(folder, number);
        match disk.remove(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(Error::io("remove", &path)(e)),
            _ => {}
        }
    }
    Ok(())
}
