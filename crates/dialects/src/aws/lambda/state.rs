//! The way of a function to being runnable: Pending → Active or Failed, and the same once more for every update. The step is
//! taken by a task of its own and written down; what a crash interrupted is taken up at the next start.

use crate::aws::{
    names::LATEST,
    reconcile,
    rows::{self, Config, FunctionRow, State, VersionRow},
    shared::Shared,
};
use model::{Cause, Expect, Fault, TenantId};
use std::{sync::Arc, time::Duration};

/// Tries of writing down a finished step before it is left to the next start.
const TRIES: u32 = 5;

/// Prepare what is pending of a function, in the background.
pub fn settle(shared: &Arc<Shared>, tenant: &TenantId, name: &str) {
    let (shared, tenant, name) = (shared.clone(), tenant.clone(), Arc::<str>::from(name));
    tokio::spawn(async move {
        for attempt in 1..=TRIES {
            match step(&shared, &tenant, &name).await {
                Ok(()) => break,
                Err(error) => tracing::warn!(function = %name, attempt, "state was not written down: {}", error.message),
            }
            tokio::time::sleep(Duration::from_millis(100) * attempt).await;
        }
        shared.settled.notify_waiters();
    });
}

/// Take up every step that was under way when the platform last stopped.
pub fn resume(shared: &Arc<Shared>) {
    for tenant in shared.platform.tenants().all() {
        for row in shared.platform.resources().list(&tenant, rows::FUNCTION, "", "", usize::MAX) {
            match rows::decode::<FunctionRow>(&row) {
                Ok(function) if waits(&function.latest) => settle(shared, &tenant, &row.key.name),
                Ok(_) => {}
                Err(error) => tracing::error!("{}", error.message),
            }
        }
    }
}

pub fn waits(config: &Config) -> bool {
    matches!(config.state, State::Pending | State::Updating)
}

async fn step(shared: &Shared, tenant: &TenantId, name: &str) -> Result<(), crate::aws::fault::WireError> {
    let Some(row) = shared.row::<FunctionRow>(tenant, rows::FUNCTION, name)? else { return Ok(()) };
    if !waits(&row.latest) {
        return Ok(());
    }
    let prepared = row.latest.unit;
    let unit = Arc::new(reconcile::unit(&shared.settings, tenant, name, LATEST, &row.latest));
    let outcome = shared.platform.prepare(unit).await;

    let _one = shared.writing.lock().await;
    let Some(found) = shared.raw(tenant, rows::FUNCTION, name) else { return Ok(()) };
    let mut row: FunctionRow = rows::decode(&found)?;
    if row.latest.unit != prepared || !waits(&row.latest) {
        return Ok(());
    }
    finish(&mut row.latest, &outcome);
    if row.latest.state == State::Active {
        row.before = None;
    }
    let mut writes = Vec::new();
    for mut version in shared.below::<VersionRow>(tenant, rows::VERSION, name)? {
        if waits(&version.config) {
            finish(&mut version.config, &outcome);
            writes.push(rows::put(tenant, rows::VERSION, rows::version_name(name, version.number), &version, Expect::Any));
        }
    }
    writes.push(rows::put(tenant, rows::FUNCTION, name, &row, Expect::Revision(found.revision)));
    shared.commit(writes).await
}

fn finish(config: &mut Config, outcome: &Result<(), Fault>) {
    config.revision_id = rows::new_id();
    config.state = match (outcome, &config.state) {
        (Ok(()), _) => State::Active,
        (Err(fault), State::Pending) => State::Failed { code: code(fault).into(), reason: fault.to_string() },
        (Err(fault), _) => State::UpdateFailed { code: code(fault).into(), reason: fault.to_string() },
    };
}

/// One of the service's own reason codes (botocore, shape `StateReasonCode`).
fn code(fault: &Fault) -> &'static str {
    match fault.cause {
        Cause::Unsupported => "InvalidRuntime",
        Cause::Invalid | Cause::NotFound => "InvalidConfiguration",
        Cause::InitFailed | Cause::Exited | Cause::Timeout => "FunctionError",
        _ => "InternalError",
    }
}
