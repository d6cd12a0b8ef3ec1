//! What strangers can fill, and what a flood does to a session that runs.

use crate::world::{Flight, Numbers, World, answers, config, end_of, public_of, secret, secret_of, stranger};
use crate::{essence, initiation};
use zosnet_core::session::{Action, Config, Keeper, Limits};

#[test]
fn tables_are_bounded_and_strangers_leave_room() {
    let limits = Limits {
        peers: 16,
        transports: 40,
        handshakes_per_second: 10_000,
        pins: 8,
        ..Limits::default()
    };
    let mut keeper = Keeper::new(Config { limits, ..config(0) }, Numbers(1).fill());
    let mut made = 0;
    for number in 0..200 {
        let mut asker = Keeper::new(Config::new(secret(number), [0; 16]), Numbers(9).fill());
        asker.want(&public_of(0), 1.0);
        let asked = answers(&mut asker).remove(0);
        keeper.receive(&asked, stranger(number), 1.0);
        let mut transports = Vec::new();
        let mut response = None;
        while let Some(action) = keeper.poll() {
            match action {
                Action::Send { frame, .. } => response = Some(frame),
                Action::Receive(transport) => transports.push(transport),
                _ => {}
            }
        }
        let (Some(response), Some(transport)) = (response, transports.pop()) else {
            continue;
        };
        asker.receive(&response, stranger(0), 1.0);
        keeper.heard(transport.local_index(), 1.0);
        made += 1;
        let [peers, indexes, pins] = keeper.sizes();
        assert!(peers <= 12 && indexes <= 30 && pins <= 6, "{:?}", keeper.sizes());
    }
    assert_eq!(made, 12);
    while keeper.poll().is_some() {}
    // The own wishes find room still, up to the bound; beyond that they fail, and say so.
    for number in 0..10u8 {
        keeper.want(&public_of(usize::from(number) + 1), 1.0);
    }
    let failed = std::iter::from_fn(|| keeper.poll())
        .filter(|action| matches!(action, Action::Failed { .. }))
        .count();
    assert_eq!((failed, keeper.sizes()[0]), (6, 16));
    // All of that ends.
    let mut now = 1.0;
    while let Some(at) = keeper.deadline() {
        now = at;
        keeper.wake(now);
        assert!(now < 400.0);
    }
    assert_eq!(keeper.sizes()[1], 0);
    keeper.want(&public_of(99), now + 6.0);
    assert!(keeper.sizes()[0] <= 9, "{:?}", keeper.sizes());
}

#[test]
fn one_node_that_shakes_hands_all_the_time_holds_few_keys() {
    let mut keeper = Keeper::new(config(0), Numbers(1).fill());
    for seed in 0..300 {
        keeper.receive(
            &initiation(secret_of(1), seed),
            stranger(1),
            1.0 + seed as f64 * 0.01,
        );
        let mut index = None;
        while let Some(action) = keeper.poll() {
            if let Action::Receive(transport) = action {
                index = Some(transport.local_index());
            }
        }
        if let Some(index) = index {
            keeper.heard(index, 1.0);
        }
        assert!(keeper.sizes()[1] <= 9, "{:?}", keeper.sizes());
    }
}

#[test]
fn a_flood_leaves_a_running_session_alone() {
    let mut world = World::running(1);
    let mut numbers = Numbers(7);
    let real: Vec<_> = (0..40)
        .map(|number| initiation(secret(number), number as u64))
        .collect();
    let before = essence(&world, 0);
    world.start(0, 1, 0.1);
    world.start(1, 0, 0.1);
    for round in 0..200 {
        for number in 0..30usize {
            let mut bytes = numbers.bytes(200);
            if let Some(head) = bytes.get_mut(..4) {
                head.copy_from_slice(&[1 + (numbers.next() % 5) as u8, 1, 0, 0]);
            }
            let mut from = end_of(9);
            from.set_port((round * 30 + number) as u16);
            world.arrive(Flight {
                from,
                to: end_of(0),
                bytes,
            });
            if number % 10 == 0 {
                let bytes = real[numbers.below(40)].clone();
                world.arrive(Flight {
                    from,
                    to: end_of(0),
                    bytes,
                });
            }
        }
        world.run(0.01);
    }
    world.stop_traffic();
    world.run(0.1);
    let after = essence(&world, 0);
    assert_eq!(before.0, after.0);
    assert_eq!(world.got(0) + world.got(1), world.sent.len());
    assert!(after.1[1] <= 1 + 40);
    world.run(30.0);
    assert_eq!(essence(&world, 0).1[1], 1, "what was never finished is gone");
}

#[test]
fn unknown_messages_only_count() {
    let mut keeper = Keeper::new(config(0), Numbers(1).fill());
    let mut numbers = Numbers(3);
    for _ in 0..20_000 {
        let mut bytes = numbers.bytes(300);
        if numbers.below(2) == 0
            && let Some(head) = bytes.get_mut(..4)
        {
            head.copy_from_slice(&[numbers.below(7) as u8, 1, 0, 0]);
        }
        keeper.receive(&bytes, stranger(1), 1.0);
    }
    assert!(keeper.poll().is_none() && keeper.sizes() == [0, 0, 0] && keeper.deadline().is_none());
}
