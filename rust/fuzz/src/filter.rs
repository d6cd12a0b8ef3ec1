//! The filter: whatever comes, closed doors let in pings and answers only.

use zosnet_core::filter::flows::{Limits, Recent};
use zosnet_core::filter::packet::{Packet, has_ports};
use zosnet_core::filter::rules::{RECORD, Record, Rules};
use zosnet_core::filter::{Filter, Verdict};
use zosnet_core::ipv6;

const KEY: [u8; 32] = [7; 32];
const ECHO_REQUEST: u8 = 128;

/// The answer to a packet without extension headers: addresses and ports swapped.
fn answer(packet: &[u8]) -> Vec<u8> {
    let mut answer = packet.to_vec();
    answer[8..24].copy_from_slice(&packet[24..40]);
    answer[24..40].copy_from_slice(&packet[8..24]);
    answer[40..42].copy_from_slice(&packet[42..44]);
    answer[42..44].copy_from_slice(&packet[40..42]);
    answer
}

/// Any packet gets a verdict; nothing but an echo request comes in unasked; what was asked for comes in.
pub fn filter_packet(data: &[u8]) {
    let limits = Limits {
        flows: 64,
        per_node: 64,
    };
    let filter = Filter::new(5, limits);
    let mut recent = Recent::default();
    let read = Packet::read(data);
    if let Ok(packet) = read {
        assert!(
            packet
                .piece
                .is_none_or(|piece| piece.from < piece.to || piece.from > 0)
        );
        if let Some((protocol, _)) = ipv6::transport(data) {
            assert_eq!((packet.protocol, packet.piece), (protocol, None));
        }
    }
    if filter.inbound(&mut recent, &KEY, data, 1.0) == Verdict::Pass {
        assert_eq!(
            read.map(|packet| (packet.protocol, packet.kind)),
            Ok((ipv6::ICMPV6, ECHO_REQUEST))
        );
    }
    assert_eq!(filter.figures().flows, 0);
    filter.outbound(&mut recent, &KEY, data, 2.0);
    assert!(filter.figures().flows <= 1);
    if let Ok(packet) = read
        && has_ports(data[6])
        && packet.flags & 4 == 0
    {
        let back = answer(data);
        assert_eq!(filter.inbound(&mut recent, &KEY, &back, 3.0), Verdict::Pass);
    }
    let _ = filter.message_in(&mut recent, &KEY, &[4; 16], data, 4.0);
    filter.message_out(&mut recent, &[4; 16], data, 4.0);
    // As rules: all of it or nothing.
    let (records, rest) = data.as_chunks::<RECORD>();
    let sane = rest.is_empty() && records.iter().all(|record| Record::parse(record).is_some());
    assert_eq!(Rules::parse(data, 5).is_ok(), sane);
}
