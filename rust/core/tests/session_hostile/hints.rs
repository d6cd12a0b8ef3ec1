//! Hints, and replayed packets of Mycelium's suite: anybody can say that a node has lost its keys.

use crate::world::{Flight, Told, World, answering, config, end_of};
use proptest::prelude::*;
use zosnet_core::session::{Config, INITIATION, unknown_frame};

/// Node 0 has sessions with so many others.
const OTHERS: usize = 20;
/// Handshakes a second that others can make node 0 begin.
const RATE: u32 = 4;

fn slow_hub(node: usize) -> Config {
    match node {
        0 => answering(node, RATE),
        _ => config(node),
    }
}

fn hub(seed: u64) -> World {
    let mut world = World::new(seed, 1 + OTHERS, slow_hub);
    (1..=OTHERS).for_each(|other| {
        world.offer(0, other);
    });
    world.run(1.0);
    (1..=OTHERS).for_each(|other| assert_eq!(world.got(other), 1));
    world
}

/// A stranger who sees the indexes of all frames says that node 0's with `other` isn't in use.
fn hint(world: &mut World, other: usize) {
    if let Some(index) = world.current(0, other).map(|it| it.remote_index()) {
        world.arrive(Flight {
            from: end_of(other),
            to: end_of(0),
            bytes: unknown_frame(index),
        });
    }
}

#[test]
fn hints_for_all_sessions_at_once_begin_few_handshakes_and_every_session_goes_on() {
    let mut world = hub(1);
    let (before, heard) = (world.told(0, Told::Sent(INITIATION)), world.got(7));
    world.start(0, 7, 0.1);
    for _ in 0..100 {
        (1..=OTHERS).for_each(|other| hint(&mut world, other));
        world.run(0.05);
    }
    let begun = world.told(0, Told::Sent(INITIATION)) - before;
    let (least, most) = (RATE as usize * 4, RATE as usize * 6);
    assert!((least..=most).contains(&begun), "{begun}");
    assert_eq!(world.count(0, "session.hints"), 100 * OTHERS as u64);
    assert!(world.count(0, "session.unheeded") > 1000);
    world.stop_traffic();
    world.run(0.1);
    assert_eq!(world.got(7) - heard, 50, "every packet of five seconds");
}

#[test]
fn replayed_packets_of_all_nodes_begin_as_few() {
    let mut world = hub(2);
    let before = world.told(0, Told::Sent(INITIATION));
    for _ in 0..100 {
        for other in 1..=OTHERS {
            let (key, now) = (world.key(other), world.now);
            world.nodes[0].keeper.plain(&key, true, now);
        }
        world.act(0);
        world.run(0.05);
    }
    let begun = world.told(0, Told::Sent(INITIATION)) - before;
    assert!(begun <= RATE as usize * 6, "{begun}");
}

#[test]
fn under_a_flood_of_hints_a_node_that_restarted_is_found_by_its_silence() {
    let mut world = hub(3);
    world.path.hints = false;
    world.restart(7, true);
    let (before, since) = (world.got(7), world.now);
    world.start(0, 7, 0.1);
    while world.got(7) == before && world.now < since + 20.0 {
        (1..=OTHERS)
            .filter(|other| *other != 7)
            .for_each(|other| hint(&mut world, other));
        world.run(0.05);
    }
    assert!(world.now - since < 6.5, "{}", world.now - since);
}

#[test]
fn a_hint_that_is_true_is_followed_at_once_where_nobody_floods() {
    let mut world = hub(4);
    world.restart(7, true);
    let (before, since) = (world.got(7), world.now);
    world.offer(0, 7);
    world.run(0.1);
    world.offer(0, 7);
    world.run(0.1);
    assert!(world.got(7) > before && world.now - since < 0.3);
    assert_eq!(world.count(0, "session.unheeded"), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_order_of_hints_begins_more_than_the_rate(
        hints in proptest::collection::vec((1..=OTHERS, 0u8..60), 1..300),
    ) {
        let mut world = hub(5);
        let (before, since) = (world.told(0, Told::Sent(INITIATION)), world.now);
        for (other, milliseconds) in hints {
            hint(&mut world, other);
            world.run(f64::from(milliseconds) / 1000.0);
            // A handshake that was put off ran up to a second after its token was taken.
            let most = f64::from(RATE) * (world.now - since + 1.0);
            let begun = world.told(0, Told::Sent(INITIATION)) - before;
            prop_assert!(begun as f64 <= most, "{} in {} s", begun, world.now - since);
        }
    }
}
