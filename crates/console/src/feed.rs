//! Server-sent events (HTML standard, "Server-sent events"): what runs, once a second and whenever a call ends; and a log's tail.

use crate::{Format, shown::Shown};
use bytes::Bytes;
use futures_core::Stream;
use http::{HeaderValue, header};
use model::{
    Cancel, Frame, ReplyBody,
    ports::{LogQuery, Platform, Response},
};
use serde::Serialize;
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::sync::{broadcast::error::RecvError, mpsc};

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
        self.pass(event(name, data)).await
    }
    async fn pass(&self, event: Bytes) -> bool {
        self.0.send(event).await.is_ok()
    }
}

/// An event in its wire form. JSON has no line ends, so one data line holds it.
pub fn event(name: &str, data: &impl Serialize) -> Bytes {
    let json = serde_json::to_string(data).expect("the console's rows are plain data");
    Bytes::from(format!("event: {name}\ndata: {json}\n\n"))
}

pub fn events(platform: Arc<dyn Platform>, shown: &Arc<Shown>, closing: &Cancel) -> Response {
    let mut snapshots = shown.follow(closing);
    stream(closing, |to| async move {
        let tenant = platform.settings().default_tenant.clone();
        // Both write down first what has gathered, which no serving thread waits for.
        let ours = tenant.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let records = platform.records();
            (records.follow(), records.recent(&ours, None, 50))
        });
        let Ok((mut records, recent)) = reading.await else { return };
        let first: Option<Bytes> = match snapshots.wait_for(Option::is_some).await {
            Ok(first) => first.clone(),
            Err(_) => return,
        };
        if !to.pass(first.unwrap_or_default()).await || !to.send("recent", &recent).await {
            return;
        }
        loop {
            let alive = tokio::select! {
                record = records.recv() => match record {
                    Ok(record) if record.tenant == tenant => to.send("invocation", &*record).await,
                    Ok(_) => true,
                    Err(RecvError::Lagged(n)) => to.send("missed", &n).await,
                    Err(RecvError::Closed) => return,
                },
                changed = snapshots.changed() => {
                    let latest = snapshots.borrow_and_update().clone();
                    match (changed, latest) {
                        (Ok(()), Some(latest)) => to.pass(latest).await,
                        (Ok(()), None) => true,
                        (Err(_), _) => return,
                    }
                }
            };
            if !alive {
                return;
            }
        }
    })
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
        let mut live = match platform.logs().follow(&tenant, std::slice::from_ref(&group)) {
            Ok(live) => live,
            Err(fault) => {
                to.send("line", &serde_json::json!({"at_ms": 0, "text": fault.to_string()})).await;
                return;
            }
        };
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
