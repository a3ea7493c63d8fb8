//! What is kept ready takes nothing from anybody.

use super::*;

fn kept(w: &World, unit: &Unit) -> u32 {
    w.pools.provisioned_ready(unit.revision)
}

/// Another tenant's function has an idle instance, and gets what it asks for.
fn neighbour_is_served(w: &mut World, unit: &Arc<Unit>) {
    let killed = w.killed;
    for _ in 0..3 {
        w.admit(unit).unwrap();
        w.settle();
    }
    assert_eq!(w.killed, killed, "an instance of a neighbour was taken for what nobody calls");
}

// proves D6: a wish that can never be fulfilled holds nobody up and evicts nobody, and says why
#[test]
fn a_wish_larger_than_the_machine_fails_with_a_reason_and_costs_nobody_else_anything() {
    let mut w = World::new(config(1024));
    let (huge, near, other) =
        (unit("a", "huge", 4096, Slots::One), unit("b", "near", 128, Slots::One), unit("c", "other", 128, Slots::One));
    w.admit(&near).unwrap();
    w.settle();
    w.pools.provision(&huge, 1, w.now);
    w.act();
    assert_eq!((w.starting.len(), w.killing.len()), (0, 0));
    neighbour_is_served(&mut w, &near);
    neighbour_is_served(&mut w, &other);
    assert_eq!(w.pools.not_kept(huge.revision), Some(NotKept::TooLarge));
    w.pools.provision(&huge, 0, w.now);
    w.act();
    w.rest();
    w.assert_nothing_left();
}

// proves D6: one tenant's wishes leave half of the machine to calls, and what is over waits without holding anybody up
#[test]
fn what_is_kept_ready_leaves_half_of_the_machine_to_calls() {
    for (memory, instances_max) in [(1024, 1000), (1 << 20, 8)] {
        let mut w = World::new(Config { instances_max, ..config(memory) });
        let (many, near) = (unit("a", "many", 128, Slots::One), unit("b", "near", 128, Slots::One));
        w.pools.provision(&many, 100, w.now);
        w.act();
        while w.step() {}
        assert_eq!((kept(&w, &many), w.pools.not_kept(many.revision)), (4, Some(NotKept::TooLarge)));
        neighbour_is_served(&mut w, &near);
        // Calls of the function itself have the other half too; what they leave behind is not kept beyond the bound.
        for _ in 0..6 {
            w.admit(&many).unwrap();
        }
        w.settle();
        assert_eq!(kept(&w, &many), 4);
        w.pools.provision(&many, 3, w.now);
        w.act();
        assert_eq!((kept(&w, &many), w.pools.not_kept(many.revision)), (3, None));
    }
}

// proves D6: what is to be kept ready waits while the room is used, and comes when it is given back
#[test]
fn a_wish_evicts_nobody_and_is_fulfilled_when_room_is_given_back() {
    let mut w = World::new(config(1024));
    let (busy, kept_one) = (unit("a", "busy", 512, Slots::One), unit("b", "kept", 128, Slots::One));
    w.admit(&busy).unwrap();
    w.admit(&busy).unwrap();
    w.settle();
    w.pools.provision(&kept_one, 2, w.now);
    w.act();
    assert_eq!((w.starting.len(), w.killing.len(), w.pools.not_kept(kept_one.revision)), (0, 0, None));
    w.rest();
    assert_eq!(kept(&w, &kept_one), 2, "the idle have gone by themselves");
}

// proves D6: the first to wish does not keep all of it
#[test]
fn tenants_keep_equal_parts_when_not_all_can_be_kept() {
    let mut w = World::new(config(1024));
    let (first, second) = (unit("a", "first", 128, Slots::One), unit("b", "second", 128, Slots::One));
    w.pools.provision(&first, 4, w.now);
    w.act();
    while w.step() {}
    assert_eq!(kept(&w, &first), 4);
    w.pools.provision(&second, 4, w.now);
    w.act();
    while w.step() {}
    assert_eq!((kept(&w, &first), kept(&w, &second)), (2, 2));
    w.rest();
    assert_eq!((kept(&w, &first), kept(&w, &second), w.pools.instances()), (2, 2, 4), "nothing goes to and fro");
    w.pools.provision(&second, 0, w.now);
    w.act();
    while w.step() {}
    assert_eq!(kept(&w, &first), 4, "what another gives up is there again");
}

#[test]
fn calls_have_their_turn_before_what_is_only_kept_ready() {
    let mut w = World::new(Config { starts_max: 1, ..config(1024) });
    let (many, near) = (unit("a", "many", 64, Slots::One), unit("b", "near", 64, Slots::One));
    w.pools.provision(&many, 8, w.now);
    w.act();
    w.admit(&near).unwrap();
    w.ready(0, 1);
    assert_eq!(w.starting.first().map(|s| s.1), Some(near.revision), "one start is under way before it, not eight");
    while w.step() {}
    assert_eq!(kept(&w, &many), 8);
}
