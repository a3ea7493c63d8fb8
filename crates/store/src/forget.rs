//! Everything of one tenant goes: events, logs, records, what they cost, packages and rows; then the keys that sealed them, so that
//! no copy of the disk can be read with the keys that are here now. Each step may be done again, so a removal that was broken off
//! goes on where it stood.

use crate::Store;
use model::{Cause, Expect, Fault, Key, TenantId, Write, ports::Resources};

/// Rows removed in one commit.
const ROWS_AT_ONCE: usize = 1000;

impl Store {
    /// Remove all that is a tenant's. Nothing of it may run any more, and it may have no new rows (see [`crate::RowStore::limit`]).
    pub async fn forget(&self, tenant: &TenantId) -> Result<(), Fault> {
        self.queue.forget(tenant).await?;
        let (ledger, packages, whose) = (self.ledger.clone(), self.packages.clone(), tenant.clone());
        let work = move || ledger.forget(&whose).and_then(|()| packages.forget(&whose).map_err(Fault::from));
        tokio::task::spawn_blocking(work).await.map_err(Fault::internal)??;
        loop {
            let keys: Vec<Key> = self.rows.keys().into_iter().filter(|k| k.tenant == *tenant).take(ROWS_AT_ONCE).collect();
            if keys.is_empty() {
                break;
            }
            let writes = keys.into_iter().map(|key| Write::Delete { key, expect: Expect::Any }).collect();
            self.rows.commit(writes).await?;
        }
        let (seal, whose) = (self.seal.clone(), tenant.clone());
        let work = move || seal.forget(whose.as_str()).map_err(Fault::from);
        tokio::task::spawn_blocking(work).await.map_err(Fault::internal)?
    }
}

/// A removal that can't be finished now; it goes on at the next start.
pub(crate) fn unfinished(what: &str) -> Fault {
    Fault::new(Cause::Exhausted, format!("{what} of the tenant could not be removed yet")).hint("try again")
}
