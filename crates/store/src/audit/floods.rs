//! Refusals by where they come from: the first few of a source have an entry each, the rest of a minute become one with their
//! number. So a flood of them fills neither the disk nor the log.

use crate::options::AuditLimits;
use model::{Mono, audit::Entry};
use std::collections::HashMap;

/// Stands for all sources past [`AuditLimits::sources_max`].
const OTHERS: &str = "others";

#[derive(Debug)]
pub(super) struct Floods {
    limits: AuditLimits,
    sources: HashMap<String, Source>,
    /// Entries of this window, of all sources.
    written: u64,
    began: Mono,
}

#[derive(Debug, Default)]
struct Source {
    written: u64,
    more: Option<Entry>,
}

impl Floods {
    pub(super) fn new(limits: &AuditLimits) -> Self {
        Self { limits: limits.clone(), sources: HashMap::new(), written: 0, began: Mono::default() }
    }

    /// Whether something is counted that has no entry yet.
    pub(super) fn pending(&self) -> bool {
        self.sources.values().any(|s| s.more.is_some())
    }

    /// One refusal: what to write now because of it.
    pub(super) fn denied(&mut self, entry: Entry, now: Mono) -> Vec<Entry> {
        let mut out = self.ended(now);
        if self.sources.is_empty() {
            self.began = now;
        }
        let room = self.sources.len() < self.limits.sources_max || self.sources.contains_key(&entry.source);
        let name = if room { entry.source.as_str() } else { OTHERS };
        let source = match self.sources.get_mut(name) {
            Some(source) => source,
            None => self.sources.entry(name.to_owned()).or_default(),
        };
        if source.written < self.limits.denials_per_source && self.written < self.limits.denials_max {
            source.written += 1;
            self.written += 1;
            out.push(entry);
            return out;
        }
        match &mut source.more {
            Some(more) => more.count += 1,
            None => source.more = Some(Entry { source: name.to_owned(), count: 1, ..entry }),
        }
        out
    }

    /// What a window that is over still has to say.
    pub(super) fn ended(&mut self, now: Mono) -> Vec<Entry> {
        if self.sources.is_empty() || now.since(self.began) < self.limits.window { Vec::new() } else { self.all() }
    }

    /// End the window.
    pub(super) fn all(&mut self) -> Vec<Entry> {
        self.written = 0;
        let mut more: Vec<Entry> = self.sources.drain().filter_map(|(_, s)| s.more).collect();
        // As many sources as there may be must not have an entry each in every window.
        if more.len() as u64 > self.limits.denials_max {
            more.sort_by_key(|e| std::cmp::Reverse(e.count));
            let rest = more.split_off(self.limits.denials_max as usize - 1);
            let count = rest.iter().map(|e| e.count).sum();
            let last = rest.into_iter().next().expect("more were there than may stay");
            more.push(Entry { source: OTHERS.to_owned(), count, ..last });
        }
        for entry in &mut more {
            entry.outcome = format!("{} ({} more of the same source)", entry.outcome, entry.count);
        }
        more
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn limits() -> AuditLimits {
        AuditLimits { denials_per_source: 2, denials_max: 5, sources_max: 3, ..AuditLimits::default() }
    }
    fn from(source: &str) -> Entry {
        Entry { source: source.into(), outcome: "denied: X".into(), count: 1, ..Entry::default() }
    }
    const NOW: Mono = Mono(1 << 40);

    #[test]
    fn the_first_few_have_entries_and_the_rest_is_counted() {
        let mut floods = Floods::new(&limits());
        let written: usize = (0..1000).map(|_| floods.denied(from("a"), NOW).len()).sum();
        assert_eq!(written, 2);
        assert_eq!(floods.denied(from("b"), NOW).len(), 1, "another source has its own");
        assert!(floods.ended(NOW + Duration::from_secs(59)).is_empty());
        let more = floods.ended(NOW + Duration::from_secs(60));
        assert_eq!(more.iter().map(|e| (e.source.as_str(), e.count)).collect::<Vec<_>>(), [("a", 998)]);
        assert!(more[0].outcome.contains("998 more"), "{}", more[0].outcome);
        assert!(!floods.pending());
        assert_eq!(floods.denied(from("a"), NOW + Duration::from_secs(61)).len(), 1, "a new window");
    }

    #[test]
    fn any_number_of_sources_is_bounded_too_and_none_is_lost() {
        let mut floods = Floods::new(&limits());
        let mut entries = Vec::new();
        for n in 0..10_000 {
            entries.extend(floods.denied(from(&format!("s{n}")), NOW));
        }
        assert!(floods.sources.len() <= 4 && entries.len() <= 5, "{} {}", floods.sources.len(), entries.len());
        entries.extend(floods.all());
        assert!(entries.len() <= 10);
        assert_eq!(entries.iter().map(|e| e.count).sum::<u64>(), 10_000);
    }
}
