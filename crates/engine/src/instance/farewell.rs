//! What runs beside a runtime is told of the end, and given time for it.

use super::{Live, Process};
use model::{
    Fault,
    ports::{Goodbye, Session},
    sandbox::{Group, Signal},
};

/// Resolves when all of these have ended.
async fn all_ended(processes: &[Process], groups: &[Group]) {
    for (_, news) in processes.iter().filter(|p| groups.contains(&p.0)) {
        // An end without news is an end.
        let _ = news.clone().wait_for(|ended| *ended).await;
    }
}

impl Live {
    /// What runs beside the runtime hears of the end and gets the time that it has for it.
    pub(super) async fn part(&self, session: &dyn Session, processes: &[Process], why: Goodbye) {
        let beside = session.beside();
        if beside.budget.is_zero() {
            return;
        }
        self.enter();
        let deadline_ms = self.parts.clock.wall_ms() + u64::try_from(beside.budget.as_millis()).unwrap_or(0);
        let farewell = async {
            self.wake().await?;
            if why == Goodbye::Spindown {
                self.sandbox.signal(Group::Runtime, Signal::Term).await?;
                let _ = tokio::time::timeout(beside.runtime, all_ended(processes, &[Group::Runtime])).await;
            }
            self.sandbox.signal(Group::Runtime, Signal::Kill).await?;
            session.goodbye(why, deadline_ms);
            all_ended(processes, &beside.waits).await;
            Ok::<(), Fault>(())
        };
        // What has not ended by then is killed, and so is what couldn't be told.
        if let Ok(Err(fault)) = tokio::time::timeout(beside.budget, farewell).await {
            tracing::debug!(instance = %self.id, "extensions were not told of the end: {fault}");
        }
        self.leave();
    }
}
