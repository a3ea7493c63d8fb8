//! Pausing a function, and putting it in quarantine: a row says so, so that it outlives a restart. The row of a quarantine names
//! the packages of every version, which keeps them from being collected.

use super::{Admin, Query, reply};
use model::{
    Cause, Expect, Fault, FunctionName, Key, Write,
    ports::Response,
    queue::{Control, Lane},
};
use serde::{Deserialize, Serialize};

/// The rows below have a function's name.
pub const KIND: &str = "operator/hold";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Paused,
    Quarantined,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    pub state: State,
    pub since_ms: u64,
    /// The events waited already, and wait on when this ends.
    pub events_waited: bool,
    /// Hex SHA-256 of every archive that a version or a layer of it is made of.
    pub packages: Vec<String>,
}

/// How a function is held, if it is; `POST /admin/v1/functions/NAME/hold` and `GET`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Held {
    pub function: String,
    pub held: Option<Row>,
    /// Instances that are still there: of a quarantined function none.
    pub instances: usize,
    /// Events that wait.
    pub queued: u64,
}

impl Admin {
    pub(super) fn held(&self, name: &str) -> Result<Response, Fault> {
        if self.row(name).is_none() {
            self.known(name)?;
        }
        Ok(reply::json(&self.shown(name)))
    }

    pub(super) async fn hold(&self, name: &str, query: &Query) -> Result<Response, Fault> {
        let before = self.row(name);
        let wanted = match query.get("state") {
            Some("paused") => Some(State::Paused),
            Some("quarantined") => Some(State::Quarantined),
            Some("none") => None,
            found => {
                let found = found.unwrap_or_default();
                return Err(Fault::invalid(format!("state is {found:?}; it is one of paused, quarantined, none")));
            }
        };
        match wanted {
            Some(state) => self.begin(name, state, before).await?,
            None => self.end(name, query.get("from"), before).await?,
        }
        Ok(reply::json(&self.shown(name)))
    }

    async fn begin(&self, name: &str, state: State, before: Option<Row>) -> Result<(), Fault> {
        if before.as_ref().is_some_and(|row| row.state == State::Quarantined) && state == State::Paused {
            return Err(Fault::new(Cause::Conflict, format!("function {name} is in quarantine, which is more than paused")));
        }
        let function = self.known(name)?;
        let units = function.versions.values();
        let digests = units.flat_map(|u| std::iter::once(&u.package).chain(&u.layers)).map(|p| p.digest().to_owned());
        let mut packages: Vec<String> = digests.collect();
        packages.sort();
        packages.dedup();
        let lane = self.lane(name);
        let waited = self.platform.events().lane(&lane).is_some_and(|v| v.paused);
        let events_waited = before.as_ref().map_or(waited, |row| row.events_waited);
        let since_ms = before.as_ref().map_or_else(|| self.platform.clock().wall_ms(), |row| row.since_ms);
        // First those who would be tried, then those who call: none slips in between and runs.
        self.platform.events().control(&lane, Control::Pause).await?;
        let row = Row { state, since_ms, events_waited, packages };
        let body = serde_json::to_vec(&row).map_err(Fault::internal)?.into();
        self.platform.resources().commit(vec![Write::Put { key: self.key(name), body, expect: Expect::Any }]).await?;
        if state == State::Quarantined {
            let left = self.host.evict(&self.tenant(), name).await;
            if left > 0 {
                return Err(Fault::internal(format!(
                    "function {name} is in quarantine, yet {left} of its instances could not be ended"
                ))
                .hint("stop the platform: that ends them"));
            }
        }
        Ok(())
    }

    async fn end(&self, name: &str, from: Option<&str>, before: Option<Row>) -> Result<(), Fault> {
        let Some(row) = before else {
            self.known(name)?;
            return Err(Fault::new(Cause::Conflict, format!("function {name} is neither paused nor in quarantine")));
        };
        match (from, row.state) {
            (Some("paused"), State::Quarantined) => {
                return Err(Fault::new(Cause::Conflict, format!("function {name} is in quarantine"))
                    .hint(format!("release it with: myna quarantine {name} --release")));
            }
            (Some("quarantined"), State::Paused) => {
                return Err(Fault::new(Cause::Conflict, format!("function {name} is paused, and not in quarantine"))
                    .hint(format!("resume it with: myna pause {name} --resume")));
            }
            _ => {}
        }
        self.platform.resources().commit(vec![Write::Delete { key: self.key(name), expect: Expect::Any }]).await?;
        if !row.events_waited {
            self.platform.events().control(&self.lane(name), Control::Resume).await?;
        }
        Ok(())
    }

    fn row(&self, name: &str) -> Option<Row> {
        let found = self.platform.resources().get(&self.key(name))?;
        // What can't be read holds as the strictest does.
        let unknown = Row { state: State::Quarantined, since_ms: found.modified_ms, events_waited: false, packages: Vec::new() };
        Some(serde_json::from_slice(&found.body).unwrap_or(unknown))
    }

    fn shown(&self, name: &str) -> Held {
        let queued = self.platform.events().lane(&self.lane(name)).unwrap_or_default().queued;
        let instances = self.platform.observed(&self.tenant(), name).instances.len();
        Held { function: name.to_owned(), held: self.row(name), instances, queued }
    }

    fn key(&self, name: &str) -> Key {
        Key::new(&self.tenant(), KIND, name)
    }

    fn lane(&self, name: &str) -> Lane {
        Lane { tenant: self.tenant(), function: FunctionName::new(name) }
    }
}
