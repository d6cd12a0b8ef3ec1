//! Where a packet goes, from a link and from the host; and whether what was in it may be delivered.

use zosnet_core::fib::Builder;
use zosnet_core::forward::{
    DropReason, FromLink, FromTun, LinkState, Opened, Outgoing, from_link, from_tun, next_hop, opened,
    outgoing,
};
use zosnet_core::frame::{DataHeader, prepare_forward};
use zosnet_core::ipv6::{self, Header};

use crate::common::address;
use crate::{FRIEND, OWN, RETRACTED, STRANGER, node, ping, table, up};

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
