//! What the page shows of the platform: read once a second for all tabs together, and only while there is one.
//!
//! Reading waits for files, for SQLite and for the kernel's counters, so it is done aside: the thread that serves calls has none
//! of it to do, however many tabs are open.

use crate::feed;
use bytes::Bytes;
use model::{
    Cancel,
    ports::{Observed, Platform, UsageHour},
};
use serde::Serialize;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::watch, time::MissedTickBehavior};

const EVERY: Duration = Duration::from_secs(1);

type Make = Arc<dyn Fn() -> Bytes + Send + Sync>;

pub struct Shown {
    make: Make,
    /// `None` until there is one, and again when nobody looks: an old one is never shown as the present.
    latest: watch::Sender<Option<Bytes>>,
    /// Somebody makes it.
    made: Mutex<bool>,
}

impl Shown {
    pub fn of(platform: Arc<dyn Platform>) -> Arc<Self> {
        Self::new(Arc::new(move || feed::event("snapshot", &snapshot(&*platform))))
    }

    fn new(make: Make) -> Arc<Self> {
        Arc::new(Self { make, latest: watch::Sender::new(None), made: Mutex::new(false) })
    }

    /// What is latest, as an event, and each one after it. The first who looks begins the making; it ends with the last one.
    pub fn follow(self: &Arc<Self>, closing: &Cancel) -> watch::Receiver<Option<Bytes>> {
        let mut made = self.made();
        let receiver = self.latest.subscribe();
        if !std::mem::replace(&mut *made, true) {
            let (this, closing) = (self.clone(), closing.clone());
            tokio::spawn(async move {
                tokio::select! {
                    () = this.run() => {}
                    () = closing.cancelled() => {}
                }
            });
        }
        receiver
    }

    async fn run(&self) {
        let mut rounds = tokio::time::interval(EVERY);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            rounds.tick().await;
            if self.unwatched() {
                return;
            }
            let make = self.make.clone();
            // One that panics has said so, and the next round is another chance.
            if let Ok(event) = tokio::task::spawn_blocking(move || make()).await {
                self.latest.send_replace(Some(event));
            }
        }
    }

    /// Under the lock of whoever begins to look, so that nobody looks at what is no longer made.
    fn unwatched(&self) -> bool {
        let mut made = self.made();
        if self.latest.receiver_count() > 0 {
            return false;
        }
        *made = false;
        self.latest.send_replace(None);
        true
    }

    fn made(&self) -> MutexGuard<'_, bool> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

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

fn snapshot(platform: &dyn Platform) -> Snapshot {
    let settings = platform.settings();
    let tenant = &settings.default_tenant;
    let day_ago = (platform.clock().wall_ms() / 3_600_000).saturating_sub(24);
    let mut used: HashMap<String, UsageHour> = HashMap::new();
    for hour in platform.records().usage(tenant, None, day_ago) {
        let sum = used.entry(hour.function.clone()).or_default();
        sum.invocations += hour.invocations;
        sum.errors += hour.errors;
        sum.cold_starts += hour.cold_starts;
        sum.billed_ms += hour.billed_ms;
        sum.gb_seconds += hour.gb_seconds;
        sum.memory_max_bytes = sum.memory_max_bytes.max(hour.memory_max_bytes);
    }
    let mut functions: Vec<_> = platform
        .functions(tenant)
        .iter()
        .filter_map(|f| {
            let unit = f.versions.get("$LATEST").or_else(|| f.versions.values().next())?;
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
                        format!(
                            "{}://{}.lambda-url.{}.localhost{}/",
                            settings.aws_scheme,
                            u.id,
                            settings.region,
                            port(&settings.aws_authority)
                        )
                    })
                    .collect(),
                usage: UsageHour { function: f.name.to_string(), ..used.remove(f.name.as_str()).unwrap_or_default() },
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    };

    /// What waits, waits aside: on a runtime of one thread, this test goes on while a snapshot can't be had.
    #[tokio::test]
    async fn one_reading_serves_all_tabs_and_holds_nobody_up() {
        let (let_go, held) = mpsc::channel::<()>();
        let (held, rounds) = (Mutex::new(held), Arc::new(AtomicUsize::new(0)));
        let counted = rounds.clone();
        let shown = Shown::new(Arc::new(move || {
            held.lock().unwrap().recv().unwrap();
            Bytes::from(format!("{}", counted.fetch_add(1, SeqCst)))
        }));
        let closing = Cancel::new();
        let mut tabs: Vec<_> = (0..20).map(|_| shown.follow(&closing)).collect();
        tokio::task::yield_now().await;
        assert!(tabs.iter().all(|t| t.borrow().is_none()));
        let_go.send(()).unwrap();
        for tab in &mut tabs {
            assert_eq!(tab.wait_for(Option::is_some).await.unwrap().as_deref(), Some(&b"0"[..]));
        }
        assert_eq!(rounds.load(SeqCst), 1, "read once for all of them");
        // The last to look ends it; who looks next is shown nothing old.
        drop(tabs);
        for _ in 0..1000 {
            // Whatever is under way by now may end.
            let _ = let_go.send(());
            if !*shown.made() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let before = rounds.load(SeqCst);
        let mut late = shown.follow(&closing);
        let _ = let_go.send(());
        let first = late.wait_for(Option::is_some).await.unwrap().clone().unwrap();
        assert_eq!(first, Bytes::from(before.to_string()));
    }
}
