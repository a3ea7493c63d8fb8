//! `myna tenant`: who shares the platform, what each may have, and their administrators' keys.

use crate::{
    admin::wire::{MadeKey, NewTenant, QuotaChange, Tenant, TenantMade},
    cli::{
        Ctx,
        problem::{Doing, Done, Problem},
        units::{ago, bytes},
    },
    platform::{Api, http::segment},
};
use http::Method;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  myna tenant add acme                                  an account of its own; its key is shown once
  myna tenant add acme --account 210987654321 --functions 20
  myna tenant list
  myna tenant show acme
  myna tenant quota acme --functions 50 --storage 2GiB --rate 20/s --call-rate 500/s
  myna tenant quota acme --reset                        what the configuration says
  myna tenant key acme --new                            one more key, for when keys are changed
  myna tenant key acme --revoke AKIA…
  myna tenant remove acme --force                       with all that is its; nothing brings it back
  eval \"$(myna env --tenant acme)\"                      now the aws CLI and every SDK are acme's
  myna list --tenant acme                               so is any other verb")]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Add a tenant, with an account and a key of its own.
    Add {
        /// Letters, digits and -.
        name: String,
        /// Twelve digits. [default: made at random]
        #[arg(long, value_name = "DIGITS")]
        account: Option<String>,
        #[command(flatten)]
        quota: Bounds,
    },
    /// List the tenants.
    List,
    /// Show one tenant: what it has, and what it may have.
    Show {
        /// By name or account.
        name: String,
    },
    /// Change what a tenant may have, at once; without an option, show it.
    Quota {
        /// By name or account.
        name: String,
        #[command(flatten)]
        quota: Bounds,
        /// First forget what was changed before: the configuration says the rest.
        #[arg(long)]
        reset: bool,
    },
    /// Show the ids of its administrator's keys, make one, or take one away.
    Key {
        /// By name or account.
        name: String,
        /// Make a key; its secret is shown once.
        #[arg(long, conflicts_with = "revoke")]
        new: bool,
        /// Nothing is signed with this key any more.
        #[arg(long, value_name = "ID")]
        revoke: Option<String>,
    },
    /// Remove a tenant that has no functions and no events, for good.
    Remove {
        /// By name or account.
        name: String,
        /// With its functions, code, logs, records and events, and the keys that sealed them.
        #[arg(long)]
        force: bool,
    },
}

#[derive(clap::Args, Default)]
struct Bounds {
    /// Functions.
    #[arg(long, value_name = "N")]
    functions: Option<u64>,
    /// Published versions of all its functions together.
    #[arg(long, value_name = "N")]
    versions: Option<u64>,
    /// Calls under way at the same time.
    #[arg(long, value_name = "N")]
    concurrency: Option<u32>,
    /// Bytes of the archives of its functions, versions and layers: 500MiB, 2GiB, or a number.
    #[arg(long, value_name = "BYTES", value_parser = size)]
    storage: Option<u64>,
    /// Stored rows: functions, versions, roles, sessions and all else.
    #[arg(long, value_name = "N")]
    rows: Option<u64>,
    /// Requests of its control plane: 20/s, or none for no limit.
    #[arg(long, value_name = "N/s", value_parser = rate)]
    rate: Option<u32>,
    /// Calls of its functions, accepted events among them: 500/s, or none for no limit.
    #[arg(long, value_name = "N/s", value_parser = rate)]
    call_rate: Option<u32>,
    /// Events that wait, and dead letters.
    #[arg(long, value_name = "N")]
    events: Option<u64>,
}

impl Bounds {
    fn change(&self) -> QuotaChange {
        QuotaChange {
            functions: self.functions,
            versions: self.versions,
            concurrency: self.concurrency,
            storage_bytes: self.storage,
            rows: self.rows,
            requests: self.rate,
            calls: self.call_rate,
            events: self.events,
        }
    }
}

fn size(text: &str) -> Result<u64, String> {
    let units = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40), ("", 0)];
    let (number, shift) = units.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift))).unwrap_or((text, 0));
    let wrong = || format!("{text:?} is no size; write it like 500MiB, 2GiB or 1048576");
    let number: u64 = number.trim().parse().map_err(|_| wrong())?;
    number.checked_mul(1 << shift).ok_or_else(wrong)
}

fn rate(text: &str) -> Result<u32, String> {
    let number = text.strip_suffix("/s").unwrap_or(text);
    let wrong = || format!("{text:?} is no rate; write it like 20/s, up to 1000000/s, or none");
    let number = if number == "none" { 0 } else { number.parse().map_err(|_| wrong())? };
    if number <= 1_000_000 { Ok(number) } else { Err(wrong()) }
}

pub async fn run(ctx: &Ctx, args: &Args) -> Done {
    let api = super::platform(ctx)?;
    match &args.what {
        What::Add { name, account, quota } => add(ctx, &api, name, account.clone(), quota).await,
        What::List => list(ctx, &api).await,
        What::Show { name } => {
            let tenant: Tenant = api.read(&path(name, "")).await?;
            shown(ctx, &tenant, show)
        }
        What::Quota { name, quota, reset } if *reset || quota.change() != QuotaChange::default() => {
            let query = if *reset { "/quota?reset=1" } else { "/quota" };
            let tenant: Tenant = ask(&api, Method::PUT, &path(name, query), Some(&quota.change())).await?;
            shown(ctx, &tenant, limits)
        }
        What::Quota { name, .. } => {
            let tenant: Tenant = api.read(&path(name, "")).await?;
            shown(ctx, &tenant, limits)
        }
        What::Key { name, new: true, .. } => {
            let key: MadeKey = ask(&api, Method::POST, &path(name, "/keys"), None::<&()>).await?;
            if ctx.out.json {
                ctx.out.json(&key);
                return Ok(());
            }
            ctx.out.good(format!("a new key of {name}; its secret is shown this once"));
            ctx.out.pairs(&of_key(&key));
            Ok(())
        }
        What::Key { name, revoke: Some(id), .. } => {
            let tenant: Tenant = ask(&api, Method::DELETE, &path(name, &format!("/keys/{}", segment(id))), None::<&()>).await?;
            shown(ctx, &tenant, |ctx, tenant| {
                ctx.out.good(format!("nothing is signed with {id} any more"));
                if tenant.keys.is_empty() {
                    ctx.out.note(format!("{name} has no key now; to make one: myna tenant key {name} --new"));
                }
            })
        }
        What::Key { name, .. } => {
            let tenant: Tenant = api.read(&path(name, "")).await?;
            shown(ctx, &tenant, |ctx, tenant| tenant.keys.iter().for_each(|key| ctx.out.line(key)))
        }
        What::Remove { name, force } => {
            let query = if *force { "?force=1" } else { "" };
            let tenant: Tenant = ask(&api, Method::DELETE, &path(name, query), None::<&()>).await?;
            shown(ctx, &tenant, |ctx, tenant| {
                ctx.out.good(format!("tenant {} is removed, and all that was its", tenant.name));
                ctx.out.note(format!(
                    "functions {}, events {}, rows {}, packages {}",
                    tenant.functions,
                    tenant.queued + tenant.dead,
                    tenant.rows,
                    bytes(tenant.package_bytes)
                ));
            })
        }
    }
}

async fn add(ctx: &Ctx, api: &Api, name: &str, account: Option<String>, quota: &Bounds) -> Done {
    let asked = NewTenant { account, quota: quota.change() };
    let made: TenantMade = ask(api, Method::POST, &path(name, ""), Some(&asked)).await?;
    if ctx.out.json {
        ctx.out.json(&made);
        return Ok(());
    }
    ctx.out.good(format!("tenant {name} is there; the secret of its key is shown this once"));
    let mut rows = vec![("account", made.tenant.account.clone())];
    rows.extend(of_key(&made.key));
    ctx.out.pairs(&rows);
    ctx.out.note(format!("for its clients: eval \"$(myna env --tenant {name})\"; for any verb of yours: --tenant {name}"));
    Ok(())
}

async fn list(ctx: &Ctx, api: &Api) -> Done {
    let all: Vec<Tenant> = api.read("/admin/v1/tenants").await?;
    if ctx.out.json {
        ctx.out.json(&all);
        return Ok(());
    }
    let row = |t: &Tenant| {
        vec![
            t.name.clone(),
            t.account.clone(),
            t.functions.to_string(),
            t.instances.to_string(),
            t.queued.to_string(),
            bytes(t.package_bytes),
            match (t.leaving, t.created_ms) {
                (true, _) => "being removed".into(),
                (false, 0) => "from the start".into(),
                (false, at) => ago(at),
            },
        ]
    };
    let rows: Vec<Vec<String>> = all.iter().map(row).collect();
    ctx.out.table(&["tenant", "account", "functions", "instances", "events", "packages", "since"], &rows);
    Ok(())
}

fn show(ctx: &Ctx, tenant: &Tenant) {
    ctx.out.pairs(&[
        ("tenant", tenant.name.clone()),
        ("account", tenant.account.clone()),
        ("keys", if tenant.keys.is_empty() { "none".into() } else { tenant.keys.join("\n") }),
        ("instances", tenant.instances.to_string()),
        ("packages", bytes(tenant.package_bytes)),
        ("events", format!("{} wait, {} dead letters", tenant.queued, tenant.dead)),
        ("", String::new()),
    ]);
    limits(ctx, tenant);
}

fn limits(ctx: &Ctx, tenant: &Tenant) {
    let per_second = |n: u32| if n == 0 { "not limited".to_owned() } else { format!("{n}/s") };
    let (quota, changed) = (&tenant.quota, &tenant.changed);
    let from = |own: bool| if own { "its own" } else { "the configuration" };
    let rows = [
        ("functions", tenant.functions.to_string(), quota.functions.to_string(), changed.functions.is_some()),
        ("versions", String::new(), quota.versions.to_string(), changed.versions.is_some()),
        ("concurrency", String::new(), quota.concurrency.to_string(), changed.concurrency.is_some()),
        ("storage", String::new(), bytes(quota.storage_bytes), changed.storage_bytes.is_some()),
        ("rows", tenant.rows.to_string(), quota.rows.to_string(), changed.rows.is_some()),
        ("requests", String::new(), per_second(quota.requests), changed.requests.is_some()),
        ("calls", String::new(), per_second(quota.calls), changed.calls.is_some()),
        ("events", tenant.queued.to_string(), quota.events.to_string(), changed.events.is_some()),
    ];
    let rows: Vec<Vec<String>> =
        rows.into_iter().map(|(what, has, may, own)| vec![what.to_owned(), has, may, from(own).to_owned()]).collect();
    ctx.out.table(&["quota", "has", "may have", "as said by"], &rows);
}

fn shown(ctx: &Ctx, tenant: &Tenant, people: impl FnOnce(&Ctx, &Tenant)) -> Done {
    if ctx.out.json {
        ctx.out.json(tenant);
    } else {
        people(ctx, tenant);
    }
    Ok(())
}

fn of_key(key: &MadeKey) -> [(&'static str, String); 2] {
    [("access key", key.access_key_id.clone()), ("secret", key.secret_access_key.clone())]
}

fn path(name: &str, rest: &str) -> String {
    format!("/admin/v1/tenants/{}{rest}", segment(name))
}

async fn ask<T: DeserializeOwned>(api: &Api, method: Method, path: &str, body: Option<&impl Serialize>) -> Result<T, Problem> {
    let body: Option<Value> = body.map(serde_json::to_value).transpose().doing("the request can't be made")?;
    serde_json::from_value(api.json(method, path, body.as_ref()).await?).doing("the platform's answer has another shape")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_rates_are_read_as_people_write_them() {
        assert_eq!((size("2GiB"), size("1048576"), size("500 MiB")), (Ok(2 << 30), Ok(1 << 20), Ok(500 << 20)));
        assert!(size("2GB").is_err() && size("-1").is_err() && size("99999999999TiB").is_err());
        assert_eq!((rate("20/s"), rate("7"), rate("none")), (Ok(20), Ok(7), Ok(0)));
        assert!(rate("20/m").is_err() && rate("2000000/s").is_err());
    }
}
