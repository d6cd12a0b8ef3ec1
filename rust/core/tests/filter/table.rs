//! The table of flows: its bounds, its lanes.

use zosnet_core::filter::flows::{Limits, Recent};
use zosnet_core::filter::{Filter, Verdict};
use zosnet_core::forward::DropReason;

use crate::packets::{ACK, SYN, ipv6, tcp, udp};
use crate::{KEY, TCP, UDP, World, address, allow, here, refused, refused_and_told, there};

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
            world.filter.outbound(&mut world.recent, &KEY, &packet, world.now);
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
            world.filter.outbound(&mut world.recent, &KEY, &answer, world.now);
        }
    }
    assert!(world.filter.figures().evicted > 8000);
    assert_eq!(world.gets(UDP, &udp(53, 5000)), Verdict::Pass);
}

#[test]
fn what_a_rule_let_in_ends_with_it_though_it_was_forgotten_in_between() {
    for protocol in [TCP, UDP] {
        let mut world = World::bounded(Limits {
            flows: 16,
            per_node: 16,
        });
        let rule = allow(Some(&KEY), Some(protocol), 80, 80, 0);
        world.filter.replace(false, &rule).unwrap();
        let payload = |from, to, flags| match protocol {
            TCP => tcp(from, to, flags),
            _ => udp(from, to),
        };
        // Theirs, then so many others that it has to go, then the host's answer.
        assert_eq!(world.gets(protocol, &payload(4000, 80, SYN)), Verdict::Pass);
        for port in 0..1000 {
            world.sends(UDP, &udp(port, 53));
        }
        world.sends(protocol, &payload(80, 4000, ACK));
        // The host's own, though a rule would have let the other side begin it.
        world.sends(TCP, &tcp(80, 5000, SYN));
        assert_eq!(world.gets(protocol, &payload(4000, 80, ACK)), Verdict::Pass);
        world.filter.replace(false, &[]).unwrap();
        let why = DropReason::RefusedService;
        let refusal = if protocol == UDP {
            refused_and_told()
        } else {
            refused(why)
        };
        assert_eq!(world.gets(protocol, &payload(4000, 80, ACK)), refusal);
        world.sends(protocol, &payload(80, 4000, ACK));
        assert_eq!(world.gets(protocol, &payload(4000, 80, ACK)), refusal);
        assert_eq!(world.gets(TCP, &tcp(5000, 80, SYN | ACK)), Verdict::Pass);
    }
}

#[test]
fn a_lane_does_not_use_what_the_table_has_forgotten() {
    let filter = Filter::new(1, Limits::default());
    let (mut one, mut other) = (Recent::default(), Recent::default());
    let out = ipv6(&here(), &there(), UDP, &udp(5000, 53));
    let back = ipv6(&there(), &here(), UDP, &udp(53, 5000));
    filter.outbound(&mut one, &KEY, &out, 0.0);
    assert_eq!(filter.inbound(&mut other, &KEY, &back, 1.0), Verdict::Pass);
    assert_eq!(filter.inbound(&mut other, &KEY, &back, 301.0), Verdict::Pass);
    assert_ne!(filter.inbound(&mut other, &KEY, &back, 602.0), Verdict::Pass);
    filter.outbound(&mut one, &KEY, &out, 603.0);
    assert_eq!(filter.inbound(&mut other, &KEY, &back, 604.0), Verdict::Pass);
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
                    filter.outbound(&mut recent, &KEY, &out, now);
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
        filter.outbound(&mut recent, &KEY, &out, 10_000.0 + f64::from(port) * 200.0);
    }
    assert!(filter.figures().flows <= 32, "{:?}", filter.figures());
}
