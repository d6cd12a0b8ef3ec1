//! Initiations that are altered or recorded long ago, or that nobody should have sent.

use crate::world::{Flight, Numbers, World, answers, config, end_of, public_of, secret_of, stranger};
use crate::{essence, initiation};
use zosnet_core::session::{COOKIE, Config, Keeper, RESPONSE};

#[test]
fn an_initiation_that_comes_again_gets_the_same_answer_or_none() {
    let mut world = World::pair(1);
    world.record = true;
    world.offer(0, 1);
    world.run(0.015);
    let asked = world.tape[0].clone();
    world.arrive(asked.clone());
    let responses = |world: &World| -> Vec<Vec<u8>> {
        let all = world.tape.iter().filter(|flight| flight.kind() == RESPONSE);
        all.map(|flight| flight.bytes.clone()).collect()
    };
    let before = responses(&world);
    assert!(before.len() == 2 && before[0] == before[1]);
    world.run(1.0);
    let state = essence(&world, 1);
    for _ in 0..100 {
        world.arrive(asked.clone());
        world.arrive(Flight {
            from: end_of(9),
            ..asked.clone()
        });
    }
    assert_eq!(responses(&world).len(), 2, "the session is in use: no answer");
    assert_eq!(essence(&world, 1), state);
    assert_eq!(world.count(1, "session.granted"), 1);
    world.offer(0, 1);
    world.run(0.1);
    assert_eq!(world.got(1), 2);
}

#[test]
fn an_initiation_altered_anywhere_is_worth_nothing() {
    let message = initiation(secret_of(1), 1);
    let mut keeper = Keeper::new(config(0), Numbers(2).fill());
    for at in 0..message.len() - 16 {
        let mut altered = message.clone();
        altered[at] ^= 0x40;
        keeper.receive(&altered, stranger(1), 1.0);
        keeper.receive(&message[..at], stranger(1), 1.0);
    }
    assert!(keeper.poll().is_none() && keeper.sizes() == [0, 0, 0] && keeper.deadline().is_none());
    keeper.receive(&message, stranger(1), 1.0);
    assert_eq!(answers(&mut keeper).len(), 1);
}

#[test]
fn the_wrong_endpoint_the_own_key_and_keys_of_low_order_are_refused() {
    let mut keeper = Keeper::new(config(0), Numbers(2).fill());
    let total = |keeper: &Keeper, name| {
        keeper
            .counters()
            .iter()
            .find(|(each, _)| *each == name)
            .unwrap()
            .1
    };
    let mut other = initiation(secret_of(1), 1);
    other[8] ^= 1;
    keeper.receive(&other, stranger(1), 1.0);
    assert_eq!(total(&keeper, "session.wrong_endpoint"), 1);
    // A machine with the secret of node 0, at another address, wants a session with node 0: none begins there.
    let mut twin = Keeper::new(Config::new(secret_of(0), [0; 16]), Numbers(3).fill());
    twin.want(&public_of(0), 1.0);
    assert!(answers(&mut twin).is_empty());
    assert!(answers(&mut keeper).is_empty() && keeper.sizes() == [0, 0, 0]);
}

#[test]
fn what_was_recorded_long_ago_keeps_nobody_out() {
    // Somebody has recorded a hundred wishes of node 1, and node 0 has forgotten that it ever granted them.
    let old: Vec<_> = (0..100).map(|seed| initiation(secret_of(1), seed)).collect();
    let mut world = World::pair(1);
    let mut at = 0;
    let mut replay = move |world: &mut World| {
        for _ in 0..5 {
            at += 1;
            let bytes = old[at % 100].clone();
            world.arrive(Flight {
                from: end_of(1),
                to: end_of(0),
                bytes,
            });
        }
    };
    for _ in 0..50 {
        replay(&mut world);
        world.run(0.002);
    }
    world.offer(1, 0);
    let began = world.now;
    for _ in 0..100 {
        replay(&mut world);
        world.run(0.002);
    }
    let took = world.nodes[0].got.first().map(|(at, ..)| at - began);
    assert!(took.is_some_and(|took| took < 0.15), "{took:?}");
    assert!(
        world.nodes[0].inbound.len() <= 5,
        "{}",
        world.nodes[0].inbound.len()
    );
    assert!(world.count(0, "session.granted") <= 4);
}

#[test]
fn old_wishes_replayed_with_cookies_from_one_place_push_out_nothing_of_another() {
    let mut world = World::running(1);
    world.path.hints = false;
    let (key, now) = (public_of(1), world.now);
    world.nodes[0].keeper.renew(&key, now);
    world.act(0);
    // Node 1 has granted it, and the response is on its way.
    world.run(0.011);
    let before = world.count(1, "session.granted");
    for seed in 0..8 {
        // Whoever recorded a wish and receives where he sends it from can open the cookie and show it.
        let mut old = Keeper::new(Config::new(secret_of(0), [0; 16]), Numbers(seed + 500).fill());
        old.want(&key, 1.0);
        let wish = answers(&mut old).remove(0);
        let tape = world.tape.len();
        world.record = true;
        let flight = |bytes| Flight {
            from: end_of(9),
            to: end_of(1),
            bytes,
        };
        world.arrive(flight(wish));
        let answer = world.tape[tape].bytes.clone();
        if answer[0] == COOKIE {
            old.receive(&answer, stranger(0), 1.0);
            world.arrive(flight(answers(&mut old).remove(0)));
        }
    }
    assert_eq!(world.count(1, "session.granted"), before + 8);
    world.run(0.1);
    let got = world.got(1);
    world.offer(0, 1);
    world.run(0.1);
    assert!(world.agree() && world.got(1) == got + 1);
}
