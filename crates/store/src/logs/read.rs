//! Reading a group's segments: a page of records that match, forwards or backwards.

use super::encode::{self, Entry};
use crate::segments::{self, Found, parts, position, scan};
use model::{
    Fault,
    log::{Line, LogRecord, Stream},
    ports::{LogPage, LogQuery},
};
use std::{collections::HashMap, io, path::PathBuf, sync::Arc};

/// Bytes of text in one page, whatever number of records was asked for.
const PAGE_BYTES_MAX: usize = 8 << 20;

/// A segment as it was when the query began: its number, its file, its valid length.
pub(super) struct Source {
    pub(super) number: u32,
    pub(super) file: PathBuf,
    pub(super) length: u64,
}

type Hit = (u64, Arc<Stream>, LogRecord);

pub(super) fn page(mut sources: Vec<Source>, query: &LogQuery) -> Result<LogPage, Fault> {
    if query.backwards {
        sources.reverse();
    }
    let mut names = HashMap::new();
    let mut page = Page { hits: Vec::new(), bytes: 0, limit: query.limit };
    for source in sources {
        if skipped(&source, query) {
            continue;
        }
        let mut hits = match segments::read(&source.file) {
            Ok(bytes) => segment(&bytes[..bytes.len().min(source.length as usize)], source.number, query, &mut names),
            // Retention took it since.
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(Fault::internal(format!("can't read {}: {e}", source.file.display()))),
        };
        if query.backwards {
            hits.reverse();
        }
        for hit in hits {
            if !page.take(hit) {
                let next = page.hits.last().map(|last| last.0);
                return Ok(LogPage { records: page.hits, next });
            }
        }
    }
    Ok(LogPage { records: page.hits, next: None })
}

struct Page {
    hits: Vec<Hit>,
    bytes: usize,
    limit: usize,
}

impl Page {
    /// False when there was no room for it.
    fn take(&mut self, hit: Hit) -> bool {
        if let Line::Text { text, .. } = &hit.2.line {
            self.bytes += text.len();
        }
        if self.hits.len() >= self.limit || self.bytes > PAGE_BYTES_MAX && !self.hits.is_empty() {
            return false;
        }
        self.hits.push(hit);
        true
    }
}

fn skipped(source: &Source, query: &LogQuery) -> bool {
    let Some((number, _)) = query.after.map(parts) else { return false };
    if query.backwards { source.number > number } else { source.number < number }
}

/// What matches in one segment, in order.
fn segment(bytes: &[u8], number: u32, query: &LogQuery, names: &mut HashMap<Arc<str>, Arc<Stream>>) -> Vec<Hit> {
    let mut streams: Vec<Option<Arc<Stream>>> = Vec::new();
    let mut hits = Vec::new();
    for found in scan(bytes) {
        let (offset, bytes) = match found {
            Found::Record { offset, bytes } => (offset, bytes),
            Found::Damage { offset, length } => {
                tracing::warn!(segment = number, offset, length, group = %query.group, "a damaged part of a log is skipped");
                continue;
            }
            Found::Torn { .. } => break,
        };
        match encode::read(bytes) {
            Some(Entry::Stream(stream)) => {
                let wanted = query.streams.is_empty() || query.streams.iter().any(|name| **name == *stream.name);
                streams.push(wanted.then(|| names.entry(stream.name.clone()).or_insert_with(|| Arc::new(stream)).clone()));
            }
            Some(Entry::Line(line)) => {
                let at = position(number, offset);
                let Some(Some(stream)) = streams.get(line.stream) else { continue };
                let beyond = query.after.is_none_or(|after| if query.backwards { at < after } else { at > after });
                let window = (query.from_ms..query.until_ms).contains(&line.at_ms);
                if beyond && window && (query.id.is_none() || line.id == query.id) {
                    hits.extend(line.decode().map(|record| (at, stream.clone(), record)));
                }
            }
            Some(Entry::Group(_)) | None => {}
        }
    }
    hits
}
