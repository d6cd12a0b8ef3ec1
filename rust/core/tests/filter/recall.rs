//! Connections that the host had before the filter was made.

use zosnet_core::Address;
use zosnet_core::filter::Verdict;
use zosnet_core::filter::recall::{Connection, connections};
use zosnet_core::forward::DropReason;

use crate::packets::{ACK, tcp};
use crate::{KEY, TCP, World, allow, here, refused, there};

/// What the kernel's table says of one connection between `here` and `there`; another socket listens or doesn't.
fn kept(local: u16, remote: u16, listens: bool) -> Vec<Connection> {
    let end = |address: &Address, port: u16| {
        let words = address.as_chunks::<4>().0.iter();
        let words: String = words
            .map(|word| format!("{:08X}", u32::from_ne_bytes(*word)))
            .collect();
        format!("{words}:{port:04X}")
    };
    let listener = format!("0: {} {} 0A", end(&[0; 16], local), end(&[0; 16], 0));
    let connection = format!("1: {} {} 01", end(&here(), local), end(&there(), remote));
    connections(
        TCP,
        &[if listens { listener } else { String::new() }, connection].join("\n"),
    )
}

#[test]
fn what_the_host_began_before_a_restart_goes_on_before_it_speaks() {
    let mut world = World::new();
    let segment = tcp(80, 50_000, ACK);
    assert_eq!(world.gets(TCP, &segment), refused(DropReason::RefusedStray));
    for connection in kept(50_000, 80, false) {
        world.filter.recall(&mut world.recent, &connection, world.now);
    }
    assert_eq!(world.gets(TCP, &segment), Verdict::Pass);
    assert_eq!(
        world.gets(TCP, &tcp(80, 50_001, ACK)),
        refused(DropReason::RefusedStray)
    );
}

#[test]
fn what_was_quiet_before_a_restart_and_after_it_is_remembered_as_long_as_any_other() {
    let mut world = World::new();
    for connection in kept(50_000, 80, false) {
        world.filter.recall(&mut world.recent, &connection, world.now);
    }
    world.now += 7000.0;
    assert_eq!(world.gets(TCP, &tcp(80, 50_000, ACK)), Verdict::Pass);
}

#[test]
fn what_others_began_before_a_restart_goes_on_only_by_the_rules_of_now() {
    let segment = tcp(40_000, 22, ACK);
    let mut closed = World::new();
    for connection in kept(22, 40_000, true) {
        closed.filter.recall(&mut closed.recent, &connection, closed.now);
    }
    closed.sends(TCP, &tcp(22, 40_000, ACK));
    assert_ne!(
        closed.gets(TCP, &segment),
        Verdict::Pass,
        "the rule is gone, and answering opens no door"
    );
    closed
        .filter
        .replace(false, &allow(Some(&KEY), Some(TCP), 22, 22, 1))
        .unwrap();
    assert_eq!(closed.gets(TCP, &segment), Verdict::Pass);
}

#[test]
fn what_went_on_while_all_doors_were_open_goes_on_when_they_close_before_the_host_speaks() {
    for (local, remote, listens) in [(50_000, 80, false), (22, 40_000, true)] {
        let mut world = World::new();
        let segment = tcp(remote, local, ACK);
        world.filter.replace(true, &[]).unwrap();
        assert_eq!(world.gets(TCP, &segment), Verdict::Pass);
        for connection in kept(local, remote, listens) {
            let connection = connection.as_begun();
            world.filter.recall(&mut world.recent, &connection, world.now);
        }
        world.filter.replace(false, &[]).unwrap();
        assert_eq!(world.gets(TCP, &segment), Verdict::Pass);
    }
}

#[test]
fn what_others_began_before_the_doors_were_open_goes_on_when_they_close() {
    let mut world = World::new();
    for connection in kept(22, 40_000, true) {
        world.filter.recall(&mut world.recent, &connection, world.now);
        world.filter.replace(true, &[]).unwrap();
        let connection = connection.as_begun();
        world.filter.recall(&mut world.recent, &connection, world.now);
    }
    world.filter.replace(false, &[]).unwrap();
    assert_eq!(world.gets(TCP, &tcp(40_000, 22, ACK)), Verdict::Pass);
}
