//! How long keys live, and how much they seal.

use zosnet_core::session::{Config, EntryKind, INITIATION, OpenError, RESPONSE, SealError};

use crate::exchange_within;
use crate::world::{Told, World, entry, seal, sealing};

#[test]
fn keys_are_replaced_in_time_and_no_frame_is_lost() {
    for seed in 0..2 {
        let mut world = World::running(seed);
        world.path.jitter = 0.04;
        world.start((seed % 2) as usize, 1 - (seed % 2) as usize, 0.1);
        world.start(1, 0, 3.0);
        world.run(1000.0);
        world.stop_traffic();
        world.run(1.0);
        assert_eq!(world.got(0) + world.got(1), world.sent.len());
        for node in 0..2 {
            let used = |(_, told): &&(f64, Told)| matches!(told, Told::Use(_));
            let times: Vec<_> = world.nodes[node]
                .told
                .iter()
                .filter(used)
                .map(|(at, _)| *at)
                .collect();
            assert!((8..=10).contains(&times.len()), "{times:?}");
            assert!(
                times.windows(2).all(|pair| pair[1] - pair[0] < 132.0),
                "{times:?}"
            );
            assert!(world.nodes[node].inbound.len() <= 2);
        }
    }
}

#[test]
fn keys_are_replaced_before_they_have_sealed_too_much() {
    let mut world = World::new(3, 2, |node| sealing(node, 200));
    world.start(0, 1, 0.02);
    world.start(1, 0, 0.03);
    world.run(60.0);
    world.stop_traffic();
    world.run(1.0);
    assert_eq!(world.got(0) + world.got(1), world.sent.len());
    assert!(world.count(0, "session.made") > 15);
}

#[test]
fn keys_seal_so_much_and_no_more() {
    fn few(node: usize) -> Config {
        Config {
            lanes: 2,
            ..sealing(node, 8)
        }
    }
    let mut world = World::new(3, 2, few);
    world.offer(0, 1);
    world.run(0.1);
    let transport = world.current(0, 1).unwrap().clone();
    let mut buf = [0; 40];
    let sealed = (0..10).filter(|_| transport.seal(1, &mut buf).is_ok()).count();
    assert_eq!(sealed, 4);
    assert_eq!(transport.seal(1, &mut buf), Err(SealError::UsedUp));
    assert_eq!(transport.seal(2, &mut buf), Err(SealError::Misuse));
    assert_eq!(transport.seal(0, &mut buf[..31]), Err(SealError::Misuse));
    assert!(transport.is_worn());
}

#[test]
fn old_keys_open_fifteen_seconds_longer() {
    let mut world = World::running(1);
    let (old, theirs) = (
        world.current(0, 1).unwrap().clone(),
        world.current(1, 0).unwrap().clone(),
    );
    world.run(100.0);
    world.path.hints = false;
    let (key, now) = (world.key(1), world.now);
    world.nodes[0].keeper.renew(&key, now);
    world.act(0);
    world.run(0.5);
    assert!(world.agree() && world.current(0, 1).unwrap().local_index() != old.local_index());
    let frame = |count: u8| seal(&old, 0, &entry(EntryKind::Other(9), &[count])).unwrap();
    let frames = [frame(1), frame(2)];
    world.run(14.3);
    let mut held = frames[0].clone();
    assert!(theirs.open(&mut held).is_ok());
    world.run(0.5);
    let mut late = frames[1].clone();
    assert_eq!(theirs.open(&mut late), Err(OpenError::Dead));
    assert_eq!(seal(&old, 0, &[0; 4]), None);
    assert!(!world.nodes[1].inbound.contains_key(&theirs.local_index()));
}

#[test]
fn keys_are_dead_after_three_minutes() {
    let mut world = World::running(1);
    let both = [
        world.current(0, 1).unwrap().clone(),
        world.current(1, 0).unwrap().clone(),
    ];
    let began = 1000.0;
    world.path.drops = Some(|flight| matches!(flight.kind(), INITIATION | RESPONSE));
    world.start(0, 1, 0.5);
    world.start(1, 0, 0.5);
    world.run(began + 179.9 - world.now);
    assert!(both.iter().all(|transport| !transport.is_dead()));
    world.run(0.2);
    assert!(both.iter().all(|transport| transport.is_dead()));
    world.run(20.0);
    assert!(world.current(0, 1).is_none() && world.nodes[0].inbound.is_empty());
    // Both are pinned: nothing goes another way, and all is well once handshakes get through again.
    world.path.drops = None;
    world.stop_traffic();
    exchange_within(&mut world, 8.0);
}

#[test]
fn an_idle_session_is_quiet_and_ends() {
    let mut world = World::running(1);
    world.run(5.0);
    world.record = true;
    world.run(300.0);
    assert!(world.tape.is_empty(), "{} frames", world.tape.len());
    assert!(
        world
            .nodes
            .iter()
            .all(|node| node.inbound.is_empty() && node.keeper.deadline().is_none())
    );
    assert_eq!(world.told(0, Told::Sent(INITIATION)), 1);
    exchange_within(&mut world, 1.0);
}

#[test]
fn what_flows_one_way_is_acknowledged_so_that_no_handshake_is_needed() {
    let mut world = World::running(1);
    world.run(20.0);
    let before = world.nodes[0].told.len();
    world.start(0, 1, 0.2);
    world.run(60.0);
    assert_eq!(world.nodes[0].told.len(), before);
    let empty = world.nodes[0].empty;
    assert!((20..=31).contains(&empty), "{empty}");
}
