//! Server-sent events (HTML standard, "Server-sent events"): what runs, once a second and whenever a call ends; and a log's tail.

use crate::Format;
use bytes::Bytes;
use futures_core::Stream;
use http::{HeaderValue, header};
use model::{
    Cancel, Frame, ReplyBody,
    event::Record,
    ports::{LogQuery, Observed, Platform, Response, UsageHour},
};
use serde::Serialize;
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::sync::{broadcast::error::RecvError, mpsc};

/// What the page shows of the platform.
#[derive(Serialize)]
struct Snapshot {
    region: Arc<str>,
    account: String,
    endpoint: Arc<str>,
    functions: Vec<FunctionRow>,
    observed: Observed,
}

#[derive(Serialize)]
struct FunctionRow {
    name: String,
    runtime: Arc<str>,
    handler: Arc<str>,
    memory_mib: u32,
    timeout_ms: u128,
    versions: usize,
    urls: Vec<String>,
    usage: UsageHour,
}

/// Frames that a task sends.
struct Lines(mpsc::Receiver<Bytes>);

impl Stream for Lines {
    type Item = Frame;
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Frame>> {
        self.0.poll_recv(cx).map(|b| b.map(Frame::Data))
    }
}

/// A response whose events `work` sends. It ends at once when the reader goes, however quiet it is, and when the console closes.
fn stream<F: Future<Output = ()> + Send + 'static>(closing: &Cancel, work: impl FnOnce(Sender) -> F) -> Response {
    let (send, receive) = mpsc::channel(64);
    let (gone, closing) = (send.clone(), closing.clone());
    let work = work(Sender(send));
    tokio::spawn(async move {
        tokio::select! {
            () = work => {}
            () = gone.closed() => {}
            () = closing.cancelled() => {}
        }
    });
    let mut response = Response::new(ReplyBody::Stream(Box::pin(Lines(receive))));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response
}

struct Sender(mpsc::Sender<Bytes>);

impl Sender {
    /// `false`: nobody reads any more.
    async fn send(&self, name: &str, data: &impl Serialize) -> bool {
        // JSON has no line ends, so one data line holds it.
        let json = serde_json::to_string(data).expect("the console's rows are plain data");
        self.0.send(Bytes::from(format!("event: {name}\ndata: {json}\n\n"))).await.is_ok()
    }
}

pub fn events(platform: Arc<dyn Platform>, closing: &Cancel) -> Response {
    stream(closing, |to| async move {
        let tenant = platform.settings().default_tenant.clone();
        let mut records = platform.records().follow();
        let recent: Vec<Record> = platform.records().recent(&tenant, None, 50);
        if !to.send("snapshot", &snapshot(&*platform)).await || !to.send("recent", &recent).await {
            return;
        }
        let mut each_second = tokio::time::interval(Duration::from_secs(1));
        loop {
            let alive = tokio::select! {
                record = records.recv() => match record {
                    Ok(record) if record.tenant == tenant => to.send("invocation", &*record).await,
                    Ok(_) => true,
                    Err(RecvError::Lagged(n)) => to.send("missed", &n).await,
                    Err(RecvError::Closed) => return,
                },
                _ = each_second.tick() => to.send("snapshot", &snapshot(&*platform)).await,
            };
            if !alive {
                return;
            }
        }
    })
}

fn snapshot(platform: &dyn Platform) -> Snapshot {
    let settings = platform.settings();
    let tenant = &settings.default_tenant;
    let day_ago = (platform.clock().wall_ms() / 3_600_000).saturating_sub(24);
    let mut functions: Vec<_> = platform
        .functions(tenant)
        .iter()
        .filter_map(|f| {
            let unit = f.versions.get("$LATEST").or_else(|| f.versions.values().next())?;
            let mut usage = UsageHour { function: f.name.to_string(), ..UsageHour::default() };
            for hour in platform.records().usage(tenant, Some(f.name.as_str()), day_ago) {
                usage.invocations += hour.invocations;
                usage.errors += hour.errors;
                usage.cold_starts += hour.cold_starts;
                usage.billed_ms += hour.billed_ms;
                usage.gb_seconds += hour.gb_seconds;
                usage.memory_max_bytes = usage.memory_max_bytes.max(hour.memory_max_bytes);
            }
            Some(FunctionRow {
                name: f.name.to_string(),
                runtime: unit.runtime.clone(),
                handler: unit.handler.clone(),
                memory_mib: unit.settings.memory_mib,
                timeout_ms: unit.settings.timeout.as_millis(),
                versions: f.versions.len(),
                urls: f
                    .urls
                    .iter()
                    .map(|u| {
                        format!("http://{}.lambda-url.{}.localhost{}/", u.id, settings.region, port(&settings.aws_authority))
                    })
                    .collect(),
                usage,
            })
        })
        .collect();
    functions.sort_by(|a, b| a.name.cmp(&b.name));
    Snapshot {
        region: settings.region.clone(),
        account: tenant.to_string(),
        endpoint: settings.aws_authority.clone(),
        functions,
        observed: platform.observed(tenant, ""),
    }
}

fn port(authority: &str) -> &str {
    authority.rfind(':').map_or("", |at| &authority[at..])
}

/// The last lines of a function's log and what comes after: `?function=NAME`.
pub fn logs(platform: Arc<dyn Platform>, format: Format, query: &str, closing: &Cancel) -> Response {
    let name = query.split('&').find_map(|p| p.strip_prefix("function=")).unwrap_or_default().to_owned();
    stream(closing, move |to| async move {
        let tenant = platform.settings().default_tenant.clone();
        let Some(unit) = platform.function(&tenant, &name).and_then(|f| f.versions.values().next().cloned()) else {
            to.send("line", &serde_json::json!({"at_ms": 0, "text": format!("there is no function {name:?}")})).await;
            return;
        };
        let group = unit.settings.log.group.to_string();
        let mut live = platform.logs().follow(&tenant, std::slice::from_ref(&group));
        let page = platform.logs().read(LogQuery {
            tenant: tenant.clone(),
            group: group.clone(),
            streams: Vec::new(),
            from_ms: 0,
            until_ms: u64::MAX,
            id: None,
            after: None,
            limit: 100,
            backwards: true,
        });
        let mut lines = page.await.map(|p| p.records).unwrap_or_default();
        lines.reverse();
        for (_, stream, record) in &lines {
            if let Some(line) = line(format, stream, record)
                && !to.send("line", &line).await
            {
                return;
            }
        }
        loop {
            let alive = match live.recv().await {
                Ok(l) if l.stream.tenant == tenant && *l.stream.group == *group => match line(format, &l.stream, &l.record) {
                    Some(line) => to.send("line", &line).await,
                    None => true,
                },
                Ok(_) => true,
                Err(RecvError::Lagged(n)) => {
                    to.send("line", &serde_json::json!({"at_ms": 0, "text": format!("… {n} lines were skipped …")})).await
                }
                Err(RecvError::Closed) => return,
            };
            if !alive {
                return;
            }
        }
    })
}

fn line(format: Format, stream: &model::log::Stream, record: &model::log::LogRecord) -> Option<serde_json::Value> {
    let text = format(stream, record)?;
    Some(serde_json::json!({"at_ms": record.at_ms, "id": record.id, "text": text.trim_end()}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    /// A stream that never has anything to say, and the word that its task has ended.
    fn silent(closing: &Cancel) -> (Response, oneshot::Receiver<()>) {
        let (held, ended) = oneshot::channel::<()>();
        let response = stream(closing, move |_to| async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        (response, ended)
    }

    // Each of these would wait for ever if the task stayed.
    #[tokio::test]
    async fn a_reader_that_leaves_takes_its_task_along_however_quiet_it_is() {
        let (response, ended) = silent(&Cancel::new());
        drop(response);
        assert!(ended.await.is_err());
    }

    #[tokio::test]
    async fn a_console_that_closes_ends_its_streams_properly() {
        let closing = Cancel::new();
        let (response, ended) = silent(&closing);
        closing.cancel();
        assert!(ended.await.is_err());
        let ReplyBody::Stream(mut frames) = response.into_body() else { panic!("events are a stream") };
        assert!(std::future::poll_fn(|cx| frames.as_mut().poll_next(cx)).await.is_none());
    }
}
