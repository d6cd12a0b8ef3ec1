//! Sessions between keepers in memory: what two honest nodes get from any network, and by when.
#![allow(clippy::unwrap_used)]

#[path = "common/sessions.rs"]
mod world;

use world::{Told, World, config, end_of, entry, seal};
use zosnet_core::session::{
    Config, EntryKind, INITIATION, Limits, OpenError, RESPONSE, SealError, TRANSPORT, UNKNOWN,
};

/// Both ends exchange packets within so many seconds.
fn exchange_within(world: &mut World, seconds: f64) {
    let before = [world.got(0), world.got(1)];
    world.start(0, 1, 0.1);
    world.start(1, 0, 0.1);
    let until = world.now + seconds;
    world.run_while(until, |world| {
        world.got(0) <= before[0] || world.got(1) <= before[1]
    });
    world.stop_traffic();
    let after = [world.got(0), world.got(1)];
    assert!(
        after[0] > before[0] && after[1] > before[1],
        "{before:?} {after:?}"
    );
}

/// When the first packet that was offered since came to `node`.
fn first_after(world: &World, node: usize, since: f64) -> f64 {
    let fresh = |(_, number, _): &&(f64, u64, u32)| world.sent.get(number).is_some_and(|at| *at >= since);
    world.nodes[node]
        .got
        .iter()
        .find(fresh)
        .map_or(f64::INFINITY, |(at, ..)| at - since)
}

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
    fn few(node: usize) -> Config {
        let limits = Limits {
            frames: 200,
            ..Limits::default()
        };
        Config {
            limits,
            ..config(node)
        }
    }
    let mut world = World::new(3, 2, few);
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
        let limits = Limits {
            frames: 8,
            ..Limits::default()
        };
        Config {
            limits,
            lanes: 2,
            ..config(node)
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

#[test]
fn nobody_there_is_told_soon_and_asked_again_later() {
    let mut world = World::pair(1);
    world.path.drops = Some(|_| true);
    world.offer(0, 1);
    world.run(0.26);
    assert_eq!(world.told(0, Told::Unanswered), 1);
    world.start(0, 1, 0.1);
    world.run(100.0);
    let at = |what: Told| -> Vec<f64> {
        let all = world.nodes[0].told.iter().filter(|(_, told)| *told == what);
        all.map(|(at, _)| at - 1000.0).collect()
    };
    assert!((at(Told::Unanswered)[0] - 0.25).abs() < 0.01);
    let (failed, sent) = (at(Told::Failed), at(Told::Sent(INITIATION)));
    assert!((20.0..26.0).contains(&failed[0]), "{failed:?}");
    for end in &failed {
        assert!(
            !sent.iter().any(|sent| *sent > *end && *sent < end + 5.0),
            "{failed:?} {sent:?}"
        );
    }
    assert!(sent.len() < 45 && failed.len() >= 3, "{}", sent.len());
    assert_eq!(
        world.nodes[0].keeper.sizes()[1],
        1,
        "one index for the attempt under way"
    );
    world.stop_traffic();
    world.run(60.0);
    assert_eq!(world.nodes[0].keeper.sizes()[1], 0);
    assert!(world.nodes[0].keeper.deadline().is_none());
}

#[test]
fn a_peer_that_is_gone_while_we_send_is_asked_with_pauses() {
    let mut world = World::running(1);
    world.path.drops = Some(|flight| flight.is_of(1));
    world.start(0, 1, 0.1);
    world.run(170.0);
    let asked = world.told(0, Told::Sent(INITIATION));
    assert!((20..70).contains(&asked), "{asked}");
    world.path.drops = None;
    world.stop_traffic();
    exchange_within(&mut world, 6.0);
}

#[test]
fn a_hint_is_followed_once_a_second_and_changes_nothing_else() {
    let mut world = World::running(1);
    let before = world.current(0, 1).unwrap().clone();
    // Node 1 is silent, so nothing that comes back counts.
    world.path.drops = Some(|flight| flight.is_of(1) || flight.kind() == INITIATION);
    let index = before.remote_index();
    for _ in 0..500 {
        world.fly(world::Flight {
            from: end_of(1),
            to: end_of(0),
            bytes: hint(index),
        });
        let flight = world::Flight {
            from: end_of(7),
            to: end_of(0),
            bytes: hint(index),
        };
        world.arrive(flight);
        world.run(0.01);
    }
    assert!(world.told(0, Told::Sent(INITIATION)) <= 6 && !before.is_dead());
    assert_eq!(world.count(0, "session.hints"), 500);
    world.arrive(world::Flight {
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

#[test]
fn pins_and_what_mycelium_s_suite_does_to_them() {
    let mut world = World::pair(1);
    let (key, other) = (world.key(1), [9; 32]);
    let keeper = &mut world.nodes[0].keeper;
    keeper.plain(&other, false, 1000.0);
    assert!(keeper.poll().is_none(), "who shows nothing is left alone");
    keeper.plain(&key, true, 1000.0);
    world.act(0);
    assert_eq!(
        (world.told(0, Told::Pinned), world.told(0, Told::Sent(INITIATION))),
        (1, 1)
    );
    for _ in 0..100 {
        let now = world.now;
        world.nodes[0].keeper.plain(&key, false, now);
        world.act(0);
        world.run(1.0);
    }
    assert_eq!(world.told(0, Told::Downgraded), 2, "once a minute");
    assert!(world.told(0, Told::Sent(INITIATION)) <= 101);
    assert!(world.agree());
    // The operator forgets the pin; a replay of an old packet doesn't bring it back, a handshake does.
    let now = world.now;
    world.nodes[0].keeper.unpin(&key);
    world.nodes[0].pins.clear();
    world.path.drops = Some(|_| true);
    world.nodes[0].keeper.plain(&key, true, now);
    world.act(0);
    assert_eq!(world.told(0, Told::Pinned), 1);
    world.path.drops = None;
    world.run(1.0);
    assert_eq!(world.told(0, Told::Pinned), 2);
}

#[test]
fn a_pinned_node_is_asked_and_nothing_falls_back() {
    let mut world = World::running(1);
    world.restart(0, true);
    world.path.drops = Some(|_| true);
    world.offer(0, 1);
    world.run(30.0);
    assert!(world.told(0, Told::Unanswered) == 1 && world.told(0, Told::Failed) == 1);
    assert_eq!(world.nodes[0].waiting.len(), 1);
    world.path.drops = None;
    world.offer(0, 1);
    world.run(1.0);
    assert_eq!(world.got(1), 3);
}

#[test]
fn impossible_keys_fail_at_once() {
    let mut world = World::pair(1);
    let own = world.key(0);
    for key in [own, [0; 32], {
        let mut one = [0; 32];
        one[0] = 1;
        one
    }] {
        let before = world.told(0, Told::Failed);
        world.nodes[0].keeper.want(&key, 1000.0);
        world.act(0);
        assert_eq!(world.told(0, Told::Failed), before + 1);
    }
    assert_eq!(world.nodes[0].keeper.sizes()[1], 0);
    assert_eq!(world.told(0, Told::Sent(INITIATION)), 0);
}

#[test]
fn without_randomness_nothing_is_made() {
    let mut keeper = zosnet_core::session::Keeper::new(
        config(0),
        Box::new(|_| Err(zosnet_core::suite::SuiteError::Random)),
    );
    keeper.want(&world::public_of(1), 1.0);
    assert!(matches!(
        keeper.poll(),
        Some(zosnet_core::session::Action::Failed { .. })
    ));
    assert!(keeper.poll().is_none() && keeper.sizes()[1] == 0);
}
