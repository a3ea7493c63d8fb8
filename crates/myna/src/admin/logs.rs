//! Logs for the command line: what is stored, then what comes. A reader that follows subscribes before it reads the store, so
//! that nothing falls between; what arrives both ways is shown once.

use super::{Format, Query, invocation_id, known, reply, reply::LineSink, wire};
use model::{
    Cause, Fault, InvocationId, TenantId,
    log::{Line, LogLine, LogRecord, Stream},
    ports::{LogQuery, Platform, Response},
};
use std::sync::Arc;
use tokio::sync::broadcast::{Receiver, error::RecvError};

const PAGE: usize = 500;

struct Wanted {
    tenant: TenantId,
    groups: Vec<String>,
    from_ms: u64,
    id: Option<InvocationId>,
    follow: bool,
}

pub fn answer(platform: Arc<dyn Platform>, tenant: TenantId, format: Format, query: &Query) -> Result<Response, Fault> {
    let wanted = Wanted::of(&*platform, tenant, query)?;
    // Before the store is read, so that nothing falls between.
    let live = wanted.follow.then(|| platform.logs().follow(&wanted.tenant, &wanted.groups)).transpose()?;
    Ok(reply::lines(move |sink| async move {
        let stored = platform.logs();
        let mut recent = Recent { began_ms: platform.clock().wall_ms(), lines: Vec::new() };
        for group in &wanted.groups {
            let sent = send_stored(stored, group, &wanted, format, &sink, &mut recent).await;
            // A function that has not logged yet has no group.
            if let Err(fault) = sent.or_else(|f| if f.cause == Cause::NotFound { Ok(()) } else { Err(f) }) {
                // The head has been sent: the fault is a line like the others.
                let text = format!("the log {group} can't be read: {fault}");
                sink.send(&wire::LogLine { at_ms: recent.began_ms, text, level: Some("ERROR".into()), ..Default::default() })
                    .await;
            }
        }
        if let Some(live) = live {
            send_live(live, &wanted, format, &sink, recent).await;
        }
    }))
}

impl Wanted {
    fn of(platform: &dyn Platform, tenant: TenantId, query: &Query) -> Result<Self, Fault> {
        let id = query.get("id").map(invocation_id).transpose()?;
        let name = match (query.get("function"), &id) {
            (Some(name), _) => name.to_string(),
            (None, Some(id)) => {
                let record = platform.records().find(&tenant, id);
                let record = record.ok_or_else(|| {
                    Fault::not_found(format!("no finished invocation {id} is on record")).hint("name its function too")
                })?;
                record.function.to_string()
            }
            (None, None) => return Err(Fault::invalid("a function or an id must be given")),
        };
        let groups = groups(platform, &tenant, &name)?;
        Ok(Self { tenant, groups, from_ms: query.number("since_ms")?.unwrap_or(0), id, follow: query.flag("follow") })
    }

    fn fits(&self, record: &LogRecord) -> bool {
        record.at_ms >= self.from_ms && self.id.is_none_or(|id| record.id == Some(id))
    }
}

/// A function writes to the group that its settings name; its versions may name different ones. A deleted function's log is
/// found under the name that it had by default.
fn groups(platform: &dyn Platform, tenant: &TenantId, name: &str) -> Result<Vec<String>, Fault> {
    match known(platform, tenant, name) {
        Ok(function) => {
            let mut groups: Vec<String> = function.versions.values().map(|u| u.settings.log.group.to_string()).collect();
            groups.sort_unstable();
            groups.dedup();
            Ok(groups)
        }
        Err(absent) => {
            let group = format!("/aws/lambda/{name}");
            let kept = platform.logs().groups(tenant, &group, "", 1).iter().any(|g| *g.name == *group);
            if kept { Ok(vec![group]) } else { Err(absent) }
        }
    }
}

async fn send_stored(
    stored: &dyn model::ports::Logs,
    group: &str,
    wanted: &Wanted,
    format: Format,
    sink: &LineSink,
    recent: &mut Recent,
) -> Result<(), Fault> {
    let mut after = None;
    loop {
        let query = LogQuery {
            tenant: wanted.tenant.clone(),
            group: group.to_string(),
            streams: Vec::new(),
            from_ms: wanted.from_ms,
            until_ms: u64::MAX,
            id: wanted.id,
            after,
            limit: PAGE,
            backwards: false,
        };
        let page = stored.read(query).await?;
        for (_, stream, record) in &page.records {
            if let Some(line) = line(stream, record, format)
                && !sink.send(&line).await
            {
                return Ok(());
            }
            if wanted.follow {
                recent.note(stream, record);
            }
        }
        match page.next {
            Some(next) if after != Some(next) => after = Some(next),
            _ => return Ok(()),
        }
    }
}

async fn send_live(mut live: Receiver<LogLine>, wanted: &Wanted, format: Format, sink: &LineSink, mut recent: Recent) {
    loop {
        let received = tokio::select! {
            received = live.recv() => received,
            () = sink.closed() => return,
        };
        let sent = match received {
            Ok(LogLine { stream, record }) => {
                let shown =
                    wanted.groups.iter().any(|g| **g == *stream.group) && wanted.fits(&record) && !recent.seen(&stream, &record);
                match line(&stream, &record, format).filter(|_| shown) {
                    Some(line) => sink.send(&line).await,
                    None => true,
                }
            }
            Err(RecvError::Lagged(lost)) => sink.send(&wire::LogLine { lost, ..Default::default() }).await,
            Err(RecvError::Closed) => return,
        };
        if !sent {
            return;
        }
    }
}

/// The newest stored lines, to know them when they arrive a second time.
struct Recent {
    began_ms: u64,
    lines: Vec<(Arc<str>, LogRecord)>,
}

impl Recent {
    /// A live line can only repeat a stored one that was written about when reading began.
    const WINDOW_MS: u64 = 10_000;

    fn note(&mut self, stream: &Stream, record: &LogRecord) {
        if record.at_ms + Self::WINDOW_MS >= self.began_ms {
            self.lines.push((Arc::clone(&stream.name), record.clone()));
        }
    }
    fn seen(&mut self, stream: &Stream, record: &LogRecord) -> bool {
        if record.at_ms > self.began_ms + Self::WINDOW_MS {
            self.lines.clear();
        }
        let at = self.lines.iter().position(|(name, r)| *name == stream.name && r == record);
        at.map(|at| self.lines.swap_remove(at)).is_some()
    }
}

fn line(stream: &Stream, record: &LogRecord, format: Format) -> Option<wire::LogLine> {
    let level = match &record.line {
        Line::Text { level, .. } => level.as_ref().map(ToString::to_string),
        _ => None,
    };
    Some(wire::LogLine {
        at_ms: record.at_ms,
        id: record.id.map(|id| id.to_string()),
        stream: stream.name.to_string(),
        code: stream.code.to_string(),
        text: format(stream, record)?,
        level,
        lost: 0,
    })
}
