//! What is judged by itself: pings, errors, neighbour discovery, fragments, extension headers.

use zosnet_core::filter::Verdict;
use zosnet_core::forward::DropReason;

use crate::packets::{ACK, SYN, echo, fragment, icmp, ipv6, tcp, udp};
use crate::{ICMP, KEY, TCP, UDP, World, address, allow, here, refused, refused_and_told, there};

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
fn errors_come_in_about_what_this_host_sent() {
    let mut world = World::new();
    let sent = ipv6(&here(), &there(), TCP, &tcp(4000, 80, SYN));
    world.filter.outbound(&mut world.recent, &KEY, &sent, world.now);
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
fn errors_come_in_about_the_first_piece_of_what_this_host_sent_wherever_the_quote_ends() {
    let mut world = World::new();
    let piece = |from, more| {
        let part = fragment(UDP, from, more, 1, &udp(5000, 53));
        ipv6(&here(), &there(), 44, &part)
    };
    let (first, later) = (piece(0, true), piece(2, false));
    world.filter.outbound(&mut world.recent, &KEY, &first, world.now);
    world.filter.outbound(&mut world.recent, &KEY, &later, world.now);
    let error = |quote: &[u8]| icmp(1, [0; 4], quote);
    for end in [64, 61, 52] {
        assert_eq!(
            world.gets(ICMP, &error(&first[..end])),
            Verdict::Pass,
            "{end} bytes"
        );
    }
    for quote in [&first[..51], &later] {
        assert_eq!(world.gets(ICMP, &error(quote)), refused(DropReason::RefusedError));
    }
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
