//! The composition root: the only place that names every crate. It builds a platform out of them, runs it until it is told to
//! stop, and takes it down again.

mod clock;
pub mod config;
mod doors;
mod download;
mod holds;
mod host;
mod keys;
mod listen;
mod moved;
mod node;
mod place;
mod reload;
mod secrets;
mod tenants;
mod tls;
pub mod upstream;

pub use config::{Config, NAMES, usual_key};
pub use host::{Host, machine, missing};
pub use listen::Listen;
pub use reload::Read;

use crate::{
    admin::{Admin, AdminHost as _},
    metrics::{self, MetricsDoor},
};
use anyhow::Context;
use clock::Machine;
use console::Console;
use doors::{AdminDoor, ConsoleDoor};
use engine::{
    Engine, Parts, Plane,
    events::{Events, Outcomes},
    pools,
};
use gateway::{Bind, Door, aws::AwsDoor};

use keys::{AccessKey, IdentityPolicies, Keys};
use model::{
    Fault, Fut, Key, Loops,
    access::Authority,
    ports::{Capacity, Contract, Dialect, InstanceCaller, Platform, Request, Response, Runtime, Sandbox},
    sandbox::Tier,
};
use node::Node;
use sandbox_process::Process;
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError, Sender},
    },
    time::Duration,
};
use store::Store;
use tenants::Tenants;
use tokio::net::TcpSocket;

const RETENTION_EVERY: Duration = Duration::from_secs(60);
/// How often a stopping platform looks for calls that are still running.
const DRAIN_LOOK_EVERY: Duration = Duration::from_millis(250);

/// Must run before anything else in `main`: in a process that was started to make sandboxes it never returns.
pub fn run_if_helper() {
    sandbox_process::run_if_helper();
}

/// Everything that a running platform is made of.
pub struct Built {
    tenants: Arc<Tenants>,
    pub host: Arc<Host>,
    engine: Arc<Engine>,
    events: Arc<Events>,
    store: Arc<Store>,
    dialects: Vec<Arc<dyn Dialect>>,
    node: Arc<Node>,
    doors: gateway::Bound,
    loops: Arc<Loops>,
    /// The first key was made at this start.
    key_made: bool,
    tls: tls::Tls,
    config: Arc<Config>,
}

/// How a platform ended.
pub struct Ended {
    pub report: gateway::Report,
    /// Why it ended by itself, if nobody asked it to.
    pub broken: Option<String>,
}

impl Built {
    /// Put a platform together. Call it on the main thread, inside its runtime: the spawner of sandboxes lives as long as the
    /// thread that starts it.
    pub fn new(config: Config) -> anyhow::Result<Self> {
        let mut config = config;
        // Before anything is made: a certificate that can't be used is no reason to leave a directory behind.
        let tls = tls::Tls::load(&config)?;
        let mut addresses = vec![&mut config.listen.at, &mut config.console.at];
        addresses.extend(config.metrics.as_mut());
        let held = addresses.into_iter().map(settle).collect::<anyhow::Result<Vec<_>>>()?;
        let config = Arc::new(config);
        let clock = Arc::new(Machine);
        let loops = Loops::new(clock.clone());
        loops.watch_pulses().context("start the thread that looks at the platform's loops")?;
        let store = Store::watched(&config.dir, host::store_options(&config), clock.clone(), &loops)?;
        let dir = store.directory().path().to_path_buf();
        let mut made = false;
        let generate = || {
            made = true;
            keys::generate()
        };
        let key: AccessKey = serde_json::from_slice(&store.directory().secret("access-key", generate)?)
            .map_err(|e| store.directory().damaged_secret("access-key", e))?;

        same_mode(&store, config.no_auth)?;
        let sandbox = Process::start(sandbox_process::Config {
            memory_total_bytes: Some(config.memory_bytes),
            loops: loops.clone(),
            sources: sandbox_process::Asked(Some(store.packages().clone())),
            ..sandbox_process::Config::new(&dir)
        })?;
        let runtimes = Arc::new(runtimes::Catalogue::new(host::runtime_config(&config, &dir)));
        let policies = Arc::new(IdentityPolicies::new(store.clone()));
        let policy: Arc<dyn model::ports::Policy> = Arc::new(policy::Evaluator::new(policies.clone()));

        let engine = Engine::new(
            Parts {
                clock: clock.clone(),
                backend: Arc::new(place::Node {
                    tiers: BTreeMap::from([(Tier::Process, sandbox.clone() as Arc<dyn Sandbox>)]),
                    capacity: Capacity { memory_bytes: config.promised_bytes(), instances: config.instances_max as u64 },
                }),
                contracts: contracts::all().into_iter().map(|c: Arc<dyn Contract>| (c.name(), c)).collect(),
                runtimes: Arc::new(Resolver(runtimes.clone())),
                policy: policy.clone(),
                journal: store.journal().clone(),
                framer: |framed| {
                    if framed { contracts::lambda::log_frames::frames() } else { contracts::lambda::log_frames::lines() }
                },
                format: dialects::aws::logs::format,
                chance: || f64::from(uuid::Uuid::new_v4().as_fields().0) / f64::from(u32::MAX),
                region: config.region.as_str().into(),
                cpus: config.cpus,
                mib_per_cpu: 1769,
                unbound: config.prestarted,
            },
            pools::Config {
                memory_bytes: config.promised_bytes(),
                overhead_bytes: 4 << 20,
                instances_max: config.instances_max,
                starts_max: config.starts_max,
                tenant_concurrency: config.concurrency,
                keep_alive: config.keep_alive,
                freeze_after: model::limits::FREEZE_AFTER,
            },
        );

        let events = Events::new(engine.clone(), store.queue().clone(), config.events_in_flight);
        let settings = node::settings(&config, &config.listen.authority(tls.aws.as_deref()), tls.aws.is_some());
        let dialects: Vec<Arc<dyn Dialect>> = dialects::ALL.iter().map(|(_, make)| make(&settings)).collect();
        let upstreams = upstream::Upstreams::new(&config.upstreams, &config.account, &config.region)?;
        let tenants =
            Tenants::new(store.clone(), engine.clone(), clock.clone(), &settings.default_tenant, config.quota, key.clone());
        let node = Arc::new(Node {
            engine: engine.clone(),
            events: events.clone(),
            store: store.clone(),
            policy,
            upstreams,
            settings: settings.clone(),
            tenants: tenants.clone(),
        });
        let keys = Arc::new(Keys::new(&key, &settings.default_tenant, store.clone()));
        follow_commits(&store, &engine, &dialects, (&policies, &keys, &tenants));

        let authority = Authority::take().context("a process holds one platform")?;
        let aws_dialect = dialects.iter().find(|d| d.name() == dialects::aws::NAME).context("the AWS dialect is registered")?;
        let parts = host::Parts {
            store: store.clone(),
            engine: engine.clone(),
            sandbox,
            runtimes,
            loops: loops.clone(),
            tls: tls.clone(),
            tenants: tenants.clone(),
        };
        let host = Arc::new(Host::new(config.clone(), key.clone(), parts, &settings));
        let aws = Arc::new(AwsDoor::new(
            authority,
            keys.clone(),
            clock,
            settings.clone(),
            aws_dialect.clone(),
            gateway::aws::Options {
                no_auth: config.no_auth,
                hosts: config.listen.hosts(tls.aws.as_deref()),
                private_cookie: Some(console::COOKIE),
                ready: Some(host.readiness()),
                download: Some(host.download()),
                audit: Some(store.audit().clone()),
            },
        ));
        engine.connect(Arc::new(InstancePlane(aws.clone())));
        events.connect(Arc::new(Words(dialects.clone())));
        let platform: Arc<dyn Platform> = node.clone();
        let console = Arc::new(Console::new(
            platform.clone(),
            dialects::aws::logs::format,
            host.console_authority(),
            tls.console.is_some(),
        ));
        host.set_console(console.clone());
        let admin = Arc::new(Admin::new(platform, host.clone(), dialects::aws::logs::format, store.audit().clone()));
        let shown = host.clone();
        let metrics = MetricsDoor(Arc::new(move |format| shown.metrics(format)));
        let mut open =
            open_doors(&config, &dir, (&aws, &admin, ConsoleDoor { console, audit: store.audit().clone() }), &tenants, &tls);
        open.extend(config.metrics.map(|at| Door {
            name: "metrics",
            bind: Bind::Tcp(at),
            handler: Arc::new(metrics),
            tls: None,
        }));
        let doors = gateway::open(open)?.watched(&loops);
        drop(held);
        host.set_sources(metrics::Sources {
            store: store.clone(),
            engine: engine.clone(),
            events: events.clone(),
            counters: doors.counters(),
            loops: loops.clone(),
            memory_promised: config.promised_bytes(),
            memory_usable: config.memory_bytes,
            started_ms: host.started_ms(),
        });
        Ok(Self { tenants, host, engine, events, store, dialects, node, doors, loops, key_made: made, tls, config })
    }

    /// Serve until `stop`, then take everything down. `read` reads the configuration once more, whenever SIGHUP says so. Nothing of an instance is left when this returns.
    pub async fn run(self, stop: gateway::Stop, read: reload::Read, ready: impl FnOnce(&Host)) -> anyhow::Result<Ended> {
        for leftover in self.host.sweep().await {
            tracing::info!("removed what an earlier run left behind: {}", leftover.what);
        }
        self.tenants.resume().await;
        for dialect in &self.dialects {
            dialect.start(self.node.clone()).await?;
        }
        // A full disk is no reason not to serve what is there.
        if let Err(fault) = self.host.audit_start(self.key_made).await {
            tracing::warn!(%fault, "this start is not in the audit log");
        }
        self.events.end_orphans().await;
        let retention = maintain(self.loops.clone(), self.store.clone(), self.engine.clone())?;
        let mut beside = tokio::task::JoinSet::new();
        beside.spawn(housekeep(self.loops.clone(), self.engine.clone()));
        beside.spawn(try_events(self.loops.clone(), self.events.clone()));
        beside.spawn(self.tls.clone().follow(self.loops.clone()));
        beside.spawn(reload::follow(self.loops.clone(), self.engine.clone(), self.tenants.clone(), read, self.config.clone()));
        self.host.stop_by(&stop);
        self.host.set_phase(host::Phase::Ready);
        ready(&self.host);
        beside.spawn(give_up(self.loops.clone(), stop.clone()));
        beside.spawn(drain(self.host.clone(), self.engine.clone(), self.events.clone(), stop.drain.clone()));
        let (begun, now) = (stop.drain.clone(), stop.now.clone());
        let limits = gateway::Limits::default();
        let patience = limits.drain;
        let attempts = async {
            tokio::select! {
                left = self.events.drain(patience) => left,
                () = now.cancelled() => self.events.view().in_flight,
            }
        };
        let (report, left) = wind_down(&begun, self.doors.serve(limits, stop), attempts).await;
        if left > 0 {
            tracing::warn!("{left} queued events were being tried; they are tried again after the next start");
        }
        drop(retention);
        beside.shutdown().await;
        self.engine.shutdown().await;
        let host = self.host.clone();
        let closed = tokio::task::spawn_blocking(move || host.close()).await;
        // What closes may be what is broken, which is then the better answer.
        match self.loops.broken() {
            Some(why) => Ok(Ended { report, broken: Some(why) }),
            None => closed.map(|()| Ended { report, broken: None }).map_err(Into::into),
        }
    }
}

/// Requests and attempts at events come to their end side by side: each has the time that a stop may take, counted from the word
/// to stop, and not one after the other.
async fn wind_down<R, L>(begun: &model::Cancel, requests: impl Future<Output = R>, attempts: impl Future<Output = L>) -> (R, L) {
    tokio::join!(requests, async {
        begun.cancelled().await;
        attempts.await
    })
}

/// A loop that can't be kept alive ends everything, and quickly: what is missing may be what a slow end would need.
async fn give_up(loops: Arc<Loops>, stop: gateway::Stop) {
    loops.given_up().await;
    tracing::error!("stopping at once: {}", loops.broken().unwrap_or_default());
    stop.drain.cancel();
    stop.now.cancel();
}

/// Says how many calls the end still waits for, until nothing more is heard of it.
async fn drain(host: Arc<Host>, engine: Arc<Engine>, events: Arc<Events>, begun: model::Cancel) {
    begun.cancelled().await;
    host.drain();
    events.stop();
    let mut said = None;
    loop {
        let left = engine.in_flight();
        if said != Some(left) {
            tracing::info!("stopping: no more requests are taken; calls that are not over: {left}");
            said = Some(left);
        }
        tokio::time::sleep(DRAIN_LOOK_EVERY).await;
    }
}

async fn try_events(loops: Arc<Loops>, events: Arc<Events>) {
    loops.watch("events", |_| events.clone().run()).await;
}

async fn housekeep(loops: Arc<Loops>, engine: Arc<Engine>) {
    loops.watch("housekeeper", |pulse| engine.clone().housekeep(pulse)).await;
}

/// A directory that was made with signatures is never opened without: whoever relied on them would not know.
fn same_mode(store: &Store, no_auth: bool) -> anyhow::Result<()> {
    let mode: &[u8] = if no_auth { b"no-auth" } else { b"signed" };
    let made = store.directory().secret("mode", || mode.to_vec())?;
    if no_auth && made != mode {
        anyhow::bail!(
            "{} was made with signatures and is not opened with --no-auth; use another --dir for that",
            store.directory().path().display()
        );
    }
    Ok(())
}

/// Port 0 becomes a free one, which nobody else is given while the socket is held. It doesn't listen, so a door can be opened on its
/// port beside it (`SO_REUSEADDR`, socket(7)).
fn settle(address: &mut std::net::SocketAddr) -> anyhow::Result<Option<TcpSocket>> {
    if address.port() != 0 {
        return Ok(None);
    }
    let hold = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(*address)?;
        Ok::<_, std::io::Error>((socket.local_addr()?, socket))
    };
    let (found, socket) = hold().with_context(|| format!("find a free port on {}", address.ip()))?;
    *address = found;
    Ok(Some(socket))
}

fn open_doors(
    config: &Config,
    dir: &std::path::Path,
    (aws, admin, console): (&Arc<AwsDoor>, &Arc<Admin>, ConsoleDoor),
    tenants: &Arc<Tenants>,
    tls: &tls::Tls,
) -> Vec<Door> {
    let admin = AdminDoor { admin: admin.clone(), aws: aws.clone(), tenants: tenants.clone() };
    vec![
        Door { name: "aws", bind: Bind::Tcp(config.listen.at), handler: aws.clone(), tls: tls.aws.clone() },
        Door { name: "admin", bind: Bind::Unix(dir.join("admin.sock")), handler: Arc::new(admin), tls: None },
        Door { name: "console", bind: Bind::Tcp(config.console.at), handler: Arc::new(console), tls: tls.console.clone() },
    ]
}

/// What is stored is what the engine knows: after every commit, and once now for all that is there.
fn follow_commits(
    store: &Arc<Store>,
    engine: &Arc<Engine>,
    dialects: &[Arc<dyn Dialect>],
    access: (&Arc<IdentityPolicies>, &Arc<Keys>, &Arc<Tenants>),
) {
    let reconcile = {
        let (store, engine, dialects) = (Arc::downgrade(store), engine.clone(), dialects.to_vec());
        move |changed: &[Key]| {
            let Some(store) = store.upgrade() else { return };
            secrets::follow(&store, &engine, changed);
            for dialect in &dialects {
                let own: Vec<Key> = changed.iter().filter(|k| dialect.kinds().contains(&k.kind)).cloned().collect();
                if !own.is_empty() {
                    for (tenant, group, age) in dialect.log_ages(&own, &**store.resources()) {
                        store.logs().keep(&tenant, &group, age);
                    }
                    let ops = moved::ops(&store, dialect.reconcile(&own, &**store.resources()));
                    engine.apply(secrets::ops(&store, ops));
                }
            }
        }
    };
    reconcile(&store.resources().keys());
    holds::apply(store, engine);
    let (held, held_engine) = (Arc::downgrade(store), engine.clone());
    let (policies, keys, tenants) = (access.0.clone(), access.1.clone(), Arc::downgrade(access.2));
    store.resources().on_commit(move |changed| {
        policies.forget(changed);
        keys.follow(changed);
        if let Some(tenants) = tenants.upgrade() {
            tenants.follow(changed);
        }
        if changed.iter().any(|key| key.kind == crate::admin::hold::KIND)
            && let Some(store) = held.upgrade()
        {
            holds::apply(&store, &held_engine);
        }
        reconcile(changed);
    });
}

/// Retention, every minute, until what this returns is dropped. On a thread of its own from the start: a machine that is out of
/// processes later must not keep it from making room.
fn maintain(loops: Arc<Loops>, store: Arc<Store>, engine: Arc<Engine>) -> std::io::Result<Sender<()>> {
    let (held, ended) = mpsc::channel();
    let rounds = move |pulse: &model::Pulse| {
        loop {
            pulse.work();
            if let Err(error) = store.maintain(&engine.packages_in_use(), &|| pulse.work()) {
                tracing::error!("retention failed: {error}");
            }
            pulse.rest();
            if ended.recv_timeout(RETENTION_EVERY) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    };
    std::thread::Builder::new().name("retention".into()).spawn(move || loops.run("retention", rounds))?;
    Ok(held)
}

/// Language environments, found again only when something may have changed.
struct Resolver(Arc<runtimes::Catalogue>);

impl engine::Runtimes for Resolver {
    fn resolve(&self, name: &str) -> Result<Arc<Runtime>, Fault> {
        self.0.resolve(name)
    }
}

/// Words the end of an event in the form of the system that its function belongs to.
struct Words(Vec<Arc<dyn Dialect>>);

impl Outcomes for Words {
    fn event(&self, finished: &model::queue::Finished<'_>) -> Option<bytes::Bytes> {
        self.0.iter().find(|d| d.name() == finished.function.dialect).and_then(|d| d.outcome(finished))
    }
}

/// What instances ask for over their own sockets.
struct InstancePlane(Arc<AwsDoor>);

impl Plane for InstancePlane {
    fn plane(&self, request: Request, caller: InstanceCaller) -> Fut<'_, Response> {
        Box::pin(self.0.plane(request, caller))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The dialect refuses what the contract would overwrite: two lists, since neither may know the other.
    #[test]
    fn every_variable_that_the_contract_keeps_for_itself_is_refused_by_the_dialect() {
        let kept: Vec<&str> = contracts::lambda::RESERVED.to_vec();
        let refused = dialects::aws::RESERVED;
        assert!(refused.iter().all(|name| kept.contains(name)), "refused without need: {refused:?}");
        // Ours; Lambda's API accepts the name, and its value is not used.
        let silent: Vec<&str> = kept.into_iter().filter(|name| !refused.contains(name)).collect();
        assert_eq!(silent, ["_LAMBDA_TELEMETRY_LOG_FD"]);
    }

    #[tokio::test(start_paused = true)]
    async fn requests_and_events_share_the_time_that_a_stop_may_take() {
        let (begun, limit) = (model::Cancel::new(), Duration::from_secs(25));
        let requests = async {
            begun.cancelled().await;
            tokio::time::sleep(limit).await;
        };
        let word = async {
            tokio::time::sleep(Duration::from_secs(600)).await;
            begun.cancel();
            tokio::time::Instant::now()
        };
        // The clock is simulated: it stands at the same moment in every run.
        let (told, _) = tokio::join!(word, wind_down(&begun, requests, tokio::time::sleep(limit)));
        assert_eq!(told.elapsed().as_secs(), limit.as_secs());
    }

    // F49
    #[tokio::test]
    async fn a_free_port_is_nobody_elses_until_the_door_is_open() {
        let mut held = Vec::new();
        let mut ports = std::collections::BTreeSet::new();
        for _ in 0..300 {
            let mut address = "127.0.0.1:0".parse().unwrap();
            held.push(settle(&mut address).unwrap().expect("it is held"));
            assert!(address.port() != 0 && ports.insert(address.port()), "{address} was given twice");
            std::net::TcpListener::bind(address).expect("a door opens beside what holds its port");
        }
        let mut named = "127.0.0.1:1".parse().unwrap();
        assert!(settle(&mut named).unwrap().is_none() && named.port() == 1);
    }

    // F12
    #[tokio::test(start_paused = true)]
    async fn a_loop_that_is_given_up_stops_the_platform_at_once() {
        let (loops, stop) = (Loops::alone(), gateway::Stop::default());
        let watch = tokio::spawn(give_up(loops.clone(), stop.clone()));
        let mut runs = 0;
        let fails = loops.watch("housekeeper", |_| {
            runs += 1;
            assert!(!stop.now.is_cancelled(), "run again after it was given up");
            async { panic!("out of order") }
        });
        fails.await;
        watch.await.unwrap();
        assert!(stop.now.is_cancelled() && stop.drain.is_cancelled());
        assert_eq!(runs, model::limits::LOOP_PANICS_MAX + 1);
        assert!(loops.broken().is_some_and(|why| why.contains("housekeeper") && why.contains("out of order")));
    }
}
