//! Nodes that have lost their keys, and what says so.

use zosnet_core::session::{EntryKind, INITIATION, UNKNOWN};

use crate::world::{Flight, Told, World, end_of, entry, seal};
use crate::{exchange_within, first_after};

#[test]
fn a_node_that_lost_everything_is_reachable_again() {
    for seed in 0..40 {
        let (who, pins, hints) = (seed as usize % 2, seed % 4 < 2, seed % 8 < 4);
        let mut world = World::running(seed);
        world.path.hints = hints;
        world.start(0, 1, 0.1);
        world.run(2.0);
        world.restart(who, pins);
        let restarted = world.now;
        world.run(10.0);
        let took = first_after(&world, 1, restarted);
        // A hint says so at once; through relays only silence does. Who restarts and sends asks anew by itself.
        let bound = if who == 0 || hints { 0.2 } else { 6.2 };
        assert!(took < bound, "seed {seed}: {took}");
        world.stop_traffic();
        exchange_within(&mut world, 1.0);
        world.run(3.0);
        assert!(world.agree());
    }
}

#[test]
fn who_lost_everything_may_begin_at_once() {
    // The other end's session is young, and it has the smaller key or the larger one.
    for who in [0, 1] {
        for hints in [false, true] {
            let mut world = World::pair(7);
            world.path.hints = hints;
            world.offer(1 - who, who);
            world.run(0.5);
            world.restart(who, true);
            let restarted = world.now;
            world.start(who, 1 - who, 0.05);
            world.start(1 - who, who, 0.05);
            world.run(1.0);
            assert!(world.agree(), "{who} {hints}");
            let took = first_after(&world, who, restarted);
            assert!(took < 0.2, "{took}");
        }
    }
}

#[test]
fn both_may_lose_everything() {
    for pins in [false, true] {
        let mut world = World::running(5);
        world.restart(0, pins);
        world.restart(1, pins);
        exchange_within(&mut world, 1.0);
    }
}

#[test]
fn a_node_heard_to_have_restarted_is_asked_at_once_but_not_all_the_time() {
    let mut world = World::running(1);
    let key = world.key(1);
    for _ in 0..1000 {
        let now = world.now;
        world.nodes[0].keeper.renew(&key, now);
        world.act(0);
        world.run(0.01);
    }
    let asked = world.told(0, Told::Sent(INITIATION));
    assert!((9..=12).contains(&asked), "{asked}");
    assert!(world.agree());
    let sizes = world.nodes[0].keeper.sizes();
    assert!(sizes[1] <= 6 && world.nodes[0].inbound.len() <= 6, "{sizes:?}");
    world.run(16.0);
    assert_eq!(world.nodes[0].inbound.len(), 1);
}

#[test]
fn the_clock_may_jump() {
    for seconds in [3.0, 100.0, 3600.0, 1e6] {
        let mut world = World::running(2);
        world.start(0, 1, 0.1);
        world.start(1, 0, 0.1);
        world.run(5.0);
        world.jump(seconds);
        world.stop_traffic();
        exchange_within(&mut world, 2.0);
        world.run(5.0);
        assert!(world.agree());
    }
}

#[test]
fn a_hint_is_followed_once_a_second_and_changes_nothing_else() {
    let mut world = World::running(1);
    let before = world.current(0, 1).unwrap().clone();
    // Node 1 is silent, so nothing that comes back counts.
    world.path.drops = Some(|flight| flight.is_of(1) || flight.kind() == INITIATION);
    let index = before.remote_index();
    for _ in 0..500 {
        world.fly(Flight {
            from: end_of(1),
            to: end_of(0),
            bytes: hint(index),
        });
        let flight = Flight {
            from: end_of(7),
            to: end_of(0),
            bytes: hint(index),
        };
        world.arrive(flight);
        world.run(0.01);
    }
    assert!(world.told(0, Told::Sent(INITIATION)) <= 6 && !before.is_dead());
    assert_eq!(world.count(0, "session.hints"), 500);
    world.arrive(Flight {
        from: end_of(7),
        to: end_of(0),
        bytes: hint(index ^ 1),
    });
    assert_eq!(world.count(0, "session.unknown"), 1);
    assert!(std::sync::Arc::ptr_eq(world.current(0, 1).unwrap(), &before));
}

fn hint(index: u32) -> Vec<u8> {
    let frame = zosnet_core::session::unknown_frame(index);
    assert_eq!(frame[0], UNKNOWN);
    frame
}

#[test]
fn a_closed_session_is_gone_and_the_next_packet_makes_a_new_one() {
    let mut world = World::running(1);
    let old = world.current(0, 1).unwrap().clone();
    let frame = seal(&old, 0, &entry(EntryKind::Close, &[])).unwrap();
    world.send(0, end_of(1), frame);
    world.run(0.1);
    assert!(world.current(1, 0).is_none() && world.nodes[1].inbound.is_empty());
    exchange_within(&mut world, 1.0);
    assert!(world.agree());
}
