//! More initiations than are answered: who gets through, and what cookies are worth.

use crate::initiation;
use crate::world::{
    Flight, Numbers, Told, World, answering, answers, config, end_of, public_of, secret, stranger,
};
use zosnet_core::session::{COOKIE, Config, INITIATION, Keeper, RESPONSE};

#[test]
fn under_load_who_shows_that_it_receives_gets_through() {
    let mut world = World::new(1, 2, |node| answering(node, 1));
    world.record = true;
    let flood: Vec<_> = (0..12)
        .map(|number| initiation(secret(number), number as u64))
        .collect();
    let mut at = 0;
    let mut burst = |world: &mut World, node: usize| {
        for _ in 0..1 {
            let mut flight = Flight {
                from: end_of(9),
                to: end_of(node),
                bytes: flood[at % 12].clone(),
            };
            flight.from.set_port(at as u16);
            at += 1;
            world.arrive(flight);
        }
    };
    for _ in 0..50 {
        burst(&mut world, 0);
        world.run(0.066);
    }
    world.offer(1, 0);
    let began = world.now;
    for _ in 0..100 {
        burst(&mut world, 0);
        world.run(0.066);
    }
    assert!(world.count(0, "session.cookies") > 0);
    let got = world.nodes[0].got.first().map(|(at, ..)| at - began);
    assert!(
        got.is_some_and(|took| took < 2.0),
        "{got:?} {:?}",
        world.nodes[0].keeper.counters()
    );
    assert!(
        world
            .tape
            .iter()
            .any(|flight| flight.kind() == COOKIE && flight.to == end_of(1))
    );
}

#[test]
fn a_cookie_is_of_no_use_to_others_and_one_source_gets_no_more_than_its_share() {
    let mut keeper = Keeper::new(answering(0, 4), Numbers(1).fill());
    for number in 0..4 {
        keeper.receive(&initiation(secret(number), 1), stranger(number), 1.0);
    }
    assert_eq!(answers(&mut keeper).len(), 4);
    let mut asker = Keeper::new(config(1), Numbers(5).fill());
    asker.want(&public_of(0), 1.0);
    let plain = answers(&mut asker).remove(0);
    keeper.receive(&plain, stranger(50), 1.0);
    let cookie = answers(&mut keeper).remove(0);
    assert!(
        cookie[0] == COOKIE && cookie.len() < plain.len(),
        "nothing is amplified"
    );
    asker.receive(&cookie, stranger(0), 1.0);
    let proven = answers(&mut asker).remove(0);
    keeper.receive(&proven, stranger(51), 1.0);
    assert_eq!(answers(&mut keeper)[0][0], COOKIE, "another source");
    keeper.receive(&proven, stranger(50), 1.0);
    assert_eq!(answers(&mut keeper)[0][0], RESPONSE);
    // One with many keys that does receive.
    let mut granted = 0;
    for number in 100..200 {
        let mut asker = Keeper::new(Config::new(secret(number), [0; 16]), Numbers(5).fill());
        asker.want(&public_of(0), 1.0);
        let mut frame = answers(&mut asker).remove(0);
        for _ in 0..2 {
            keeper.receive(&frame, stranger(50), 1.0);
            let Some(answer) = answers(&mut keeper).pop() else {
                break;
            };
            asker.receive(&answer, stranger(0), 1.0);
            granted += usize::from(answer[0] == RESPONSE);
            match answers(&mut asker).pop() {
                Some(next) if answer[0] == COOKIE => frame = next,
                _ => break,
            }
        }
    }
    assert!(granted <= 20, "{granted}");
}

#[test]
fn made_up_cookies_cause_no_storm() {
    let mut world = World::pair(1);
    world.record = true;
    world.path.drops = Some(|flight| flight.kind() != COOKIE);
    world.offer(0, 1);
    let asked = world.tape[0].bytes.clone();
    // Anybody who sees the initiation and knows the key that it is for can make cookies for it.
    for seed in 0..200 {
        let mut liar = Keeper::new(answering(1, 1), Numbers(seed).fill());
        liar.receive(&initiation_to(1, seed), stranger(1), 1.0);
        liar.receive(&asked, stranger(1), 1.0);
        for frame in answers(&mut liar).into_iter().filter(|frame| frame[0] == COOKIE) {
            world.arrive(Flight {
                from: end_of(1),
                to: end_of(0),
                bytes: frame,
            });
        }
    }
    let sent = world.told(0, Told::Sent(INITIATION));
    assert!((2..=9).contains(&sent), "{sent}");
}

fn initiation_to(node: usize, seed: u64) -> Vec<u8> {
    let mut keeper = Keeper::new(Config::new([0x66; 32], [0; 16]), Numbers(seed).fill());
    keeper.want(&public_of(node), 1.0);
    answers(&mut keeper).remove(0)
}
