//! How a session comes to be, whoever begins and whatever the network loses.

use zosnet_core::session::{Config, TRANSPORT};

use crate::first_after;
use crate::world::{Told, World, config};

#[test]
fn the_first_packet_arrives_after_one_and_a_half_round_trips() {
    let mut world = World::pair(1);
    world.offer(0, 1);
    world.run(1.0);
    assert_eq!(world.got(1), 1);
    assert!((world.nodes[1].got[0].0 - 1000.03).abs() < 1e-6);
    assert!(world.agree());
    assert_eq!((world.told(0, Told::Pinned), world.told(1, Told::Pinned)), (1, 1));
    let status: Vec<_> = world.nodes[1].keeper.sessions(world.now).collect();
    assert_eq!(
        (status.len(), status[0].state, status[0].cipher),
        (1, "established", "chacha20-poly1305")
    );
}

#[test]
fn the_cipher_is_aes_where_both_have_it() {
    fn both(node: usize) -> Config {
        Config {
            has_aes: true,
            lanes: 4,
            ..config(node)
        }
    }
    fn one(node: usize) -> Config {
        Config {
            has_aes: node == 0,
            ..config(node)
        }
    }
    for (of, cipher) in [
        (both as fn(usize) -> Config, "aes-256-gcm"),
        (one, "chacha20-poly1305"),
    ] {
        let mut world = World::new(1, 2, of);
        world.offer(0, 1);
        world.offer(1, 0);
        world.run(1.0);
        for node in &world.nodes {
            assert!(
                node.keeper
                    .sessions(world.now)
                    .all(|status| status.cipher == cipher)
            );
        }
        assert!(world.agree() && world.got(0) + world.got(1) == 2);
    }
}

#[test]
fn who_is_asked_seals_only_after_the_first_frame() {
    let mut world = World::pair(1);
    world.path.drops = Some(|flight| flight.kind() == TRANSPORT);
    world.offer(0, 1);
    world.run(5.0);
    assert!(world.current(0, 1).is_some() && world.current(1, 0).is_none());
    assert!(world.told(0, Told::KeepAlive) >= 4, "it says so again");
    world.path.drops = None;
    world.run(1.2);
    assert!(world.agree());
    world.offer(1, 0);
    world.run(0.1);
    assert_eq!(world.got(0), 1);
}

#[test]
fn what_was_granted_and_never_used_ends_at_both_ends() {
    let mut world = World::pair(1);
    world.path.drops = Some(|flight| flight.kind() == TRANSPORT);
    world.offer(0, 1);
    world.run(60.0);
    assert!(world.current(0, 1).is_none() && world.current(1, 0).is_none());
    assert!(world.nodes.iter().all(|node| node.inbound.is_empty()));
    assert_eq!(
        (world.nodes[0].keeper.sizes()[1], world.nodes[1].keeper.sizes()[1]),
        (0, 0)
    );
}

#[test]
fn sessions_come_up_and_carry_at_a_third_lost() {
    for seed in 0..12 {
        let mut world = World::pair(seed);
        (world.path.loss, world.path.jitter, world.path.twice) = (0.3, 0.05, 0.1);
        world.start(0, 1, 0.1);
        world.start(1, 0, 0.1);
        world.run(15.0);
        let first = first_after(&world, 0, 1000.0).max(first_after(&world, 1, 1000.0));
        assert!(first < 12.0, "seed {seed}: {first}");
        world.run(150.0);
        let sent = world.sent.len() as f64;
        let got = (world.got(0) + world.got(1)) as f64;
        assert!(
            (0.65..0.73).contains(&(got / sent)),
            "seed {seed}: {got} of {sent}"
        );
        assert_eq!((world.told(0, Told::Failed), world.told(1, Told::Failed)), (0, 0));
    }
}

#[test]
fn both_may_begin_at_once_and_use_one() {
    for seed in 0..30 {
        let mut world = World::pair(seed);
        world.path.jitter = 0.02 * (seed % 4) as f64;
        world.path.loss = if seed % 3 == 0 { 0.2 } else { 0.0 };
        world.offer(0, 1);
        world.run(0.004 * (seed % 5) as f64);
        world.offer(1, 0);
        world.start(0, 1, 0.2);
        world.start(1, 0, 0.2);
        world.run(12.0);
        assert!(world.agree(), "seed {seed}");
        let lost = world.path.loss > 0.0;
        let indexes = [world.current(0, 1), world.current(1, 0)].map(|it| it.unwrap().local_index());
        world.run(20.0);
        world.stop_traffic();
        world.run(1.0);
        let later = [world.current(0, 1), world.current(1, 0)].map(|it| it.unwrap().local_index());
        assert!(lost || indexes == later, "seed {seed}: it stays");
        assert!(
            lost || world.got(0) + world.got(1) == world.sent.len(),
            "seed {seed}"
        );
    }
}
