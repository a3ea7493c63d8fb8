//! How long a test is: short in every run, whole in `cargo xtask soak`, which sets MYNA_SOAK_HOURS.

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

const HOURS: &str = "MYNA_SOAK_HOURS";

fn began() -> Instant {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    *BEGAN.get_or_init(Instant::now)
}

/// What is left of the hours that soak was given; None in a usual run.
pub fn soaking() -> Option<Duration> {
    let hours: f64 = std::env::var(HOURS).ok()?.parse().ok()?;
    Some(Duration::try_from_secs_f64(hours * 3600.0).unwrap_or(Duration::MAX).saturating_sub(began().elapsed()))
}

/// A count that is short in every run and full in soak. Which one ran is printed when it is the full one.
pub fn scaled(what: &str, short: usize, full: usize) -> usize {
    if soaking().is_some() {
        println!("{what}: {full} (in every run {short})");
        full
    } else {
        short
    }
}

/// Numbers from 0: so many in every run, as many as fit into `full` in soak.
pub fn rounds(what: &str, short: usize, full: Duration) -> impl Iterator<Item = usize> {
    let lasts = soaking().map(|left| left.min(full));
    if let Some(lasts) = lasts {
        println!("{what}: for {} s (in every run {short})", lasts.as_secs());
    }
    let began = Instant::now();
    (0..).take_while(move |n| lasts.map_or(*n < short, |lasts| began.elapsed() < lasts))
}
