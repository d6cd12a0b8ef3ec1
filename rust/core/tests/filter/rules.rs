//! Whom the operator lets in.

use proptest::collection::vec;
use proptest::prelude::*;
use zosnet_core::filter::Verdict;
use zosnet_core::filter::rules::{RECORD, Record, Rules, RulesError, Source};
use zosnet_core::forward::DropReason;

use crate::packets::{ACK, SYN, icmp, ipv6, tcp, udp};
use crate::{ICMP, KEY, TCP, UDP, World, address, allow, from_prefix, here, refused, refused_and_told};

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
}
