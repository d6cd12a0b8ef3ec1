//! Cutting and merging, one after the other: nothing is lost, added or reordered.

use proptest::collection::vec;
use proptest::prelude::*;
use zosnet_core::offload::{Checksums, VirtioNetHdr, split_as};

use crate::common::{Flow, transport_is_right};
use crate::{ACK, bytes, cut, flow, header, merge, merge_as};

/// The pieces of a super-packet, with partial checksums.
fn cut_partial(hdr: VirtioNetHdr, packet: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    split_as(
        Checksums::Partial,
        hdr,
        &mut packet.to_vec(),
        |head, body, partial| {
            assert!(partial);
            all.push([head, body].concat());
        },
    )
    .unwrap();
    all
}

proptest! {
    #[test]
    fn merging_the_segments_gives_the_super_packet_back(
        flow in flow(), segments in 2usize..60, size in 1usize..1100, last in 1usize..1100, push in any::<bool>(),
    ) {
        let flags = if push { ACK | 8 } else { ACK };
        let flow = Flow { flags, ..flow };
        let payload = bytes(size * (segments - 1) + last.min(size));
        prop_assume!(payload.len() + flow.headers_len() <= 65_535);
        let whole = flow.packet(&payload, true);
        let hdr = header(&flow, size as u16);
        let parts = cut(hdr, &whole).unwrap();
        prop_assert_eq!(parts.len(), segments);
        prop_assert!(parts.iter().all(|part| transport_is_right(part)));
        prop_assert_eq!(merge(&parts), [(hdr, whole)]);
    }

    #[test]
    fn partial_checksums_survive_cutting_and_merging_and_are_completed_to_the_same_packets(
        flow in flow(), segments in 1usize..60, size in 1usize..1100, last in 1usize..1100,
    ) {
        let flow = Flow { flags: ACK, ..flow };
        let payload = bytes(size * (segments - 1) + last.min(size));
        prop_assume!(payload.len() + flow.headers_len() <= 65_535);
        let whole = flow.packet(&payload, true);
        let hdr = header(&flow, size as u16);
        let parts = cut_partial(hdr, &whole);
        let alone = VirtioNetHdr { gso_type: 0, gso_size: 0, ..hdr };
        let completed: Vec<_> = parts.iter().flat_map(|part| cut(alone, part).unwrap()).collect();
        prop_assert_eq!(completed, cut(hdr, &whole).unwrap());
        let merged = merge_as(&parts, true);
        prop_assert_eq!(merged.len(), 1);
        let (written, bytes) = &merged[0];
        prop_assert!(written.needs_csum());
        prop_assert_eq!((written.csum_start, written.csum_offset), (hdr.csum_start, hdr.csum_offset));
        prop_assert_eq!(cut(*written, bytes).unwrap(), cut(hdr, &whole).unwrap());
    }

    #[test]
    fn merging_never_loses_adds_or_reorders_bytes_of_a_flow(
        choices in vec((0u8..3, 0u8..12, 1usize..4), 1..60),
    ) {
        let mut next = [1000u32, 1_000_000, 0xffff_ff00];
        let mut packets = Vec::new();
        for (which, oddity, size) in choices {
            let which = usize::from(which);
            let payload = vec![packets.len() as u8; size * 100];
            let mut flow = Flow {
                port: 1000 + which as u16,
                sequence: next[which],
                tcp: which != 2,
                ..Flow::default()
            };
            match oddity {
                0 => flow.flags = ACK | 1,
                1 => flow.traffic_class = 3,
                2 => flow.flags = ACK | 8,
                3 => flow.sequence = flow.sequence.wrapping_add(5),
                _ => {}
            }
            next[which] = flow.sequence.wrapping_add(payload.len() as u32);
            let mut packet = flow.packet(&payload, false);
            if oddity == 4 {
                *packet.last_mut().unwrap() ^= 1;
            }
            packets.push(packet);
        }
        let mut again = Vec::new();
        for (hdr, written) in merge(&packets) {
            prop_assert!(written.len() <= 65_535);
            again.extend(cut(hdr, &written).unwrap());
        }
        for port in 1000u16..1003 {
            let of = |all: &[Vec<u8>]| -> Vec<Vec<u8>> {
                all.iter().filter(|p| p[40..42] == port.to_be_bytes()).cloned().collect()
            };
            prop_assert_eq!(of(&again), of(&packets));
        }
        prop_assert_eq!(again.len(), packets.len());
    }
}
