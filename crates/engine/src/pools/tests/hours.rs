//! Hours of use in a moment of simulated time. Fairness is counted in completions, never in time.

use super::*;

// proves B4, D5: an instance stays over the gaps that its function has, and goes when they end
#[test]
fn a_function_called_every_two_minutes_keeps_its_one_instance_and_scales_to_zero_afterwards() {
    let mut w = World::new(config(100));
    let unit = unit("a", "f", 1, Slots::One);
    for _ in 0..60 {
        w.admit(&unit).unwrap();
        w.settle();
        for _ in 0..24 {
            w.pass(Duration::from_secs(5));
            w.pools.soon(w.now);
            w.pools.expire(w.now);
            w.act();
        }
    }
    assert_eq!((w.starts, w.killed, w.pools.instances()), (1, 0, 1));
    let mut idle = Duration::ZERO;
    while w.pools.instances() > 0 {
        w.pass(Duration::from_secs(5));
        idle += Duration::from_secs(5);
        w.pools.expire(w.now);
        w.act();
        while w.step() {}
        assert!(idle < Duration::from_secs(900), "kept past the longest time allowed");
    }
    assert!(idle > Duration::from_secs(5), "it was not kept for a gap");
    w.assert_nothing_left();
}

// proves B4: the time at which housekeeping is due is the time at which there is something to do
#[test]
fn what_rests_is_frozen_then_let_go_at_the_announced_times() {
    let mut w = World::new(Config { keep_alive: KeepAlive::Fixed(Duration::from_secs(7)), ..config(10) });
    w.admit(&unit("a", "f", 1, Slots::One)).unwrap();
    w.settle();
    let freeze_at = w.pools.soon(w.now).expect("something rests");
    let expire_at = w.pools.expire(w.now).expect("something is kept");
    w.now = freeze_at;
    assert_eq!(w.pools.soon(w.now), None);
    assert!(matches!(w.pools.actions()[..], [Action::Freeze(_)]));
    w.now = expire_at - Duration::from_nanos(1);
    assert_eq!(w.pools.expire(w.now), Some(expire_at));
    w.now = expire_at;
    assert_eq!(w.pools.expire(w.now), None);
    while w.step() {}
    w.act();
    w.settle();
    w.assert_nothing_left();
}

// proves B3, F45, F36: a herd at zero instances is answered whole, with no more instances than there is room for
#[test]
fn a_thousand_calls_at_zero_instances_are_all_answered_by_at_most_as_many_instances_as_fit() {
    let mut w = World::new(Config { starts_max: 8, ..config(37) });
    let unit = unit("a", "f", 1, Slots::One);
    for _ in 0..1000 {
        w.admit(&unit).unwrap();
    }
    w.settle();
    assert!(w.ends.values().all(|e| *e == End::Served));
    assert_eq!((w.ends.len(), w.starts, w.killed), (1000, 37, 0));
    w.rest();
    w.assert_nothing_left();
}

// proves F36: one call that waits makes one start, even while initialisation takes ever so long
#[test]
fn one_waiting_call_never_has_two_instances_initialising_for_it() {
    let mut w = World::new(config(37));
    let unit = unit("a", "f", 1, Slots::One);
    for n in 1..=3 {
        w.admit(&unit).unwrap();
        assert_eq!(w.starting.len(), n);
    }
    w.pass(Duration::from_secs(600));
    w.pools.expire(w.now);
    w.act();
    assert_eq!(w.starting.len(), 3);
    w.start_failed(0);
    w.gone(0);
    assert_eq!((w.starting.len(), w.waiting.len(), w.ends[&0]), (2, 2, End::Failed));
    w.settle();
}

/// Keep `flood` calls of one function waiting and admit single calls of another: how many completions each single call saw pass.
fn passed_over(w: &mut World, flooding: &[Arc<Unit>], single: &Arc<Unit>, flood: usize) -> Vec<usize> {
    let refill = |w: &mut World| {
        for unit in flooding {
            while w.pools.load(&key(unit)).0 < flood {
                w.admit(unit).unwrap();
            }
        }
    };
    refill(w);
    for _ in 0..flood {
        assert!(w.step());
        refill(w);
    }
    let mut counts = Vec::new();
    for _ in 0..20 {
        let call = w.admit(single).unwrap();
        let before = w.ends.len();
        while w.waiting.iter().any(|x| x.call == call) {
            assert!(w.step(), "nothing is under way and the call still waits");
            refill(w);
            assert!(w.ends.len() - before < 10_000, "the call starves");
        }
        counts.push(w.ends.len() - before);
        while !w.ends.contains_key(&call) {
            w.step();
            refill(w);
        }
    }
    counts
}

// proves B5, F46: another tenant's single calls pass a flood, whatever it is that is scarce
#[test]
fn a_flood_of_a_hundred_times_capacity_lets_single_calls_of_others_pass_soon() {
    let small = |name: &str| unit("flooder", name, 1, Slots::One);
    let by_count = Config { instances_max: 4, ..config(1000) };
    let cases = [
        ("memory is scarce", config(4), vec![small("f")], 1),
        ("instances are scarce", by_count, vec![small("f")], 1),
        ("starts are scarce too", Config { starts_max: 1, ..config(4) }, vec![small("f")], 1),
        ("the single call needs more than an equal part", config(10), vec![small("f"), small("g")], 5),
        ("the single call needs everything", config(4), vec![small("f")], 4),
        ("many functions flood", config(4), (0..10).map(|n| small(&n.to_string())).collect(), 1),
    ];
    for (what, config, flooding, size) in cases {
        let mut w = World::new(config);
        let counts = passed_over(&mut w, &flooding, &unit("other", "single", size, Slots::One), 400);
        let bound = 12 * size as usize + 4 * flooding.len();
        assert!(
            counts.iter().all(|n| *n <= bound),
            "{what}: {counts:?} completions before a single call's turn (at most {bound})"
        );
    }
}

// proves B5: instances that are kept ready take part in no flood's sharing, and don't count as room to share
#[test]
fn provisioned_instances_outlive_a_flood_and_others_still_get_their_share() {
    let mut w = World::new(config(8));
    let kept = unit("a", "kept", 2, Slots::One);
    w.pools.provision(&kept, 2, w.now);
    w.act();
    w.settle();
    let first: Vec<_> = w.pools.views().map(|v| v.id).collect();
    let flooding: Vec<_> = ["f", "g"].map(|n| unit("flooder", n, 1, Slots::One)).into();
    let single = unit("other", "single", 1, Slots::One);
    let counts = passed_over(&mut w, &flooding, &single, 100);
    assert!(counts.iter().all(|n| *n <= 30), "{counts:?}");
    w.admit(&kept).unwrap();
    w.settle();
    w.rest();
    let mut left: Vec<_> = w.pools.views().filter(|v| v.provisioned).map(|v| v.id).collect();
    let mut expected = first;
    left.sort_unstable();
    expected.sort_unstable();
    assert_eq!(left, expected, "the same instances, still there");
    w.pools.provision(&kept, 0, w.now);
    w.act();
    w.rest();
    w.assert_nothing_left();
}

// proves A2.2: an update loses no call; the old revision serves what it had and keeps nothing
#[test]
fn waiting_and_running_calls_of_a_retired_revision_are_all_served_and_then_it_is_gone() {
    let mut w = World::new(config(3));
    let (old, new) = (unit("a", "f", 1, Slots::One), unit("a", "f", 1, Slots::One));
    for _ in 0..50 {
        w.admit(&old).unwrap();
    }
    w.ready(0, 1);
    w.pools.retire(old.revision, w.now);
    w.act();
    for _ in 0..50 {
        w.admit(&new).unwrap();
    }
    w.settle();
    assert!(w.ends.len() == 100 && w.ends.values().all(|e| *e == End::Served));
    assert!(w.pools.views().all(|v| v.unit.revision == new.revision), "an instance of the old revision was kept");
    assert!(!w.pools.pools.contains_key(&old.revision));
}

// proves D6: room that somebody stops wanting, or that stops being kept, goes to whoever waits behind
#[test]
fn room_given_up_by_a_wish_or_by_a_caller_goes_to_the_next() {
    let mut w = World::new(config(4));
    let (kept, big, small) =
        (unit("a", "kept", 2, Slots::One), unit("b", "big", 4, Slots::One), unit("c", "small", 1, Slots::One));
    w.pools.provision(&kept, 1, w.now);
    w.act();
    w.settle();
    w.admit(&big).unwrap();
    w.admit(&small).unwrap();
    assert_eq!(w.starting.len(), 0, "the big one has its turn first");
    w.abandon(0);
    assert_eq!(w.starting.len(), 1, "the small one fits");
    w.ready(0, 1);
    w.over(0, false);
    w.admit(&big).unwrap();
    while w.step() {}
    assert_eq!(w.waiting.len(), 1, "there is no room beside what is kept");
    w.pools.provision(&kept, 0, w.now);
    w.act();
    w.settle();
    assert_eq!(w.ends.len(), 3);
}

// proves B5, F11: deleted functions leave nothing behind, busy or not
#[test]
fn functions_that_come_and_go_leave_no_trace() {
    let mut w = World::new(config(4));
    for n in 0..100 {
        let unit = unit("a", &n.to_string(), 1, Slots::One);
        w.pools.configure(&key(&unit), &Concurrency { reserved: (n % 2 == 0).then_some(5), provisioned: BTreeMap::new() });
        w.admit(&unit).unwrap();
        w.pools.forget(&key(&unit));
        w.pools.retire(unit.revision, w.now);
        w.act();
        w.settle();
    }
    w.assert_nothing_left();
    assert_eq!((w.pools.functions.len(), w.pools.tenants[&TenantId::from("a")].reserved), (0, 0));
}

#[test]
fn calls_of_a_fast_function_wait_for_its_busy_instances_and_no_longer_than_a_start_takes() {
    let mut w = World::new(config(64 * 1024));
    let fast = unit("t", "fast", 128, Slots::One);
    w.admit(&fast).expect("there is room");
    w.pass(Duration::from_millis(50));
    w.ready(0, 1);
    w.pass(Duration::from_millis(1));
    w.over(0, false);
    for _ in 0..12 {
        w.admit(&fast).expect("there is room");
    }
    assert_eq!((w.starts, w.waiting.len()), (1, 11), "a start takes fifty times as long as a call");
    for _ in 0..4 {
        w.pass(Duration::from_millis(1));
        w.over(0, false);
    }
    assert_eq!((w.starts, w.running.len()), (1, 1));
    // It has become slow: those that wait get instances after all, one each.
    w.now = w.pools.soon(w.now).expect("somebody is looked after");
    w.pools.soon(w.now);
    w.act();
    assert_eq!(w.starting.len(), w.waiting.len());
    while !w.starting.is_empty() {
        w.ready(0, 1);
    }
    assert!(w.waiting.is_empty(), "{}", w.waiting.len());
    w.settle();
}

// proves B4: a wish that can't be fulfilled stays a wish; it is not tried again because something else of the function changed
#[test]
fn a_failed_wish_for_ready_instances_is_kept_and_not_tried_again_until_it_changes() {
    let mut w = World::new(config(64 * 1024));
    let kept = unit("t", "kept", 128, Slots::One);
    w.pools.provision(&kept, 3, w.now);
    w.act();
    assert_eq!(w.starting.len(), 3);
    w.ready(0, 1);
    w.start_failed(0);
    w.start_failed(0);
    w.gone(0);
    w.gone(0);
    w.pools.provision(&kept, 3, w.now);
    w.act();
    assert_eq!((w.starts, w.starting.len(), w.pools.not_kept(kept.revision)), (3, 0, Some(NotKept::Init)), "the same wish again");
    w.pools.provision(&kept, 2, w.now);
    w.act();
    assert_eq!((w.starts, w.starting.len(), w.pools.not_kept(kept.revision)), (4, 1, None), "another wish");
    w.ready(0, 1);
    w.pools.provision(&kept, 0, w.now);
    w.act();
    w.settle();
}
