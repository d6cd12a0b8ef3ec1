//! Responses that are altered, made up, repeated or held back.

use blake2::digest::consts::U16;
use blake2::digest::{FixedOutput, Mac};
use blake2::{Blake2s256, Blake2sMac, Digest};

use crate::essence;
use crate::world::{Flight, Numbers, Told, World, answers, public_of, stranger};
use zosnet_core::address_of;
use zosnet_core::session::{Config, INITIATION, Keeper, RESPONSE};

/// The first response of the tape.
fn first_response(world: &World) -> Flight {
    let mut tape = world.tape.iter();
    tape.find(|flight| flight.kind() == RESPONSE).unwrap().clone()
}

#[test]
fn a_response_that_comes_again_or_late_changes_nothing() {
    let mut world = World::pair(1);
    world.record = true;
    world.offer(0, 1);
    world.run(1.0);
    let response = first_response(&world);
    let state = essence(&world, 0);
    let told = world.nodes[0].told.len();
    for _ in 0..10 {
        world.arrive(response.clone());
    }
    assert_eq!((essence(&world, 0), world.nodes[0].told.len()), (state, told));
}

#[test]
fn a_response_altered_anywhere_leaves_the_attempt_as_it_was() {
    let mut world = World::pair(1);
    world.record = true;
    world.path.drops = Some(|flight| flight.kind() == RESPONSE);
    world.offer(0, 1);
    world.run(0.05);
    let response = first_response(&world);
    for at in 0..response.bytes.len() {
        let mut altered = response.clone();
        altered.bytes[at] ^= 1;
        world.arrive(altered);
        let mut cut = response.clone();
        cut.bytes.truncate(at);
        world.arrive(cut);
    }
    assert!(world.current(0, 1).is_none());
    world.path.drops = None;
    world.arrive(response);
    world.run(0.1);
    assert!(world.agree());
}

/// The last response of the tape with one bit changed, and a mac1 to go with it: who knows the public key of its receiver
/// can do that.
fn forged(world: &World, at: usize) -> Flight {
    let response = world.tape.iter().rev().find(|flight| flight.kind() == RESPONSE);
    let mut altered = response.unwrap().clone();
    altered.bytes[at] ^= 1;
    let end = altered.bytes.len() - 16;
    let key = Blake2s256::new()
        .chain_update(b"zosnet session mac1 v1")
        .chain_update(public_of(0))
        .finalize();
    let mac1 = Blake2sMac::<U16>::new_from_slice(&key)
        .unwrap()
        .chain_update(&altered.bytes[..end])
        .finalize_fixed();
    altered.bytes[end..].copy_from_slice(&mac1);
    altered
}

/// The same with another sender index in the clear.
fn with_another_index(world: &World) -> Flight {
    forged(world, 7)
}

/// Node 0 has asked, and the response of node 1 is only on the tape.
fn asked_and_not_answered() -> World {
    let mut world = World::pair(1);
    world.record = true;
    world.path.drops = Some(|flight| flight.kind() == RESPONSE);
    world.offer(0, 1);
    world.run(0.05);
    world.path.drops = None;
    world
}

#[test]
fn forged_responses_leave_the_attempt_to_the_real_one() {
    let mut world = asked_and_not_answered();
    let real = world.tape.last().unwrap().clone();
    assert_eq!(real.kind(), RESPONSE);
    for at in 12..19 {
        let bad = forged(&world, at);
        world.arrive(bad);
    }
    assert_eq!(world.count(0, "session.bad_handshake"), 7);
    world.arrive(real);
    world.run(0.1);
    assert!(world.agree() && world.got(1) == 1);
    assert_eq!(world.told(0, Told::Sent(INITIATION)), 1);
}

#[test]
fn a_flood_of_forged_responses_is_dropped_unread_and_a_new_initiation_gets_past_it() {
    let mut world = asked_and_not_answered();
    let real = world.tape.last().unwrap().clone();
    let bad = forged(&world, 60);
    let flood = |world: &mut World| {
        for _ in 0..1000 {
            world.arrive(bad.clone());
        }
    };
    flood(&mut world);
    assert_eq!(
        (
            world.count(0, "session.bad_handshake"),
            world.count(0, "session.forged")
        ),
        (8, 992)
    );
    world.arrive(real);
    assert!(world.current(0, 1).is_none(), "it comes too late");
    let before = world.now;
    while world.told(0, Told::Sent(INITIATION)) == 1 {
        world.run(0.01);
        flood(&mut world);
    }
    // Made for the first initiation, they are nothing to the second.
    world.run_while(before + 1.0, |world| world.current(0, 1).is_none());
    assert!(world.now - before < 0.5, "the first retry already");
    flood(&mut world);
    // What waited went with Mycelium's suite when nothing had come back.
    world.offer(0, 1);
    world.run(0.1);
    assert!(world.agree() && world.got(1) == 1);
    assert_eq!(world.count(0, "session.bad_handshake"), 8);
    assert_eq!(world.nodes[0].keeper.sizes()[1], 1, "the first index is free");
}

#[test]
fn a_sender_index_altered_with_its_mac1_is_not_believed() {
    let mut world = asked_and_not_answered();
    let forged = with_another_index(&world);
    world.arrive(forged);
    world.run(0.1);
    assert!(
        world.agree(),
        "the frames go to the index that the responder meant"
    );
}

#[test]
fn a_session_renewed_by_such_a_response_goes_on() {
    let mut world = World::running(1);
    (world.record, world.path.hints) = (true, false);
    let before = world.current(0, 1).unwrap().local_index();
    world.path.drops = Some(|flight| flight.kind() == RESPONSE);
    let now = world.now;
    world.nodes[0].keeper.renew(&public_of(1), now);
    world.act(0);
    world.run(0.05);
    let forged = with_another_index(&world);
    world.path.drops = None;
    world.arrive(forged);
    assert_ne!(world.current(0, 1).unwrap().local_index(), before);
    let got = world.got(1);
    world.offer(0, 1);
    world.run(0.1);
    assert_eq!(world.got(1), got + 1);
    assert!(world.agree());
}

#[test]
fn a_forged_response_by_somebody_who_saw_the_initiation_is_refused() {
    // Whoever sees it knows the index and, from the overlay, both keys; without a secret of theirs that is nothing.
    let mut world = World::pair(1);
    world.record = true;
    world.path.drops = Some(|_| true);
    world.offer(0, 1);
    let asked = world.tape[0].bytes.clone();
    let mut liar = Keeper::new(
        Config::new([0x55; 32], address_of(&public_of(1))),
        Numbers(3).fill(),
    );
    liar.receive(&asked, stranger(1), 1.0);
    assert!(answers(&mut liar).is_empty(), "it can't even read the wish");
}

#[test]
fn a_response_held_back_until_its_keys_are_gone_is_not_followed() {
    // With traffic one way and no hints, nobody would notice keys that the responder forgot.
    let mut world = World::running(1);
    (world.record, world.path.hints) = (true, false);
    world.start(0, 1, 0.1);
    world.path.drops = Some(|flight| flight.kind() == RESPONSE);
    let (key, now) = (public_of(1), world.now);
    let old = world.current(0, 1).unwrap().local_index();
    world.nodes[0].keeper.renew(&key, now);
    world.act(0);
    world.run(19.9);
    let response = world.tape.iter().find(|flight| flight.kind() == RESPONSE);
    let response = response.unwrap().clone();
    world.arrive(response);
    assert_eq!(world.current(0, 1).unwrap().local_index(), old);
    world.path.drops = None;
    world.run(20.0);
    let (sent, got) = (world.sent.len(), world.got(1));
    assert!(sent - got <= 2, "the old keys do meanwhile: {got} of {sent}");
    assert!(world.agree());
}
