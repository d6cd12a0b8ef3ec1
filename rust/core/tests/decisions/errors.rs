//! ICMPv6: what is answered, by which error, and what never is.

use zosnet_core::frame::DataHeader;
use zosnet_core::icmp::{self, MAX_QUOTE, Problem, RecoverError};

use crate::common::{address, transport_is_right};
use crate::{FRIEND, OWN, STRANGER, node, ping};

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
