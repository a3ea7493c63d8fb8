//! Random sequences of everything that can happen to the pools.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
enum Op {
    Admit,
    Ready,
    Adopt,
    StartFailed,
    Freed,
    Spent,
    Again,
    Died,
    Gone,
    Abandon,
    Freeze,
    Expire,
    Retire,
    Provision,
    Configure,
    Unknown,
    Forget,
}

fn op() -> impl Strategy<Value = (Op, usize, u32, u64)> {
    let op = prop_oneof![
        12 => Just(Op::Admit), 6 => Just(Op::Ready), 1 => Just(Op::Adopt), 1 => Just(Op::StartFailed), 6 => Just(Op::Freed),
        2 => Just(Op::Spent), 1 => Just(Op::Again), 1 => Just(Op::Died), 6 => Just(Op::Gone), 2 => Just(Op::Abandon), 1 => Just(Op::Freeze),
        1 => Just(Op::Expire), 1 => Just(Op::Retire), 1 => Just(Op::Provision), 1 => Just(Op::Configure), 1 => Just(Op::Unknown),
        1 => Just(Op::Forget),
    ];
    (op, 0..1000usize, 0..4u32, prop_oneof![0..100u64, 0..1_000_000u64])
}

/// Three tenants, five pools of different sizes; one function has two revisions.
fn units() -> Vec<Arc<Unit>> {
    let many = unit("a", "many", 2, Slots::Bounded(3));
    let newer = Arc::new(Unit { revision: RevisionId::random(), ..(*many).clone() });
    vec![unit("a", "one", 1, Slots::One), many, newer, unit("b", "big", 5, Slots::One), unit("c", "loose", 1, Slots::Unbounded)]
}

fn pick<T>(of: &[T], n: usize) -> Option<usize> {
    (!of.is_empty()).then(|| n % of.len())
}

fn apply(w: &mut World, units: &[Arc<Unit>], (op, n, few, ms): (Op, usize, u32, u64)) {
    w.pass(Duration::from_millis(ms));
    let (unit, now) = (&units[n % units.len()], w.now);
    match op {
        Op::Admit => admit(w, unit),
        Op::Ready => pick(&w.starting, n).into_iter().for_each(|at| w.ready(at, few)),
        Op::Adopt => pick(&w.starting, n).into_iter().for_each(|at| w.adopted(at)),
        Op::StartFailed => pick(&w.starting, n).into_iter().for_each(|at| w.start_failed(at)),
        Op::Freed => pick(&w.running, n).into_iter().for_each(|at| w.over(at, false)),
        Op::Spent => pick(&w.running, n).into_iter().for_each(|at| w.over(at, true)),
        Op::Again => pick(&w.running, n).into_iter().for_each(|at| w.again(at)),
        Op::Gone => pick(&w.killing, n).into_iter().for_each(|at| w.gone(at)),
        Op::Abandon => pick(&w.waiting, n).into_iter().for_each(|at| w.abandon(at)),
        Op::Died => {
            let mut ids: Vec<_> = w.pools.instances.iter().filter(|i| i.1.phase == Phase::Ready).map(|i| *i.0).collect();
            ids.sort_unstable();
            pick(&ids, n).into_iter().for_each(|at| w.pools.died(ids[at], now));
        }
        Op::Freeze => drop(w.pools.soon(now)),
        Op::Expire => drop(w.pools.expire(now)),
        Op::Retire => w.pools.retire(unit.revision, now),
        Op::Provision => w.pools.provision(unit, few, now),
        Op::Configure => {
            let reserved = (n % 2 == 0).then_some(few);
            w.pools.configure(&key(unit), &Concurrency { reserved, provisioned: BTreeMap::new() });
        }
        Op::Forget => w.pools.forget(&key(unit)),
        Op::Unknown => {
            let id = InstanceId::random();
            w.pools.freed(id, &key(unit), now);
            w.pools.spent(id, &key(unit), now);
            w.pools.ready(id, 1, now);
            w.pools.died(id, now);
            w.pools.gone(id, now);
            assert!(w.pools.start_failed(id).is_none());
            assert!(!w.pools.abandon(unit.revision, Ticket(u64::MAX), now));
        }
    }
    w.act();
}

fn admit(w: &mut World, unit: &Arc<Unit>) {
    let before = w.pools.functions.get(&key(unit)).map_or(0, |f| f.admitted);
    let reserved = w.pools.functions.get(&key(unit)).and_then(|f| f.reserved);
    match w.admit(unit) {
        Ok(_) => {
            assert!(reserved.is_none_or(|limit| before < limit), "past the reserved concurrency");
            let tenant = &w.pools.tenants[&unit.tenant];
            let shared = w.pools.config.tenant_concurrency.saturating_sub(tenant.reserved);
            assert!(reserved.is_some() || tenant.unreserved <= shared, "past what the tenant's functions share");
        }
        Err(Refusal::Function) => assert!(reserved.is_some_and(|limit| before >= limit)),
        Err(Refusal::Tenant) => assert!(reserved.is_none()),
        Err(other) => panic!("{other:?}: no line is full and every unit fits"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    // proves A2.1, A2.4, D6: counts and memory hold at every step, whatever happens in whatever order; B3: every call that was
    // admitted ends exactly once when its environment is fair; B4: nothing is left afterwards
    #[test]
    fn whatever_happens_counts_hold_every_call_ends_once_and_nothing_is_left(
        ops in prop::collection::vec(op(), 1..160),
        memory in 5..9u64,
        instances_max in 1..6usize,
        starts_max in 1..4usize,
    ) {
        let mut w = World::new(Config { instances_max, starts_max, tenant_concurrency: 12, ..config(memory) });
        let units = units();
        for op in ops {
            apply(&mut w, &units, op);
        }
        for unit in &units {
            w.pools.provision(unit, 0, w.now);
            w.act();
        }
        w.settle();
        w.rest();
        w.assert_nothing_left();
    }
}
