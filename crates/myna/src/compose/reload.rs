//! The configuration, read again at SIGHUP. What is live is changed in the running platform, between two calls; what isn't is named
//! and waits for the next start. A file with an error changes nothing at all.

use super::{
    config::{Config, Error},
    tenants::Tenants,
};
use engine::{Engine, pools};
use model::{Loops, Pulse};
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};

/// Reads the configuration as it was read at the start: the file, and the command line that wins over it.
pub type Read = Arc<dyn Fn() -> Result<Config, Error> + Send + Sync>;

/// The keys that a running platform takes, as docs/configuration.md lists them.
pub const LIVE: [&str; 5] = ["engine.instances_max", "engine.starts_max", "engine.concurrency", "engine.keep_alive", "quotas"];

fn live(config: &Config) -> [String; 5] {
    let Config { instances_max, starts_max, concurrency, keep_alive, quota, .. } = config;
    [instances_max.to_string(), starts_max.to_string(), concurrency.to_string(), format!("{keep_alive:?}"), format!("{quota:?}")]
}

/// Whether two configurations differ in what needs a start.
fn waits(before: &Config, after: &Config) -> bool {
    let Config { instances_max, starts_max, concurrency, keep_alive, quota, .. } = *before;
    let same = Config { instances_max, starts_max, concurrency, keep_alive, quota, ..after.clone() };
    // Every field, whatever it is; configurations are compared when somebody asks, never on the way of a call.
    format!("{before:?}") != format!("{same:?}")
}

/// For as long as the platform lives.
pub async fn follow(loops: Arc<Loops>, engine: Arc<Engine>, tenants: Arc<Tenants>, read: Read, running: Arc<Config>) {
    loops.watch("configuration", |pulse| look(pulse, engine.clone(), tenants.clone(), read.clone(), running.clone())).await;
}

async fn look(pulse: Pulse, engine: Arc<Engine>, tenants: Arc<Tenants>, read: Read, mut running: Arc<Config>) {
    let mut hangup = match signal(SignalKind::hangup()) {
        Ok(hangup) => hangup,
        Err(error) => {
            tracing::warn!("SIGHUP can't be caught, so the configuration is read at the start only: {error}");
            return std::future::pending().await;
        }
    };
    while hangup.recv().await.is_some() {
        pulse.work();
        let (reading, began) = (read.clone(), running.clone());
        match tokio::task::spawn_blocking(move || reading().map(|read| (waits(&began, &read), read))).await {
            Ok(Ok((waits, config))) => {
                let config = Arc::new(config);
                apply(&engine, &tenants, &running, &config);
                if waits {
                    tracing::warn!(
                        "the configuration has changes that take effect at the next start; live are {}",
                        LIVE.join(", ")
                    );
                }
                running = Arc::new(Config {
                    instances_max: config.instances_max,
                    starts_max: config.starts_max,
                    concurrency: config.concurrency,
                    keep_alive: config.keep_alive,
                    quota: config.quota,
                    ..Config::clone(&running)
                });
            }
            Ok(Err(error)) => tracing::error!("the configuration stays as it is: {error}"),
            Err(error) => tracing::error!("the configuration stays as it is, it could not be read: {error}"),
        }
        pulse.rest();
    }
}

fn apply(engine: &Engine, tenants: &Tenants, before: &Config, after: &Config) {
    let changed: Vec<String> = std::iter::zip(LIVE, std::iter::zip(live(before), live(after)))
        .filter(|(_, (before, after))| before != after)
        .map(|(key, (before, after))| format!("{key} from {before} to {after}"))
        .collect();
    if changed.is_empty() {
        tracing::info!("the configuration was read again; nothing that is live has changed");
        return;
    }
    engine.adjust(|config: &mut pools::Config| {
        config.instances_max = after.instances_max;
        config.starts_max = after.starts_max;
        config.tenant_concurrency = after.concurrency;
        config.keep_alive = after.keep_alive;
    });
    if before.quota != after.quota {
        tenants.allow(after.quota);
    }
    tracing::info!("the configuration was read again: {}", changed.join(", "));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verbs::up::Args;

    fn config() -> Config {
        Config::load("x".into(), &Args::default()).unwrap()
    }

    #[test]
    fn what_is_live_waits_for_nothing_and_anything_else_does() {
        let before = config();
        let live = Config {
            concurrency: 7,
            starts_max: 1,
            instances_max: 9,
            keep_alive: engine::KeepAlive::Fixed(std::time::Duration::ZERO),
            ..config()
        };
        assert!(!waits(&before, &live));
        assert!(waits(&before, &Config { region: "other".into(), ..live }));
        assert!(waits(&before, &Config { events_in_flight: 1, ..config() }));
    }

    #[test]
    fn the_book_says_what_is_live() {
        let book = include_str!("../../../../docs/configuration.md");
        let said = book.split_once("## Read again while it runs").expect("the book has the chapter").1;
        let said = said.split("\n## ").next().unwrap();
        assert!(LIVE.iter().all(|key| said.contains(&format!("`{key}`"))), "{said}");
    }
}
