//! The ordered stream inside a link.

use crate::world::{World, config, pattern};
use zosnet_core::datagram::Action;

fn arrives(mut world: World, length: usize, within: f64) {
    let (here, there) = world.connect(0, 1);
    let sent = pattern(length);
    for (at, piece) in sent.chunks(700).enumerate() {
        world.push(0, here, piece);
        world.push(1, there, &piece[..piece.len() / 2]);
        if at % 16 == 0 {
            world.run(0.001);
        }
    }
    world.run_while(world.now + within, |world| {
        world.nodes[1].control.get(&there).map_or(0, Vec::len) < length
    });
    assert!(world.nodes[1].control[&there] == sent, "after {within} s");
    world.run(2.0);
    let back: Vec<u8> = sent
        .chunks(700)
        .flat_map(|piece| piece[..piece.len() / 2].to_vec())
        .collect();
    assert!(world.nodes[0].control[&here] == back);
    assert_eq!((world.link(0).queued, world.link(1).queued), (0, 0));
    assert_eq!((world.downs(0), world.downs(1)), (vec![], vec![]));
}

#[test]
fn everything_arrives_in_order_at_a_fifth_lost() {
    for seed in 0..5 {
        let mut world = World::pair(seed);
        (world.path.loss, world.path.jitter, world.path.twice) = (0.2, 0.02, 0.05);
        arrives(world, 500_000, 30.0);
    }
}

#[test]
fn a_clean_path_is_fast() {
    let world = World::pair(1);
    arrives(world, 2_000_000, 2.0);
}

#[test]
fn reordering_alone_costs_little() {
    let mut world = World::pair(2);
    world.path.jitter = 0.03;
    arrives(world, 500_000, 3.0);
}

#[test]
fn a_paused_reader_slows_the_sender_and_nothing_is_lost() {
    let mut world = World::pair(3);
    world.path.loss = 0.05;
    let (here, there) = world.connect(0, 1);
    world.nodes[1].endpoint.pause(there, true);
    let sent = pattern(1_000_000);
    world.push(0, here, &sent);
    world.run(5.0);
    assert!(!world.nodes[1].control.contains_key(&there));
    let queued = world.link(0).queued;
    assert!((700_000..950_000).contains(&queued), "{queued}");
    world.run(0.2);
    world.nodes[1].endpoint.pause(there, false);
    world.drain(1);
    world.run(0.1);
    assert!(world.link(0).queued < queued, "the sender isn't told of the room");
    world.run(10.0);
    assert!(world.nodes[1].control[&there] == sent);
}

#[test]
fn a_link_too_far_behind_is_closed() {
    let mut world = World::new(4, vec![config(0), config(1)]);
    let (here, there) = world.connect(0, 1);
    world.nodes[1].endpoint.pause(there, true);
    for _ in 0..8 {
        world.push(0, here, &vec![1; 1 << 20]);
    }
    assert!(world.is_up(0));
    world.push(0, here, &vec![1; 1 << 20]);
    assert!(world.downs(0)[0].1.contains("too far behind"));
    world.run(0.1);
    assert!(world.downs(1)[0].1.contains("too far behind"));
}

#[test]
fn a_close_says_why_even_when_it_is_lost_once() {
    let mut world = World::pair(5);
    let (here, _) = world.connect(0, 1);
    world.path.cut = true;
    let now = world.now;
    world.nodes[0].endpoint.close(here, "the node stops", now);
    world.drain(0);
    world.path.cut = false;
    world.start_traffic(1, 0.01, 100);
    world.run(1.0);
    assert!(world.downs(0)[0].1.contains("the node stops"));
    assert_eq!(world.downs(1)[0].1, "closed by the peer: the node stops");
    world.run(10.0);
    assert_eq!(world.nodes[0].endpoint.deadline(), None);
}

#[test]
fn keys_change_every_ten_minutes_without_a_gap() {
    let mut world = World::pair(6);
    (world.path.loss, world.path.jitter) = (0.01, 0.005);
    let (here, there) = world.connect(0, 1);
    world.start_traffic(0, 0.1, 200);
    world.record = true;
    let mut sent = Vec::new();
    for round in 0..20 {
        let piece = pattern(1000 + round);
        world.push(0, here, &piece);
        sent.extend_from_slice(&piece);
        world.run(100.0);
    }
    assert!(world.nodes[1].control[&there] == sent);
    let changes = world.events(0, |action| matches!(action, Action::Keys { .. }).then_some(()));
    assert!(changes.len() >= 6, "{}", changes.len());
    let epochs: std::collections::BTreeSet<u8> = world
        .tape
        .iter()
        .filter(|(_, flight)| flight.datagram[0] == 0x16)
        .map(|(_, flight)| flight.datagram[2])
        .collect();
    assert_eq!(epochs.into_iter().collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!(world.nodes[1].refused_relayed, 0);
    assert_eq!(world.nodes[1].endpoint.counters().forged, 0);
    assert_eq!((world.downs(0), world.downs(1)), (vec![], vec![]));
}
