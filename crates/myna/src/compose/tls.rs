//! The certificates of the listeners: read at the start, and again when their files change.

use super::config::{Config, TlsFiles};
use anyhow::Context;
use gateway::tls::Certificates;
use model::Loops;
use std::{sync::Arc, time::Duration};
use tokio::signal::unix::{SignalKind, signal};

/// How often the files are looked at; SIGHUP has it done at once.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Those of each TCP listener that has any.
#[derive(Clone, Default)]
pub struct Tls {
    pub aws: Option<Arc<Certificates>>,
    pub console: Option<Arc<Certificates>>,
}

pub fn now_s() -> i64 {
    i64::try_from(crate::cli::units::now_ms() / 1000).unwrap_or(i64::MAX)
}

impl Tls {
    pub fn load(config: &Config) -> anyhow::Result<Self> {
        let TlsFiles { aws, console, ca } = &config.tls;
        if let Some(ca) = ca {
            std::fs::metadata(ca).with_context(|| format!("[tls] ca names {}, which can't be read", ca.display()))?;
        }
        let load = |door: &str, files: &Vec<_>| match files.is_empty() {
            true => Ok(None),
            false => Certificates::load(files.clone(), now_s())
                .map(Some)
                .with_context(|| format!("door {door} has no usable certificate")),
        };
        Ok(Self { aws: load("aws", aws)?, console: load("console", console)? })
    }

    /// Each with the name of its listener.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, &Arc<Certificates>)> {
        [("aws", &self.aws), ("console", &self.console)].into_iter().filter_map(|(name, c)| Some((name, c.as_ref()?)))
    }

    /// Look at the files now and then, and when SIGHUP says so, for as long as the platform lives.
    pub async fn follow(self, loops: Arc<Loops>) {
        if self.all().next().is_some() {
            loops.watch("certificates", |pulse| self.clone().look(pulse)).await;
        }
    }

    async fn look(self, pulse: model::Pulse) {
        let mut hangup = match signal(SignalKind::hangup()) {
            Ok(hangup) => Some(hangup),
            Err(error) => {
                tracing::warn!("SIGHUP can't be caught; certificates are looked at every {} s: {error}", LOOK_EVERY.as_secs());
                None
            }
        };
        loop {
            pulse.rest();
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                Some(()) = async { match &mut hangup { Some(h) => h.recv().await, None => std::future::pending().await } } => {}
            }
            pulse.work();
            let all = self.clone();
            let read = tokio::task::spawn_blocking(move || {
                for (_, certificates) in all.all() {
                    certificates.reload(now_s());
                }
            });
            if let Err(error) = read.await {
                tracing::error!("the certificates could not be looked at: {error}");
            }
        }
    }
}
