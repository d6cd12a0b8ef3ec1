//! Super-packets: cutting, merging, and both together.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Flow, transport_is_right};
use proptest::collection::vec;
use proptest::prelude::*;
use zosnet_core::offload::{Checksums, Coalescer, Gso, OffloadError, VirtioNetHdr, split, split_as};

const ACK: u8 = 0x10;
const ALL_FLAGS: u8 = 0x80 | 0x10 | 0x08 | 0x01;

fn gso_of(flow: &Flow) -> Gso {
    match (flow.tcp, flow.v6) {
        (false, _) => Gso::UdpL4,
        (true, true) => Gso::TcpV6,
        (true, false) => Gso::TcpV4,
    }
}

fn header(flow: &Flow, size: u16) -> VirtioNetHdr {
    VirtioNetHdr {
        flags: VirtioNetHdr::NEEDS_CSUM,
        gso_type: gso_of(flow).number(),
        hdr_len: flow.headers_len() as u16,
        gso_size: size,
        csum_start: flow.transport_at() as u16,
        csum_offset: if flow.tcp { 16 } else { 6 },
    }
}

fn cut(hdr: VirtioNetHdr, packet: &[u8]) -> Result<Vec<Vec<u8>>, OffloadError> {
    let mut all = Vec::new();
    let count = split(hdr, &mut packet.to_vec(), |head, body| {
        all.push([head, body].concat())
    })?;
    assert_eq!(count, all.len());
    Ok(all)
}

/// The same with partial checksums.
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

/// Merge packets and return what would be written.
fn merge(packets: &[Vec<u8>]) -> Vec<(VirtioNetHdr, Vec<u8>)> {
    merge_as(packets, false)
}

fn merge_as(packets: &[Vec<u8>], partial: bool) -> Vec<(VirtioNetHdr, Vec<u8>)> {
    let mut buffer = vec![0xee; 3];
    let mut coalescer = Coalescer::new(true);
    let mut ranges = Vec::new();
    for packet in packets {
        let start = buffer.len();
        buffer.extend_from_slice(packet);
        ranges.push(start..buffer.len());
        buffer.extend_from_slice(&[0xee; 68]);
    }
    // The second round must not remember the first.
    let mut written = Vec::new();
    for _ in 0..2 {
        coalescer.clear();
        for range in &ranges {
            coalescer.push_as(&buffer, range.clone(), partial);
        }
        coalescer.finish(&buffer);
        written = coalescer
            .items()
            .map(|item| {
                let mut bytes = item.headers().to_vec();
                item.ranges()
                    .for_each(|range| bytes.extend_from_slice(&buffer[range]));
                assert_eq!(bytes.len(), item.len());
                (item.virtio(), bytes)
            })
            .collect();
    }
    written
}

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 + at / 251) as u8).collect()
}

fn flow() -> impl Strategy<Value = Flow> {
    (
        any::<bool>(),
        any::<bool>(),
        any::<u32>(),
        any::<u16>(),
        0usize..10,
    )
        .prop_map(|(v6, tcp, sequence, id, words)| Flow {
            v6,
            tcp,
            sequence,
            id,
            options: vec![1; words * 4],
            ..Flow::default()
        })
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
    fn cutting_makes_the_packets_that_the_host_would_have_made(
        flow in flow(), payload in vec(any::<u8>(), 1..3000), size in 1usize..1500,
    ) {
        let flow = Flow { flags: ALL_FLAGS, ..flow };
        let parts = cut(header(&flow, size as u16), &flow.packet(&payload, true)).unwrap();
        let count = payload.len().div_ceil(size);
        for (index, piece) in payload.chunks(size).enumerate() {
            let mut flags = ACK;
            flags |= if index == 0 { 0x80 } else { 0 };
            flags |= if index + 1 == count { 0x09 } else { 0 };
            let wanted = Flow {
                flags,
                sequence: flow.sequence.wrapping_add((index * size) as u32),
                id: flow.id.wrapping_add(index as u16),
                ..flow.clone()
            };
            prop_assert_eq!(&parts[index], &wanted.packet(piece, false));
        }
        prop_assert_eq!(parts.len(), count);
    }

    #[test]
    fn an_ordinary_packet_gets_its_checksum_completed(flow in flow(), payload in vec(any::<u8>(), 0..1300)) {
        let hdr = VirtioNetHdr { gso_type: 0, gso_size: 0, hdr_len: 0, ..header(&flow, 0) };
        prop_assert_eq!(cut(hdr, &flow.packet(&payload, true)).unwrap(), [flow.packet(&payload, false)]);
        let done = VirtioNetHdr::default();
        prop_assert_eq!(cut(done, &flow.packet(&payload, false)).unwrap(), [flow.packet(&payload, false)]);
    }

    #[test]
    fn any_bytes_are_cut_or_refused(hdr in any::<[u8; 10]>(), kind in 0u8..6, packet in vec(any::<u8>(), 0..200)) {
        let (mut hdr, _) = VirtioNetHdr::parse(&mut hdr.clone()).map(|(hdr, _)| (hdr, ())).unwrap();
        hdr.gso_type = kind;
        let mut sized = packet.clone();
        if let Some(first) = sized.first_mut() {
            *first = if *first & 1 == 0 { 0x60 } else { 0x45 };
        }
        let _ = cut(hdr, &packet);
        let _ = cut(hdr, &sized);
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
            let mut flow = Flow { port: 1000 + which as u16, sequence: next[which], tcp: which != 2, ..Flow::default() };
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
            let of = |all: &[Vec<u8>]| all.iter().filter(|p| p[40..42] == port.to_be_bytes()).cloned().collect::<Vec<_>>();
            prop_assert_eq!(of(&again), of(&packets));
        }
        prop_assert_eq!(again.len(), packets.len());
    }
}

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

#[test]
fn what_contradicts_itself_is_refused() {
    let flow = Flow::default();
    let packet = flow.packet(&bytes(3000), true);
    let hdr = header(&flow, 1000);
    assert_eq!(
        cut(VirtioNetHdr { gso_size: 0, ..hdr }, &packet),
        Err(OffloadError::Size)
    );
    assert_eq!(
        cut(VirtioNetHdr { gso_type: 1, ..hdr }, &packet),
        Err(OffloadError::Type(1))
    );
    assert_eq!(
        cut(VirtioNetHdr { gso_type: 3, ..hdr }, &packet),
        Err(OffloadError::Type(3))
    );
    assert_eq!(cut(hdr, &packet[..2999]), Err(OffloadError::Short));
    assert_eq!(cut(hdr, &[0x10; 60]), Err(OffloadError::Version));
    let outside = VirtioNetHdr {
        gso_type: 0,
        csum_start: 4000,
        ..hdr
    };
    assert_eq!(cut(outside, &packet), Err(OffloadError::Checksum));
    // The ECN bit of the type and a wrong header length change nothing.
    let parts = cut(hdr, &packet).unwrap();
    assert_eq!(
        cut(
            VirtioNetHdr {
                gso_type: hdr.gso_type | 0x80,
                hdr_len: 9,
                ..hdr
            },
            &packet
        )
        .unwrap(),
        parts
    );
}
