//! Decisions, queues and errors: what happens to a packet and in which order that is checked.
#![allow(clippy::unwrap_used)]

mod common;

use common::{address, transport_is_right};
use zosnet_core::fib::{Builder, Table};
use zosnet_core::forward::{
    DropReason, FromLink, FromTun, LinkState, Node, Opened, Outgoing, from_link, from_tun, next_hop, opened,
    outgoing,
};
use zosnet_core::frame::{DataHeader, prepare_forward};
use zosnet_core::icmp::{self, MAX_QUOTE, Problem, RecoverError};
use zosnet_core::ipv6::{self, Header};
use zosnet_core::upper;
use zosnet_core::waiting::{ASK_AGAIN, LIFETIME, Limits, Origin, Pushed, Waiting};

const OWN: &str = "401:1::1";
const FRIEND: &str = "402:2::2";
const RETRACTED: &str = "403:3::3";
const STRANGER: &str = "404:4::4";

fn node() -> Node {
    Node {
        address: address(OWN),
    }
}

/// Routes to FRIEND (link 1, backup 2) and to RETRACTED (none).
fn table() -> std::sync::Arc<Table> {
    let mut builder = Builder::new(10, 0);
    for (to, primary, backup) in [(FRIEND, 1u32, 2u32), (RETRACTED, 0, 0)] {
        let mut record = vec![1, 64, 0, 0];
        record.extend_from_slice(&address(to)[..8]);
        record.extend_from_slice(&[0; 8]);
        record.extend_from_slice(&[7; 32]);
        record.extend_from_slice(&primary.to_be_bytes());
        record.extend_from_slice(&backup.to_be_bytes());
        record.extend_from_slice(&[0; 4]);
        builder.apply(&record).unwrap();
    }
    builder.snapshot()
}

fn up(_: u32) -> LinkState {
    LinkState::Up
}

fn from(src: &str, dst: &str, hop_limit: u8, len: u16) -> String {
    let header = DataHeader {
        len,
        hop_limit,
        src: address(src),
        dst: address(dst),
    };
    let table = table();
    match from_link(&node(), &table, &header, up) {
        FromLink::Open { hop_limit, .. } => format!("open {hop_limit}"),
        FromLink::AwaitKey { prefix } => format!("key {prefix:x}"),
        FromLink::Forward { link, hop_limit } => format!("link {link} hop {hop_limit}"),
        FromLink::AwaitRoute { prefix } => format!("route {prefix:x}"),
        FromLink::Report { problem, sender } => format!("{} {}", problem.as_str(), sender.is_some()),
        FromLink::Drop(reason) => reason.as_str().to_owned(),
    }
}

#[test]
fn a_packet_from_a_link_is_judged_in_the_order_of_the_reference() {
    assert_eq!(from(FRIEND, OWN, 64, 60), "open 63");
    assert_eq!(from(FRIEND, "401:1::99", 2, 32), "open 1");
    assert_eq!(from(FRIEND, OWN, 1, 60), "hop_limit true");
    assert_eq!(from(STRANGER, OWN, 1, 60), "hop_limit false");
    assert_eq!(from(STRANGER, OWN, 64, 60), "key 404000400000000");
    assert_eq!(from(FRIEND, OWN, 64, 31), "short_payload");
    assert_eq!(from("401:1::5", OWN, 64, 60), "own_source");
    assert_eq!(from(STRANGER, FRIEND, 64, 0), "link 1 hop 63");
    assert_eq!(from(FRIEND, STRANGER, 64, 60), "route 404000400000000");
    assert_eq!(from(FRIEND, RETRACTED, 64, 60), "no_route true");
    assert_eq!(from(OWN, RETRACTED, 64, 60), "no_route");
    assert_eq!(from("2001:db8::1", OWN, 64, 60), "not_overlay");
    assert_eq!(from(FRIEND, "ff02::1", 64, 60), "not_overlay");
}

fn ping(src: &str, dst: &str, hop_limit: u8) -> Vec<u8> {
    let header = Header {
        traffic_class: 0x2e,
        flow_label: 0xabcde,
        len: 16,
        next_header: 58,
        hop_limit,
        src: address(src),
        dst: address(dst),
    };
    let mut packet = header.to_bytes().to_vec();
    assert_eq!(Header::parse(&[&packet[..], &[0; 16]].concat()), Ok(header));
    packet.extend_from_slice(&[128, 0, 0, 0, 0x12, 0x34, 0, 1]);
    packet.extend_from_slice(b"mycelium");
    let sum = ipv6::transport_sum(&header.src, &header.dst, 58, &packet[40..]);
    packet[42..44].copy_from_slice(&zosnet_core::checksum::finish(sum).to_be_bytes());
    assert!(transport_is_right(&packet));
    packet
}

fn out(packet: &[u8]) -> String {
    match from_tun(&node(), &table(), packet, up) {
        FromTun::Send { link, hop_limit, .. } => format!("link {link} hop {hop_limit}"),
        FromTun::Await { prefix } => format!("route {prefix:x}"),
        FromTun::Refuse(problem) => problem.as_str().to_owned(),
        FromTun::Drop(reason) => reason.as_str().to_owned(),
    }
}

#[test]
fn a_packet_of_the_host_is_judged_in_the_order_of_the_reference() {
    assert_eq!(out(&ping(OWN, FRIEND, 64)), "link 1 hop 63");
    assert_eq!(out(&ping("401:1::7", FRIEND, 2)), "link 1 hop 1");
    assert_eq!(out(&ping(OWN, FRIEND, 1)), "hop_limit");
    assert_eq!(out(&ping(OWN, "401:1::9", 1)), "address_unreachable");
    assert_eq!(out(&ping(STRANGER, FRIEND, 64)), "source_policy");
    assert_eq!(out(&ping("fe80::1", "ff02::2", 255)), "multicast");
    assert_eq!(out(&ping(OWN, STRANGER, 64)), "route 404000400000000");
    assert_eq!(out(&ping(OWN, RETRACTED, 64)), "route 403000300000000");
    assert_eq!(out(&ping(OWN, "2001:db8::1", 64)), "no_route");
    assert_eq!(out(&ping(OWN, FRIEND, 64)[..55]), "not_ipv6");
    assert_eq!(out(&[0x45; 60]), "not_ipv6");
}

#[test]
fn a_silent_link_gives_way_to_the_backup_and_is_better_than_none() {
    use LinkState::{Gone, Stalled, Up};
    let table = table();
    let entry = table.lookup(&address(FRIEND)).unwrap();
    let pick = |one, two| next_hop(entry, |link| if link == 1 { one } else { two });
    assert_eq!(pick(Up, Up), Some(1));
    assert_eq!(pick(Stalled, Up), Some(2));
    assert_eq!(pick(Gone, Up), Some(2));
    assert_eq!(pick(Stalled, Stalled), Some(1));
    assert_eq!(pick(Gone, Stalled), Some(2));
    assert_eq!(pick(Gone, Gone), None);
    assert_eq!(next_hop(table.lookup(&address(RETRACTED)).unwrap(), up), None);
}

#[test]
fn using_an_entry_marks_it() {
    let table = table();
    let used = || {
        table
            .lookup(&address(FRIEND))
            .unwrap()
            .used
            .load(std::sync::atomic::Ordering::Relaxed)
    };
    assert!(matches!(
        outgoing(&table, &address(FRIEND), |_| LinkState::Gone),
        Outgoing::Await { .. }
    ));
    assert!(!used());
    assert!(matches!(
        outgoing(&table, &address(FRIEND), up),
        Outgoing::Send { link: 1, .. }
    ));
    assert!(used());
}

fn open(src: &str, dst: &str, kind: u8, cut: usize) -> Result<Vec<u8>, &'static str> {
    let mut plaintext = [vec![1, kind, 0xbe, 0xef], ping(src, dst, 64), vec![0; 5]].concat();
    let length = plaintext.len() - cut;
    let outer = DataHeader {
        len: 0,
        hop_limit: 9,
        src: address(FRIEND),
        dst: address(OWN),
    };
    match opened(&node(), &outer, 8, &mut plaintext[..length]) {
        Opened::Tun(packet) => Ok(packet.to_vec()),
        Opened::Message(_) => Err("message"),
        Opened::Error(_) => Err("error"),
        Opened::Drop(reason) => Err(reason.as_str()),
    }
}

#[test]
fn an_opened_packet_must_come_from_and_go_to_whom_the_outside_says() {
    let delivered = open(FRIEND, OWN, 0, 0).unwrap();
    assert_eq!((delivered.len(), delivered[7]), (56, 8));
    assert!(open("402:2::77", "401:1::88", 0, 5).is_ok());
    assert_eq!(open(STRANGER, OWN, 0, 0), Err("inner_source"));
    assert_eq!(open(FRIEND, STRANGER, 0, 0), Err("inner_destination"));
    assert_eq!(open(FRIEND, OWN, 0, 6), Err("bad_inner"));
    assert_eq!(open(FRIEND, OWN, 1, 0), Err("message"));
    assert_eq!(open(FRIEND, OWN, 2, 0), Err("error"));
    assert_eq!(open(FRIEND, OWN, 3, 0), Err("unknown_inner"));
}

#[test]
fn every_drop_reason_has_its_own_counter() {
    let names: std::collections::HashSet<_> = DropReason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(names.len(), DropReason::ALL.len());
    for (index, reason) in DropReason::ALL.iter().enumerate() {
        assert_eq!(reason.index(), index);
    }
}

#[test]
fn a_forwarded_packet_changes_only_in_hop_limit_and_reserved_bytes() {
    let mut packet: Vec<u8> = (0..60).collect();
    let mut wanted = packet.clone();
    (wanted[2], wanted[3], wanted[4], wanted[7]) = (0, 0, 0, 41);
    prepare_forward(&mut packet, 41).unwrap();
    assert_eq!(packet, wanted);
    assert!(prepare_forward(&mut packet[..7], 1).is_err());
}

#[test]
fn an_error_for_the_host_quotes_and_comes_from_the_right_address() {
    let big = [ping(OWN, FRIEND, 64), vec![1; 2000]].concat();
    for (problem, kind, from) in [
        (Problem::NoRoute, [1, 0], OWN),
        (Problem::AddressUnreachable, [1, 3], "401:1::aa"),
        (Problem::SourcePolicy, [1, 5], "401:1::aa"),
        (Problem::HopLimit, [3, 0], OWN),
        (Problem::TooBig { mtu: 1362 }, [2, 0], "401:1::aa"),
    ] {
        let error = icmp::local(problem, &address("401:1::aa"), &big).unwrap();
        assert_eq!(error.len(), 1280);
        assert_eq!(error[40..42], kind);
        assert_eq!(error[8..24], address(from));
        assert_eq!(error[24..40], address(OWN));
        assert_eq!(error[48..], big[..MAX_QUOTE]);
        assert!(transport_is_right(&error));
    }
    let error = icmp::local(Problem::TooBig { mtu: 1362 }, &address(OWN), &big).unwrap();
    assert_eq!(error[44..48], 1362u32.to_be_bytes());
}

#[test]
fn some_packets_must_not_be_answered_by_an_error() {
    let own = address(OWN);
    let told = |packet: &[u8]| icmp::local(Problem::NoRoute, &own, packet).is_some();
    assert!(told(&ping(OWN, FRIEND, 64)));
    assert!(!told(&ping(OWN, "ff02::1", 64)));
    assert!(!told(&ping("::", FRIEND, 64)));
    assert!(!told(&ping(OWN, FRIEND, 64)[..39]));
    let mut error = ping(OWN, FRIEND, 64);
    error[40] = 1;
    assert!(!told(&error));
    error[40] = 137;
    assert!(!told(&error));
    // The same behind a destination options header.
    let mut hidden = ping(OWN, FRIEND, 64);
    hidden[6] = 60;
    hidden.splice(40..40, [58, 0, 1, 4, 0, 0, 0, 0]);
    assert!(told(&hidden));
    hidden[48] = 1;
    assert!(!told(&hidden));
    let multicast = ping(OWN, "ff02::1", 64);
    assert!(icmp::local(Problem::TooBig { mtu: 1280 }, &own, &multicast).is_some());
}

#[test]
fn transit_errors_are_not_made_about_transit_errors_nor_outside_the_overlay() {
    let transit = node().network();
    let make = |src: &str, problem| {
        let header = DataHeader {
            len: 3,
            hop_limit: 1,
            src: address(src),
            dst: address(STRANGER),
        };
        icmp::out_of_band(problem, &transit, &header, &[1, 2, 3])
    };
    assert!(make(FRIEND, Problem::HopLimit).is_some());
    assert!(make("402:2::", Problem::HopLimit).is_none());
    assert!(make("2001:db8::1", Problem::HopLimit).is_none());
    assert!(make(FRIEND, Problem::SourcePolicy).is_none());
    let header = DataHeader {
        len: 1233,
        hop_limit: 1,
        src: address(FRIEND),
        dst: address(STRANGER),
    };
    let without = icmp::out_of_band(Problem::NoRoute, &transit, &header, &[0; 1233]).unwrap();
    assert_eq!(without.len(), 40 + 4 + 16 + 40 + 8 + 28);
    let outer = DataHeader {
        src: transit,
        dst: address(FRIEND),
        ..header
    };
    assert_eq!(icmp::recover(&outer, &without[44..108]), Err(RecoverError::Empty));
    let whole = icmp::out_of_band(Problem::NoRoute, &transit, &header, &[0; 1232]).unwrap();
    let body = &whole[44..whole.len() - 28];
    assert_eq!(icmp::recover(&outer, body).unwrap().sealed.len(), 1232);
    assert_eq!(
        icmp::recover(
            &DataHeader {
                src: address(STRANGER),
                ..outer
            },
            body
        ),
        Err(RecoverError::Source)
    );
    let mut altered = body.to_vec();
    altered[200] ^= 1;
    assert_eq!(icmp::recover(&outer, &altered), Err(RecoverError::Malformed));
    let error = icmp::recover(&outer, body).unwrap();
    assert_eq!(
        error.for_host(&ping(STRANGER, FRIEND, 1)),
        Err(RecoverError::NotOurs)
    );
    assert!(error.for_host(&ping(FRIEND, STRANGER, 1)).unwrap().is_some());
}

#[test]
fn a_ping_is_answered() {
    let request = ping(FRIEND, OWN, 9);
    let reply = icmp::echo_reply(&request).unwrap();
    assert_eq!(reply[40], 129);
    assert_eq!(reply[44..], request[44..]);
    assert_eq!(reply[8..40], [address(OWN), address(FRIEND)].concat());
    assert!(transport_is_right(&reply));
    assert_eq!(icmp::echo_reply(&reply), None);
    let mut wrong = request.clone();
    wrong[50] ^= 1;
    assert_eq!(icmp::echo_reply(&wrong), None);
    assert_eq!(icmp::echo_reply(&ping(FRIEND, "ff02::1", 9)), None);
}

#[test]
fn waiting_is_bounded_by_packets_and_bytes_in_one_prefix_and_in_all() {
    let limits = Limits {
        packets_per_prefix: 3,
        bytes_per_prefix: 250,
        packets: 5,
        bytes: 400,
    };
    let mut waiting = Waiting::new(limits);
    let mut push = |prefix, length| match waiting.push(prefix, Origin::Host, &vec![0; length], 1.0) {
        Pushed::Queued { .. } => true,
        Pushed::Full => false,
    };
    assert!(push(1, 100) && push(1, 100) && !push(1, 51) && push(1, 50) && !push(1, 0));
    assert!(push(2, 100) && !push(2, 51) && push(2, 50) && !push(3, 0));
    assert_eq!((waiting.len(), waiting.bytes()), (5, 400));
    assert_eq!(waiting.take(1).len(), 3);
    assert_eq!((waiting.len(), waiting.bytes()), (2, 150));
    assert!(waiting.take(1).is_empty());
}

#[test]
fn transit_packets_leave_half_of_the_room_to_this_node() {
    let limits = Limits {
        packets_per_prefix: 4,
        bytes_per_prefix: 1000,
        packets: 8,
        bytes: 2000,
    };
    let mut waiting = Waiting::new(limits);
    let mut room = |origin, prefix| {
        (0..9)
            .filter(|_| waiting.push(prefix, origin, &[0], 1.0) != Pushed::Full)
            .count()
    };
    assert_eq!(room(Origin::Transit, 1), 2);
    assert_eq!(room(Origin::Transit, 2), 2);
    assert_eq!(room(Origin::Transit, 3), 0);
    assert_eq!(room(Origin::Host, 1), 2);
    assert_eq!(room(Origin::Message, 3), 2);
}

#[test]
fn a_route_is_asked_for_once_a_second_while_packets_come() {
    let mut waiting = Waiting::new(Limits::OUTGOING);
    let mut ask = |prefix, now| waiting.push(prefix, Origin::Transit, &[1], now);
    assert_eq!(ask(1, 10.0), Pushed::Queued { ask: true });
    assert_eq!(ask(1, 10.9), Pushed::Queued { ask: false });
    assert_eq!(ask(2, 10.9), Pushed::Queued { ask: true });
    assert_eq!(ask(1, 10.0 + ASK_AGAIN), Pushed::Queued { ask: true });
}

#[test]
fn what_waited_too_long_comes_back_for_an_error() {
    let mut waiting = Waiting::new(Limits::INCOMING);
    assert_eq!(waiting.deadline(), None);
    for (prefix, now) in [(1, 0.0), (1, 5.0), (2, 1.0)] {
        let _ = waiting.push(prefix, Origin::Incoming, &[prefix as u8, now as u8], now);
    }
    assert_eq!(waiting.deadline(), Some(LIFETIME));
    assert!(waiting.expire(LIFETIME - 0.1).is_empty());
    let mut first: Vec<_> = waiting
        .expire(LIFETIME + 1.0)
        .into_iter()
        .map(|held| held.packet)
        .collect();
    first.sort();
    assert_eq!(first, [[1, 0], [2, 1]]);
    assert_eq!((waiting.len(), waiting.deadline()), (1, Some(5.0 + LIFETIME)));
    assert_eq!(waiting.prefixes().collect::<Vec<_>>(), [1]);
    assert_eq!(waiting.expire(100.0).len(), 1);
    assert!(waiting.is_empty() && waiting.bytes() == 0);
    assert_eq!(upper(&address("1:2:3:4::9")), 0x0001_0002_0003_0004);
}

#[test]
fn flows_are_spread_over_two_equal_links_and_each_keeps_its_own() {
    let mut builder = Builder::new(10, 0);
    let mut record = vec![1, 64, zosnet_core::fib::SPREAD, 0];
    record.extend_from_slice(&address(FRIEND)[..8]);
    record.extend_from_slice(&[0; 8]);
    record.extend_from_slice(&[7; 32]);
    record.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0]);
    builder.apply(&record).unwrap();
    let table = builder.snapshot();
    let link_of = |port: u16, links: fn(u32) -> LinkState| {
        let header = Header {
            traffic_class: 0,
            flow_label: 0,
            len: 8,
            next_header: ipv6::UDP,
            hop_limit: 64,
            src: address(OWN),
            dst: address(FRIEND),
        };
        let packet = [&header.to_bytes()[..], &port.to_be_bytes(), &[0, 9, 0, 8, 0, 0]].concat();
        match from_tun(&node(), &table, &packet, links) {
            FromTun::Send { link, .. } => link,
            other => panic!("{other:?}"),
        }
    };
    let links: Vec<_> = (1000..1400).map(|port| link_of(port, up)).collect();
    let first = links.iter().filter(|link| **link == 1).count();
    assert!((120..280).contains(&first), "{first} of 400 on the first link");
    assert_eq!(
        links,
        (1000..1400).map(|port| link_of(port, up)).collect::<Vec<_>>()
    );
    let one_down = |link| {
        if link == 1 {
            LinkState::Stalled
        } else {
            LinkState::Up
        }
    };
    assert!((1000..1400).all(|port| link_of(port, one_down) == 2));
}
