//! Closed doors, packet by packet; and against naive models.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "common/packets.rs"]
mod packets;

use std::collections::HashMap;

use packets::{ACK, FIN, RST, SYN, echo, fragment, icmp, ipv6, tcp, udp};
use proptest::collection::vec;
use proptest::prelude::*;
use zosnet_core::Address;
use zosnet_core::filter::flows::{Limits, Recent};
use zosnet_core::filter::recall::{Connection, connections};
use zosnet_core::filter::rules::{RECORD, Record, Rules, RulesError, Source};
use zosnet_core::filter::{Filter, Verdict};
use zosnet_core::forward::DropReason;

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 58;
const KEY: [u8; 32] = [7; 32];

/// The address `host` of node `node`.
fn address(node: u8, host: u8) -> Address {
    let mut address = [0; 16];
    (address[0], address[7], address[15]) = (4, node, host);
    address
}

fn here() -> Address {
    address(1, 1)
}

fn there() -> Address {
    address(2, 1)
}

/// A filter, what one lane keeps of it, and the time.
struct World {
    filter: Filter,
    recent: Recent,
    now: f64,
}

impl World {
    fn new() -> Self {
        Self::bounded(Limits::default())
    }

    fn bounded(limits: Limits) -> Self {
        Self {
            filter: Filter::new(99, limits),
            recent: Recent::default(),
            now: 1000.0,
        }
    }

    fn allowing(records: &[[u8; RECORD]]) -> Self {
        let world = Self::new();
        world.filter.replace(false, &records.concat()).unwrap();
        world
    }

    fn sends(&mut self, protocol: u8, payload: &[u8]) {
        let packet = ipv6(&here(), &there(), protocol, payload);
        self.filter.outbound(&mut self.recent, &packet, self.now);
    }

    fn gets(&mut self, protocol: u8, payload: &[u8]) -> Verdict {
        self.gets_as(&KEY, &ipv6(&there(), &here(), protocol, payload))
    }

    fn gets_as(&mut self, key: &[u8; 32], packet: &[u8]) -> Verdict {
        self.filter.inbound(&mut self.recent, key, packet, self.now)
    }
}

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

fn refused(reason: DropReason) -> Verdict {
    Verdict::Refuse { reason, tell: false }
}

fn refused_and_told() -> Verdict {
    Verdict::Refuse {
        reason: DropReason::RefusedService,
        tell: true,
    }
}

/// A record: whom (none: anyone), protocol (none: every), ports, number.
fn allow(from: Option<&[u8; 32]>, protocol: Option<u8>, first: u16, last: u16, rule: u16) -> [u8; RECORD] {
    let mut record = [0; RECORD];
    record[0] = 1;
    record[1] = u8::from(from.is_some());
    record[3] = u8::from(protocol.is_none());
    record[4] = protocol.unwrap_or(0);
    record[6..8].copy_from_slice(&rule.to_be_bytes());
    record[8..10].copy_from_slice(&first.to_be_bytes());
    record[10..12].copy_from_slice(&last.to_be_bytes());
    if let Some(key) = from {
        record[32..64].copy_from_slice(key);
    }
    record
}

fn from_prefix(mut record: [u8; RECORD], prefix: &Address, length: u8) -> [u8; RECORD] {
    (record[1], record[2]) = (2, length);
    record[16..32].copy_from_slice(prefix);
    record
}

#[test]
fn nothing_comes_in_but_a_ping() {
    let mut world = World::new();
    assert_eq!(world.gets(TCP, &tcp(1000, 22, SYN)), refused_and_told());
    assert_eq!(world.gets(UDP, &udp(1000, 53)), refused_and_told());
    assert_eq!(
        world.gets(TCP, &tcp(1000, 22, ACK)),
        refused(DropReason::RefusedStray)
    );
    assert_eq!(world.gets(47, &[0; 8]), refused(DropReason::RefusedService));
    assert_eq!(world.gets(ICMP, &echo(129, 7)), refused(DropReason::RefusedStray));
    assert_eq!(world.gets(ICMP, &echo(128, 7)), Verdict::Pass);
}

#[test]
fn answers_to_what_this_host_sent_come_in_and_nothing_beside_them() {
    let mut world = World::new();
    world.sends(TCP, &tcp(4000, 80, SYN));
    world.sends(UDP, &udp(5000, 53));
    world.sends(ICMP, &echo(128, 9));
    assert_eq!(world.gets(TCP, &tcp(80, 4000, SYN | ACK)), Verdict::Pass);
    assert_eq!(world.gets(UDP, &udp(53, 5000)), Verdict::Pass);
    assert_eq!(world.gets(ICMP, &echo(129, 9)), Verdict::Pass);
    assert_eq!(
        world.gets(TCP, &tcp(80, 4001, SYN | ACK)),
        refused(DropReason::RefusedStray)
    );
    assert_eq!(world.gets(UDP, &udp(54, 5000)), refused_and_told());
    assert_eq!(world.gets(ICMP, &echo(129, 8)), refused(DropReason::RefusedStray));
    let other = ipv6(&address(3, 1), &here(), UDP, &udp(53, 5000));
    assert_eq!(world.gets_as(&[3; 32], &other), refused_and_told());
}

#[test]
fn answering_a_ping_or_refusing_a_connection_opens_no_door() {
    let mut world = World::new();
    world.sends(ICMP, &echo(129, 9));
    world.sends(TCP, &tcp(22, 4000, RST | ACK));
    assert_eq!(world.gets(ICMP, &echo(129, 9)), refused(DropReason::RefusedStray));
    assert_eq!(world.gets(TCP, &tcp(4000, 22, SYN)), refused_and_told());
}

#[test]
fn a_request_for_a_connection_answers_only_one_that_is_being_opened() {
    let mut world = World::new();
    world.sends(TCP, &tcp(4000, 80, SYN));
    assert_eq!(
        world.gets(TCP, &tcp(80, 4000, SYN)),
        Verdict::Pass,
        "both ends open it at once"
    );
    world.sends(TCP, &tcp(4000, 80, SYN | ACK));
    assert_eq!(world.gets(TCP, &tcp(80, 4000, SYN)), Verdict::Pass, "sent again");
    world.sends(TCP, &tcp(4000, 80, ACK));
    assert_eq!(world.gets(TCP, &tcp(80, 4000, SYN)), refused_and_told());
    assert_eq!(world.gets(TCP, &tcp(80, 4000, ACK)), Verdict::Pass);
}

#[test]
fn tcp_is_remembered_for_as_long_as_its_state_deserves() {
    let cases: [(&[(bool, u8)], f64); 5] = [
        (&[(true, SYN)], 240.0),
        (&[(true, SYN), (false, SYN | ACK), (true, ACK)], 7440.0),
        (&[(true, SYN), (false, SYN | ACK), (false, FIN | ACK)], 7440.0),
        (
            &[
                (true, SYN),
                (false, SYN | ACK),
                (false, FIN | ACK),
                (true, FIN | ACK),
            ],
            120.0,
        ),
        (&[(true, SYN), (false, RST | ACK)], 10.0),
    ];
    for (packets, lifetime) in cases {
        for late in [0.0, 1.0] {
            let mut world = World::new();
            for (out, flags) in packets {
                match out {
                    true => world.sends(TCP, &tcp(4000, 80, *flags)),
                    false => assert_eq!(world.gets(TCP, &tcp(80, 4000, *flags)), Verdict::Pass),
                }
            }
            world.now += lifetime + late;
            let passes = world.gets(TCP, &tcp(80, 4000, ACK)) == Verdict::Pass;
            assert_eq!(passes, late == 0.0, "{packets:?} after {lifetime} s and {late} s");
        }
    }
}

#[test]
fn a_connection_may_begin_anew_under_the_same_ports() {
    let mut world = World::new();
    world.sends(TCP, &tcp(4000, 80, SYN));
    assert_eq!(world.gets(TCP, &tcp(80, 4000, RST | ACK)), Verdict::Pass);
    world.sends(TCP, &tcp(4000, 80, SYN));
    world.now += 100.0;
    assert_eq!(world.gets(TCP, &tcp(80, 4000, SYN | ACK)), Verdict::Pass);
}

#[test]
fn errors_come_in_about_what_this_host_sent() {
    let mut world = World::new();
    let sent = ipv6(&here(), &there(), TCP, &tcp(4000, 80, SYN));
    world.filter.outbound(&mut world.recent, &sent, world.now);
    let other = ipv6(&here(), &there(), TCP, &tcp(4001, 80, SYN));
    let foreign = ipv6(&there(), &here(), TCP, &tcp(80, 4000, SYN));
    let from =
        |node, kind, quote: &[u8]| ipv6(&address(node, 9), &here(), ICMP, &icmp(kind, [0, 0, 5, 0], quote));
    let error = |kind, quote: &[u8]| from(2, kind, quote);
    for kind in 1..=4 {
        assert_eq!(world.gets_as(&KEY, &error(kind, &sent)), Verdict::Pass);
        assert_eq!(
            world.gets_as(&KEY, &error(kind, &sent[..48])),
            Verdict::Pass,
            "cut short"
        );
        for quote in [&other, &foreign, &sent[..43], &[]] {
            assert_eq!(
                world.gets_as(&KEY, &error(kind, quote)),
                refused(DropReason::RefusedError)
            );
        }
    }
    // Who hasn't got it can't have read it.
    assert_eq!(
        world.gets_as(&KEY, &from(3, 2, &sent)),
        refused(DropReason::RefusedError)
    );
    assert_eq!(
        world.gets_as(&KEY, &error(5, &sent)),
        refused(DropReason::RefusedService)
    );
}

#[test]
fn nobody_is_this_hosts_neighbour_or_router_whatever_the_rules_say() {
    let mut world = World::allowing(&[allow(None, None, 0, 65535, 0)]);
    for kind in [130, 133, 134, 135, 136, 137, 143, 151] {
        assert_eq!(
            world.gets(ICMP, &icmp(kind, [0; 4], &[0; 16])),
            refused(DropReason::RefusedDiscovery)
        );
    }
    assert_eq!(world.gets(ICMP, &icmp(139, [0; 4], &[0; 16])), Verdict::Pass);
}

#[test]
fn a_rule_opens_one_port_for_one_key() {
    let mut world = World::allowing(&[allow(Some(&KEY), Some(TCP), 22, 22, 0)]);
    assert_eq!(world.gets(TCP, &tcp(4000, 22, SYN)), Verdict::Pass);
    assert_eq!(world.gets(TCP, &tcp(4000, 22, ACK)), Verdict::Pass);
    assert_eq!(world.gets(TCP, &tcp(4000, 23, SYN)), refused_and_told());
    assert_eq!(world.gets(UDP, &udp(4000, 22)), refused_and_told());
    let stranger = ipv6(&address(3, 1), &here(), TCP, &tcp(4000, 22, SYN));
    assert_eq!(world.gets_as(&[3; 32], &stranger), refused_and_told());
    assert_eq!(world.filter.rules().hits(), [1], "one connection");
}

#[test]
fn a_rule_that_goes_takes_its_connections_along_and_no_others() {
    let mut world = World::allowing(&[allow(Some(&KEY), Some(TCP), 22, 22, 0)]);
    assert_eq!(world.gets(TCP, &tcp(4000, 22, SYN)), Verdict::Pass);
    world.sends(TCP, &tcp(22, 4000, SYN | ACK));
    world.sends(TCP, &tcp(5000, 80, SYN));
    world
        .filter
        .replace(false, &allow(None, Some(TCP), 22, 22, 0))
        .unwrap();
    assert_eq!(
        world.gets(TCP, &tcp(4000, 22, ACK)),
        Verdict::Pass,
        "the new rules let it in too"
    );
    world.filter.replace(false, &[]).unwrap();
    assert_eq!(
        world.gets(TCP, &tcp(4000, 22, ACK)),
        refused(DropReason::RefusedService)
    );
    world.sends(TCP, &tcp(22, 4000, ACK));
    assert_eq!(
        world.gets(TCP, &tcp(4000, 22, ACK)),
        refused(DropReason::RefusedService)
    );
    assert_eq!(world.gets(TCP, &tcp(80, 5000, SYN | ACK)), Verdict::Pass);
}

#[test]
fn open_doors_let_all_in_and_remember_nothing() {
    let mut world = World::new();
    world.filter.replace(true, &[]).unwrap();
    assert_eq!(world.gets(TCP, &tcp(4000, 22, SYN)), Verdict::Pass);
    assert_eq!(world.gets(ICMP, &icmp(134, [0; 4], &[])), Verdict::Pass);
    assert_eq!(world.gets_as(&KEY, &[]), Verdict::Pass);
    world.sends(TCP, &tcp(4000, 80, SYN));
    assert_eq!(world.filter.figures().flows, 0);
    assert!(world.filter.refusals(10).is_empty());
}

#[test]
fn of_a_packet_in_pieces_the_first_decides() {
    let mut world = World::new();
    world.sends(UDP, &udp(5000, 53));
    let first = |from: u16, id| fragment(UDP, 0, true, id, &udp(from, 5000));
    let later = |place, id| fragment(UDP, place, false, id, &[0; 8]);
    assert_eq!(
        world.gets(44, &later(2, 1)),
        refused(DropReason::RefusedFragment),
        "before the first"
    );
    assert_eq!(world.gets(44, &first(53, 1)), Verdict::Pass);
    assert_eq!(world.gets(44, &later(2, 1)), Verdict::Pass);
    assert_eq!(
        world.gets(44, &later(1, 1)),
        refused(DropReason::RefusedFragment),
        "it reaches into the first"
    );
    assert_eq!(world.gets(44, &later(2, 2)), refused(DropReason::RefusedFragment));
    assert_eq!(world.gets(44, &first(54, 3)), refused_and_told());
    assert_eq!(world.gets(44, &later(2, 3)), refused(DropReason::RefusedFragment));
    world.now += 61.0;
    assert_eq!(world.gets(44, &later(2, 1)), refused(DropReason::RefusedFragment));
}

#[test]
fn headers_that_hide_something_are_refused() {
    let mut world = World::allowing(&[allow(None, None, 0, 65535, 0)]);
    let syn = tcp(4000, 22, SYN);
    let options = |next: u8| [next, 0, 1, 4, 0, 0, 0, 0];
    let after = |head: &[u8], rest: &[u8]| [head, rest].concat();
    // (next header, payload)
    let bad: [(u8, Vec<u8>); 8] = [
        (44, fragment(TCP, 0, true, 1, &syn[..16])),
        (44, fragment(TCP, 0, true, 1, &after(&syn, &[0; 5]))),
        (
            44,
            fragment(44, 0, true, 1, &fragment(UDP, 0, true, 1, &udp(1, 2))),
        ),
        (44, fragment(TCP, 0x1fff, false, 1, &[0; 16])),
        (43, after(&[TCP, 0, 0, 1, 0, 0, 0, 0], &syn)),
        (60, after(&options(0), &after(&options(TCP), &syn))),
        (60, after(&[60, 0, 1, 4, 0, 0, 0, 0].repeat(9), &syn)),
        (60, vec![TCP, 255, 0, 0, 0, 0, 0, 0]),
    ];
    for (protocol, payload) in bad {
        assert_eq!(
            world.gets(protocol, &payload),
            refused(DropReason::RefusedHeader),
            "{protocol} {payload:?}"
        );
    }
    for length in 0..20 {
        assert_eq!(
            world.gets(TCP, &syn[..length]),
            refused(DropReason::RefusedHeader)
        );
    }
    let fine: [(u8, Vec<u8>); 4] = [
        (0, after(&options(60), &after(&options(TCP), &syn))),
        (44, fragment(TCP, 0, false, 1, &syn)),
        (43, after(&[TCP, 0, 0, 0, 0, 0, 0, 0], &syn)),
        (59, vec![]),
    ];
    for (protocol, payload) in fine {
        assert_eq!(
            world.gets(protocol, &payload),
            Verdict::Pass,
            "{protocol} {payload:?}"
        );
    }
}

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

#[test]
fn refusals_say_who_wanted_what_and_how_often() {
    let mut world = World::new();
    for _ in 0..3 {
        world.now += 1.0;
        let _ = world.gets(TCP, &tcp(4000, 22, SYN));
    }
    world.now += 1.0;
    let _ = world.gets(UDP, &udp(4000, 53));
    let latest = world.filter.refusals(10);
    assert_eq!(latest.len(), 2);
    assert_eq!((latest[0].protocol, latest[0].port), (UDP, 53));
    let ssh = &latest[1];
    assert_eq!(
        (ssh.key, ssh.source, ssh.protocol, ssh.port),
        (KEY, there(), TCP, 22)
    );
    assert_eq!((ssh.count, ssh.first, ssh.last), (3, 1001.0, 1003.0));
    assert_eq!(world.filter.refusals(1).len(), 1);
}

#[test]
fn one_that_tries_all_ports_hides_no_other() {
    let mut world = World::new();
    let _ = world.gets(TCP, &tcp(4000, 22, SYN));
    for port in 0..5000 {
        world.now += 1.0;
        let scan = ipv6(&address(3, 1), &here(), TCP, &tcp(4000, port, SYN));
        let _ = world.gets_as(&[3; 32], &scan);
    }
    let latest = world.filter.refusals(1000);
    assert_eq!(latest.len(), 17);
    assert!(latest.iter().any(|refusal| refusal.key == KEY));
    assert_eq!(latest[0].port, 4999);
    for key in 0..=255 {
        let scan = ipv6(&address(key, 1), &here(), TCP, &tcp(4000, 1, SYN));
        let _ = world.gets_as(&[key; 32], &scan);
        let _ = world.gets_as(&[key; 32], &ipv6(&address(key, 1), &here(), UDP, &udp(1, 1)));
    }
    assert_eq!(world.filter.refusals(1000).len(), 256);
}

#[test]
fn the_table_is_bounded_and_gives_up_the_shortest_first() {
    let limits = Limits {
        flows: 1024,
        per_node: 256,
    };
    let mut world = World::bounded(limits);
    // An established connection outlives a flood of attempts.
    world.sends(TCP, &tcp(4000, 80, SYN));
    assert_eq!(world.gets(TCP, &tcp(80, 4000, SYN | ACK)), Verdict::Pass);
    for node in 3..=40 {
        for port in 0..200 {
            let packet = ipv6(&here(), &address(node, 1), UDP, &udp(port, 53));
            world.filter.outbound(&mut world.recent, &packet, world.now);
        }
    }
    let figures = world.filter.figures();
    assert!((800..=1024).contains(&figures.flows), "{figures:?}");
    assert!(figures.evicted > 5000 && figures.unremembered == 0, "{figures:?}");
    assert_eq!(world.gets(TCP, &tcp(80, 4000, ACK)), Verdict::Pass);
    // One node gets its share, and no more.
    let mut world = World::bounded(limits);
    for port in 0..5000 {
        world.sends(UDP, &udp(port, 53));
    }
    let figures = world.filter.figures();
    assert!((200..=256).contains(&figures.flows), "{figures:?}");
    // What has run out makes room by and by, and isn't counted as evicted.
    world.now += 121.0;
    let evicted = figures.evicted;
    for port in 5000..5100 {
        world.sends(UDP, &udp(port, 53));
    }
    assert!(world.filter.figures().evicted <= evicted);
    assert!(world.filter.figures().flows < 220);
}

#[test]
fn those_whom_rules_let_in_displace_each_other_first() {
    let limits = Limits {
        flows: 1024,
        per_node: 1024,
    };
    let mut world = World::bounded(limits);
    world
        .filter
        .replace(false, &allow(None, Some(TCP), 80, 80, 0))
        .unwrap();
    world.sends(UDP, &udp(5000, 53));
    for node in 3..=200 {
        for port in 0..50 {
            // A stranger's connection, answered: it would be remembered far longer than the question.
            let syn = ipv6(&address(node, 1), &here(), TCP, &tcp(port, 80, SYN));
            assert_eq!(world.gets_as(&KEY, &syn), Verdict::Pass);
            let answer = ipv6(&here(), &address(node, 1), TCP, &tcp(80, port, SYN | ACK));
            world.filter.outbound(&mut world.recent, &answer, world.now);
        }
    }
    assert!(world.filter.figures().evicted > 8000);
    assert_eq!(world.gets(UDP, &udp(53, 5000)), Verdict::Pass);
}

#[test]
fn a_lane_does_not_use_what_the_table_has_forgotten() {
    let filter = Filter::new(1, Limits::default());
    let (mut one, mut other) = (Recent::default(), Recent::default());
    let out = ipv6(&here(), &there(), UDP, &udp(5000, 53));
    let back = ipv6(&there(), &here(), UDP, &udp(53, 5000));
    filter.outbound(&mut one, &out, 0.0);
    assert_eq!(filter.inbound(&mut other, &KEY, &back, 1.0), Verdict::Pass);
    assert_eq!(filter.inbound(&mut other, &KEY, &back, 301.0), Verdict::Pass);
    assert_ne!(filter.inbound(&mut other, &KEY, &back, 602.0), Verdict::Pass);
    filter.outbound(&mut one, &out, 603.0);
    assert_eq!(filter.inbound(&mut other, &KEY, &back, 604.0), Verdict::Pass);
}

#[test]
fn malformed_records_change_nothing() {
    let mut world = World::allowing(&[allow(None, Some(TCP), 22, 22, 0)]);
    let mut bad = allow(None, None, 0, 65535, 1);
    bad[0] = 9;
    assert_eq!(world.filter.replace(true, &bad), Err(RulesError::Record(0)));
    assert_eq!(world.filter.replace(true, &[0; 65]), Err(RulesError::Length(65)));
    let many = allow(None, None, 0, 65535, 1).repeat(4097);
    assert_eq!(world.filter.replace(true, &many), Err(RulesError::Many(4097)));
    assert_eq!(world.gets(TCP, &tcp(4000, 22, SYN)), Verdict::Pass);
    assert_eq!(world.gets(TCP, &tcp(4000, 23, SYN)), refused_and_told());
    for (first, last) in [(2, 1), (65535, 0)] {
        assert_eq!(Record::parse(&allow(None, None, first, last, 0)), None);
    }
    assert_eq!(
        Record::parse(&from_prefix(allow(None, None, 0, 1, 0), &address(1, 1), 64)),
        None
    );
}

/// Records among few values, so that they meet.
fn record() -> impl Strategy<Value = [u8; RECORD]> {
    let source = (0u8..3, 0u8..4, prop::sample::select(vec![0u8, 7, 64, 96, 128]));
    let service = (
        prop::option::of(prop::sample::select(vec![TCP, UDP, ICMP, 47])),
        0u16..6,
        0u16..6,
        any::<bool>(),
    );
    (1u8..3, source, service, 0u16..10).prop_map(
        |(list, (source, who, length), (protocol, one, two, all), rule)| {
            let (first, last) = match all {
                true => (0, u16::MAX),
                false => (one.min(two), one.max(two)),
            };
            let mut record = allow(None, protocol, first, last, rule);
            (record[0], record[1]) = (list, source);
            match source {
                1 => record[32..].fill(who),
                2 => {
                    let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
                    let prefix = u128::from_be_bytes(address(who, 1)) & mask;
                    record = from_prefix(record, &prefix.to_be_bytes(), length);
                }
                _ => {}
            }
            record
        },
    )
}

/// What the records say, read one by one.
fn naive(
    records: &[[u8; RECORD]],
    key: &[u8; 32],
    source: u128,
    wanted: Option<(u8, Option<u16>)>,
) -> Option<u16> {
    let records = records.iter().filter_map(Record::parse);
    let who = |record: &Record| match record.source {
        Source::Anyone => true,
        Source::Key(own) => own == *key,
        Source::Prefix(prefix, length) => length == 0 || (source ^ prefix) >> (128 - u32::from(length)) == 0,
    };
    let what = |record: &Record| match (record.service, wanted) {
        (None, None) => true,
        (Some(service), Some((protocol, port))) => {
            let right = service.protocol.is_none() || service.protocol == Some(protocol);
            right
                && match port {
                    Some(port) => service.first <= port && port <= service.last,
                    None => service.first == 0 && service.last == 65535,
                }
        }
        _ => false,
    };
    records
        .filter(|record| who(record) && what(record))
        .map(|record| record.rule)
        .min()
}

/// A step of a conversation: seconds that pass, the direction, TCP or UDP, the remote node, its port, flags.
type Step = (u16, bool, bool, u8, u8, u8);

/// What a naive reader remembers of a flow: seen out, seen in, past the first packet, both FINs, RST, when.
#[derive(Default, Clone, Copy)]
struct Seen {
    out: bool,
    came: bool,
    past: bool,
    fin: (bool, bool),
    reset: bool,
    at: u32,
}

impl Seen {
    fn lives(&self, is_tcp: bool, now: u32) -> bool {
        let lifetime = match (is_tcp, self.out && self.came) {
            (true, _) if self.reset => 10,
            (true, _) if self.fin == (true, true) => 120,
            (true, both) => [240, 7440][usize::from(both)],
            (false, both) => [120, 300][usize::from(both)],
        };
        now - self.at <= lifetime
    }
}

proptest! {
    #[test]
    fn compiled_rules_are_the_list_read_one_by_one(
        records in vec(record(), 0..30),
        who in 0u8..4,
        node in 0u8..4,
        wanted in prop::option::of((prop::sample::select(vec![TCP, UDP, ICMP, 47]), 0u16..6)),
    ) {
        let rules = Rules::parse(&records.concat(), 5).unwrap();
        let wanted = wanted.map(|(protocol, port)| (protocol, matches!(protocol, TCP | UDP).then_some(port)));
        let (key, source) = ([who; 32], u128::from_be_bytes(address(node, 1)));
        prop_assert_eq!(rules.admit(&key, source, wanted), naive(&records, &key, source, wanted));
    }

    #[test]
    fn flows_are_what_a_naive_reader_remembers(
        steps in vec((0u16..400, any::<bool>(), any::<bool>(), 2u8..4, 1u8..3, any::<u8>()), 1..60),
    ) {
        let mut world = World::new();
        let mut model: HashMap<(bool, u8, u8), Seen> = HashMap::new();
        for step in steps {
            let (wait, out, is_tcp, node, port, flags): Step = step;
            let flags = flags & (SYN | ACK | FIN | RST);
            world.now += f64::from(wait);
            let now = world.now as u32;
            let (from, to) = (4000, u16::from(port));
            let protocol = if is_tcp { TCP } else { UDP };
            let payload = |a, b| if is_tcp { tcp(a, b, flags) } else { udp(a, b) };
            let bare = is_tcp && flags & (SYN | ACK | RST) == SYN;
            let live = model.get(&(is_tcp, node, port)).copied().filter(|seen| seen.lives(is_tcp, now));
            if out {
                let packet = ipv6(&here(), &address(node, 1), protocol, &payload(from, to));
                world.filter.outbound(&mut world.recent, &packet, world.now);
                if live.is_none() && is_tcp && flags & RST != 0 {
                    continue;
                }
                let mut seen = live.filter(|_| !bare).unwrap_or_default();
                seen.out = true;
                if is_tcp {
                    seen.past |= flags & SYN == 0;
                    seen.fin.0 |= flags & FIN != 0;
                    seen.reset |= flags & RST != 0;
                }
                seen.at = now;
                model.insert((is_tcp, node, port), seen);
                continue;
            }
            let packet = ipv6(&address(node, 1), &here(), protocol, &payload(to, from));
            let passes = world.gets_as(&KEY, &packet) == Verdict::Pass;
            let expected = live.filter(|seen| !bare || !seen.past);
            prop_assert_eq!(passes, expected.is_some());
            if let Some(mut seen) = expected {
                seen.came = true;
                if is_tcp {
                    seen.fin.1 |= flags & FIN != 0;
                    seen.reset |= flags & RST != 0;
                }
                seen.at = now;
                model.insert((is_tcp, node, port), seen);
            }
        }
    }

    #[test]
    fn any_bytes_get_a_verdict(bytes in vec(any::<u8>(), 0..200), protocol: u8) {
        let mut world = World::new();
        let _ = world.gets_as(&KEY, &bytes);
        world.sends(protocol, &bytes);
        let _ = world.gets(protocol, &bytes);
    }
}

#[test]
fn lanes_share_one_table_without_losing_count() {
    let limits = Limits {
        flows: 512,
        per_node: 256,
    };
    let filter = Filter::new(3, limits);
    std::thread::scope(|scope| {
        for lane in 0..4u8 {
            let filter = &filter;
            scope.spawn(move || {
                let mut recent = Recent::default();
                for round in 0..20_000u16 {
                    let (node, port) = (2 + (round % 5) as u8, round % 1009);
                    let now = f64::from(round / 16);
                    let out = ipv6(&here(), &address(node, 1), UDP, &udp(port, 53));
                    filter.outbound(&mut recent, &out, now);
                    let back = ipv6(&address(node, 1), &here(), UDP, &udp(53, port));
                    let _ = filter.inbound(&mut recent, &[node; 32], &back, now);
                    if round % 4096 == 0 {
                        filter
                            .replace(false, &allow(None, Some(UDP), 0, lane.into(), 0))
                            .unwrap();
                    }
                }
            });
        }
    });
    let figures = filter.figures();
    assert!(figures.flows <= 512, "{figures:?}");
    // Every flow is still found by the hand that sweeps: once they have run out, others take their places.
    let mut recent = Recent::default();
    for port in 0..4096 {
        let out = ipv6(&here(), &address(9, 1), UDP, &udp(port, 53));
        filter.outbound(&mut recent, &out, 10_000.0 + f64::from(port) * 200.0);
    }
    assert!(filter.figures().flows <= 32, "{:?}", filter.figures());
}
