//! The machine's clocks.

use model::{Clock, Mono};
use std::{
    sync::LazyLock,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

pub struct Machine;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Clock for Machine {
    fn mono(&self) -> Mono {
        // One second ahead, so that no point in time is zero.
        Mono(u64::try_from(START.elapsed().as_nanos()).unwrap_or(u64::MAX) + 1_000_000_000)
    }
    fn wall_ms(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
    }
}
