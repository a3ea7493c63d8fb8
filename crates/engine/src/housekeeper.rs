//! Freezes what has rested for a moment and lets go what has rested for long. It sleeps while there is nothing to do: a platform
//! without calls costs next to nothing.

use crate::Engine;
use model::Mono;
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

/// What came to rest is noticed together with what follows soon.
const GATHER: Duration = Duration::from_millis(10);
/// Between two looks at what may be let go, at least.
const EXPIRE_EVERY: Duration = Duration::from_millis(250);
/// And at most.
const EXPIRE_MAX: Duration = Duration::from_secs(60);

impl Engine {
    /// Ends with the engine. One per engine.
    pub async fn housekeep(self: Arc<Self>, pulse: model::Pulse) {
        let mut expire_at = Mono(0);
        loop {
            pulse.work();
            let now = self.parts.clock.mono();
            let next = self.tidy(now, &mut expire_at);
            self.unbound.expire(now).await;
            pulse.rest();
            match next {
                Some(at) => tokio::time::sleep(at.since(now).max(Duration::from_millis(5))).await,
                None => tokio::select! {
                    () = tokio::time::sleep(expire_at.since(now)) => self.asleep.store(false, Ordering::Release),
                    () = self.wake.notified() => tokio::time::sleep(GATHER).await,
                },
            }
        }
    }

    /// Returns when there is more to do soon; where there is nothing, the next change wakes the housekeeper. `expire_at` becomes
    /// the time when more is due to go.
    fn tidy(&self, now: Mono, expire_at: &mut Mono) -> Option<Mono> {
        let mut state = self.lock();
        let soon = state.pools.soon(now);
        if state.pools.rested() {
            // What was computed before may be too late for it.
            *expire_at = (*expire_at).min(now + EXPIRE_EVERY);
        }
        if now >= *expire_at {
            let next = state.pools.expire(now).unwrap_or(now + EXPIRE_MAX);
            *expire_at = next.clamp(now + EXPIRE_EVERY, now + EXPIRE_MAX);
        }
        if soon.is_none() {
            // While the state is locked: a change that comes after this look finds it asleep and wakes it.
            self.asleep.store(true, Ordering::Release);
        }
        self.carry_out(state);
        soon
    }
}
