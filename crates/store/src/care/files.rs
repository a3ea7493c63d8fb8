//! Files that are only ever added to: logs, records, the audit log.

use super::examine::{Flaw, Place, Report};
use crate::{
    audit, directory,
    segments::{self, Folder},
};
use std::path::Path;

/// Segments of functions' logs and of the records of calls. The last of a folder may be half written just now.
pub(super) fn segments_of(dir: &Path, report: &mut Report) {
    let groups = directory::two_levels(&dir.join("logs")).unwrap_or_default();
    for folder in groups.into_iter().map(|(_, _, path)| path).chain([dir.join("records")]) {
        let Ok(folder) = Folder::open(folder) else { continue };
        for number in folder.segments.keys() {
            let path = folder.file(*number);
            let what = path.strip_prefix(dir).unwrap_or(&path).display().to_string();
            match segments::read(&path) {
                Ok(bytes) => {
                    let whole = segments::is_segment(&bytes);
                    for detail in segments::flaws(&bytes) {
                        // Of one that is damaged in parts the rest is still read.
                        let place = (!whole).then(|| Place::File(path.clone()));
                        report.found(Flaw { kind: "log", what: what.clone(), detail, place });
                    }
                }
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => report.flaw("log", what, format!("it can't be read: {error}")),
            }
        }
    }
}

pub(super) fn audit(dir: &Path, report: &mut Report) {
    match audit::examine(&dir.join("audit")) {
        Ok(findings) => findings.into_iter().for_each(|finding| report.flaw("audit", "the audit log", finding)),
        Err(error) => report.flaw("audit", "the audit log", format!("it can't be read: {error}")),
    }
}
