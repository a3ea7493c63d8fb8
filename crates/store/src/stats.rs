//! What is kept, how long, and what of it was lost: for `myna status`, and for the cleaning that runs now and then.

use crate::{Collected, Error, Options, Store, directory};
use base64::{Engine, prelude::BASE64_STANDARD};
use model::TenantId;
use serde::Serialize;
use std::{collections::HashSet, sync::Arc};

/// The state directory in numbers.
#[derive(Clone, Debug, Serialize)]
pub struct StoreStats {
    pub rows: usize,
    /// Of the database with its write-ahead log.
    pub rows_bytes: u64,
    pub packages: usize,
    pub packages_bytes: u64,
    pub log_groups: usize,
    pub logs_bytes: u64,
    /// Since the start: dropped on the way, or refused by the disk.
    pub log_lines_lost: u64,
    pub records_bytes: u64,
    pub records_lost: u64,
    pub audit_bytes: u64,
    /// What was found broken, each named.
    pub damaged: Vec<String>,
    pub retention: Options,
}

/// What a cleaning gave back.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Maintained {
    pub packages: Collected,
    pub logs_and_records_bytes: u64,
    pub audit_bytes: u64,
}

impl Store {
    pub fn stats(&self) -> StoreStats {
        let file = |name: &str| std::fs::metadata(self.directory.path().join(name)).map_or(0, |m| m.len());
        let (sizes, (packages_bytes, packages)) = (self.ledger.sizes(), self.packages.bytes());
        StoreStats {
            rows: self.rows.len(),
            rows_bytes: file("rows.db") + file("rows.db-wal"),
            packages,
            packages_bytes,
            log_groups: sizes.log_groups,
            logs_bytes: sizes.logs_bytes,
            log_lines_lost: sizes.lines_lost,
            records_bytes: sizes.records_bytes,
            records_lost: sizes.records_lost,
            audit_bytes: self.audit.view().bytes,
            damaged: self.damaged(),
            retention: self.options.clone(),
        }
    }

    /// Drop what is past its retention: logs, records, usage, and packages that neither a row nor `in_use` (what runs) names.
    /// To be called every minute or so, off the request path; it may read a lot. `goes_on` is told between two pieces of it.
    pub fn maintain(&self, in_use: &HashSet<(TenantId, Arc<str>)>, goes_on: &dyn Fn()) -> Result<Maintained, Error> {
        let mut live = self.referenced();
        live.extend(in_use.iter().cloned());
        // A row that can't be read names packages, too; so does one that a repair took out.
        let known = self.damaged.is_empty() && !directory::shelf_holds(self.directory.path());
        let packages = if known { self.packages.collect(&live, goes_on)? } else { Collected::default() };
        goes_on();
        let audit_bytes = self.audit.retain()?;
        goes_on();
        Ok(Maintained { packages, logs_and_records_bytes: self.ledger.retain()?, audit_bytes })
    }

    /// Every SHA-256 that stands in any row of a tenant, in hexadecimal or in base64. A package is only ever removed when its
    /// digest stands in no row at all: no dialect can forget to name what its versions need.
    pub fn referenced(&self) -> HashSet<(TenantId, Arc<str>)> {
        let mut found = HashSet::new();
        self.rows.each(|row| {
            digests(&row.body, |digest| {
                found.insert((row.key.tenant.clone(), digest));
            });
        });
        found
    }
}

fn digests(body: &[u8], mut found: impl FnMut(Arc<str>)) {
    // A slash may be escaped in JSON; in between, any other character ends a word.
    let word = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=' | b'\\');
    for word in body.split(|b| !word(b)).filter(|w| w.len() >= 43) {
        for part in word.split(|b| matches!(b, b'/' | b'\\' | b'=' | b'+')).filter(|part| part.len() == 64) {
            if part.iter().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(b)) {
                found(Arc::from(String::from_utf8_lossy(part).as_ref()));
            }
        }
        let plain: Vec<u8> = word.iter().copied().filter(|b| *b != b'\\').collect();
        if plain.len() == 44
            && let Ok(bytes) = BASE64_STANDARD.decode(&plain)
        {
            found(Arc::from(crate::hex(&bytes)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_found_however_a_row_writes_it() {
        let bytes: Vec<u8> = (0..32).map(|n| n * 8 + 7).collect();
        let hex = crate::hex(&bytes);
        let base64 = BASE64_STANDARD.encode(&bytes);
        let escaped = base64.replace('/', "\\/");
        let rows = [
            format!("{{\"digest\":\"{hex}\"}}"),
            format!("{{\"path\":\"/a/packages/1/{hex}/code\"}}"),
            format!("{{\"CodeSha256\":\"{base64}\"}}"),
            format!("{{\"CodeSha256\":\"{escaped}\"}}"),
            hex.clone(),
        ];
        for row in rows {
            let mut found = Vec::new();
            digests(row.as_bytes(), |d| found.push(d.to_string()));
            assert_eq!(found, std::slice::from_ref(&hex), "{row}");
        }
    }
}
