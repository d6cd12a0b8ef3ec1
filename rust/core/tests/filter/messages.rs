//! The message protocol.

use zosnet_core::Address;

use crate::packets::{SYN, tcp};
use crate::{KEY, TCP, World, address, allow, from_prefix, refused_and_told, there};

fn message(id: u8, flags: u16) -> Vec<u8> {
    [&[id; 8][..], &flags.to_be_bytes(), &[0; 20]].concat()
}

#[test]
fn messages_come_in_from_those_who_may_and_as_answers() {
    const INIT: u16 = 0x8000;
    const REPLY: u16 = 0x0400;
    const ACK: u16 = 0x0100;
    const CHUNK: u16 = 0x1000;
    let mut world = World::new();
    let here_comes = |world: &mut World, from: Address, body: &[u8]| {
        world
            .filter
            .message_in(&mut world.recent, &KEY, &from, body, world.now)
    };
    assert!(!here_comes(&mut world, there(), &message(1, INIT)));
    world
        .filter
        .message_out(&mut world.recent, &there(), &message(2, INIT), world.now);
    // Another address of the same node.
    let back = address(2, 9);
    assert!(here_comes(&mut world, back, &message(2, INIT | ACK)));
    assert!(here_comes(&mut world, back, &message(2, INIT | REPLY)));
    assert!(here_comes(&mut world, back, &message(2, CHUNK)));
    assert!(!here_comes(&mut world, back, &message(2, INIT)), "a new message");
    assert!(!here_comes(&mut world, back, &message(3, INIT | REPLY)));
    assert!(!here_comes(&mut world, address(3, 1), &message(2, INIT | ACK)));
    assert!(!here_comes(&mut world, back, &[]));
    world.now += 3601.0;
    assert!(!here_comes(&mut world, back, &message(2, INIT | REPLY)));
    // An acknowledgement asks for nothing.
    world
        .filter
        .message_out(&mut world.recent, &there(), &message(4, INIT | ACK), world.now);
    assert!(!here_comes(&mut world, there(), &message(4, CHUNK)));
    let mut record = allow(None, None, 0, 0, 0);
    record[0] = 2;
    world
        .filter
        .replace(false, &from_prefix(record, &address(2, 0), 64))
        .unwrap();
    assert!(here_comes(&mut world, there(), &message(5, INIT)));
    assert!(!here_comes(&mut world, address(3, 1), &message(5, INIT)));
    assert_eq!(
        world.gets(TCP, &tcp(4000, 22, SYN)),
        refused_and_told(),
        "messages only"
    );
}
