//! The tenants of a platform, as rows say: who there is, what each may have, and the keys of their administrators. The default one
//! needs no row; its key is a file.
//!
//! A tenant comes with one commit, its first key included, and is whole or not there. It goes in steps that may be done again: it is
//! marked, and its keys go in the same commit; then everything that is its; its data keys at last, and the mark. What a killed
//! process left marked is removed at the next start.

use super::keys::{self, AccessKey};
use crate::admin::{
    tenants::{KEYS_MAX, Registry, TENANTS_MAX},
    wire,
};
use arc_swap::ArcSwap;
use engine::{Engine, TenantLimits};
use model::{
    Cause, Clock, Expect, Fault, Fut, Key, Quota, Rate, TenantId, Write,
    ports::{self, Queue as _, Resources as _},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};
use store::Store;

/// By account, and of the platform itself.
const TENANT: &str = "operator/tenant";
/// Of a tenant, by the id of the key.
pub const ROOT_KEY: &str = "operator/root-key";
/// The name of the one that is always there.
pub const DEFAULT: &str = "default";
const NAME_LENGTH_MAX: usize = 64;
/// Tries of an account that nobody has.
const ACCOUNT_TRIES: usize = 100;
/// Rows of the platform itself: each tenant's, and room.
const PLATFORM_ROWS_MAX: usize = 100_000;
/// Rows removed in one commit.
const ROWS_AT_ONCE: usize = 1000;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct TenantRow {
    name: String,
    created_ms: u64,
    /// What differs from the configuration.
    #[serde(default)]
    quota: wire::QuotaChange,
    /// It is being removed.
    #[serde(default)]
    leaving: bool,
}

#[derive(Clone, Serialize, Deserialize)]
pub struct RootKeyRow {
    pub secret: String,
    pub created_ms: u64,
}

/// One tenant as it is known to everybody.
#[derive(Debug)]
struct Tenant {
    id: TenantId,
    row: TenantRow,
    quota: Quota,
    requests: Arc<Rate>,
    calls: Arc<Rate>,
}

type Known = HashMap<TenantId, Arc<Tenant>>;

pub struct Tenants {
    store: Arc<Store>,
    engine: Arc<Engine>,
    clock: Arc<dyn Clock>,
    default: TenantId,
    /// What a tenant may have when nobody said otherwise.
    usual: ArcSwap<Quota>,
    /// The default tenant's.
    first_key: AccessKey,
    known: ArcSwap<Known>,
    /// One change at a time.
    changing: tokio::sync::Mutex<()>,
}

fn platform() -> TenantId {
    TenantId::new("")
}

fn key_of(id: &TenantId) -> Key {
    Key::new(&platform(), TENANT, id.as_str())
}

fn put(key: Key, row: &impl Serialize, expect: Expect) -> Result<Write, Fault> {
    Ok(Write::Put { key, body: serde_json::to_vec(row).map_err(Fault::internal)?.into(), expect })
}

impl Tenants {
    pub fn new(
        store: Arc<Store>,
        engine: Arc<Engine>,
        clock: Arc<dyn Clock>,
        default: &TenantId,
        usual: Quota,
        first_key: AccessKey,
    ) -> Arc<Self> {
        let (known, changing) = (ArcSwap::default(), tokio::sync::Mutex::default());
        let (default, usual) = (default.clone(), ArcSwap::from_pointee(usual));
        let tenants = Self { store, engine, clock, default, usual, first_key, known, changing };
        tenants.load();
        Arc::new(tenants)
    }

    /// What a tenant may have that nothing else is said of, from now on.
    pub fn allow(&self, usual: Quota) {
        self.usual.store(usual.into());
        self.load();
    }

    /// Rows changed.
    pub fn follow(&self, changed: &[Key]) {
        if changed.iter().any(|key| key.kind == TENANT) {
            self.load();
        }
    }

    /// What the rows say holds from now on.
    fn load(&self) {
        let before = self.known.load();
        let mut rows: BTreeMap<TenantId, TenantRow> = BTreeMap::new();
        let unnamed = |name: &str| TenantRow { name: name.into(), created_ms: 0, quota: Default::default(), leaving: false };
        rows.insert(self.default.clone(), unnamed(DEFAULT));
        for found in self.store.resources().all(TENANT) {
            let id = TenantId::new(&*found.key.name);
            let row = serde_json::from_slice(&found.body).unwrap_or_else(|error| {
                tracing::error!("the row of tenant {id} is damaged, so its number is its name: {error}");
                unnamed(id.as_str())
            });
            rows.insert(id, row);
        }
        let one = |(id, row): (TenantId, TenantRow)| {
            let quota = row.quota.over(**self.usual.load());
            let rate = |of: fn(&Tenant) -> &Arc<Rate>, per_second: u32| {
                let rate = before.get(&id).map_or_else(Arc::default, |tenant| of(tenant).clone());
                rate.set(per_second);
                rate
            };
            let (requests, calls) = (rate(|t| &t.requests, quota.requests), rate(|t| &t.calls, quota.calls));
            (id.clone(), Arc::new(Tenant { id: id.clone(), row, quota, requests, calls }))
        };
        let known: Known = rows.into_iter().map(one).collect();
        let limits = |tenant: &Arc<Tenant>| TenantLimits {
            concurrency: tenant.quota.concurrency,
            calls: (tenant.quota.calls > 0).then(|| tenant.calls.clone()),
            events: tenant.quota.events,
        };
        self.engine.limit(&known.iter().map(|(id, tenant)| (id.clone(), limits(tenant))).collect());
        self.known.store(known.into());
        self.bound_rows(None);
    }

    /// Who isn't there, or is leaving, gets no new row; one that is just coming gets its first.
    fn bound_rows(&self, coming: Option<&TenantId>) {
        let known = self.known.load();
        let most = |tenant: &Tenant| match tenant.row.leaving {
            true => 0,
            false => usize::try_from(tenant.quota.rows).unwrap_or(usize::MAX),
        };
        let mut rows: HashMap<TenantId, usize> = known.iter().map(|(id, tenant)| (id.clone(), most(tenant))).collect();
        rows.insert(platform(), PLATFORM_ROWS_MAX);
        rows.extend(coming.map(|id| (id.clone(), usize::try_from(self.usual.load().rows).unwrap_or(usize::MAX))));
        self.store.resources().limit(rows);
    }

    /// The account that a name or an account means.
    pub fn resolve(&self, text: &str) -> Result<TenantId, Fault> {
        self.find(text).map(|tenant| tenant.id.clone())
    }

    fn find(&self, text: &str) -> Result<Arc<Tenant>, Fault> {
        let known = self.known.load();
        let found = known.get(text).or_else(|| known.values().find(|t| t.row.name == text));
        found
            .filter(|t| !t.row.leaving)
            .cloned()
            .ok_or_else(|| Fault::not_found(format!("there is no tenant {text:?}")).hint("who there is: myna tenant list"))
    }

    pub fn name(&self, id: &TenantId) -> String {
        self.known.load().get(id).map_or_else(|| id.to_string(), |tenant| tenant.row.name.clone())
    }

    /// The one that is meant when none is named.
    pub fn default(&self) -> &TenantId {
        &self.default
    }

    /// All that are there and stay.
    pub fn all_of(&self) -> Vec<TenantId> {
        ports::Tenants::all(self)
    }

    fn keys_of(&self, id: &TenantId) -> Vec<(String, RootKeyRow)> {
        let rows = ports::Rows::list(&**self.store.resources(), id, ROOT_KEY, "");
        let read = rows.iter().filter_map(|row| Some((row.key.name.to_string(), serde_json::from_slice(&row.body).ok()?)));
        let mut keys: Vec<(String, RootKeyRow)> = read.collect();
        keys.sort_by_key(|(_, row)| std::cmp::Reverse(row.created_ms));
        keys
    }

    /// The newest key of a tenant's administrator.
    pub fn key(&self, id: &TenantId) -> Option<AccessKey> {
        if *id == self.default {
            return Some(self.first_key.clone());
        }
        let (access_key_id, row) = self.keys_of(id).into_iter().next()?;
        Some(AccessKey { access_key_id, secret_access_key: row.secret })
    }

    fn shown(&self, tenant: &Tenant) -> wire::Tenant {
        let id = &tenant.id;
        let is_default = *id == self.default;
        let own = is_default.then(|| self.first_key.access_key_id.clone());
        let lanes = self.store.queue().lanes().into_iter().filter(|(lane, _)| lane.tenant == *id);
        let (queued, dead) = lanes.fold((0, 0), |(queued, dead), (_, view)| (queued + view.queued, dead + view.dead));
        wire::Tenant {
            name: tenant.row.name.clone(),
            account: id.to_string(),
            is_default,
            created_ms: tenant.row.created_ms,
            leaving: tenant.row.leaving,
            functions: self.engine.catalog().of(id).len() as u64,
            instances: self.engine.observed(id, None).instances.len() as u64,
            queued,
            dead,
            rows: self.store.resources().rows_of(id) as u64,
            package_bytes: self.store.packages().bytes_of(id),
            keys: own.into_iter().chain(self.keys_of(id).into_iter().map(|(key, _)| key)).collect(),
            quota: tenant.quota,
            changed: tenant.row.quota.clone(),
        }
    }

    fn new_key(&self) -> Result<(AccessKey, RootKeyRow), Fault> {
        let key: AccessKey = serde_json::from_slice(&keys::generate()).map_err(Fault::internal)?;
        let row = RootKeyRow { secret: key.secret_access_key.clone(), created_ms: self.clock.wall_ms() };
        Ok((key, row))
    }

    fn free_account(&self) -> Result<TenantId, Fault> {
        let known = self.known.load();
        let mut tries = (0..ACCOUNT_TRIES).map(|_| {
            let number = uuid::Uuid::new_v4().as_u128() % 900_000_000_000 + 100_000_000_000;
            TenantId::new(number.to_string())
        });
        tries.find(|id| !known.contains_key(id)).ok_or_else(|| Fault::internal("no free account was found"))
    }

    async fn make(&self, name: &str, asked: wire::NewTenant) -> Result<wire::TenantMade, Fault> {
        check_name(name)?;
        asked.quota.check()?;
        let _one = self.changing.lock().await;
        let known = self.known.load_full();
        if known.len() >= TENANTS_MAX {
            return Err(Fault::new(Cause::Exhausted, format!("there are {TENANTS_MAX} tenants, as many as there may be")));
        }
        if let Some(other) = known.values().find(|t| t.row.name == name) {
            return Err(Fault::new(Cause::Conflict, format!("there is a tenant {name} already: account {}", other.id)));
        }
        let id = match asked.account.as_deref() {
            None => self.free_account()?,
            Some(account) if account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit()) => TenantId::new(account),
            Some(other) => return Err(Fault::invalid(format!("account is {other:?}; it must be twelve digits"))),
        };
        if let Some(other) = known.get(&id) {
            return Err(Fault::new(Cause::Conflict, format!("account {id} is tenant {}'s", other.row.name)));
        }
        if self.store.resources().rows_of(&id) > 0 {
            let text = format!("account {id} has data of an earlier time, when it was the platform's own");
            return Err(Fault::new(Cause::Conflict, text).hint("take another account, or none: one is made"));
        }
        let row = TenantRow { name: name.into(), created_ms: self.clock.wall_ms(), quota: asked.quota.clone(), leaving: false };
        let (key, key_row) = self.new_key()?;
        let writes = vec![
            put(key_of(&id), &row, Expect::Absent)?,
            put(Key::new(&id, ROOT_KEY, &key.access_key_id), &key_row, Expect::Absent)?,
        ];
        self.bound_rows(Some(&id));
        let made = self.store.resources().commit(writes).await;
        self.bound_rows(None);
        made?;
        let tenant = self.find(id.as_str())?;
        Ok(wire::TenantMade { tenant: self.shown(&tenant), key: made_key(key) })
    }

    async fn bound(&self, name: &str, change: wire::QuotaChange, reset: bool) -> Result<wire::Tenant, Fault> {
        change.check()?;
        let _one = self.changing.lock().await;
        let tenant = self.find(name)?;
        let before = if reset { wire::QuotaChange::default() } else { tenant.row.quota.clone() };
        let row = TenantRow { quota: change.or(before), ..tenant.row.clone() };
        self.store.resources().commit(vec![put(key_of(&tenant.id), &row, Expect::Any)?]).await?;
        let tenant = self.find(tenant.id.as_str())?;
        Ok(self.shown(&tenant))
    }

    async fn give_key(&self, name: &str) -> Result<wire::MadeKey, Fault> {
        let _one = self.changing.lock().await;
        let tenant = self.find(name)?;
        if self.keys_of(&tenant.id).len() >= KEYS_MAX {
            let text = format!("tenant {} has {KEYS_MAX} keys, as many as it may", tenant.row.name);
            return Err(Fault::new(Cause::Conflict, text).hint(format!("revoke one: myna tenant key {name} --revoke ID")));
        }
        let (key, row) = self.new_key()?;
        let write = put(Key::new(&tenant.id, ROOT_KEY, &key.access_key_id), &row, Expect::Absent)?;
        self.store.resources().commit(vec![write]).await?;
        Ok(made_key(key))
    }

    async fn take_key(&self, name: &str, id: &str) -> Result<wire::Tenant, Fault> {
        let _one = self.changing.lock().await;
        let tenant = self.find(name)?;
        if tenant.id == self.default && id == self.first_key.access_key_id {
            return Err(Fault::new(Cause::Conflict, format!("{id} is the key in the file access-key of the directory"))
                .hint("stop the platform and remove the file to have another one made"));
        }
        if !self.keys_of(&tenant.id).iter().any(|(key, _)| key == id) {
            return Err(Fault::not_found(format!("tenant {} has no key {id}", tenant.row.name))
                .hint(format!("its keys: myna tenant key {name}")));
        }
        let write = Write::Delete { key: Key::new(&tenant.id, ROOT_KEY, id), expect: Expect::Any };
        self.store.resources().commit(vec![write]).await?;
        Ok(self.shown(&tenant))
    }

    async fn remove(&self, name: &str, force: bool) -> Result<wire::Tenant, Fault> {
        let _one = self.changing.lock().await;
        let tenant = self.find(name)?;
        if tenant.id == self.default {
            return Err(Fault::new(Cause::Conflict, format!("{name} is the platform's own account and stays")));
        }
        let shown = self.shown(&tenant);
        if !force && shown.functions + shown.queued + shown.dead > 0 {
            let wire::Tenant { functions, queued, dead, .. } = &shown;
            let text = format!("tenant {name} has {functions} functions, {queued} events that wait and {dead} dead letters");
            return Err(Fault::new(Cause::Conflict, text)
                .hint(format!("to remove all that is its, for good: myna tenant remove {name} --force")));
        }
        let row = TenantRow { leaving: true, ..tenant.row.clone() };
        let mut writes = vec![put(key_of(&tenant.id), &row, Expect::Any)?];
        // Nobody signs for it any more from this moment on.
        let credentials = |kind: &str| kind == ROOT_KEY || dialects::aws::CREDENTIALS.contains(&kind);
        let keys = self.store.resources().keys().into_iter().filter(|k| k.tenant == tenant.id && credentials(k.kind));
        writes.extend(keys.map(|key| Write::Delete { key, expect: Expect::Any }));
        self.store.resources().commit(writes).await?;
        self.erase(&tenant.id).await?;
        Ok(shown)
    }

    /// Everything of a tenant that is leaving.
    async fn erase(&self, id: &TenantId) -> Result<(), Fault> {
        loop {
            let keys: Vec<Key> =
                self.store.resources().keys().into_iter().filter(|k| k.tenant == *id).take(ROWS_AT_ONCE).collect();
            if keys.is_empty() {
                break;
            }
            let writes = keys.into_iter().map(|key| Write::Delete { key, expect: Expect::Any }).collect();
            self.store.resources().commit(writes).await?;
        }
        // Its functions are not known any more; what runs of them ends.
        let left = self.engine.evict_all(id).await;
        if left > 0 {
            return Err(Fault::internal(format!("{left} instances of tenant {id} could not be ended"))
                .hint("restart the platform: that ends them, and removes the rest"));
        }
        self.store.forget(id).await?;
        self.store.resources().commit(vec![Write::Delete { key: key_of(id), expect: Expect::Any }]).await?;
        Ok(())
    }

    /// Remove what an earlier process left marked.
    pub async fn resume(&self) {
        let _one = self.changing.lock().await;
        let leaving: Vec<TenantId> = self.known.load().values().filter(|t| t.row.leaving).map(|t| t.id.clone()).collect();
        for id in leaving {
            match self.erase(&id).await {
                Ok(()) => tracing::info!("tenant {id}, whose removal was broken off, is removed"),
                Err(fault) => tracing::error!("tenant {id} is not removed yet, and will be at the next start: {fault}"),
            }
        }
    }
}

fn made_key(key: AccessKey) -> wire::MadeKey {
    wire::MadeKey { access_key_id: key.access_key_id, secret_access_key: key.secret_access_key }
}

fn check_name(name: &str) -> Result<(), Fault> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let begins = name.starts_with(|c: char| c.is_ascii_lowercase());
    if begins && name.len() <= NAME_LENGTH_MAX && name.bytes().all(plain) {
        return Ok(());
    }
    Err(Fault::invalid(format!(
        "name is {name:?}; it has 1 to {NAME_LENGTH_MAX} of the characters a-z, 0-9 and -, and begins with a letter"
    )))
}

impl ports::Tenants for Tenants {
    fn all(&self) -> Vec<TenantId> {
        self.known.load().values().filter(|t| !t.row.leaving).map(|t| t.id.clone()).collect()
    }
    fn quota(&self, tenant: &TenantId) -> Quota {
        let nothing =
            Quota { functions: 0, versions: 0, concurrency: 0, storage_bytes: 0, rows: 0, requests: 0, calls: 0, events: 0 };
        self.known.load().get(tenant).filter(|t| !t.row.leaving).map_or(nothing, |t| t.quota)
    }
    fn request(&self, tenant: &TenantId) -> Result<(), Duration> {
        self.known.load().get(tenant).map_or(Ok(()), |t| t.requests.take(self.clock.mono()))
    }
}

impl Registry for Tenants {
    fn list(&self) -> Vec<wire::Tenant> {
        let mut all: Vec<_> = self.known.load().values().map(|tenant| self.shown(tenant)).collect();
        all.sort_by(|a, b| (!a.is_default, &a.name).cmp(&(!b.is_default, &b.name)));
        all
    }
    fn show(&self, name: &str) -> Result<wire::Tenant, Fault> {
        self.find(name).map(|tenant| self.shown(&tenant))
    }
    fn account(&self, name: &str) -> Result<TenantId, Fault> {
        self.resolve(name)
    }
    fn add<'a>(&'a self, name: &'a str, asked: wire::NewTenant) -> Fut<'a, Result<wire::TenantMade, Fault>> {
        Box::pin(self.make(name, asked))
    }
    fn change<'a>(&'a self, name: &'a str, quota: wire::QuotaChange, reset: bool) -> Fut<'a, Result<wire::Tenant, Fault>> {
        Box::pin(self.bound(name, quota, reset))
    }
    fn new_key<'a>(&'a self, name: &'a str) -> Fut<'a, Result<wire::MadeKey, Fault>> {
        Box::pin(self.give_key(name))
    }
    fn revoke<'a>(&'a self, name: &'a str, id: &'a str) -> Fut<'a, Result<wire::Tenant, Fault>> {
        Box::pin(self.take_key(name, id))
    }
    fn remove<'a>(&'a self, name: &'a str, force: bool) -> Fut<'a, Result<wire::Tenant, Fault>> {
        Box::pin(Tenants::remove(self, name, force))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_none_that_an_account_could_have() {
        for good in ["a", "acme", "team-7", &"a".repeat(64)] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "7up", "123456789012", "Acme", "a b", "ä", "-a", "a/b", &"a".repeat(65)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
