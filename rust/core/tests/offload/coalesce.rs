//! Merging packets of a flow: what may be merged, and what goes on alone.

use zosnet_core::offload::VirtioNetHdr;

use crate::common::Flow;
use crate::{bytes, cut, merge};

/// Two packets that would merge, the second one changed.
fn pair(change: impl Fn(&mut Flow)) -> usize {
    let first = Flow::default();
    let payload = bytes(500);
    let mut second = Flow {
        sequence: 1500,
        ..first.clone()
    };
    change(&mut second);
    merge(&[first.packet(&payload, false), second.packet(&payload, false)]).len()
}

#[test]
fn only_what_the_kernel_can_restore_may_differ() {
    assert_eq!(pair(|_| ()), 1);
    assert_eq!(pair(|flow| flow.flags |= 8), 1);
    for flag in [0x01, 0x02, 0x04, 0x20, 0x40, 0x80] {
        assert_eq!(pair(|flow| flow.flags |= flag), 2, "flag {flag:#x}");
    }
    assert_eq!(pair(|flow| flow.sequence += 1), 2);
    assert_eq!(pair(|flow| flow.sequence -= 1), 2);
    assert_eq!(pair(|flow| flow.port += 1), 2);
    assert_eq!(pair(|flow| flow.traffic_class = 3), 2);
    assert_eq!(pair(|flow| flow.options[8] += 1), 2);
    assert_eq!(pair(|flow| flow.options.clear()), 2);
}

#[test]
fn a_wrong_checksum_goes_on_alone_and_untouched() {
    let flow = Flow::default();
    let mut packets: Vec<_> = (0..4)
        .map(|n| {
            Flow {
                sequence: 1000 + n * 300,
                ..flow.clone()
            }
            .packet(&bytes(300), false)
        })
        .collect();
    packets[1][200] ^= 1;
    let written = merge(&packets);
    assert_eq!(written.len(), 3);
    assert_eq!(written[0], (VirtioNetHdr::default(), packets[0].clone()));
    assert_eq!(written[1], (VirtioNetHdr::default(), packets[1].clone()));
    assert_eq!(written[2].0.gso_size, 300);
}

#[test]
fn udp_without_a_checksum_is_never_merged() {
    let flow = Flow {
        v6: false,
        tcp: false,
        ..Flow::default()
    };
    let mut packets: Vec<_> = (0..3)
        .map(|n| {
            Flow {
                id: 7 + n,
                ..flow.clone()
            }
            .packet(&bytes(300), false)
        })
        .collect();
    assert_eq!(merge(&packets).len(), 1);
    for packet in &mut packets {
        packet[26..28].fill(0);
    }
    assert_eq!(merge(&packets).len(), 3);
}

#[test]
fn more_flows_than_can_be_open_still_keep_their_order() {
    let flows: Vec<_> = (0..20)
        .map(|n| Flow {
            port: 2000 + n,
            ..Flow::default()
        })
        .collect();
    let mut packets = Vec::new();
    for round in 0..3 {
        for flow in &flows {
            packets.push(
                Flow {
                    sequence: 1000 + round * 100,
                    ..flow.clone()
                }
                .packet(&bytes(100), false),
            );
        }
    }
    let again: Vec<_> = merge(&packets)
        .iter()
        .flat_map(|(hdr, whole)| cut(*hdr, whole).unwrap())
        .collect();
    for flow in &flows {
        let of = |all: &[Vec<u8>]| {
            all.iter()
                .filter(|packet| packet[40..42] == flow.port.to_be_bytes())
                .cloned()
                .collect::<Vec<_>>()
        };
        assert_eq!(of(&again), of(&packets));
    }
}

#[test]
fn super_packets_stay_below_the_limit_of_ip() {
    let flow = Flow {
        options: Vec::new(),
        ..Flow::default()
    };
    let packets: Vec<_> = (0..60u32)
        .map(|n| {
            Flow {
                sequence: n * 1300,
                ..flow.clone()
            }
            .packet(&bytes(1300), false)
        })
        .collect();
    let written = merge(&packets);
    assert_eq!(written.len(), 2);
    assert!(written[0].1.len() <= 65_535 && written[0].1.len() > 64_000);
}

#[test]
fn a_fragment_holds_back_what_follows_between_its_addresses() {
    let first = Flow::default().packet(&bytes(300), false);
    let last = Flow {
        sequence: 1300,
        ..Flow::default()
    }
    .packet(&bytes(300), false);
    let mut fragment = first.clone();
    fragment[6] = 44;
    assert_eq!(merge(&[first.clone(), fragment.clone(), last.clone()]).len(), 3);
    fragment[39] ^= 1;
    assert_eq!(merge(&[first, fragment, last]).len(), 2);
}
