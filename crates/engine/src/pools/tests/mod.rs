//! The pools under a fair environment that a test drives by hand, with everything that must hold checked after every step.

mod hours;
mod ready;
mod sequences;

use super::*;
use crate::keepalive::KeepAlive;
use model::{
    Package,
    catalog::{LogSettings, Settings},
    ports::{NotKept, Slots},
    sandbox::{Network, Tier},
};
use std::collections::BTreeMap;

const MIB: u64 = 1 << 20;

pub fn config(mib: u64) -> Config {
    Config {
        memory_bytes: mib * MIB,
        overhead_bytes: 0,
        instances_max: 1000,
        starts_max: 1000,
        tenant_concurrency: 100_000,
        keep_alive: KeepAlive::default(),
        freeze_after: Duration::from_millis(50),
    }
}

pub fn unit(tenant: &str, function: &str, memory_mib: u32, slots: Slots) -> Arc<Unit> {
    let settings = Settings {
        memory_mib,
        timeout: Duration::from_secs(3),
        init_timeout: Duration::from_secs(10),
        tmp_mib: 512,
        request_bytes_max: 1000,
        event_bytes_max: 1000,
        reply_bytes_max: 1000,
        stream_bytes_max: 1000,
        network: Network::Loopback,
        slots,
        log: LogSettings { group: "g".into(), json: false, level: None, system_level: None },
    };
    Arc::new(Unit {
        tenant: tenant.into(),
        function: function.into(),
        version: "$LATEST".into(),
        revision: RevisionId::random(),
        dialect: "d",
        resource_name: function.into(),
        package: Package::Unpacked { digest: "".into(), bytes: 0, path: "/".into() },
        layers: vec![],
        runtime: "r".into(),
        contract: "c",
        tier: Tier::Process,
        handler: "h".into(),
        env: Vec::new(),
        secrets: Vec::new(),
        made: RevisionId::random(),
        settings,
        role: None,
    })
}

pub fn key(unit: &Unit) -> FunctionKey {
    (unit.tenant.clone(), unit.function.clone())
}

/// A call by its number, as the world sees it.
pub struct Waiting {
    pub call: usize,
    pub unit: Arc<Unit>,
    pub ticket: Ticket,
}
pub struct Running {
    pub call: usize,
    pub id: InstanceId,
    pub key: FunctionKey,
}

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Served,
    Failed,
    Abandoned,
}

/// Carries out the pools' decisions, one at a time and in whatever order the test wants.
pub struct World {
    pub pools: Pools<usize>,
    pub now: Mono,
    pub waiting: Vec<Waiting>,
    pub running: Vec<Running>,
    pub starting: Vec<(InstanceId, RevisionId)>,
    pub killing: Vec<InstanceId>,
    /// By call: how it ended.
    pub ends: BTreeMap<usize, End>,
    pub admitted: usize,
    pub starts: usize,
    pub killed: usize,
    pub instances_most: usize,
}

impl World {
    pub fn new(config: Config) -> Self {
        Self {
            pools: Pools::new(config),
            now: Mono(1),
            waiting: Vec::new(),
            running: Vec::new(),
            starting: Vec::new(),
            killing: Vec::new(),
            ends: BTreeMap::new(),
            admitted: 0,
            starts: 0,
            killed: 0,
            instances_most: 0,
        }
    }

    pub fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
    }

    /// The call's number, or why it was refused.
    pub fn admit(&mut self, unit: &Arc<Unit>) -> Result<usize, Refusal> {
        let (call, key) = (self.admitted, key(unit));
        let admission = self.pools.admit(&key, unit, self.now, |_| call)?;
        self.admitted += 1;
        match admission {
            Admission::Slot(id) => self.running.push(Running { call, id, key }),
            Admission::Waiting(ticket) => self.waiting.push(Waiting { call, unit: unit.clone(), ticket }),
        }
        self.act();
        Ok(call)
    }

    fn end(&mut self, call: usize, end: End) {
        assert_eq!(self.ends.insert(call, end), None, "call {call} ended twice");
    }

    pub fn ready(&mut self, at: usize, slots: u32) {
        let (id, _) = self.starting.remove(at);
        self.pools.ready(id, slots, self.now);
        self.act();
    }
    /// It was running already, under another name.
    pub fn adopted(&mut self, at: usize) {
        let other = InstanceId::random();
        self.pools.adopt(self.starting[at].0, other);
        self.starting[at].0 = other;
        self.act();
    }
    pub fn start_failed(&mut self, at: usize) {
        let (id, _) = self.starting.remove(at);
        if let Some(call) = self.pools.start_failed(id) {
            let at = self.waiting.iter().position(|w| w.call == call).expect("only who waits is told");
            self.waiting.remove(at);
            self.end(call, End::Failed);
        }
        self.killing.push(id);
        self.act();
    }
    pub fn over(&mut self, at: usize, spent: bool) {
        let Running { call, id, key } = self.running.remove(at);
        if spent {
            self.pools.spent(id, &key, self.now);
        } else {
            self.pools.freed(id, &key, self.now);
        }
        self.end(call, End::Served);
        self.act();
    }
    /// Its instance was of no use: another one, without asking for admission again.
    pub fn again(&mut self, at: usize) {
        let Running { call, id, key } = self.running.remove(at);
        let unit = self.pools.unit(self.pools.instances[&id].revision).expect("it has an instance");
        match self.pools.again(id, &key, &unit, self.now, |_| call) {
            Admission::Slot(other) => {
                assert_ne!(id, other, "the same instance again");
                self.running.push(Running { call, id: other, key });
            }
            Admission::Waiting(ticket) => {
                assert_eq!(self.pools.pools[&unit.revision].waiting.front().map(|w| w.0), Some(ticket), "it is the next in line");
                self.waiting.push(Waiting { call, unit, ticket });
            }
        }
        self.act();
    }
    pub fn gone(&mut self, at: usize) {
        let id = self.killing.remove(at);
        self.pools.gone(id, self.now);
        self.killed += 1;
        self.act();
    }
    pub fn abandon(&mut self, at: usize) {
        let w = self.waiting.remove(at);
        assert!(self.pools.abandon(w.unit.revision, w.ticket, self.now), "whoever waits can leave");
        self.end(w.call, End::Abandoned);
        self.act();
    }

    /// Take note of what the pools decided, and check all that must hold.
    pub fn act(&mut self) {
        for action in self.pools.actions() {
            match action {
                Action::Start { id, revision, provisioned } => {
                    let pool = &self.pools.pools[&revision];
                    assert!(provisioned || pool.starting as usize <= pool.waiting.len(), "a start that no call waits for");
                    self.starts += 1;
                    self.starting.push((id, revision));
                }
                Action::Grant { waiter, id } => {
                    let at = self.waiting.iter().position(|w| w.call == waiter).expect("only who waits is granted");
                    let w = self.waiting.remove(at);
                    self.running.push(Running { call: w.call, id, key: key(&w.unit) });
                }
                Action::Kill(id) => {
                    assert!(!self.running.iter().any(|r| r.id == id), "killed under a running call");
                    self.killing.push(id);
                }
                Action::Freeze(id) => assert!(!self.running.iter().any(|r| r.id == id), "frozen under a running call"),
            }
        }
        self.instances_most = self.instances_most.max(self.pools.instances());
        self.check();
    }

    fn check(&self) {
        let (p, config) = (&self.pools, self.pools.config);
        let sum = |leaving: bool| -> u64 {
            p.instances.values().filter(|i| !leaving || i.phase == Phase::Leaving).map(|i| i.reserved_bytes).sum()
        };
        assert_eq!((p.memory_used, p.memory_leaving), (sum(false), sum(true)), "reserved memory is what instances reserve");
        assert!(p.memory_used <= config.memory_bytes, "more reserved than there is");
        assert!(p.instances.len() <= config.instances_max);
        let starting = p.instances.values().filter(|i| i.phase == Phase::Starting).count();
        assert!(starting == p.starts && p.starts <= config.starts_max, "starts are counted and bounded");
        for (id, i) in &p.instances {
            assert!(i.busy <= i.slots, "more calls than slots");
            assert_eq!(i.busy as usize, self.running.iter().filter(|r| r.id == *id).count(), "an instance's calls");
            let rests = i.phase == Phase::Ready && i.busy == 0;
            assert_eq!(p.idle.contains(&(i.idle_since, *id)), rests, "the idle are those that rest");
            let listed = p.pools[&i.revision].free.iter().filter(|f| *f == id).count();
            assert_eq!(listed, usize::from(i.phase == Phase::Ready && i.busy < i.slots), "free slots are listed once");
        }
        assert!(p.warm.is_subset(&p.idle) && p.idle.len() <= p.instances.len());
        self.check_pools();
        self.check_functions();
    }

    fn check_pools(&self) {
        for (revision, pool) in &self.pools.pools {
            let of =
                |f: &dyn Fn(&Inst) -> u32| self.pools.instances.values().filter(|i| i.revision == *revision).map(f).sum::<u32>();
            assert_eq!(pool.members, of(&|_| 1));
            assert_eq!(pool.busy, of(&|i| i.busy));
            assert_eq!(pool.starting, of(&|i| u32::from(i.phase == Phase::Starting)));
            assert_eq!(pool.provisioned_have, of(&|i| u32::from(i.provisioned)));
            assert_eq!(pool.waiting.len(), self.waiting.iter().filter(|w| w.unit.revision == *revision).count());
            assert!(pool.waiting.is_empty() || pool.free.is_empty(), "a call waits beside a free slot");
        }
    }

    fn check_functions(&self) {
        let mut unreserved: HashMap<TenantId, u32> = HashMap::new();
        for (k, f) in &self.pools.functions {
            let here =
                self.waiting.iter().filter(|w| key(&w.unit) == *k).count() + self.running.iter().filter(|r| r.key == *k).count();
            assert_eq!(f.admitted as usize, here, "admitted is what waits and what runs");
            if f.reserved.is_none() {
                *unreserved.entry(k.0.clone()).or_default() += f.admitted;
            }
        }
        for (tenant, t) in &self.pools.tenants {
            assert_eq!(t.unreserved, unreserved.get(tenant).copied().unwrap_or(0), "what a tenant's functions share");
        }
    }

    /// One thing that is under way comes to its end, the oldest first. `false`: nothing is under way.
    pub fn step(&mut self) -> bool {
        self.pass(Duration::from_millis(1));
        if !self.killing.is_empty() {
            self.gone(0);
        } else if !self.starting.is_empty() {
            self.ready(0, 1);
        } else if !self.running.is_empty() {
            self.over(0, false);
        } else {
            return false;
        }
        true
    }

    /// Everything that is under way comes to its end.
    pub fn settle(&mut self) {
        while self.step() {}
        assert!(self.waiting.is_empty(), "{} calls wait for ever", self.waiting.len());
        assert_eq!(self.ends.len(), self.admitted, "every admitted call ended");
    }

    /// A day passes without a call.
    pub fn rest(&mut self) {
        self.pass(Duration::from_secs(86_400));
        self.pools.soon(self.now);
        self.pools.expire(self.now);
        self.act();
        while self.step() {}
    }

    pub fn assert_nothing_left(&self) {
        assert_eq!((self.pools.instances(), self.pools.memory_used()), (0, 0), "something was kept");
        assert!(
            self.pools.pools.is_empty()
                && self.pools.turns.is_empty()
                && self.pools.wishes.is_empty()
                && self.pools.idle.is_empty()
        );
        assert!(self.pools.functions.values().all(|f| f.admitted == 0));
    }
}
