//! Packets that wait for a route or a key: how many, how long, and how often it is asked for.

use zosnet_core::upper;
use zosnet_core::waiting::{ASK_AGAIN, LIFETIME, Limits, Origin, Pushed, Waiting};

use crate::common::address;

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
